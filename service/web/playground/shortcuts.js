// Single keys, where no field or dialog wants them.

const FIELDS = "input:not([type=range]):not([type=file]), select, textarea, video, dialog[open] *";

// actions: key -> what it does; letters are lower case
export function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") || isTaken(event)) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function isTaken({ target, key }) {
  if (target.matches(FIELDS)) {
    if (key === "Escape") target.blur();
    return key !== "Escape" || !target.matches("video"); // a film has no use for Escape
  }
  return target.matches("input[type=range]") && key.startsWith("Arrow");
}
