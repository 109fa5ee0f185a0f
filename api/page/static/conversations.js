// Conversations of before: listing, opening, deleting. Owns the list. Refuses to show what was said (chat.js).

import { ask, open } from "./api.js";
import { confirm } from "./confirm.js";
import { h, plural, refused, when } from "./parts.js";

const PAGE = 10;
const TITLE_CHARS_MAX = 90;

export class Conversations {
  #cursor = null;

  /** `on.chosen(id)` opens one, `on.deleted(id)` is told of one that is gone, `on.current()` names the one on the page. */
  constructor(on) {
    this.on = on;
    this.details = document.getElementById("conversations");
    this.list = document.getElementById("conversation-list");
    this.more = document.getElementById("more-conversations");
    this.details.addEventListener("toggle", () => { if (this.details.open) this.look(); });
    this.more.addEventListener("click", () => this.#ask(this.#cursor));
    this.list.addEventListener("click", (event) => {
      const { action, id, title } = event.target.closest("button[data-action]")?.dataset ?? {};
      if (action === "open") { this.details.open = false; this.on.chosen(id); }
      else if (action === "delete") this.#delete(id, title);
    });
  }

  /** Whatever there is now, from the newest on. */
  look() { return this.#ask(null); }

  forget() {
    this.details.open = false;
    this.list.replaceChildren();
    this.more.hidden = true;
  }

  async #ask(cursor) {
    try {
      const { items, next_cursor: next } = await ask(`/v1/chat/sessions?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      const rows = items.map((each) => this.#row(each));
      if (cursor) this.list.append(...rows);
      else this.list.replaceChildren(...(rows.length ? rows : [h("li", { class: "small" }, "None yet.")]));
      this.#cursor = next;
      this.more.hidden = next === null;
    } catch (error) {
      this.#fail(error);
    }
    this.list.setAttribute("aria-busy", "false");
  }

  #row({ session_id: id, title, answers, last_at: last }) {
    const named = title.length > TITLE_CHARS_MAX ? `${title.slice(0, TITLE_CHARS_MAX)}…` : title;
    const current = this.on.current() === id;
    return h("li", { class: "conversation", "aria-current": current ? "true" : null },
      h("button", { type: "button", class: "link", "data-action": "open", "data-id": id }, named || "without a question"),
      h("span", { class: "small" }, `${plural(answers, "answer")}, `, when(last)),
      h("button", { type: "button", class: "quiet", "data-action": "delete", "data-id": id, "data-title": named, "aria-label": `Delete ${named}` }, "Delete"));
  }

  async #delete(id, title) {
    const said = await confirm({ title: "Delete this conversation?", text: `“${title}”, with everything that was asked and answered in it. What it cost stays in the books.`, yes: "Delete it", danger: true });
    if (!said) return;
    try {
      await open(`/v1/chat/sessions/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error.status !== 404) { this.#fail(error); return; } // gone already is what was wanted
    }
    this.on.deleted(id);
    await this.look();
    this.details.querySelector("summary").focus();
  }

  #fail(error) {
    if (error.status === 401) this.on.refused(error);
    else this.list.replaceChildren(h("li", {}, refused(error)));
  }
}
