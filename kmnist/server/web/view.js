/** The prediction on the page: the class, the image that the model received, a bar per class. */

import { text } from "./texts.js";

const ids = ["answer", "winner", "certainty", "seen", "caption", "classes", "legend"];
const element = Object.fromEntries(ids.map((id) => [id, document.getElementById(id)]));

let rows = []; // { item, bar, percent, weights, canvas } for each class; the last two may be absent
let seen = null; // the image that the model received, rows of numbers from 0 to 255

/** Creates a row for each class, with an image of its weights unless `weights` is empty. */
export function showClasses({ names, weights }) {
  rows = names.map((name, id) => {
    const item = document.createElement("li");
    const row = { item };
    if (weights[id]) addWeights(row, name, weights[id]);
    const label = part(item, "span", "name");
    label.textContent = label.title = name; // a long name is cut off
    row.bar = part(part(item, "span", "track"), "span", "bar");
    row.percent = part(item, "span", "percent");
    return row;
  });
  seen = null; // the weights may have another size than the image
  if (rows[0]?.canvas) rows[0].canvas.tabIndex = 0;
  element.classes.replaceChildren(...rows.map(({ item }) => item));
  element.classes.classList.toggle("weighted", weights.length > 0);
  element.classes.classList.toggle("short", names.every((name) => name.length < 3));
  element.legend.hidden = weights.length === 0;
  repaint();
  showBars(names.map(() => 0));
}

/** Adds an image to a row. All of them are one tab stop, and the arrow keys move between them. */
function addWeights(row, name, weights) {
  const canvas = part(row.item, "canvas", "weights");
  canvas.tabIndex = -1; // so that a key or a tap enlarges it
  canvas.role = "img";
  canvas.ariaLabel = text.weights(name);
  canvas.addEventListener("focus", () => {
    for (const each of rows) each.canvas.tabIndex = each === row ? 0 : -1;
  });
  canvas.addEventListener("keydown", (event) => {
    const at = rows.indexOf(row);
    const [before, after] = [at - 1, at + 1];
    const keys = { ArrowUp: before, ArrowLeft: before, ArrowDown: after, ArrowRight: after, Home: 0, End: rows.length - 1 };
    if (!(event.key in keys)) return;
    event.preventDefault(); // otherwise the page scrolls
    rows[keys[event.key]]?.canvas.focus();
  });
  row.item.addEventListener("click", () => canvas.focus());
  for (const event of ["mouseenter", "mouseleave", "focusin", "focusout"]) row.item.addEventListener(event, paintSeen);
  Object.assign(row, { canvas, weights });
}

/** Shows a prediction; returns it as a sentence. */
export function showPrediction({ probabilities, id, name, image }, names) {
  showBars(probabilities, id);
  seen = image;
  paintSeen();
  element.seen.parentElement.hidden = !image;
  const [, second] = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const share = percent(probabilities[id]);
  element.answer.classList.remove("empty");
  element.winner.textContent = name;
  element.winner.classList.toggle("long", name.length > 20);
  element.certainty.textContent =
    probabilities[second] < 0.1 ? text.sure(share) : text.unsure(share, names[second], percent(probabilities[second]));
  return `${name}, ${element.certainty.textContent}`;
}

/** Shows no prediction, and why there is none. */
export function showNothing(why) {
  showBars(rows.map(() => 0));
  seen = null;
  paintSeen();
  element.answer.classList.add("empty");
  element.winner.textContent = "–";
  element.certainty.textContent = why;
}

/** Shows that there is a drawing, but no prediction for it yet. */
export function showWaiting() {
  if (element.answer.classList.contains("empty")) element.certainty.textContent = text.waiting;
}

/** Redraws the images in the colours of the style sheet. */
export function repaint() {
  const weighted = rows.filter(({ weights }) => weights);
  const strongest = largest(weighted.map(({ weights }) => weights));
  for (const { canvas, weights } of weighted) paintSigned(canvas, weights, strongest);
  paintSeen();
}

/** Paints the image that the model received; of the class that the user points at, ink × weight on it. */
function paintSeen() {
  const isPointed = (how) => rows.find(({ item, weights }) => weights && item.matches(how));
  const pointed = isPointed(":hover") ?? isPointed(":focus-within");
  const explains = Boolean(seen && pointed);
  element.seen.classList.toggle("explains", explains);
  element.caption.textContent = text.input;
  element.seen.getContext("2d").clearRect(0, 0, element.seen.width, element.seen.height);
  if (!seen) return;
  resize(element.seen, seen);
  paintPixels(element.seen, seen, (value) => [explains ? "gray" : "white", value / (explains ? 1000 : 255)]);
  if (!explains) return;
  const products = ({ weights }) => weights.map((line, y) => line.map((weight, x) => (weight * seen[y][x]) / 255));
  const strongest = largest(rows.map(products)); // of all classes, so that they can be compared
  const own = products(pointed);
  paintPixels(element.seen, own, signed(element.seen, strongest / 2)); // most are far below the strongest
  const sum = own.flat().reduce((total, value) => total + value, 0);
  element.caption.textContent = text.inkTimesWeight(sum.toFixed(1).replace("-", "−"));
  pointed.canvas.ariaDescription = element.caption.textContent;
}

function showBars(probabilities, winner) {
  for (const [id, { item, bar, percent: label }] of rows.entries()) {
    label.textContent = percent(probabilities[id]);
    bar.style.clipPath = `inset(0 ${100 - Math.round(100 * probabilities[id])}% 0 0 round 2px)`;
    item.classList.toggle("winner", id === winner);
  }
}

function paintSigned(canvas, lines, strongest) {
  resize(canvas, lines);
  paintPixels(canvas, lines, signed(canvas, strongest));
}

/** Returns the look of positive and negative values. */
function signed(canvas, strongest) {
  const { accentColor, color } = getComputedStyle(canvas);
  return (value) => [value > 0 ? accentColor : color, Math.min(1, Math.abs(value) / strongest)];
}

function largest(values) {
  return values.flat(2).reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
}

/** Clears a canvas, and gives it a pixel for each value. */
function resize(canvas, lines) {
  canvas.height = lines.length;
  canvas.width = lines[0].length;
}

/** `look` returns the colour and the opacity of a value. */
function paintPixels(canvas, lines, look) {
  const context = canvas.getContext("2d");
  for (const [y, line] of lines.entries()) {
    for (const [x, value] of line.entries()) {
      [context.fillStyle, context.globalAlpha] = look(value);
      context.fillRect(x, y, 1, 1);
    }
  }
}

/** Returns a probability in percent. Only what is 1 to a tenth of a percent is 100%. */
function percent(probability) {
  const rounded = Math.round(100 * probability);
  return rounded === 100 && probability < 0.9995 ? ">99%" : `${rounded}%`;
}

function part(parent, tag, className) {
  const child = document.createElement(tag);
  child.className = className;
  parent.append(child);
  return child;
}
