// The file that is looked at: its picture, and beside it the heat map of each version.

import { remember, resetLook, view } from "./address.js";
import { $, canvasOf, element } from "./dom.js";
import { drawHeat, drawWhole, enlarged, openAddress, openFile } from "./pictures.js";
import { Zoom } from "./zoom.js";

const SLIDERS = ["heat", "brightness", "contrast"];

/** A frame with a picture and the layer over it. */
class Pane {
  constructor(name) {
    this.base = canvasOf(1, 1);
    this.heat = canvasOf(1, 1);
    this.base.className = "base";
    this.heat.className = "heat";
    this.stage = element("div", { className: "stage", role: "img" }, this.base, this.heat);
    this.caption = element("figcaption");
    const screen = element("div", { className: "screen" }, this.stage);
    this.figure = element("figure", { className: "pane", id: name }, screen, this.caption);
    this.hide();
  }

  hide() {
    this.figure.hidden = true;
  }

  show(picture, heatmap, label, caption) {
    const { width, height } = picture;
    for (const canvas of [this.base, this.heat]) Object.assign(canvas, { width, height });
    drawWhole(this.base, picture);
    drawHeat(this.heat, heatmap);
    this.stage.setAttribute("aria-label", label);
    this.caption.textContent = caption;
    this.figure.hidden = false;
  }
}

const original = new Pane("original");
const heats = [new Pane("heated"), new Pane("heated-other")];
let shown = { item: null, picture: null };

/**
 * Shows a file, and the heat map of each of `versions`: {title, result}, of the first the picture
 * too where the browser has none. Returns what is known of the picture, or null.
 */
export async function showPictures(item, versions) {
  const picture = await pictureOf(item, versions[0].result?.explanation);
  if (picture.item !== shown.item) return null; // another was chosen meanwhile
  $("viewer").hidden = !picture.canvas;
  if (!picture.canvas) return picture;
  const { canvas } = picture;
  original.show(canvas, null, item.name, picture.own ? "Original" : "What the model saw");
  heats.forEach((pane, index) => {
    const version = versions[index];
    if (version) showHeat(pane, item, canvas, version);
    else pane.hide();
  });
  $("heat").disabled = !versions.some(({ result }) => result?.explanation);
  $("servers-picture").hidden = picture.own;
  return picture;
}

function showHeat(pane, item, canvas, { title, result }) {
  const { explanation, unexplained, state } = result ?? {};
  const lacks = unexplained || state === "failed" ? "no heat map" : "heat map to come";
  const caption = explanation ? title : `${title}: ${lacks}`;
  pane.show(canvas, explanation?.heatmap, `${item.name}, ${caption.toLowerCase()}`, caption);
  pane.caption.title = unexplained ? `${unexplained.title}. ${unexplained.message}` : "";
}

export function hidePictures() {
  shown = { item: null, picture: null };
  $("viewer").hidden = true;
}

/** Opens the file that is looked at once or, where a browser cannot, what the server saw of it. */
async function pictureOf(item, explanation) {
  if (shown.item !== item) {
    shown = { item, picture: openFile(item.file).then(ownPicture) };
    zoom.reset();
  }
  const own = await shown.picture;
  if (own) return { item, ...own };
  const theirs = await openAddress(explanation?.image_png);
  return { item, canvas: theirs && enlarged(theirs), own: false };
}

function ownPicture(image) {
  if (!image) return null;
  const { width, height } = image;
  const canvas = enlarged(image);
  image.close();
  return { canvas, width, height, own: true };
}

/** Lays the heat map over the picture, and shows the picture, as the sliders say. */
export function applyLook() {
  for (const name of SLIDERS) {
    $(name).value = view[name];
    $(`${name}-value`).textContent = `${view[name]}%`;
    $(name).setAttribute("aria-valuetext", `${view[name]}%`);
  }
  const style = $("panes").style;
  style.setProperty("--heat", view.heat / 100);
  style.setProperty("--brightness", view.brightness / 100);
  style.setProperty("--contrast", view.contrast / 100);
}

const zoom = new Zoom($("panes"), (scale) => {
  $("zoom-value").textContent = `${Math.round(scale * 100)}%`;
});
$("panes").append(original.figure, ...heats.map(({ figure }) => figure));
$("zoom-in").addEventListener("click", () => zoom.in());
$("zoom-out").addEventListener("click", () => zoom.out());
$("look-reset").addEventListener("click", () => {
  zoom.reset();
  resetLook();
  applyLook();
});
for (const name of SLIDERS) {
  $(name).addEventListener("input", () => {
    remember({ [name]: $(name).valueAsNumber });
    applyLook();
  });
}
applyLook();
