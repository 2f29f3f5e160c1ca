/** The prediction on the page: the class, the image that the model received, a bar per class. */

const element = Object.fromEntries(
  ["answer", "winner", "certainty", "seen", "classes", "legend"].map((id) => [id, document.getElementById(id)]),
);

let rows = []; // { item, bar, percent, paint } for each class

/** Creates a row for each class, with an image of its weights unless `weights` is empty. */
export function showClasses({ names, weights }) {
  const largest = Math.max(...weights.flat(2).map(Math.abs));
  rows = names.map((name, id) => {
    const item = document.createElement("li");
    const row = { item, paint() {} };
    if (weights[id]) {
      const canvas = part(item, "canvas", "weights");
      canvas.tabIndex = 0; // so that a key or a tap enlarges it
      canvas.role = "img";
      canvas.ariaLabel = `Weights of ${name}`;
      row.paint = () => paintWeights(canvas, weights[id], largest);
    }
    part(item, "span", "name").textContent = name;
    row.bar = part(part(item, "span", "track"), "span", "bar");
    row.percent = part(item, "span", "percent");
    return row;
  });
  element.classes.replaceChildren(...rows.map(({ item }) => item));
  element.classes.classList.toggle("weighted", weights.length > 0);
  element.classes.classList.toggle("short", names.every((name) => name.length < 3));
  element.legend.hidden = weights.length === 0;
  repaint();
  showBars(names.map(() => 0));
}

/** Shows a prediction; returns it as a sentence. */
export function showPrediction({ probabilities, id, name, image }, names) {
  showBars(probabilities, id);
  paintImage(image);
  element.seen.parentElement.hidden = !image;
  const [, second] = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const isClose = probabilities[second] >= 0.1;
  element.answer.classList.remove("empty");
  element.winner.textContent = name;
  element.certainty.textContent =
    `${percent(probabilities[id])} sure` +
    (isClose ? `, or ${names[second]} with ${percent(probabilities[second])}` : "");
  return `${name}, ${element.certainty.textContent}`;
}

export function showNothing() {
  showBars(rows.map(() => 0));
  paintImage();
  element.answer.classList.add("empty");
  element.winner.textContent = "–";
  element.certainty.textContent = "Nothing drawn yet";
}

/** Shows that there is a drawing, but no prediction for it yet. */
export function showWaiting() {
  if (element.answer.classList.contains("empty")) element.certainty.textContent = "No prediction yet";
}

/** Redraws the images in the colours of the style sheet. */
export function repaint() {
  for (const row of rows) row.paint();
}

function showBars(probabilities, winner) {
  for (const [id, { item, bar, percent: label }] of rows.entries()) {
    label.textContent = percent(probabilities[id]);
    bar.style.transform = `translateX(${parseInt(label.textContent) - 100}%)`;
    item.classList.toggle("winner", id === winner);
  }
}

function paintImage(image) {
  const context = element.seen.getContext("2d");
  context.clearRect(0, 0, element.seen.width, element.seen.height);
  if (image) paintPixels(element.seen, image, (value) => ["white", value / 255]);
}

function paintWeights(canvas, weights, largest) {
  const { accentColor, color } = getComputedStyle(canvas);
  paintPixels(canvas, weights, (value) => [value > 0 ? accentColor : color, Math.abs(value) / largest]);
}

/** `look` returns the colour and the opacity of a value. */
function paintPixels(canvas, lines, look) {
  canvas.height = lines.length;
  canvas.width = lines[0].length;
  const context = canvas.getContext("2d");
  for (const [y, line] of lines.entries()) {
    for (const [x, value] of line.entries()) {
      [context.fillStyle, context.globalAlpha] = look(value);
      context.fillRect(x, y, 1, 1);
    }
  }
}

function percent(probability) {
  return `${Math.round(100 * probability)}%`;
}

function part(parent, tag, className) {
  const child = document.createElement(tag);
  child.className = className;
  parent.append(child);
  return child;
}
