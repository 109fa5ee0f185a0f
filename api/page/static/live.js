// What moves by itself: counts, activity and how far behind the views are, from /v1/live. Owns the pictures of the two
// views that this page follows, and what is shown when they are old. A number that nobody confirms is not called fresh.

import { Chart, saysLag, saysRate } from "./charts.js";
import { follow } from "./events.js";
import { chip, count, h, plural, seconds, settle, when } from "./parts.js";

const FEED_ROWS_MAX = 12; // what is seen without scrolling; the view itself has the newest 200
const DRAW_EVERY_MS = 250; // an import changes hundreds of rows a second: draw what is, not each step
const AGE_EVERY_S = 10; // "just now" must not stay
const SAY_EVERY_S = 20; // for screen readers: sums, not a stream
const FRESH_S_MAX = 10; // the server's own bounds (api/watermarks.py), for an answer that grows old here
const KNOWN_S_MAX = 900;

/** A view as this page has it: rows by key, kept by snapshot, delta and reset. */
export class Picture {
  rows = new Map();
  complete = false;
  asOf = null;
  waitsFor = [];
  #heardMs = 0;

  constructor(keys) { this.keys = keys; }

  /** True when something in it changed. */
  hear(type, data) {
    if (type === "reset") { this.rows.clear(); this.complete = false; return true; }
    if (type === "snapshot") {
      for (const row of data.rows) this.rows.set(this.#key(row), row);
      this.complete ||= !data.more;
      this.#watermark(data.as_of);
      return true;
    }
    if (type === "watermark") {
      this.waitsFor = data.waits_for ?? [];
      this.#watermark(data.as_of);
      return false;
    }
    if (type !== "delta") return false;
    const key = this.#key(data.key ?? data.row);
    if (data.op === "delete") return this.rows.delete(key);
    this.rows.set(key, { ...this.rows.get(key), ...data.row }); // a column that is not there did not change
    return true;
  }

  #key(row) { return this.keys.map((name) => String(row[name])).join("\u0000"); }

  #watermark(asOf) {
    if (!asOf) return;
    this.asOf = asOf;
    this.#heardMs = performance.now();
  }

  /** How far behind it is at this moment, in words that only get worse with silence. */
  now() { return aged(this.asOf, this.#heardMs); }
}

/** What an `as_of` that came at `heardMs` is worth now: its age grows while nothing is heard. */
export function aged(asOf, heardMs) {
  if (!asOf || asOf.age_s === null || asOf.age_s === undefined || asOf.state === "unknown") return { state: "unknown", ageS: null };
  const ageS = asOf.age_s + (performance.now() - heardMs) / 1000;
  const byAge = ageS <= FRESH_S_MAX ? "fresh" : ageS <= KNOWN_S_MAX ? "stale" : "unknown";
  return { state: asOf.state === "fresh" ? byAge : byAge === "unknown" ? "unknown" : "stale", ageS };
}

export class Live {
  #abort = null;
  #states = { activity: "connecting", entity_counts: "connecting" };
  #pictures = { activity: new Picture(["adr_id", "version"]), entity_counts: new Picture(["kind", "label"]) };
  #dirty = false;
  #rate = new Chart(document.getElementById("chart-rate"), saysRate);
  #lag = new Chart(document.getElementById("chart-lag"), saysLag);
  #versions = null;
  #unsaid = 0;
  #ticks = 0;
  #freshness = null;
  #known = new Set();

  /** `on.changed(adrIds)`: decisions got versions; `on.refused(refusal)`: the token is no good. */
  constructor(on) {
    this.on = on;
    setInterval(() => this.#draw(), DRAW_EVERY_MS);
    setInterval(() => this.#second(), 1000);
    for (const event of ["online", "offline"]) addEventListener(event, () => this.#connection());
  }

  start() {
    this.stop();
    this.#abort = new AbortController();
    for (const view of Object.keys(this.#pictures)) {
      follow(`/v1/live/${view}`, { event: (type, data) => this.#hear(view, type, data), state: (name, detail) => this.#state(view, name, detail) }, this.#abort.signal);
    }
  }

  stop() {
    this.#abort?.abort();
    for (const view of Object.keys(this.#pictures)) {
      this.#pictures[view] = new Picture(this.#pictures[view].keys);
      this.#states[view] = "connecting";
    }
    this.#freshness = null;
    this.#versions = null;
    this.#known.clear();
    this.#dirty = true;
  }

  /** The newest answer of /v1/freshness; null when there was none. */
  freshness(answer) {
    this.#freshness = answer && { answer, heardMs: performance.now() };
    this.#arms();
  }

  repaint() { this.#rate.redraw(); this.#lag.redraw(); }

  #hear(view, type, data) {
    const picture = this.#pictures[view];
    if (!picture.hear(type, data)) return;
    this.#dirty = true;
    if (view !== "activity" || type !== "delta" || data.op === "delete") return;
    this.#unsaid += 1;
    this.on.changed(data.row);
  }

  #state(view, name, detail) {
    this.#states[view] = name;
    this.#wait = name === "waiting" ? performance.now() + detail : this.#wait;
    if (name === "refused") this.on.refused(detail);
    this.#dirty = true;
    this.#connection();
  }

  #wait = 0;

  #connection() {
    const states = Object.values(this.#states);
    const worst = ["refused", "waiting", "connecting", "absent", "live"].find((state) => states.includes(state));
    const leftS = Math.max(0, Math.ceil((this.#wait - performance.now()) / 1000));
    const waitsFor = [...new Set(Object.values(this.#pictures).flatMap((picture) => picture.waitsFor))];
    const words = {
      live: waitsFor.length ? `live, but waits for ${waitsFor.join(" and ")}` : "live", connecting: "connecting", refused: "not allowed", absent: "not live: reload to see changes",
      waiting: navigator.onLine ? `cut off, next try in ${leftS} s` : "offline",
    };
    const element = document.getElementById("connection");
    if (element.textContent !== words[worst]) element.textContent = words[worst];
    element.dataset.state = worst === "live" ? (waitsFor.length ? "stale" : "fresh") : worst === "waiting" || worst === "refused" ? "stale" : "unknown";
  }

  #second() {
    this.#dirty ||= this.#ticks % AGE_EVERY_S === 0;
    this.#arms();
    this.#connection();
    const counts = this.#pictures.entity_counts;
    const live = this.#states.entity_counts === "live" && counts.complete;
    const versions = live ? total(counts, "versions") : null;
    const rate = versions === null || this.#versions === null ? null : Math.max(0, versions - this.#versions);
    this.#versions = versions;
    this.#rate.push(rate);
    const lag = live ? counts.now().ageS : null;
    this.#lag.push(lag === null ? null : Math.round(lag * 10) / 10);
    document.getElementById("rate-now").textContent = rate === null ? "not known" : count(rate);
    document.getElementById("lag-now").textContent = lag === null ? "not known" : seconds(lag);
    if (++this.#ticks % SAY_EVERY_S === 0 && this.#unsaid > 0) {
      document.getElementById("announce").textContent = `${plural(this.#unsaid, "change")} in the last ${SAY_EVERY_S} seconds`;
      this.#unsaid = 0;
    }
  }

  #arms() {
    const { answer, heardMs } = this.#freshness ?? {};
    const words = aged(answer?.as_of, heardMs);
    arm("arm-words", words, answer?.words);
    // By meaning nothing is further than by words; what waits for a vector says how much is missing.
    const waiting = answer && words.state !== "unknown" ? answer.meaning.waiting : 0;
    const meaning = waiting > 0 ? { state: "stale", says: `${count(waiting)} waiting for a vector` } : words;
    arm("arm-meaning", meaning, answer?.meaning);
  }

  #draw() {
    if (!this.#dirty) return;
    this.#dirty = false;
    const counts = this.#pictures.entity_counts;
    figure("count-adrs", counts, "adrs");
    figure("count-versions", counts, "versions");
    this.#feed();
  }

  #feed() {
    const { rows, complete } = this.#pictures.activity;
    const newest = [...rows.values()].sort(newestFirst).slice(0, FEED_ROWS_MAX);
    const list = document.getElementById("feed");
    const had = this.#known;
    this.#known = new Set(newest.map((row) => `${row.adr_id}.${row.version}`));
    settle(list, newest.map((row) => event(row, had.size > 0 && !had.has(`${row.adr_id}.${row.version}`))));
    list.setAttribute("aria-busy", String(!complete));
    const state = this.#states.activity;
    const note = document.getElementById("feed-note");
    note.textContent = state === "absent" ? "This server has no live reads."
      : !complete ? "Waiting for the first picture."
      : newest.length === 0 ? "Nothing yet. What is written appears here by itself."
      : state === "live" ? "" : "Not connected: this may be old.";
    note.hidden = note.textContent === "";
  }
}

const newestFirst = (a, b) => compare(b.recorded_at, a.recorded_at) || compare(b.effective_at, a.effective_at) || compare(b.version, a.version);
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

const CHANGES = { create: "written", update: "changed", rename: "moved", rollback: "rolled back", delete: "deleted", restore: "restored" };

function event(row, fresh) {
  const title = h("a", { href: `/?adr=${encodeURIComponent(row.adr_id)}`, "data-adr": row.adr_id }, row.title || "without a title");
  const what = h("p", { class: "small" }, `${CHANGES[row.change] ?? row.change}${row.author ? ` by ${row.author}` : ""}, version ${row.version}, `, when(row.recorded_at));
  return h("li", { class: fresh ? "new" : null }, h("p", {}, title, " ", row.status ? chip(row.status) : null), what);
}

function total(picture, kind) {
  let sum = 0;
  for (const row of picture.rows.values()) if (row.kind === kind) sum += Number(row.count);
  return sum;
}

function figure(id, picture, kind) {
  const by = [...picture.rows.values()].filter((row) => row.kind === kind).sort((a, b) => b.count - a.count);
  document.getElementById(id).textContent = picture.complete ? count(total(picture, kind)) : "–";
  document.getElementById(`${id}-note`).textContent = by.slice(0, 3).map((row) => `${count(Number(row.count))} ${row.label}`).join(", ");
}

function arm(id, { state, ageS, says }, counted) {
  const element = document.getElementById(id);
  element.dataset.state = state;
  element.querySelector(".state").textContent = says ?? (state === "unknown" ? "unknown" : `${state}, ${seconds(ageS)} behind`);
  const waiting = says ? [] : [counted?.waiting ? `${count(counted.waiting)} waiting` : "nothing waits"];
  const usual = counted?.p95_s === null || counted?.p95_s === undefined ? [] : [`95 of 100 within ${seconds(counted.p95_s)}`];
  element.querySelector(".small").textContent = !counted ? "no answer yet" : [...waiting, ...usual].join(", ");
}
