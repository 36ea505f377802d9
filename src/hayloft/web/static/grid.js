// A justified grid that holds any number of photos: only what is near the window exists as elements.
//
// Photos come in chunks of a fixed number, asked for by offset when they come near. A chunk that has not
// been seen yet has an estimated height; when its real one is known, everything below moves, and the window
// moves along if the chunk lies above it, so that what the visitor looks at stays where it is.

import { h } from "/static/dom.js";
import { placeholder } from "/static/thumbhash.js";
import { photoUrl, viewUrl } from "/static/api.js";

const CHUNK = 120;
const GAP = 4;
const ASPECT_GUESS = 1.35;
const ASPECT_MIN = 0.4;
const ASPECT_MAX = 3.2;
const CHUNKS_KEPT = 80;

/** Rows of boxes that fill `width` exactly: `[{x, y, width, height}]` and the height of them all. */
export function justify(aspects, width, rowHeight) {
  const boxes = [];
  let y = 0;
  let row = [];
  let sum = 0;
  const finish = (height) => {
    let x = 0;
    for (const aspect of row) {
      boxes.push({ x, y, width: aspect * height, height });
      x += aspect * height + GAP;
    }
    y += height + GAP;
    row = [];
    sum = 0;
  };
  for (const raw of aspects) {
    const aspect = Math.min(ASPECT_MAX, Math.max(ASPECT_MIN, raw || 1));
    row.push(aspect);
    sum += aspect;
    const height = (width - GAP * (row.length - 1)) / sum;
    if (height <= rowHeight) finish(height);
  }
  if (row.length) finish(Math.min(rowHeight, (width - GAP * (row.length - 1)) / sum));
  return { boxes, height: y };
}

export class Grid {
  /** `load(offset, limit, signal)` resolves to `{total, photos}`. */
  constructor(element, load) {
    this.element = element;
    this.load = load;
    this.total = 0;
    this.chunks = [];
    this.width = 0;
    this.frame = 0;
    this.listening = new AbortController();
    const later = () => { this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.render(); }); };
    addEventListener("scroll", later, { passive: true, signal: this.listening.signal });
    this.observer = new ResizeObserver(later);
    this.observer.observe(element);
  }

  /** Start again with this many photos. */
  reset(total) {
    for (const chunk of this.chunks) { chunk.loading?.abort(); chunk.element?.remove(); }
    this.total = total;
    this.chunks = Array.from({ length: Math.ceil(total / CHUNK) }, (_, index) => ({
      index, photos: null, layout: null, element: null, loading: null, failedAt: -Infinity, seen: 0,
    }));
    this.width = 0;
    this.render();
  }

  close() {
    this.listening.abort();
    this.observer.disconnect();
    this.reset(0);
  }

  get rowHeight() { return innerWidth < 700 ? 118 : 205; }

  sizeOf(chunk) { return Math.min(CHUNK, this.total - chunk.index * CHUNK); }

  /** Heights and places of all chunks: cheap, because it is arithmetic on a few hundred of them. */
  arrange() {
    const guess = this.rowHeight + GAP;
    const perRow = Math.max(1, this.width / (this.rowHeight * ASPECT_GUESS + GAP));
    let top = 0;
    for (const chunk of this.chunks) {
      chunk.top = top;
      chunk.height = chunk.layout?.height ?? Math.ceil(this.sizeOf(chunk) / perRow) * guess;
      top += chunk.height;
      if (chunk.element) chunk.element.style.top = `${chunk.top}px`;
    }
    this.element.style.height = `${top}px`;
  }

  layOut(chunk) {
    chunk.layout = justify(chunk.photos.map((photo) => photo.width / photo.height), this.width, this.rowHeight);
    chunk.element?.remove();
    chunk.element = null;
  }

  render() {
    const width = this.element.clientWidth;
    if (!width) return;
    if (width !== this.width) {
      this.width = width;
      for (const chunk of this.chunks) if (chunk.photos) this.layOut(chunk);
      this.arrange();
    }
    const start = scrollY - this.element.offsetTop;
    const margin = innerHeight * 1.25;
    let wanted = 0;
    for (const chunk of this.chunks) {
      const near = chunk.top < start + innerHeight + margin && chunk.top + chunk.height > start - margin;
      if (!near) {
        chunk.element?.remove();
        chunk.element = null;
        chunk.loading?.abort();
      } else {
        wanted += 1;
        chunk.seen = performance.now();
        if (chunk.photos) this.show(chunk);
        else this.fetch(chunk);
      }
    }
    this.forget(wanted);
  }

  async fetch(chunk) {
    if (chunk.loading || performance.now() - chunk.failedAt < 3000) return;
    chunk.loading = new AbortController();
    try {
      const { photos } = await this.load(chunk.index * CHUNK, CHUNK, chunk.loading.signal);
      if (this.chunks[chunk.index] !== chunk) return;
      chunk.photos = photos;
      this.layOut(chunk);
      const above = chunk.top + chunk.height < scrollY - this.element.offsetTop;
      const before = chunk.height;
      this.arrange();
      if (above) scrollBy(0, chunk.height - before);
      this.render();
    } catch (failure) {
      if (failure.name === "AbortError") return;
      chunk.failedAt = performance.now();
      setTimeout(() => this.render(), 3100);
      this.onfailure?.(failure);
    } finally {
      chunk.loading = null;
    }
  }

  show(chunk) {
    if (chunk.element) return;
    const tiles = chunk.photos.map((photo, index) => tile(photo, chunk.layout.boxes[index]));
    chunk.element = h("div.chunk", { style: { top: `${chunk.top}px`, height: `${chunk.height}px` } }, tiles);
    // In the order of the photos, so that the Tab key walks them as the eye does.
    const next = this.chunks.slice(chunk.index + 1).find((other) => other.element)?.element ?? null;
    this.element.insertBefore(chunk.element, next);
  }

  /** Let go of photos that have not been near for longest; their layout stays, it is small. */
  forget(wanted) {
    const known = this.chunks.filter((chunk) => chunk.photos);
    if (known.length <= Math.max(CHUNKS_KEPT, wanted * 2)) return;
    known.sort((a, b) => a.seen - b.seen);
    for (const chunk of known.slice(0, known.length - CHUNKS_KEPT)) if (!chunk.element) chunk.photos = null;
  }
}

/** One photo of the grid: its colours at once, its thumb when it has come. */
export function tile(photo, box, badge) {
  const label = photo.name || `Photo ${photo.photo_id}`;
  const image = h("img", {
    alt: "", decoding: "async", draggable: false,
    srcset: `${photoUrl(photo, "thumb")} 1x, ${photoUrl(photo, "small")} 2x`, src: photoUrl(photo, "thumb"),
    onload: () => image.classList.add("here"),
  });
  const style = box && { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` };
  return h("a.tile", { href: viewUrl(photo.photo_id), "aria-label": label, title: label, style },
    photo.placeholder && placeholder(photo.placeholder), image, badge && h("span.badge", {}, badge));
}
