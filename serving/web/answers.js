// Reads what a server answers, and refuses what is none of it. Nothing else is kept.

const MAX_TEXT = 200;
const MAX_CLASSES = 16;
const MAX_SLICES = 1024;
const MAX_SIDE = 512; // of a heat map
const MAX_BASE64 = 2 ** 22;

/** An answer that is not what the protocol says. */
export class Unreadable extends Error {}

export function readPredictions(answer, count) {
  const predictions = listOf(answer?.predictions, count);
  check(predictions.length === count);
  return predictions.map(prediction);
}

export function readExplanation(answer) {
  const [found] = listOf(answer?.predictions, 1);
  const { heatmap, explained_slice: slice } = found ?? {};
  const rows = listOf(heatmap, MAX_SIDE);
  check(rows.length && Array.isArray(rows[0]));
  const width = rows[0].length;
  return {
    ...prediction(found),
    explained_slice: slice === undefined ? undefined : numeric(slice, 1, Infinity),
    heatmap: rows.map((row) => {
      const heats = listOf(row, MAX_SIDE).map((heat) => numeric(heat, 0, 1));
      check(heats.length === width && width > 0);
      return heats;
    }),
    image_png: picture(found.image_png),
  };
}

function prediction(found) {
  check(found && typeof found === "object");
  const { threshold, model_version: version, slices } = found;
  return {
    ...answerOf(found),
    threshold: numeric(threshold, 0, 1),
    model_version: numeric(version, 0, Infinity),
    slices: listOf(slices ?? [], MAX_SLICES).map((slice) => ({
      number: numeric(slice?.number, 1, Infinity),
      ...answerOf(slice),
    })),
  };
}

/** Reads what a volume's slice has too. */
function answerOf(found) {
  const { label, probability, probabilities, outcome, in_distribution: familiar } = found;
  check(probabilities && typeof probabilities === "object");
  const shares = Object.entries(probabilities);
  check(shares.length > 1 && shares.length <= MAX_CLASSES);
  check(familiar === undefined || typeof familiar === "boolean");
  const score = found.in_distribution_score;
  return {
    label: text(label),
    probability: numeric(probability, 0, 1),
    probabilities: Object.fromEntries(
      shares.map(([name, share]) => [text(name), numeric(share, 0, 1)]),
    ),
    outcome: outcome === undefined ? undefined : text(outcome),
    in_distribution: familiar,
    in_distribution_score: score === undefined ? undefined : numeric(score, 0, Infinity),
  };
}

/** Returns an address of a PNG; older servers send none. */
function picture(found) {
  if (found === undefined) return null;
  const b64 = found?.b64;
  check(typeof b64 === "string" && b64.length < MAX_BASE64 && /^[A-Za-z0-9+/]*=*$/.test(b64));
  return `data:image/png;base64,${b64}`;
}

function text(value) {
  check(typeof value === "string" && value.length <= MAX_TEXT);
  return value;
}

function numeric(value, least, most) {
  check(typeof value === "number" && value >= least && value <= most);
  return value;
}

function listOf(value, most) {
  check(Array.isArray(value) && value.length <= most);
  return value;
}

function check(right) {
  if (!right) throw new Unreadable("It is not what this page expects.");
}
