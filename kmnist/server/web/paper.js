/** A drawing area for mouse, finger, pen, arrow keys or a picture file, with undo. */

const PEN = 36; // width of a line; the canvas is 560 wide
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
  #stroke = null; // the points of the stroke in progress, the last one of the sheet
  #pointer = null; // the source of the stroke: a pointer id, or "keys"
  #box = null; // the position of the canvas at the start of the stroke, since the page may move
  #pen = { x: 280, y: 280 }; // moved by the arrow keys
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
    this.#moveNib();
  }

  get isEmpty() {
    return this.#sheet === EMPTY;
  }

  get canUndo() {
    return this.#earlier.length > 0;
  }

  undo() {
    if (!this.canUndo) return;
    this.#lift();
    this.#sheet = this.#earlier.pop();
    this.paint();
    this.#changed(false);
  }

  clear() {
    if (!this.isEmpty) this.#become(EMPTY);
  }

  /** Replaces the sheet by a picture. Rejects if the browser cannot decode the file. */
  async open(file) {
    this.#become({ strokes: [], picture: await createImageBitmap(file) });
  }

  /** Returns the sheet as a PNG file: ink on a transparent background, or the picture. */
  toBlob() {
    const { picture } = this.#sheet;
    let canvas = this.#canvas;
    if (picture) {
      const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
      canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(picture.width * scale));
      canvas.height = Math.max(1, Math.round(picture.height * scale));
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    }
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }

  /** Redraws the sheet in the ink colour of the style sheet. */
  paint() {
    const { width, height } = this.#canvas;
    const context = this.#canvas.getContext("2d");
    const { strokes, picture } = this.#sheet;
    context.clearRect(0, 0, width, height);
    if (picture) {
      const scale = Math.min(width / picture.width, height / picture.height);
      const size = [picture.width * scale, picture.height * scale];
      const corner = [(width - size[0]) / 2, (height - size[1]) / 2];
      context.fillStyle = "white"; // the background of a transparent picture
      context.fillRect(...corner, ...size);
      context.drawImage(picture, ...corner, ...size);
    }
    context.strokeStyle = context.fillStyle = getComputedStyle(this.#canvas).color;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of strokes) paintStroke(context, stroke);
  }

  #become(sheet) {
    this.#lift();
    this.#earlier.push(this.#sheet);
    this.#sheet = sheet;
    this.paint();
    this.#changed(false);
  }

  #begin(pointer, point) {
    this.#lift();
    this.#pointer = pointer;
    this.#stroke = [point];
    this.#earlier.push(this.#sheet);
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
    if (drawing) this.undo();
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
    if (event.type === "pointercancel") this.undo(); // the system used it as a gesture
    else this.#lift();
  }

  /** Returns a point with its width: by the pressure of a pen; otherwise a little less at speed. */
  #point(event) {
    const scale = this.#canvas.width / this.#box.width;
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
        this.#pen.x = within(this.#pen.x + STEP * ARROWS[arrow][0], this.#canvas.width);
        this.#pen.y = within(this.#pen.y + STEP * ARROWS[arrow][1], this.#canvas.height);
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
    this.#nib.style.left = `${(100 * this.#pen.x) / this.#canvas.width}%`;
    this.#nib.style.top = `${(100 * this.#pen.y) / this.#canvas.height}%`;
    this.#nib.classList.toggle("down", this.#pointer === "keys");
  }
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

function within(value, size) {
  return Math.max(PEN / 2, Math.min(size - PEN / 2, value));
}
