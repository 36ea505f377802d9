// Groups of the same photo: which one to keep, which to remove, and which pairs are not the same after all.

import { h, fill, notify, attempt, confirm } from "/static/dom.js";
import { groups, photoUrl, viewUrl, remove, verdict } from "/static/api.js";
import { compare, reason } from "/static/evidence.js";
import { bytes, plural } from "/static/words.js";

const main = document.getElementById("main");
const list = h("div", { style: { display: "grid", gap: "1.25rem" } });
const summary = h("p.soft", { role: "status" });
const rest = h("div", { role: "status" });
const more = h("button.button", { type: "button", hidden: true, onclick: () => load() }, "Show more groups");
const bulk = h("button.button.danger", { type: "button", disabled: true, onclick: () => apply(shown) }, "Apply to all shown");
main.append(h("div.wrap", {},
  h("div.row", {}, h("h1", {}, "Review"), h("span.spring"), bulk),
  h("p", {}, "Each group holds one photo in several guises, proved byte for byte or by geometry. The best one is suggested to be kept; nothing is removed until you apply it."),
  summary, list, rest, more));

let cursor = null;
let total = 0;
const shown = new Set();

async function load() {
  more.disabled = true;
  const page = await attempt(() => groups(cursor));
  more.disabled = false;
  if (!page) return;
  cursor = page.next_cursor;
  total = page.total;
  for (const group of page.groups) list.append(card(group));
  more.hidden = !cursor;
  tell();
}

function tell() {
  summary.textContent = shown.size ? `${plural(total, "group")}, ${shown.size} shown.` : "";
  bulk.disabled = shown.size === 0;
  if (shown.size || cursor) { fill(rest); return; }
  // Below the outcomes of what was settled, which stay on the page.
  const [title, sentence] = list.childElementCount
    ? ["All settled", "Every group on this page has been dealt with. New ones come as photos are ingested."]
    : ["Nothing to settle", "No photo is here twice, as far as is known."];
  fill(rest, h("div.empty", {}, h("h2", {}, title), h("p.soft", {}, sentence), h("a.button", { href: "/" }, "All photos")));
}

function card(group) {
  const state = { group, choices: new Map(), element: null };
  shown.add(state);
  for (const photo of group.photos) state.choices.set(photo.photo_id, photo.photo_id === group.best ? "keep" : "remove");
  const button = h("button.button.danger", { type: "button", onclick: () => apply([state]) }, "Apply");
  const title = h("h2", {}, plural(group.photos.length, "photo"));
  const members = h("div.members", {}, group.photos.map((photo) => member(photo, state)));
  state.element = h("article.card.group", { "aria-label": `Group of ${group.photos.length} photos` },
    h("div.row", {}, title, h("span.spring"),
      h("button.button", { type: "button", onclick: () => choose(state, "keep") }, "Keep all"), button),
    members, evidence(group, state));
  return state.element;
}

function evidence(group, state) {
  const byId = new Map(group.photos.map((photo) => [photo.photo_id, photo]));
  const pairs = (group.links ?? []).filter((link) => byId.has(link.a) && byId.has(link.b));
  return pairs.length ? h("details", {}, h("summary", {}, "Why these belong together"),
    h("div.links", {}, pairs.map((link) => h("button.linked", {
      type: "button",
      onclick: () => compare(byId.get(link.a), byId.get(link.b), link, () => settle(state, "The verdict is kept. Reload to see the groups anew.")),
    }, h("span.frame", {}, h("img", { src: photoUrl(byId.get(link.b), "thumb"), alt: "", loading: "lazy" })),
      h("span", {}, h("strong", {}, `${byId.get(link.a).name || link.a} and ${byId.get(link.b).name || link.b}`), h("br"),
        h("span.small.soft", {}, reason(link))))))) : null;
}

const LABELS = { keep: "Keep", remove: "Remove", other: "Not the same" };

function member(photo, state) {
  const name = photo.name || `Photo ${photo.photo_id}`;
  const choices = h("div.choices", { role: "radiogroup", "aria-label": `What to do with ${name}` },
    Object.entries(LABELS).map(([value, label]) => h("label", {},
      h("input", {
        type: "radio", name: `choice-${photo.photo_id}`, value, checked: state.choices.get(photo.photo_id) === value,
        onchange: () => { state.choices.set(photo.photo_id, value); paint(); },
      }), h("span", {}, label))));
  const element = h("div.member", {},
    h("a.shot", { href: viewUrl(photo.photo_id), "aria-label": `Open ${name}` }, h("img", { src: photoUrl(photo, "small"), alt: "", loading: "lazy" })),
    h("strong.small.clamp", { title: name }, name),
    photo.photo_id === state.group.best && h("span.pill.good", { style: { justifySelf: "start" } }, "best"),
    h("span.soft.small", {}, `${photo.width} × ${photo.height} · ${bytes(photo.size)}`), choices);
  const paint = () => {
    const value = state.choices.get(photo.photo_id);
    element.classList.toggle("keep", value === "keep");
    element.classList.toggle("remove", value === "remove");
  };
  paint();
  return element;
}

function choose(state, value) {
  for (const input of state.element.querySelectorAll(`input[value="${value}"]`)) { input.checked = true; input.dispatchEvent(new Event("change")); }
}

/** Carry out what was chosen, after one question. */
async function apply(states) {
  const chosen = [...states];
  const removing = chosen.flatMap(({ choices }) => [...choices].filter(([, value]) => value === "remove"));
  const nothingLeft = chosen.find(({ choices }) => ![...choices.values()].some((value) => value !== "remove"));
  if (nothingLeft) {
    notify("A group would lose all its photos. Keep at least one of them.", { bad: true });
    nothingLeft.element.scrollIntoView({ block: "center" });
    return;
  }
  if (removing.length && !(await confirm(`Remove ${plural(removing.length, "photo")} for good? The ones marked Keep stay.`, "Remove"))) return;
  for (const state of chosen) {
    const done = await attempt(() => carryOut(state));
    if (!done) return;
    settle(state, done);
  }
}

async function carryOut({ group, choices }) {
  const kept = group.photos.filter((photo) => choices.get(photo.photo_id) === "keep");
  const others = group.photos.filter((photo) => choices.get(photo.photo_id) === "other");
  // People's words first: they must hold even if a removal fails half way.
  for (const [index, other] of others.entries()) {
    for (const photo of [...kept, ...others.slice(index + 1)]) await verdict(photo.photo_id, other.photo_id, "different");
  }
  for (const [index, photo] of kept.entries()) {
    for (const other of kept.slice(index + 1)) await verdict(photo.photo_id, other.photo_id, "same");
  }
  const removed = group.photos.filter((photo) => choices.get(photo.photo_id) === "remove");
  for (const photo of removed) await remove(photo.photo_id);
  return removed.length ? `${plural(removed.length, "photo")} removed.` : "Noted.";
}

function settle(state, sentence) {
  state.element.replaceWith(h("div.notice", { role: "status" }, h("p.grow", {}, sentence)));
  shown.delete(state);
  total = Math.max(0, total - 1);
  tell();
}

await load();
