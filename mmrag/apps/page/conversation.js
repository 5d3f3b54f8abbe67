// What was asked and answered before on this page: the next question may lean on it. It is kept nowhere else,
// is gone with a reload, and is in no link.

import { button, counted, make } from "./dom.js";

const MOST_MESSAGES = 20; // sent with a question; the server's rewriter reads the last of them

export class Conversation {
  /**
   * @param {HTMLElement} root what it fills
   * @param {function(): void} onEnd called when the reader starts anew
   */
  constructor(root, onEnd) {
    this.root = root;
    this.onEnd = onEnd;
    this.messages = [];
  }

  /** Return the messages that go with the next question, as the API takes them. */
  history() {
    return this.messages.slice(-MOST_MESSAGES);
  }

  /** Keep a question with its answer. */
  add(question, answer) {
    if (!answer.answer) return;
    const asked = { role: "user", content: question };
    if (answer.standalone) asked.standalone = answer.standalone;
    this.messages.push(asked, { role: "assistant", content: answer.answer });
  }

  clear() {
    this.messages = [];
    this.show(false);
  }

  /** Show what was said; the last answer stays out of the list while it stands below with its citations. */
  show(isAnswerShown) {
    const { messages, root } = this;
    root.hidden = messages.length === 0;
    const earlier = isAnswerShown ? messages.slice(0, -2) : messages;
    const turns = [];
    for (let place = 0; place < earlier.length; place += 2) {
      turns.push(
        make(
          "li",
          {},
          make("p", { class: "asked", text: earlier[place].content }),
          make("p", { class: "answered", text: earlier[place + 1].content }),
        ),
      );
    }
    const list = turns.length
      ? make(
          "details",
          {},
          make("summary", { text: `Earlier: ${counted(turns.length, "question")}` }),
          make("ol", { class: "turns" }, ...turns),
        )
      : null;
    root.replaceChildren(
      ...[
        make("p", { class: "hint", text: "The next question may lean on what was said." }),
        button("New conversation", () => this.onEnd(), { class: "quiet" }),
        list,
      ].filter(Boolean),
    );
  }
}
