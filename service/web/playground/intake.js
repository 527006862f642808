// How files come in: picked, dropped (folders too), pasted.

import { byId } from "./elements.js";

const IMAGE_NAME = /\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)$/i;
const VIDEO_NAME = /\.(mp4|m4v|mov|webm|mkv|ogv|avi)$/i;

const isVideo = ({ type, name }) => type.startsWith("video/") || (!type && VIDEO_NAME.test(name));
// Of a folder only what looks like an image; of single files everything, as the service says best what is wrong with it.
const isImage = ({ type, name }) => type.startsWith("image/") || IMAGE_NAME.test(name);

// onImages: files;  onVideo: file
export function openIntake({ onImages, onVideo }) {
  const take = (files) => {
    const videos = files.filter(isVideo);
    const images = files.filter((file) => !isVideo(file));
    if (images.length) onImages(images);
    else if (videos.length) onVideo(videos[0]);
  };
  listenToInput("pick-images", take);
  listenToInput("pick-video", ([file]) => file && onVideo(file));
  listenToDrops(take);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) event.preventDefault();
    take(files);
  });
}

function listenToInput(id, take) {
  byId(id).addEventListener("change", ({ target }) => {
    const files = [...target.files];
    target.value = ""; // so that the same file can be chosen again
    take(files);
  });
}

function listenToDrops(take) {
  let depth = 0;
  const show = (isOver) => { document.body.classList.toggle("dropping", isOver); };
  const holdsFiles = ({ dataTransfer }) => dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    show(depth > 0);
  });
  addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  addEventListener("drop", async (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    take(await dropped(event.dataTransfer));
  });
}

async function dropped({ items, files }) {
  // Entries are there only during the event, files of folders only through them.
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(({ isDirectory }) => isDirectory)) return [...files];
  return (await Promise.all(entries.map((entry) => filesOf(entry, true)))).flat();
}

async function filesOf(entry, isDroppedItself) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => { entry.file(resolve, () => resolve(null)); });
    return file && (isDroppedItself || isImage(file)) ? [file] : [];
  }
  const found = [];
  for await (const inner of entriesOf(entry)) found.push(...(await filesOf(inner, false)));
  return found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

// A reader hands out a folder's entries in portions, and none when it is done.
async function* entriesOf(folder) {
  const reader = folder.createReader();
  const read = () => new Promise((resolve) => { reader.readEntries(resolve, () => resolve([])); });
  for (let portion = await read(); portion.length; portion = await read()) yield* portion;
}
