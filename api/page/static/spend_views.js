// What budgets, spending, alerts, overrides, stops and API keys look like. Owns JSON in, nodes out. Refuses to ask and to
// change anything: spend.js does, when one of the buttons that are made here says so.

import { dollars } from "./money.js";
import { chip, count, h, plural, when } from "./parts.js";

const PERIODS = { day: "a day", month: "a month", prepaid: "prepaid" };
const LEVELS = { org: "Everybody", user: "User", key: "Key" };
const DAYS_SHOWN = 30;
const ROWS_SHOWN = 12; // by cost; the sum below them has the rest
const dating = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

const empty = (text) => [h("li", { class: "small" }, text)];
const button = (action, id, word, about) => h("button", { type: "button", "data-action": action, "data-id": id, "aria-label": `${word}: ${about}` }, word);
const at = (iso) => h("time", { datetime: iso }, moment.format(new Date(iso)));

/** "Everybody, a month"; users by their names where those are known. */
export function whose({ level, subject, period }, names) {
  const who = level === "org" ? LEVELS.org : `${LEVELS[level] ?? level} ${names.get(subject) ?? subject}`;
  return period ? `${who}, ${PERIODS[period] ?? period}` : who;
}

/** A part of a bar. Widths are set through the object model: the page's policy takes no style from markup. */
function part(kind, share) {
  const element = h("span", { class: kind });
  element.style.inlineSize = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return element;
}

export function budgets(answer, names) {
  const rows = answer.budgets.toSorted((one, other) => (other.level === "org") - (one.level === "org")).map((each) => {
    const allowed = each.limit_micro_usd + each.raised_micro_usd;
    const share = allowed ? each.spent_micro_usd / allowed : 1;
    const name = whose(each, names);
    const says = [
      `${dollars(each.spent_micro_usd)} of ${dollars(allowed)} spent`,
      each.reserved_micro_usd ? `${dollars(each.reserved_micro_usd)} reserved` : null,
      `${dollars(each.remaining_micro_usd)} left`,
      each.raised_micro_usd ? `raised by ${dollars(each.raised_micro_usd)}` : null,
    ].filter(Boolean).join(", ");
    const bar = h("div", { class: "bar-of", role: "img", "aria-label": `${name}: ${says}`, "data-level": share >= 0.95 ? "bad" : share >= 0.7 ? "warn" : "good" },
      part("bar-spent", share), part("bar-reserved", allowed ? Math.min(each.reserved_micro_usd / allowed, 1 - Math.min(share, 1)) : 0));
    return h("li", { class: "budget" },
      h("p", { class: "pair" }, h("span", { class: "name" }, name), h("span", { class: "figure-small" }, `${Math.round(share * 100)} %`)), bar,
      h("p", { class: "small" }, `${says} · `, each.resets_at ? h("span", {}, "until ", at(each.resets_at)) : "until it is used up"),
      h("p", { class: "row small" }, button("change", each.budget_id, "Change", name), button("raise", each.budget_id, "Raise for a while", name), button("remove", each.budget_id, "Delete", name)));
  });
  return rows.length ? rows : empty("No budget: nothing but the limits holds anybody. Set one below.");
}

export function stops(answer, names) {
  return answer.stops.map((each) => h("li", {}, h("p", {}, `${whose(each, names)}: ${each.reason}`),
    h("p", { class: "small" }, each.budget_id ? "By a budget that is over 110 %, " : "By a person, ", when(each.stopped_at), each.ends_at ? h("span", {}, ", until ", at(each.ends_at)) : null)));
}

export function alerts(answer, names) {
  const rows = answer.items.map((each) => {
    const failed = each.deliveries.filter((one) => one.state === "failed").map((one) => one.channel);
    return h("li", {}, h("p", { class: "pair" }, h("span", { class: "name" }, whose(each, names)), chip(`${each.percent} %`)),
      h("p", { class: "small" }, `${dollars(each.spent_micro_usd)} of ${dollars(each.limit_micro_usd)}, `, when(each.raised_at), failed.length ? `; not delivered by ${failed.join(" and ")}` : ""));
  });
  return rows.length ? rows : empty("None. There is one at 70, 85, 95 and 110 % of each budget.");
}

export function overrides(answer, names) {
  const rows = answer.items.map((each) => h("li", {},
    h("p", { class: "pair" }, h("span", { class: "name" }, `${whose(each, names)}: ${dollars(each.amount_micro_usd)} more`), chip(each.in_force ? "in force" : each.ended_at ? "ended" : "expired")),
    h("p", { class: "small" }, `${each.reason} · ${names.get(each.created_by) ?? "somebody"}, `, when(each.created_at), each.in_force ? h("span", {}, ", until ", at(each.expires_at)) : null),
    each.in_force ? h("p", { class: "row small" }, button("end", each.override_id, "End it", whose(each, names))) : null));
  return rows.length ? rows : empty("None was ever made.");
}

export function apiKeys(answer) {
  const rows = answer.items.map((each) => h("li", {},
    h("p", { class: "pair" }, h("span", { class: "name" }, each.name), chip(each.state)),
    h("p", { class: "small" }, `${each.scopes.join(", ")} · `, h("code", {}, each.key_id), " · ", each.last_used_at ? h("span", {}, "last used ", when(each.last_used_at)) : "never used", each.state === "good" ? h("span", {}, ", good until ", at(each.expires_at)) : null),
    each.state === "good" ? h("p", { class: "row small" }, button("revoke", each.key_id, "Revoke", each.name)) : null));
  return rows.length ? rows : empty("No keys yet.");
}

// --- charts -----------------------------------------------------------------------------------------------------------

const nameOf = (by, row, names) => (by === "model" ? `${row.model} (${row.provider})` : by === "user" ? row.user ?? row.user_id : names.get(row.key_id) ?? (row.key_id || "not known"));

/** Spending by day as columns, by anything else as bars. */
export function spent(answer, names, today = new Date()) {
  return answer.by === "day" ? columns(answer.rows, today) : bars(answer, names);
}

function columns(rows, today) {
  const known = new Map(rows.map((row) => [row.begins.slice(0, 10), row.spent]));
  const days = Array.from({ length: DAYS_SHOWN }, (_, index) => new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth(), today.getUTCDate() - DAYS_SHOWN + 1 + index)));
  const values = days.map((day) => known.get(day.toISOString().slice(0, 10)));
  const most = Math.max(1, ...values.map((each) => each?.cost_micro_usd ?? 0));
  const highest = Math.max(0, ...values.map((each) => each?.cost_micro_usd ?? 0));
  const drawn = days.map((day, index) => {
    const column = h("span", { class: "column", title: `${dating.format(day)}: ${dollars(values[index]?.cost_micro_usd ?? 0)}` });
    column.style.blockSize = `${((values[index]?.cost_micro_usd ?? 0) / most) * 100}%`;
    return column;
  });
  const says = values.flatMap((each, index) => (each ? [`${dating.format(days[index])} ${dollars(each.cost_micro_usd)}`] : []));
  return [
    h("p", { class: "small pair" }, h("span", {}, `at most ${dollars(highest)} a day`)),
    h("div", { class: "columns", role: "img", "aria-label": says.length ? `Spent by day: ${says.join("; ")}` : "Nothing was spent" }, ...drawn),
    h("p", { class: "small pair" }, h("span", {}, dating.format(days[0])), h("span", {}, dating.format(days.at(-1)))),
  ];
}

function bars({ by, rows, more }, names) {
  const most = Math.max(1, ...rows.map((row) => row.spent.cost_micro_usd ?? 0));
  const drawn = rows.slice(0, ROWS_SHOWN).map((row) => h("li", {},
    h("p", { class: "pair" }, h("span", { class: "name" }, nameOf(by, row, names)), h("span", { class: "figure-small" }, dollars(row.spent.cost_micro_usd))),
    h("div", { class: "bar-of", "aria-hidden": "true" }, part("bar-spent", (row.spent.cost_micro_usd ?? 0) / most)),
    h("p", { class: "small" }, `${plural(row.spent.attempts, "attempt")}, ${plural(tokens(row.spent), "token")}${row.spent.unpriced ? `, ${count(row.spent.unpriced)} of unknown price` : ""}`)));
  const rest = more || rows.length > ROWS_SHOWN ? h("p", { class: "small" }, "Those that cost less are not shown.") : null;
  return drawn.length ? [h("ul", { class: "plain" }, ...drawn), ...(rest ? [rest] : [])] : [h("p", { class: "small" }, "Nothing was spent.")];
}

export const tokens = (spending) => Object.values(spending.tokens).reduce((sum, each) => sum + each, 0);

export function total({ totals, as_of: asOf }) {
  const behind = asOf.state === "fresh" ? "" : asOf.state === "stale" ? " The newest may be missing." : " Nobody knows what is missing: the flow of usage has not reported.";
  const unpriced = totals.unpriced ? `, and ${count(totals.unpriced)} of unknown price` : "";
  return `${dollars(totals.cost_micro_usd ?? (totals.attempts ? null : 0))} for ${plural(totals.attempts, "attempt")} with ${plural(tokens(totals), "token")}${unpriced}.${behind}`;
}
