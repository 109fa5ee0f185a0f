// Drafts: a model summarises, reviews and expands the decision that is read, writes a new one from a brief, and suggests
// a title and tags. Owns the request, and what a person does with it: accept or discard. Refuses to change a decision by
// itself: nothing is sent to one before a button says so.

import { ask, open, Refusal } from "./api.js";
import { Turn } from "./chat.js";
import { eventsOf } from "./events.js";
import { h, refused, stamp } from "./parts.js";

const ACCEPTABLE = { write: "Make it a new decision", expand: "Make it the next version" }; // the others are for reading
const WORDS = { write: "New decision", summarise: "Summary", review: "Review", expand: "Expanded text" };

/** One place on the page where drafts are asked for, and shown one at a time. `on.opened(id)`: show that decision. */
export class Drafts {
  #abort = null;
  #shown = null;

  constructor(form, shown, on, adr = null) {
    this.form = form;
    this.#shown = shown;
    this.on = on;
    this.adr = adr;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const task = event.submitter?.value ?? "write";
      if (task === "stop") this.stop();
      else if (!this.#abort) this.#begin(task);
    });
  }

  /** Stop what is being written, and show nothing. */
  forget() {
    this.stop();
    this.#shown.replaceChildren();
  }

  /** The connection is closed, which stops the draft at its source. */
  stop() { this.#abort?.abort(); }

  async #begin(task) {
    this.#abort = new AbortController();
    this.#busy(true);
    const brief = this.form.elements.brief.value.trim();
    try {
      if (task === "suggest") await this.#suggest(this.#abort.signal);
      else await this.#draft(task, brief, this.#abort.signal);
    } catch (error) {
      if (error.status === 401) this.on.refused(error);
      else if (error.name !== "AbortError") this.#shown.replaceChildren(refused(error));
    } finally {
      this.#abort = null;
      this.#busy(false);
    }
  }

  #busy(busy) {
    for (const button of this.form.querySelectorAll("button")) {
      if (button.value === "stop") button.hidden = !busy;
      else button.disabled = busy;
    }
    this.form.setAttribute("aria-busy", String(busy));
  }

  // --- texts --------------------------------------------------------------------------------------------------------

  async #draft(task, brief, signal) {
    const { root, slots } = stamp("draft", { question: WORDS[task] });
    this.#shown.replaceChildren(root);
    const turn = new Turn(slots);
    let id = null;
    try {
      const body = { task, ...(brief ? { brief } : {}), ...(this.adr ? { adr_id: this.adr.adr_id, version: this.adr.version } : {}) };
      const response = await open("/v1/drafts/stream", { method: "POST", body, headers: { accept: "text/event-stream" }, signal });
      for await (const event of eventsOf(response)) {
        const data = JSON.parse(event.data);
        if (event.type === "start") id = data.answer_id;
        turn.hear(event.type, data);
        if (event.type === "done") this.#offer(slots, task, id, data.finish);
      }
      if (!turn.ended) throw new Refusal(0, "cut", "the connection was cut before the draft was whole", "draft it again");
    } catch (error) {
      if (signal.aborted) turn.stopped();
      else if (error.status === 401) throw error;
      else turn.broken(error);
    } finally {
      turn.settle();
    }
  }

  #offer(slots, task, id, finish) {
    slots.accept.hidden = finish !== "stop" || !(task in ACCEPTABLE);
    slots.accept.textContent = ACCEPTABLE[task] ?? "";
    slots.discard.hidden = false;
    slots.accept.addEventListener("click", () => this.#settle(slots, async () => {
      const adr = await ask(`/v1/drafts/${id}/accept`, { method: "POST", body: {} });
      this.forget();
      this.on.opened(adr.adr_id);
    }));
    slots.discard.addEventListener("click", () => this.#settle(slots, async () => {
      await open(`/v1/chat/answers/${id}`, { method: "DELETE" });
      this.forget();
      this.form.elements.brief.focus();
    }));
  }

  /** What a button does, once: while it does nothing else is to be pressed, and what goes wrong is said beside it. */
  async #settle(slots, work) {
    slots.accept.disabled = slots.discard.disabled = true;
    try {
      await work();
    } catch (error) {
      if (error.status === 401) { this.on.refused(error); return; }
      slots.problem.replaceChildren(refused(error));
      slots.accept.disabled = slots.discard.disabled = false;
    }
  }

  // --- suggestions ----------------------------------------------------------------------------------------------------

  async #suggest(signal) {
    this.#shown.replaceChildren(h("p", { class: "small" }, "Looking at what is near …"));
    const path = `/v1/adrs/${this.adr.adr_id}`;
    const found = await ask(`${path}/suggestions`, { method: "POST", body: { version: this.adr.version }, signal });
    const title = found.title === null ? null : this.#button(found.title, "Give it this title", () => ask(path, {
      method: "PATCH", body: { title: found.title, expected_version: found.version, message: "A suggested title" },
    }));
    const tags = found.tags.map(({ tag, known }) => this.#button(known ? tag : `${tag} (new)`, `Add the tag ${tag}`, () => ask(`${path}/tags/${encodeURIComponent(tag)}`, { method: "PUT" })));
    const related = found.related.map((each) => h("li", {}, h("a", { href: `/?adr=${each.adr_id}`, "data-adr": each.adr_id }, `${each.label ?? each.log} ${each.title}`), each.why ? h("span", { class: "small" }, ` ${each.why}`) : null));
    const { root } = stamp("suggestions", {
      title: title ?? "No better one is known.",
      tags: tags.length ? tags : "None.",
      related: related.length ? related : [h("li", {}, "None.")],
      by: `${found.model ?? "No model: this is what near decisions have"}. Nothing is set before you press it.`,
    });
    this.#shown.replaceChildren(root);
  }

  #button(text, meaning, work) {
    const button = h("button", { type: "button", title: meaning }, text);
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await work();
        this.on.opened(this.adr.adr_id);
      } catch (error) {
        if (error.status === 401) { this.on.refused(error); return; }
        button.after(refused(error));
        button.disabled = false;
      }
    });
    return button;
  }
}
