// Elements without a framework: `h("a.button", {href: "/"}, "Home")` makes one, `notify` tells the visitor something.

/** Make an element from `tag.class.class`, properties (attributes, `on…` listeners) and children. */
export function h(selector, properties = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Replace everything inside an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Show a sentence for a while; failures stay until they are dismissed. */
export function notify(sentence, { bad = false, seconds = bad ? 0 : 6 } = {}) {
  const close = h("button.button", { type: "button", onclick: () => notice.remove() }, "Dismiss");
  const notice = h(`div.notice${bad ? ".bad" : ""}`, {}, h("p.grow", {}, sentence), close);
  document.getElementById("notices").append(notice);
  if (seconds) setTimeout(() => notice.remove(), seconds * 1000);
  return notice;
}

/** Run something that may fail; its failure is told as a sentence. */
export async function attempt(action) {
  try {
    return await action();
  } catch (failure) {
    notify(failure.message, { bad: true });
    return undefined;
  }
}

/** Ask a yes-or-no question in a dialog; resolves to true for yes. */
export function confirm(question, yes) {
  return new Promise((resolve) => {
    const answer = (value) => { dialog.close(); dialog.remove(); resolve(value); };
    const dialog = h("dialog", { style: { maxWidth: "30rem" }, "aria-label": question },
      h("div.body", {},
        h("p", {}, question),
        h("div.row", {},
          h("button.button.danger", { type: "button", onclick: () => answer(true) }, yes),
          h("button.button", { type: "button", onclick: () => answer(false), autofocus: true }, "Cancel"))));
    dialog.addEventListener("cancel", () => answer(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Show which keys do what: `[[keys, meaning], …]`. */
export function showKeys(rows) {
  const dialog = h("dialog", { style: { maxWidth: "26rem" }, "aria-label": "Keys" },
    h("div.body", {}, h("h2", {}, "Keys"),
      h("dl.facts", {}, rows.flatMap(([keys, meaning]) => [h("dt", {}, h("kbd", {}, keys)), h("dd", {}, meaning)])),
      h("div.row", {}, h("button.button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
