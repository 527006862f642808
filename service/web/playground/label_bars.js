// A row for each label: its decision, a bar with the mark of the threshold, its probability.

import { make, setText } from "./elements.js";

export const shown = (probability) => probability.toFixed(3);
const percent = (share) => `${(100 * share).toFixed(2)}%`;

export class LabelBars {
  #list;
  #rows = new Map();

  // onChoose: key of the label that was pressed
  constructor(list, onChoose) {
    this.#list = list;
    this.onChoose = onChoose;
  }

  setLabels(labels) {
    this.#rows = new Map(labels.map((label, index) => [label.key, this.#row(label, index)]));
    this.#list.replaceChildren(...[...this.#rows.values()].map(({ item }) => item));
  }

  // answer: as the service tells it, or null while there is none
  show(answer, chosen) {
    for (const [key, row] of this.#rows) showRow(row, key, answer, key === chosen);
  }

  #row({ key, title, threshold }, index) {
    const parts = {
      decision: make("span", { class: "decision" }),
      fill: make("span", { class: "fill" }),
      mark: make("span", { class: "mark" }),
      value: make("span", { class: "value" }),
    };
    const bar = make("span", { class: "bar" }, parts.fill, parts.mark);
    const name = make("span", { class: "name", textContent: title });
    const button = make("button", { type: "button", class: "label" }, parts.decision, name, bar, parts.value);
    button.addEventListener("click", () => this.onChoose(key));
    if (index < 9) button.setAttribute("aria-keyshortcuts", String(index + 1));
    return { item: make("li", {}, button), button, title, threshold, ...parts };
  }
}

function showRow(row, key, answer, isChosen) {
  const probability = answer?.probabilities[key];
  const threshold = answer?.thresholds?.[key] ?? row.threshold;
  const isFound = Boolean(answer?.labels.includes(key));
  row.button.setAttribute("aria-pressed", String(isChosen));
  row.button.setAttribute("aria-label", spoken(row.title, probability, threshold, isFound));
  row.button.classList.toggle("found", isFound);
  row.button.title = `threshold ${shown(threshold)}`;
  row.mark.style.insetInlineStart = percent(threshold);
  row.fill.style.inlineSize = percent(probability ?? 0);
  setText(row.decision, isFound ? "✓" : "");
  setText(row.value, probability === undefined ? "–" : shown(probability));
}

function spoken(title, probability, threshold, isFound) {
  if (probability === undefined) return `${title}: no answer yet`;
  return `${title}: ${isFound ? "found" : "not found"}, probability ${shown(probability)}, threshold ${shown(threshold)}`;
}
