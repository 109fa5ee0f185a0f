// Server-sent events over fetch: EventSource cannot send a token. Owns the parsing, and following a stream for ever:
// resuming after the last event that was heard, backing off, noticing silence.

import { open } from "./api.js";

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 15_000; // a person who waits looks again after about that long
const SILENCE_MAX_MS = 20_000; // the server speaks once a second: twenty missing seconds are a dead connection
const EVENT_CHARS_MAX = 4_000_000; // a snapshot has at most 500 rows; more without a blank line is no event stream

/** Bytes in as text, events out: `{type, data, id}`. By the standard: CR, LF and CRLF end lines, a colon begins a comment. */
export class EventParser {
  #rest = "";
  #skipLineFeed = false;
  #data = [];
  #type = "";
  lastId = null;
  retryMs = null;

  /** @returns the events that `text` completes */
  feed(text) {
    const events = [];
    if (text === "") return events;
    if (this.#skipLineFeed && text.startsWith("\n")) text = text.slice(1);
    this.#skipLineFeed = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    if (this.#rest.length > EVENT_CHARS_MAX) throw new RangeError("an event is too long");
    for (const line of lines) {
      if (line !== "") { this.#field(line); continue; }
      if (this.#data.length) events.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.lastId });
      this.#data = [];
      this.#type = "";
    }
    return events;
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.lastId = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
}

/** Every event of one response, until it ends. `touched` is called for each piece that arrives, comments included. */
export async function* eventsOf(response, parser = new EventParser(), touched = () => {}) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      touched();
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stops reading hangs up
  }
}

/**
 * Follow a stream until `signal` aborts it. `hear.event(type, data)` gets each event once, in order.
 * `hear.state(name, detail)` tells: connecting, live, waiting (detail: ms until the next try), absent, refused (detail: the refusal).
 */
export async function follow(path, hear, signal) {
  let failures = 0;
  const seen = new EventParser();
  while (!signal.aborted) {
    let pauseMs = null;
    const quiet = new AbortController();
    const stop = () => quiet.abort();
    signal.addEventListener("abort", stop, { once: true });
    let silence = setTimeout(stop, SILENCE_MAX_MS);
    try {
      hear.state("connecting");
      const headers = { accept: "text/event-stream", ...(seen.lastId ? { "last-event-id": seen.lastId } : {}) };
      const response = await open(path, { headers, signal: quiet.signal });
      const parser = new EventParser();
      parser.lastId = seen.lastId;
      const touched = () => { clearTimeout(silence); silence = setTimeout(stop, SILENCE_MAX_MS); };
      for await (const event of eventsOf(response, parser, touched)) {
        if (failures !== -1) { failures = -1; hear.state("live"); }
        hear.event(event.type, JSON.parse(event.data));
        seen.lastId = event.id; // only after it was heard: one that was not comes again
      }
      pauseMs = parser.retryMs;
    } catch (error) {
      if (signal.aborted) break;
      if (error.status === 401 || error.status === 403) return hear.state("refused", error);
      if (error.status === 404 || error.status === 413) return hear.state("absent", error); // asking again changes nothing
      if (error.status === 400 && seen.lastId) seen.lastId = null; // a place that it no longer knows: begin anew
      if (error.retryAfterS) pauseMs = error.retryAfterS * 1000;
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", stop);
    }
    failures = Math.max(failures, 0) + 1;
    // Half of it is chance: many pages that were cut at once do not come back at once.
    const backoffMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
    await pause(Math.max(pauseMs ?? 0, backoffMs), hear, signal);
  }
}

/** Wait, but no longer than until the network comes back. */
function pause(ms, hear, signal) {
  hear.state("waiting", ms);
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
