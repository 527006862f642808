// When to send again what the service could not take now, and when to give up.

const RETRIED = ["uploads_full", "queue_full", "not_ready", "draining", "connection_lost"];
const RETRIED_STATUS = [429, 502, 503];
const NEVER = ["startup_failed"];
const LONGEST_S = 15;
const GIVES_UP_MS = 120_000;
const CONNECTION_TRIES = 4;

// What the service said of a frame or request stays true however often it is asked, as does that a file is gone.
export const isPassing = ({ code, status }) => code !== "file_gone" && (status === 0 || status === 408 || status === 429 || status >= 500);
const isRetried = ({ code, status }) => !NEVER.includes(code) && (RETRIED.includes(code) || RETRIED_STATUS.includes(status));

// Seconds until the next try, or null for none. tries: how many have failed; sinceMs: how long ago the first one did.
export function waitS({ problem, retryAfterS }, tries, sinceMs, random = Math.random) {
  const isLost = problem.code === "connection_lost";
  if (!isRetried(problem) || sinceMs > GIVES_UP_MS || (isLost && tries >= CONNECTION_TRIES)) return null;
  const asked = retryAfterS ?? 0.5 * 2 ** tries;
  // Spread, so that all who were refused together do not come back together.
  return Math.min(LONGEST_S, Math.max(0.2, asked)) * (1 + 0.2 * random());
}

export const pause = (seconds, signal) => new Promise((resolve, reject) => {
  signal?.throwIfAborted();
  const timer = setTimeout(done, seconds * 1000);
  function done() {
    signal?.removeEventListener("abort", stopped);
    resolve();
  }
  function stopped() {
    clearTimeout(timer);
    reject(signal.reason);
  }
  signal?.addEventListener("abort", stopped, { once: true });
});
