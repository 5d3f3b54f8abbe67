// The API of this server; see docs/api.md. Nothing else is ever asked.

const KEY_NAME = "mmrag.key";
const MOST_PICTURES = 60;

/** An error as the server told it. */
export class ApiError extends Error {
  constructor(status, message, id) {
    super(id ? `${message} (${id})` : message);
    this.status = status;
  }
}

/** Keep the bearer key for this tab alone. */
export function keepKey(key) {
  if (key) sessionStorage.setItem(KEY_NAME, key);
  else sessionStorage.removeItem(KEY_NAME);
}

export const hasKey = () => sessionStorage.getItem(KEY_NAME) !== null;

function headersOf(extra = {}) {
  const key = sessionStorage.getItem(KEY_NAME);
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

/** Return the path of a collection, or of something in it; every part is quoted. */
export function pathOf(collection, ...parts) {
  return ["/api/collections", collection, ...parts]
    .map((part, place) => (place === 0 ? part : encodeURIComponent(part)))
    .join("/");
}

async function request(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: headersOf(options.headers), credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached. Is it still running?");
  }
  if (!reply.ok) throw await errorOf(reply.status, await reply.text());
  return reply;
}

function errorOf(status, text) {
  try {
    const { message, id } = JSON.parse(text).error;
    return new ApiError(status, message, id);
  } catch {
    return new ApiError(status, `The server answered ${status}.`);
  }
}

const asJson = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export const get = async (path) => (await request(path)).json();
export const post = async (path, body, signal) => (await request(path, asJson(body, signal))).json();
export const postForBlob = async (path, body) => (await request(path, asJson(body))).blob();
export const remove = async (path) => (await request(path, { method: "DELETE" })).json();

/**
 * Post a question and hear the answer as server-sent events (EventSource cannot post, so they are read here).
 * @yields {[string, object]} name and data of each event
 */
export async function* events(path, body, signal) {
  const reply = await request(path, asJson({ ...body, stream: true }, signal));
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop(); // an event that has not ended yet
    for (const part of parts) {
      const fields = Object.fromEntries(
        part.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
      );
      if (fields.data) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

const pictures = new Map(); // promise of an object URL by path, the ones asked for last

/**
 * Return the object URL of a picture. Through fetch and not as an image's address: an image sends no key.
 */
export function picture(path) {
  const known = pictures.get(path);
  if (known) {
    pictures.delete(path);
    pictures.set(path, known);
    return known;
  }
  const loading = request(path)
    .then((reply) => reply.blob())
    .then((blob) => URL.createObjectURL(blob));
  loading.catch(() => pictures.delete(path));
  pictures.set(path, loading);
  if (pictures.size > MOST_PICTURES) {
    const [oldestPath, oldest] = pictures.entries().next().value;
    pictures.delete(oldestPath);
    oldest.then((url) => URL.revokeObjectURL(url), () => {});
  }
  return loading;
}

/**
 * Send one file; fetch does not tell how much of it has gone, so this is the older interface.
 * @param {function(number): void} onShare called with 0..1 as it goes
 */
export function upload(path, file, metadata, onShare) {
  const form = new FormData();
  form.append("files", file, file.name);
  form.append("metadata", metadata || "{}");
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", path);
    for (const [name, value] of Object.entries(headersOf())) sending.setRequestHeader(name, value);
    sending.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onShare(event.loaded / event.total);
    });
    sending.addEventListener("load", () => {
      if (sending.status < 300) resolve(JSON.parse(sending.responseText));
      else reject(errorOf(sending.status, sending.responseText));
    });
    sending.addEventListener("error", () => reject(new ApiError(0, "The file could not be sent.")));
    sending.send(form);
  });
}
