/** Connects the parts of the page: sends the drawing to the model and shows the prediction. */

import { Model, modelName, Trouble } from "./model.js";
import { newest, sleep } from "./newest.js";
import { Paper } from "./paper.js";
import { text, translate } from "./texts.js";
import { repaint, showClasses, showNothing, showPrediction, showWaiting } from "./view.js";

const byId = (id) => document.getElementById(id);

translate();

const paper = new Paper(byId("sheet"), byId("nib"), drawn);
const requests = newest(predict, { pause: 120, patience: 1000 });

let model = null; // once its name is known
let version = null; // of the model, once its classes have been loaded
let classes = { names: [], weights: [] };
let revision = 0; // of the drawing and the version
let trouble = null; // the error that is shown
let speech; // timer of the announcement

/** Polls the state of the server indefinitely: every five seconds, every second after an error. */
async function watch() {
  for (let second = 0; ; second++) {
    if (!document.hidden && (trouble?.temporary || second % 5 === 0)) await check();
    await sleep(1000);
  }
}

async function check() {
  try {
    model ??= new Model(await modelName());
    const newestVersion = await model.version();
    const isNew = newestVersion !== version;
    if (isNew) {
      classes = await model.describe();
      version = newestVersion;
      byId("version").textContent = text.version(version);
      invite(classes.names);
      showClasses(classes);
    }
    if (!isNew && !trouble?.temporary) return;
    if (paper.isTooSmall) settle();
    else update();
  } catch (error) {
    fail(error);
  }
}

async function predict(signal) {
  if (paper.isTooSmall || version === null) return;
  const requested = revision;
  try {
    const prediction = await model.predict(paper.toDataURL(), signal);
    if (signal.aborted) return;
    learnNames(prediction);
    settle();
    byId("latency").textContent = `${Math.max(1, Math.round(prediction.milliseconds))} ms`;
    const sentence = showPrediction(prediction, classes.names);
    if (requested === revision) {
      byId("answer").ariaBusy = "false";
      announce(sentence);
    }
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

/** Learns the name of a class from a prediction, for a model without the signature `classes`. */
function learnNames({ probabilities, id, name }) {
  if (classes.names[id] === name && classes.names.length === probabilities.length) return;
  const names = probabilities.map((_, i) => (i === id ? name : (classes.names[i] ?? String(i))));
  classes = { names, weights: [] };
  showClasses(classes);
}

function drawn(grown) {
  if (!grown) requests.cancel(); // the old drawing no longer matters
  if (trouble && !trouble.temporary) settle();
  byId("paper").classList.toggle("empty", paper.isEmpty);
  byId("undo").ariaDisabled = String(!paper.canUndo);
  byId("redo").ariaDisabled = String(!paper.canRedo);
  byId("clear").ariaDisabled = String(paper.isEmpty);
  update();
}

/** Requests a prediction, because the drawing or the version has changed. */
function update() {
  revision += 1;
  clearTimeout(speech);
  byId("spoken").textContent = "";
  byId("answer").ariaBusy = String(!paper.isTooSmall);
  if (paper.isTooSmall) {
    showNothing(paper.isEmpty ? text.nothing : text.tooSmall);
    if (!paper.isEmpty) announce(text.tooSmall);
  } else {
    showWaiting();
    requests.request();
  }
}

/** Has a screen reader say a sentence, but not while it still changes. */
function announce(sentence) {
  clearTimeout(speech);
  speech = setTimeout(() => (byId("spoken").textContent = sentence), 700);
}

function settle() {
  trouble = null;
  showState("ready", text.ready);
}

function fail(error) {
  trouble = error instanceof Trouble ? error : new Trouble(text.internal(error.message));
  showState("trouble", trouble.temporary ? text.retrying(trouble.message) : trouble.message);
}

function showState(state, message) {
  document.body.dataset.state = state;
  byId("state").classList.toggle("long", message.length > 70);
  // An assignment of the same text would be announced again.
  if (byId("state").textContent !== message) byId("state").textContent = message;
}

function invite(names) {
  const areDigits = names.length > 0 && names.every((name) => /^\d$/.test(name));
  if (areDigits) byId("invitation").textContent = text.drawDigit(names.at(0), names.at(-1));
  else byId("invitation").textContent = names.length ? text.drawOne(names.length) : text.drawHere;
  byId("examples").hidden = !areDigits;
}

async function open(file, otherwise) {
  try {
    if (!file) throw new Trouble(otherwise, { temporary: false });
    await paper.open(file).catch(() => {
      throw new Trouble(text.notPicture(file.name), { temporary: false });
    });
  } catch (error) {
    fail(error);
  }
}

for (const button of byId("examples").querySelectorAll("button")) {
  button.addEventListener("click", () => {
    byId("sheet").focus(); // because the examples vanish
    paper.open(button.firstChild);
  });
}
byId("undo").addEventListener("click", () => paper.undo());
byId("redo").addEventListener("click", () => paper.redo());
byId("clear").addEventListener("click", () => paper.clear());
byId("open").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  if (target.files.length) open(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
addEventListener("keydown", (event) => {
  const key = event.ctrlKey || event.metaKey ? event.key.toLowerCase() : "";
  if (key === "y" || (key === "z" && event.shiftKey)) paper.redo();
  else if (key === "z") paper.undo();
  else if (event.key === "Escape") paper.clear();
  else return;
  event.preventDefault();
});
addEventListener("paste", ({ clipboardData }) => open(clipboardData.files[0], text.notPasted));
addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("paper").classList.add("dropping");
});
addEventListener("dragleave", () => byId("paper").classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault(); // otherwise the browser opens the file
  byId("paper").classList.remove("dropping");
  open(event.dataTransfer.files[0], text.notDropped);
});
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", () => {
    paper.paint();
    repaint();
  });
}

drawn(false);
watch();
