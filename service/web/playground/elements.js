// Elements from data. Text only ever becomes text: names of files and labels are never read as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// At most one call per interval, with the last one never lost.
export function gathered(call, intervalMs) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      call();
    }, intervalMs);
  };
}

let announced = "";
export function announce(text) {
  // A live region is read when its text changes: the same words twice need a difference.
  announced = text === announced ? `${text}\u00a0` : text;
  byId("announcer").textContent = announced;
}

let toastTimer = 0;
export function complain(text) {
  byId("toast").hidden = false;
  setText(byId("toast-text"), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(hideToast, 12_000);
}

export function hideToast() {
  byId("toast").hidden = true;
}
