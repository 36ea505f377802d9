// A justified grid that holds any number of photos: only what is near the window exists as elements.
//
// Photos come in chunks of a fixed number, asked for by offset when they come near. A chunk that has not
// been seen yet has an estimated height; when its real one is known, everything below moves, and the window
// moves along if the chunk lies above it, so that what the visitor looks at stays where it is.

import { h } from "/static/dom.js";
import { placeholder } from "/static/thumbhash.js";
import { photoUrl, viewUrl } from "/static/api.js";

/** Photos that are asked for at once. */
export const CHUNK = 120;
const GAP = 4;
const ASPECT_GUESS = 1.35;
const ASPECT_MIN = 0.4;
const ASPECT_MAX = 3.2;
const CHUNKS_KEPT = 80;
const THUMB_ATTEMPTS = 6;

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
    this.going = null;
    for (const kind of ["wheel", "touchmove", "keydown"]) addEventListener(kind, () => { this.going = null; }, { passive: true, signal: this.listening.signal });
    addEventListener("keydown", (event) => this.walk(event), { signal: this.listening.signal });
    addEventListener("scroll", later, { passive: true, signal: this.listening.signal });
    this.observer = new ResizeObserver(later);
    this.observer.observe(element);
  }

  /** Start with this many photos; `first` are those of the first chunk if they are known already. */
  reset(total, first = null) {
    for (const chunk of this.chunks) { chunk.loading?.abort(); chunk.element?.remove(); }
    this.total = total;
    this.chunks = this.blanks(total);
    if (first && this.chunks.length) this.chunks[0].photos = first;
    this.width = 0;
    this.render();
  }

  /** Photos have come or gone: ask again for what is near, and show what was there until it is answered. */
  refresh(total, first) {
    if (!this.chunks.length || !total) { this.reset(total, first); return; }
    const before = this.chunks;
    for (const chunk of before) chunk.loading?.abort();
    this.total = total;
    this.chunks = this.blanks(total);
    for (const chunk of before) {
      const next = this.chunks[chunk.index];
      if (!next) chunk.element?.remove();
      else Object.assign(next, { element: chunk.element, layout: chunk.layout, seen: chunk.seen });
    }
    this.chunks[0].photos = first;
    this.layOut(this.chunks[0]);
    this.arrange();
    this.render();
  }

  blanks(total) {
    return Array.from({ length: Math.ceil(total / CHUNK) }, (_, index) => ({
      index, top: 0, height: 0, photos: null, layout: null, element: null, loading: null, failedAt: -Infinity, seen: 0,
    }));
  }

  /** What the visitor looks at: the first photo in the window, by its place, and how far it is scrolled past. */
  place() {
    const start = scrollY - this.element.offsetTop;
    const chunk = this.chunks.find((each) => each.top + each.height > start && each.layout);
    const at = chunk?.layout.boxes.findIndex((box) => chunk.top + box.y + box.height > start) ?? -1;
    return at < 0 || start < 0 ? null : { index: chunk.index * CHUNK + at, past: start - chunk.top - chunk.layout.boxes[at].y };
  }

  /** Go back to such a place: at once roughly, and exactly when its chunk has come. */
  goTo(place) {
    const chunk = this.chunks[Math.floor(place.index / CHUNK)];
    if (!chunk) return;
    const box = chunk.layout?.boxes[place.index % CHUNK];
    this.going = box ? null : place;
    const inside = box ? box.y + place.past : (chunk.height * (place.index % CHUNK)) / CHUNK;
    scrollTo(0, this.element.offsetTop + chunk.top + inside);
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
    chunk.stale = true;
  }

  render() {
    const width = this.element.clientWidth;
    if (!width) return;
    if (width !== this.width) {
      this.width = width;
      for (const chunk of this.chunks) if (chunk.photos) this.layOut(chunk); else chunk.layout = null;
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
      if (this.chunks[chunk.index] !== chunk || !this.width) return;
      chunk.photos = photos;
      this.layOut(chunk);
      const above = chunk.top + chunk.height < scrollY - this.element.offsetTop;
      const before = chunk.height;
      this.arrange();
      if (this.going) this.goTo(this.going);
      else if (above) scrollBy(0, chunk.height - before);
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

  /** Make a chunk's tiles; those that are there already are moved, so that nothing flickers. */
  show(chunk) {
    if (chunk.element && !chunk.stale) return;
    chunk.stale = false;
    const focused = document.activeElement;
    const tiles = chunk.photos.map((photo, index) => {
      const box = chunk.layout.boxes[index];
      const there = this.element.querySelector(`[data-photo="${photo.photo_id}"]`);
      if (!there || there.dataset.failed !== String(photo.failed)) return tile(photo, box);
      Object.assign(there.style, placed(box));
      return there;
    });
    chunk.element?.remove();
    chunk.element = h("div.chunk", { style: { top: `${chunk.top}px`, height: `${chunk.height}px` } }, tiles);
    // In the order of the photos, so that the Tab key walks them as the eye does.
    const next = this.chunks.slice(chunk.index + 1).find((other) => other.element)?.element ?? null;
    this.element.insertBefore(chunk.element, next);
    if (chunk.element.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** Arrow keys, Home and End walk the tiles: left and right in their order, up and down by what lies there. */
  walk(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tiles = [...this.element.querySelectorAll("a.tile")];
    const at = tiles.indexOf(document.activeElement);
    if (at < 0 && document.activeElement !== document.body) return;
    const to = at < 0 ? firstInWindow(tiles, event.key) : { ArrowLeft: () => tiles[at - 1], ArrowRight: () => tiles[at + 1],
      ArrowUp: () => across(tiles, at, -1), ArrowDown: () => across(tiles, at, 1) }[event.key]?.();
    if (!to) return;
    event.preventDefault();
    to.focus({ preventScroll: true });
    to.scrollIntoView({ block: "nearest" });
  }

  /** Let go of photos that have not been near for longest; their layout stays, it is small. */
  forget(wanted) {
    const known = this.chunks.filter((chunk) => chunk.photos);
    if (known.length <= Math.max(CHUNKS_KEPT, wanted * 2)) return;
    known.sort((a, b) => a.seen - b.seen);
    for (const chunk of known.slice(0, known.length - CHUNKS_KEPT)) if (!chunk.element) chunk.photos = null;
  }
}

const firstInWindow = (tiles, key) => (["ArrowLeft", "ArrowRight"].includes(key)
  ? tiles.find((one) => one.getBoundingClientRect().top >= 0) : undefined);

/** The tile in the next row up or down whose middle is nearest. */
function across(tiles, at, step) {
  const here = tiles[at].getBoundingClientRect();
  const middle = here.left + here.width / 2;
  let best = null;
  let row = null;
  for (let index = at + step; tiles[index]; index += step) {
    const box = tiles[index].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < 2) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) >= 2) break;
    const distance = Math.abs(box.left + box.width / 2 - middle);
    if (!best || distance < best.distance) best = { tile: tiles[index], distance };
  }
  return best?.tile;
}

const placed = (box) => ({ left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` });

/** One photo of the grid: its colours at once, its thumb when it has come, and words where there is none. */
export function tile(photo, box, badge) {
  const label = photo.name || `Photo ${photo.photo_id}`;
  const frame = h("a.tile", { href: viewUrl(photo.photo_id), "aria-label": photo.failed ? `${label}, cannot be shown` : label, title: label,
    "data-photo": String(photo.photo_id), "data-failed": String(photo.failed), style: box && placed(box) },
    photo.placeholder && placeholder(photo.placeholder));
  if (photo.failed) frame.append(unshown(label));
  else frame.append(thumb(photo, () => unshown(label)));
  if (badge) frame.append(h("span.badge", {}, badge));
  return frame;
}

const unshown = (label) => h("span.unshown", {}, h("strong", {}, "Cannot be shown"), h("span", {}, label));

/** A thumb that is asked for again, ever later, while the server is too busy to make it. */
function thumb(photo, instead) {
  let attempt = 0;
  const address = (rendition) => photoUrl(photo, rendition) + (attempt ? `?again=${attempt}` : "");
  const image = h("img", { alt: "", decoding: "async", draggable: false });
  const ask = () => {
    image.srcset = `${address("thumb")} 1x, ${address("small")} 2x`;
    image.src = address("thumb");
  };
  image.addEventListener("load", () => image.classList.add("here"));
  image.addEventListener("error", () => {
    attempt += 1;
    if (attempt >= THUMB_ATTEMPTS) image.replaceWith(instead());
    else setTimeout(() => { if (image.isConnected) ask(); }, 500 * 2 ** attempt);
  });
  ask();
  return image;
}
