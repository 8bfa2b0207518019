// All files with their answers: sorted, filtered, some rows at a time.

import { remember, view } from "./address.js";
import { $, canvasOf, element, rarely } from "./dom.js";
import { drawWhole, openAddress, openFile } from "./pictures.js";
import {
  UNFAMILIAR,
  brief,
  isUnfamiliar,
  number,
  outcomeOf,
  percent,
  points,
  suspicion,
  uncertainty,
  verdictOf,
} from "./words.js";

const ROWS = 50; // at a time
const THUMBNAIL = 88;
const BREATH_MS = 500; // between two drawings of a long table
const LONG = 200;
const byName = new Intl.Collator("en", { numeric: true }).compare;

/** Columns: what they sort by, undefined last, and what they say. */
const COLUMNS = {
  name: { title: "Image", key: ({ item }) => item.name },
  outcome: { title: "Answer", key: ({ own }) => own.prediction && brief(own).join() },
  suspicion: {
    title: "Tumour",
    about: "Probability of Brain Tumor",
    key: ({ own }) => own.prediction && suspicion(own.prediction),
    text: percent,
  },
  uncertainty: {
    title: "Uncertainty",
    about: "100% at the threshold, 0% where the model is certain of its answer",
    key: ({ own }) => own.prediction && uncertainty(own.prediction),
    text: percent,
  },
  other: {
    title: "Other",
    about: "Probability of Brain Tumor by the version to compare with",
    key: ({ other }) => other?.prediction && suspicion(other.prediction),
    text: percent,
    compares: true,
  },
  change: {
    title: "Change",
    about: "Percentage points from this version to the other; sorted by its size",
    key: ({ own, other }) => {
      const change = changeOf(own, other);
      return change === undefined ? undefined : Math.abs(change);
    },
    text: (_, { own, other }) => points(changeOf(own, other)),
    compares: true,
  },
};

function changeOf(own, other) {
  if (!own.prediction || !other?.prediction) return undefined;
  return suspicion(other.prediction) - suspicion(own.prediction);
}

const FILTERS = {
  all: ["All", () => true],
  unsure: ["Unsure", ({ own }) => own.prediction && outcomeOf(own.prediction) === "unsure"],
  [UNFAMILIAR]: ["Unlike a brain MRI", ({ own }) => own.prediction && isUnfamiliar(own.prediction)],
  different: [
    "Labels differ",
    ({ own, other }) => other?.prediction && own.prediction?.label !== other.prediction.label,
  ],
  failed: ["Failed", ({ own }) => own.state === "failed"],
};

export class Table {
  #items = [];
  #rows = new Map(); // of the items that are seen
  #page = 0;
  #took = 0; // ms, to draw it

  /** `results`: returns {own, other} of an item; `chosen`: called with the one that is chosen. */
  constructor({ results, chosen, isSelected }) {
    /** Draws again soon: at once where that is quick, else in a tenth of the time. */
    this.refresh = rarely(
      () => this.draw(),
      () => (this.#items.length < LONG ? 0 : Math.max(BREATH_MS, 10 * this.#took)),
    );
    Object.assign(this, { results, chosen, isSelected, classes: [], comparing: false });
    for (const [name, { title, about, compares }] of Object.entries(COLUMNS)) {
      const button = element("button", { type: "button", textContent: title, title: about ?? "" });
      button.addEventListener("click", () => this.#sortBy(name));
      const heading = element("th", { scope: "col", id: `by-${name}` }, button);
      heading.className = compares ? "compares" : `of-${name}`;
      $("columns").append(heading);
    }
    $("show").addEventListener("change", () => {
      remember({ show: $("show").value });
      this.#page = 0;
      this.draw();
    });
    $("rows-before").addEventListener("click", () => this.#turn(-1));
    $("rows-after").addEventListener("click", () => this.#turn(1));
    $("rows").addEventListener("click", ({ target }) => {
      if (!target.closest("label")) target.closest("tr")?.querySelector("input").click();
    });
  }

  set items(items) {
    this.#items = items;
    this.#page = 0;
    this.draw();
  }

  draw() {
    const began = performance.now();
    $("slices").hidden = this.#items.length < 2;
    $("slices").classList.toggle("comparing", this.comparing);
    const all = this.#items.map((item, place) => ({ item, place, ...this.results(item) }));
    const shown = this.#filtered(all);
    this.#sort(shown);
    const pages = Math.max(1, Math.ceil(shown.length / ROWS));
    this.#page = Math.min(this.#page, pages - 1);
    const first = this.#page * ROWS;
    this.#place(shown.slice(first, first + ROWS));
    $("pager").hidden = pages === 1;
    $("rows-before").disabled = this.#page === 0;
    $("rows-after").disabled = this.#page === pages - 1;
    const last = Math.min(first + ROWS, shown.length);
    $("rows-shown").textContent =
      `${number(first + 1)}–${number(last)} of ${number(shown.length)}`;
    $("rows-none").hidden = shown.length > 0;
    this.#took = performance.now() - began;
  }

  #filtered(all) {
    const filters = { ...FILTERS };
    for (const name of this.classes) {
      filters[name] = [name, ({ own }) => own.prediction && outcomeOf(own.prediction) === name];
    }
    if (!this.comparing) delete filters.different;
    const chosen = Object.hasOwn(filters, view.show) ? view.show : "all";
    const options = $("show").options;
    const names = Object.keys(filters);
    if (names.join() !== [...options].map(({ value }) => value).join()) {
      $("show").replaceChildren(...names.map((value) => element("option", { value })));
    }
    Object.values(filters).forEach(([title, test], index) => {
      options[index].textContent = `${title} (${number(all.filter(test).length)})`;
    });
    $("show").value = chosen;
    return chosen === "all" ? all : all.filter(filters[chosen][1]);
  }

  #sort(shown) {
    const column = this.comparing || !COLUMNS[view.sort].compares ? view.sort : "uncertainty";
    const sign = view.order === "ascending" ? 1 : -1;
    for (const one of shown) one.key = COLUMNS[column].key(one);
    shown.sort((one, two) => {
      if (one.key === undefined || two.key === undefined) {
        return (one.key === undefined) - (two.key === undefined) || one.place - two.place;
      }
      const order = typeof one.key === "string" ? byName(one.key, two.key) : one.key - two.key;
      return sign * order || one.place - two.place;
    });
    for (const name of Object.keys(COLUMNS)) {
      const heading = $(`by-${name}`);
      if (name === column) heading.setAttribute("aria-sort", view.order);
      else heading.removeAttribute("aria-sort");
    }
  }

  #sortBy(name) {
    const words = ["name", "outcome"].includes(name); // which begin with A, numbers with the most
    const usual = words ? "ascending" : "descending";
    const turned = view.order === "ascending" ? "descending" : "ascending";
    remember({ sort: name, order: view.sort === name ? turned : usual });
    this.#page = 0;
    this.draw();
  }

  #turn(pages) {
    this.#page += pages;
    this.draw();
    $("table").scrollTop = 0;
  }

  /** Puts rows into the table; those that were there stay the same elements. */
  #place(shown) {
    const kept = new Map();
    for (const one of shown) {
      const row = this.#rows.get(one.item) ?? new Row(one.item, this.chosen);
      row.update(one, this.isSelected(one.item));
      kept.set(one.item, row);
    }
    this.#rows = kept;
    const rows = [...kept.values()].map(({ row }) => row);
    const body = $("rows");
    if (rows.length === body.children.length && rows.every((row, at) => row === body.children[at])) {
      return;
    }
    const focused = document.activeElement;
    body.replaceChildren(...rows);
    if (body.contains(focused)) focused.focus({ preventScroll: true });
    this.#drawThumbnails();
  }

  /** Draws the missing ones, one after another, until other rows are shown. */
  async #drawThumbnails() {
    const rows = this.#rows;
    for (const row of rows.values()) {
      if (rows !== this.#rows && !this.#rows.has(row.item)) continue;
      await row.drawThumbnail();
    }
  }
}

/** Writes the ending of a file's name where there is no picture yet. */
function drawKind(canvas, name) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const [, kind = ""] = /\.([a-z0-9]{1,4})(?:\.gz)?$/i.exec(name) ?? [];
  Object.assign(context, {
    fillStyle: "#cdd6e0",
    font: "600 24px sans-serif",
    textAlign: "center",
    textBaseline: "middle",
  });
  context.fillText(kind.toUpperCase(), THUMBNAIL / 2, THUMBNAIL / 2);
}

let made = 0;

class Row {
  constructor(item, chosen) {
    this.item = item;
    made += 1;
    const state = `state-${made}`;
    this.radio = element("input", { type: "radio", name: "slice", className: "visually-hidden" });
    this.radio.setAttribute("aria-describedby", state);
    this.radio.addEventListener("change", () => chosen(item));
    this.thumbnail = canvasOf(THUMBNAIL, THUMBNAIL);
    this.thumbnail.setAttribute("aria-hidden", "true");
    const [, folder, file] = /^(?:(.*)\/)?(.*)$/s.exec(item.name);
    const name = element("span", { className: "name", title: item.name });
    name.append(element("bdi", { textContent: file }));
    if (folder) name.append(" ", element("bdi", { className: "soft", textContent: folder }));
    const label = element("label", {}, this.radio, this.thumbnail, name);
    this.cells = Object.fromEntries(
      Object.entries(COLUMNS).map(([column, { compares }]) => [
        column,
        element("td", { className: compares ? "compares" : `of-${column}` }),
      ]),
    );
    this.cells.name.append(label);
    this.cells.outcome.id = state;
    this.row = element("tr", { className: "slice" }, ...Object.values(this.cells));
  }

  update(one, selected) {
    this.radio.checked = selected;
    const [answer, ...notes] = brief(one.own);
    this.cells.outcome.replaceChildren(
      answer,
      ...notes.map((note) => element("span", { className: "soft", textContent: ` ${note}` })),
    );
    const { prediction, explanation } = one.own;
    this.cells.outcome.className = `of-outcome ${prediction ? verdictOf(prediction) : one.own.state}`;
    this.seen = explanation?.image_png ?? this.seen;
    for (const [name, { key, text }] of Object.entries(COLUMNS)) {
      if (!text) continue;
      const value = key(one);
      this.cells[name].textContent = value === undefined ? "" : text(value, one);
    }
    if (this.undrawable && this.seen) this.drawThumbnail();
  }

  async drawThumbnail() {
    if (this.drawn) return;
    this.drawn = true;
    const image = (await openFile(this.item.file)) ?? (await openAddress(this.seen));
    if (image) drawWhole(this.thumbnail, image);
    else drawKind(this.thumbnail, this.item.name);
    this.drawn = Boolean(image);
    this.undrawable = !image;
    image?.close?.();
  }
}
