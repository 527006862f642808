// Frames of a playing video or camera, at most so many a second: one under way at a time, and always the newest.

import { predict } from "./service.js";
import { isPassing, pause, waitS } from "./patience.js";

const LONGER_SIDE_PX = 1280;
const QUALITY = 0.9;
const LOOK_AGAIN_S = 0.03;
const PAUSE_AT_MOST_S = 5;

export class LiveFrames {
  #video;
  #hear;
  #canvas = document.createElement("canvas");
  #stop = new AbortController();
  #seen = -1; // media time of the frame that was sent last
  #isPainted; // before the browser has painted a first frame it draws black
  rate = 2;
  skipped = 0;

  // hear: {onAnswer({blob, seconds, answer}), onProblem(problem)}
  constructor(video, hear) {
    this.#video = video;
    this.#hear = hear;
    this.#isPainted = !("requestVideoFrameCallback" in video);
    video.requestVideoFrameCallback?.(() => { this.#isPainted = true; });
  }

  stop() {
    this.#stop.abort(new DOMException("stopped", "AbortError"));
  }

  async run() {
    const { signal } = this.#stop;
    try {
      for (let dueMs = 0; ; ) {
        await this.#untilDue(dueMs, signal);
        dueMs = this.#nextDue(dueMs);
        await this.#ask(signal);
      }
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  async #untilDue(dueMs, signal) {
    do await pause(Math.max(LOOK_AGAIN_S, (dueMs - performance.now()) / 1000), signal);
    while (!this.#hasNewFrame());
  }

  #hasNewFrame() {
    const { readyState, currentTime, seeking } = this.#video;
    const isThere = this.#isPainted && readyState >= HTMLMediaElement.HAVE_CURRENT_DATA && !seeking;
    return isThere && currentTime !== this.#seen;
  }

  // Turns that passed while the service was at work are skipped, never made up for.
  #nextDue(dueMs) {
    const nowMs = performance.now();
    const intervalMs = 1000 / this.rate;
    const missed = dueMs && !this.#video.paused ? Math.floor((nowMs - dueMs) / intervalMs) : 0;
    this.skipped += Math.max(0, missed);
    return Math.max(nowMs, dueMs + missed * intervalMs) + intervalMs;
  }

  async #ask(signal) {
    const seconds = this.#video.currentTime;
    this.#seen = seconds;
    const blob = await this.#captured();
    try {
      const answer = await predict(blob, "frame.jpg", { evidence: true, signal });
      this.#hear.onAnswer({ blob, seconds, answer });
    } catch (error) {
      if (!error.problem) throw error;
      this.#hear.onProblem(error.problem);
      // A film that is held shows no other frame: this one is asked about again.
      if (isPassing(error.problem)) this.#seen = -1;
      await pause(Math.min(PAUSE_AT_MOST_S, waitS(error, 1, 0) ?? 1), signal);
    }
  }

  #captured() {
    const { videoWidth, videoHeight } = this.#video;
    const scale = Math.min(1, LONGER_SIDE_PX / Math.max(videoWidth, videoHeight));
    Object.assign(this.#canvas, { width: Math.round(videoWidth * scale), height: Math.round(videoHeight * scale) });
    this.#canvas.getContext("2d").drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    return new Promise((resolve) => { this.#canvas.toBlob(resolve, "image/jpeg", QUALITY); });
  }
}
