// Work that outlives the request: questions that are looked into, tasks of agents, crawls, files. Owns beginning it, the
// list of what was begun, how far each is while somebody looks, and what came of it: cancel, retry, delete, and what an
// agent proposes, accepted or dismissed. Everything is on the server, so a reload finds it. Refuses the nodes
// (work_views.js), and to decide what a caller may do: the API said so, and refuses everybody else anyway.

import { ask, open } from "./api.js";
import { confirm } from "./confirm.js";
import { h, plural, refused, renew } from "./parts.js";
import { BODIES, FILES_MAX, FILLS, KINDS, newKey, readRow } from "./work_kinds.js";
import * as views from "./work_views.js";

const JOBS_MS = 1_500; // while something is open: a step takes about a second
const LISTS_MS = 6_000; // what others began, and while nothing is open
const PAGE = 15;
const JOBS_MAX = 50; // the newest; what is older and open is looked at with its list
const NAMES_MAX = 30; // of decisions that are asked for in one look; the others follow in the next
const URLS_PAGE = 50;
const STEPS_PAGE = 100;
const SAY_MS = 15_000; // for screen readers: how far what is shown is, and not each step
const LASTING = new Set(["cancelled", "failed"]);
const byId = (id) => document.getElementById(id);

export class Work {
  #abort = null;
  #timer = 0;
  #listedMs = 0;
  #scopes = [];
  #items = new Map(); // by key
  #cursors = new Map(); // of older ones, by kind
  #jobs = new Map(); // by id
  #chosen = null; // a key
  #found = null; // what is shown of it
  #steps = []; // of the task that is shown
  #filter = ""; // of the addresses of the crawl that is shown
  #urls = null;
  #said = new Map(); // the last state that was read out, by key
  #saidMs = 0;
  #keys = new Map(); // of a request that is being sent, by form: sent again, it is done once

  /** `on.refused(refusal)`: the token is no good; `on.address(key)`: that is shown now; `on.leave()`: back to decisions. */
  constructor(on) {
    this.on = on;
    for (const kind of Object.keys(KINDS)) {
      byId(`begin-${kind}`).addEventListener("submit", (event) => { event.preventDefault(); this.#begin(kind); });
      byId(`begin-${kind}`).addEventListener("input", () => this.#keys.delete(kind));
    }
    byId("work-kinds").addEventListener("change", () => this.#showForm());
    byId("work").addEventListener("click", (event) => {
      const { action, id } = event.target.closest("button[data-action]")?.dataset ?? {};
      if (action) this.#act(action, id, event.target.closest("button"));
    });
    byId("work-older").addEventListener("click", () => this.#older());
    byId("work-all").addEventListener("click", () => this.back());
    byId("work-back").addEventListener("click", () => this.on.leave());
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.shown) this.#look(); });
  }

  get shown() { return !byId("work").hidden; }
  get chosen() { return this.#chosen; }

  /** What the caller may begin. */
  allow(scopes) {
    this.#scopes = scopes;
    for (const input of byId("work-kinds").querySelectorAll("input")) input.parentElement.hidden = !scopes.includes(KINDS[input.value].needs);
    const checked = byId("work-kinds").querySelector(":checked");
    if (!checked || checked.parentElement.hidden) {
      const first = byId("work-kinds").querySelector("label:not([hidden]) input");
      if (first) first.checked = true;
    }
    this.#showForm();
  }

  /** Show the room, and in it what `key` names: "research.0199…". */
  show(key) {
    byId("decisions").hidden = true;
    document.body.dataset.work = "true";
    if (!this.shown) {
      byId("work").hidden = false;
      if (!key) byId("work-title").focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    this.#choose(key);
    this.#look(true);
  }

  hide() {
    if (!this.shown) return; // what is behind is another room's to show
    this.#abort?.abort();
    clearTimeout(this.#timer);
    byId("work").hidden = true;
    byId("decisions").hidden = false;
    delete document.body.dataset.work;
  }

  /** Nothing of what was shown stays. */
  forget() {
    this.hide();
    this.#choose(null);
    this.#scopes = [];
    for (const map of [this.#items, this.#cursors, this.#jobs, this.#said, this.#keys, this.#names]) map.clear();
    for (const list of byId("work").querySelectorAll("ul, #work-note, #begin-problem")) list.replaceChildren();
    for (const form of byId("work").querySelectorAll("form")) form.reset();
  }

  /** From a result to the list, or from the list to the decisions. */
  back() {
    if (!this.#chosen) { this.on.leave(); return; }
    const was = this.#chosen;
    this.#choose(null);
    this.on.address(null);
    this.#draw();
    byId("work-list").querySelector(`[data-id="${CSS.escape(was)}"]`)?.focus();
  }

  // --- looking --------------------------------------------------------------------------------------------------------

  /** Ask how far everything is, and again while somebody looks. */
  async #look(whole = false) {
    this.#abort?.abort();
    const mine = new AbortController();
    this.#abort = mine;
    clearTimeout(this.#timer);
    const { signal } = mine;
    try {
      const { items } = await ask(`/v1/jobs?limit=${JOBS_MAX}`, { signal });
      const moved = this.#take(items);
      if (whole || moved || performance.now() - this.#listedMs > LISTS_MS) await this.#list(signal);
      await this.#read(signal);
      byId("work-note").classList.remove("problem");
      byId("work-note").textContent = "";
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) { this.on.refused(error); return; }
      byId("work-note").classList.add("problem");
      byId("work-note").textContent = `Not known now: ${error.message}.`;
    }
    if (signal.aborted) return;
    this.#draw();
    const busy = [...this.#items.values()].some((item) => views.isOpen(item.state));
    if (this.shown) this.#timer = setTimeout(() => { if (!document.hidden) this.#look(); }, busy ? JOBS_MS : LISTS_MS);
  }

  /** True when one of ours is in another state than its row. */
  #take(jobs) {
    const before = new Map([...this.#jobs].map(([id, job]) => [id, job.state]));
    this.#jobs = new Map(jobs.map((job) => [job.job_id, job]));
    return [...this.#items.values()].some((item) => { const job = this.#jobs.get(item.jobId); return job && before.get(item.jobId) !== job.state; });
  }

  #kinds() { return Object.keys(KINDS).filter((kind) => KINDS[kind].isForAll || this.#scopes.includes(KINDS[kind].needs)); }

  async #list(signal) {
    const pages = await Promise.all(this.#kinds().map(async (kind) => [kind, await ask(`${KINDS[kind].path}?limit=${PAGE}`, { signal })]));
    for (const [kind, { items, next_cursor: next }] of pages) {
      const rows = items.map((each) => readRow(kind, each));
      const keys = new Set(rows.map((row) => row.key));
      const oldest = next === null ? "" : rows.at(-1)?.createdAt ?? "";
      for (const [key, item] of this.#items) if (item.kind === kind && !keys.has(key) && item.createdAt >= oldest) this.#items.delete(key); // it is gone
      for (const row of rows) this.#items.set(row.key, row);
      if (!this.#cursors.has(kind)) this.#cursors.set(kind, next);
    }
    const proposals = this.#scopes.includes("chat") ? (await ask(`/v1/agents/proposals?state=open&limit=${PAGE}`, { signal })).items : [];
    byId("work-proposals").hidden = proposals.length === 0;
    await this.#name(proposals, signal);
    renew(byId("work-proposals-list"), proposals.map((each) => views.proposal(each, this.#names)));
    this.#listedMs = performance.now();
  }

  async #older() {
    await this.#do("work-note", async () => {
      for (const [kind, cursor] of this.#cursors) {
        if (!cursor) continue;
        const { items, next_cursor: next } = await ask(`${KINDS[kind].path}?limit=${PAGE}&cursor=${encodeURIComponent(cursor)}`);
        for (const each of items) { const row = readRow(kind, each); this.#items.set(row.key, row); }
        this.#cursors.set(kind, next);
      }
    }, false);
    this.#draw();
  }

  /** What is chosen, and what belongs to it. */
  async #read(signal) {
    const key = this.#chosen;
    if (!key) return;
    const [kind, id] = key.split(".");
    const path = `${KINDS[kind].path}/${id}`;
    const over = this.#found && !views.isOpen(this.#found.state);
    const row = this.#items.get(key);
    if (over && row && row.state === this.#found.state && this.#listedMs < this.#readMs) return; // nothing can have changed
    let found;
    try {
      found = await ask(path, { signal });
      if (kind === "task") {
        await this.#readSteps(path, signal);
        this.#proposals = await this.#name((await ask(`/v1/agents/proposals?task_id=${id}&limit=${STEPS_PAGE}`, { signal })).items, signal);
      }
      if (kind === "crawl") await this.#readUrls(path, signal);
    } catch (error) {
      if (error.status !== 404) throw error;
      found = null;
    }
    if (this.#chosen !== key) return;
    this.#readMs = performance.now();
    this.#found = found;
    this.#gone = found === null;
    if (found) this.#items.set(key, readRow(kind, found));
  }

  #readMs = 0;
  #gone = false;
  #proposals = [];
  #names = new Map(); // of the decisions that proposals are about, by id

  /** What those decisions are called. One that is gone has no name. */
  async #name(proposals, signal) {
    const ids = proposals.flatMap((each) => [each.adr_id, each.content.target_id]).filter((id) => id && !this.#names.has(id));
    await Promise.all([...new Set(ids)].slice(0, NAMES_MAX).map(async (id) => {
      try {
        const adr = await ask(`/v1/adrs/${encodeURIComponent(id)}`, { signal });
        this.#names.set(id, `${adr.label ?? adr.log} ${adr.title}`);
      } catch (error) {
        if (error.status !== 404 && error.status !== 410) throw error;
        this.#names.set(id, "a decision that is gone");
      }
    }));
    return proposals;
  }

  /** Only those behind the last one that is over: the others do not change. */
  async #readSteps(path, signal) {
    this.#steps = this.#steps.filter((step) => step.state !== "begun");
    for (;;) {
      const after = this.#steps.at(-1)?.number ?? 0;
      const { items, more } = await ask(`${path}/steps?after=${after}&limit=${STEPS_PAGE}`, { signal });
      const known = new Set(this.#steps.map((step) => step.number));
      this.#steps = [...this.#steps, ...items.filter((step) => !known.has(step.number))];
      if (!more) return;
    }
  }

  /** The addresses that are shown, as many as somebody asked for. */
  async #readUrls(path, signal) {
    const most = Math.max(URLS_PAGE, Math.min(this.#urls?.items.length ?? 0, 4 * URLS_PAGE));
    const page = await ask(`${path}/urls?limit=${most}${this.#filter ? `&state=${this.#filter}` : ""}`, { signal });
    if ((this.#urls?.items.length ?? 0) <= most) this.#urls = page; // else more were asked for than is looked at again
  }

  // --- showing --------------------------------------------------------------------------------------------------------

  #choose(key) {
    if (key === this.#chosen) return;
    this.#chosen = key;
    this.#found = null;
    this.#gone = false;
    this.#readMs = 0;
    this.#steps = [];
    this.#proposals = [];
    this.#filter = "";
    this.#urls = null;
    byId("work-problem").replaceChildren();
    byId("work-body").replaceChildren();
    byId("work-progress").replaceChildren();
    byId("work-actions").replaceChildren();
    byId("work-result-title").textContent = key ? "Looking …" : "";
    byId("work-result-state").replaceChildren();
    byId("work-result-kind").textContent = "";
    byId("work-result").hidden = key === null;
    if (key) document.body.dataset.chosen = "true";
    else delete document.body.dataset.chosen;
  }

  #draw() {
    for (const item of this.#items.values()) this.#update(item);
    const items = [...this.#items.values()].sort((one, other) => (one.createdAt < other.createdAt ? 1 : -1));
    renew(byId("work-list"), views.rows(items, this.#chosen));
    byId("work-list").setAttribute("aria-busy", "false");
    byId("work-older").hidden = ![...this.#cursors.values()].some(Boolean);
    this.#drawResult();
    this.#say(items);
  }

  /** Its job knows how far it is. */
  #update(item) {
    const job = this.#jobs.get(item.jobId);
    if (!job) return;
    if (views.isOpen(item.state)) item.progress = { phase: job.phase, done: job.done, total: job.total, unit: job.unit };
    item.cancelRequested ||= job.cancel_requested;
  }

  #drawResult() {
    if (!this.#chosen) return;
    const item = this.#items.get(this.#chosen);
    if (this.#gone) {
      byId("work-result-title").textContent = "It is not there";
      renew(byId("work-body"), [h("p", {}, "It was deleted, or it is somebody else's.")]);
      renew(byId("work-progress"), []);
      renew(byId("work-actions"), []);
      return;
    }
    if (!item || !this.#found) return;
    byId("work-result-kind").textContent = views.WORDS[item.kind];
    renew(byId("work-result-state"), [views.stateChip(item)]);
    if (byId("work-result-title").textContent !== item.title) byId("work-result-title").textContent = item.title;
    renew(byId("work-progress"), views.progress(item));
    renew(byId("work-actions"), this.#actions(item));
    const shown = {
      research: () => views.research(this.#found), task: () => views.task(this.#found, this.#steps, this.#proposals, this.#names),
      crawl: () => views.crawl(this.#found, this.#urls, this.#filter), document: () => views.file(this.#found),
    }[item.kind]();
    renew(byId("work-body"), shown);
  }

  #actions(item) {
    const button = (action, word) => h("button", { type: "button", "data-action": action, "data-id": item.key, "data-key": action }, word);
    const may = this.#scopes.includes(KINDS[item.kind].needs);
    const over = !views.isOpen(item.state);
    const { isOfFiles } = KINDS[item.kind];
    const mayCancel = isOfFiles ? this.#scopes.includes("admin") : may;
    return [
      !over && mayCancel && !item.cancelRequested ? button("cancel", "Cancel") : null,
      over && may && isOfFiles && (item.state === "partial" || item.state === "refused") ? button("retry", item.state === "partial" ? "Read the failed pages again" : "Read it once more") : null,
      over && may && !isOfFiles ? button("again", LASTING.has(item.state) ? "Try again …" : "Once more …") : null,
      isOfFiles ? h("a", { class: "button", href: `/v1/documents/${item.id}/original`, "data-original": this.#found.file_name, "data-key": "original" }, "Download") : null,
      over && may && item.kind !== "crawl" ? button("delete", "Delete …") : null,
    ].filter(Boolean);
  }

  /** What ended is said at once; how far what is shown is, now and then. */
  #say(items) {
    const words = [];
    for (const item of items) {
      const before = this.#said.get(item.key);
      if (before !== undefined && before !== item.state && !views.isOpen(item.state)) words.push(`${views.WORDS[item.kind]} ${item.title}: ${item.state}.`);
      this.#said.set(item.key, item.state);
    }
    const shown = this.#items.get(this.#chosen);
    if (!words.length && shown && views.isOpen(shown.state) && performance.now() - this.#saidMs > SAY_MS) words.push(`${views.progressOf(shown.progress) || "it waits"}.`);
    if (!words.length) return;
    byId("work-said").textContent = words.slice(0, 3).join(" ");
    this.#saidMs = performance.now();
  }

  #showForm() {
    const kind = byId("work-kinds").querySelector("label:not([hidden]) :checked")?.value;
    for (const each of Object.keys(KINDS)) byId(`begin-${each}`).hidden = each !== kind;
    byId("begin-problem").replaceChildren();
  }

  // --- beginning ------------------------------------------------------------------------------------------------------

  async #begin(kind) {
    const form = byId(`begin-${kind}`);
    const button = form.querySelector("button[type=submit]");
    if (button.disabled) return;
    button.disabled = true;
    form.setAttribute("aria-busy", "true");
    let key = null;
    const done = await this.#do("begin-problem", async () => { key = KINDS[kind].isOfFiles ? await this.#upload(form) : await this.#send(kind, form); }, false);
    button.disabled = false;
    form.setAttribute("aria-busy", "false");
    if (done && key) this.#open(key);
  }

  /** Sent again after it could not be told what came of it, it is begun once. */
  async #send(kind, form) {
    if (!this.#keys.has(kind)) this.#keys.set(kind, newKey());
    const made = await ask(KINDS[kind].path, { method: "POST", body: BODIES[kind](form.elements), headers: { "idempotency-key": this.#keys.get(kind) } });
    this.#keys.delete(kind);
    form.reset();
    const row = readRow(kind, made);
    this.#items.set(row.key, row);
    return row.key;
  }

  /** One file after the other; the last one is shown. Those that were taken stay taken when one is not. */
  async #upload(form) {
    const files = [...form.elements.files.files].slice(0, FILES_MAX);
    const left = form.elements.files.files.length - files.length;
    let key = null;
    for (const [at, file] of files.entries()) {
      byId("begin-problem").textContent = files.length > 1 ? `Sending ${at + 1} of ${files.length}: ${file.name}` : `Sending ${file.name}`;
      const body = new FormData();
      body.append("file", file, file.name);
      const row = readRow("document", await ask(KINDS.document.path, { method: "POST", body }));
      this.#items.set(row.key, row);
      key = row.key;
    }
    form.reset();
    byId("begin-problem").textContent = left > 0 ? `${plural(left, "file")} not sent: at most ${FILES_MAX} at once.` : "";
    return key;
  }

  #open(key) {
    this.#choose(key);
    this.on.address(key);
    this.#draw();
    byId("work-result-title").focus({ preventScroll: true });
    byId("work-result").scrollIntoView({ block: "nearest" });
    this.#look(true);
  }

  // --- changing -------------------------------------------------------------------------------------------------------

  /** Do it, say at `place` why not, and look again. True when it was done. */
  async #do(place, work, look = true) {
    byId(place).replaceChildren();
    byId(place).classList.remove("problem");
    try {
      await work();
    } catch (error) {
      if (error.status === 401) { this.on.refused(error); return false; }
      byId(place).replaceChildren(refused(error));
      return false;
    }
    this.#readMs = 0;
    if (look) await this.#look(true);
    return true;
  }

  async #act(action, id, button) {
    if (action === "choose") { this.#open(id); return; }
    if (action === "filter") { this.#filter = id; this.#urls = null; this.#readMs = 0; await this.#look(); return; }
    if (action === "more-urls") { await this.#moreUrls(); return; }
    if (action === "accept" || action === "dismiss") { await this.#answer(action, id, button); return; }
    const item = this.#items.get(id);
    if (!item) return;
    if (action === "again") this.#fill(item);
    else if (action === "delete") await this.#delete(item);
    else if (action === "cancel") await this.#do("work-problem", () => this.#cancel(item));
    else if (action === "retry") await this.#do("work-problem", () => open(`/v1/documents/${item.id}/retry`, { method: "POST" }));
  }

  #cancel({ kind, id, jobId }) {
    if (kind === "crawl") return open(`/v1/crawls/${id}`, { method: "DELETE" });
    return open(KINDS[kind].isOfFiles ? `/v1/jobs/${jobId}/cancel` : `${KINDS[kind].path}/${id}/cancel`, { method: "POST" });
  }

  async #delete(item) {
    const texts = { research: "With what was found. What it stands on stays.", task: "With its steps and its result. What it proposed stays.", document: "It is not found any more, and its original is erased." };
    const said = await confirm({ title: `Delete this ${views.WORDS[item.kind]}?`, text: `“${item.title}”. ${texts[item.kind]}`, yes: "Delete it", danger: true });
    if (!said) return;
    const done = await this.#do("work-problem", async () => {
      try {
        await open(`${KINDS[item.kind].path}/${item.id}`, { method: "DELETE" });
      } catch (error) {
        if (error.status !== 404) throw error; // gone already is what was wanted
      }
      this.#items.delete(item.key);
    }, false);
    if (!done) return;
    this.back();
    byId("work-list").querySelector("button")?.focus();
    this.#look(true);
  }

  /** The form as it was, so that it can be changed before it is sent. */
  #fill(item) {
    const input = byId("work-kinds").querySelector(`input[value="${item.kind}"]`);
    input.checked = true;
    this.#showForm();
    const form = byId(`begin-${item.kind}`);
    form.reset();
    this.#keys.delete(item.kind);
    FILLS[item.kind](form.elements, this.#found);
    this.#choose(null);
    this.on.address(null);
    this.#draw();
    form.querySelector("textarea").focus();
    form.scrollIntoView({ block: "nearest" });
  }

  async #moreUrls() {
    await this.#do("work-problem", async () => {
      const path = `/v1/crawls/${this.#found.crawl_id}/urls?limit=${URLS_PAGE}&cursor=${encodeURIComponent(this.#urls.next_cursor)}`;
      const page = await ask(`${path}${this.#filter ? `&state=${this.#filter}` : ""}`);
      this.#urls = { items: [...this.#urls.items, ...page.items], next_cursor: page.next_cursor };
    }, false);
    this.#draw();
  }

  /** What a person says to a proposal, once; what goes wrong is said beside it. */
  async #answer(verb, id, button) {
    const place = button.closest(".proposal");
    for (const each of place.querySelectorAll("button")) each.disabled = true;
    try {
      await ask(`/v1/agents/proposals/${id}/${verb}`, { method: "POST" });
      this.#readMs = 0;
      byId("work-said").textContent = verb === "accept" ? "Accepted: it is written, in your name." : "Dismissed: nothing is written.";
      await this.#look(true);
    } catch (error) {
      if (error.status === 401) { this.on.refused(error); return; }
      place.querySelector("[data-problem]").replaceChildren(refused(error));
      for (const each of place.querySelectorAll("button")) each.disabled = false;
    }
  }
}
