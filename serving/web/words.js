// How answers are told to people.

const NEGATIVE = "Healthy"; // the class that the threshold is not about
const UNSURE = "unsure"; // the outcome that is no class
export const UNFAMILIAR = "unfamiliar";

const percentage = new Intl.NumberFormat("en-GB", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});
const whole = new Intl.NumberFormat("en-GB");

/** Writes a share; what is not quite 0 or 1 does not read as if it were. */
export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1%";
  if (share < 1 && share >= 0.9995) return "> 99.9%";
  return percentage.format(share);
}

/** Writes a difference of two shares in percentage points, with its sign. */
export function points(difference) {
  const size = Math.abs(difference * 100).toFixed(1);
  return `${size === "0.0" ? "±" : difference < 0 ? "−" : "+"}${size}`;
}

export function number(count) {
  return whole.format(count);
}

export function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

export function fileSize(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export function duration(seconds) {
  if (seconds < 90) return `${plural(Math.max(1, Math.round(seconds)), "second")}`;
  return `${plural(Math.round(seconds / 60), "minute")}`;
}

export function positiveOf(probabilities) {
  return Object.keys(probabilities).find((name) => name !== NEGATIVE);
}

/** Returns P(the positive class). */
export function suspicion({ probabilities }) {
  return probabilities[positiveOf(probabilities)];
}

/** Returns 1 at the threshold, and 0 where the positive class is certain or ruled out. */
export function uncertainty(prediction) {
  const { threshold } = prediction;
  const share = suspicion(prediction);
  if (share === threshold) return 1;
  return share > threshold ? (1 - share) / (1 - threshold) : share / threshold;
}

export function isUnsure({ outcome }) {
  return outcome === UNSURE;
}

export function isUnfamiliar(prediction) {
  return prediction.in_distribution === false;
}

export function outcomeOf({ outcome, label }) {
  return outcome ?? label;
}

/** Returns the class of style that colours an answer. */
export function verdictOf(prediction) {
  if (isUnfamiliar(prediction)) return "doubtful";
  if (isUnsure(prediction)) return "unsure";
  return prediction.label === positiveOf(prediction.probabilities) ? "positive" : "negative";
}

/** Says the answer in a few words; an unsure one names the class that it leans to. */
export function said(prediction, comma = "") {
  const { label, probability } = prediction;
  const answer = `${label}${comma} ${percent(probability)}`;
  return isUnsure(prediction) ? `Unsure, leaning to ${answer}` : answer;
}

/** What the table says of a file, and what has to be added. */
export function brief({ state, prediction, problem }) {
  if (state === "waiting") return ["Waiting"];
  if (state === "working") return ["Analysing…"];
  if (state === "failed") return [problem.title];
  const notes = [
    isUnsure(prediction) && `leaning to ${prediction.label}`,
    isUnfamiliar(prediction) && UNFAMILIAR,
  ];
  return [isUnsure(prediction) ? "Unsure" : prediction.label, ...notes.filter(Boolean)];
}

export function sentence(name, { state, prediction, problem }) {
  if (state === "failed") return `${name}: ${problem.title}. ${problem.message}`;
  const doubt = isUnfamiliar(prediction) ? " It does not look like a brain MRI slice." : "";
  return `${name}: ${said(prediction, ",")}.${doubt}`;
}

export function summary(results) {
  const counts = new Map();
  const count = (what) => counts.set(what, (counts.get(what) ?? 0) + 1);
  for (const { state, prediction } of results) {
    count(state === "failed" ? "failed" : outcomeOf(prediction));
    if (prediction && isUnfamiliar(prediction)) count("unlike a brain MRI slice");
  }
  const answersFirst = [...counts].sort(([one], [other]) => (one < other ? -1 : 1)); // by capitals
  const parts = answersFirst.map(([what, times]) => `${number(times)} ${what}`);
  return `${plural(results.length, "image")}: ${parts.join(", ")}.`;
}
