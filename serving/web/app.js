// The predictor's page: images in, answers out.
// What comes from outside, the model's card and file names too, becomes text nodes, never markup.

const NEGATIVE = "Healthy"; // the class that the threshold is not about
const UNSURE = "unsure"; // the outcome that is no class
const TRIES = 4; // of a busy server, before a person is asked
const LONGEST_PAUSE_S = 10; // beyond this a person is asked at once
const TOKEN = "token"; // in the session's storage, which ends with the tab
const PATIENCE_MS = 60_000;
const LARGE_FILE = 2 ** 23;
const [MIN_SIDE, MAX_SIDE] = [512, 1024]; // of the canvas, pixels, the longer one
const THUMBNAIL = 88;
const SHORT_DIGEST = 12;

const $ = (id) => document.getElementById(id);

let model = null; // what /card says
let slices = [];
let selected = null;
let queue = [];
let working = false;
let session = new AbortController(); // until everything is cleared
let view = { name: "", picture: null, heat: null }; // what the canvas shows
let pasted = 0;

/** Something that went wrong, as it is told to people. */
class Problem extends Error {
  constructor(title, line, retry = true) {
    super(line);
    this.title = title;
    this.retry = retry;
  }
}

// ---------------------------------------------------------------- text

const percentage = new Intl.NumberFormat("en-GB", {
  style: "percent",
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

/** Writes a share; what is not quite 0 or 1 does not read as if it were. */
function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1%";
  if (share < 1 && share >= 0.9995) return "> 99.9%";
  return percentage.format(share);
}

function fileSize(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Says where things stand; `silently` where the eye has it beside, and only a reader needs it. */
function tell(text, silently = false) {
  $("status").textContent = text;
  $("status").classList.toggle("visually-hidden", silently);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------- the server

/** Asks the server; a failure of the connection becomes a Problem. */
async function request(path, signal, options = {}) {
  const limit = AbortSignal.timeout(PATIENCE_MS);
  const token = sessionStorage.getItem(TOKEN);
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  try {
    const all = { ...options, headers, signal: AbortSignal.any([signal, limit]) };
    const response = await fetch(path, all);
    if (response.status === 401) askForToken(token);
    return response;
  } catch (error) {
    if (signal.aborted) throw error;
    if (limit.aborted) {
      throw new Problem("The server does not answer", "No answer came within a minute.");
    }
    const large = (options.body?.size ?? 0) > LARGE_FILE;
    throw new Problem(
      "The server cannot be reached",
      large
        ? `The connection failed, or the server refuses a file of ${fileSize(options.body.size)}.`
        : "Check the connection, then try again.",
    );
  }
}

async function parsed(response) {
  try {
    return await response.json();
  } catch {
    throw new Problem("The answer cannot be read", "It is cut off or is no JSON.");
  }
}

const TITLES = {
  400: "This file cannot be used",
  401: "A token is needed",
  413: "This file is too large",
  422: "This file cannot be used",
  503: "The server is busy",
};

/** Reads the one line that the server says of an error. */
async function problemOf(response) {
  const title = TITLES[response.status] ?? "The server cannot answer";
  if (response.status === 401) return new Problem(title, "Give it in the field above.");
  const body = await response.json().catch(() => null);
  const line = typeof body?.error === "string" ? body.error : `HTTP status ${response.status}.`;
  return new Problem(title, line, ![400, 413].includes(response.status));
}

/** Returns the seconds that a busy server asks for, which may be told as a date. */
function pauseOf(response) {
  const header = response.headers.get("Retry-After") ?? "1";
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? 1 : Math.max(0, Math.ceil(seconds));
}

function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** Shows the field for a token; `refused` is the one that the server does not know. */
function askForToken(refused) {
  if (refused !== sessionStorage.getItem(TOKEN)) return; // another one was given since
  sessionStorage.removeItem(TOKEN);
  $("token-why").textContent = refused
    ? "The server does not know this token."
    : "This server answers only those who have a token.";
  $("token-form").hidden = false;
  $("token").focus();
}

async function useToken(event) {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value);
  $("token").value = "";
  $("token-form").hidden = true;
  await start();
  if (selected) again();
  else if ($("token-form").hidden) $("files").focus();
}

async function askForModel(signal) {
  const response = await request("card", signal);
  if (!response.ok) throw await problemOf(response);
  model = await parsed(response);
  showModel();
}

/** Refuses what no server could read, so that the server is not blamed for it. */
async function checkReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Problem(
      "This file cannot be read",
      "It is a folder, or it was moved or changed since it was chosen.",
      false,
    );
  }
  if (file.size === 0) throw new Problem("This file is empty", "It holds no bytes.", false);
}

/** Returns the answer for a file; waits for a server that says it is busy. */
async function explain(file, signal) {
  await checkReadable(file);
  for (let attempt = 1; ; attempt += 1) {
    if (!model) await askForModel(signal);
    const path = `v1/models/${encodeURIComponent(model.name)}:explain`;
    const response = await request(path, signal, {
      method: "POST",
      body: file,
      headers: {
        "Content-Type": file.type.startsWith("image/") ? file.type : "image/x-unknown",
      },
    });
    if (response.ok) return (await parsed(response)).predictions[0];
    const problem = await problemOf(response);
    if (response.status === 404) model = null; // another model is served by now
    const pause = pauseOf(response);
    if (response.status !== 503 || attempt === TRIES || pause > LONGEST_PAUSE_S) throw problem;
    tell(`The server is busy. Trying again in ${plural(pause, "second")}…`);
    await sleep(pause, signal);
  }
}

// ---------------------------------------------------------------- images, one after another

function add(files, name = (file) => file.name) {
  const added = [...files].map((file) => ({ file, name: name(file), state: "waiting" }));
  if (!added.length) return;
  for (const slice of added) slice.row = rowOf(slice);
  slices.push(...added);
  queue.push(...added);
  $("list").append(...added.map((slice) => slice.row.item));
  $("slices").hidden = slices.length < 2;
  $("clear").hidden = false;
  select(added[0]);
  work();
}

async function work() {
  if (working) return;
  working = true;
  let done = [];
  try {
    while (queue.length) {
      const slice = queue.shift();
      const total = done.length + 1 + queue.length;
      const place = total > 1 ? ` (${done.length + 1} of ${total})` : "";
      tell(`Analysing ${slice.name}${place}…`);
      showProgress(done.length, total);
      const { signal } = session;
      await analyse(slice, signal);
      done = signal.aborted ? [] : [...done, slice];
    }
  } finally {
    working = false;
    $("progress").hidden = true;
  }
  if (done.length === 1) tell(sentence(done[0]), done[0] === selected);
  else if (done.length) tell(summary(done));
}

/** Finds one image's answer, or the problem with it. */
async function analyse(slice, signal) {
  setState(slice, "working");
  let state = "answered";
  try {
    slice.prediction = await explain(slice.file, signal);
    if (slice.prediction.model_version !== model.version) {
      await askForModel(signal).catch(() => {}); // the answer stands without the new card
    }
  } catch (error) {
    if (signal.aborted) return;
    state = "failed";
    slice.problem =
      error instanceof Problem
        ? error
        : new Problem("The answer cannot be read", "It is not what this page expects.");
  }
  if (!(await pictureOf(slice))) slice.picture = null; // the server may have one by now
  drawThumbnail(slice, await pictureOf(slice));
  if (slice !== selected) slice.picture = null;
  setState(slice, state);
}

function setState(slice, state) {
  slice.state = state;
  slice.row.state.textContent = brief(slice);
  if (slice === selected) render();
}

function again() {
  if (selected?.state !== "failed") return;
  selected.problem = null;
  queue.push(selected);
  setState(selected, "waiting");
  $("file").focus(); // the button that had the focus is gone
  work();
}

function clear() {
  session.abort();
  session = new AbortController();
  slices = [];
  queue = [];
  $("list").replaceChildren();
  for (const id of ["slices", "clear", "progress"]) $(id).hidden = true;
  select(null);
  tell("Cleared.");
  $("files").focus();
}

function select(slice) {
  if (selected) selected.picture = null;
  selected = slice;
  if (slice) slice.row.radio.checked = true;
  render();
}

function showProgress(value, max) {
  const bar = $("progress");
  bar.hidden = false;
  if (max === 1) bar.removeAttribute("value");
  else Object.assign(bar, { max, value });
}

/** Says the answer in a few words; an unsure one names the class that it leans to. */
function said({ outcome, label, probability }, comma = "") {
  const answer = `${label}${comma} ${percent(probability)}`;
  return outcome === UNSURE ? `Unsure, leaning to ${answer}` : answer;
}

/** What the list says of an image. */
function brief({ state, prediction, problem }) {
  if (state === "waiting") return "Waiting";
  if (state === "working") return "Analysing…";
  if (state === "failed") return problem.title;
  const doubt = prediction.in_distribution === false ? " · unfamiliar" : "";
  return `${said(prediction)}${doubt}`;
}

function sentence({ name, state, prediction, problem }) {
  if (state === "failed") return `${name}: ${problem.title}. ${problem.message}`;
  const doubt =
    prediction.in_distribution === false ? " It does not look like a brain MRI slice." : "";
  return `${name}: ${said(prediction, ",")}.${doubt}`;
}

function summary(done) {
  const counts = new Map();
  for (const { state, prediction } of done) {
    const outcome = state === "failed" ? "failed" : (prediction.outcome ?? prediction.label);
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  const unfamiliar = done.filter(({ prediction }) => prediction?.in_distribution === false).length;
  if (unfamiliar) counts.set("unlike a brain MRI slice", unfamiliar);
  const parts = [...counts].map(([outcome, count]) => `${count} ${outcome}`);
  return `${plural(done.length, "image")}: ${parts.join(", ")}.`;
}

function rowOf(slice) {
  const radio = element("input", { type: "radio", name: "slice", className: "visually-hidden" });
  const thumbnail = element("canvas", { width: THUMBNAIL, height: THUMBNAIL });
  thumbnail.setAttribute("aria-hidden", "true");
  const state = element("span", { className: "state", textContent: brief(slice) });
  const name = element("span", { className: "name", textContent: slice.name, title: slice.name });
  radio.addEventListener("change", () => select(slice));
  const row = element("label", { className: "slice" }, radio, thumbnail, name, " ", state);
  return { item: element("li", {}, row), radio, thumbnail, state };
}

// ---------------------------------------------------------------- the selected image

function render() {
  $("result").hidden = !selected;
  if (!selected) return;
  const { name, file, state, prediction, problem } = selected;
  $("file").textContent = name;
  $("measures").textContent = fileSize(file.size);
  $("pending").hidden = !["waiting", "working"].includes(state);
  $("pending").textContent = state === "waiting" ? "Waiting for its turn." : "Analysing…";
  $("result").setAttribute("aria-busy", String(state === "working"));
  $("answer").hidden = state !== "answered";
  $("problem").hidden = state !== "failed";
  if (state === "answered") showAnswer(prediction);
  if (state === "failed") showProblem(problem);
  paint(selected);
}

function showAnswer(prediction) {
  const { label, probability, probabilities, threshold } = prediction;
  const positive = Object.keys(probabilities).find((name) => name !== NEGATIVE);
  const unfamiliar = prediction.in_distribution === false;
  $("unfamiliar").hidden = !unfamiliar;
  const unsure = prediction.outcome === UNSURE;
  $("label").textContent = unsure ? "Unsure" : label;
  $("probability").textContent = (unsure ? `${label} ` : "") + percent(probability);
  $("verdict").className = verdictOf({ unfamiliar, unsure, positive: label === positive });
  $("unsure").hidden = !unsure;
  $("leaning").textContent = label;
  $("shares").replaceChildren(
    ...Object.entries(probabilities).flatMap(([name, share]) =>
      shareOf(name, share, name === positive ? threshold : null),
    ),
  );
  const range = model.version === prediction.model_version ? model.unsure : null;
  $("threshold").textContent =
    `The mark is the threshold: from ${percent(threshold)} on, the answer is ${positive}.` +
    (range ? ` From ${percent(range.low)} to ${percent(range.high)} it is unsure.` : "");
  const likelier = moreProbable(probabilities);
  $("against").hidden = likelier === label;
  $("against").textContent =
    `${likelier} is the more probable class, but the threshold of this model decides otherwise.`;
  showSlices(prediction, positive);
  $("answered-by").textContent = `Answered by version ${prediction.model_version} of the model.`;
}

/** Returns the class that colours the answer. */
function verdictOf({ unfamiliar, unsure, positive }) {
  if (unfamiliar) return "doubtful";
  if (unsure) return "unsure";
  return positive ? "positive" : "";
}

/** Lists the slices of a volume with their shares of the positive class. */
function showSlices({ slices = [], explained_slice: shown }, positive) {
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

/** Returns the answer that the heat map belongs to: of a volume, one slice's. */
function explained(prediction) {
  const { slices = [], explained_slice: shown } = prediction;
  return slices.find(({ number }) => number === shown) ?? prediction;
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

// ---------------------------------------------------------------- picture and heat map

/** Opens an image once; of those that are not looked at only a thumbnail stays. */
function pictureOf(slice) {
  slice.picture ??= open(slice);
  return slice.picture;
}

/** Opens the file itself or, where the browser cannot, the server's picture of it. */
async function open({ file, prediction }) {
  const own = (await isDeep(file)) ? null : await upright(file).catch(() => null);
  const image = own ?? (prediction ? await serversPicture(prediction) : null);
  if (!image) return null;
  const { width, height } = image;
  const longer = Math.max(width, height);
  const scale = Math.min(MAX_SIDE, Math.max(MIN_SIDE, longer)) / longer;
  const canvas = canvasOf(
    Math.max(1, Math.round(width * scale)),
    Math.max(1, Math.round(height * scale)),
  );
  drawWhole(canvas, image);
  own?.close();
  return { canvas, own: Boolean(own), width, height };
}

function upright(file) {
  return createImageBitmap(file, { imageOrientation: "from-image" });
}

/** Tells a PNG of 16 bits: scanners fill but 12 of them, and browsers show that as black. */
async function isDeep(file) {
  const head = await file.slice(0, 26).arrayBuffer().catch(() => new ArrayBuffer(0));
  const bytes = new Uint8Array(head);
  return String.fromCharCode(...bytes.slice(1, 4)) === "PNG" && bytes[24] === 16;
}

async function serversPicture(prediction) {
  const image = new Image();
  image.src = `data:image/png;base64,${prediction.overlay_png.b64}`;
  return image.decode().then(
    () => image,
    () => null,
  );
}

async function paint(slice) {
  const picture = await pictureOf(slice);
  if (slice !== selected) return; // another was chosen meanwhile
  $("viewer").hidden = !picture;
  if (!picture) return;
  const { width, height } = picture.canvas;
  Object.assign($("picture"), { width, height });
  const heatmap = picture.own ? slice.prediction?.heatmap : null;
  view = {
    name: slice.name,
    picture: picture.canvas,
    heat: heatmap ? heatLayer(heatmap, width, height) : null,
  };
  if (picture.own) {
    $("measures").textContent =
      `${picture.width} × ${picture.height} px, ${fileSize(slice.file.size)}`;
  }
  showLegend(slice.prediction, picture.own);
  draw();
}

function showLegend(prediction, own) {
  $("servers-picture").hidden = own;
  $("strength").disabled = !view.heat;
  $("strength-value").hidden = !view.heat;
  $("legend").hidden = !prediction;
  if (!prediction) return;
  const { number, probabilities } = explained(prediction);
  const likelier = moreProbable(probabilities);
  const empty = prediction.heatmap.every((row) => row.every((heat) => heat === 0));
  const where = number ? `Slice ${number}, the most suspect one. ` : "";
  $("legend-text").textContent = empty
    ? `${where}Grad-CAM finds no single place that speaks for ${likelier}.`
    : `${where}Grad-CAM: the brighter, the more this place speaks for ${likelier}.`;
}

/** Lays the heat map over the picture, as strongly as the slider says. */
function draw() {
  const strength = $("strength").valueAsNumber;
  $("strength-value").textContent = `${strength}%`;
  $("strength").setAttribute("aria-valuetext", `${strength}%`);
  if (!view.picture) return;
  const canvas = $("picture");
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.drawImage(view.picture, 0, 0);
  if (view.heat) {
    context.globalAlpha = strength / 100;
    context.drawImage(view.heat, 0, 0);
  }
  canvas.setAttribute(
    "aria-label",
    view.heat ? `${view.name} with the heat map at ${strength}%` : view.name,
  );
}

/** Makes a layer of the canvas's size: red to yellow, and as opaque as the heat is great. */
function heatLayer(heatmap, width, height) {
  const rows = canvasOf(heatmap[0].length, heatmap.length);
  const numbers = rows.getContext("2d").createImageData(rows.width, rows.height);
  heatmap.flat().forEach((heat, index) => {
    const level = Math.round(heat * 255);
    numbers.data.set([level, level, level, 255], 4 * index);
  });
  rows.getContext("2d").putImageData(numbers, 0, 0);

  const layer = canvasOf(width, height);
  drawWhole(layer, rows);
  const context = layer.getContext("2d");
  const pixels = context.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const warmth = pixels.data[at];
    // The colours of the server's own overlay.
    pixels.data.set([255, Math.round((220 * warmth) / 255), 0, warmth], at);
  }
  context.putImageData(pixels, 0, 0);
  return layer;
}

function drawThumbnail(slice, picture) {
  if (picture) drawWhole(slice.row.thumbnail, picture.canvas);
}

/** Draws an image over a whole canvas, smoothly, on black where it is transparent. */
function drawWhole(canvas, image) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
}

function canvasOf(width, height) {
  return element("canvas", { width, height });
}

// ---------------------------------------------------------------- the model and its card

function showModel() {
  const { name, version, digest, classes, threshold, card } = model;
  $("served").replaceChildren(
    `${name} · version ${version} · `,
    element("code", { textContent: digest.slice(0, SHORT_DIGEST), title: `SHA-256 ${digest}` }),
  );
  const facts = {
    Name: name,
    Version: version,
    "Digest (SHA-256)": element("code", { textContent: digest }),
    Classes: classes.join(", "),
    Threshold: `${percent(threshold)} for ${classes.find((label) => label !== NEGATIVE)}`,
  };
  $("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([term, fact]) => [
      element("dt", { textContent: term }),
      element("dd", {}, fact),
    ]),
  );
  $("card-text").replaceChildren(...markdown(card));
  $("card").hidden = false;
  $("model-problem").hidden = true;
}

async function start() {
  try {
    await askForModel(new AbortController().signal);
  } catch (error) {
    $("served").textContent = "The model is not known yet.";
    if (!$("token-form").hidden) return; // which says what to do
    $("model-problem").querySelector("p").textContent = `${error.title}. ${error.message}`;
    $("model-problem").hidden = false;
  }
}

// ---------------------------------------------------------------- Markdown, as far as cards use it

const LINES = [
  ["heading", /^#{1,6}\s/],
  ["item", /^[-*]\s/],
  ["row", /^\|/],
  ["blank", /^\s*$/],
];
const RENDERERS = { heading, item: list, row: table, text: paragraph };

/** Turns headings, lists, tables, paragraphs, bold and code into elements; the rest stays text. */
function markdown(text) {
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
        : element("td", {}, ...inline(cell)),
    ),
  );
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

// ---------------------------------------------------------------- choosing, dropping, pasting

$("files").addEventListener("change", () => {
  add($("files").files);
  $("files").value = ""; // so that the same file can be chosen again
});

document.addEventListener("dragover", (event) => {
  event.preventDefault(); // also beside the frame, where a drop would leave the page
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files.length) add(event.dataTransfer.files);
  else tell("What was dropped is no file. Save the picture first, then drop the file.");
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    add(event.clipboardData.files, () => `Pasted image ${(pasted += 1)}`);
  } else {
    tell("The clipboard holds no image.");
  }
});

$("strength").addEventListener("input", draw);
$("again").addEventListener("click", again);
$("clear").addEventListener("click", clear);
$("model-again").addEventListener("click", start);
$("token-form").addEventListener("submit", useToken);
start();
