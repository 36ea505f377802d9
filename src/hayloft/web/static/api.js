// The gateway's HTTP API. Every failure is an Error whose message is a sentence for the visitor.

const KEY = "hayloft-api-key";

/** What went wrong, with the server's stable code. */
export class ApiError extends Error {
  constructor(sentence, code, status) {
    super(sentence);
    this.code = code;
    this.status = status;
  }
}

const ADVICE = {
  overloaded: "The server is busy. It will be tried again in a moment.",
  empty_upload: "The file is empty. Copy it again, then retry.",
  storage_full: "The server's disk is full: nothing was stored. Free some space on it, then try again.",
  unsupported_media_type: "This is not a picture that Hayloft keeps. JPEG, PNG, GIF, WebP, TIFF, BMP, HEIC and AVIF are.",
  photo_truncated: "The file ends too early: it is damaged, or was not copied completely. Copy it again, then retry.",
  role_unavailable: "A part of the server does not answer. It starts again by itself; try again in a moment.",
};

/** Headers that prove who the visitor is, when the server asks for it. */
export function credentials() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

export function rememberKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** The error that an answer's status and body stand for. */
export function errorOf(status, text) {
  let told = {};
  try { told = JSON.parse(text); } catch { /* A proxy's own page: the status has to do. */ }
  const sentence = ADVICE[told.code] ?? told.message ?? `The server answered with status ${status}.`;
  return new ApiError(sentence, told.code, status);
}

/** Send a request and return the parsed answer; asks for the API key once if one is needed. */
export async function api(path, { method = "GET", body, raw, headers = {}, signal } = {}) {
  const options = { method, signal, headers: { ...credentials(), ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  } else if (raw !== undefined) options.body = raw;
  let response;
  try {
    response = await fetch(path, options);
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new ApiError("The server cannot be reached. Is it running? Check it, then reload the page.", "unreachable", 0);
  }
  if (response.ok) return response.json();
  const error = errorOf(response.status, await response.text());
  if (error.status === 401 && (await askForKey())) return api(path, { method, body, raw, headers, signal });
  throw error;
}

let asking = null;

/** One question at a time, however many requests were refused. */
export function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.setAttribute("aria-label", "API key");
    const form = Object.assign(document.createElement("form"), { method: "dialog", className: "body" });
    const refused = sessionStorage.getItem(KEY) !== null;
    const textContent = refused ? "The server does not accept this API key. Try another one. " : "This server asks for an API key. ";
    const label = Object.assign(document.createElement("label"), { textContent });
    const input = Object.assign(document.createElement("input"), { type: "password", required: true, autocomplete: "off" });
    const button = Object.assign(document.createElement("button"), { className: "button primary", textContent: "Continue" });
    label.append(input);
    form.append(label, button);
    dialog.append(form);
    dialog.addEventListener("close", () => {
      if (input.value) rememberKey(input.value);
      resolve(Boolean(input.value));
      dialog.remove();
      asking = null;
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

export const photoUrl = (photo, rendition) => `/photo/${photo.photo_id}/${photo.cookie}${rendition ? `/${rendition}` : ""}`;
export const viewUrl = (id) => `/view?photo=${id}`;

export const gallery = (offset, limit, signal) => api(`/gallery/photos?offset=${offset}&limit=${limit}`, { signal });
export const info = (id) => api(`/photo/${id}/info`);
export const around = (id) => api(`/gallery/around/${id}`);
export const belongings = (id) => api(`/gallery/belongings/${id}`);
export const tiles = async (ids) => (await api(`/gallery/tiles?ids=${ids.join(",")}`)).photos;
export const similarToFile = async (file, k = 48) => (await api(`/similar?k=${k}`, { method: "POST", raw: file })).similar;
export const remove = (id) => api(`/photo/${id}`, { method: "DELETE" });
export const groups = (cursor) => api(`/gallery/groups?limit=20${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
export const stats = () => api("/stats");
export const parked = async (consumer) => (await api(`/events/parked?consumer=${consumer}`)).parked;
export const retryParked = async (consumer) => (await api("/events/parked/retry", { method: "POST", body: { consumer } })).retried;
export const ingestStatus = async () => (await api("/gallery/ingest")).status;

/** A person's word on two photos: "same", "different", or null to take it back. */
export function verdict(one, other, word) {
  const [a, b] = one < other ? [one, other] : [other, one];
  return api(`/links/${a}/${b}/verdict`, { method: "PUT", body: { verdict: word } });
}
