// Small pictures of frames, made where a card comes near the screen and released when it has left.

const WIDTH_PX = 360;
const AT_ONCE = 2;
const NEAR = "600px 0px";

const wanted = [];
let running = 0;

async function drawn(blob) {
  const bitmap = await createImageBitmap(blob, { resizeWidth: WIDTH_PX, resizeQuality: "medium" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.82 });
}

async function work() {
  running += 1;
  // The newest wish first: it is what a person who scrolls fast has stopped at.
  for (let job = wanted.pop(); job; job = wanted.pop()) {
    const { frame, isStillWanted, done } = job;
    if (!isStillWanted()) continue;
    frame.thumbnail ??= await drawn(frame.blob).catch(() => "none");
    done();
  }
  running -= 1;
}

// Shows thumbnails in the images of cards; card: {root, image, frame}.
export class Thumbnails {
  #cards = new Map();
  #near = new Set();
  // On a wide screen the list scrolls by itself, on a narrow one the page does: near is counted from either.
  #observer = new IntersectionObserver((entries) => entries.forEach((entry) => this.#move(entry)), { rootMargin: NEAR, scrollMargin: NEAR });

  watch(card) {
    this.#cards.set(card.root, card);
    this.#observer.observe(card.root);
  }

  forget(card) {
    this.#observer.unobserve(card.root);
    this.#near.delete(card);
    this.#release(card);
    this.#cards.delete(card.root);
  }

  #move({ target, isIntersecting }) {
    const card = this.#cards.get(target);
    if (!card) return;
    if (!isIntersecting) {
      this.#near.delete(card);
      this.#release(card);
      return;
    }
    this.#near.add(card);
    if (card.frame.thumbnail) this.#show(card);
    else this.#want(card);
  }

  #want(card) {
    wanted.push({ frame: card.frame, isStillWanted: () => this.#near.has(card), done: () => this.#show(card) });
    if (running < AT_ONCE) work();
  }

  #show(card) {
    const { root, image, frame } = card;
    root.classList.toggle("pictureless", frame.thumbnail === "none");
    if (!this.#near.has(card) || frame.thumbnail === "none" || image.src) return;
    image.src = URL.createObjectURL(frame.thumbnail);
    image.hidden = false;
  }

  #release({ image }) {
    if (!image.src) return;
    URL.revokeObjectURL(image.src);
    image.removeAttribute("src");
    image.hidden = true;
  }
}
