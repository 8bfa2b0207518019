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

/** Returns a function that does something soon, once for many calls; `pause`: ms between two. */
export function rarely(act, pause) {
  let timer = null;
  let last = -Infinity;
  return () => {
    timer ??= setTimeout(
      () => {
        timer = null;
        act();
        last = performance.now();
      },
      Math.max(0, last + pause() - performance.now()),
    );
  };
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
