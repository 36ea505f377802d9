// One photo: zoom, facts, what it belongs with and why.

import { h, fill, notify, attempt, confirm, showKeys } from "/static/dom.js";
import { info, around, belongings, remove, photoUrl, viewUrl } from "/static/api.js";
import { groupedLinks } from "/static/evidence.js";
import { bytes, time } from "/static/words.js";

const ZOOM_MAX = 12;

const main = document.getElementById("main");
const id = Number(new URLSearchParams(location.search).get("photo"));

/** Zoom with wheel, pinch, double click, + − 0; drag to move. */
function zoomable(stage, image, original) {
  let scale = 1;
  let x = 0;
  let y = 0;
  let fitted = null;
  const pointers = new Map();
  let full = false;

  const place = () => {
    if (scale <= 1) {
      scale = 1;
      image.classList.remove("zoomed");
      image.style.transform = image.style.width = "";
      fitted = null;
      return;
    }
    x = Math.min(stage.clientWidth / 2, Math.max(stage.clientWidth / 2 - fitted.width * scale, x));
    y = Math.min(stage.clientHeight / 2, Math.max(stage.clientHeight / 2 - fitted.height * scale, y));
    image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  };
  const zoom = (factor, atX = stage.clientWidth / 2, atY = stage.clientHeight / 2) => {
    if (!fitted) {
      const box = image.getBoundingClientRect();
      const outer = stage.getBoundingClientRect();
      fitted = { width: box.width, height: box.height };
      [x, y] = [box.left - outer.left, box.top - outer.top];
      image.style.width = `${box.width}px`;
      image.classList.add("zoomed");
    }
    const next = Math.min(ZOOM_MAX, scale * factor);
    x = atX - ((atX - x) * next) / scale;
    y = atY - ((atY - y) * next) / scale;
    scale = next;
    if (scale > 1.5 && !full) { full = true; image.src = original; }
    place();
  };
  const at = (event) => {
    const outer = stage.getBoundingClientRect();
    return [event.clientX - outer.left, event.clientY - outer.top];
  };
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 320), ...at(event)); }, { passive: false });
  stage.addEventListener("dblclick", (event) => { if (scale > 1) { scale = 1; place(); } else zoom(3, ...at(event)); });
  stage.addEventListener("pointerdown", (event) => {
    if (event.target !== image) return;
    event.preventDefault();
    pointers.set(event.pointerId, event);
    image.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    if (pointers.size === 2) {
      const other = [...pointers.entries()].find(([pointer]) => pointer !== event.pointerId)[1];
      const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      zoom(distance(event) / distance(before), ...at({ clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 }));
    } else if (scale > 1) {
      x += event.clientX - before.clientX;
      y += event.clientY - before.clientY;
      place();
    }
    pointers.set(event.pointerId, event);
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
  return { in: () => zoom(1.5), out: () => zoom(1 / 1.5), reset: () => { scale = 1; place(); } };
}

function facts(photo) {
  const told = photo.details ?? {};
  const exposure = [
    told.exposure_seconds && (told.exposure_seconds < 1 ? `1/${Math.round(1 / told.exposure_seconds)} s` : `${told.exposure_seconds} s`),
    told.f_number && `f/${told.f_number}`, told.iso && `ISO ${told.iso}`, told.focal_length_mm && `${Math.round(told.focal_length_mm)} mm`,
  ].filter(Boolean).join(", ");
  const place = told.position && `${told.position.latitude.toFixed(5)}, ${told.position.longitude.toFixed(5)}`;
  const rows = [
    ["Size", `${told.width || photo.width} × ${told.height || photo.height} pixels, ${bytes(photo.size)}`],
    ["Type", photo.media_type + (told.frames > 1 ? `, ${told.frames} frames` : "")],
    ["Taken", told.taken_at && time(told.taken_at)],
    ["Stored", time(photo.created_at)],
    ["Camera", [told.camera_make, told.camera_model].filter(Boolean).join(" ")],
    ["Lens", told.lens],
    ["Exposure", exposure],
    ["Place", place],
    ["Not decoded", told.failure],
    ["Volume", photo.logical_volume],
    ["Id", String(photo.photo_id)],
  ];
  return h("dl.facts", {}, rows.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

async function share(photo) {
  const link = new URL(photo.url ?? photoUrl(photo), location).href;
  try {
    await navigator.clipboard.writeText(link);
    notify("The link is on the clipboard. Whoever has it can see this photo, without a key.");
  } catch {
    notify(`Whoever has this link can see the photo: ${link}`, { seconds: 0 });
  }
}

async function erase(photo) {
  if (!(await confirm("Delete this photo for good? It cannot be brought back.", "Delete"))) return;
  const done = await attempt(() => remove(photo.photo_id));
  if (done) location.assign("/");
}

async function show() {
  if (!Number.isSafeInteger(id) || id <= 0) { missing("This address names no photo."); return; }
  let photo;
  try {
    photo = await info(id);
  } catch (failure) {
    missing(failure.message);
    return;
  }
  if (photo.status === "deleted") { missing("This photo was deleted."); return; }
  // Upright, as everything that is shown or compared.
  if (photo.details?.width) [photo.width, photo.height] = [photo.details.width, photo.details.height];
  const name = photo.name || `Photo ${photo.photo_id}`;
  document.title = `${name} · Hayloft`;
  const image = h("img", { src: photoUrl(photo, "large"), alt: name, draggable: false });
  const stage = h("div.stage", {}, image);
  const zoom = zoomable(stage, image, photoUrl(photo));
  image.addEventListener("error", () => image.replaceWith(unshown(photo)));
  const tool = (label, sign, action) => h("button.button", { type: "button", "aria-label": label, title: label, onclick: action }, sign);
  const tools = h("div.tools", {}, tool("Zoom out", "−", zoom.out), tool("Fit", "Fit", zoom.reset), tool("Zoom in", "+", zoom.in));
  stage.append(tools);
  const linked = h("div.links", { "aria-live": "polite" }, h("p.soft", {}, "Looking …"));
  fill(main, h("div.viewer", {}, stage,
    h("aside.side", { "aria-label": "About this photo" },
      h("h1.clamp", { title: name }, name), facts(photo),
      h("div.row", {},
        h("button.button.primary", { type: "button", onclick: () => share(photo) }, "Copy link"),
        h("a.button", { href: photoUrl(photo), download: photo.name || "" }, "Download"),
        h("button.button.danger", { type: "button", onclick: () => erase(photo) }, "Delete")),
      h("section.belongs", { "aria-labelledby": "belongs" }, h("h2", { id: "belongs" }, "Belongs with"), linked))));
  keys(zoom, showBeside(tools, photo));
  const load = async () => {
    try {
      const { found, compared } = await belongings(photo.photo_id);
      groupedLinks(linked, photo, found, load);
      if (!found.length && (!compared || photo.details?.failure)) fill(linked, h("p.soft", {}, "This photo has not been compared with the others, or there is nothing in it to compare."));
    } catch (failure) {
      fill(linked, h("p.soft", {}, failure.message));
    }
  };
  await load();
}

const unshown = (photo) => h("div.cannot", { role: "status" }, h("strong", {}, "This photo cannot be shown."),
  h("span", {}, photo.details?.failure || "The server did not send it. Reload the page to try again."),
  h("span", {}, "Its file is kept as it was uploaded, and can be downloaded."));

/** Links to the photos before and after this one; they take its place in the history, so that Back leads to the grid. */
function showBeside(tools, photo) {
  const found = { newer: null, older: null };
  const go = (which) => { if (found[which] !== null) location.replace(viewUrl(found[which])); };
  around(photo.photo_id).then((told) => {
    Object.assign(found, told);
    const step = (which, label, sign) => h("button.button", { type: "button", "aria-label": label, title: label, disabled: found[which] === null, onclick: () => go(which) }, sign);
    tools.prepend(step("newer", "Newer photo", "←"));
    tools.append(step("older", "Older photo", "→"));
  }, () => {});
  return go;
}

/** Back to where the grid was left; to its top when there is no way back, or the browser does not take it. */
function backToGrid() {
  const toItsTop = () => location.assign("/");
  if (!document.referrer || history.length === 1) return toItsTop();
  const patience = setTimeout(toItsTop, 3000);
  addEventListener("pagehide", () => clearTimeout(patience), { once: true });
  history.back();
}

function keys(zoom, go) {
  const actions = {
    "+": zoom.in, "=": zoom.in, "-": zoom.out, 0: zoom.reset, Escape: backToGrid,
    ArrowLeft: () => go("newer"), ArrowRight: () => go("older"),
    "?": () => showKeys([["← →", "newer, older photo"], ["+ −", "zoom"], ["0", "fit"], ["Escape", "back"]]),
  };
  addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault(); // Escape would also stop the way back to the grid that it starts.
    action();
  });
}

function missing(sentence) {
  fill(main, h("div.wrap", {}, h("div.empty", {}, h("h1", {}, "Nothing to see"), h("p.soft", {}, sentence), h("a.button.primary", { href: "/" }, "All photos"))));
}

await show();
