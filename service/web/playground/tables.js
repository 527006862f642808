// What is shown, as CSV and JSON to keep. The columns are those of `roadcue predict --format csv`,
// without the place in a video and the model.

// Spreadsheets take cells that begin like this for formulas; an apostrophe makes them text (OWASP, CSV injection).
const FORMULA = /^[=+\-@\t\r]/;

export function cell(value) {
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csvOf = (rows) => rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");

export function framesAsCsv(frames, keys) {
  const header = ["frame", "width", "height", ...keys, "labels", "problem", "detail"];
  return csvOf([header, ...frames.map((frame) => frameRow(frame, keys))]);
}

function frameRow({ name, answer, problem }, keys) {
  const found = answer ? [answer.width, answer.height, ...probabilities(answer, keys)] : ["", "", ...keys.map(() => "")];
  return [name, ...found, answer ? answer.labels.join(" ") : "", problem?.code, problem?.detail];
}

const probabilities = (answer, keys) => keys.map((key) => answer.probabilities[key]);

// As the API answers it, without evidence; frames that still wait are left out.
export function framesAsJson(frames, about) {
  const told = frames.filter(({ answer, problem }) => answer || problem).map(toldFrame);
  return `${JSON.stringify({ ...about, frames: told }, null, 1)}\n`;
}

function toldFrame({ name, answer, problem }) {
  if (!answer) return { name, problem };
  const { width, height, probabilities: found, labels, model, timing_ms } = answer;
  return { name, width, height, probabilities: found, labels, model, timing_ms };
}

export function samplesAsCsv(samples, keys) {
  const rows = samples.map(({ seconds, answer }) => [seconds.toFixed(3), ...probabilities(answer, keys), answer.labels.join(" ")]);
  return csvOf([["seconds", ...keys, "labels"], ...rows]);
}

export function samplesAsJson(samples, about) {
  const told = samples.map(({ seconds, answer: { probabilities: found, labels } }) => ({ seconds, probabilities: found, labels }));
  return `${JSON.stringify({ ...about, samples: told }, null, 1)}\n`;
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  // The browser reads the blob after this task.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
