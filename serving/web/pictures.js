// Pictures of files, of what the model saw, and of heat maps.

import { canvasOf } from "./dom.js";

const [MIN_SIDE, MAX_SIDE] = [512, 1024]; // of a picture, pixels, the longer one

/** Opens a file as browsers show it; null where they cannot, or not as it is meant. */
export async function openFile(file) {
  if (await isDeep(file)) return null;
  return createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
}

/** Opens the picture that a server answers; null where there is none. */
export async function openAddress(address) {
  if (!address) return null;
  const image = new Image();
  image.src = address;
  return image.decode().then(
    () => image,
    () => null,
  );
}

/** Tells a PNG of 16 bits: scanners fill but 12 of them, and browsers show that as black. */
async function isDeep(file) {
  const head = await file.slice(0, 26).arrayBuffer().catch(() => new ArrayBuffer(0));
  const bytes = new Uint8Array(head);
  return String.fromCharCode(...bytes.slice(1, 4)) === "PNG" && bytes[24] === 16;
}

/** Draws an image in a size that screens show well. */
export function enlarged(image) {
  const { width, height } = image;
  const longer = Math.max(width, height);
  const scale = Math.min(MAX_SIDE, Math.max(MIN_SIDE, longer)) / longer;
  const size = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = canvasOf(...size);
  drawWhole(canvas, image);
  return canvas;
}

/** Draws an image over a whole canvas, smoothly, on black where it is transparent. */
export function drawWhole(canvas, image) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
}

/** Draws a heat map: red to yellow, as the server's overlay, and as opaque as the heat is great. */
export function drawHeat(canvas, heatmap) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, width, height);
  if (!heatmap) return;
  drawWhole(canvas, greyOf(heatmap)); // so that it grows smoothly
  const pixels = context.getImageData(0, 0, width, height);
  const { data } = pixels;
  for (let at = 0; at < data.length; at += 4) {
    data[at + 3] = data[at];
    data[at + 1] = Math.round((220 * data[at]) / 255);
    data[at] = 255;
    data[at + 2] = 0;
  }
  context.putImageData(pixels, 0, 0);
}

function greyOf(heatmap) {
  const rows = canvasOf(heatmap[0].length, heatmap.length);
  const context = rows.getContext("2d");
  const numbers = context.createImageData(rows.width, rows.height);
  heatmap.flat().forEach((heat, index) => {
    const level = Math.round(heat * 255);
    numbers.data.set([level, level, level, 255], 4 * index);
  });
  context.putImageData(numbers, 0, 0);
  return rows;
}
