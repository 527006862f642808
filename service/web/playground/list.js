// Which frames are shown, in what order, and what to do with all of them: filter, sort, download, progress.

import { announce, byId, gathered, make, setText } from "./elements.js";
import { compileFilter, FilterError } from "./filter.js";
import { canRetry, isOpen } from "./frames.js";
import { download, framesAsCsv, framesAsJson } from "./tables.js";

const GATHER_MS = 120;
const COUNTDOWN_MS = 500;
const ORDERS = [["added", "as added"], ["name", "name"]];
const naturally = new Intl.Collator(undefined, { numeric: true });

export class List extends EventTarget {
  shown = [];
  #frames;
  #model;
  #grid;
  #test = () => true;
  #gathered = gathered(() => this.refresh(), GATHER_MS);

  constructor(frames, model, grid) {
    super();
    this.#frames = frames;
    this.#model = model;
    this.#grid = grid;
    this.#offerOrders();
    byId("filter").addEventListener("input", () => this.#compile());
    byId("sort").addEventListener("change", () => this.#reorder());
    byId("direction").addEventListener("click", () => this.#reverse());
    byId("csv").addEventListener("click", () => this.#download("csv"));
    byId("json").addEventListener("click", () => this.#download("json"));
    frames.addEventListener("added", () => this.refresh());
    frames.addEventListener("removed", ({ detail }) => this.#forget(detail.frames));
    frames.addEventListener("changed", ({ detail }) => this.#update(detail.frame));
  }

  setLabels() {
    this.#offerOrders();
    setText(byId("filter-examples"), "");
    byId("filter-examples").append(...this.#examples());
    const [first] = this.#model.labels;
    if (first) byId("filter").placeholder = `Filter, such as ${this.#model.labels.at(-2)?.title ?? first.title} >= 0.5`;
    this.#compile();
    for (const frame of this.#frames.all) this.#grid.update(frame, this.#labelOrder());
  }

  setFilter(text) {
    byId("filter").value = text;
    this.#compile();
  }

  refresh() {
    const passing = this.#frames.all.filter((frame) => this.#test(frame) === true);
    this.shown = this.#sorted(passing);
    this.#grid.arrange(this.shown);
    this.#showChips();
    this.#showStatus();
    this.dispatchEvent(new Event("arranged"));
  }

  #forget(frames) {
    this.#grid.remove(frames);
    this.refresh();
  }

  #update(frame) {
    this.#grid.update(frame, this.#labelOrder());
    this.#gathered();
  }

  #compile() {
    const input = byId("filter");
    try {
      this.#test = compileFilter(input.value, this.#model.labels);
      this.#showFilterError("");
      this.refresh();
    } catch (error) {
      // The frames stay as they are while a person types; the error says where the expression stopped making sense.
      if (!(error instanceof FilterError)) throw error;
      this.#showFilterError(error.message, input.value.slice(error.start, error.end));
    }
  }

  #showFilterError(message, place = "") {
    const at = message && place && !message.includes(place) ? [make("mark", { textContent: place }), " "] : [];
    byId("filter").setAttribute("aria-invalid", String(Boolean(message)));
    byId("filter-error").replaceChildren(...at, message);
  }

  #offerOrders() {
    const chosen = byId("sort").value;
    const offered = [...ORDERS, ...this.#model.labels.map(({ key, title }) => [`label:${key}`, title])];
    byId("sort").replaceChildren(...offered.map(([value, text]) => make("option", { value, textContent: text, selected: value === chosen })));
  }

  #labelOrder() {
    const { value } = byId("sort");
    return value.startsWith("label:") ? value.slice("label:".length) : null;
  }

  #reorder() {
    for (const frame of this.#frames.all) this.#grid.update(frame, this.#labelOrder());
    this.refresh();
  }

  #reverse() {
    const isReversed = byId("direction").getAttribute("aria-pressed") !== "true";
    byId("direction").setAttribute("aria-pressed", String(isReversed));
    setText(byId("direction"), isReversed ? "↑" : "↓");
    this.refresh();
  }

  // Labels begin with the most probable; frames without an answer stand at the end either way.
  #sorted(frames) {
    const key = this.#labelOrder();
    const sign = byId("direction").getAttribute("aria-pressed") === "true" ? -1 : 1;
    if (!key) {
      const isByName = byId("sort").value === "name";
      const order = isByName ? (a, b) => naturally.compare(a.name, b.name) || a.id - b.id : (a, b) => a.id - b.id;
      return frames.sort((a, b) => sign * order(a, b));
    }
    const isKnown = ({ answer }) => Boolean(answer && key in answer.probabilities);
    const known = frames.filter(isKnown);
    const unknown = frames.filter((frame) => !isKnown(frame));
    known.sort((a, b) => sign * (b.answer.probabilities[key] - a.answer.probabilities[key]) || a.id - b.id);
    return [...known, ...unknown];
  }

  #showChips() {
    const counts = this.#model.labels.map(({ key, title }) => [title, this.#frames.all.filter(({ answer }) => answer?.labels.includes(key)).length]);
    const problems = this.#frames.all.filter(({ problem }) => problem).length;
    const offered = [...counts, ...(problems ? [["problem", problems]] : [])];
    const chips = byId("chips");
    const isSame = chips.children.length === offered.length && offered.every(([name], place) => chips.children[place].dataset.name === name);
    if (!isSame) chips.replaceChildren(...offered.map(([name]) => this.#chip(name)));
    offered.forEach(([name, count], place) => {
      chips.children[place].setAttribute("aria-pressed", String(byId("filter").value.trim() === quoted(name)));
      setText(chips.children[place].lastChild, String(count));
    });
  }

  #chip(name) {
    const chip = make("button", { type: "button" }, `${name} `, make("span", { class: "number" }));
    chip.dataset.name = name;
    chip.addEventListener("click", () => this.setFilter(byId("filter").value.trim() === quoted(name) ? "" : quoted(name)));
    return chip;
  }

  #showStatus() {
    const all = this.#frames.all;
    const open = all.filter(isOpen);
    const refused = open.find(({ refusal }) => refusal)?.refusal;
    byId("progress").max = Math.max(1, all.length);
    byId("progress").value = all.length - open.length;
    byId("progress").classList.toggle("idle", !open.length);
    byId("cancel").hidden = !open.length;
    byId("retry").hidden = Boolean(open.length) || !all.some(canRetry);
    byId("clear").disabled = byId("csv").disabled = byId("json").disabled = !all.length;
    setText(byId("count"), refused ? refusalIn(refused) : countIn(all, open, this.shown));
    if (refused) setTimeout(this.#gathered, COUNTDOWN_MS);
    byId("nothing").hidden = Boolean(this.shown.length);
    setText(byId("nothing"), all.length ? "No frame passes the filter." : "Frames that you add or keep appear here.");
  }

  #download(form) {
    const keys = this.#model.labels.map(({ key }) => key);
    const text = form === "csv" ? framesAsCsv(this.shown, keys) : framesAsJson(this.shown, this.#model.about);
    download(`roadcue.${form}`, form === "csv" ? "text/csv" : "application/json", text);
    announce(`${this.shown.length} frames written to roadcue.${form}`);
  }

  #examples() {
    const [a, b = a, c = b] = this.#model.labels.map(({ title }) => quoted(title));
    const told = [
      [`${a} >= 0.5`, `${a} is at least that probable`],
      [`${b} and not ${c}`, `${b} is found, ${c} is not`],
      [`(${a} > 20% or ${b} > 20%) and ${c} < 0.1`, "several, joined"],
      ["problem", "frames with a problem in place of an answer"],
    ];
    return a ? told.map(([code, text]) => make("div", {}, make("dt", {}, make("code", { textContent: code })), make("dd", { textContent: text }))) : [];
  }
}

// A name as the filter reads it: in quotation marks where it holds a sign or a keyword.
const quoted = (name) => (/^[^\s"&|≥≤≠><=!()]+( [^\s"&|≥≤≠><=!()]+)*$/u.test(name) && !/\b(and|or|not)\b/i.test(name) ? name : `"${name}"`);

function refusalIn({ problem, untilMs }) {
  const seconds = Math.max(1, Math.ceil((untilMs - performance.now()) / 1000));
  return `${problem.title} (${problem.status || "no answer"}): trying again in ${seconds} s`;
}

function countIn(all, open, shown) {
  const failed = all.filter(({ problem }) => problem).length;
  const cancelled = all.filter(({ state }) => state === "cancelled").length;
  const parts = [open.length ? `${all.length - open.length} of ${all.length} answered` : all.length === 1 ? "1 frame" : `${all.length} frames`];
  if (shown.length !== all.length) parts.push(`${shown.length} shown`);
  if (failed) parts.push(failed === 1 ? "1 problem" : `${failed} problems`);
  if (cancelled) parts.push(`${cancelled} not sent`);
  return parts.join(" · ");
}
