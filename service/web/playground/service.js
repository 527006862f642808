// The service's API as the page needs it. Every failure is a ServiceProblem: the API's own, or one that the page tells.

import { isPassing } from "./patience.js";

export class ServiceProblem extends Error {
  // problem: {code, title, status, detail}; retryAfterS: what the service asked for, or null
  constructor(problem, retryAfterS = null) {
    super(problem.detail);
    Object.assign(this, { problem, retryAfterS });
  }
}

// What a person can do about a problem; the other half of the API's own table (/problems/<code>).
const SMALLER = "Save it smaller or more strongly compressed.";
const BUSY = "The service is busy: try again in a moment.";
const REMEDIES = {
  connection_lost: "Check that the service is running and can be reached, then try again.",
  file_gone: "Add the file again.",
  frame_too_large: SMALLER,
  request_too_large: SMALLER,
  http_413: SMALLER,
  too_many_pixels: "Scale the image down.",
  unsupported_image: "Save it as JPEG, PNG or WebP.",
  damaged_image: "Check that the file opens in an image viewer, or copy it again.",
  header_too_large: "Clear the cookies of this site, then reload the page and add the file again.",
  upload_timeout: "The connection is slow: try again, or save the image smaller.",
  uploads_full: BUSY,
  queue_full: BUSY,
  deadline_exceeded: BUSY,
  not_ready: "The service is starting: try again in a moment.",
  draining: "The service is being stopped: try again once it is back.",
  startup_failed: "The service could not start; its log says why. Try again once it runs.",
  page_failed: "Try again, or reload the page and add the file again.",
  internal_error: "The service failed here: try again; if it stays so, its log says why.",
};
// Of all else: a request that was wrong, by the doing of the page or of a proxy, stays wrong when it is sent again.
const RELOAD = "Reload the page and add the file again; if it stays so, a proxy may change what the page sends.";
const AGAIN = "Try again; if it stays so, the service's log says more.";
export const remedyOf = (problem) => REMEDIES[problem.code] ?? (isPassing(problem) ? AGAIN : RELOAD);

// A proxy in between answers in HTML; its status is all that is told.
const FOREIGN_TITLES = { 413: "Too large", 429: "Too many requests", 502: "Bad gateway", 503: "Unavailable", 504: "Gateway timeout" };

// {name, width, height, probabilities, labels, evidence?, model, thresholds, timing_ms, round_trip_ms}
export async function predict(blob, name, { evidence = false, signal } = {}) {
  const form = new FormData();
  form.append("file", blob, name);
  const startedMs = performance.now();
  const reply = await ask(`predict${evidence ? "?evidence=true" : ""}`, { method: "POST", body: form, signal }, blob);
  const { frames: [frame], model, thresholds, timing_ms } = reply;
  return { ...frame, model, thresholds, timing_ms, round_trip_ms: performance.now() - startedMs };
}

export const modelCard = (signal) => ask("model", { signal });

async function ask(path, options, blob) {
  const response = await fetch(path, { ...options, headers: { Accept: "application/json" } }).catch((error) => fail(error, blob));
  if (response.ok) return response.json().catch((error) => fail(error));
  throw new ServiceProblem(await problemOf(response), retryAfterS(response));
}

async function fail(error, blob) {
  if (error.name === "AbortError") throw error;
  // Read whole: of a file that was deleted, a part is read as empty without a complaint.
  const isReadable = !blob || (await blob.arrayBuffer().then(() => true, () => false));
  throw new ServiceProblem(isReadable ? lost() : gone());
}

const lost = () => ({ code: "connection_lost", title: "Connection lost", status: 0, detail: "The service does not answer." });
const gone = () => ({ code: "file_gone", title: "File gone", status: 0, detail: "The file was changed, moved or deleted after it was added." });

async function problemOf(response) {
  const told = await response.json().catch(() => null);
  if (told?.code) return told;
  const title = FOREIGN_TITLES[response.status] ?? "Unexpected answer";
  return { code: `http_${response.status}`, title, status: response.status, detail: `Something between this page and the service answered with status ${response.status}.` };
}

// RFC 9110, 10.2.3: whole seconds or a date.
function retryAfterS(response) {
  const value = response.headers.get("Retry-After");
  if (!value) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
}
