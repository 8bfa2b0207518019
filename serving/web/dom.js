// Elements of the page. What comes from outside becomes text nodes, never markup.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function canvasOf(width, height) {
  return element("canvas", { width, height });
}

/** Tells a screen reader and the eye; `silently` where the eye has it beside. */
export function tell(text, silently = false) {
  $("status").textContent = text;
  $("status").classList.toggle("visually-hidden", silently);
}

export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}
