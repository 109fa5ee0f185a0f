// A question, and its answer as it is written. Owns the request, its end (done, stopped, broken) and how it is said.
// Refuses to show a number that leads nowhere: a citation is a link to its source, or it is not a link.

import { open, Refusal } from "./api.js";
import { eventsOf } from "./events.js";
import { markdown } from "./markdown.js";
import { h, plural, refused, stamp, whereTo, wordFor } from "./parts.js";

const TURNS_MAX = 50; // of one visit; older ones leave the page, not the ledger

export class Chat {
  #abort = null;
  #session = null;

  constructor(on) {
    this.on = on;
    this.form = document.getElementById("ask-form");
    this.question = document.getElementById("question");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.ask(this.question.value.trim()); });
    document.getElementById("stop").addEventListener("click", () => this.stop());
    this.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.form.requestSubmit(); }
    });
  }

  get asking() { return this.#abort !== null; }

  stop() { this.#abort?.abort(); }

  forget() {
    this.stop();
    this.#session = null;
    document.getElementById("turns").replaceChildren();
  }

  async ask(question) {
    if (!question || this.asking) return;
    this.#abort = new AbortController();
    const { root, slots } = stamp("turn", { question });
    const turns = document.getElementById("turns");
    turns.append(root);
    while (turns.children.length > TURNS_MAX) turns.firstElementChild.remove();
    this.question.value = "";
    this.#busy(true);
    const turn = new Turn(slots);
    try {
      const body = { question, ...(this.#session ? { session_id: this.#session } : {}) };
      const response = await open("/v1/chat/stream", { method: "POST", body, headers: { accept: "text/event-stream" }, signal: this.#abort.signal });
      for await (const event of eventsOf(response)) {
        const data = JSON.parse(event.data);
        if (event.type === "start") this.#session = data.session_id;
        turn.hear(event.type, data);
      }
      if (!turn.ended) turn.broken(new Refusal(0, "cut", "the connection was cut before the answer was whole", "ask again"));
    } catch (error) {
      if (this.#abort.signal.aborted) turn.stopped();
      else turn.broken(error);
      if (error.status === 401) this.on.refused(error);
    } finally {
      this.#abort = null;
      this.#busy(false);
      turn.settle();
    }
  }

  #busy(busy) {
    document.getElementById("stop").hidden = !busy;
    document.getElementById("ask-button").disabled = busy;
    this.form.setAttribute("aria-busy", String(busy));
    if (!busy && document.activeElement === document.body) this.question.focus(); // the stop button had the focus
  }
}

class Turn {
  ended = false;
  #text = "";
  #sources = new Map();
  #frame = 0;
  #began = "";

  constructor(slots) {
    this.slots = slots;
    slots.state.textContent = "Looking for passages …";
  }

  hear(type, data) {
    if (type === "start") this.#started(data);
    else if (type === "sources") for (const source of data.sources) this.#sources.set(source.number, source);
    else if (type === "delta") { this.#text += data.text; this.#frame ||= requestAnimationFrame(() => this.#show()); }
    else if (type === "citations") this.#cited(data);
    else if (type === "done") { this.ended = true; this.slots.state.textContent = `${this.#began}${FINISHES[data.finish] ?? ""}`; }
    else if (type === "error") this.broken(new Refusal(data.status, data.code, data.detail, data.hint));
  }

  stopped() {
    this.ended = true;
    this.slots.state.textContent = "Stopped. What was used until then is counted.";
  }

  broken(error) {
    this.ended = true;
    this.slots.state.replaceChildren(...refused(error).childNodes);
    this.slots.state.classList.add("problem");
  }

  /** Only a whole answer is read out. */
  settle() {
    if (this.#frame) cancelAnimationFrame(this.#frame);
    this.#show();
    this.slots.answer.setAttribute("aria-busy", "false");
  }

  #started({ provider, model, as_of: asOf, degraded }) {
    const who = provider === "extractive" ? "Passages as they stand, without a model." : `By ${model}.`;
    const words = asOf.words ?? { state: "unknown" };
    const behind = words.state === "fresh" ? "" : words.state === "stale" ? " What was written last may be missing." : " Nobody knows what is missing: the search has not reported.";
    const without = degraded.map((arm) => ` Without search by ${arm.arm}: ${arm.detail}.`).join("");
    this.#began = `${who}${behind}${without}`;
    this.slots.state.textContent = this.#began;
  }

  #show() {
    this.#frame = 0;
    this.slots.answer.replaceChildren(...markdown(this.#text, { words: (piece) => this.#words(piece) }));
  }

  /** Numbers in brackets are citations; everything else stays text. */
  #words(piece) {
    return piece.split(/\[(\d{1,3})\]/).map((part, index) => (index % 2 ? this.#citation(Number(part)) : part));
  }

  #citation(number) {
    const source = this.#sources.get(number);
    return source ? h("a", { ...target(source), class: "cite", "aria-label": `source ${number}: ${source.title}` }, String(number)) : `[${number}]`;
  }

  #cited({ cited, unsupported }) {
    if (!cited.length) return;
    this.slots.sources.hidden = false;
    this.slots.summary.textContent = plural(cited.length, "source") + (unsupported.length ? `; ${plural(unsupported.length, "number")} led nowhere and was taken out` : "");
    this.slots.list.replaceChildren(...cited.map((number) => {
      const source = this.#sources.get(number);
      const where = [source.log, source.label ?? (source.log ? null : wordFor(source.kind)), `version ${source.version}`, source.heading].filter(Boolean).join(" · ");
      return h("li", { value: number }, h("a", target(source), source.title), h("span", { class: "small" }, ` ${where}`));
    }));
  }
}

const FINISHES = { length: " It stopped at the longest answer that is allowed.", refused: " The model refused to answer." };

/** Where a citation leads, with the version and the heading that were cited: what is read here opens there. */
const target = (source) => ({ ...whereTo(source), "data-version": source.version, "data-heading": source.heading });
