// Elements, made with their text as text: nothing that a document says is ever read as markup.

/** Return the element of an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Make an element.
 * @param {string} tag its name
 * @param {object} properties `class`, `text`, `on` ({event: listener}), `aria` ({name: value}),
 *   or any property of the element
 * @param {...(Node|string|null)} children nodes; strings become text; null is left out
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "aria") for (const [key, said] of Object.entries(value)) element.setAttribute(`aria-${key}`, said);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Make a button that does not submit anything. */
export const button = (text, onClick, properties = {}) =>
  make("button", { type: "button", text, on: { click: onClick }, ...properties });

/** Show a sentence in an element, or hide the element where there is none. */
export function say(element, text) {
  element.textContent = text || "";
  element.hidden = !text;
}

/** Return "1 page", "2 pages". */
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Return a number as people write a score. */
export const shortNumber = (value) => {
  const size = Math.abs(value);
  if (size !== 0 && size < 0.01) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
};

/** Place an element over a page's picture; `box` is x0, y0, x1, y1 in 0..1 of the page. */
export function placeOver(element, [x0, y0, x1, y1]) {
  // Through the object model: the server forbids style attributes in markup.
  element.style.left = `${x0 * 100}%`;
  element.style.top = `${y0 * 100}%`;
  element.style.width = `${(x1 - x0) * 100}%`;
  element.style.height = `${(y1 - y0) * 100}%`;
  return element;
}

/** Return where a page is, for people: file, printed label and place in the file. */
export function whereOf(page) {
  const place = page.number + 1;
  const sameLabel = page.label === String(place);
  const total = page.total_pages ? ` of ${page.total_pages}` : "";
  if (/[ !]/.test(page.label)) return `${page.label} (page ${place}${total})`; // slide 3, Prices!A1:F40
  return sameLabel ? `page ${place}${total}` : `page ${page.label} (${place}${total})`;
}
