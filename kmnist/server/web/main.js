/** Wires the page together: what is drawn goes to the model, what it answers to the page. */

import { Model, Trouble } from "./model.js";
import { newest, sleep } from "./newest.js";
import { Paper } from "./paper.js";
import { repaint, showAnswer, showClasses, showNothing, showWaiting } from "./view.js";

const byId = (id) => document.getElementById(id);

const model = new Model(new URLSearchParams(location.search).get("model") ?? "kmnist");
const paper = new Paper(byId("sheet"), byId("nib"), drawn);
const asking = newest(ask, { pause: 120, patience: 1000 });

let version = null; // of the model, once it was described
let classes = { names: [], weights: [] };
let questions = 0; // how often the question has changed
let trouble = null; // what keeps the answer from being that to the drawing
let speech;

/** Asks for the state of the server for ever: every five seconds, every second while in trouble. */
async function watch() {
  for (let second = 0; ; second++) {
    if (!document.hidden && (trouble?.temporary || second % 5 === 0)) await check();
    await sleep(1000);
  }
}

async function check() {
  try {
    const newestVersion = await model.version();
    const isNew = newestVersion !== version;
    if (isNew) {
      classes = await model.describe();
      version = newestVersion;
      byId("version").textContent = `version ${version}`;
      byId("hint").textContent = invitation(classes.names);
      showClasses(classes);
    }
    if (!isNew && !trouble?.temporary) return;
    if (paper.isEmpty) settle();
    else renew();
  } catch (error) {
    fail(error);
  }
}

async function ask(signal) {
  if (paper.isEmpty || version === null) return;
  const about = questions;
  try {
    const answer = await model.ask(await paper.toBlob(), signal);
    if (signal.aborted) return;
    learnNames(answer);
    settle();
    byId("latency").textContent = `${Math.max(1, Math.round(answer.milliseconds))} ms`;
    const sentence = showAnswer(answer, classes.names);
    if (about === questions) {
      byId("answer").ariaBusy = "false";
      speech = setTimeout(() => (byId("spoken").textContent = sentence), 700); // once it is at rest
    }
  } catch (error) {
    if (!signal.aborted) fail(error);
  }
}

/** A model that does not tell its classes lets their names be known as they win. */
function learnNames({ probabilities, id, name }) {
  if (classes.names[id] === name && classes.names.length === probabilities.length) return;
  const names = probabilities.map((_, i) => (i === id ? name : (classes.names[i] ?? String(i))));
  classes = { names, weights: [] };
  showClasses(classes);
}

function drawn(grown) {
  if (!grown) asking.cancel(); // it was about what is no longer there
  if (trouble && !trouble.temporary) settle();
  byId("paper").classList.toggle("empty", paper.isEmpty);
  byId("undo").ariaDisabled = String(!paper.canUndo);
  byId("clear").ariaDisabled = String(paper.isEmpty);
  if (paper.isEmpty) showNothing();
  renew();
}

/** Asks, as the answer on the page is to another drawing or from another version. */
function renew() {
  questions += 1;
  clearTimeout(speech);
  byId("spoken").textContent = "";
  byId("answer").ariaBusy = String(!paper.isEmpty);
  if (paper.isEmpty) return;
  showWaiting();
  asking.request();
}

function settle() {
  trouble = null;
  say("ready", "Ready");
}

function fail(error) {
  trouble = error instanceof Trouble ? error : new Trouble(`This page has a fault: ${error.message}`);
  say("trouble", trouble.temporary ? `${trouble.message} Trying again …` : trouble.message);
}

function say(state, words) {
  document.body.dataset.state = state;
  byId("state").classList.toggle("long", words.length > 70);
  if (byId("state").textContent !== words) byId("state").textContent = words; // not spoken twice
}

function invitation(names) {
  const areDigits = names.length > 0 && names.every((name) => /^\d$/.test(name));
  return areDigits ? `Write a digit from ${names.at(0)} to ${names.at(-1)}` : "Draw here";
}

async function lay(file, otherwise) {
  try {
    if (!file) throw new Trouble(otherwise, { temporary: false });
    await paper.lay(file).catch(() => {
      throw new Trouble(`${file.name} is no picture that this browser can read.`, { temporary: false });
    });
  } catch (error) {
    fail(error);
  }
}

byId("undo").addEventListener("click", () => paper.undo());
byId("clear").addEventListener("click", () => paper.clear());
byId("open").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  if (target.files.length) lay(target.files[0]);
  target.value = ""; // the same file may be chosen again
});
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") paper.undo();
  else if (event.key === "Escape") paper.clear();
  else return;
  event.preventDefault();
});
addEventListener("paste", ({ clipboardData }) => lay(clipboardData.files[0], "The clipboard holds no picture."));
addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("paper").classList.add("dropping");
});
addEventListener("dragleave", () => byId("paper").classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault(); // or the browser would open the file
  byId("paper").classList.remove("dropping");
  lay(event.dataTransfer.files[0], "What was dropped is no picture file.");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  paper.paint();
  repaint();
});

drawn(false);
watch();
