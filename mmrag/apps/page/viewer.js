// A page of a document: its picture, the quoted words lit on it, and ways around.

import { get, pathOf, picture, postForBlob } from "./api.js";
import { button, make, placeOver, say, whereOf } from "./dom.js";

const WIDEST = 4000; // the API's largest picture
const STEP = 200; // widths are asked for in these steps, so that a resized window asks for few
const ZOOMS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4];

export class Viewer {
  /**
   * @param {HTMLElement} root what it fills
   * @param {object} calls `onMove(pageId)` when a neighbour is opened, `onClose()`, `marksOf(pageId)` for the
   *   marks of a page that was reached by its neighbours, `allMarks(documentId)` for the download
   */
  constructor(root, calls) {
    this.root = root;
    this.calls = calls;
    this.zoom = 1;
    this.turn = 0; // counts openings: what was asked for an earlier one is not shown
    this.build();
    new ResizeObserver(() => this.fit()).observe(this.scroller);
  }

  build() {
    // A sign is named by what it does; words are their own name, as who speaks to the page says them.
    const quiet = (text, title, act) =>
      button(text, act, { class: "quiet", title, aria: /[a-z]/i.test(text) ? {} : { label: title } });
    this.title = make("h2", { class: "viewer-title", tabIndex: -1 });
    this.previous = quiet("←", "Previous page (p)", () => this.move("previous"));
    this.next = quiet("→", "Next page (n)", () => this.move("next"));
    this.smaller = quiet("−", "Smaller (-)", () => this.zoomBy(-1));
    this.larger = quiet("+", "Larger (+)", () => this.zoomBy(1));
    this.level = quiet("100 %", "Fit the width (0)", () => this.zoomTo(1));
    this.download = quiet("PDF with marks", "Download the document as PDF with the places marked", () => this.save());
    this.copy = quiet("Copy link", "Copy a link to this place", () => this.copyLink());
    this.heat = quiet("Heat map", "What the question's vectors matched on this page", () => this.toggleHeat());
    this.heat.setAttribute("aria-pressed", "false");
    this.heatNote = make("p", { class: "viewer-message", hidden: true });
    this.heatNote.setAttribute("role", "status");
    this.tools = make("span", { class: "tool-group" }, this.heat, this.download, this.copy);
    this.closing = quiet("Close", "Close the document (Esc)", () => this.calls.onClose());
    this.caption = make("p", { class: "viewer-quote" });
    this.message = make("p", { class: "viewer-message", hidden: true });
    this.message.setAttribute("role", "status");
    this.linkField = make("input", { type: "text", readOnly: true, hidden: true, aria: { label: "Link to this place" } });
    this.image = make("img", { alt: "", draggable: false });
    this.marks = make("div", { class: "marks", aria: { hidden: "true" } });
    this.warmth = make("div", { class: "marks", aria: { hidden: "true" } });
    this.frame = make("div", { class: "page-frame" }, this.image, this.warmth, this.marks);
    this.scroller = make("div", { class: "page-scroller", tabIndex: 0, aria: { label: "Page" } }, this.frame);
    this.scroller.setAttribute("role", "region");
    this.root.append(
      make(
        "div",
        { class: "viewer-head" },
        make("div", { class: "viewer-line" }, this.title, this.closing),
        make(
          "div",
          { class: "viewer-line tools" },
          make("span", { class: "tool-group" }, this.previous, this.next),
          make("span", { class: "tool-group" }, this.smaller, this.level, this.larger),
          this.tools,
        ),
        this.caption,
        this.message,
        this.heatNote,
        this.linkField,
      ),
      this.scroller,
    );
  }

  /**
   * Show a page. `place` has its collection, page (an id), boxes, area, quote; see link.js.
   * The place may be on the screen before its picture is: the size of the page is known first.
   */
  async open(place) {
    const turn = ++this.turn;
    this.place = place;
    this.root.hidden = false;
    this.page = null;
    this.linkField.hidden = true;
    say(this.message, "Opening the page…");
    this.frame.hidden = true;
    this.frame.setAttribute("aria-busy", "true");
    try {
      const page = await get(pathOf(place.collection, "pages", place.page));
      if (turn !== this.turn) return;
      this.page = page;
      this.shownWidth = 0;
      this.image.removeAttribute("src");
      this.describe();
      this.drawMarks();
      this.heat.hidden = !place.question; // a heat map is of a question
      this.drawHeat();
      this.frame.hidden = false;
      this.fit();
      this.scrollToMarks();
      await this.sharpen();
      if (turn === this.turn) say(this.message, "");
    } catch (error) {
      if (turn !== this.turn) return;
      say(this.message, error.message);
      if (this.page === null) {
        this.title.textContent = "This page cannot be shown";
        this.caption.textContent = "";
        this.previous.disabled = this.next.disabled = this.download.disabled = true;
      }
    }
  }

  describe() {
    const { page, place } = this;
    const where = `${page.file}, ${whereOf(page)}`;
    this.title.textContent = where;
    const quoted = place.quote ? ` The quoted words “${place.quote}” are marked.` : "";
    const marked = place.boxes.length ? quoted || " Words are marked." : "";
    this.image.alt = `Picture of ${where}.${marked} ${page.text.slice(0, 300)}`;
    this.caption.replaceChildren(place.quote ? make("q", { text: place.quote }) : "");
    this.caption.hidden = !place.quote;
    this.previous.disabled = page.previous === null;
    this.next.disabled = page.next === null;
    this.download.disabled = this.marksToSave().length === 0;
  }

  drawMarks() {
    const { boxes, area } = this.place;
    const marks = boxes.map((box) => placeOver(make("div", { class: "mark" }), box));
    if (area) marks.unshift(placeOver(make("div", { class: "area" }), area));
    this.marks.replaceChildren(...marks);
  }

  toggleHeat() {
    this.heat.setAttribute("aria-pressed", String(this.heat.getAttribute("aria-pressed") !== "true"));
    this.drawHeat();
  }

  /** Shade the lines that the question's vectors matched, with the server's word on what that means. */
  async drawHeat() {
    this.warmth.replaceChildren();
    say(this.heatNote, "");
    if (this.heat.getAttribute("aria-pressed") !== "true" || this.heat.hidden) return;
    const { turn, place } = this;
    const question = new URLSearchParams({ question: place.question });
    let heat;
    try {
      heat = await get(`${pathOf(place.collection, "pages", place.page, "heat")}?${question}`);
    } catch (error) {
      heat = { rows: [], note: error.message };
    }
    if (turn !== this.turn || this.heat.getAttribute("aria-pressed") !== "true") return;
    this.warmth.replaceChildren(
      ...heat.rows.map(({ box, score }) => {
        const shade = placeOver(make("div", { class: "heat" }), box);
        shade.style.opacity = String(0.6 * score);
        return shade;
      }),
    );
    say(this.heatNote, heat.note);
  }

  /** Give the frame its size for the room there is; asks for a sharper picture where it has grown. */
  fit() {
    if (!this.page || this.root.hidden) return;
    const style = getComputedStyle(this.scroller);
    const room = this.scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const width = Math.max(80, Math.round(room * this.zoom));
    this.frame.style.width = `${width}px`;
    this.frame.style.height = `${Math.round((width * this.page.size[1]) / this.page.size[0])}px`;
    this.level.textContent = `${Math.round(this.zoom * 100)} %`;
    this.level.setAttribute("aria-label", `${this.level.textContent}, fit the width (0)`);
    this.smaller.disabled = this.zoom <= ZOOMS[0];
    this.larger.disabled = this.zoom >= ZOOMS[ZOOMS.length - 1];
    clearTimeout(this.waiting); // a window that is being dragged asks once
    if (this.shownWidth) this.waiting = setTimeout(() => this.sharpen().catch((error) => say(this.message, error.message)), 150);
  }

  /** Show the picture with a pixel for every pixel of the screen. */
  async sharpen() {
    const needed = this.frame.clientWidth * (window.devicePixelRatio || 1);
    const width = Math.min(WIDEST, Math.ceil(needed / STEP) * STEP);
    if (width <= this.shownWidth) return;
    const { turn, page } = this;
    this.shownWidth = width;
    const url = await picture(`${page.picture}?width=${width}`);
    if (turn !== this.turn || width < this.shownWidth) return;
    this.image.src = url;
    await this.image.decode();
    this.frame.removeAttribute("aria-busy");
  }

  scrollToMarks() {
    const { boxes, area } = this.place;
    const target = boxes[0] || area;
    if (!target) {
      this.scroller.scrollTo(0, 0);
      return;
    }
    const { offsetWidth, offsetHeight, offsetLeft, offsetTop } = this.frame;
    const [x0, y0, x1] = target;
    this.scroller.scrollTo({
      left: offsetLeft + ((x0 + x1) / 2) * offsetWidth - this.scroller.clientWidth / 2,
      top: offsetTop + y0 * offsetHeight - this.scroller.clientHeight / 3, // what is before it is read, too
    });
  }

  zoomTo(zoom) {
    if (!this.page) return;
    // The middle of what is seen stays in the middle; with marks, the first mark does.
    const { scroller } = this;
    const share = [
      (scroller.scrollLeft + scroller.clientWidth / 2) / scroller.scrollWidth,
      (scroller.scrollTop + scroller.clientHeight / 2) / scroller.scrollHeight,
    ];
    this.zoom = zoom;
    this.fit();
    if (this.place.boxes.length) this.scrollToMarks();
    else {
      scroller.scrollTo(
        share[0] * scroller.scrollWidth - scroller.clientWidth / 2,
        share[1] * scroller.scrollHeight - scroller.clientHeight / 2,
      );
    }
  }

  zoomBy(steps) {
    const place = ZOOMS.indexOf(this.zoom) + steps;
    if (place >= 0 && place < ZOOMS.length) this.zoomTo(ZOOMS[place]);
  }

  /** Open a neighbour: "previous" or "next". */
  move(side) {
    const id = this.page?.[side];
    if (id) this.calls.onMove(id);
  }

  marksToSave() {
    const own = { page_id: this.place.page, boxes: this.place.boxes, note: this.place.quote };
    const others = this.calls.allMarks(this.page.document_id);
    return others.length ? others : own.boxes.length ? [own] : [];
  }

  async save() {
    say(this.message, "Marking the PDF…");
    try {
      const blob = await postForBlob(pathOf(this.place.collection, "highlight"), { marks: this.marksToSave() });
      const url = URL.createObjectURL(blob);
      const name = `${this.page.file.replace(/\.[^.]*$/, "")}-marked.pdf`;
      make("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000); // the browser reads it after the click
      say(this.message, "");
    } catch (error) {
      say(this.message, error.message);
    }
  }

  async copyLink() {
    try {
      await navigator.clipboard.writeText(location.href);
      say(this.message, "The link is copied. It opens this place on this server.");
    } catch {
      // Without a secure connection a browser gives no clipboard: the link is shown, to copy by hand.
      this.linkField.value = location.href;
      this.linkField.hidden = false;
      this.linkField.select();
    }
  }

  close() {
    this.turn++;
    this.page = null;
    this.root.hidden = true;
  }
}
