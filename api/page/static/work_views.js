// What work and its results look like: research, tasks, crawls, documents, proposals. Owns JSON in, nodes out. Refuses to
// ask and to change anything: work.js does, when one of the buttons that are made here says so.

import { markdown } from "./markdown.js";
import { dollars } from "./money.js";
import { chip, count, h, onPages, plural, seconds, whereTo, when, wordFor } from "./parts.js";
import { KINDS } from "./work_kinds.js";

export const WORDS = { research: "question", task: "task", crawl: "site", document: "file" };
const OPEN = new Set(["queued", "running", "stored", "processing"]);
const UNITS = ["B", "kB", "MB", "GB"];
const OUTPUT_CHARS_MAX = 6_000; // of one step; `adriatic agents show --json` has all of it
const OUTSIDE = { target: "_blank", rel: "noopener noreferrer nofollow" };

export const isOpen = (state) => OPEN.has(state);
/** A file that is stored waits to be read; an address that is stored is done. */
export const stateChip = ({ kind, state }) => chip(KINDS[kind]?.isOfFiles && state === "stored" ? "waiting" : state);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const small = (...children) => h("p", { class: "small" }, ...children);
const label = (text) => h("h3", { class: "label" }, text);
/** One of the things that a result is made of. */
const part = (title, ...children) => h("section", { class: "work-part" }, label(title), ...children);
const button = (action, id, word, about) => h("button", { type: "button", "data-action": action, "data-id": id, "data-key": `${action}.${id}`, "aria-label": `${word}: ${about}` }, word);
/** Opened and closed by whoever reads, and so it stays when what is around it is made anew. */
const folded = (key, summary, ...children) => h("details", { class: "sources", "data-key": key }, h("summary", { class: "small" }, summary), ...children);

export function bytes(size) {
  let unit = 0;
  while (size >= 1000 && unit < UNITS.length - 1) { size /= 1000; unit += 1; }
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

// --- one row, and how far it is ---------------------------------------------------------------------------------------

/** "searching: 2 of 4 steps" */
export function progressOf({ phase, done, total, unit }) {
  const of = total ? `${count(done)} of ${count(total)} ${unit}` : done ? `${count(done)} ${unit}` : "";
  return [phase, of].filter(Boolean).join(": ");
}

const share = ({ done, total }, name) => (total ? h("progress", { max: total, value: Math.min(done, total), "aria-label": `${name}: done` }) : null);

export function rows(items, chosen) {
  if (!items.length) return [h("li", { class: "small" }, "Nothing yet. What is begun here goes on when you leave, and is here when you come back.")];
  return items.map((item) => {
    const says = isOpen(item.state) ? progressOf(item.progress) || (item.cancelRequested ? "is being cancelled" : "waits for a worker") : item.why;
    const pressed = item.key === chosen ? "true" : null;
    return h("li", {}, h("button", { type: "button", class: "work-row", "data-action": "choose", "data-id": item.key, "data-key": `choose.${item.key}`, "aria-current": pressed },
      h("span", { class: "pair" }, h("span", { class: "number" }, capital(WORDS[item.kind])), stateChip(item)),
      h("span", { class: "work-title" }, item.title),
      h("span", { class: "small" }, says ? `${says} · ` : "", when(item.createdAt))), isOpen(item.state) ? share(item.progress, item.title) : null);
  });
}

export function progress(item) {
  if (!isOpen(item.state)) return [];
  const says = progressOf(item.progress);
  const words = item.cancelRequested ? "It is being cancelled, and ends after what it is at." : says ? `${capital(says)}.` : "It waits for a worker.";
  return [share(item.progress, item.title) ?? h("progress", { "aria-label": `${item.title}: it is not known how much is left` }), small(words, " You can leave: it goes on.")];
}

const failure = (error) => h("p", { class: "problem" }, `${capital(error.detail)}.${error.hint ? ` ${capital(error.hint)}.` : ""}`);

// --- research ---------------------------------------------------------------------------------------------------------

/** Where a source leads, at what is cited of it. */
function target(source, claim = null) {
  const place = claim ? { "data-from": claim.char_start, "data-to": claim.char_end } : {};
  const where = whereTo(claim?.path ? { ...source, path: claim.path } : source);
  return { ...where, ...(where.href ? { "data-version": source.version, "data-heading": source.heading || null, "data-title": source.title, ...place } : {}) };
}

function cite(source, claim) {
  if (!source) return null;
  const name = [source.title || "without a title", onPages(claim.pages)].filter(Boolean).join(", ");
  return h("a", { ...target(source, claim), class: "cite", title: name, "aria-label": `where it stands: source ${source.number}, ${name}` }, String(source.number));
}

export function research(item) {
  const nodes = item.last_error ? [failure(item.last_error)] : [];
  const { result } = item;
  if (!result) return nodes;
  const sources = new Map(result.sources.map((each) => [each.number, each]));
  const written = result.written?.claims ?? [];
  const claims = [...written, ...result.parts.flatMap((each) => each.claims)];
  const listed = result.sources.map((each) => {
    const cited = claims.filter((claim) => claim.source === each.number);
    const pages = [...new Set(cited.map((claim) => onPages(claim.pages)).filter(Boolean))].join(", ");
    return h("li", { value: each.number }, h("a", target(each, cited.length === 1 ? cited[0] : null), each.title || "without a title"), " ", each.status ? chip(each.status) : null,
      h("span", { class: "small" }, ` ${[each.log, each.label ?? wordFor(each.kind), `version ${each.version}`, each.heading, pages].filter(Boolean).join(" · ")}`));
  });
  if (listed.length) nodes.push(part("Sources", h("ol", { class: "work-sources" }, ...listed)));
  if (result.withdrawn) nodes.push(small(`${plural(result.withdrawn, "source")} deleted since, and what stood on ${result.withdrawn === 1 ? "it" : "them"} is left out.`));
  if (!result.answered) nodes.push(h("p", { class: "notice" }, "The sources do not hold an answer."));
  const said = (claim) => h("p", { class: "claim" }, claim.text, " ", cite(sources.get(claim.source), claim));
  if (written.length) {
    const out = result.written.dropped.reduce((sum, each) => sum + each.claims, 0);
    nodes.push(h("section", { class: "work-part" }, h("h3", {}, "As a model wrote it"), ...written.map(said),
      small(`By ${result.written.model}. Each claim was held against what it cites`, out ? `; ${plural(out, "other")} left out.` : ".")));
  }
  for (const each of result.parts) {
    nodes.push(h("section", { class: "work-part" }, h("h3", {}, capital(each.question)),
      ...each.claims.map(said),
      each.answered ? null : small("The sources do not say."),
      each.dropped ? small(`${plural(each.dropped, "claim")} left out, because the citation did not hold.`) : null));
  }
  const warnings = [...result.degraded.map((arm) => `Without search by ${arm.arm}: ${arm.detail}.`), ...(result.rerank_error ? [`Not ranked anew: ${result.rerank_error.detail}.`] : []),
    ...(result.write_error ? [`Not written by a model: ${result.write_error.detail}.`] : [])];
  nodes.push(...warnings.map((text) => h("p", { class: "small warn" }, text)));
  nodes.push(folded("passes", `How it was searched: ${plural(result.passes.length, "round")}`, h("ol", {}, ...result.passes.map((round) => h("li", {},
    `${round.queries.map((query) => `“${query}”`).join(", ")}: ${plural(round.found, "passage")}${round.missing.length ? `; still missing: ${round.missing.join("; ")}` : ""}`)))));
  return nodes;
}

// --- tasks of agents --------------------------------------------------------------------------------------------------

const RECORD = /^adr:\/\/[^/]+\/(\d+)$/;

function consulted(address) {
  const number = RECORD.exec(address)?.[1];
  return h("li", {}, number ? h("a", { href: `/?${new URLSearchParams({ q: `ADR-${number}` })}` }, address) : address);
}

export function task(item, steps, proposals, names) {
  const nodes = item.last_error ? [failure(item.last_error)] : [];
  if (item.withdrawn) nodes.push(h("p", { class: "notice" }, `It had read ${plural(item.withdrawn, "source")} deleted since. What it wrote from then on is not shown.`));
  if (item.result && !item.withdrawn) {
    nodes.push(h("div", { class: "prose work-answer" }, ...markdown(item.result.text)));
    if (item.result.consulted.length) nodes.push(part("What it read", h("ul", { class: "work-sources" }, ...item.result.consulted.map(consulted))));
  }
  if (proposals.length) nodes.push(part("What it proposes", h("ul", { class: "plain" }, ...proposals.map((each) => proposal(each, names)))));
  if (steps.length) nodes.push(part(`Steps: ${count(steps.filter((each) => each.state !== "begun").length)} of ${count(item.bounds.steps)} at most`, h("ol", { class: "plain steps" }, ...steps.map(step))));
  const spent = item.spent ? `${plural(item.spent.tokens, "token")}, ${dollars(item.spent.micro_usd)}` : null;
  const most = `at most ${count(item.bounds.tokens)} tokens, ${item.bounds.micro_usd === null ? "what the budget allows" : dollars(item.bounds.micro_usd)}, ${seconds(item.bounds.seconds)}`;
  nodes.push(small(item.plan === "quotes" ? "Without a model: it searches for each sentence, and quotes. " : "", spent ? `Used: ${spent}; ` : "", `${most}.`));
  return nodes;
}

const STEP_STATES = { begun: "running", done: "done", failed: "failed" };

function step(each) {
  const asked = each.kind === "tool" ? shorten(String(each.input.arguments ?? ""), 160) : "";
  const came = each.output === null ? "" : each.output.text ?? JSON.stringify(each.output.result ?? each.output.error ?? each.output, null, 2);
  const calls = each.output?.calls?.length ? small(`It asks for: ${each.output.calls.map((call) => call.name).join(", ")}.`) : null;
  const error = each.output?.error ? failure(each.output.error) : null;
  if (each.withdrawn) return h("li", { class: "step", "data-key": each.step_id }, h("p", { class: "pair" }, h("span", { class: "name" }, `${each.number}. ${each.kind === "tool" ? each.name : "The model is asked"}`), chip(STEP_STATES[each.state] ?? each.state)), small("Not shown: it stands on what was deleted since."));
  return h("li", { class: "step", "data-key": each.step_id },
    h("p", { class: "pair" }, h("span", { class: "name" }, `${each.number}. ${each.kind === "tool" ? each.name : "The model is asked"}`), chip(STEP_STATES[each.state] ?? each.state)),
    asked ? small(asked) : null, error, calls,
    came && !error ? folded(`step.${each.step_id}`, "What came of it", h("pre", { class: "output", tabindex: "0", role: "group", "aria-label": `What came of step ${each.number}` }, shorten(came, OUTPUT_CHARS_MAX))) : null);
}

const shorten = (text, most) => (text.length > most ? `${text.slice(0, most)} …` : text);

/** A proposal that nobody can say yes to: what its agent had read was deleted. */
function withheld(each) {
  return h("li", { class: "proposal", "data-key": each.proposal_id }, h("p", {}, `A proposal that stands on ${plural(each.withdrawn, "source")} deleted since: it is not shown.`),
    each.state === "open" ? h("p", { class: "row" }, button("dismiss", each.proposal_id, "Dismiss", "a proposal that is not shown")) : small(`${capital(each.state)}${each.answered_by ? ` by ${each.answered_by}` : ""}.`),
    h("div", { role: "status", "data-problem": each.proposal_id }));
}

/** What an agent would write. It is somebody else's text until a person accepts it. */
export function proposal(each, names) {
  if (each.withdrawn) return withheld(each);
  const about = each.content.title ?? (each.content.tag ? `the tag ${each.content.tag}` : `a link, ${each.content.kind}`);
  const link = (id, word) => (id ? h("a", { href: `/?adr=${encodeURIComponent(id)}`, "data-adr": id }, word ?? names.get(id) ?? "a decision") : null);
  const what = {
    adr: () => [h("p", {}, "A new decision: ", h("strong", {}, each.content.title)), folded(`proposal.${each.proposal_id}`, "Read it", h("div", { class: "prose" }, ...markdown(each.content.body ?? "", { title: each.content.title })))],
    link: () => [h("p", {}, "A link: ", link(each.adr_id), ` ${each.content.kind} `, link(each.content.target_id), ".")],
    tag: () => [h("p", {}, "A tag: ", h("span", { class: "tag" }, each.content.tag), " for ", link(each.adr_id), ".")],
  }[each.kind]?.() ?? [h("p", {}, each.kind)];
  const answered = each.state === "open" ? h("p", { class: "row" }, button("accept", each.proposal_id, "Accept", about), button("dismiss", each.proposal_id, "Dismiss", about))
    : small(`${capital(each.state)}${each.answered_by ? ` by ${each.answered_by}` : ""}. `, each.state === "accepted" && each.became_id ? link(each.became_id, "Open it") : null);
  return h("li", { class: "proposal", "data-key": each.proposal_id }, ...what, h("p", { class: "small" }, `Why: ${each.reason}`), answered, h("div", { role: "status", "data-problem": each.proposal_id }));
}

// --- crawls -----------------------------------------------------------------------------------------------------------

const STATES = ["stored", "unchanged", "waiting", "failed", "refused", "duplicate", "redirected", "gone", "read"];

export function crawl(item, urls, filter) {
  const nodes = item.last_error ? [failure(item.last_error)] : [];
  const bound = item.stopped ? ` It ended at its bound of ${item.stopped}.` : "";
  const rendered = item.rendered ? `${count(item.rendered)} rendered by a browser, ` : item.render === "never" ? "none to be rendered, " : "";
  nodes.push(h("p", {}, `${plural(item.asked, "page")} of ${count(item.pages_max)} asked for, ${rendered}${bytes(item.received)} received, ${plural(item.depth, "level")} of links.${bound}`));
  if (item.dropped) nodes.push(small(`${plural(item.dropped, "link")} had no room in the list of addresses.`));
  nodes.push(small(`Hosts: ${item.hosts.join(", ")}`));
  const counted = STATES.filter((state) => item.urls[state]);
  const choose = (state, word) => h("button", { type: "button", class: "chosen", "data-action": "filter", "data-id": state, "data-key": `filter.${state}`, "aria-pressed": String(filter === state) }, word);
  if (counted.length) nodes.push(h("p", { class: "row", role: "group", "aria-label": "Addresses by what came of them" }, choose("", "All"), ...counted.map((state) => choose(state, `${state} ${count(item.urls[state])}`))));
  if (!urls) return nodes;
  const listed = urls.items.map((each) => h("li", { "data-key": each.url }, h("p", { class: "pair" }, address(each), chip(each.state)),
    each.code || each.detail || each.rendered ? small([each.rendered ? "rendered by a browser" : "", each.code, each.detail].filter(Boolean).join(": "), each.refers_to ? ` (${each.refers_to})` : "") : null));
  nodes.push(h("ol", { class: "plain urls" }, ...(listed.length ? listed : [h("li", { class: "small" }, "None.")])));
  if (urls.next_cursor) nodes.push(h("p", { class: "row" }, h("button", { type: "button", "data-action": "more-urls", "data-id": item.key, "data-key": "more-urls" }, "Show more addresses")));
  return nodes;
}

function address(each) {
  if (each.page_id) return h("a", { href: each.url, "data-page": each.page_id, ...OUTSIDE }, each.url);
  return /^https?:/i.test(each.url) ? h("a", { href: each.url, ...OUTSIDE }, each.url) : h("span", {}, each.url);
}

// --- documents --------------------------------------------------------------------------------------------------------

/** "Pages 2–3, page 7: ", each a way to look at them, where a browser can. */
function ofPages({ id, media_type: type, file_name: name }, pages) {
  return pages.flatMap((each, at) => {
    const word = at === 0 ? capital(onPages(each)) : onPages(each);
    const shown = type === "application/pdf" ? h("a", { href: `/v1/documents/${id}/original#page=${each[0]}`, "data-original": name }, word) : word;
    return [h("strong", {}, shown), at === pages.length - 1 ? ": " : ", "];
  });
}

export function file(item) {
  const facts = [item.media_type || null, bytes(item.size_bytes), item.pages ? plural(item.pages, "page") : null, item.version ? null : "not searchable yet"].filter(Boolean);
  const nodes = [h("p", { class: "small" }, facts.join(" · "))];
  // What is missing of a partial one is said below, page by page; here is what to do about it.
  if (item.reason) nodes.push(item.gaps.length && item.state === "partial" ? h("p", { class: "notice" }, `${capital(item.reason.hint)}.`) : failure(item.reason));
  if (item.gaps.length) {
    nodes.push(part("What its text has not", h("ul", { class: "plain" }, ...item.gaps.map((gap) => h("li", {},
      h("p", {}, ...ofPages(item, gap.pages), `${gap.detail}.`), small(gap.code))))));
  }
  const seen = item.recognised;
  if (seen) {
    const sure = seen.confidence === null ? "" : `, sure by ${Math.round(seen.confidence * 100)} %`;
    nodes.push(part("Recognised on pictures", h("p", {}, `${plural(seen.pages, "page")}, ${plural(seen.lines, "line")}${sure}${seen.scripts.length ? `, ${seen.scripts.join(", ")} letters` : ""}.`),
      seen.left_out ? small(`${plural(seen.left_out, "line")} left out, of which it was not sure enough.`) : null,
      seen.failed ? small(`${plural(seen.failed, "page")} could not be read; a retry reads ${seen.failed === 1 ? "it" : "these"} alone.`) : null));
  }
  if (item.version) nodes.push(small("What was read is found by the search, with its page."));
  return nodes;
}
