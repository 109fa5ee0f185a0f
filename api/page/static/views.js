// What each answer of /v1 looks like. Owns one function for each `data-view` of the page: JSON in, nodes out. Refuses to
// ask: htmx does, when an element's `hx-trigger` says so, and page.js hands the answer over.

import { showCorrected, showFacets } from "./facets.js";
import { chip, count, h, onPages, plural, refused, seconds, settle, stamp, when, whereTo, wordFor } from "./parts.js";
import { suggested } from "./suggested.js";

const DIFF_LINES_MAX = 400; // more is read in an editor

/** What j, k and the arrows walk over. The address of a decision keeps what was searched. */
function hit(source, values) {
  const { root, slots } = stamp("hit", values);
  for (const [name, value] of Object.entries(whereTo({ ...source, title: values.title }))) slots.link.setAttribute(name, value);
  const query = new URLSearchParams(location.search).get("q");
  const { adr } = slots.link.dataset;
  if (adr && query) slots.link.href = `/?${new URLSearchParams({ q: query, adr })}`;
  return root;
}

const label = (row) => row.label ?? (row.number === null || row.number === undefined ? row.log : `ADR-${row.number}`);

function marked(snippet) {
  // Positions count characters as the server does, by code point.
  const characters = [...snippet.text];
  const nodes = [];
  let at = 0;
  for (const [start, end] of snippet.highlights) {
    nodes.push(characters.slice(at, start).join(""), h("mark", {}, characters.slice(start, end).join("")));
    at = end;
  }
  return [...nodes, characters.slice(at).join("")];
}

const ARMS = { words: "words", meaning: "meaning" };

/** What a reader has to know about how complete an answer is, in one sentence. */
function worth(result) {
  const said = new Map(); // the same words of two arms are said once
  for (const [arm, asOf] of Object.entries(result.as_of)) {
    if (!ARMS[arm] || !asOf) continue;
    const age = asOf.state === "unknown" ? "nobody knows what is missing" : `as of ${seconds(asOf.age_s)} ago${asOf.state === "stale" ? ", the newest may be missing" : ""}`;
    said.set(age, [...(said.get(age) ?? []), ARMS[arm]]);
  }
  const sentences = [...said].map(([age, arms]) => `${capital(arms.join(" and "))}: ${age}.`);
  for (const arm of result.degraded) sentences.push(`Without ${ARMS[arm.arm]}: ${arm.detail}.`);
  return sentences.join(" ");
}

function results(answer, form) {
  const list = document.getElementById("results");
  settle(list, answer.hits.map((each) => hit(each, {
    label: label(each) ?? wordFor(each.kind), status: each.status ? chip(each.status) : null, title: each.title || "without a title",
    text: marked(each.snippet), foot: [each.chunk.heading_path, onPages(each.chunk.pages), ...(each.tags ?? []), each.document?.media_type].filter(Boolean).join(" · "),
  })));
  const alone = answer.by_meaning_alone ? ` ${capital(answer.by_meaning_alone)}: these are near in meaning.` : "";
  found(`${answer.hits.length === 0 ? "Nothing found" : plural(answer.hits.length, "result")}.${alone} ${worth(answer)}`, answer.degraded.length > 0);
  showCorrected(answer.corrected ?? []);
  showFacets(answer.facets, form);
  show(true);
  form.dispatchEvent(new CustomEvent("shown"));
}
results.failed = (error) => { document.getElementById("results").replaceChildren(refused(error)); found("The search could not be made.", true); show(true); };

function found(text, warn) {
  const status = document.getElementById("found");
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("warn", warn);
}

/** Results, or what changed last. */
export function show(searching) {
  document.getElementById("results").hidden = !searching;
  document.getElementById("latest").hidden = searching;
  if (searching) return;
  found("", false);
  showCorrected([]);
  document.getElementById("facets").hidden = true;
  document.getElementById("facets-by").replaceChildren();
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function recent(answer, list) {
  settle(list, answer.items.map((each) => hit({ path: `/v1/adrs/${each.adr_id}` }, {
    label: label(each), status: chip(each.status), title: each.title, text: null, foot: [`version ${each.version}, `, when(each.updated_at)],
  })));
  if (answer.items.length === 0) list.replaceChildren(h("li", { class: "small" }, "No decisions yet. `adriatic import docs/decisions` brings the first ones."));
}

function related(answer, section) {
  const items = answer.related.map((each) => h("li", {},
    h("a", { href: `/?adr=${encodeURIComponent(each.id)}`, "data-adr": each.id }, each.title || each.label || "without a title"), " ", each.status ? chip(each.status) : null,
    h("span", { class: "small why" }, each.reasons.map((reason) => reason.text ?? reason.kind).join("; "))));
  const state = answer.as_of?.state ?? "unknown";
  const note = state === "fresh" ? null : h("p", { class: "small warn" }, state === "stale" ? "The newest may be missing." : "Nobody knows what is missing here.");
  body(section, [items.length ? h("ol", { class: "plain" }, ...items) : h("p", { class: "small" }, "None is near."), note]);
}

const CHANGES = { create: "written", update: "changed", rename: "moved", rollback: "rolled back", delete: "deleted", restore: "restored" };

function history(answer, section) {
  const items = answer.items.map((each) => {
    const path = `/v1/adrs/${each.adr_id}/diff?to=${each.version}`;
    const { root, slots } = stamp("version", {
      version: `Version ${each.version}`, change: `${CHANGES[each.change] ?? each.change}${each.author ? ` by ${each.author}` : ""}`,
      when: when(each.effective_at), message: each.message || null, shown: [],
    });
    slots.read.dataset.version = each.version;
    slots.read.setAttribute("aria-label", `Read version ${each.version}`);
    slots.shown.id = `diff-${each.version}`;
    if (each.version === 1) slots.diff.remove();
    else {
      slots.diff.setAttribute("hx-get", path);
      slots.diff.setAttribute("aria-controls", slots.shown.id);
      slots.diff.setAttribute("aria-label", `Show what version ${each.version} changed`);
    }
    return root;
  });
  const more = answer.next_cursor ? h("p", { class: "small" }, "Older versions are not shown here.") : null;
  body(section, [h("ol", { class: "plain versions" }, ...items), more]);
  htmx.process(section);
}

const OPERATIONS = { "+": "ins", "-": "del", " ": "span" };
const SPOKEN = { "+": "added: ", "-": "removed: " };

function diff(answer, button) {
  const target = document.getElementById(button.getAttribute("aria-controls"));
  const lines = answer.hunks.flatMap((hunk) => [null, ...hunk.lines]).slice(1, DIFF_LINES_MAX);
  const fields = answer.fields.map((each) => h("p", { class: "small" }, `${each.field}: `, h("del", {}, each.old), " → ", h("ins", {}, each.new)));
  const text = lines.map((line) => (line === null ? h("hr") : h(OPERATIONS[line.op], { class: "line" }, SPOKEN[line.op] ? h("span", { class: "hidden" }, SPOKEN[line.op]) : null, line.text || " ")));
  const note = answer.truncated || answer.coarse || lines.length === DIFF_LINES_MAX - 1 ? h("p", { class: "small" }, "There is more than is shown here.") : null;
  target.replaceChildren(...fields, text.length ? h("div", { class: "diff", tabindex: "0", role: "group", "aria-label": `Changes of version ${answer.to_version}` }, ...text) : h("p", { class: "small" }, "The text is the same."), ...(note ? [note] : []));
  target.hidden = false;
  button.setAttribute("aria-expanded", "true");
  button.textContent = "Hide";
  button.removeAttribute("hx-get"); // it is there now; the button only hides and shows
}
diff.failed = (error, button) => { const target = document.getElementById(button.getAttribute("aria-controls")); target.replaceChildren(refused(error)); target.hidden = false; };

// --- what is happening ------------------------------------------------------------------------------------------------

/** A row of a panel: a name, its state as a word, and a line below. */
const row = (name, word, below, more = null) => h("li", {}, h("p", { class: "pair" }, h("span", { class: "name" }, name), word ? chip(word) : null), below ? h("p", { class: "small" }, ...[below].flat()) : null, more);

function jobs(answer, panel) {
  const items = answer.items.map((job) => {
    const share = job.total ? h("progress", { max: job.total, value: job.done, "aria-label": `${job.kind}: done` }) : null;
    const done = job.total ? `${count(job.done)} of ${count(job.total)} ${job.unit}` : job.done ? `${count(job.done)} ${job.unit}` : "";
    const says = job.last_error && job.state !== "done" ? `${job.last_error.detail ?? job.last_error.code ?? ""}` : [job.phase, done].filter(Boolean).join(": ");
    return row(job.kind, job.state, [says ? `${says} · ` : "", when(job.finished_at ?? job.heartbeat_at ?? job.created_at)], job.state === "running" ? share : null);
  });
  body(panel, items.length ? [h("ol", { class: "plain" }, ...items)] : [h("p", { class: "small" }, "No jobs yet.")]);
}

const STAGES = { wal: "the database's log", capture: "capture", topic: "the topic", flow: "the flow" };
const FINE = new Set(["ok", "fresh"]);

function pipeline(answer, panel) {
  const groups = answer.groups.map((each) => row(each.group.replace(/^adriatic\./, ""), each.status, [
    each.lag_records === null ? "lag not known" : each.lag_records === 0 ? "nothing waits" : `${plural(each.lag_records, "record")} behind${each.lag_s === null ? "" : `, ${seconds(each.lag_s)}`}`,
    each.eta_s ? `, done in ${seconds(each.eta_s)}` : "",
  ].join("")));
  const views = answer.views.map((each) => row(each.view, each.state, each.age_s === null ? each.reason || "age not known"
    : `${seconds(each.age_s)} behind${!FINE.has(each.state) && each.slowest ? `, mostly in ${STAGES[each.slowest] ?? each.slowest}` : ""}`));
  const open = answer.dead_letters.open;
  const letters = row("dead letters", open === null ? "unknown" : open === 0 ? "none" : "open", open ? `${plural(open, "record")} for a person to decide` : null);
  const slot = answer.slot ? row("capture slot", answer.slot.active ? "ok" : "stopped", answer.slot.behind_s === null ? null : `${seconds(answer.slot.behind_s)} behind`) : row("capture slot", "unknown", null);
  const all = [...groups, ...views, letters, slot];
  const bad = answer.groups.filter((each) => !FINE.has(each.status)).length + answer.views.filter((each) => !FINE.has(each.state)).length + (open === 0 ? 0 : 1);
  const summary = answer.sampled_at === null ? `Not known: ${(answer.reason || "nobody has looked").replace(/\W+$/, "")}.` : bad === 0 ? "Everything keeps up." : `${plural(bad, "part")} of ${all.length} to look at.`;
  // Open or closed is the reader's: only its inside is replaced.
  let details = panel.querySelector("details");
  if (!details) {
    details = h("details", {}, h("summary", { class: "small" }), h("ol", { class: "plain" }));
    panel.querySelector(".panel-body").replaceChildren(details);
  }
  const line = details.querySelector("summary");
  line.textContent = summary;
  line.classList.toggle("warn", bad > 0 || answer.sampled_at === null);
  settle(details.querySelector("ol"), all);
}

function documents(answer, panel) {
  const items = answer.items.map((each) => row(each.title || each.file_name, each.state, each.reason ? each.reason.detail : each.media_type ?? null));
  body(panel, items.length ? [h("ol", { class: "plain" }, ...items)] : [h("p", { class: "small" }, "No documents yet.")]);
}

function feeds(answer, panel) {
  const items = answer.items.map((each) => {
    const rejected = Object.values(each.rejected).reduce((sum, number) => sum + number, 0);
    const word = each.paused ? "stopped" : each.behind_s === null ? "unknown" : each.behind_s > 60 ? "stale" : "ok";
    return row(each.name || each.slug, word, `${count(each.received)} received, ${count(each.accepted)} accepted, ${count(rejected)} rejected${each.behind_s === null ? "" : `, ${seconds(each.behind_s)} behind`}`);
  });
  body(panel, items.length ? [h("ol", { class: "plain" }, ...items)] : [h("p", { class: "small" }, "No feeds yet.")]);
}

function usage(answer, panel) {
  const { totals, as_of: asOf } = answer;
  const tokens = Object.values(totals.tokens).reduce((sum, number) => sum + number, 0);
  // A price that is not known is not free: it is said beside the sum.
  const spent = totals.cost_micro_usd === null ? "not known" : `$${(totals.cost_micro_usd / 1e6).toFixed(2)}`;
  const pairs = [["asked", count(totals.attempts)], ["tokens", count(tokens)], ["spent", spent], ...(totals.unpriced ? [["of unknown price", count(totals.unpriced)]] : [])];
  const numbers = h("dl", { class: "numbers" }, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  body(panel, [numbers, asOf.state === "fresh" ? null : h("p", { class: "small warn" }, asOf.state === "stale" ? "The newest may be missing." : "Nobody knows what is missing.")]);
}

function body(section, nodes) {
  settle(section.querySelector(".panel-body"), nodes.filter(Boolean));
  section.querySelector(".panel-body").setAttribute("aria-busy", "false");
}

/** How a section says that it has no answer now. */
export function failed(error, section) {
  const place = section.querySelector(".panel-body") ?? section;
  place.replaceChildren(refused(error));
  place.setAttribute("aria-busy", "false");
}

export const VIEWS = { results, recent, related, suggested, history, diff, jobs, pipeline, documents, feeds, usage };
