// Sends frames that wait, a few at a time. When the service asks to come back later, all of them wait.

import { predict } from "./service.js";
import { pause, waitS } from "./patience.js";
import { isOpen } from "./frames.js";

// As many as keep a small service busy; browsers open no more than six connections to one origin anyway.
const AT_ONCE = 4;

export class Outbox extends EventTarget {
  #frames;
  #wantsEvidence;
  #waiting = [];
  #running = 0;
  #heldUntilMs = 0;
  #stop = new AbortController();

  // wantsEvidence: frame => whether its evidence is to be asked for as well
  constructor(frames, wantsEvidence) {
    super();
    this.#frames = frames;
    this.#wantsEvidence = wantsEvidence;
    frames.addEventListener("removed", ({ detail }) => this.#forget(new Set(detail.frames)));
  }

  send(frames) {
    for (const frame of frames) this.#frames.change(frame, { state: "waiting", problem: null, refusal: null });
    this.#waiting.push(...frames);
    this.#fill();
  }

  // Before all others: somebody looks at it.
  prefer(frame) {
    const place = this.#waiting.indexOf(frame);
    if (place > 0) this.#waiting.unshift(...this.#waiting.splice(place, 1));
  }

  cancel() {
    this.#stop.abort(new DOMException("cancelled", "AbortError"));
    this.#stop = new AbortController();
    this.#heldUntilMs = 0;
    for (const frame of this.#waiting.splice(0)) this.#frames.change(frame, { state: "cancelled", refusal: null });
  }

  #forget(gone) {
    this.#waiting = this.#waiting.filter((frame) => !gone.has(frame));
    for (const frame of gone) frame.stop?.abort(new DOMException("removed", "AbortError"));
  }

  #fill() {
    while (this.#running < AT_ONCE && this.#waiting.length) {
      this.#running += 1;
      this.#drain().finally(() => {
        this.#running -= 1;
        if (!this.#running) this.dispatchEvent(new Event("idle"));
      });
    }
  }

  async #drain() {
    const stop = this.#stop;
    for (let frame = this.#waiting.shift(); frame; frame = this.#waiting.shift()) {
      frame.stop = new AbortController();
      await this.#settle(frame, AbortSignal.any([stop.signal, frame.stop.signal]));
      delete frame.stop;
      if (stop.signal.aborted) return;
    }
  }

  async #settle(frame, signal) {
    try {
      const answer = await this.#answer(frame, signal);
      this.#frames.change(frame, { state: "answered", answer, refusal: null });
    } catch (error) {
      const isOurs = error.name === "AbortError";
      if (!isOurs && !error.problem) console.error(error);
      const problem = error.problem ?? { code: "page_failed", title: "The page failed", status: 0, detail: String(error) };
      this.#frames.change(frame, isOurs ? { state: "cancelled", refusal: null } : { state: "failed", problem, refusal: null });
    }
  }

  async #answer(frame, signal) {
    let firstMs = 0;
    for (let tries = 1; ; tries += 1) {
      await this.#wait(frame, signal);
      try {
        return await predict(frame.blob, frame.name, { evidence: this.#wantsEvidence(frame), signal });
      } catch (error) {
        if (!error.problem) throw error;
        firstMs ||= performance.now();
        const seconds = waitS(error, tries, performance.now() - firstMs);
        if (seconds === null) throw error;
        this.#hold(frame, error.problem, seconds);
      }
    }
  }

  #hold(frame, problem, seconds) {
    this.#heldUntilMs = Math.max(this.#heldUntilMs, performance.now() + seconds * 1000);
    this.#frames.change(frame, { refusal: { problem, untilMs: this.#heldUntilMs } });
  }

  async #wait(frame, signal) {
    while (this.#heldUntilMs > performance.now()) await pause((this.#heldUntilMs - performance.now()) / 1000, signal);
    signal.throwIfAborted();
    if (isOpen(frame)) this.#frames.change(frame, { state: "sending" });
  }
}
