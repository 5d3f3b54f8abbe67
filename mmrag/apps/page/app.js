// The page of `mmrag ui`: ask, answer, click, and the document opens at the passage.
//
// api.js asks the server, answer.js shows an answer, conversation.js what was said before it, viewer.js a page,
// documents.js the list of documents, options.js reads the form, link.js the address. This file holds what they
// share and ties them together.

import { ApiError, events, get, hasKey, keepKey, pathOf, post } from "./api.js";
import { answerElements, hitElements } from "./answer.js";
import { Conversation } from "./conversation.js";
import { button, byId, counted, make, say } from "./dom.js";
import { Documents } from "./documents.js";
import { readLink, writeLink } from "./link.js";
import { addCondition, readOptions } from "./options.js";
import { Viewer } from "./viewer.js";

const state = {
  collections: [],
  collection: null, // as the API describes it
  question: "", // that the shown answer or place belongs to
  answer: null,
  stop: null, // AbortController of the request under way
  opener: null, // what had the focus before the document opened
};

const viewer = new Viewer(byId("viewer"), {
  onMove: (id) => openPlace({ ...marksOf(id), page: id }, { replace: true }),
  onClose: closeViewer,
  allMarks: (documentId) =>
    (state.answer?.citations || [])
      .filter((citation) => citation.page?.document_id === documentId && citation.boxes.length)
      .map((citation) => ({ page_id: citation.id, boxes: citation.boxes, note: citation.quote })),
});
const documents = new Documents({ onOpen: (id) => openPlace({ page: id }), onChange: loadCollections });
const conversation = new Conversation(byId("talk"), () => {
  conversation.clear();
  byId("question").focus();
  byId("question").select();
});
const narrow = matchMedia("(max-width: 900px)");

// ---- collections ------------------------------------------------------------------------------------

async function loadCollections() {
  state.collections = await get("/api/collections");
  const select = byId("collection");
  select.replaceChildren(...state.collections.map(({ name }) => make("option", { text: name, value: name })));
  byId("collection-label").hidden = state.collections.length < 2;
  chooseCollection(state.collection?.name);
}

function chooseCollection(name) {
  const chosen = state.collections.find((one) => one.name === name) || state.collections[0] || null;
  if (chosen?.name !== state.collection?.name) {
    documents.collection = null;
    conversation.clear(); // it was about other documents
  }
  state.collection = chosen;
  if (!chosen) {
    say(byId("fault"), "This key sees no collection.");
    return;
  }
  byId("collection").value = chosen.name;
  byId("show-documents").textContent = `Documents (${chosen.documents})`;
  byId("think-label").hidden = !chosen.thinks;
  showWelcome();
}

/** Say what is there before the first question; with nothing there, what to do. */
function showWelcome() {
  const { collection } = state;
  const welcome = byId("welcome");
  welcome.hidden = state.answer !== null || !byId("hits").hidden || !byId("viewer").hidden;
  const open = () => documents.open(state.collection);
  if (collection.records === 0) {
    const hint = collection.can_write ? "Add PDFs or pictures, then ask." : "This server is for reading alone.";
    welcome.replaceChildren(
      make("p", { text: `There is no document yet. ${hint}` }),
      ...(collection.can_write ? [button("Add documents", open, { class: "strong" })] : []),
    );
    return;
  }
  const how = collection.answers_in_words
    ? "A model answers from them and says which places prove it."
    : "The answer is quoted from them, word for word.";
  welcome.replaceChildren(
    make("p", { text: `${counted(collection.documents, "document")}, ${counted(collection.records, "page")}. ${how}` }),
  );
}

// ---- asking -----------------------------------------------------------------------------------------

async function ask(isSearch) {
  const question = byId("question").value.trim();
  if (!question) {
    byId("question").focus();
    return;
  }
  let options;
  try {
    options = readOptions(isSearch);
    say(byId("options-fault"), "");
  } catch (error) {
    byId("options").open = true;
    say(byId("options-fault"), error.message);
    return;
  }
  await state.starting; // who is quicker than the server's list of collections waits for it
  if (!state.collection) return; // why is on the screen
  state.stop?.abort();
  const stop = (state.stop = new AbortController());
  state.question = question;
  state.answer = null;
  closeViewer({ keepFocus: true });
  clearResults();
  history.pushState(null, "", writeLink({ collection: state.collection.name, question }));
  document.title = `${question} – mmrag`;
  const done = showProgress(isSearch ? "Searching…" : "Searching and reading…");
  try {
    const body = { question, ...options };
    const path = pathOf(state.collection.name, isSearch ? "search" : "ask");
    if (isSearch) showRanking(await post(path, body, stop.signal));
    else await hearAnswer(path, { ...body, history: conversation.history() }, stop.signal);
  } catch (error) {
    if (error.name === "AbortError") byId("spoken").textContent = "Stopped.";
    else if (!needsKey(error)) say(byId("fault"), error.message);
  } finally {
    if (state.stop === stop) {
      state.stop = null;
      done();
    }
  }
}

/** Show an answer as its pieces come, then whole, with its citations. */
async function hearAnswer(path, body, signal) {
  const section = byId("answer");
  const growing = make("p", { class: "answer-text growing" });
  for await (const [name, data] of events(path, body, signal)) {
    if (name === "error") throw new ApiError(500, data.message, data.id);
    if (name === "piece") {
      if (section.hidden) {
        section.hidden = false;
        section.replaceChildren(growing);
        byId("progress-text").textContent = "Answering…";
      }
      growing.append(data.text);
    }
    if (name === "answer") {
      showAnswer(data);
      return;
    }
  }
  throw new ApiError(0, "The answer ended before it was whole.");
}

function showAnswer(answer) {
  state.answer = answer;
  conversation.add(state.question, answer);
  conversation.show(answer.answer !== "");
  if (answer.standalone) {
    // A link is opened without the conversation: it holds the question that stands alone.
    state.question = answer.standalone;
    history.replaceState(null, "", writeLink({ collection: state.collection.name, question: state.question }));
  }
  const section = byId("answer");
  section.hidden = false;
  section.replaceChildren(...answerElements(answer, openCitation));
  const hits = hitElements(answer.candidates, answer.abstained ? "Nearest pages" : "Pages found", [], openHit);
  showHits(hits, answer.abstained);
  byId("spoken").textContent = answer.abstained
    ? `The documents do not seem to answer this. ${answer.answer}`
    : `Answer: ${answer.answer} ${counted(answer.citations.length, "citation")}.`;
}

/** Show hits: open where they are the result, folded where an answer stands above them. */
function showHits([title, ...rest], isOpen) {
  const section = byId("hits");
  section.hidden = false;
  if (isOpen) section.replaceChildren(title, ...rest);
  else section.replaceChildren(make("details", {}, make("summary", { text: title.textContent }), ...rest));
}

function showRanking(ranking) {
  const notes = [...ranking.notes];
  if (ranking.why_not_reranked) notes.push(`Not reranked: ${ranking.why_not_reranked}`);
  showHits(hitElements(ranking.candidates, "Pages found", notes, openHit), true);
  byId("spoken").textContent = `${counted(ranking.candidates.length, "page")} found.`;
}

function clearResults() {
  for (const id of ["answer", "hits", "welcome"]) {
    byId(id).hidden = true;
    byId(id).replaceChildren();
  }
  conversation.show(false);
  say(byId("fault"), "");
  byId("spoken").textContent = "";
}

/** Show that something is under way and for how long; returns what ends it. */
function showProgress(text) {
  const start = Date.now();
  byId("progress-text").textContent = text;
  byId("spoken").textContent = text;
  byId("progress").hidden = false;
  const tell = () => { byId("progress-seconds").textContent = `${Math.round((Date.now() - start) / 1000)} s`; };
  tell();
  const ticking = setInterval(tell, 1000);
  state.ticking?.();
  state.ticking = () => clearInterval(ticking);
  return () => {
    clearInterval(ticking);
    byId("progress").hidden = true;
  };
}

// ---- places -----------------------------------------------------------------------------------------

function placeOf(citation) {
  return { page: citation.id, boxes: citation.boxes, area: citation.area, quote: citation.quote };
}

/** Return the marks of a page that was reached by its neighbours: of the place, or of a citation on it. */
function marksOf(pageId) {
  if (state.place?.page === pageId) return state.place;
  const citation = state.answer?.citations.find((one) => one.id === pageId);
  return citation ? placeOf(citation) : {};
}

function openCitation(citation, opener) {
  if (citation.page) openPlace(placeOf(citation), { opener });
}

function openHit(candidate, opener) {
  const citation = state.answer?.citations.find((one) => one.id === candidate.id);
  openPlace(citation ? placeOf(citation) : { page: candidate.id }, { opener });
}

/** Open a document at a place, and write the place into the address. */
function openPlace(place, { opener, replace = false } = {}) {
  const whole = {
    collection: state.collection.name,
    question: state.question,
    page: place.page,
    boxes: place.boxes || [],
    area: place.area || null,
    quote: place.quote || "",
  };
  if (!replace) state.place = whole; // a neighbour's neighbour finds the marks of the place again
  if (opener) state.opener = opener;
  history[replace ? "replaceState" : "pushState"](null, "", writeLink(whole));
  showPlace(whole, { takesFocus: !replace });
}

function showPlace(place, { takesFocus }) {
  byId("welcome").hidden = true;
  document.body.classList.add("two");
  fitQuestion();
  const opened = viewer.open(place);
  coverRest();
  if (takesFocus) viewer.scroller.focus({ preventScroll: true });
  for (const card of document.querySelectorAll(".is-open")) card.classList.remove("is-open");
  state.opener?.classList.add("is-open");
  return opened;
}

/** Keep the keyboard out of what an open document covers in a narrow window. */
function coverRest() {
  for (const id of ["main", "bar", "skip"]) byId(id).inert = narrow.matches && !byId("viewer").hidden;
}

function closeViewer({ keepFocus = false } = {}) {
  if (byId("viewer").hidden) return;
  viewer.close();
  document.body.classList.remove("two");
  fitQuestion();
  coverRest();
  for (const card of document.querySelectorAll(".is-open")) card.classList.remove("is-open");
  if (!keepFocus) {
    history.pushState(null, "", writeLink({ collection: state.collection?.name, question: state.question }));
    if (state.opener?.isConnected) state.opener.focus();
    else byId("question").focus();
  }
  state.opener = null;
  state.place = null;
  showWelcome();
}

/** Let the field of the question be as high as its text. */
function fitQuestion() {
  const field = byId("question");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + field.offsetHeight - field.clientHeight}px`;
}

/** Show what the address names, without asking anything again; `isFirst` as the page opens. */
function followLink({ isFirst = false } = {}) {
  const place = readLink(location.hash);
  if (place.collection && place.collection !== state.collection?.name) {
    if (!state.collections.some(({ name }) => name === place.collection)) {
      say(byId("fault"), `There is no collection “${place.collection}” on this server.`);
      return;
    }
    chooseCollection(place.collection);
  }
  if (place.question !== state.question) {
    // Another question than the one whose answer is shown: that answer would stand under the wrong words.
    state.answer = null;
    clearResults();
    state.question = place.question;
    showWelcome();
  }
  if (place.question || !isFirst) byId("question").value = place.question; // who types already goes on typing
  fitQuestion();
  document.title = place.question ? `${place.question} – mmrag` : "mmrag";
  if (place.page) {
    state.place = { ...place, collection: state.collection.name };
    showPlace(state.place, { takesFocus: true });
  } else closeViewer({ keepFocus: true });
}

// ---- keys of the server, keys of the keyboard ---------------------------------------------------------

/** Ask for a bearer key where that is what an error is about. */
function needsKey(error) {
  if (error.status !== 401) return false;
  say(byId("key-fault"), hasKey() ? "This key is not known here." : "");
  keepKey(null);
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
  byId("key").focus();
  return true;
}

const isWriting = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isOpen = !byId("viewer").hidden;
  if (event.key === "Escape") {
    if (state.stop) state.stop.abort();
    else if (isOpen) closeViewer();
    return;
  }
  if (isWriting(event.target)) return;
  const inViewer = {
    n: () => viewer.move("next"),
    ArrowRight: () => viewer.move("next"),
    p: () => viewer.move("previous"),
    ArrowLeft: () => viewer.move("previous"),
    "+": () => viewer.zoomBy(1),
    "=": () => viewer.zoomBy(1),
    "-": () => viewer.zoomBy(-1),
    0: () => viewer.zoomTo(1),
  };
  const citation = state.answer?.citations.find((one) => String(one.number) === event.key);
  if (event.key === "/") {
    if (byId("main").inert) closeViewer({ keepFocus: true });
    byId("question").focus();
    byId("question").select();
  } else if (isOpen && Object.hasOwn(inViewer, event.key)) inViewer[event.key]();
  else if (citation) openCitation(citation, document.querySelectorAll("#answer .card")[citation.number - 1]);
  else return;
  event.preventDefault();
}

async function start() {
  try {
    await loadCollections();
    followLink({ isFirst: true });
  } catch (error) {
    if (!needsKey(error)) say(byId("fault"), error.message);
  }
}

byId("question").addEventListener("input", fitQuestion);
byId("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // composing: Enter chooses a character
  event.preventDefault();
  ask(false);
});
byId("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(false); });
byId("search-button").addEventListener("click", () => ask(true));
byId("stop").addEventListener("click", () => state.stop?.abort());
byId("add-filter").addEventListener("click", addCondition);
byId("show-documents").addEventListener("click", () => state.collection && documents.open(state.collection));
byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("question").focus(); });
byId("collection").addEventListener("change", (event) => {
  history.pushState(null, "", writeLink({ collection: event.target.value }));
  followLink();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  byId("key").value = "";
  byId("key-dialog").close();
  state.starting = start();
});
addEventListener("resize", fitQuestion);
narrow.addEventListener("change", coverRest);
addEventListener("popstate", () => followLink());
addEventListener("keydown", onKey);
// A file dropped beside the place for it would replace this page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());

state.starting = start();
