// The cards of all frames: one stop for Tab, arrows move the choice.

import { make, setText } from "./elements.js";
import { Thumbnails } from "./thumbnails.js";
import { shown } from "./label_bars.js";

const CHIPS = 3;

export class Grid {
  #root;
  #cards = new Map();
  #order = [];
  #marked = []; // the chosen card and the one where Tab stops
  #thumbnails;

  // onChoose, onOpen, onRemove: are told the frame; onOpen where it was clicked
  // titleOf: label key -> title
  constructor(root, { onChoose, onOpen, onRemove, titleOf }) {
    this.#root = root;
    this.#thumbnails = new Thumbnails();
    Object.assign(this, { onChoose, onOpen, onRemove, titleOf });
    root.addEventListener("click", (event) => this.#open(event.target.closest("[role=option]")));
    root.addEventListener("keydown", (event) => this.#press(event));
  }

  // The frames to show, in their order.
  arrange(frames) {
    this.#order = frames;
    const wanted = frames.map((frame) => this.#cardOf(frame).root);
    const isSame = wanted.length === this.#root.children.length && wanted.every((root, place) => this.#root.children[place] === root);
    if (isSame) return;
    const focused = this.#root.contains(document.activeElement) ? document.activeElement : null;
    this.#root.replaceChildren(...wanted);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }

  remove(frames) {
    for (const frame of frames) {
      const card = this.#cards.get(frame);
      if (!card) continue;
      this.#thumbnails.forget(card);
      card.root.remove();
      this.#cards.delete(frame);
    }
  }

  update(frame, order) {
    const card = this.#cardOf(frame);
    card.root.dataset.state = frame.state;
    card.root.setAttribute("aria-label", `${frame.name}, ${this.#told(frame)}`);
    card.chips.replaceChildren(...this.#chips(frame, order));
  }

  mark(chosen, scrolls) {
    for (const root of this.#marked) {
      root.setAttribute("aria-selected", "false");
      root.tabIndex = -1;
    }
    const root = this.#cards.get(chosen)?.root;
    const stop = this.#order.includes(chosen) ? root : this.#cards.get(this.#order[0])?.root;
    root?.setAttribute("aria-selected", "true");
    if (stop) stop.tabIndex = 0;
    this.#marked = [root, stop].filter(Boolean);
    if (scrolls) root?.scrollIntoView({ block: "nearest" });
  }

  focus(frame) {
    this.#cards.get(frame)?.root.focus({ preventScroll: true });
  }

  get hasFocus() {
    return this.#root.contains(document.activeElement);
  }

  #cardOf(frame) {
    if (!this.#cards.has(frame)) this.#cards.set(frame, this.#made(frame));
    return this.#cards.get(frame);
  }

  #made(frame) {
    const image = make("img", { alt: "", hidden: true, decoding: "async", draggable: false });
    const chips = make("span", { class: "found" });
    const name = make("span", { class: "name", textContent: frame.name, title: frame.name });
    const root = make("li", { class: "card", role: "option", tabIndex: -1, "aria-selected": "false" }, make("span", { class: "thumbnail" }, image), name, chips);
    root.frame = frame;
    const card = { root, image, chips, frame };
    this.#cards.set(frame, card);
    this.#thumbnails.watch(card);
    this.update(frame);
    return card;
  }

  #chips(frame, order) {
    if (!frame.answer) return [make("span", { class: frame.problem ? "trouble" : "pending", textContent: this.#told(frame) })];
    const { labels, probabilities } = frame.answer;
    if (order && order in probabilities) {
      const text = `${this.titleOf(order)} ${shown(probabilities[order])}`;
      return [make("span", { class: labels.includes(order) ? "chip" : "chip off", textContent: text })];
    }
    if (!labels.length) return [make("span", { class: "pending", textContent: "nothing found" })];
    const chips = labels.slice(0, CHIPS).map((key) => make("span", { class: "chip", textContent: this.titleOf(key) }));
    return labels.length > CHIPS ? [...chips, make("span", { class: "chip off", textContent: `+${labels.length - CHIPS}` })] : chips;
  }

  #told({ state, answer, problem, refusal }) {
    if (answer) return answer.labels.length ? `found: ${answer.labels.map((key) => this.titleOf(key)).join(", ")}` : "nothing found";
    if (problem) return problem.title;
    if (refusal) return "waiting for the service";
    return { waiting: "waiting", sending: "sending", cancelled: "not sent" }[state];
  }

  #open(root) {
    if (root) this.onOpen(root.frame);
  }

  #press(event) {
    const place = this.#order.indexOf(document.activeElement?.frame);
    if (place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Delete") this.onRemove(this.#order[place]);
    else if (!this.#move(place, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  #move(place, key) {
    const columns = this.#columns();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -place, End: this.#order.length - 1 - place, Enter: 0, " ": 0 };
    if (!(key in steps)) return false;
    const frame = this.#order[Math.min(this.#order.length - 1, Math.max(0, place + steps[key]))];
    this.onChoose(frame);
    this.focus(frame);
    return true;
  }

  #columns() {
    const tops = [...this.#root.children].slice(0, 24).map(({ offsetTop }) => offsetTop);
    return tops.filter((top) => top === tops[0]).length;
  }
}
