// An answer and the pages that were found, as elements. Opening a place is the caller's.

import { button, counted, make, placeOver, shortNumber, whereOf } from "./dom.js";
import { picture } from "./api.js";

/** Return a small picture of a page with its marks. */
export function thumbnail(page, boxes, width = 88) {
  const image = make("img", { alt: "", width, height: Math.round((width * page.size[1]) / page.size[0]) });
  const pixels = Math.ceil(width * Math.max(window.devicePixelRatio || 1, 2)); // at 2, small letters stay letters
  picture(`${page.picture}?width=${pixels}`).then((url) => { image.src = url; }, () => {});
  const marks = boxes.map((box) => placeOver(make("span", { class: "mark" }), box));
  return make("span", { class: "thumbnail", aria: { hidden: "true" } }, image, ...marks);
}

/**
 * Return the text of an answer with a button for each [n] that is a citation.
 * A quote stands in quotation marks, so that it cannot be taken for a model's words.
 */
function answerText(answer, onCitation) {
  const byNumber = new Map(answer.citations.map((citation) => [citation.number, citation]));
  const paragraph = make("p", { class: answer.quoted ? "answer-text quoted" : "answer-text" });
  for (const part of answer.answer.split(/(\[\d+\])/)) {
    const citation = byNumber.get(Number(/^\[(\d+)\]$/.exec(part)?.[1]));
    if (citation) {
      const where = citation.page ? `, ${citation.page.file}, ${whereOf(citation.page)}` : "";
      paragraph.append(
        button(String(citation.number), (event) => onCitation(citation, event.currentTarget), {
          class: "citation-number",
          aria: { label: `Citation ${citation.number}${where}` },
        }),
      );
    } else if (answer.quoted && part.trim()) {
      const [, before, words, after] = /^(\s*)([\s\S]*?)(\s*)$/.exec(part);
      paragraph.append(before, make("q", { text: words }), after);
    } else {
      paragraph.append(part);
    }
  }
  return paragraph;
}

function confidenceOf(value) {
  if (value === null) return null;
  const percent = `${Math.floor(value * 100)} %`;
  const meter = make("meter", { min: 0, max: 1, value, aria: { label: "Confidence" }, title: percent });
  return make("span", { class: "confidence" }, "Confidence ", meter, ` ${percent}`);
}

function citationCard(citation, onCitation) {
  const { page } = citation;
  const place = page && citation.location !== page.label ? citation.location : null; // Prices!B7, lines 12-14
  const about = page ? [page.file, whereOf(page), place, citation.title].filter(Boolean).join(" · ") : citation.id;
  const words = make(
    "span",
    { class: "card-words" },
    make("span", { class: "card-where", text: about }),
    citation.quote ? make("q", { class: "card-quote", text: citation.quote }) : null,
    citation.note ? make("span", { class: "card-note", text: citation.note }) : null,
    page ? null : make("span", { class: "card-note", text: "A text without a page." }),
  );
  const card = make(
    "button",
    { type: "button", class: "card", disabled: !page, on: { click: (event) => onCitation(citation, event.currentTarget) } },
    make("span", { class: "card-number", text: String(citation.number) }),
    words,
    page ? thumbnail(page, citation.boxes) : null,
  );
  return make("li", {}, card);
}

/** Return what an answer shows. */
export function answerElements(answer, onCitation) {
  if (answer.abstained) {
    return [
      make("h2", { class: "abstained", text: "The documents do not seem to answer this.", tabIndex: -1 }),
      answer.answer ? make("p", { class: "reason", text: answer.answer }) : null,
      searched(answer),
      answer.note ? make("p", { class: "note", text: answer.note }) : null,
      ...citationList(answer, onCitation),
    ].filter(Boolean);
  }
  const kind = answer.quoted ? "Quoted from the documents" : "Written by a model from the documents";
  const seconds = answer.seconds.answer ?? 0;
  return [
    make("h2", { class: "unseen", text: "Answer", tabIndex: -1 }),
    answerText(answer, onCitation),
    make(
      "p",
      { class: "about" },
      make("span", { class: "badge", text: kind }),
      confidenceOf(answer.confidence),
      seconds ? make("span", { text: seconds < 0.1 ? "under 0.1 s" : `${seconds.toFixed(1)} s` }) : null,
    ),
    searched(answer),
    answer.note ? make("p", { class: "note", text: answer.note }) : null,
    ...citationList(answer, onCitation),
  ].filter(Boolean);
}

/** Say what was searched where a question leaned on those before; null where it stood alone. */
function searched(answer) {
  return answer.standalone ? make("p", { class: "note" }, "Searched: ", make("q", { text: answer.standalone })) : null;
}

function citationList(answer, onCitation) {
  if (answer.citations.length === 0) return [];
  const list = make("ol", { class: "cards", aria: { label: "Citations" } });
  list.append(...answer.citations.map((citation) => citationCard(citation, onCitation)));
  return [list];
}

const STAGES = {
  vectors: "Vectors: how well the rows of the question fit the rows of the page",
  text: "Words: BM25",
  document: "What the document as a whole adds",
  fused: "Vectors and words together",
  retrieval: "Score before the second look",
  rerank: "What the reranker says of the page alone",
  reranked: "Score after the second look; orders",
};

function scoresOf(candidate) {
  const list = make("dl", { class: "scores" });
  for (const [stage, score] of Object.entries(candidate.scores)) {
    list.append(
      make("div", { title: STAGES[stage] || stage }, make("dt", { text: stage }), make("dd", { text: shortNumber(score) })),
    );
  }
  return list;
}

function hit(candidate, onHit) {
  const { page } = candidate;
  const name = page ? `${page.file} · ${whereOf(page)}` : candidate.id;
  const title = page
    ? button(name, (event) => onHit(candidate, event.currentTarget), { class: "hit-title" })
    : make("span", { class: "hit-title", text: `${name} (a text without a page)` });
  const thought = candidate.thought
    ? make("details", {}, make("summary", { text: "Thought of the reranker" }), make("p", { text: candidate.thought }))
    : null;
  return make(
    "li",
    { class: "hit" },
    page ? thumbnail(page, [], 64) : make("span", {}),
    make("div", { class: "hit-words" }, title, make("p", { class: "snippet", text: candidate.snippet }), scoresOf(candidate), thought),
  );
}

/** Return a list of pages that were found, with their scores by stage. */
export function hitElements(candidates, title, notes, onHit) {
  if (candidates.length === 0) return [make("h2", { text: title }), make("p", { text: "No page was found." })];
  const list = make("ol", { class: "hits" });
  list.append(...candidates.map((candidate) => hit(candidate, onHit)));
  return [
    make("h2", { text: `${title} (${counted(candidates.length, "page")})` }),
    ...notes.map((note) => make("p", { class: "note", text: note })),
    list,
  ];
}
