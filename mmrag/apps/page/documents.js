// The documents of a collection: their list, adding by file or by drop, removing after a question.

import { get, pathOf, remove, upload } from "./api.js";
import { button, byId, counted, make, say } from "./dom.js";

export class Documents {
  /** @param {object} calls `onOpen(pageId)`, `onChange()` after documents came or went */
  constructor(calls) {
    this.calls = calls;
    this.dialog = byId("documents");
    this.list = byId("document-list");
    byId("close-documents").addEventListener("click", () => this.dialog.close());
    this.buildUpload();
  }

  /** Show the list of a collection (as the API describes it). */
  async open(collection) {
    this.collection = collection;
    byId("upload").hidden = !collection.can_write;
    if (!this.dialog.open) {
      this.results.replaceChildren();
      this.dialog.showModal();
      byId("documents-title").focus();
    }
    await this.refresh();
  }

  async refresh() {
    const collection = this.collection;
    try {
      const documents = await get(pathOf(collection.name, "documents"));
      if (collection !== this.collection) return;
      this.list.replaceChildren(...documents.map((entry) => this.entryOf(entry)));
      say(byId("documents-fault"), "");
      byId("documents-status").textContent = documents.length
        ? `${counted(documents.length, "document")} in ${collection.name}`
        : "There is no document yet.";
    } catch (error) {
      say(byId("documents-fault"), error.message);
    }
  }

  entryOf(entry) {
    const name = entry.names.join(", ") || entry.id;
    const item = make("li", { class: "document" });
    const title = entry.first_page
      ? button(name, () => { this.dialog.close(); this.calls.onOpen(entry.first_page); }, { class: "hit-title" })
      : make("span", { class: "hit-title", text: name });
    const facts = [entry.kind, counted(entry.total_pages, "page"), entry.complete ? null : "incomplete"];
    const row = make("div", { class: "document-row" }, title, make("span", { class: "hint", text: facts.filter(Boolean).join(" · ") }));
    if (this.collection.can_write) {
      row.append(button("Remove", () => this.confirm(item, entry, name), { class: "quiet", aria: { label: `Remove ${name}` } }));
    }
    item.append(row);
    if (entry.skipped.length) {
      const list = make("ul", {});
      list.append(...entry.skipped.map(([page, reason]) => make("li", { text: `page ${page + 1}: ${reason}` })));
      item.append(make("details", {}, make("summary", { text: `${counted(entry.skipped.length, "page")} not read` }), list));
    }
    return item;
  }

  /** Ask before removing; nothing brings a document back but its file. */
  confirm(item, entry, name) {
    item.querySelector(".confirm")?.remove();
    const pages = counted(entry.total_pages, "page");
    const again = () => { question.remove(); item.querySelector(".document-row > button.quiet")?.focus(); };
    const yes = button("Remove it", () => this.remove(entry, name, question), { class: "danger" });
    const no = button("Keep it", again);
    const question = make("div", { class: "confirm" }, make("span", { text: `Remove ${name} and its ${pages} from the index?` }), yes, no);
    question.setAttribute("role", "alertdialog");
    question.setAttribute("aria-label", `Remove ${name}?`);
    question.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault(); // this question is closed, not the dialog around it
      event.stopPropagation();
      again();
    });
    item.append(question);
    no.focus();
  }

  async remove(entry, name, question) {
    question.querySelectorAll("button").forEach((one) => { one.disabled = true; });
    try {
      const { records } = await remove(pathOf(this.collection.name, "documents", entry.id));
      await this.refresh();
      byId("documents-status").textContent = `${name} is removed, ${counted(records, "page")}.`;
      byId("documents-title").focus();
      this.calls.onChange();
    } catch (error) {
      question.remove();
      say(byId("documents-fault"), error.message);
    }
  }

  buildUpload() {
    const input = make("input", { type: "file", multiple: true, id: "file", class: "unseen" });
    input.addEventListener("change", () => { this.send([...input.files]); input.value = ""; });
    const label = make("label", { htmlFor: "file", class: "drop" }, make("strong", { text: "Add files" }), " – choose, or drop them here");
    const zone = byId("upload");
    for (const name of ["dragover", "dragenter"]) {
      zone.addEventListener(name, (event) => { event.preventDefault(); label.classList.add("over"); });
    }
    for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => label.classList.remove("over"));
    zone.addEventListener("drop", (event) => { event.preventDefault(); this.send([...event.dataTransfer.files]); });
    this.metadata = make("input", { type: "text", placeholder: '{"year": 2024}', spellcheck: false });
    const more = make(
      "details",
      {},
      make("summary", { text: "Metadata for these files" }),
      make("label", { class: "block" }, "JSON, written on every page; filters ask for it ", this.metadata),
    );
    this.results = make("ul", { class: "upload-list", aria: { live: "polite", label: "Files sent" } });
    zone.append(input, label, more, this.results);
  }

  /** Send files one after the other, so that one that fails holds up no other and each has its own bar. */
  async send(files) {
    const { collection } = this;
    const metadata = this.metadata.value.trim();
    const rows = files.map((file) => {
      const bar = make("progress", { max: 1, value: 0, aria: { label: `Sending ${file.name}` } });
      const state = make("span", { class: "hint", text: "waiting" });
      const row = make("li", {}, make("span", { class: "upload-name", text: file.name }), bar, state);
      this.results.append(row);
      return { file, row, bar, state };
    });
    for (const { file, row, bar, state } of rows) {
      try {
        state.textContent = "sending";
        const report = await upload(pathOf(collection.name, "documents"), file, metadata, (share) => {
          bar.value = share;
          if (share < 1) return;
          bar.removeAttribute("value"); // sent; how long reading takes is not known
          state.textContent = "reading";
        });
        this.tell(report, row, state);
      } catch (error) {
        row.classList.add("skipped");
        state.textContent = `not added: ${error.message}`;
      }
      await this.refresh();
      bar.remove();
    }
    this.calls.onChange();
  }

  /** Say what became of a file: added with so many pages, there already, or skipped and why. */
  tell(report, row, state) {
    const told = [];
    if (report.added.length || report.replaced.length) told.push(`added, ${counted(report.pages, "page")}`);
    if (report.unchanged.length) told.push("there already");
    if (report.renamed.length) told.push("there under another name; renamed");
    for (const { page, reason } of report.skipped) {
      told.push(page === null || page === undefined ? `skipped: ${reason}` : `page ${page + 1} skipped: ${reason}`);
    }
    for (const [note, count] of Object.entries(report.notes)) told.push(`${note} (${count})`);
    if (report.skipped.length) row.classList.add("skipped");
    state.textContent = told.join("; ") || "nothing to add";
  }
}
