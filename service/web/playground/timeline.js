// How the probabilities of the labels went over the time of a video, or over the last minute of a camera.

import { byId, make } from "./elements.js";

const SVG = "http://www.w3.org/2000/svg";
const CAMERA_WINDOW_S = 60;
const POINTS = 600;
const HEIGHT = 28;
// Three hours at two frames a second.
const MOST_SAMPLES = 21_600;

const shape = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

export class Timeline {
  samples = []; // {seconds, answer} in the order of seconds
  #tracks = new Map();

  setLabels(labels) {
    this.#tracks = new Map(labels.map((label) => [label.key, track(label)]));
    byId("tracks").replaceChildren(...[...this.#tracks.values()].map(({ row }) => row));
  }

  clear() {
    this.samples = [];
    for (const { line } of this.#tracks.values()) line.setAttribute("points", "");
  }

  // What was seen at the same moment before, within half an interval, gives way.
  add(sample, intervalS) {
    const apart = this.samples.filter(({ seconds }) => Math.abs(seconds - sample.seconds) >= intervalS / 2);
    const place = apart.findLastIndex(({ seconds }) => seconds < sample.seconds) + 1;
    const { evidence, ...answer } = sample.answer;
    apart.splice(place, 0, { seconds: sample.seconds, answer });
    this.samples = apart.slice(-MOST_SAMPLES);
  }

  // durationS: length of the video, or Infinity for a camera
  draw(durationS, nowS) {
    const isEndless = !Number.isFinite(durationS);
    const from = isEndless ? Math.max(0, nowS - CAMERA_WINDOW_S) : 0;
    const span = isEndless ? CAMERA_WINDOW_S : Math.max(0.001, durationS);
    const visible = this.samples.filter(({ seconds }) => seconds >= from);
    const step = Math.max(1, Math.ceil(visible.length / POINTS));
    const drawn = visible.filter((_, place) => place % step === 0 || place === visible.length - 1);
    for (const [key, { line, cursor }] of this.#tracks) {
      line.setAttribute("points", pointsOf(drawn, key, from, span));
      const x = (100 * Math.min(span, nowS - from)) / span;
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, x.toFixed(3));
    }
  }
}

function pointsOf(samples, key, from, span) {
  const known = samples.filter(({ answer }) => key in answer.probabilities);
  return known.map(({ seconds, answer }) => `${((100 * (seconds - from)) / span).toFixed(3)},${heightOf(answer.probabilities[key])}`).join(" ");
}

const heightOf = (probability) => ((1 - probability) * (HEIGHT - 2) + 1).toFixed(2);

function track({ title, threshold }) {
  const y = heightOf(threshold);
  const line = shape("polyline", { points: "", class: "curve" });
  const cursor = shape("line", { x1: 0, x2: 0, y1: 0, y2: HEIGHT, class: "cursor" });
  const mark = shape("line", { x1: 0, x2: 100, y1: y, y2: y, class: "limit" });
  const chart = shape("svg", { viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `Probability of ${title} over time` });
  chart.append(mark, cursor, line);
  return { row: make("div", { class: "track" }, make("span", { textContent: title }), chart), line, cursor };
}
