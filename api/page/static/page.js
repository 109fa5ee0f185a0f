// The page, put together: token, address, keys, and the one place where htmx's answers become what is seen.
// Read next: session.js (the token), api.js (how /v1 is asked), views.js (what answers look like), live.js (what moves).

import { ask, refusal, Refusal } from "./api.js";
import { Chat } from "./chat.js";
import { Drafts } from "./drafts.js";
import { Conversations } from "./conversations.js";
import { Live } from "./live.js";
import { narrow } from "./facets.js";
import { markdown } from "./markdown.js";
import { openOriginal } from "./originals.js";
import { chip, h, refused, stamp, when } from "./parts.js";
import { cut, openPage, showQuote } from "./passages.js";
import * as session from "./session.js";
import { Spending } from "./spend.js";
import { failed, show, VIEWS } from "./views.js";
import { Work } from "./work.js";

const byId = (id) => document.getElementById(id);
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const WORK = /^(research|task|crawl|document)\.[0-9a-f-]{36}$/;

const known = session.adopt(); // before anything is asked: the address must not keep it
const live = new Live({ changed, refused: signOut });
const chat = new Chat({ refused: signOut });
const conversations = new Conversations({
  chosen: (id) => chat.openSession(id), deleted: (id) => { if (chat.session === id) chat.forget(); }, current: () => chat.session, refused: signOut,
});
const spending = new Spending({ refused: signOut });
const work = new Work({ refused: signOut, address: (key) => address({ view: "work", work: key, adr: "" }), leave: () => { address({ view: "", work: "" }); read(); byId("q").focus(); } });
const writing = new Drafts(byId("write-form"), byId("written"), { opened, refused: signOut });

// --- asking: htmx decides when, these lines decide how, views.js what is shown -----------------------------------------

document.addEventListener("htmx:config:request", (event) => {
  const { ctx } = event.detail;
  const view = ctx.sourceElement.dataset.view;
  const idle = document.hidden && ctx.sourceEvent?.type === "every"; // nobody looks
  const answered = !ctx.sourceElement.hasAttribute("hx-get"); // a difference that is there is only hidden and shown
  if (!session.present() || idle || answered) return event.preventDefault();
  ctx.request.headers = { Accept: "application/json", Authorization: session.authorization() };
  ctx.request.credentials = "omit";
  ctx.request.cache = "no-store";
  for (const [name, value] of [...ctx.request.body]) if (String(value).trim() === "") ctx.request.body.delete(name);
  if (view !== "results") return undefined;
  narrow(ctx.request.body, ctx.sourceEvent?.type === "input");
  const query = byId("q").value.trim();
  address({ q: query }, true);
  if (query !== "") return undefined;
  show(false);
  return event.preventDefault();
});

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  event.preventDefault(); // htmx would take the answer for HTML
  const element = ctx.sourceElement;
  const name = element.dataset.view;
  if (name === "results" && byId("q").value.trim() === "") return; // it was emptied meanwhile
  if (ctx.response.status >= 400) return failure(element, refusal(ctx.response.status, ctx.text, ctx.response.headers));
  if (name === "freshness") return live.freshness(JSON.parse(ctx.text));
  VIEWS[name](JSON.parse(ctx.text), element);
});

document.addEventListener("htmx:error", (event) => {
  const { ctx } = event.detail;
  if (ctx) failure(ctx.sourceElement, new Refusal(0, "unreachable", "the server cannot be reached", "it is tried again"));
});

function failure(element, error) {
  const name = element.dataset.view;
  if (error.status === 401) return signOut(error);
  if (name === "freshness") return live.freshness(null);
  return (VIEWS[name]?.failed ?? failed)(error, element);
}

// --- signing in and out -------------------------------------------------------------------------------------------------

function signIn() {
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
  byId("sign-out").hidden = false;
  live.start();
  chat.restore();
  know();
  document.body.dispatchEvent(new Event("signed-in"));
  read();
}

/** What is shown to those who may do it. Whoever finds the way to it all the same is refused by the API. */
async function know() {
  try {
    const { scopes } = await ask("/v1/me");
    byId("open-spend").hidden = !scopes.includes("admin");
    byId("open-work").hidden = false;
    work.allow(scopes);
    if (new URLSearchParams(location.search).has("view")) read();
  } catch (error) {
    if (error.status === 401) signOut(error);
  }
}

/** With a refusal it says why; without, the person wanted to. */
function signOut(error) {
  chat.forget(); // stops what is being written, which takes the token
  writing.forget();
  conversations.forget();
  spending.forget();
  work.forget();
  byId("open-spend").hidden = byId("open-work").hidden = true;
  session.forget();
  live.stop();
  reading.close();
  for (const list of document.querySelectorAll("#results, #recent, #feed, .panel-body")) list.replaceChildren();
  byId("app").hidden = true;
  byId("sign-out").hidden = true;
  byId("connection").textContent = "not connected";
  byId("sign-in").hidden = false;
  const problem = byId("sign-in-problem");
  problem.hidden = !(error instanceof Error);
  if (error instanceof Error) problem.replaceChildren(...refused(error).childNodes);
  byId("token").focus();
}

byId("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = byId("sign-in-problem");
  const given = byId("token").value.trim();
  byId("token").value = "";
  if (!session.keep(given)) {
    problem.textContent = "That has not the form of a token: three parts with points between them.";
    problem.hidden = false;
    return;
  }
  try {
    await ask("/v1/logs?limit=1");
    problem.hidden = true;
    signIn();
  } catch (error) {
    signOut(error);
  }
});
byId("sign-out").addEventListener("click", () => { signOut(); history.replaceState(null, "", "/"); });

// --- the address: ?q= is searched, ?adr= is read --------------------------------------------------------------------------

function address(change, replace = false) {
  const now = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) if (value) now.set(name, value); else now.delete(name);
  const wanted = now.size ? `/?${now}` : "/";
  if (wanted === location.pathname + location.search) return;
  if (replace) history.replaceState(history.state, "", wanted);
  else history.pushState(null, "", wanted);
}

/** Make the page what the address says. */
function read() {
  const now = new URLSearchParams(location.search);
  const query = now.get("q") ?? "";
  if (byId("q").value !== query || query === "") {
    byId("q").value = query;
    if (query === "") show(false);
  }
  if (query !== "") byId("search").dispatchEvent(new Event("search-now"));
  const spends = now.get("view") === "spend" && !byId("open-spend").hidden;
  const works = now.get("view") === "work" && !byId("open-work").hidden;
  if (!spends) spending.hide();
  if (!works) work.hide();
  if (spends) spending.show();
  if (works) work.show(WORK.test(now.get("work") ?? "") ? now.get("work") : null);
  const adr = now.get("adr");
  if (adr && UUID.test(adr)) reading.open(adr, history.state ?? {});
  else reading.close();
}
addEventListener("popstate", () => { if (session.present()) read(); });

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-adr]");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const { adr, version, heading, kind, from, to } = link.dataset;
  const place = { version, heading, kind, from, to };
  spending.hide();
  work.hide();
  address({ adr, view: "", work: "" });
  history.replaceState(place, "");
  reading.open(adr, place);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-page]");
  if (!link) return;
  event.preventDefault();
  openPage(link.dataset.page, link.dataset);
});
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-original]");
  if (!link) return;
  event.preventDefault();
  try {
    const said = await openOriginal(link.getAttribute("href"), link.dataset.original);
    if (said) byId("announce").textContent = said;
  } catch (error) {
    byId("announce").textContent = error.message;
    byId("found").textContent = `It could not be fetched: ${error.message}.`;
  }
});
document.querySelector(".brand").addEventListener("click", (event) => {
  if (!session.present()) return;
  event.preventDefault();
  history.pushState(null, "", "/");
  read();
  byId("q").focus();
});

byId("open-spend").addEventListener("click", () => { address({ view: spending.shown ? "" : "spend", work: "" }); read(); });
byId("open-work").addEventListener("click", () => { address(work.shown ? { view: "", work: "" } : { view: "work", adr: "" }); read(); });
byId("spend-back").addEventListener("click", () => { address({ view: "" }); read(); byId("q").focus(); });

// --- one decision ---------------------------------------------------------------------------------------------------------

class Reading {
  #abort = null;
  #id = null;
  #version = null;
  #shown = null;
  #drafts = null;
  #title = document.title;

  get id() { return this.#id; }

  /** `from` and `to` are the characters of that version which somebody cites. */
  async open(id, { version, heading, kind, from, to } = {}) {
    if (this.#id === id && this.#version === (version ?? null) && this.#shown) return this.#seek(heading, from, to);
    this.#abort?.abort();
    this.#abort = new AbortController();
    Object.assign(document.body.dataset, { reading: "true" });
    this.#id = id;
    this.#version = version ?? null;
    this.#shown = null;
    byId("reading").hidden = false;
    byId("reading").setAttribute("aria-busy", "true");
    mark(id);
    try {
      const { signal } = this.#abort;
      const adr = await ask(`/v1/adrs/${id}`, { signal });
      const shown = version && Number(version) !== adr.version ? await ask(`/v1/adrs/${id}/versions/${version}`, { signal }) : adr;
      this.#show(adr, shown, heading, from, to);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) { signOut(error); return; }
      byId("reading").replaceChildren(h("h2", { tabindex: "-1" }, "Not to be shown"), refused(error));
    } finally {
      byId("reading").setAttribute("aria-busy", "false");
    }
  }

  close() {
    this.#abort?.abort();
    this.#drafts?.stop();
    const was = this.#id;
    this.#id = this.#shown = null;
    byId("reading").hidden = true;
    byId("reading").replaceChildren();
    delete document.body.dataset.reading;
    document.title = this.#title;
    mark(null);
    if (was) document.querySelector(`.hit[data-adr="${CSS.escape(was)}"]`)?.focus({ preventScroll: true });
  }

  /** Whatever it says now. */
  again() {
    this.#shown = null;
    this.open(this.#id);
  }

  /** A version was written while it is read. */
  newer(version) {
    const notice = this.#shown?.slots.notice;
    if (!notice || version <= this.#shown.adr.version) return;
    const button = h("button", { type: "button" }, "Show it");
    button.addEventListener("click", () => this.again());
    notice.replaceChildren(`Version ${version} has just been written. `, button);
    notice.hidden = false;
  }

  #show(adr, shown, heading, from, to) {
    const label = adr.label ?? adr.log;
    const old = shown.version !== adr.version;
    const { root, slots } = stamp("adr", {
      label, status: chip(shown.status), title: shown.title, version: `version ${shown.version}${old ? ` of ${adr.version}` : ""}`,
      byline: [shown.author ? `${shown.author}, ` : "", when(shown.effective_at), ...adr.tags.map((tag) => h("span", { class: "tag" }, tag))],
      body: markdown(shown.body, { title: shown.title }),
    });
    for (const [slot, path] of [["suggested", "suggestions"], ["related", "related"], ["history", "versions?limit=50"]]) slots[slot]?.setAttribute("hx-get", `/v1/adrs/${adr.adr_id}/${path}`);
    slots.suggested?.setAttribute("data-of", adr.adr_id);
    slots.back.addEventListener("click", back);
    slots.history.addEventListener("click", (event) => this.#version_(event));
    this.#drafts?.stop();
    this.#drafts = new Drafts(slots.draftForm, slots.drafted, { opened, refused: signOut }, { adr_id: adr.adr_id, version: shown.version });
    byId("reading").replaceChildren(root);
    this.#shown = { adr, slots, body: shown.body };
    if (old) {
      const button = h("button", { type: "button" }, "Show the newest");
      button.addEventListener("click", () => { history.replaceState({}, ""); this.open(adr.adr_id); });
      slots.notice.replaceChildren(`This is version ${shown.version}; the newest is ${adr.version}. `, button);
      slots.notice.hidden = false;
    }
    htmx.process(root);
    document.title = `${label}: ${shown.title}`;
    if (!this.#seek(heading, from, to)) {
      slots.title.focus({ preventScroll: true });
      byId("reading").scrollIntoView({ block: "start" });
    }
  }

  /** Go to what is cited, or to the last heading of a path like "Context > Constraints". */
  #seek(heading, from, to) {
    if (from !== undefined && showQuote(this.#shown.slots.body, cut(this.#shown.body, Number(from), Number(to)))) return true;
    const last = heading?.split(" > ").at(-1)?.trim();
    const found = last && [...document.querySelectorAll(".prose :is(h2, h3, h4, h5, h6)")].find((each) => each.textContent.trim() === last);
    if (!found) return false;
    found.tabIndex = -1;
    found.focus({ preventScroll: true });
    found.scrollIntoView({ block: "start" });
    return true;
  }

  #version_(event) {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.slot === "read") {
      const { version } = button.dataset;
      history.replaceState({ version }, "");
      this.open(this.#id, { version });
    } else if (button.getAttribute("aria-controls") && !button.hasAttribute("hx-get")) {
      const shown = byId(button.getAttribute("aria-controls"));
      shown.hidden = !shown.hidden;
      button.setAttribute("aria-expanded", String(!shown.hidden));
      button.textContent = shown.hidden ? "Show what changed" : "Hide";
    }
  }
}
const reading = new Reading();

/** Which of the hits is read. */
function mark(id) {
  for (const link of document.querySelectorAll(".hit")) {
    if (link.dataset.adr === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
byId("search").addEventListener("shown", () => mark(reading.id));

/** A decision that has just been written, or changed. */
function opened(id) {
  if (id === reading.id) { history.replaceState({}, ""); reading.again(); return; }
  address({ adr: id });
  reading.open(id);
}

/** To the list, and the address with it. */
function back() {
  address({ adr: "" });
  reading.close();
}

// --- what moves -------------------------------------------------------------------------------------------------------------

function changed(row) {
  byId("recent").dispatchEvent(new Event("changed"));
  if (row.adr_id === reading.id) reading.newer(Number(row.version));
}

// --- keys ---------------------------------------------------------------------------------------------------------------------

const typing = (target) => target.matches("input:not([type=radio]), textarea, select");
const hits = () => [...document.querySelectorAll(".hit")].filter((link) => link.offsetParent !== null);

function step(by) {
  const links = hits();
  const at = links.indexOf(document.activeElement);
  if (at + by < 0) byId("q").focus();
  else links[Math.min(at + by, links.length - 1)]?.focus();
}

document.addEventListener("keydown", (event) => {
  if (!session.present() || event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  const inSearch = target === byId("q");
  const inList = target.matches?.(".hit");
  if (key === "Escape") escape(target);
  else if (key === "ArrowDown" && (inSearch || inList)) step(1);
  else if (key === "ArrowUp" && inList) step(-1);
  else if (typing(target)) return;
  else if (key === "s" && !byId("open-spend").hidden) byId("open-spend").click();
  else if (key === "w" && !byId("open-work").hidden) byId("open-work").click();
  else if (spending.shown || work.shown) return; // the other keys are for what is behind it
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else if (key === "/") { byId("q").focus(); byId("q").select(); }
  else if (key === "a") byId("question").focus();
  else if (key === "?") byId("keys").showModal();
  else return;
  event.preventDefault();
});

function escape(target) {
  if (spending.shown) byId("spend-back").click();
  else if (work.shown && typing(target)) target.blur(); // what was written is not lost by one key
  else if (work.shown) work.back();
  else if (chat.asking) chat.stop();
  else if (target === byId("q") && byId("q").value !== "") { byId("q").value = ""; byId("q").dispatchEvent(new Event("input", { bubbles: true })); }
  else if (reading.id) back();
  else byId("q").focus();
}

byId("help").addEventListener("click", () => byId("keys").showModal());

// --- colours --------------------------------------------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];
const theme = () => document.documentElement.dataset.theme ?? "auto";

function paint(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  byId("theme-name").textContent = name;
  live.repaint();
}

byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  try { localStorage.setItem("adriatic.theme", next); } catch { /* it lasts until the page is left */ }
  paint(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => live.repaint());
paint(theme());

// --- begin ----------------------------------------------------------------------------------------------------------------------

addEventListener("hashchange", () => { if (location.hash.startsWith("#token=") && session.adopt()) signIn(); });
// htmx reads the page when it is complete; only then do its elements hear "signed-in".
document.addEventListener("DOMContentLoaded", () => (known ? signIn() : signOut()));
