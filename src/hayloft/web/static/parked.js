// Events that were given up after repeated failures: which photos, why, and another try for all of them.

import { h, fill, notify, attempt } from "/static/dom.js";
import { parked, retryParked, viewUrl } from "/static/api.js";
import { plural, time } from "/static/words.js";

const CONSUMERS = { similarity: "comparing photos", renditions: "making smaller sizes", deletes: "finishing deletions" };
const SHOWN = 20;

/** The card, and how to bring it up to date. It is left alone while nothing changes: someone may be about to press it. */
export function parkedCard() {
  const card = h("div", { id: "parked", style: { display: "contents" } });
  let shown = "";
  const refresh = async () => {
    const found = await Promise.all(Object.keys(CONSUMERS).map(async (consumer) => [consumer, await parked(consumer)]));
    const some = found.filter(([, events]) => events.length);
    if (JSON.stringify(some) === shown) return;
    shown = JSON.stringify(some);
    fill(card, ...some.map(([consumer, events]) => section(consumer, events, refresh)));
  };
  return { card, refresh };
}

function section(consumer, events, refresh) {
  const again = async (button) => {
    button.disabled = true;
    const retried = await attempt(() => retryParked(consumer));
    button.disabled = false;
    if (retried === undefined) return;
    notify(`${plural(retried, "event")} will be tried again.`);
    await attempt(refresh);
  };
  const waiting = events.every((event) => event.due);
  return h("section.card", { "aria-label": `Given up: ${CONSUMERS[consumer]}`, style: { display: "grid", gap: "0.9rem" } },
    h("div.row", {}, h("h2", {}, `Given up: ${CONSUMERS[consumer]}`), h("span.spring"),
      h("button.button", { type: "button", disabled: waiting, onclick: (event) => again(event.currentTarget) }, waiting ? "Being tried again" : "Try again")),
    h("p.soft", {}, `${plural(events.length, "event")} failed again and again. The photos are stored and served all the same.`),
    h("div.scroll", { tabindex: "0", role: "group", "aria-label": `Events given up while ${CONSUMERS[consumer]}` }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "Photo"), h("th", {}, "Why"), h("th", {}, "Since"))),
      h("tbody", {}, events.slice(0, SHOWN).map((event) => h("tr", {},
        h("td", {}, h("a", { href: viewUrl(event.photo_id) }, String(event.photo_id))),
        h("td", {}, event.reason), h("td", {}, time(event.parked_at))))))),
    events.length > SHOWN && h("p.soft.small", {}, `and ${plural(events.length - SHOWN, "other")}`));
}
