// Zoom by wheel, keys and pinch: one for all pictures, so that they show the same place.

const MOST = 12;
const STEP = 1.25; // of a key
const MOVE = 10; // percent of a picture, of an arrow key
const WHEEL = 0.0015;

export class Zoom {
  #scale = 1;
  #x = 0; // percent of the picture, from its middle
  #y = 0;
  #fingers = new Map();

  /** `area`: what takes keys, and holds pictures of the class `stage`. */
  constructor(area, changed) {
    this.area = area;
    this.changed = changed;
    area.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    area.addEventListener("keydown", (event) => this.#key(event));
    area.addEventListener("pointerdown", (event) => this.#down(event));
    area.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      area.addEventListener(end, ({ pointerId }) => this.#fingers.delete(pointerId));
    }
    area.addEventListener("dblclick", () => this.reset());
    this.reset();
  }

  get scale() {
    return this.#scale;
  }

  reset() {
    this.#set(1, 0, 0);
  }

  in() {
    this.#by(STEP);
  }

  out() {
    this.#by(1 / STEP);
  }

  /** Zooms about a place, percent from the middle. */
  #by(factor, x = 0, y = 0) {
    const scale = Math.min(MOST, Math.max(1, this.#scale * factor));
    const ratio = scale / this.#scale;
    this.#set(scale, x - (x - this.#x) * ratio, y - (y - this.#y) * ratio);
  }

  #set(scale, x, y) {
    const most = 50 * (scale - 1); // the picture's edge stays at the frame's
    const within = (value) => Math.min(most, Math.max(-most, value));
    [this.#scale, this.#x, this.#y] = [scale, within(x), within(y)];
    const transform = `translate(${this.#x}%, ${this.#y}%) scale(${scale})`;
    for (const stage of this.area.querySelectorAll(".stage")) stage.style.transform = transform;
    this.area.classList.toggle("zoomed", scale > 1);
    this.changed(scale);
  }

  #wheel(event) {
    const screen = event.target.closest(".screen");
    if (!screen || (this.#scale === 1 && event.deltaY > 0 && !event.ctrlKey)) return;
    event.preventDefault(); // else the page scrolls or grows
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    const speed = event.ctrlKey ? 6 : 1; // a pinch on a touchpad comes as small steps
    this.#by(Math.exp(-event.deltaY * lines * speed * WHEEL), ...place(screen, event));
  }

  #key(event) {
    if (event.target !== this.area || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (event.key === "+" || event.key === "=") this.in();
    else if (event.key === "-") this.out();
    else if (event.key === "0") this.reset();
    else if (move && this.#scale > 1) this.#shift(move[0] * MOVE, move[1] * MOVE);
    else return;
    event.preventDefault();
  }

  #shift(x, y) {
    this.#set(this.#scale, this.#x + x, this.#y + y);
  }

  #down(event) {
    const screen = event.target.closest(".screen");
    if (!screen) return;
    this.#fingers.set(event.pointerId, { screen, event });
    if (this.#scale > 1 && event.pointerType === "mouse") screen.setPointerCapture(event.pointerId);
  }

  /** One finger or the mouse moves the picture; two zoom it about the place between them. */
  #move(event) {
    const moved = this.#fingers.get(event.pointerId);
    if (!moved) return;
    const before = [...this.#fingers.values()].map((finger) => finger.event);
    const { screen } = moved;
    moved.event = event;
    const after = [...this.#fingers.values()].map((finger) => finger.event);
    const [from, to] = [middle(before), middle(after)];
    if (after.length === 2) this.#by(apart(after) / apart(before), ...place(screen, to));
    if (this.#scale === 1) return;
    const { offsetWidth, offsetHeight } = screen.querySelector(".stage");
    this.#shift(
      ((to.clientX - from.clientX) / offsetWidth) * 100,
      ((to.clientY - from.clientY) / offsetHeight) * 100,
    );
  }
}

function apart([one, other]) {
  return Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY));
}

function middle(events) {
  const mean = (key) => events.reduce((sum, event) => sum + event[key], 0) / events.length;
  return { clientX: mean("clientX"), clientY: mean("clientY") };
}

/** Returns where in a frame something is, percent of the picture from its middle. */
function place(screen, { clientX, clientY }) {
  const { left, top, width, height } = screen.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = screen.querySelector(".stage");
  return [
    ((clientX - left - width / 2) / offsetWidth) * 100,
    ((clientY - top - height / 2) / offsetHeight) * 100,
  ];
}
