// Why two photos are linked, in words and side by side with the matched region outlined.

import { h, svg, fill, attempt, notify } from "/static/dom.js";
import { photoUrl, verdict, viewUrl } from "/static/api.js";
import { percent, bytes } from "/static/words.js";

export const RELATIONS = {
  duplicate: { title: "Identical", meaning: "the same bytes" },
  copy: { title: "Same photo", meaning: "another size, crop, format or filter of it" },
  similar: { title: "Alike", meaning: "a similar picture, not the same photo" },
};

const ORIENTATIONS = {
  rotate_90: "one is turned by 90°", rotate_180: "one is turned by 180°", rotate_270: "one is turned by 90°",
  flip_top_bottom: "one is upside down and mirrored", flip_left_right: "one is mirrored",
  transpose: "one is turned and mirrored", transverse: "one is turned and mirrored",
};

/** One sentence that says what was seen. */
export function reason(link) {
  const evidence = computed(link);
  if (link.verdict === "same") return "A person said that these are the same photo.";
  if (link.verdict === "different") return "A person said that these are different photos.";
  if (link.relation === "duplicate") return "The files are equal, byte for byte.";
  if (link.relation === "similar") return `The pictures resemble each other to ${percent(Math.max(0, link.score))}.`;
  const parts = [];
  if (evidence.agreeing_points !== undefined) parts.push(`${evidence.agreeing_points} points agree in place`);
  if (evidence.closeness !== undefined) parts.push(`once aligned, the pictures agree to ${percent(evidence.closeness)}`);
  if (evidence.distance_bits !== undefined) parts.push(`the fingerprints differ in ${evidence.distance_bits} of 256 bits`);
  if (evidence.mirrored) parts.push("one is mirrored");
  if (evidence.negative) parts.push("one is a negative");
  if (Math.abs(evidence.rotation_degrees ?? 0) >= 1) parts.push(`turned by ${Math.abs(Math.round(evidence.rotation_degrees))}°`);
  if (ORIENTATIONS[evidence.orientation]) parts.push(ORIENTATIONS[evidence.orientation]);
  const text = parts.join(", ") || `Found by ${link.method} with score ${link.score.toFixed(2)}`;
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

/** What was computed of a pair, also where a person's word stands over it. */
const computed = (link) => link.evidence?.before?.evidence ?? link.evidence ?? {};

/** The outlines of what matched, as polygons with coordinates from 0 to 1: `[of one, of the other]`. */
function outlines(link, photo) {
  const { regions, from } = computed(link);
  if (!Array.isArray(regions)) return [null, null];
  return from === photo.photo_id ? regions : [regions[1], regions[0]];
}

function shot(photo, polygon) {
  const name = photo.name || `Photo ${photo.photo_id}`;
  const picture = h("img", { src: photoUrl(photo, "medium"), alt: name });
  // The frame has the photo's own shape, so that outlines given as shares of the sides lie where they belong.
  const shape = photo.width / photo.height || 1;
  const frame = h("div.shot", { style: { aspectRatio: String(shape), width: `min(100%, ${(55 * shape).toFixed(2)}vh)` } }, picture);
  picture.addEventListener("error", () => frame.replaceChildren(h("p.soft.small.cannot", {}, "It cannot be shown.")), { once: true });
  if (polygon) {
    frame.append(svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("polygon", { points: polygon.map((point) => point.join(",")).join(" ") })));
  }
  return h("figure", {}, frame,
    h("figcaption.small.soft", {}, h("a", { href: viewUrl(photo.photo_id) }, name), ` · ${photo.width} × ${photo.height} · ${bytes(photo.size)}`));
}

/** Open the two photos side by side; `settled` is called after a verdict. */
export function compare(photo, other, link, settled = () => {}) {
  const [one, two] = outlines(link, photo);
  const say = (word) => attempt(async () => {
    await verdict(photo.photo_id, other.photo_id, word);
    notify(word === "same" ? "Noted: the same photo. Nothing computed later will change that."
      : word === "different" ? "Noted: different photos. They will not be grouped again."
      : "The verdict was taken back.");
    dialog.close();
    settled(word);
  });
  const choice = (word, label) => h(`button.button${link.verdict === word ? ".primary" : ""}`, { type: "button", "aria-pressed": String(link.verdict === word), onclick: () => say(word) }, label);
  const { title, meaning } = RELATIONS[link.relation];
  const dialog = h("dialog", { "aria-label": `${title}: compare two photos` },
    h("div.body", {},
      h("div.row", {}, h("h2", {}, title), h("span.soft", {}, meaning), h("span.spring"),
        h("button.button", { type: "button", onclick: () => dialog.close(), autofocus: true }, "Close")),
      h("div.pair", {}, shot(photo, one), shot(other, two)),
      h("p", {}, reason(link), h("span.soft.small", {}, ` Method ${link.method}.`)),
      h("div.row", {}, choice("same", "Same photo"), choice("different", "Different photos"),
        link.verdict && h("button.button", { type: "button", onclick: () => say(null) }, "Take the verdict back"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** A line for one linked photo; opens the comparison. */
export function linkedPhoto(photo, other, link, settled) {
  return h("button.linked", { type: "button", onclick: () => compare(photo, other, link, settled) },
    h("span.frame", {}, h("img", { src: photoUrl(other, "thumb"), alt: "", loading: "lazy" })),
    h("span", {}, h("strong", {}, other.name || `Photo ${other.photo_id}`), h("br"), h("span.small.soft", {}, reason(link))));
}

/** A tile for a photo that is merely alike; opens the comparison too. */
function alikePhoto(photo, other, link, settled) {
  const name = other.name || `Photo ${other.photo_id}`;
  return h("button.alike", { type: "button", title: name, "aria-label": `${name}: ${reason(link)}`, onclick: () => compare(photo, other, link, settled) },
    h("img", { src: photoUrl(other, "thumb"), alt: "", loading: "lazy" }), h("span.small.soft.number", {}, percent(Math.max(0, link.score))));
}

/** The links of a photo under their three headings. */
export function groupedLinks(target, photo, linked, settled) {
  const sections = Object.entries(RELATIONS).map(([relation, { title, meaning }]) => {
    const some = linked.filter(({ link }) => link.relation === relation);
    const [list, one] = relation === "similar" ? ["div.alikes", alikePhoto] : ["div.links", linkedPhoto];
    return some.length && h("section", { "aria-label": title },
      h("h3", {}, title), h("p.soft.small", {}, relation === "similar" ? "not the same photo; the most alike first" : meaning),
      h(list, {}, some.map(({ other, link }) => one(photo, other, link, settled))));
  }).filter(Boolean);
  fill(target, sections.length ? sections : h("p.soft", {}, "No other photo here belongs with this one, as far as is known."));
}
