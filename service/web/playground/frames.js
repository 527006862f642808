// The frames a person has added, and what is known of each.
//
//   state      waiting -> sending -> answered | failed;   cancelled where it was not sent
//   answer     as service.js tells it        problem    as the API tells it
//   refusal    {problem, untilMs} while the service asked to come back later

import { isPassing } from "./patience.js";

export class Frames extends EventTarget {
  #frames = new Map();
  #made = 0;

  get all() {
    return [...this.#frames.values()];
  }

  get size() {
    return this.#frames.size;
  }

  has(frame) {
    return this.#frames.get(frame?.id) === frame;
  }

  // files: File, or {blob, name, answer} for what was answered before.
  add(files) {
    const added = [...files].map((file) => this.#frameOf(file));
    for (const frame of added) this.#frames.set(frame.id, frame);
    this.#tell("added", { frames: added });
    return added;
  }

  change(frame, changes) {
    if (!this.has(frame)) return;
    Object.assign(frame, changes);
    this.#tell("changed", { frame });
  }

  remove(frames) {
    const removed = frames.filter((frame) => this.#frames.delete(frame.id));
    if (removed.length) this.#tell("removed", { frames: removed });
  }

  #frameOf(file) {
    this.#made += 1;
    const blob = file.blob ?? file;
    const state = file.answer ? "answered" : "waiting";
    return { id: this.#made, blob, name: file.name || "pasted image", state, answer: file.answer ?? null, problem: null, refusal: null, thumbnail: null };
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

export const isOpen = ({ state }) => state === "waiting" || state === "sending";
export const canRetry = ({ state, problem }) => state === "cancelled" || (state === "failed" && isPassing(problem));
