// The answers as a table for other programs: a row for each file and version that answered.

import { suspicion, uncertainty } from "./words.js";

/** Named as the fields of an answer, and in the order of the command line's. */
const COLUMNS = [
  "file",
  "slice",
  "label",
  "probability",
  "outcome",
  "in_distribution",
  "in_distribution_score",
  "threshold",
  "model_version",
  "error",
  "model",
  "tumor_probability",
  "uncertainty",
];
const DIGITS = 6;
// Spreadsheets compute what begins so, also behind blanks and in full width.
const FORMULA = /^[\s\p{C}]*[=+\-@＝＋－＠]/u;

/** Returns CSV of files that were answered or failed; below a volume its slices. */
export function csvOf(items, servers) {
  const rows = items.flatMap((item) =>
    servers
      .filter((server) => ["answered", "failed"].includes(item.results.get(server)?.state))
      .flatMap((server) => rowsOf(item, server)),
  );
  const lines = [COLUMNS, ...rows.map((row) => COLUMNS.map((column) => row[column]))];
  return lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}

function rowsOf(item, server) {
  const { prediction, problem } = item.results.get(server);
  const of = { file: item.name, model: server.card?.name };
  if (problem) return [{ ...of, error: `${problem.title}: ${problem.message}` }];
  const { model_version, slices } = prediction;
  return [
    { ...of, ...answer(prediction), uncertainty: uncertainty(prediction) },
    ...slices.map((one) => ({ ...of, ...answer(one), slice: one.number, model_version })),
  ];
}

function answer(prediction) {
  return { ...prediction, tumor_probability: suspicion(prediction) };
}

function cell(value) {
  if (value === undefined) return "";
  if (typeof value === "number") return String(Number(value.toFixed(DIGITS)));
  const text = String(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
