// The camera or a video file on the stage: opens it, shows what the service says of it, keeps frames on demand.

import { announce, byId, complain, gathered, setText } from "./elements.js";
import { LiveFrames } from "./live_frames.js";
import { download, samplesAsCsv, samplesAsJson } from "./tables.js";
import { Timeline } from "./timeline.js";

const SHOW_MS = 250;
const CAMERA_PROBLEMS = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it beside the page's address and try again.",
  NotFoundError: "There is no camera.",
  NotReadableError: "Another program uses the camera.",
};
const NO_CAMERA = "Browsers lend the camera only to pages over HTTPS or from localhost.";

const clock = (seconds) => `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${(seconds % 60).toFixed(2).padStart(5, "0")}`;

export class LiveView extends EventTarget {
  #model;
  #viewer;
  #keep;
  #film = byId("film");
  #timeline = new Timeline();
  #live = null;
  #last = null; // {blob, seconds, answer} that was answered last
  #name = "";
  #answered = []; // instants in ms of the last answers, for the rate
  #problem = null;
  #redraw = gathered(() => this.#showState(), SHOW_MS);

  // keep: {blob, name, answer} to add to the frames
  constructor(model, viewer, keep) {
    super();
    this.#model = model;
    this.#viewer = viewer;
    this.#keep = keep;
    byId("rate").addEventListener("change", () => this.#setRate());
    byId("keep").addEventListener("click", () => this.#keepFrame());
    byId("stop").addEventListener("click", () => this.close());
    byId("timeline-csv").addEventListener("click", () => this.#download("csv"));
    byId("timeline-json").addEventListener("click", () => this.#download("json"));
    this.#film.addEventListener("timeupdate", () => this.isOpen && this.#redraw());
    this.#film.addEventListener("error", () => this.#film.src && this.#cannotPlay());
  }

  get isOpen() {
    return this.#live !== null;
  }

  setLabels(labels) {
    this.#timeline.setLabels(labels);
  }

  async openCamera() {
    if (!navigator.mediaDevices) return complain(NO_CAMERA);
    try {
      const wish = { video: { facingMode: { ideal: "environment" }, width: { ideal: 1280 } } };
      const stream = await navigator.mediaDevices.getUserMedia(wish);
      this.close();
      this.#film.srcObject = stream;
      stream.getVideoTracks()[0].addEventListener("ended", () => this.close());
      this.#open("Camera", false);
    } catch (error) {
      complain(CAMERA_PROBLEMS[error.name] ?? `The camera cannot be used: ${error.message}`);
    }
  }

  openVideo(file) {
    this.close();
    this.#film.src = URL.createObjectURL(file);
    this.#open(file.name, true);
  }

  close() {
    if (!this.isOpen) return;
    this.#live.stop();
    this.#live = null;
    this.#film.pause();
    for (const track of this.#film.srcObject?.getTracks() ?? []) track.stop();
    this.#film.srcObject = null;
    if (this.#film.src) URL.revokeObjectURL(this.#film.src);
    this.#film.removeAttribute("src");
    this.#film.load();
    byId("live").hidden = byId("timeline").hidden = true;
    announce("Stopped");
    this.dispatchEvent(new Event("closed"));
  }

  #open(name, hasControls) {
    this.#name = name;
    this.#last = this.#problem = null;
    this.#answered = [];
    this.#timeline.clear();
    this.#film.controls = hasControls;
    byId("keep").disabled = true;
    byId("live").hidden = byId("timeline").hidden = false;
    this.#live = new LiveFrames(this.#film, { onAnswer: (sample) => this.#onAnswer(sample), onProblem: (problem) => this.#onProblem(problem) });
    this.#setRate();
    this.#viewer.lookLive(name, null);
    this.dispatchEvent(new Event("opened"));
    this.#film.play().catch(() => {}); // it waits for the person where the browser wants that
    this.#live.run();
    this.#showState();
  }

  #setRate() {
    if (this.#live) this.#live.rate = Number(byId("rate").value);
  }

  #onAnswer(sample) {
    if (!this.isOpen) return;
    this.#last = sample;
    this.#problem = null;
    this.#answered = [...this.#answered.filter((instant) => instant > performance.now() - 5000), performance.now()];
    this.#timeline.add(sample, 1 / this.#live.rate);
    this.#model.check(sample.answer);
    byId("keep").disabled = false;
    this.#viewer.lookLive(this.#name, sample.answer);
    this.#redraw();
  }

  #onProblem(problem) {
    this.#problem = problem;
    this.#redraw();
  }

  #showState() {
    if (!this.isOpen) return;
    this.#timeline.draw(this.#film.duration, this.#film.currentTime);
    setText(byId("live-state"), this.#problem ? `${this.#problem.title}: ${this.#problem.detail}` : this.#pace());
  }

  #pace() {
    if (!this.#answered.length) return "starting";
    const spanS = (this.#answered.at(-1) - this.#answered[0]) / 1000;
    const rate = spanS > 0 ? `${((this.#answered.length - 1) / spanS).toFixed(1)} a second answered` : "answered";
    return this.#live.skipped ? `${rate}, ${this.#live.skipped} skipped` : rate;
  }

  #cannotPlay() {
    complain(`The browser cannot play ${this.#name}. It plays most MP4 and WebM files.`);
    this.close();
  }

  #keepFrame() {
    const { blob, seconds, answer } = this.#last;
    this.#keep({ blob, name: `${this.#name} ${clock(seconds)}.jpg`, answer });
  }

  #download(form) {
    const { samples } = this.#timeline;
    const about = { source: this.#name, ...this.#model.about };
    const text = form === "csv" ? samplesAsCsv(samples, this.#model.labels.map(({ key }) => key)) : samplesAsJson(samples, about);
    download(`roadcue-timeline.${form}`, form === "csv" ? "text/csv" : "application/json", text);
  }
}
