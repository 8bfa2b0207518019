// The answers as a table for other programs: a row for each file and version.

import { outcomeOf, suspicion, uncertainty } from "./words.js";

const HEAD = [
  "file",
  "model",
  "version",
  "outcome",
  "label",
  "probability",
  "tumor_probability",
  "threshold",
  "uncertainty",
  "in_distribution",
  "in_distribution_score",
  "error",
];
const DIGITS = 6;
// Spreadsheets compute what begins so, also behind blanks and in full width.
const FORMULA = /^[\s\p{C}]*[=+\-@＝＋－＠]/u;

/** Returns CSV of files that were answered or failed. */
export function csvOf(items, servers) {
  const rows = items.flatMap((item) =>
    servers
      .filter((server) => ["answered", "failed"].includes(item.results.get(server)?.state))
      .map((server) => rowOf(item.name, server, item.results.get(server))),
  );
  return [HEAD, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function rowOf(name, server, { prediction, problem }) {
  const model = server.card?.name;
  if (problem) {
    const unknown = Array(HEAD.length - 3).fill(undefined);
    return [name, model, ...unknown, `${problem.title}: ${problem.message}`];
  }
  return [
    name,
    model,
    prediction.model_version,
    outcomeOf(prediction),
    prediction.label,
    prediction.probability,
    suspicion(prediction),
    prediction.threshold,
    uncertainty(prediction),
    prediction.in_distribution,
    prediction.in_distribution_score,
    undefined,
  ];
}

function cell(value) {
  if (value === undefined) return "";
  if (typeof value === "number") return String(Number(value.toFixed(DIGITS)));
  const text = String(value);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
