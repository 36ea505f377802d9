// The gallery: everything that is stored, newest first; uploads; search by example; ingest as it goes.

import { h, fill, notify, attempt, showKeys } from "/static/dom.js";
import { api, gallery, ingestStatus, similarToFile, tiles } from "/static/api.js";
import { CHUNK, Grid, justify, tile } from "/static/grid.js";
import { Uploads, filesOf } from "/static/upload.js";
import { plural, duration, count, percent } from "/static/words.js";

const main = document.getElementById("main");
const heading = h("h1.visually-hidden", {}, "Photos");
const summary = h("strong.number", { role: "status" });
const ingest = h("span.soft.small.number", { role: "status" });
const element = h("div", { id: "grid", role: "group", "aria-label": "Photos, newest first" });
const results = h("section.wrap", { hidden: true, "aria-label": "Search results" });
main.append(heading, h("div.status", {}, summary, ingest), results, element);

const grid = new Grid(element, gallery);
grid.onfailure = (failure) => notify(failure.message, { bad: true, seconds: 8 });

/** The first chunk and the length of the library come in one answer: thumbs are one round trip away. */
async function refresh() {
  const first = await attempt(() => gallery(0, CHUNK));
  if (!first) return;
  summary.textContent = first.total ? plural(first.total, "photo") : "";
  document.getElementById("empty")?.remove();
  if (!first.total) main.append(emptyPage());
  grid.refresh(first.total, first.photos);
}

// Whoever comes back from a photo finds the grid where it was left.
history.scrollRestoration = "manual";
let noting = 0;
addEventListener("scroll", () => {
  clearTimeout(noting);
  noting = setTimeout(() => history.replaceState({ place: grid.place() }, ""), 120);
}, { passive: true });

function emptyPage() {
  return h("section.empty", { id: "empty" },
    h("img", { src: "/static/icon.svg", alt: "" }),
    h("h2", {}, "No photos yet"),
    h("p.soft", {}, "Drop photos or a whole folder on this page, or choose them. They are on stable storage when the page says stored."),
    h("div.row", {}, chooser("Choose photos", true), chooser("Choose a folder", false, true)));
}

// Uploads -----------------------------------------------------------------------------------------

const uploads = new Uploads(refresh);

function chooser(label, primary, folder = false) {
  const input = h("input.visually-hidden", {
    type: "file", multiple: true, tabindex: "-1", "aria-hidden": "true", webkitdirectory: folder || undefined,
    accept: folder ? undefined : "image/*",
    onchange: () => { uploads.add([...input.files]); input.value = ""; },
  });
  return h("span", {}, h(`button.button${primary ? ".primary" : ""}`, { type: "button", onclick: () => input.click() }, label), input);
}

const zone = (title, meaning, take) => h("div.zone", {
  ondragenter: (event) => event.currentTarget.classList.add("over"),
  ondragleave: (event) => event.currentTarget.classList.remove("over"),
  ondrop: (event) => { event.preventDefault(); event.stopPropagation(); leave(); take(event.dataTransfer); },
}, h("strong", {}, title), h("span.soft", {}, meaning));

async function store(transfer) {
  const files = await attempt(() => filesOf(transfer.items));
  if (files?.length) uploads.add(files);
  else if (files) notify("There was no file in what you dropped.");
}

const zones = h("div.zones", { hidden: true },
  zone("Store", "Photos, or folders of them", store),
  zone("Search", "Photos like this picture", (transfer) => { if (transfer.files[0]) search(transfer.files[0]); }));
document.body.append(zones);

const leave = () => { zones.hidden = true; for (const each of zones.children) each.classList.remove("over"); };
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => { if (hasFiles(event)) zones.hidden = false; });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) leave(); });
addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
addEventListener("drop", (event) => { if (hasFiles(event)) { event.preventDefault(); leave(); store(event.dataTransfer); } });

// Search by example -------------------------------------------------------------------------------

const example = h("input.visually-hidden", {
  type: "file", accept: "image/*", tabindex: "-1", "aria-hidden": "true",
  onchange: () => { const [file] = example.files; example.value = ""; if (file) search(file); },
});

async function search(file) {
  const picture = URL.createObjectURL(file);
  const image = h("img", { src: picture, alt: "The picture searched for", style: { height: "5rem", borderRadius: "6px" } });
  const badge = ({ relation, score }) => ({ duplicate: "identical", copy: "same photo" })[relation] ?? `alike ${percent(Math.max(0, score))}`;
  await show([image, h("h2", {}, `Photos like ${file.name}`)], () => similarToFile(file), badge, () => URL.revokeObjectURL(picture));
}

// Search by words, where the server's model knows words; their scores mean nothing to a person ----

const words = h("input.button", { type: "search", name: "words", placeholder: "Search by words", "aria-label": "Search by words", maxlength: "1000" });
const asking = h("form", { role: "search", hidden: true, onsubmit: (event) => { event.preventDefault(); describe(words.value.trim()); } }, words);

async function describe(said) {
  if (said) await show([h("h2", {}, `Photos of ${said}`)], async () => (await api(`/search?k=48&q=${encodeURIComponent(said)}`)).photos, () => "");
}

// What was found, in place of all photos ----------------------------------------------------------

async function show(title, ask, badge, leave = () => {}) {
  const close = h("button.button", { type: "button", onclick: () => { results.hidden = true; element.hidden = false; leave(); } }, "Back to all photos");
  const list = h("div", { style: { position: "relative" } }, h("p.soft", { role: "status" }, "Searching …"));
  fill(results, h("div.row", {}, ...title, h("span.spring"), close), list);
  results.hidden = false;
  element.hidden = true;
  results.scrollIntoView({ block: "start" });
  const found = await attempt(ask);
  if (!found) { close.click(); return; }
  const nearness = new Map(found.map((neighbour) => [neighbour.photo_id, neighbour]));
  const photos = found.length ? (await attempt(() => tiles([...nearness.keys()]))) ?? [] : [];
  if (!photos.length) { fill(list, h("p", {}, "Nothing here looks like it. Photos are found once they have been ingested.")); return; }
  const { boxes, height } = justify(photos.map((photo) => photo.width / photo.height), results.clientWidth - 48, 190);
  fill(list, photos.map((photo, index) => tile(photo, boxes[index], badge(nearness.get(photo.photo_id)))));
  list.style.height = `${height}px`;
}

document.getElementById("actions").append(
  asking,
  h("button.button", { type: "button", onclick: () => example.click() }, "Search by picture"), example,
  chooser("Add photos", true));

// Ingest, live ------------------------------------------------------------------------------------

async function watchIngest() {
  try {
    const status = await ingestStatus();
    const rate = status?.photos_per_second;
    asking.hidden = !status?.takes_words;
    ingest.textContent = status?.pending
      ? `Comparing ${count(status.pending)} new ${status.pending === 1 ? "photo" : "photos"} with the others` +
        (rate > 0 ? `, ${duration(status.pending / rate)} left` : "")
      : "";
    setTimeout(watchIngest, status?.pending ? 1500 : 8000);
  } catch {
    ingest.textContent = "";
    setTimeout(watchIngest, 15000);
  }
}

// Keys ---------------------------------------------------------------------------------------------

addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "?") {
    showKeys([["← → ↑ ↓", "walk the photos"], ["Enter", "open a photo"], ["/", "search by picture"], ["u", "add photos"], ["Escape", "leave the search"]]);
  } else if (event.key === "/") { event.preventDefault(); example.click(); }
  else if (event.key === "u") document.querySelector("#actions .primary").click();
  else if (event.key === "Escape" && !results.hidden) results.querySelector("button")?.click();
});

const { place } = history.state ?? {};
await refresh();
if (place) grid.goTo(place);
watchIngest();
