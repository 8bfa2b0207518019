// Asks a server about many files: a few requests at once, each of a few files.

import { Unreadable } from "./answers.js";
import { sleep } from "./dom.js";
import { Problem } from "./server.js";

const REQUESTS = 3; // at once
const [FIRST_FILES, MOST_FILES] = [2, 16]; // in a request
const MOST_BYTES = 2 ** 22;
const [QUICK_MS, SLOW_MS] = [700, 3000]; // a request grows below the one, and shrinks above the other
const REST_S = 0.15; // on a file, before its heat map is asked for

/**
 * The answers of one server. `changed` is called with each item whose state changed, with this run,
 * and whether the item was answered or failed just now; `ended` when nothing is being asked.
 */
export class Run {
  #queue = [];
  #requests = 0;
  #files = FIRST_FILES;
  #session = new AbortController(); // until everything is cleared
  #looked = new AbortController(); // until another file is looked at
  #looking = null;
  #timed = { since: 0, count: 0 };

  constructor(server, { changed, ended }) {
    Object.assign(this, { server, problem: null, stopped: false });
    Object.assign(this, { changed, ended });
  }

  of(item) {
    return item.results.get(this.server);
  }

  get working() {
    return this.#requests > 0;
  }

  /** How many seconds are left at the speed so far; null where that is not known. */
  secondsLeft(left) {
    const seconds = (performance.now() - this.#timed.since) / 1000;
    return this.#timed.count > 20 ? (left * seconds) / this.#timed.count : null;
  }

  /** Takes files in; `go` begins. */
  add(items) {
    for (const item of items) {
      item.results.set(this.server, { state: "waiting" });
      this.#queue.push(item);
    }
  }

  /** Begins, or goes on after a stop. */
  go() {
    this.problem = null;
    this.stopped = false;
    this.#timed = { since: performance.now(), count: 0 };
    this.#start();
  }

  #start() {
    while (this.#requests < REQUESTS && this.#queue.length) this.#work();
  }

  /** Asks about nothing more; what is being asked is given up. */
  stop(problem = null) {
    this.problem ??= problem;
    this.stopped = true;
    this.#session.abort();
    this.#session = new AbortController();
  }

  clear() {
    this.#queue = [];
    this.#looked.abort();
    this.stop();
    this.problem = null;
  }

  /** Asks again about files that failed. */
  again(items) {
    const failed = items.filter((item) => this.of(item)?.problem?.retry);
    for (const item of failed) this.#set(item, { state: "waiting" });
    this.#queue.unshift(...failed);
    this.go();
  }

  /** Finds the heat map of the file that is looked at, before all others; one at a time. */
  async look(item) {
    if (item === this.#looking) return;
    this.#looked.abort();
    this.#looked = new AbortController();
    const { signal } = this.#looked;
    const before = this.of(item);
    if (before.explanation || before.unexplained || before.state === "failed") return;
    this.#looking = item;
    this.#requests += 1;
    try {
      if (before.state === "answered") await sleep(REST_S, signal);
      if (before.state === "waiting") this.#set(item, { state: "working" });
      await checkReadable(item.file);
      const explanation = await this.server.explain(item.file, signal);
      this.#set(item, { state: "answered", prediction: explanation, explanation });
    } catch (error) {
      this.#unexplained(item, before, signal.aborted ? null : told(error));
    } finally {
      if (signal === this.#looked.signal) this.#looking = null;
      this.#done();
    }
  }

  /** Keeps what is known without a heat map; `problem`: null where another file is looked at. */
  #unexplained(item, before, problem) {
    const now = this.of(item);
    if (now?.state === "answered" && problem) this.#set(item, { ...now, unexplained: problem });
    if (now?.state !== "working" || before.state !== "waiting") return;
    if (problem) {
      this.#fail(item, problem);
    } else {
      this.#putBack([item]);
      if (!this.stopped) this.#start();
    }
  }

  async #work() {
    this.#requests += 1;
    try {
      while (!this.stopped) {
        const items = this.#take();
        if (!items.length) break;
        await this.#batch(items, this.#session.signal);
      }
    } finally {
      this.#done();
    }
  }

  #done() {
    this.#requests -= 1;
    if (!this.#requests) this.ended(this);
  }

  #take() {
    const taken = [];
    let bytes = 0;
    while (this.#queue.length && taken.length < this.#files) {
      const [item] = this.#queue;
      if (this.of(item)?.state === "waiting") { // else it was looked at meanwhile, or cleared
        bytes += item.file.size;
        if (taken.length && bytes > MOST_BYTES) break;
        taken.push(item);
      }
      this.#queue.shift();
    }
    return taken;
  }

  async #batch(items, signal) {
    for (const item of items) this.#set(item, { state: "working" });
    const readable = [];
    for (const item of items) {
      try {
        await checkReadable(item.file);
        readable.push(item);
      } catch (problem) {
        this.#fail(item, problem);
      }
    }
    if (readable.length) await this.#ask(readable, signal);
  }

  async #ask(items, signal) {
    try {
      const began = performance.now();
      const files = items.map(({ file }) => file);
      const predictions = await this.server.predict(files, signal);
      items.forEach((item, index) => this.#answer(item, predictions[index]));
      this.#timed.count += items.length;
      this.#pace(performance.now() - began);
    } catch (error) {
      if (signal.aborted) this.#putBack(items);
      else await this.#divide(items, told(error), signal);
    }
  }

  #answer(item, prediction) {
    if (this.of(item)?.explanation) return; // it was looked at meanwhile
    this.#set(item, { state: "answered", prediction });
  }

  /** Asks about each file alone where one of several cannot be used. */
  async #divide(items, problem, signal) {
    if (!problem.ofFile || items.length === 1) {
      for (const item of items) this.#fail(item, problem);
      return;
    }
    for (const [index, item] of items.entries()) {
      if (signal.aborted) {
        this.#putBack(items.slice(index));
        return;
      }
      await this.#ask([item], signal);
    }
  }

  #pace(took) {
    if (took < QUICK_MS) this.#files = Math.min(MOST_FILES, this.#files * 2);
    if (took > SLOW_MS) this.#files = Math.max(1, this.#files >> 1);
  }

  #putBack(items) {
    for (const item of items) this.#set(item, { state: "waiting" });
    this.#queue.unshift(...items);
  }

  #fail(item, problem) {
    this.#set(item, { state: "failed", problem });
    if (!problem.ofFile) this.stop(problem);
  }

  #set(item, result) {
    const before = this.of(item);
    if (!before) return; // cleared
    item.results.set(this.server, result);
    this.changed(item, this, isOver(result) && !isOver(before));
  }
}

function isOver({ state }) {
  return state === "answered" || state === "failed";
}

function told(error) {
  if (error instanceof Problem) return error;
  return new Problem(
    "The answer cannot be read",
    error instanceof Unreadable ? error.message : "This page cannot make sense of it.",
    { ofFile: true },
  );
}

/** Refuses what no server could read, so that the server is not blamed for it. */
async function checkReadable(file) {
  const own = { retry: false, ofFile: true };
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    const line = "It is a folder, or it was moved or changed since it was chosen.";
    throw new Problem("This file cannot be read", line, own);
  }
  if (file.size === 0) throw new Problem("This file is empty", "It holds no bytes.", own);
}
