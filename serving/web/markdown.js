// Markdown, as far as the model's card uses it.

import { element } from "./dom.js";

const LINES = [
  ["heading", /^#{1,6}\s/],
  ["item", /^[-*]\s/],
  ["row", /^\|/],
  ["blank", /^\s*$/],
];
const RENDERERS = { heading, item: list, row: table, text: paragraph };

/** Turns headings, lists, tables, paragraphs, bold and code into elements; the rest stays text. */
export function markdown(text) {
  const blocks = [];
  for (const line of text.split(/\r?\n/)) {
    const kind = LINES.find(([, pattern]) => pattern.test(line))?.[0] ?? "text";
    const last = blocks.at(-1);
    if (last?.kind === kind && kind !== "heading") last.lines.push(line);
    else blocks.push({ kind, lines: [line] });
  }
  return blocks
    .filter(({ kind }) => kind !== "blank")
    .map(({ kind, lines }) => RENDERERS[kind](lines));
}

function heading([line]) {
  const [marks, text] = line.split(/\s(.*)/);
  return element(`h${Math.min(6, marks.length + 2)}`, {}, ...inline(text)); // below the page's own
}

function list(lines) {
  return element("ul", {}, ...lines.map((line) => element("li", {}, ...inline(line.slice(2)))));
}

function paragraph(lines) {
  return element("p", {}, ...inline(lines.join(" ")));
}

function table(lines) {
  const rows = lines.map((line) =>
    line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim()),
  );
  const headed = /^[|:\s-]+$/.test(lines[1] ?? "");
  const head = headed ? rows[0] : [];
  const body = headed ? rows.slice(2) : rows;
  const made = element("table");
  if (head.some(Boolean)) made.createTHead().append(rowOfCells(head, "col"));
  made.createTBody().append(...body.map((cells) => rowOfCells(cells, "row")));
  const scroll = element("div", { className: "scroll", tabIndex: 0, role: "group" }, made);
  scroll.setAttribute("aria-label", "Table");
  return scroll;
}

/** Makes a row of which all cells, or the first, are headers. */
function rowOfCells(cells, scope) {
  return element(
    "tr",
    {},
    ...cells.map((cell, index) =>
      scope === "col" || index === 0
        ? element(cell ? "th" : "td", cell ? { scope } : {}, ...inline(cell))
        : dataCell(cell),
    ),
  );
}

const SCORE = /^(\S+) \((\S+ to \S+)\)$/;
const LONG = 40; // characters, from which a cell keeps a width on a phone

/** Makes a cell; a figure has its interval below, so that neither folds. */
function dataCell(text) {
  const [, figure, interval] = text.match(SCORE) ?? [];
  if (!interval) return element("td", { className: text.length < LONG ? "" : "long" }, ...inline(text));
  const below = element("small", { className: "soft", textContent: interval });
  const value = element("strong", { textContent: figure });
  return element("td", { className: "score" }, value, element("br"), below);
}

const INLINE = /\\([!-/:-@[-`{-~])|&(lt|gt|amp);|\*\*((?:\\.|[^\\])+?)\*\*|`([^`]+)`/g;
const ENTITIES = { lt: "<", gt: ">", amp: "&" };

function inline(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, escaped, entity, bold, code] = match;
    parts.push(text.slice(end, match.index));
    end = match.index + whole.length;
    if (bold) parts.push(element("strong", {}, ...inline(bold)));
    else if (code) parts.push(element("code", { textContent: code }));
    else parts.push(escaped ?? ENTITIES[entity]);
  }
  return [...parts, text.slice(end)];
}
