// What of the page's state its address tells, behind the #: how it looks, never what was chosen.

const number = (least, most) => (text) => {
  const value = Number(text);
  return text !== "" && value >= least && value <= most ? value : undefined;
};
const word = (text) => (text.length <= 200 ? text : undefined);
const one = (...names) => (text) => (names.includes(text) ? text : undefined);

const READERS = {
  compare: word,
  sort: one("name", "outcome", "suspicion", "uncertainty", "other", "change"),
  order: one("ascending", "descending"),
  show: word,
  heat: number(0, 100),
  brightness: number(20, 300),
  contrast: number(20, 500),
};
const DEFAULTS = {
  compare: "",
  sort: "uncertainty",
  order: "descending",
  show: "all",
  heat: 55,
  brightness: 100,
  contrast: 100,
};

export const view = { ...DEFAULTS };

/** Reads the address; what it cannot hold is as if it were not there. */
export function readAddress() {
  Object.assign(view, DEFAULTS);
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    const value = Object.hasOwn(READERS, name) ? READERS[name](text) : undefined;
    if (value !== undefined) view[name] = value;
  }
}

/** Changes the state, and the address with it. */
export function remember(changes) {
  Object.assign(view, changes);
  const told = Object.entries(view).filter(([name, value]) => value !== DEFAULTS[name]);
  const hash = new URLSearchParams(told).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

/** Forgets how pictures look. */
export function resetLook() {
  const { brightness, contrast, heat } = DEFAULTS;
  remember({ brightness, contrast, heat });
}

readAddress();
