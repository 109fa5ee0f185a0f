// A question, and its answer as it is written. Owns the request, its end (done, stopped, broken), going on with an answer
// after a cut or a reload, and how all that is said. Refuses to show a number that leads nowhere: a citation is a link to
// its source, or it is not a link.

import { ask as read, open, Refusal } from "./api.js";
import { eventsOf, follow } from "./events.js";
import { markdown } from "./markdown.js";
import { dollars } from "./money.js";
import { h, onPages, plural, refused, stamp, whereTo, wordFor } from "./parts.js";

const KEY = "adriatic.conversation"; // its id, in this tab's session storage: the text of it stays on the server
const LOOK_UP = "adriatic.look-up"; // there where somebody wants it, for this tab; it is off by itself, as it is in the API
const BYTES_PER_TOKEN = 4; // the server estimates by as many
const encoder = new TextEncoder();
const TURNS_MAX = 50; // of one visit; older ones leave the page, not the ledger

export class Chat {
  #abort = null;
  #answer = null;
  #session = null;
  #spent = new Map(); // what each turn of this conversation used, by the turn

  constructor(on) {
    this.on = on;
    this.form = document.getElementById("ask-form");
    this.question = document.getElementById("question");
    this.lookUp = document.getElementById("look-up");
    try { this.lookUp.checked = sessionStorage.getItem(LOOK_UP) !== null; } catch { /* it is off */ }
    this.lookUp.addEventListener("change", () => this.#keepLookUp());
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.ask(this.question.value.trim()); });
    document.getElementById("stop").addEventListener("click", () => this.stop());
    document.getElementById("new-conversation").addEventListener("click", () => { this.forget(); this.question.focus(); });
    this.question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.form.requestSubmit(); }
    });
  }

  get asking() { return this.#abort !== null; }

  /** The conversation that is on the page, or null. */
  get session() { return this.#session; }

  /** Nobody reads it any more, and it is to be written no further. */
  stop() {
    if (!this.#abort) return;
    const answer = this.#answer;
    this.#abort.abort();
    if (answer) open(`/v1/chat/answers/${answer}/stop`, { method: "POST" }).catch(() => {}); // it ends by itself, at the latest
  }

  forget() {
    this.stop();
    this.#clear();
  }

  /** Another conversation. An answer that is being written goes on without a reader: it is kept. */
  async openSession(session) {
    this.#abort?.abort();
    this.#abort = null;
    this.#clear();
    await this.#recall(session);
    this.question.focus();
  }

  /** After a reload: what was said before, and the answer that is still being written. */
  async restore() {
    let session = null;
    try { session = sessionStorage.getItem(KEY); } catch { /* nothing was kept */ }
    if (session && !this.#session) await this.#recall(session);
  }

  #clear() {
    this.#remember(null);
    document.getElementById("turns").replaceChildren();
    this.#spent.clear();
    this.#showSpent();
  }

  async #recall(session) {
    try {
      const { items } = await read(`/v1/chat/sessions/${session}`);
      if (this.#session || this.asking) return;
      this.#remember(session);
      for (const item of items.slice(-TURNS_MAX)) {
        if (this.#session !== session) return; // another one was opened while this one was listened to
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
      const body = { question, on_disconnect: "keep", ...(this.lookUp.checked ? { tools: true } : {}), ...(this.#session ? { session_id: this.#session } : {}) };
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
    const mine = new AbortController();
    this.#abort = mine;
    const { signal } = mine;
    this.#busy(true);
    try {
      await work(signal);
      if (signal.aborted && !turn.ended) turn.stopped();
    } catch (error) {
      if (signal.aborted) turn.stopped();
      else turn.broken(error);
      if (error.status === 401) this.on.refused(error);
    } finally {
      if (this.#abort === mine || this.#abort === null) { // else another conversation was opened meanwhile, and listens
        this.#abort = null;
        this.#answer = null;
        this.#busy(false);
      }
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
    return new Turn(slots, (turn, used) => { if (slots.state.isConnected) { this.#spent.set(turn, used); this.#showSpent(); } });
  }

  /** What the conversation used so far, beside what each answer did. */
  #showSpent() {
    const place = document.getElementById("conversation-spent");
    const all = [...this.#spent.values()];
    place.hidden = all.length < 2;
    const known = all.filter((each) => each.cost !== null);
    const sum = (name, list) => list.reduce((total, each) => total + each[name], 0);
    const about = all.some((each) => each.about) ? "about " : "";
    place.textContent = `This conversation: ${about}${plural(sum("count", all), "token")}${known.length ? `, ${known.length < all.length ? "at least " : ""}${dollars(sum("cost", known))}` : ""}`;
  }

  #remember(session) {
    this.#session = session;
    document.getElementById("new-conversation").hidden = session === null;
    try {
      if (session === null) sessionStorage.removeItem(KEY);
      else sessionStorage.setItem(KEY, session);
    } catch { /* it lasts until the page is left */ }
  }

  #keepLookUp() {
    try {
      if (this.lookUp.checked) sessionStorage.setItem(LOOK_UP, "1");
      else sessionStorage.removeItem(LOOK_UP);
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
  #estimate = null;
  #written = 0; // bytes
  #counted = false;
  #lookedUp = 0;

  /** `used(turn, {count, cost, about})` is told of what it uses, again and again while it grows. */
  constructor(slots, used = () => {}) {
    this.slots = slots;
    this.used = used;
    slots.state.textContent = "Looking for passages …";
  }

  hear(type, data) {
    if (type === "start") this.#started(data);
    else if (type === "sources") for (const source of data.sources) this.#sources.set(source.number, source);
    else if (type === "delta") { this.#text += data.text; this.#grow(data.text); }
    else if (type === "reasoning") this.#grow(data.text);
    else if (type === "tool") this.#looksUp(data);
    else if (type === "reset") this.restart();
    else if (type === "citations") this.#cited(data);
    else if (type === "done") { this.ended = true; this.slots.state.textContent = `${this.#began}${this.#tellLookedUp()}${FINISHES[data.finish] ?? ""}`; }
    else if (type === "usage") this.#used(data);
    else if (type === "error" && data.code === "stopped") this.stopped();
    else if (type === "error") this.broken(new Refusal(data.status, data.code, data.detail, data.hint));
  }

  /** The events come from the first one again. */
  restart() {
    this.#text = "";
    this.#written = 0;
    this.#lookedUp = 0;
    this.#sources.clear();
  }

  /** A tool runs that the model asked for. */
  #looksUp({ name, state, arguments: wanted }) {
    if (state === "begun") this.slots.state.textContent = `${this.#began} ${lookUp(name, wanted)} …`;
    else this.#lookedUp += 1;
  }

  #tellLookedUp() { return this.#lookedUp ? ` It looked up more ${this.#lookedUp === 1 ? "once" : `${this.#lookedUp} times`}.` : ""; }

  waits() {
    this.slots.state.textContent = `${this.#began} The connection was cut; it is tried again.`;
  }

  /** An answer that ended earlier. */
  recall({ text, sources, citations, usage, error, state, withdrawn }) {
    for (const source of sources) this.#sources.set(source.number, source);
    this.#text = text;
    this.slots.state.textContent = "";
    if (citations) this.#cited(citations);
    if (usage) this.#used(usage);
    if (withdrawn) this.slots.state.textContent = `It stands on ${plural(withdrawn, "source")} deleted since, so its text is not shown.`;
    else if (state === "stopped") this.stopped();
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

  #started({ provider, model, as_of: asOf, degraded, estimate }) {
    this.#estimate = estimate ?? null;
    const who = provider === "extractive" ? "Passages as they stand, without a model." : `By ${model}.`;
    const words = asOf?.words ?? { state: "unknown" };
    const behind = asOf === null || words.state === "fresh" ? "" : words.state === "stale" ? " What was written last may be missing." : " Nobody knows what is missing: the search has not reported.";
    const without = degraded.map((arm) => ` Without search by ${arm.arm}: ${arm.detail}.`).join("");
    this.#began = `${who}${behind}${without}`;
    this.slots.state.textContent = this.#began;
  }

  #grow(text) {
    this.#written += encoder.encode(text).length;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** What it used so far, by the same estimate as the server's, until `usage` says how much it was. */
  #estimated() {
    if (!this.#estimate || this.ended || this.#counted) return;
    const { prompt_tokens: read, prompt_micro_usd: base, output_micro_usd: rate } = this.#estimate;
    const written = Math.ceil(this.#written / BYTES_PER_TOKEN);
    this.#say(read + written, base === null || rate === null ? null : base + Math.ceil((written * rate) / 1e6), true, " so far");
  }

  #say(count, cost, about, soFar = "") {
    this.slots.used.textContent = ` ${about ? "about " : ""}${plural(count, "token")}${cost === null ? "" : `, ${dollars(cost)}`}${soFar}`;
    this.used(this, { count, cost, about });
  }

  #show() {
    this.#frame = 0;
    this.#estimated();
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
    this.#counted = true;
    if (count) this.#say(count, cost, source !== "provider");
    else this.slots.used.textContent = source === "cache" ? " Given again: no provider was asked." : "";
  }

  #cited({ cited, unsupported }) {
    if (!cited.length) return;
    this.slots.sources.hidden = false;
    this.slots.summary.textContent = plural(cited.length, "source") + (unsupported.length ? `; ${plural(unsupported.length, "number")} led nowhere and was taken out` : "");
    this.slots.list.replaceChildren(...cited.map((number) => {
      const source = this.#sources.get(number);
      if (source.gone) return h("li", { value: number }, h("span", { class: "small" }, "deleted since"));
      const where = [source.log, source.label ?? (source.log ? null : wordFor(source.kind)), `version ${source.version}`, source.heading, onPages(source.pages)].filter(Boolean).join(" · ");
      return h("li", { value: number }, h("a", target(source), source.title), h("span", { class: "small" }, ` ${where}`));
    }));
  }
}

const FINISHES = { length: " It stopped at the longest answer that is allowed.", refused: " The model refused to answer." };

/** What a model looks up, in words. What it wrote need not be what the tool takes. */
function lookUp(name, wanted) {
  let given = {};
  try { given = JSON.parse(wanted) ?? {}; } catch { /* the tool refuses it, and the model is told */ }
  if (name === "search_adrs" && typeof given.query === "string") return `It searches for “${given.query}”`;
  if (name === "read_adr" && Number.isInteger(given.number)) return `It reads ADR-${given.number}`;
  return "It looks up more";
}

/** Where a citation leads, with the version and the heading that were cited: what is read here opens there. */
const target = (source) => ({ ...whereTo(source), "data-version": source.version, "data-heading": source.heading });
