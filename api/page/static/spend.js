// Budgets and what is spent, for admins. Owns asking /v1 for all of it while somebody looks, and every change: budgets,
// overrides, the kill-switch, API keys. What an admin may not take back is asked about first. Refuses the nodes
// (spend_views.js), and to decide who is an admin: the API said so, and refuses everybody else anyway.

import { ask, open } from "./api.js";
import { confirm } from "./confirm.js";
import { dollars, readDollars } from "./money.js";
import { h, refused, settle } from "./parts.js";
import * as views from "./spend_views.js";

const EVERY_MS = 4000;
const DAY_MS = 86_400_000;
const byId = (id) => document.getElementById(id);

export class Spending {
  #abort = null;
  #timer = 0;
  #budgets = [];
  #names = new Map(); // of users and keys, by id

  constructor(on) {
    this.on = on;
    byId("stop-all").addEventListener("click", () => this.#turn("stopped"));
    byId("resume-all").addEventListener("click", () => this.#turn("running"));
    byId("budget-form").addEventListener("submit", (event) => { event.preventDefault(); this.#setBudget(); });
    byId("budget-form").elements.level.addEventListener("change", () => this.#showSubject());
    byId("api-key-form").addEventListener("submit", (event) => { event.preventDefault(); this.#makeKey(); });
    byId("spent-by").addEventListener("change", () => this.#look());
    byId("spend").addEventListener("click", (event) => {
      const { action, id } = event.target.closest("button[data-action]")?.dataset ?? {};
      if (action) this.#act(action, id);
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.shown) this.#look(); });
  }

  get shown() { return !byId("spend").hidden; }

  show() {
    if (this.shown) return;
    byId("decisions").hidden = true;
    byId("spend").hidden = false;
    document.body.dataset.spend = "true";
    byId("spend-title").focus({ preventScroll: true });
    scrollTo(0, 0);
    this.#look();
  }

  hide() {
    if (!this.shown) return; // what is behind is another room's to show
    this.#abort?.abort();
    clearTimeout(this.#timer);
    byId("spend").hidden = true;
    byId("decisions").hidden = false;
    delete document.body.dataset.spend;
    this.#forgetSecret();
  }

  /** Nothing of what was shown stays. */
  forget() {
    this.hide();
    this.#names.clear();
    for (const list of byId("spend").querySelectorAll("ul, #spent, #spent-total, #spend-note, #subjects")) list.replaceChildren();
  }

  // --- looking ------------------------------------------------------------------------------------------------------

  async #look() {
    this.#abort?.abort();
    this.#abort = new AbortController();
    clearTimeout(this.#timer);
    const { signal } = this.#abort;
    const by = byId("spent-by").querySelector(":checked").value;
    const today = new Date();
    const from = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate()) - 29 * DAY_MS).toISOString();
    const get = (path) => ask(path, { signal });
    try {
      const [keys, users] = await Promise.all([get("/v1/keys"), get(`/v1/usage?by=user&from=${from}`)]);
      const [usage, budgets, stopped, alerts, overrides] = await Promise.all([
        by === "user" ? users : get(`/v1/usage?by=${by}&from=${from}`), get("/v1/budgets"), get("/v1/spend/switch"), get("/v1/spend/alerts?limit=10"), get("/v1/spend/overrides?limit=10"),
      ]);
      for (const key of keys.items) this.#names.set(key.key_id, key.name);
      for (const { user_id: id, user } of users.rows) if (user) this.#names.set(id, user);
      this.#budgets = budgets.budgets;
      this.#show({ keys, usage, budgets, stopped, alerts, overrides });
      byId("spend-note").textContent = "";
      byId("spend-note").classList.remove("problem");
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) { this.on.refused(error); return; }
      byId("spend-note").classList.add("problem");
      byId("spend-note").textContent = `Not known now: ${error.message}.`;
    }
    if (this.shown && !signal.aborted) this.#timer = setTimeout(() => { if (!document.hidden) this.#look(); }, EVERY_MS);
  }

  #show({ keys, usage, budgets, stopped, alerts, overrides }) {
    const names = this.#names;
    this.#fill("budgets", views.budgets(budgets, names));
    this.#fill("alerts", views.alerts(alerts, names));
    this.#fill("overrides", views.overrides(overrides, names));
    this.#fill("api-keys", views.apiKeys(keys));
    this.#fill("spent", views.spent(usage, names));
    this.#fill("stops", views.stops(stopped, names));
    byId("spent-total").textContent = views.total(usage);
    byId("switch").dataset.state = stopped.state;
    byId("switch-state").textContent = stopped.state === "stopped" ? "All spending is stopped." : stopped.stops.length ? "Spending goes on, but for these:" : "Spending goes on.";
    byId("stop-all").hidden = stopped.state === "stopped";
    byId("resume-all").hidden = stopped.state !== "stopped";
    this.#subjects(keys.items.filter((key) => key.state === "good"));
  }

  #fill(id, nodes) {
    settle(byId(id), nodes);
    byId(id).setAttribute("aria-busy", "false");
  }

  /** What the form proposes: the ids, with the names beside them. */
  #subjects(keys) {
    const level = byId("budget-form").elements.level.value;
    const known = level === "key" ? keys.map((key) => [key.key_id, key.name]) : [...this.#names].filter(([id]) => /^[0-9a-f-]{36}$/.test(id));
    settle(byId("subjects"), known.map(([id, name]) => h("option", { value: id }, name)));
  }

  // --- changing -----------------------------------------------------------------------------------------------------

  /** Do it, say how it went at `place`, and look again. True when it was done. */
  async #do(place, work) {
    const problem = byId(place);
    problem.replaceChildren();
    try {
      await work();
    } catch (error) {
      if (error.status === 401) { this.on.refused(error); return false; }
      problem.replaceChildren(...(place === "spend-note" ? refused(error).childNodes : [refused(error)]));
      problem.classList.toggle("problem", place === "spend-note");
      return false;
    }
    await this.#look();
    return true;
  }

  async #turn(state) {
    const stops = state === "stopped";
    const said = await confirm({
      title: stops ? "Stop all spending?" : "Resume spending?",
      text: stops ? "Every answer in flight ends within a second, and new ones are refused, until somebody resumes." : "New answers are given again. What a budget stopped stays stopped until it is raised.",
      yes: stops ? "Stop everything" : "Resume", asks: ["reason"], danger: stops,
    });
    if (said) await this.#do("spend-note", () => ask("/v1/spend/switch", { method: "PUT", body: { state, reason: said.reason } }));
  }

  #showSubject() {
    const { level, subject } = byId("budget-form").elements;
    subject.parentElement.hidden = level.value === "org";
    subject.required = level.value !== "org";
    subject.disabled = level.value === "org";
    if (this.shown) this.#look();
  }

  async #setBudget() {
    const form = byId("budget-form");
    const { level, subject, period, dollars: amount } = form.elements;
    const limit = readDollars(amount.value);
    if (limit === null) return;
    const body = { level: level.value, period: period.value, limit_micro_usd: limit, ...(level.value === "org" ? {} : { subject: subject.value.trim() }) };
    if (await this.#do("budget-problem", () => ask("/v1/budgets", { method: "PUT", body }))) { form.reset(); this.#showSubject(); }
  }

  async #act(action, id) {
    const budget = this.#budgets.find((each) => each.budget_id === id);
    const name = budget ? views.whose(budget, this.#names) : this.#names.get(id) ?? "";
    if (action === "change" && budget) this.#edit(budget);
    else if (action === "raise" && budget) await this.#raise(budget, name);
    else if (action === "remove" && budget) await this.#delete("Delete this budget?", `${name}: ${dollars(budget.limit_micro_usd)}. It limits nobody any more; what was spent stays in the books.`, "Delete it", `/v1/budgets/${id}`, "budget-problem");
    else if (action === "end") await this.#delete("End this override?", "The budget allows what it did before, at once.", "End it", `/v1/spend/overrides/${id}`, "spend-note");
    else if (action === "revoke") await this.#delete("Revoke this key?", `${name}: no request with it is taken from now on. This cannot be taken back.`, "Revoke it", `/v1/keys/${encodeURIComponent(id)}`, "api-key-problem");
  }

  #edit(budget) {
    const { level, subject, period, dollars: amount } = byId("budget-form").elements;
    level.value = budget.level;
    this.#showSubject();
    subject.value = budget.subject;
    period.value = budget.period;
    amount.value = (budget.limit_micro_usd / 1e6).toFixed(6).replace(/0{1,4}$/, "");
    amount.focus();
    amount.select();
  }

  async #raise(budget, name) {
    const said = await confirm({ title: "Raise this budget for a while?", text: `${name}: ${dollars(budget.limit_micro_usd)}. Who raised it, why and how much stays on record.`, yes: "Raise it", asks: ["amount", "hours", "reason"] });
    const amount = said && readDollars(said.amount);
    if (!amount) return;
    const expires = new Date(Date.now() + Number(said.hours) * 3_600_000).toISOString();
    await this.#do("budget-problem", () => ask("/v1/spend/overrides", { method: "POST", body: { budget_id: budget.budget_id, amount_micro_usd: amount, reason: said.reason, expires_at: expires } }));
  }

  async #delete(title, text, yes, path, place) {
    if (await confirm({ title, text, yes, danger: true })) await this.#do(place, () => open(path, { method: "DELETE" }));
  }

  // --- API keys -----------------------------------------------------------------------------------------------------

  async #makeKey() {
    const form = byId("api-key-form");
    const scopes = [...form.querySelectorAll("input[name=scopes]:checked")].map((each) => each.value);
    const body = { name: form.elements.name.value.trim(), days: Number(form.elements.days.value), scopes };
    let made = null;
    if (await this.#do("api-key-problem", async () => { made = await ask("/v1/keys", { method: "POST", body }); })) {
      form.reset();
      this.#showSecret(made);
    }
  }

  /** Nobody can show it a second time, so it stays until it is dismissed or the panel is left. */
  #showSecret({ secret, api_key: { name } }) {
    const place = byId("api-key-shown");
    const copy = h("button", { type: "button" }, "Copy it");
    const gone = h("button", { type: "button" }, "I have it");
    copy.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(secret); copy.textContent = "Copied"; } catch { copy.textContent = "Select it above"; }
    });
    gone.addEventListener("click", () => this.#forgetSecret());
    place.replaceChildren(h("p", {}, `The key ${name}, shown this once: keep it where secrets are kept.`), h("p", {}, h("code", { class: "secret", tabindex: "0" }, secret)), h("p", { class: "row" }, copy, gone));
    place.hidden = false;
    copy.focus();
  }

  #forgetSecret() {
    byId("api-key-shown").replaceChildren();
    byId("api-key-shown").hidden = true;
  }
}
