// Evidence (rows of 0..1 on the network's own grid) as colours, smoothly enlarged.

const TAPS = 4;
// About as many pixels along the longer side, however coarse the grid is.
const LONGER_SIDE_PX = 448;

// Turbo (A. Mikhailov, 2019), the scale of the reports too: every sixteenth of its 256 colours, and the last.
const TURBO = [
  "30123b", "4040a2", "466be3", "4294ff", "28bceb", "18ddc2",
  "32f298", "6dfe62", "a4fc3c", "cdec34", "eecf3a", "fdac34",
  "fb7e21", "eb500e", "d02f05", "a91601", "7a0403",
].map((colour) => [0, 2, 4].map((place) => parseInt(colour.slice(place, place + 2), 16)));
const STOPS = TURBO.map((_, index) => Math.min(255, 16 * index) / 255);

// Red, green and blue in 0..255 of a value in 0..1.
export function colourOf(value) {
  const above = Math.max(1, STOPS.findIndex((stop) => stop >= value));
  const share = (value - STOPS[above - 1]) / (STOPS[above] - STOPS[above - 1]);
  return TURBO[above].map((level, channel) => Math.round(share * level + (1 - share) * TURBO[above - 1][channel]));
}

const COLOURS = Array.from({ length: 256 }, (_, level) => colourOf(level / 255));

// Catmull-Rom, the cubic that goes through the values it is given.
function weight(distance) {
  const x = Math.abs(distance);
  if (x < 1) return 1.5 * x ** 3 - 2.5 * x ** 2 + 1;
  return x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0;
}

// For each of `size` places along a line the first value that counts and the weights of it and the next ones.
function taps(length, size) {
  return Array.from({ length: size }, (_, place) => {
    const centre = ((place + 0.5) * length) / size - 0.5;
    const first = Math.floor(centre) - 1;
    const inside = Array.from({ length: TAPS }, (_, tap) => first + tap).filter((index) => index >= 0 && index < length);
    const weights = inside.map((index) => weight(index - centre));
    const total = weights.reduce((sum, each) => sum + each, 0);
    return { first: inside[0], weights: weights.map((each) => each / total) };
  });
}

// rows: values of h lines of w; returns Float32Array of height x width in 0..1.
export function enlarged(rows, width, height) {
  const columns = taps(rows[0].length, width);
  const wide = rows.map((row) => Float32Array.from(columns, ({ first, weights }) => blend(weights, (tap) => row[first + tap])));
  const result = new Float32Array(width * height);
  taps(rows.length, height).forEach(({ first, weights }, y) => {
    for (let x = 0; x < width; x += 1) {
      result[y * width + x] = Math.min(1, Math.max(0, blend(weights, (tap) => wide[first + tap][x])));
    }
  });
  return result;
}

function blend(weights, valueAt) {
  let sum = 0;
  for (let tap = 0; tap < weights.length; tap += 1) sum += weights[tap] * valueAt(tap);
  return sum;
}

// Paints evidence over a whole canvas, whose shape becomes that of the frame; the more evidence, the less transparent.
export function paintEvidence(canvas, rows, frameWidth, frameHeight) {
  const scale = LONGER_SIDE_PX / Math.max(frameWidth, frameHeight);
  const [width, height] = [frameWidth, frameHeight].map((side) => Math.max(1, Math.round(side * scale)));
  const pixels = new ImageData(width, height);
  enlarged(rows, width, height).forEach((value, index) => {
    pixels.data.set(COLOURS[Math.round(255 * value)], 4 * index);
    pixels.data[4 * index + 3] = Math.round(255 * value);
  });
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

export function clearEvidence(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}

export function paintScale(canvas) {
  const pixels = new ImageData(canvas.width, 1);
  for (let x = 0; x < canvas.width; x += 1) pixels.data.set([...colourOf(x / (canvas.width - 1)), 255], 4 * x);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
