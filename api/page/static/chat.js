// A question, and its answer as it is written. Owns the request, its end (done, stopped, broken), going on with an answer
// after a cut or a reload, and how all that is said. Refuses to show a number that leads nowhere: a citation is a link to
// its source, or it is not a link.

import { ask as read, open, Refusal } from "./api.js";
import { eventsOf, follow } from "./events.js";
import { markdown } from "./markdown.js";
import { h, plural, refused, stamp, whereTo, wordFor } from "./parts.js";

const KEY = "adriatic.conversation"; // its id, in this tab's session storage: the text of it stays on the server
const TURNS_MAX = 50; // of one visit; older ones leave the page, not the ledger

export class Chat {
  #abort = null;
  #answer = null;
  #session = null;

  constructor(on) {
    this.on = on;
    this.form = document.getElementById("ask-form");
    this.question = document.getElementById("question");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.ask(this.question.value.trim()); });
    document.getElementById("stop").addEventListener("click", () => this.stop());
    document.getElementById("new-conversation").addEventListener("click", () => { this.forget(); this.question.focus(); });
    this.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.form.requestSubmit(); }
    });
  }

  get asking() { return this.#abort !== null; }

  /** Nobody reads it any more, and it is to be written no further. */
  stop() {
    if (!this.#abort) return;
    const answer = this.#answer;
    this.#abort.abort();
    if (answer) open(`/v1/chat/answers/${answer}/stop`, { method: "POST" }).catch(() => {}); // it ends by itself, at the latest
  }

  forget() {
    this.stop();
    this.#remember(null);
    document.getElementById("turns").replaceChildren();
  }

  /** After a reload: what was said before, and the answer that is still being written. */
  async restore() {
    let session = null;
    try { session = sessionStorage.getItem(KEY); } catch { /* nothing was kept */ }
    if (!session || this.#session) return;
    try {
      const { items } = await read(`/v1/chat/sessions/${session}`);
      if (this.#session || this.asking) return;
      this.#remember(session);
      for (const item of items.slice(-TURNS_MAX)) {
        const turn = this.#turn(item.question);
        if (item.state === "running") { await this.#listen(turn, (signal) => this.#resume(item.answer_id, turn, signal)); continue; }
        turn.recall(item);
        turn.settle();
      }
    } catch (error) {
      if (error.status === 404) this.#remember(null); // it was deleted, or its time is over
      else if (error.status === 401) this.on.refused(error);
    }
  }

  async ask(question) {
    if (!question || this.asking) return;
    this.question.value = "";
    const turn = this.#turn(question);
    await this.#listen(turn, async (signal) => {
      const body = { question, on_disconnect: "keep", ...(this.#session ? { session_id: this.#session } : {}) };
      const response = await open("/v1/chat/stream", { method: "POST", body, headers: { accept: "text/event-stream" }, signal });
      try {
        for await (const event of eventsOf(response)) this.#hear(turn, event.type, JSON.parse(event.data));
      } catch (error) {
        if (signal.aborted || !this.#answer) throw error;
      }
      if (turn.ended || signal.aborted) return;
      if (!this.#answer) throw new Refusal(0, "cut", "the connection was cut before the answer began", "ask again");
      await this.#resume(this.#answer, turn, signal);
    });
  }

  /** Go on with an answer: from its first event, so that what is shown is what was said. */
  async #resume(answer, turn, signal) {
    this.#answer = answer;
    const over = new AbortController();
    signal.addEventListener("abort", () => over.abort(), { once: true });
    let problem = null;
    turn.restart();
    await follow(`/v1/chat/answers/${answer}/stream`, {
      event: (type, data) => { this.#hear(turn, type, data); if (turn.ended) over.abort(); },
      state: (name, detail) => {
        if (name === "waiting" && !turn.ended) turn.waits();
        else if (name === "absent" || name === "refused") problem = detail;
      },
    }, over.signal);
    if (problem) throw problem;
  }

  /** One answer from its first event to its end, however it comes. */
  async #listen(turn, work) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#busy(true);
    try {
      await work(signal);
      if (signal.aborted && !turn.ended) turn.stopped();
    } catch (error) {
      if (signal.aborted) turn.stopped();
      else turn.broken(error);
      if (error.status === 401) this.on.refused(error);
    } finally {
      this.#abort = null;
      this.#answer = null;
      this.#busy(false);
      turn.settle();
    }
  }

  #hear(turn, type, data) {
    if (type === "start") { this.#answer = data.answer_id; this.#remember(data.session_id); }
    turn.hear(type, data);
  }

  #turn(question) {
    const { root, slots } = stamp("turn", { question });
    const turns = document.getElementById("turns");
    turns.append(root);
    while (turns.children.length > TURNS_MAX) turns.firstElementChild.remove();
    return new Turn(slots);
  }

  #remember(session) {
    this.#session = session;
    document.getElementById("new-conversation").hidden = session === null;
    try {
      if (session === null) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, session);
    } catch { /* it lasts until the page is left */ }
  }

  #busy(busy) {
    document.getElementById("stop").hidden = !busy;
    document.getElementById("ask-button").disabled = busy;
    this.form.setAttribute("aria-busy", String(busy));
    if (!busy && document.activeElement === document.body) this.question.focus(); // the stop button had the focus
  }
}

/** What is shown of one answer, in the slots that its events fill. */
export class Turn {
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
    else if (type === "reset") this.restart();
    else if (type === "citations") this.#cited(data);
    else if (type === "done") { this.ended = true; this.slots.state.textContent = `${this.#began}${FINISHES[data.finish] ?? ""}`; }
    else if (type === "usage") this.#used(data);
    else if (type === "error" && data.code === "stopped") this.stopped();
    else if (type === "error") this.broken(new Refusal(data.status, data.code, data.detail, data.hint));
  }

  /** The events come from the first one again. */
  restart() {
    this.#text = "";
    this.#sources.clear();
  }

  waits() {
    this.slots.state.textContent = `${this.#began} The connection was cut; it is tried again.`;
  }

  /** An answer that ended earlier. */
  recall({ text, sources, citations, usage, error, state }) {
    for (const source of sources) this.#sources.set(source.number, source);
    this.#text = text;
    this.slots.state.textContent = "";
    if (citations) this.#cited(citations);
    if (usage) this.#used(usage);
    if (state === "stopped") this.stopped();
    else if (error) this.broken(new Refusal(error.status, error.code, error.detail, error.hint));
    this.ended = true;
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
    const words = asOf?.words ?? { state: "unknown" };
    const behind = asOf === null || words.state === "fresh" ? "" : words.state === "stale" ? " What was written last may be missing." : " Nobody knows what is missing: the search has not reported.";
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

  #used({ tokens, usage_source: source, cost_micro_usd: cost }) {
    const count = Object.values(tokens).reduce((sum, each) => sum + each, 0);
    if (!count) return;
    const about = source === "provider" ? "" : "about ";
    const price = cost === null ? "" : `, $${(cost / 1e6).toFixed(cost < 10_000 ? 6 : 4)}`;
    this.slots.used.textContent = ` ${about}${plural(count, "token")}${price}`;
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
