// The predictor's page: images in, answers out. This module ties the others together.

import { readAddress, remember, view } from "./address.js";
import { showCard } from "./card.js";
import { csvOf } from "./csv.js";
import { showDetail } from "./detail.js";
import { $, element, rarely, tell } from "./dom.js";
import { MAX_FILES, chosen, dropped } from "./folders.js";
import { Run } from "./run.js";
import { Server } from "./server.js";
import { Table } from "./table.js";
import { isAskingForToken, onToken } from "./tokens.js";
import { applyLook } from "./viewer.js";
import { duration, number, plural, sentence, summary } from "./words.js";

const MANY = 200; // files
const NARROW = matchMedia("(max-width: 47.99rem)");

let items = []; // {file, name, results: server -> {state, prediction, explanation, problem}}
let selected = null;
let pasted = 0;
let news = new Set(); // items that were answered since the last summary
let cardAsked = null; // the version whose card was asked for last

const own = new Run(new Server(), { changed, ended });
let other = null; // the run of the version to compare with
const table = new Table({
  results: (item) => ({ own: own.of(item), other: other?.of(item) }),
  chosen: (item) => select(item, true),
  isSelected: (item) => item === selected,
});

const runs = () => (other ? [own, other] : [own]);

// ---------------------------------------------------------------- files

function add({ files, leftOut = 0, unread = 0, more = false }) {
  const room = MAX_FILES - items.length;
  const added = files.slice(0, room).map((file) => ({ ...file, results: new Map() }));
  const notes = [];
  if (leftOut) notes.push(`${plural(leftOut, "hidden file")} left out.`);
  if (unread) notes.push(`${plural(unread, "file")} or folders cannot be read.`);
  if (more || files.length > room) notes.push(`Only ${number(MAX_FILES)} files are taken at a time.`);
  $("notes").textContent = notes.join(" ");
  if (!added.length) {
    if (!files.length) tell("No file was found there.");
    return;
  }
  for (const run of runs()) run.add(added);
  items = [...items, ...added];
  const [first] = added;
  tell(`Analysing ${added.length === 1 ? first.name : plural(added.length, "image")}…`);
  table.items = items;
  select(first);
  for (const run of runs()) run.go();
  showRun();
}

function select(item, byHand = false) {
  selected = item;
  if (item) for (const run of runs()) run.look(item);
  table.refresh();
  render();
  if (byHand && NARROW.matches) $("result").scrollIntoView({ block: "nearest" });
}

function clear() {
  for (const item of items) item.results.clear();
  for (const run of runs()) run.clear();
  items = [];
  news.clear();
  table.items = items;
  $("notes").textContent = "";
  select(null);
  showRun();
  tell("Cleared.");
  $("files").focus();
}

function changed(item, run, isNew) {
  if (run === own && isNew) news.add(item);
  const { prediction } = own.of(item) ?? {};
  if (prediction) askForNewCard(prediction);
  table.refresh();
  if (item === selected) {
    for (const run of runs()) if (run.of(item)?.state === "answered") run.look(item);
    render();
  }
  showRunSoon();
}

/** Asks for the card once more where another version answers by now. */
async function askForNewCard({ model_version: version }) {
  const { server } = own;
  if (!server.card || version === server.card.version || version === cardAsked) return;
  cardAsked = version;
  await server.askForCard(new AbortController().signal).catch(() => {}); // the answer stands
  if (server.card) showCard(server.card);
}

function ended(run) {
  showRun();
  if (run !== own || (run.stopped && items.length > 1)) return; // which is told beside
  const results = [...news].map((item) => own.of(item)).filter(Boolean);
  const [first] = news;
  if (results.length === 1) tell(sentence(first.name, results[0]), first === selected);
  else if (results.length) tell(summary(results));
  news.clear();
}

function again() {
  const failed = own.of(selected).problem?.ofFile === false ? items : [selected];
  $("file").focus(); // the button that had the focus is gone
  for (const run of runs()) run.again(failed);
}

// ---------------------------------------------------------------- the run as a whole

const showRunSoon = rarely(showRun, () => (items.length < MANY ? 0 : 200));

/** Shows how far the files are, and what can be done with them. */
function showRun() {
  const results = items.flatMap((item) => runs().map((run) => run.of(item)));
  const left = results.filter((result) => ["waiting", "working"].includes(result?.state)).length;
  const done = results.length - left;
  const stopped = left > 0 && runs().some((run) => run.stopped);
  const problem = runs().map((run) => run.problem).find(Boolean);
  for (const id of ["clear", "save"]) $(id).hidden = !items.length;
  $("save").disabled = done === 0;
  $("stop").hidden = left < 2 || stopped;
  $("go-on").hidden = !stopped;
  $("progress").hidden = !left;
  if (results.length < 2) $("progress").removeAttribute("value");
  else Object.assign($("progress"), { max: results.length, value: done });
  $("progress-text").hidden = !left || results.length < 2;
  $("progress-text").textContent =
    `${number(done)} of ${number(results.length)} answered${rest(left, stopped)}`;
  $("run-problem").hidden = !stopped || !problem || items.length < 2;
  if (problem) $("run-problem").textContent = `${problem.title}. ${problem.message}`;
}

function rest(left, stopped) {
  if (stopped) return ", stopped";
  const seconds = own.secondsLeft(left);
  return seconds === null ? "" : `, about ${duration(seconds)} left`;
}

function stop() {
  for (const run of runs()) run.stop();
  showRun();
  tell("Stopped.");
  $("go-on").focus();
}

function goOn() {
  tell("Going on…");
  for (const run of runs()) run.again(items);
  showRun();
  if (!$("stop").hidden) $("stop").focus();
}

function save() {
  const servers = runs().map((run) => run.server);
  const address = URL.createObjectURL(
    new Blob([csvOf(items, servers)], { type: "text/csv;charset=utf-8" }),
  );
  element("a", { href: address, download: `${own.server.card?.name ?? "answers"}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

// ---------------------------------------------------------------- versions

function render() {
  const titles = titlesOf();
  const versions = runs().map((run, index) => ({
    title: titles[index],
    card: run.server.card,
    result: selected && run.of(selected),
  }));
  showDetail(selected, versions);
}

/** Names the versions that are compared, as briefly as they can be told apart. */
function titlesOf() {
  const [card, theirs] = runs().map((run) => run.server.card);
  if (!other) return ["With heat map"];
  const named = card?.name !== theirs?.name;
  const titles = [card, theirs].map((one) =>
    one ? `${named ? `${one.name} ` : ""}version ${one.version}` : "not known yet",
  );
  return titles[0] === titles[1] ? ["This server", "The other server"] : titles.map(capital);
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** Offers the versions to compare with that the server names; an address chooses among these. */
function offerVersions(addresses) {
  $("compare-with").hidden = !addresses.length;
  const none = element("option", { value: "", textContent: "no other version" });
  const options = addresses.map((value) => element("option", { value, textContent: value }));
  $("compare").replaceChildren(none, ...options);
  compareWith(addresses.includes(view.compare) ? view.compare : "");
}

async function compareWith(address) {
  $("compare").value = address;
  if ((other?.server.address ?? "") === address) return;
  other?.clear();
  for (const item of items) if (other) item.results.delete(other.server);
  other = null;
  table.comparing = Boolean(address);
  if (address) {
    const server = new Server(address);
    const run = new Run(server, { changed, ended: showRun });
    other = run;
    try {
      await server.askForCard(new AbortController().signal);
    } catch (error) {
      if (run === other) tell(`${address}: ${error.title}. ${error.message}`);
    }
    if (run !== other) return; // another was chosen meanwhile
    run.add(items);
    if (selected) run.look(selected);
    run.go();
  }
  table.draw();
  render();
  showRun();
}

/** Asks for the model and its samples. */
async function start() {
  const { server } = own;
  const { signal } = new AbortController();
  try {
    await server.askForCard(signal);
    showCard(server.card);
    table.classes = server.card.classes;
    table.refresh();
    offerVersions(server.card.compare_with ?? []);
    showSamples(await server.samples(signal));
    $("model-problem").hidden = true;
  } catch (error) {
    $("served").textContent = "The model is not known yet.";
    if (isAskingForToken()) return; // which says what to do
    const line = error.title ? `${error.title}. ${error.message}` : "The answer cannot be read.";
    $("model-problem").querySelector("p").textContent = line;
    $("model-problem").hidden = false;
  }
}

function showSamples(files) {
  $("samples").hidden = !files.length;
  $("samples-list").replaceChildren(
    ...files.map((file, index) => {
      const name = `Sample ${index + 1}`;
      const image = element("img", { src: URL.createObjectURL(file), alt: name });
      const button = element("button", { type: "button", className: "sample" }, image);
      button.addEventListener("click", () => {
        const known = items.find((item) => item.file === file);
        if (known) select(known);
        else add({ files: [{ file, name }] });
      });
      return element("li", {}, button);
    }),
  );
}

// ---------------------------------------------------------------- choosing, dropping, pasting

for (const id of ["files", "folder"]) {
  $(id).addEventListener("change", () => {
    add(chosen($(id).files));
    $(id).value = ""; // so that the same can be chosen again
  });
}
$("folder-label").hidden = !("webkitdirectory" in $("folder"));

document.addEventListener("dragover", (event) => {
  event.preventDefault(); // also beside the frame, where a drop would leave the page
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const { dataTransfer } = event;
  if ([...dataTransfer.items].some(({ kind }) => kind === "file")) {
    tell("Looking for files…");
    add(await dropped(dataTransfer));
  } else {
    tell("You dropped something that is not a file. Save the picture first, then drop the file.");
  }
});
document.addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) {
    add({ files: files.map((file) => ({ file, name: `Pasted image ${(pasted += 1)}` })) });
  } else {
    tell("The clipboard holds no image.");
  }
});

$("again").addEventListener("click", again);
$("clear").addEventListener("click", clear);
$("stop").addEventListener("click", stop);
$("go-on").addEventListener("click", goOn);
$("save").addEventListener("click", save);
$("model-again").addEventListener("click", start);
$("compare").addEventListener("change", () => {
  remember({ compare: $("compare").value });
  compareWith(view.compare);
});
addEventListener("hashchange", () => {
  readAddress();
  applyLook();
  table.draw();
  offerVersions(own.server.card?.compare_with ?? []);
});
onToken(async () => {
  await start();
  if (isAskingForToken()) return;
  if (items.length) for (const run of runs()) run.again(items);
  else $("files").focus();
});
start();
