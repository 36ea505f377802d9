// ThumbHash (Evan Wallace, evanw.github.io/thumbhash): a photo in 25 bytes, drawn while the real one is on its way.

const PIXELS = 20;

/** The coefficients of one channel, four bits each, in the triangle order of the published format. */
function channel(next, across, down, scale) {
  const factors = [];
  for (let y = 0; y < down; y += 1) {
    for (let x = y ? 0 : 1; x * down < across * (down - y); x += 1) factors.push({ x, y, value: (next() / 7.5 - 1) * scale });
  }
  return factors;
}

const cosines = (position, length) => Array.from({ length: 7 }, (_, n) => Math.cos((Math.PI / length) * (position + 0.5) * n));

function sum(constant, factors, alongX, alongY) {
  let value = constant;
  for (const { x, y, value: factor } of factors) value += 2 * factor * alongX[x] * alongY[y];
  return value;
}

/** A canvas with the photo's rough colours, or null if the hash is no ThumbHash. */
export function placeholder(base64) {
  let hash;
  try {
    hash = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
  if (hash.length < 5) return null;
  const head = hash[0] | (hash[1] << 8) | (hash[2] << 16);
  const more = hash[3] | (hash[4] << 8);
  const transparent = head >> 23;
  const landscape = more >> 15;
  const most = transparent ? 5 : 7;
  const across = Math.max(3, landscape ? most : more & 7);
  const down = Math.max(3, landscape ? more & 7 : most);
  let nibble = (transparent ? 6 : 5) * 2;
  const next = () => { const at = nibble++; return (hash[at >> 1] >> ((at & 1) * 4)) & 15; };
  const light = channel(next, across, down, ((head >> 18) & 31) / 31);
  const yellowBlue = channel(next, 3, 3, (((more >> 3) & 63) / 63) * 1.25);
  const redGreen = channel(next, 3, 3, (((more >> 9) & 63) / 63) * 1.25);
  const [l0, p0, q0] = [(head & 63) / 63, ((head >> 6) & 63) / 31.5 - 1, ((head >> 12) & 63) / 31.5 - 1];

  const canvas = Object.assign(document.createElement("canvas"), { width: PIXELS, height: PIXELS, className: "place" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(PIXELS, PIXELS);
  const alongX = Array.from({ length: PIXELS }, (_, x) => cosines(x, PIXELS));
  for (let y = 0, at = 0; y < PIXELS; y += 1) {
    for (let x = 0; x < PIXELS; x += 1, at += 4) {
      const l = sum(l0, light, alongX[x], alongX[y]);
      const p = sum(p0, yellowBlue, alongX[x], alongX[y]);
      const q = sum(q0, redGreen, alongX[x], alongX[y]);
      const blue = l - (2 / 3) * p;
      const red = (3 * l - blue + q) / 2;
      image.data.set([red * 255, (red - q) * 255, blue * 255, 255], at);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
