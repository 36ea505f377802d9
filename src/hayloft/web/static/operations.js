// For whoever runs the server: what it holds, how much room is left, how far ingest is, whether all is well.

import { h, fill } from "/static/dom.js";
import { stats, api } from "/static/api.js";
import { parkedCard } from "/static/parked.js";
import { bytes, count, duration, percent, plural } from "/static/words.js";

const EVERY_MS = 4000;
const ROOM_LOW = 0.9;

const main = document.getElementById("main");
const page = h("div", { style: { display: "contents" } });
const { card: parked, refresh: refreshParked } = parkedCard();
main.append(h("div.wrap", {}, page, parked));

const tile = (title, big, small) => h("div.card", {}, h("span.soft.small", {}, title), h("span.big.number", {}, big), h("span.soft.small", {}, small));

const gauge = (share, label, full = false) => h("div.gauge", { role: "meter", "aria-label": label, "aria-valuenow": String(Math.round(share * 100)), "aria-valuemin": "0", "aria-valuemax": "100" },
  h(`i${full ? ".full" : ""}`, { style: { width: `${Math.max(1, Math.min(100, share * 100))}%` } }));

function storeCard(store) {
  const used = store.capacity_bytes ? 1 - store.free_bytes / store.capacity_bytes : 0;
  const volumes = [...store.volumes].sort((a, b) => Number(a.sealed) - Number(b.sealed));
  return h("section.card", { "aria-label": `Store ${store.store_id}`, style: { display: "grid", gap: "0.9rem" } },
    h("div.row", {}, h("h2", {}, `Store ${store.store_id}`), h("span.spring"), h("span.soft.small", {}, `${bytes(store.free_bytes)} of ${bytes(store.capacity_bytes)} free`)),
    gauge(used, `Disk in use: ${percent(used)}`, used > ROOM_LOW),
    used > ROOM_LOW && h("p", {}, "The disk is nearly full. Uploads are refused before it is; make room, or move the data to a larger disk."),
    !volumes.length && h("p.soft", {}, "No volumes yet: the first photo makes one."),
    volumes.length > 0 && h("div.scroll", { tabindex: "0", role: "group", "aria-label": `Volumes of store ${store.store_id}` }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "Volume"), h("th", {}, "State"), h("th.number", {}, "Needles"), h("th.number", {}, "Size"), h("th.number", {}, "Damaged reads"))),
      h("tbody", {}, volumes.map((volume) => h("tr", {},
        h("td", {}, volume.logical_volume), h("td", {}, h(`span.pill${volume.sealed ? "" : ".good"}`, {}, volume.sealed ? "sealed" : "takes writes")),
        h("td.number", {}, count(volume.needles)), h("td.number", {}, bytes(volume.size_bytes)),
        h("td.number", {}, volume.corrupt ? h("span.pill.bad", {}, count(volume.corrupt)) : "0")))))));
}

function ingestCard(similarity) {
  if (!similarity) {
    return h("section.card", {}, h("h2", {}, "Ingest"), h("p", {}, h("span.pill.bad", {}, "not answering"),
      " It is starting, or switched off. New photos are stored and served all the same; links come when it is back."));
  }
  const done = similarity.total_indexed + similarity.undecodable + similarity.parked;
  const share = done + similarity.pending ? done / (done + similarity.pending) : 1;
  const left = similarity.pending && similarity.photos_per_second ? `, about ${duration(similarity.pending / similarity.photos_per_second)} left` : "";
  return h("section.card", { style: { display: "grid", gap: "0.7rem" } },
    h("div.row", {}, h("h2", {}, "Ingest"), h("span.spring"),
      h(`span.pill${similarity.parked ? ".bad" : similarity.pending ? "" : ".good"}`, { role: "status" },
        similarity.pending ? `${plural(similarity.pending, "event")} waiting${left}` : similarity.parked ? "some given up" : "up to date")),
    gauge(share, `Ingested: ${percent(share)}`),
    h("dl.facts", {}, [
      ["Fingerprinted", plural(similarity.total_indexed, "photo")],
      ["Rate", `${similarity.photos_per_second.toFixed(1)} photos/s`],
      ["Could not be decoded", count(similarity.undecodable)],
      ["Given up after three tries", similarity.parked ? h("span.pill.bad", {}, count(similarity.parked)) : "0"],
    ].flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    similarity.parked > 0 && h("p", {}, "Photos that were given up are stored and served, but not compared with others. Below they stand with the reason."));
}

async function refresh() {
  try {
    const [told, health] = await Promise.all([stats(), api("/health")]);
    const { directory, stores, similarity } = told;
    const free = stores.reduce((sum, store) => sum + store.free_bytes, 0);
    fill(page,
      h("div.row", {}, h("h1", {}, "Operations"), h(`span.pill${health.status === "ok" ? ".good" : ".bad"}`, { role: "status" }, health.status === "ok" ? "healthy" : health.status),
        h("span.spring"), h("span.soft.small", {}, `Hayloft ${health.version}`)),
      h("div.tiles", {},
        tile("Photos", count(directory.photos), `${count(directory.deleted)} deleted`),
        tile("Originals", bytes(directory.bytes), directory.photos ? `${bytes(directory.bytes / directory.photos)} on average` : "none yet"),
        tile("Volumes", count(directory.volumes), `${count(directory.writable_volumes)} ${directory.writable_volumes === 1 ? "takes" : "take"} writes`),
        tile("Room left", bytes(free), plural(stores.length, "store"))),
      ingestCard(similarity), stores.map(storeCard));
    await refreshParked();
  } catch (failure) {
    fill(page, h("h1", {}, "Operations"), h("div.notice.bad", { role: "alert" }, h("p", {}, failure.message)));
  }
  setTimeout(refresh, EVERY_MS);
}

await refresh();
