// Uploads: files and folders dropped or chosen, a few at a time, each with its progress, its retry, its result.

import { h, fill } from "/static/dom.js";
import { api, credentials, errorOf, askForKey, viewUrl } from "/static/api.js";
import { bytes, plural } from "/static/words.js";

const PARALLEL = 3;
const ATTEMPTS = 4;
const SHOWN = 60;
const TELL_EVERY_MS = 2500;
const HASHED_BYTES_MAX = 64e6;

/** All files among dropped items, folders walked through. */
export async function filesOf(items) {
  // All asked for before anything is awaited: the browser empties the list after the event.
  const dropped = [...items].filter((item) => item.kind === "file").map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  const entries = dropped.map(({ entry }) => entry).filter(Boolean);
  const found = dropped.filter(({ entry, file }) => !entry && file).map(({ file }) => file);
  const walk = async (entry) => {
    if (entry.isFile) {
      found.push(await new Promise((resolve, reject) => { entry.file(resolve, reject); }));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
      if (!some.length) return;
      for (const each of some) await walk(each);
    }
  };
  for (const entry of entries) await walk(entry);
  return found.filter((file) => !file.name.startsWith("."));
}

/** Send one file; resolves to the server's answer. Sent again with the same key it makes no second photo. */
function send(file, key, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file, file.name);
    request.open("POST", "/upload");
    request.setRequestHeader("Idempotency-Key", key);
    for (const [name, value] of Object.entries(credentials())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.loaded / (event.total || 1));
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(errorOf(request.status, request.responseText));
    };
    request.onerror = () => reject(errorOf(0, '{"code":"unreachable","message":"The connection broke. It can be tried again."}'));
    request.send(form);
  });
}

/** The id of the stored photo with these very bytes, if there is one and it can be found out beforehand. */
async function known(file) {
  if (!crypto.subtle || file.size > HASHED_BYTES_MAX) return null;
  try {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return (await api("/photos/known", { method: "POST", body: { sha256: [sha256] } })).known[sha256] ?? null;
  } catch {
    return null; // The upload itself tells what is wrong.
  }
}

const mayHelp = (failure) => failure.status === 0 || failure.status === 503 || failure.status >= 502;
const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

export class Uploads {
  /** `changed()` is called when photos have arrived. */
  constructor(changed) {
    this.changed = changed;
    this.waiting = [];
    this.running = 0;
    this.toldAt = performance.now();
    this.telling = 0;
    this.tally = { all: 0, stored: 0, duplicates: 0, failed: 0, bytes: 0 };
    this.list = h("ol", { "aria-label": "Uploads" });
    this.title = h("strong.grow", { role: "status" });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "All uploads" });
    this.close = h("button.button", { type: "button", hidden: true, onclick: () => this.hide() }, "Close");
    this.panel = h("section.card", { id: "uploads", hidden: true, "aria-label": "Uploads" },
      h("header", {}, this.title, h("span.spring"), this.close), this.bar, this.list);
    document.body.append(this.panel);
    addEventListener("beforeunload", (event) => { if (this.busy) event.preventDefault(); });
  }

  get busy() { return this.running > 0 || this.waiting.length > 0; }

  add(files) {
    for (const file of files) this.waiting.push({ file, key: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` });
    this.tally.all += files.length;
    if (files.length) this.panel.hidden = false;
    this.pump();
  }

  hide() {
    this.panel.hidden = true;
    fill(this.list);
    this.tally = { all: 0, stored: 0, duplicates: 0, failed: 0, bytes: 0 };
  }

  pump() {
    while (this.running < PARALLEL && this.waiting.length) {
      this.running += 1;
      this.one(this.waiting.shift()).finally(() => {
        this.running -= 1;
        this.pump();
        this.tell();
      });
    }
    this.summarise();
  }

  /** Photos are watched arriving: now and then while there are more to come, and at the end. */
  tell() {
    clearTimeout(this.telling);
    const wait = this.busy ? Math.max(0, this.toldAt + TELL_EVERY_MS - performance.now()) : 0;
    this.telling = setTimeout(() => { this.toldAt = performance.now(); this.changed(); }, wait);
  }

  async one(upload) {
    const { file, key } = upload;
    const state = h("span.soft.small", {}, bytes(file.size));
    const bar = h("progress", { max: 1, value: 0, "aria-label": `${file.name}: progress` });
    const line = h("li", {}, h("span.name", { title: file.name }, file.name), state, bar);
    this.list.prepend(line);
    while (this.list.childElementCount > SHOWN) {
      const old = [...this.list.children].findLast((each) => !each.querySelector(".why, progress"));
      if (!old) break;
      old.remove();
    }
    for (let attempt = 1; ; attempt += 1) {
      try {
        const there = await known(file);
        const photo = there !== null ? { photo_id: there, duplicate_of: there } : await send(file, key, (share) => { bar.value = share; });
        this.arrived(photo, state, bar, file);
        return;
      } catch (failure) {
        if (failure.status === 401 && (await askForKey())) continue;
        if (mayHelp(failure) && attempt < ATTEMPTS) {
          state.textContent = "waiting to try again";
          await pause(700 * 2 ** attempt);
          continue;
        }
        this.failed(upload, failure, line, state, bar);
        return;
      }
    }
  }

  arrived(photo, state, bar, file) {
    this.tally.bytes += file.size;
    const duplicate = photo.duplicate_of !== null;
    this.tally[duplicate ? "duplicates" : "stored"] += 1;
    const target = duplicate ? photo.duplicate_of : photo.photo_id;
    fill(state, h("a", { href: viewUrl(target) }, duplicate ? "already here" : "stored"));
    bar.remove();
  }

  failed(upload, failure, line, state, bar) {
    this.tally.failed += 1;
    bar.remove();
    const why = h("span.why.small", {}, failure.message);
    const again = h("button.button", { type: "button" }, "Retry");
    again.onclick = () => {
      this.tally.failed -= 1;
      line.remove();
      this.waiting.push(upload);
      this.pump();
    };
    fill(state, again);
    line.append(why);
  }

  summarise() {
    const { all, stored, duplicates, failed } = this.tally;
    const done = stored + duplicates + failed;
    this.bar.value = all ? done / all : 0;
    this.bar.hidden = !this.busy;
    this.close.hidden = this.busy;
    const parts = [plural(stored, "photo") + " stored"];
    if (duplicates) parts.push(`${duplicates} already here`);
    if (failed) parts.push(`${failed} failed`);
    this.title.textContent = this.busy ? `Uploading ${done} of ${all}` : parts.join(", ");
  }
}
