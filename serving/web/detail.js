// The file that is looked at: the answer to it, and what stands behind that.

import { $, element } from "./dom.js";
import { hidePictures, showPictures } from "./viewer.js";
import {
  fileSize,
  isUnfamiliar,
  isUnsure,
  percent,
  points,
  positiveOf,
  said,
  suspicion,
  verdictOf,
} from "./words.js";

/** Shows a file and the answers to it; `versions`: of each server its title, card and result. */
export async function showDetail(item, versions) {
  $("result").hidden = !item;
  if (!item) {
    hidePictures();
    return;
  }
  const { result, card } = versions[0];
  $("file").replaceChildren(element("bdi", { textContent: item.name }));
  $("measures").textContent = fileSize(item.file.size);
  $("pending").hidden = !["waiting", "working"].includes(result.state);
  $("pending").textContent = result.state === "waiting" ? "Waiting for its turn." : "Analysing…";
  $("result").setAttribute("aria-busy", String(result.state === "working"));
  $("answer").hidden = result.state !== "answered";
  $("problem").hidden = result.state !== "failed";
  if (result.state === "answered") showAnswer(result.prediction, card);
  if (result.state === "failed") showProblem(result.problem);
  showCompared(result, versions[1]);
  showLegend(result.explanation);
  const picture = await showPictures(item, versions);
  if (picture?.own) {
    const { width, height } = picture;
    $("measures").textContent = `${width} × ${height} px, ${fileSize(item.file.size)}`;
  }
}

function showAnswer(prediction, card) {
  const { label, probability, probabilities, threshold } = prediction;
  const positive = positiveOf(probabilities);
  const unsure = isUnsure(prediction);
  $("unfamiliar").hidden = !isUnfamiliar(prediction);
  $("label").textContent = unsure ? "Unsure," : label;
  $("probability").textContent = (unsure ? `leaning to ${label} ` : "") + percent(probability);
  $("verdict").className = verdictOf(prediction);
  $("unsure").hidden = !unsure;
  $("shares").replaceChildren(
    ...Object.entries(probabilities).flatMap(([name, share]) =>
      shareOf(name, share, name === positive ? threshold : null),
    ),
  );
  const range = card?.version === prediction.model_version ? card.unsure : null;
  const told = range && range.low < range.high;
  $("threshold").textContent =
    `The mark is the threshold: from ${percent(threshold)} on, the answer is ${positive}.` +
    (told ? ` From ${percent(range.low)} to ${percent(range.high)} it is unsure.` : "");
  const likelier = moreProbable(probabilities);
  $("against").hidden = likelier === label;
  $("against").textContent =
    `${likelier} is the more probable class, but the threshold of this model decides otherwise.`;
  showSlices(prediction, positive);
  $("answered-by").textContent = `Answered by version ${prediction.model_version} of the model.`;
}

/** Lists the slices of a volume with their shares of the positive class. */
function showSlices({ slices, explained_slice: shown }, positive) {
  $("volume").hidden = !slices.length;
  $("of-class").textContent = positive;
  $("volume-slices").replaceChildren(
    ...slices.map(({ number, probabilities }) => {
      const share = probabilities[positive];
      const bar = element("span", { className: "share" });
      bar.style.setProperty("--fraction", share);
      const name = number === shown ? `${number}, pictured` : number;
      return element(
        "tr",
        {},
        element("th", { scope: "row", textContent: name }),
        element("td", {}, bar, percent(share)),
      );
    }),
  );
}

function shareOf(name, share, threshold) {
  const bar = element("dd", { className: threshold === null ? "bar" : "bar positive" });
  bar.setAttribute("aria-hidden", "true");
  bar.style.setProperty("--share", `${share * 100}%`);
  bar.style.setProperty("--fraction", share);
  if (threshold !== null) bar.style.setProperty("--threshold", `${threshold * 100}%`);
  return [
    element("dt", { textContent: name }),
    element("dd", { className: "number", textContent: percent(share) }),
    bar,
  ];
}

function moreProbable(probabilities) {
  return Object.entries(probabilities).reduce((most, one) => (one[1] > most[1] ? one : most))[0];
}

function showProblem(problem) {
  $("problem-title").textContent = problem.title;
  $("problem-line").textContent = problem.message;
  $("again").hidden = !problem.retry;
}

/** Says what the second version answers, and how far that is from the first. */
function showCompared({ prediction }, other) {
  $("compared").hidden = !other;
  if (!other) return;
  const { title, result } = other;
  const { state, problem, prediction: theirs } = result ?? {};
  $("compared-title").textContent = `${title}:`;
  $("compared-answer").textContent =
    state === "answered" ? said(theirs) : state === "failed" ? problem.title : "Analysing…";
  $("compared-answer").className = state === "answered" ? verdictOf(theirs) : "";
  const both = prediction && theirs;
  $("compared-line").textContent = both
    ? `P(${positiveOf(theirs.probabilities)}) differs by ` +
      `${points(suspicion(theirs) - suspicion(prediction))} percentage points. ` +
      (theirs.label === prediction.label ? "The labels agree." : "The labels differ.")
    : state === "failed"
      ? problem.message
      : "";
}

function showLegend(explanation) {
  $("legend").hidden = !explanation;
  if (!explanation) return;
  const { slices, explained_slice: shown, heatmap } = explanation;
  const { number, probabilities } = slices.find(({ number }) => number === shown) ?? explanation;
  const likelier = moreProbable(probabilities);
  const empty = heatmap.every((row) => row.every((heat) => heat === 0));
  const where = number ? `Slice ${number}, the most suspect one. ` : "";
  $("legend-text").textContent = empty
    ? `${where}The heat map finds no single place that speaks for ${likelier}.`
    : `${where}Bright places support the answer ${likelier} most.`;
}
