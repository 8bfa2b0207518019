// Tokens, one for each server; the browser forgets them with the tab.

import { $ } from "./dom.js";

let asking = null; // the base of the server that wants one
let given = () => {};

const keyOf = (base) => `token ${base}`.trim();

export function tokenOf(base) {
  return sessionStorage.getItem(keyOf(base));
}

/** Shows the field for a token; `refused` is the one that the server does not know. */
export function askForToken(base, refused) {
  if (refused !== tokenOf(base)) return; // another one was given since
  sessionStorage.removeItem(keyOf(base));
  asking = base;
  const server = base ? `The server at ${base}` : "This server";
  $("token-why").textContent = refused
    ? `${server} does not know this token.`
    : `${server} answers only those who have a token.`;
  $("token-form").hidden = false;
  $("token").focus();
}

export function isAskingForToken() {
  return !$("token-form").hidden;
}

/** Calls `then` each time a token was given. */
export function onToken(then) {
  given = then;
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(keyOf(asking), $("token").value);
  $("token").value = "";
  $("token-form").hidden = true;
  given();
});
