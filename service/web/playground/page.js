// The wiring of the playground: who tells whom.
//
//   intake -> frames -> outbox -> service            model   labels and thresholds for all of them
//                  \-> list -> grid                  viewer  the frame that is chosen
//   live view -> live frames -> service

import { announce, byId, complain, hideToast, make } from "./elements.js";
import { canRetry, Frames, isOpen } from "./frames.js";
import { Grid } from "./grid.js";
import { openIntake } from "./intake.js";
import { List } from "./list.js";
import { LiveView } from "./live_view.js";
import { Model } from "./model.js";
import { Outbox } from "./outbox.js";
import { listenToKeys } from "./shortcuts.js";
import { Viewer } from "./viewer.js";

const frames = new Frames();
const model = new Model();
let chosen = null;

const viewer = new Viewer(model, { onAgain: (frame) => outbox.send([frame]) });
const outbox = new Outbox(frames, (frame) => frame === chosen && viewer.chosen !== null);
const grid = new Grid(byId("grid"), { onChoose: choose, onOpen: open, onRemove: remove, titleOf: (key) => model.titleOf(key) });
const list = new List(frames, model, grid);
const live = new LiveView(model, viewer, (kept) => frames.add([kept]));

function showView() {
  document.body.dataset.view = frames.size || live.isOpen ? "frames" : "empty";
}

function choose(frame, scrolls = true) {
  chosen = frame;
  if (frame && live.isOpen) live.close();
  if (frame) outbox.prefer(frame);
  viewer.look(frame);
  grid.mark(frame, scrolls);
  showMoves();
}

// On a narrow screen the stage stands above the list, and whoever touches a card wants to see its frame.
function open(frame) {
  choose(frame, false);
  grid.focus(frame);
  if (!matchMedia("(min-width: 60rem)").matches) byId("stage").scrollIntoView({ block: "start" });
}

function move(step) {
  const place = list.shown.indexOf(chosen);
  const next = list.shown[place < 0 ? 0 : place + step];
  if (!next) return;
  const hadFocus = grid.hasFocus;
  choose(next);
  if (hadFocus) grid.focus(next);
}

function showMoves() {
  const place = list.shown.indexOf(chosen);
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place === list.shown.length - 1;
  byId("remove").disabled = !chosen;
}

function remove(frame) {
  if (!frame) return;
  const place = list.shown.indexOf(frame);
  const hadFocus = grid.hasFocus;
  const neighbour = list.shown[place + 1] ?? list.shown[place - 1] ?? null;
  frames.remove([frame]);
  const next = frames.has(neighbour) ? neighbour : frames.all[0] ?? null;
  if (!live.isOpen) choose(next);
  if (hadFocus && next) grid.focus(next);
  announce(`${frame.name} removed`);
}

function addImages(files) {
  if (live.isOpen) live.close();
  const added = frames.add(files);
  outbox.send(added);
  if (!frames.has(chosen)) choose(added[0], false);
  announce(added.length === 1 ? `${added[0].name} added` : `${added.length} frames added`);
}

function cancel() {
  if (frames.all.some(isOpen)) outbox.cancel();
  else live.close();
}

function told(frame) {
  if (frame.problem) return `${frame.name}: ${frame.problem.title}`;
  const found = frame.answer.labels.map((key) => model.titleOf(key)).join(", ");
  return `${frame.name}: ${found || "nothing"} found`;
}

frames.addEventListener("added", showView);
frames.addEventListener("removed", showView);
frames.addEventListener("changed", ({ detail: { frame } }) => {
  if (frame === chosen) viewer.refresh();
  if (frame === chosen && (frame.answer || frame.problem)) announce(told(frame));
  if (frame.answer) model.check(frame.answer);
});
outbox.addEventListener("idle", () => {
  const count = (test) => frames.all.filter(test).length;
  const problems = count(({ problem }) => problem);
  const unsent = count(({ state }) => state === "cancelled");
  const rest = `${problems ? `, ${problems} with a problem` : ""}${unsent ? `, ${unsent} not sent` : ""}`;
  if (frames.size > 1) announce(`${count(({ answer }) => answer)} of ${frames.size} frames answered${rest}`);
});
list.addEventListener("arranged", () => {
  grid.mark(chosen, false);
  showMoves();
});
live.addEventListener("opened", () => {
  chosen = null;
  grid.mark(null, false);
  showMoves();
  showView();
});
live.addEventListener("closed", () => {
  if (!chosen) choose(frames.all.at(-1) ?? null, false);
  showView();
});
model.addEventListener("loaded", () => {
  viewer.setLabels(model.labels);
  live.setLabels(model.labels);
  list.setLabels();
  byId("questions").replaceChildren(...model.labels.map(({ title }) => make("li", { textContent: title })));
});

openIntake({ onImages: addImages, onVideo: (file) => live.openVideo(file) });
for (const id of ["images", "choose"]) byId(id).addEventListener("click", () => byId("pick-images").click());
byId("video").addEventListener("click", () => byId("pick-video").click());
byId("camera").addEventListener("click", () => live.openCamera());
byId("previous").addEventListener("click", () => move(-1));
byId("next").addEventListener("click", () => move(1));
byId("remove").addEventListener("click", () => remove(chosen));
byId("clear").addEventListener("click", () => {
  frames.remove(frames.all);
  if (!live.isOpen) choose(null);
});
byId("cancel").addEventListener("click", () => outbox.cancel());
byId("retry").addEventListener("click", () => outbox.send(frames.all.filter(canRetry)));
byId("toast-close").addEventListener("click", hideToast);
byId("help").addEventListener("click", () => byId("help-dialog").showModal());
byId("help-close").addEventListener("click", () => byId("help-dialog").close());
listenToKeys({
  o: () => byId("pick-images").click(),
  "/": () => byId("filter").focus(),
  "?": () => byId("help-dialog").showModal(),
  ArrowLeft: () => move(-1),
  ArrowRight: () => move(1),
  Delete: () => remove(chosen),
  Escape: cancel,
  ...Object.fromEntries(Array.from({ length: 10 }, (_, number) => [String(number), () => viewer.chooseNumber(number)])),
});
addEventListener("unhandledrejection", ({ reason }) => complain(`The page failed: ${reason?.message ?? reason}`));

showMoves();
await model.load();
