// One question at a time. An answer counts only for a picture that was on the screen: keys pressed before it was
// shown, or while the last answer is still being written, are ignored.

const ANSWERS = { y: "present", n: "absent", u: "unknown" };
const MOVES = { b: back, ArrowLeft: back, s: skip, ArrowRight: skip, o: askOthers, p: toggleProbability };
const WORDS = { present: "Yes", absent: "No", unknown: "Cannot tell", "": "" };

const element = (id) => document.getElementById(id);
const state = {
  folder: "",
  frames: new Map(), // image -> frame as the service last told it
  questions: [], // {id, image, label}, in the order they are asked
  others: new Map(), // id -> question that was asked for on top of those near a threshold
  position: 0,
  history: [], // ids that were left, for Back
  skipped: new Set(), // ids
  showsProbability: false,
  frameIsReady: false,
};

const setState = (name) => { document.body.dataset.state = name; };
const say = (text) => { element("message").textContent = text; };
const current = () => state.questions[state.position];
const answerOf = ({ image, label }) => state.frames.get(image).answers[label];
const title = (label) => label.replaceAll("_", " ");
const imageUrl = (image) => `/image?name=${encodeURIComponent(image)}`;
const questionAbout = (image, label) => ({ id: JSON.stringify([image, label]), image, label });
const placeOf = (id) => state.questions.findIndex((question) => question.id === id);

async function request(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail), { code: body.code });
  return body;
}

// Labels near their threshold; where the model has said nothing, all of them.
function labelsToAsk(frame) {
  return frame.distance === null && frame.near.length === 0 ? Object.keys(frame.answers) : frame.near;
}

async function load() {
  const told = await request("/frames");
  state.folder = told.folder;
  state.frames = new Map(told.frames.map((frame) => [frame.image, frame]));
  collectQuestions();
}

// The person stays at the question that was shown, wherever it stands now.
function collectQuestions() {
  const asked = current();
  state.questions = [...state.frames.values()].flatMap((frame) => {
    const others = [...state.others.values()].filter((question) => question.image === frame.image);
    const near = labelsToAsk(frame).map((label) => questionAbout(frame.image, label));
    return [...near, ...others.filter(({ id }) => !near.some((question) => question.id === id))];
  });
  state.position = Math.max(0, asked ? placeOf(asked.id) : 0);
}

// The place of the next question without an answer, from `start` on and then from the beginning; -1 without any.
function nextOpen(start) {
  const places = state.questions.map((_, place) => place);
  const isOpen = (place) => !answerOf(state.questions[place]) && !state.skipped.has(state.questions[place].id);
  return [...places.slice(start), ...places.slice(0, start)].find(isOpen) ?? -1;
}

async function go(place) {
  state.position = place;
  await show();
}

async function advance() {
  const next = nextOpen(state.position + 1);
  state.history.push(current().id);
  if (next < 0) showDone();
  else await go(next);
}

function showProgress() {
  const answered = state.questions.filter(answerOf).length;
  element("progress").max = Math.max(1, state.questions.length);
  element("progress").value = answered;
  element("count").textContent = `${answered} of ${state.questions.length} answered`;
  element("folder").textContent = state.folder;
}

function showQuestion() {
  const { image, label } = current();
  const frame = state.frames.get(image);
  const name = document.createElement("strong");
  name.textContent = title(label);
  element("question").replaceChildren("Does this frame show: ", name, "?");
  const stands = frame.answers[label];
  element("stands").textContent = stands ? `Answered: ${WORDS[stands]}` : "";
  const probability = frame.probabilities[label];
  const shown = probability === undefined ? "the model has not said" : `the model says ${(100 * probability).toFixed(1)} %`;
  element("probability").textContent = state.showsProbability ? shown : "";
  element("about").textContent = [frame.source, frame.group].filter(Boolean).join(" · ");
  element("frame").alt = `frame ${image}`;
}

async function show() {
  setState("loading");
  state.frameIsReady = false;
  setDone(false);
  showProgress();
  showQuestion();
  const { image } = current();
  const shown = await showImage(image);
  if (current().image !== image) return;
  state.frameIsReady = shown;
  for (const button of document.querySelectorAll("#answers button")) button.disabled = !shown;
  preloadNext();
  setState(shown ? "ready" : "missing");
}

async function showImage(image) {
  const picture = element("frame");
  if (picture.dataset.image !== image) {
    picture.src = imageUrl(image);
    picture.dataset.image = image;
  }
  const shown = await picture.decode().then(() => true, () => false);
  if (!shown) delete picture.dataset.image;
  picture.hidden = !shown;
  element("missing").hidden = shown;
  return shown;
}

function preloadNext() {
  const next = nextOpen(state.position + 1);
  if (next >= 0) new Image().src = imageUrl(state.questions[next].image);
}

function setDone(isDone) {
  for (const id of ["ask", "answers"]) element(id).hidden = isDone;
  document.querySelector("figure").hidden = isDone;
  element("done").hidden = !isDone;
}

function showDone() {
  const skipped = state.skipped.size;
  showProgress();
  setDone(true);
  state.frameIsReady = false;
  element("done-title").textContent = doneTitle(skipped);
  element("done-text").textContent = doneText(skipped);
  element("done-source").hidden = skipped > 0 || state.questions.length === 0;
  element("done-source").textContent = `[[sources]]\nformat = "table"\npath = ${JSON.stringify(state.folder)}`;
  setState("done");
}

function doneTitle(skipped) {
  if (state.questions.length === 0) return "No frame waits for an answer here";
  return skipped ? `${skipped} skipped, all others answered` : "All answered";
}

function doneText(skipped) {
  if (state.questions.length === 0) return "roadcue predict --uncertain keeps those that are near a threshold.";
  if (skipped) return "S goes through the skipped ones again.";
  return "Train with the answers: name the folder as one more source in your data's TOML file.";
}

async function answer(value) {
  if (!state.frameIsReady) return;
  const { image, label } = current();
  setState("saving");
  const given = { image, label, answer: value, seen: answerOf({ image, label }) };
  const headers = { "Content-Type": "application/json" };
  const frame = await request("/answers", { method: "POST", headers, body: JSON.stringify(given) });
  state.frames.set(image, frame);
  state.skipped.delete(current().id);
  await advance();
}

async function skip() {
  if (document.body.dataset.state === "done") return again();
  if (!answerOf(current())) state.skipped.add(current().id);
  await advance();
}

async function again() {
  state.skipped.clear();
  const next = nextOpen(0);
  if (next >= 0) await go(next);
}

// To what was asked before; at the start of a session to what stands above in the list.
async function back() {
  const left = placeOf(state.history.pop());
  if (left < 0 && state.position === 0 && document.body.dataset.state !== "done") return;
  await go(left < 0 ? Math.max(0, state.position - 1) : left);
}

function askOthers() {
  if (document.body.dataset.state === "done") return;
  const { image } = current();
  const { answers } = state.frames.get(image);
  const fresh = Object.keys(answers).map((label) => questionAbout(image, label));
  const open = fresh.filter((question) => !answerOf(question) && placeOf(question.id) < 0);
  for (const question of open) state.others.set(question.id, question);
  collectQuestions();
  showProgress();
  const titles = open.map(({ label }) => title(label)).join(", ");
  say(titles ? `Also asked about this frame: ${titles}.` : "No other label is unanswered here.");
}

function toggleProbability() {
  state.showsProbability = !state.showsProbability;
  document.querySelector('[data-key="p"]').setAttribute("aria-pressed", state.showsProbability);
  if (current()) showQuestion();
}

// The state on disk is the true one: after a refusal it is read again and shown.
async function handle(key) {
  if (["loading", "saving"].includes(document.body.dataset.state)) return;
  const isNothing = state.questions.length === 0;
  if (isNothing && key !== "p") return;
  try {
    say("");
    if (key in ANSWERS) await answer(ANSWERS[key]);
    else await MOVES[key]?.();
  } catch (error) {
    await recover(error);
  }
}

async function recover(error) {
  await reload();
  say(error instanceof TypeError ? "The service does not answer: is roadcue label still running?" : error.message);
}

async function reload() {
  try {
    await load();
    if (current() === undefined || state.questions.length === 0) showDone();
    else await show();
  } catch (error) {
    say(error.message);
    setState("failed");
  }
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!(key in ANSWERS) && !(key in MOVES)) return;
  event.preventDefault();
  handle(key);
});
for (const button of document.querySelectorAll("button[data-key]")) {
  button.addEventListener("click", () => handle(button.dataset.key));
}
// Another tab, or a person with a spreadsheet, may have answered in the meantime.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && document.body.dataset.state === "ready") reload();
});

await reload();
if (state.questions.length > 0) {
  const first = nextOpen(0);
  if (first < 0) showDone();
  else await go(first);
}
