// The options of a question: read from their fields into what the API takes.

import { byId, button, make } from "./dom.js";

const OPERATORS = [
  ["is", null],
  ["is not", "$ne"],
  ["at least", "$gte"],
  ["at most", "$lte"],
  ["more than", "$gt"],
  ["less than", "$lt"],
];

/** Make the fields of one condition more, and put the caret into it. */
export function addCondition() {
  const key = make("input", { type: "text", placeholder: "file_name", aria: { label: "Field" }, class: "filter-key" });
  const operator = make("select", { aria: { label: "Comparison" } });
  OPERATORS.forEach(([text, name]) => operator.append(make("option", { text, value: name || "" })));
  const value = make("input", { type: "text", placeholder: "annual.pdf", aria: { label: "Value" }, class: "filter-value" });
  const row = make("div", { class: "filter-row" }, key, operator, value);
  row.append(button("Remove", () => { row.remove(); byId("add-filter").focus(); }, { class: "quiet" }));
  byId("filter-rows").append(row);
  key.focus();
}

/**
 * Return what a field's text means: a number, true, false, or text; text in quotes stays text.
 */
function valueOf(text) {
  const trimmed = text.trim();
  if (/^".*"$/.test(trimmed)) return trimmed.slice(1, -1);
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  return { true: true, false: false }[trimmed] ?? trimmed;
}

/**
 * Return the filter of the fields, or null.
 * @throws {Error} the JSON is none
 */
function readFilter() {
  const conditions = [];
  for (const row of byId("filter-rows").children) {
    const [key, operator, value] = row.querySelectorAll("input, select");
    if (!key.value.trim()) continue;
    const compared = valueOf(value.value);
    conditions.push({ [key.value.trim()]: operator.value ? { [operator.value]: compared } : compared });
  }
  const text = byId("filter-json").value.trim();
  if (text) {
    let filter;
    try {
      filter = JSON.parse(text);
    } catch (error) {
      throw new Error(`The filter is not JSON: ${error.message}`);
    }
    if (filter === null || typeof filter !== "object" || Array.isArray(filter)) {
      throw new Error('The filter must be a JSON object, like {"year": 2024}.');
    }
    conditions.push(filter);
  }
  if (conditions.length < 2) return conditions[0] || null;
  return { $and: conditions };
}

const numberOf = (id) => (byId(id).value === "" ? null : Number(byId(id).value));

/**
 * Return the options as the API takes them, without those that were left alone.
 * @param {boolean} isSearch whether pages are listed and no answer is written
 * @throws {Error} a field does not hold; the message says which
 */
export function readOptions(isSearch) {
  for (const field of byId("options").querySelectorAll('input[type="number"]')) {
    if (!field.checkValidity()) {
      const name = field.closest("label").firstChild.textContent.trim();
      throw new Error(`${name}: ${field.validationMessage}`);
    }
  }
  const options = {};
  const channels = ["vectors", "text"].filter((name) => byId(`channel-${name}`).checked);
  if (channels.length === 0) throw new Error("Pages must be found by something: tick vectors or words.");
  if (channels.length === 1) options.channels = channels;
  if (numberOf("k") !== null) options.k = numberOf("k");
  if (!byId("rerank").checked) options.rerank = false;
  else if (!byId("think-label").hidden && numberOf("think") !== null) options.think_tokens = numberOf("think");
  const [ofQuestion, ofPage] = [numberOf("budget-question"), numberOf("budget-page")];
  if ((ofQuestion === null) !== (ofPage === null)) throw new Error("A budget has two numbers: fill both, or neither.");
  if (ofPage !== null) options.budget = [ofQuestion, ofPage];
  if (isSearch && byId("by-document").checked) options.group_by = "document";
  const filter = readFilter();
  if (filter) options.filter = filter;
  return options;
}
