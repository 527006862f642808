// The frame that is looked at: picture, evidence over it, labels, and where its time went.

import { byId, make, setText } from "./elements.js";
import { canRetry } from "./frames.js";
import { clearEvidence, paintEvidence, paintScale } from "./heatmap.js";
import { LabelBars } from "./label_bars.js";
import { predict, remedyOf } from "./service.js";

// Evidence is a hundred times the rest of an answer: of a long list only the last frames keep it.
const MOST_MAPS = 30;
const STATES = { waiting: "waiting to be sent", sending: "asking the service", cancelled: "not sent" };
const CHOOSE = "Choose a label to see where its evidence lies.";
const LATE = "Evidence is of the frame that was answered last.";
const FAILED = { title: "The page failed", detail: "" };
const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
const ms = (value) => `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;

export class Viewer {
  #model;
  #bars;
  #frame = null;
  #answer = null;
  #chosen = null;
  #picture = null; // blob whose URL the photo shows
  #isAsking = false; // for evidence, of one frame at a time
  #remembered = []; // frames whose evidence is kept, the one looked at last at the end

  // onAgain: frame to send again
  constructor(model, { onAgain }) {
    this.#model = model;
    this.#bars = new LabelBars(byId("bars"), (key) => this.choose(key === this.#chosen ? null : key));
    byId("again").addEventListener("click", () => onAgain(this.#frame));
    byId("opacity").addEventListener("input", () => this.#showOpacity());
    byId("photo").addEventListener("error", () => this.#note("The browser cannot show this file."));
    paintScale(byId("scale"));
    this.#showOpacity();
  }

  get chosen() {
    return this.#chosen;
  }

  setLabels(labels) {
    this.#bars.setLabels(labels);
    if (!labels.some(({ key }) => key === this.#chosen)) this.#chosen = null;
    this.refresh();
  }

  // The label whose evidence is shown, or null.
  choose(key) {
    this.#chosen = key;
    this.refresh();
  }

  chooseNumber(number) {
    const label = this.#model.labels[number - 1];
    if (label || number === 0) this.choose(label?.key ?? null);
  }

  // One of the frames, or null.
  look(frame) {
    this.#frame = frame;
    byId("picture").dataset.shows = frame ? "photo" : "nothing";
    this.#showPhoto(frame?.blob ?? null, frame?.name ?? "");
    this.refresh();
  }

  // What the film shows now; `answer` is null until there is one.
  lookLive(name, answer) {
    if (this.#frame || byId("picture").dataset.shows !== "film") {
      this.#frame = null;
      byId("picture").dataset.shows = "film";
      this.#showPhoto(null, "");
    }
    this.#show(name, answer, null, "");
  }

  // The frame may have changed.
  refresh() {
    if (byId("picture").dataset.shows === "film") this.#show(byId("frame-name").textContent, this.#answer, null, "");
    else this.#show(this.#frame?.name ?? "", this.#frame?.answer ?? null, this.#frame?.problem ?? null, this.#waiting());
  }

  #waiting() {
    const { state, refusal } = this.#frame ?? {};
    return refusal && state !== "answered" ? `${refusal.problem.title}: trying again` : STATES[state] ?? "";
  }

  #show(name, answer, problem, waiting) {
    this.#answer = answer;
    setText(byId("frame-name"), name);
    byId("frame-name").title = name;
    this.#bars.show(answer, this.#chosen);
    this.#showProblem(problem);
    this.#showFacts(answer, waiting);
    this.#showEvidence(answer);
  }

  #showPhoto(blob, name) {
    if (blob === this.#picture) return;
    const photo = byId("photo");
    if (this.#picture) URL.revokeObjectURL(photo.src);
    this.#picture = blob;
    this.#note("");
    if (blob) Object.assign(photo, { src: URL.createObjectURL(blob), alt: name });
    else photo.removeAttribute("src");
  }

  #note(text) {
    setText(byId("picture-note"), text);
    byId("photo").hidden = Boolean(text);
  }

  #showProblem(problem) {
    byId("problem").hidden = !problem;
    byId("bars").hidden = byId("bars-hint").hidden = Boolean(problem);
    if (!problem) return;
    setText(byId("problem-title"), problem.title);
    setText(byId("problem-detail"), sentence(problem.detail));
    setText(byId("problem-remedy"), remedyOf(problem));
    byId("again").hidden = !canRetry(this.#frame);
  }

  #showFacts(answer, waiting) {
    const facts = answer ? this.#facts(answer) : waiting ? [["State", waiting]] : [];
    byId("facts").replaceChildren(...facts.map(([term, text]) => make("div", {}, make("dt", { textContent: term }), make("dd", { textContent: text }))));
  }

  #facts({ model, width, height, timing_ms: timing, round_trip_ms: roundTrip }) {
    return [
      ["Frame", `${width} × ${height}`],
      ["Model", `${model.name} ${model.version}`],
      ["Runs as", this.#model.execution],
      ["Decode", ms(timing.decode)],
      ["Queue", ms(timing.queue)],
      ["Network", ms(timing.inference)],
      ["Service", ms(timing.total)],
      ["Round trip", ms(roundTrip)],
    ];
  }

  #showEvidence(answer) {
    const overlay = byId("overlay");
    const maps = answer?.evidence?.maps;
    setText(byId("evidence-hint"), this.#chosen && byId("picture").dataset.shows === "film" ? LATE : CHOOSE);
    byId("evidence").dataset.on = String(Boolean(this.#chosen));
    setText(byId("scale-label"), this.#chosen ? `Evidence of ${this.#model.titleOf(this.#chosen)}` : "Evidence");
    if (maps && this.#frame) this.#remember(this.#frame);
    if (this.#chosen && maps?.[this.#chosen]) paintEvidence(overlay, maps[this.#chosen], answer.width, answer.height);
    else clearEvidence(overlay);
    if (this.#chosen && answer && !maps) this.#fetchEvidence(this.#frame);
  }

  #remember(frame) {
    this.#remembered = [...this.#remembered.filter((other) => other !== frame), frame];
    if (this.#remembered.length > MOST_MAPS) delete this.#remembered.shift().answer?.evidence;
  }

  #showOpacity() {
    const percent = Number(byId("opacity").value);
    byId("overlay").style.opacity = String(percent / 100);
    setText(byId("opacity-value"), `${percent} %`);
  }

  // Frames are answered without evidence until somebody wants to see it: it is by far the larger part of an answer.
  async #fetchEvidence(frame) {
    if (!frame || this.#isAsking) return;
    this.#isAsking = true;
    const { evidence, problem } = await predict(frame.blob, frame.name, { evidence: true }).catch((error) => ({ problem: error.problem ?? FAILED }));
    this.#isAsking = false;
    if (evidence && frame.answer) frame.answer.evidence = evidence;
    if (this.#frame === frame && problem) this.#noEvidence(problem);
    else if (this.#frame === frame) this.refresh();
    else if (this.#chosen && this.#frame?.answer && !this.#frame.answer.evidence) this.#fetchEvidence(this.#frame);
  }

  #noEvidence({ title, detail }) {
    setText(byId("scale-label"), `No evidence: ${title}`);
    byId("scale-label").title = detail;
  }
}
