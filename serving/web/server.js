// A predictor: the one that this page comes from, or another that it is compared with.

import { readExplanation, readPredictions } from "./answers.js";
import { sleep, tell } from "./dom.js";
import { askForToken, tokenOf } from "./tokens.js";
import { fileSize, plural } from "./words.js";

const TRIES = 4; // of a busy server, before a person is asked
const LONGEST_PAUSE_S = 10; // beyond this a person is asked at once
const PATIENCE_MS = 60_000;
const AGAIN_S = 1; // after a connection that was lost, once: networks change and pods are replaced
const LARGE_FILE = 2 ** 23;
const BUSY = [429, 503];

/** Something that went wrong, as it is told to people. */
export class Problem extends Error {
  /** `ofFile`: the server is well, and other files may be answered. */
  constructor(title, line, { retry = true, ofFile = false } = {}) {
    super(line);
    Object.assign(this, { title, retry, ofFile });
  }
}

const TITLES = {
  400: "This file cannot be used",
  401: "A token is needed",
  413: "This file is too large",
  422: "This file cannot be used",
  429: "The server is busy",
  503: "The server is busy",
};

export class Server {
  /** `address`: empty for the server that the page comes from. */
  constructor(address = "") {
    this.address = address;
    this.base = address.replace(/([^/])$/, "$1/");
    this.card = null;
  }

  async askForCard(signal) {
    const response = await this.#request("card", signal);
    if (!response.ok) throw await problemOf(response);
    this.card = await parsed(response);
  }

  /** Returns the images that are kept with the version, as files. */
  async samples(signal) {
    const response = await this.#request("samples", signal);
    if (!response.ok) return [];
    const { instances } = await parsed(response);
    return instances.map(({ image_bytes: { b64 } }, index) => {
      const bytes = Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
      return new File([bytes], `sample-${index + 1}.png`, { type: "image/png" });
    });
  }

  /** Returns the answers for files, in their order; one that cannot be used fails them all. */
  async predict(files, signal) {
    const body = new FormData();
    files.forEach((file, index) => body.append("file", file, String(index))); // names stay here
    const answer = await this.#ask("predict", signal, { body });
    return readPredictions(answer, files.length);
  }

  /** Returns the answer for a file with its heat map. */
  async explain(file, signal) {
    const kind = file.type.startsWith("image/") ? file.type : "image/x-unknown";
    const answer = await this.#ask("explain", signal, {
      body: file,
      headers: { "Content-Type": kind },
    });
    return readExplanation(answer);
  }

  /** Posts; waits for a server that says it is busy. */
  async #ask(verb, signal, options) {
    for (let attempt = 1; ; attempt += 1) {
      if (!this.card) await this.askForCard(signal);
      const path = `v1/models/${encodeURIComponent(this.card.name)}:${verb}`;
      const response = await this.#request(path, signal, { method: "POST", ...options });
      if (response.ok) return parsed(response);
      const problem = await problemOf(response);
      if (response.status === 404) this.card = null; // another model is served by now
      const pause = pauseOf(response);
      const again = BUSY.includes(response.status) && attempt < TRIES;
      if (!again || pause > LONGEST_PAUSE_S) throw problem;
      tell(`The server is busy. Trying again in ${plural(pause, "second")}…`);
      await sleep(pause, signal);
    }
  }

  /** Sends a request, once more where the connection is lost; that it fails becomes a Problem. */
  async #request(path, signal, options = {}, isLast = false) {
    const limit = AbortSignal.timeout(PATIENCE_MS);
    const token = tokenOf(this.base);
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    const all = {
      ...options,
      headers,
      credentials: "same-origin",
      signal: AbortSignal.any([signal, limit]),
    };
    try {
      const response = await fetch(this.base + path, all);
      if (response.status === 401) askForToken(this.base, token);
      return response;
    } catch (error) {
      if (signal.aborted) throw error;
      if (limit.aborted) {
        throw new Problem("The server does not answer", "No answer came within a minute.");
      }
      if (isLast) throw unreachable(options.body);
    }
    await sleep(AGAIN_S, signal);
    return this.#request(path, signal, options, true);
  }
}

/** A server that refuses a large file may close the connection before it has read it. */
function unreachable(body) {
  const size = body instanceof File ? body.size : (body?.get("file")?.size ?? 0);
  const ofFile = size > LARGE_FILE;
  const line = ofFile
    ? `The connection failed, or the server refuses a file of ${fileSize(size)}.`
    : "Check the connection, then try again.";
  return new Problem("The server cannot be reached", line, { ofFile });
}

async function parsed(response) {
  try {
    return await response.json();
  } catch {
    throw new Problem("The answer cannot be read", "It is cut off or is not JSON.");
  }
}

/** Reads the one line that the server says of an error. */
async function problemOf(response) {
  const { status } = response;
  const title = TITLES[status] ?? "The server cannot answer";
  if (status === 401) return new Problem(title, "Give it in the field above.");
  const body = await response.json().catch(() => null);
  const line = typeof body?.error === "string" ? body.error : `HTTP status ${status}.`;
  const ofFile = [400, 413, 422].includes(status);
  return new Problem(title, line, { ofFile, retry: ![400, 413].includes(status) });
}

/** Returns the seconds that a busy server asks for, which may be told as a date. */
function pauseOf(response) {
  const header = response.headers.get("Retry-After") ?? "1";
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? 1 : Math.max(0, Math.ceil(seconds));
}
