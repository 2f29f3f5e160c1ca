/** A drawing area for mouse, finger, pen, arrow keys or a picture file, with undo and redo. */

const SIDE = 560; // of the sheet, in the unit of points; the canvas has the pixels of the device
const PEN = 36; // width of a line
const SMALLEST = 2 * PEN; // extent of a drawing; a smaller one is a blot
const TINY = 64; // longer side of a picture whose pixels are shown, not smoothed
const STEP = 14; // distance that an arrow key moves the pen
const LARGEST = 1024; // longer side of a picture that is sent; the model reduces larger ones
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A sheet is { strokes: [[{ x, y, width }]], picture: ImageBitmap or null } and immutable. */
const EMPTY = { strokes: [], picture: null };

export class Paper {
  #canvas;
  #nib;
  #changed;
  #sheet = EMPTY;
  #earlier = [];
  #later = [];
  #stroke = null; // the points of the stroke in progress, the last one of the sheet
  #pointer = null; // the source of the stroke: a pointer id, or "keys"
  #box = null; // the position of the canvas at the start of the stroke, since the page may move
  #pen = { x: SIDE / 2, y: SIDE / 2 }; // moved by the arrow keys
  #arrows = new Set();

  /**
   * @param {HTMLCanvasElement} canvas the drawing area, square
   * @param {HTMLElement} nib marks the position of the pen that the keys move
   * @param {(grown: boolean) => void} changed called after each change; grown: only ink was added
   */
  constructor(canvas, nib, changed) {
    this.#canvas = canvas;
    this.#nib = nib;
    this.#changed = changed;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#keyDown(event));
    canvas.addEventListener("keyup", (event) => this.#arrows.delete(event.key));
    canvas.addEventListener("blur", () => {
      this.#arrows.clear();
      this.#lift();
    });
    new ResizeObserver(() => this.paint()).observe(canvas);
    this.#moveNib();
  }

  get isEmpty() {
    return this.#sheet === EMPTY;
  }

  /** Whether there is too little ink to be classified, or none. */
  get isTooSmall() {
    const points = this.#sheet.strokes.flat();
    const isFar = ({ x, y }) => Math.hypot(x - points[0].x, y - points[0].y) >= SMALLEST;
    return !this.#sheet.picture && !points.some(isFar);
  }

  get canUndo() {
    return this.#earlier.length > 0;
  }

  get canRedo() {
    return this.#later.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.#later.push(this.#sheet);
    this.#show(this.#earlier.pop());
  }

  redo() {
    if (!this.canRedo) return;
    this.#earlier.push(this.#sheet);
    this.#show(this.#later.pop());
  }

  clear() {
    if (!this.isEmpty) this.#become(EMPTY);
  }

  /**
   * Replaces the sheet by a picture. Rejects if the browser cannot decode it.
   *
   * @param {Blob | HTMLImageElement} picture
   */
  async open(picture) {
    this.#become({ strokes: [], picture: await createImageBitmap(picture) });
  }

  /** Returns the sheet as the data URL of a PNG file: ink on a transparent background, or the picture. */
  toDataURL() {
    const { strokes, picture } = this.#sheet;
    const canvas = document.createElement("canvas");
    if (picture) {
      const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
      canvas.width = Math.max(1, Math.round(picture.width * scale));
      canvas.height = Math.max(1, Math.round(picture.height * scale));
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    } else {
      canvas.width = canvas.height = SIDE; // on every device, for the same prediction
      paintStrokes(canvas.getContext("2d"), strokes);
    }
    return canvas.toDataURL("image/png");
  }

  /** Redraws the sheet in the resolution of the device and the ink colour of the style sheet. */
  paint() {
    const canvas = this.#canvas;
    const context = canvas.getContext("2d");
    const { strokes, picture } = this.#sheet;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    context.setTransform(side / SIDE, 0, 0, side / SIDE, 0, 0);
    context.clearRect(0, 0, SIDE, SIDE);
    if (picture) {
      const longer = Math.max(picture.width, picture.height);
      const size = [(picture.width * SIDE) / longer, (picture.height * SIDE) / longer];
      const corner = [(SIDE - size[0]) / 2, (SIDE - size[1]) / 2];
      context.imageSmoothingEnabled = longer > TINY;
      context.fillStyle = "white"; // the background of a transparent picture
      context.fillRect(...corner, ...size);
      context.drawImage(picture, ...corner, ...size);
    }
    context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
    paintStrokes(context, strokes);
  }

  #become(sheet) {
    this.#earlier.push(this.#sheet);
    this.#later = [];
    this.#show(sheet);
  }

  #show(sheet) {
    this.#lift();
    this.#sheet = sheet;
    this.paint();
    this.#changed(false);
  }

  #begin(pointer, point) {
    this.#lift();
    this.#pointer = pointer;
    this.#stroke = [point];
    this.#earlier.push(this.#sheet);
    this.#later = [];
    const restarts = this.#sheet.picture !== null; // ink on a picture starts a new drawing
    this.#sheet = { strokes: [...(restarts ? [] : this.#sheet.strokes), this.#stroke], picture: null };
    this.paint();
    this.#changed(!restarts);
  }

  #grow() {
    this.paint();
    this.#changed(true);
  }

  #lift() {
    this.#stroke = this.#pointer = null;
    this.#moveNib();
  }

  #down(event) {
    // A second touch is a palm. If a pen follows, the first touch was a palm, too.
    if (event.button !== 0) return;
    const drawing = this.#stroke && this.#pointer !== "keys";
    if (drawing && event.pointerType !== "pen") return;
    if (drawing) this.#show(this.#earlier.pop());
    this.#canvas.setPointerCapture(event.pointerId);
    this.#box = this.#canvas.getBoundingClientRect();
    this.#begin(event.pointerId, this.#point(event));
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.#stroke.push(this.#point(each));
    this.#grow();
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    if (event.type === "pointercancel") this.#show(this.#earlier.pop()); // the system used it as a gesture
    else this.#lift();
  }

  /** Returns a point with its width: by the pressure of a pen; otherwise a little less at speed. */
  #point(event) {
    const scale = SIDE / this.#box.width;
    const point = {
      x: (event.clientX - this.#box.left) * scale,
      y: (event.clientY - this.#box.top) * scale,
      time: event.timeStamp,
    };
    const last = this.#stroke?.at(-1);
    let width = 1;
    if (event.pointerType === "pen" && event.pressure) width = 0.55 + 0.9 * event.pressure;
    else if (last && point.time > last.time) {
      const speed = Math.hypot(point.x - last.x, point.y - last.y) / (point.time - last.time);
      width = 1.1 - 0.3 * Math.min(1, speed / 4);
    }
    point.width = last ? 0.8 * last.width + 0.2 * width : width;
    return point;
  }

  #keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") {
      if (event.repeat) return event.preventDefault();
      if (this.#stroke) this.#lift();
      else this.#begin("keys", { ...this.#pen, width: 1 });
    } else if (event.key in ARROWS) {
      this.#arrows.add(event.key);
      for (const arrow of this.#arrows) {
        this.#pen.x = within(this.#pen.x + STEP * ARROWS[arrow][0]);
        this.#pen.y = within(this.#pen.y + STEP * ARROWS[arrow][1]);
      }
      if (this.#pointer === "keys") {
        this.#stroke.push({ ...this.#pen, width: 1 });
        this.#grow();
      }
    } else return;
    event.preventDefault(); // otherwise the page scrolls
    this.#moveNib();
  }

  #moveNib() {
    this.#nib.style.left = `${(100 * this.#pen.x) / SIDE}%`;
    this.#nib.style.top = `${(100 * this.#pen.y) / SIDE}%`;
    this.#nib.classList.toggle("down", this.#pointer === "keys");
  }
}

function paintStrokes(context, strokes) {
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) paintStroke(context, stroke);
}

/** Draws curves between the midpoints of consecutive points, so that a line has no corners. */
function paintStroke(context, points) {
  let from = points[0];
  context.beginPath();
  context.arc(from.x, from.y, (PEN * from.width) / 2, 0, 2 * Math.PI);
  context.fill(); // a dot, for a tap
  for (const [i, point] of points.entries()) {
    const next = points[i + 1] ?? point;
    const to = { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 };
    context.lineWidth = PEN * point.width;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.quadraticCurveTo(point.x, point.y, to.x, to.y);
    context.stroke();
    from = to;
  }
}

function within(value) {
  return Math.max(PEN / 2, Math.min(SIDE - PEN / 2, value));
}
