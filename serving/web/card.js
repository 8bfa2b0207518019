// What the page says of the version that is served.

import { $, element } from "./dom.js";
import { markdown } from "./markdown.js";
import { percent, positiveOf } from "./words.js";

const SHORT_DIGEST = 12;

export function showCard({ name, version, digest, classes, threshold, card }) {
  $("served").replaceChildren(
    `${name} · version ${version} · `,
    element("code", { textContent: digest.slice(0, SHORT_DIGEST), title: `SHA-256 ${digest}` }),
  );
  const positive = positiveOf(Object.fromEntries(classes.map((label) => [label, 0])));
  const facts = {
    Name: name,
    Version: version,
    "Digest (SHA-256)": element("code", { textContent: digest }),
    Classes: classes.join(", "),
    Threshold: `${percent(threshold)} for ${positive}`,
  };
  $("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([term, fact]) => [
      element("dt", { textContent: term }),
      element("dd", {}, fact),
    ]),
  );
  $("card-text").replaceChildren(...markdown(card));
  $("card").hidden = false;
}
