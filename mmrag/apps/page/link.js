// A place in a document as the part of an address after '#', so that it outlives a reload and can be sent.
//
//   #c=documents&q=What+weighs+most&p=ab12%23p3&b=.1,.2,.3,.4;.1,.5,.3,.6&a=.1,.1,.9,.8&t=quoted+words
//
// c collection, q question, p page, b boxes of the quoted words, a area around them, t the quote.
// The part after '#' is never sent to a server.

const MOST_BOXES = 500;

/** Return the place that an address names; what does not hold is left out. */
export function readLink(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const page = values.get("p") || "";
  return {
    collection: values.get("c") || "",
    question: (values.get("q") || "").slice(0, 10000),
    page: page === "." || page === ".." ? "" : page.slice(0, 1000), // these two would climb in a path
    boxes: boxesOf(values.get("b")),
    area: boxesOf(values.get("a"))[0] || null,
    quote: (values.get("t") || "").slice(0, 2000),
  };
}

/** Return the part of an address that `readLink` reads. */
export function writeLink({ collection, question, page, boxes = [], area = null, quote = "" }) {
  const values = new URLSearchParams();
  if (collection) values.set("c", collection);
  if (question) values.set("q", question);
  if (page) values.set("p", page);
  if (page && boxes.length) values.set("b", boxes.map(textOf).join(";"));
  if (page && area) values.set("a", textOf(area));
  if (page && quote) values.set("t", quote.slice(0, 300));
  return `#${values}`;
}

// Four digits: a tenth of a pixel on a page a thousand pixels wide.
const textOf = (box) => box.map((value) => Number(value.toFixed(4))).join(",");

function boxesOf(text) {
  return (text || "")
    .split(";")
    .slice(0, MOST_BOXES)
    .map((part) => part.split(",").map(Number))
    .filter((box) => box.length === 4 && box.every((value) => value >= 0 && value <= 1))
    .filter(([x0, y0, x1, y1]) => x0 < x1 && y0 < y1);
}
