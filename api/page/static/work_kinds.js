// The kinds of work: a question, a task, a site, files. Owns the route of each, how a row of its list reads, what its form
// sends, and how that is filled in again from what was done before. Refuses to send it (work.js), and to check what /v1 checks.

import { readDollars } from "./money.js";

const PROPOSING = ["search_adrs", "read_adr", "adr_history", "related_adrs", "list_adrs", "diff_adr", "research", "propose_adr", "propose_link", "propose_tag"];
export const FILES_MAX = 20; // of one upload: they are sent one after the other, while the person waits
const MEGABYTE = 1_048_576;

const words = (field) => field.value.split(/[\s,]+/).filter(Boolean);
const text = (field) => field.value.trim();
const number = (field) => (field.value === "" ? undefined : Number(field.value));
const one = (field) => (text(field) === "" ? undefined : [text(field)]);
/** Without what was not said: the API has its own for that. */
const said = (body) => Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined && value !== ""));

/** Each kind: its route, its id, what it needs, whether everybody reads its list, and how a row of that reads. */
export const KINDS = {
  research: { path: "/v1/research", id: "research_id", needs: "chat", row: (each) => ({ title: each.question, jobId: each.research_id, progress: each }) },
  task: { path: "/v1/agents/tasks", id: "task_id", needs: "chat", row: (each) => ({ title: each.goal, jobId: each.task_id, progress: { phase: each.phase, done: each.steps, total: null, unit: "steps" } }) },
  crawl: { path: "/v1/crawls", id: "crawl_id", needs: "ingest", isForAll: true, row: (each) => ({ title: each.start_urls.join(", "), jobId: each.job_id, progress: { phase: each.phase, done: each.asked, total: null, unit: "pages" }, why: each.stopped ? `ended at its bound of ${each.stopped}` : "" }) },
  document: { path: "/v1/documents", id: "id", needs: "write", isForAll: true, isOfFiles: true, row: (each) => ({ title: each.file_name, jobId: each.job_id, progress: { phase: "", done: 0, total: null, unit: "" }, why: each.reason?.detail ?? "" }) },
};

export function readRow(kind, each) {
  const id = each[KINDS[kind].id];
  const row = { why: "", ...KINDS[kind].row(each) };
  return { ...row, kind, id, key: `${kind}.${id}`, state: each.state, createdAt: each.created_at, cancelRequested: each.cancel_requested ?? false, why: row.why || each.last_error?.detail || "" };
}

/** What each form sends. */
export const BODIES = {
  research: ({ question, kind, status, tag, author }) => said({
    question: text(question), kind: kind.value, status: one(status), tag: one(tag), author: text(author),
  }),
  task: ({ goal, propose, steps, tokens, dollars, seconds }) => said({
    goal: text(goal), tools: propose.checked ? PROPOSING : undefined, steps: number(steps), tokens: number(tokens),
    micro_usd: text(dollars) === "" ? undefined : readDollars(dollars.value) ?? undefined, seconds: number(seconds),
  }),
  crawl: ({ urls, depth, pages, megabytes, minutes, hosts, include, exclude, render }) => ({
    start_urls: words(urls), depth: Number(depth.value), pages_max: Number(pages.value), bytes_max: Number(megabytes.value) * MEGABYTE,
    seconds_max: Number(minutes.value) * 60, hosts: words(hosts), include: words(include), exclude: words(exclude),
    render: render.value || null,
  }),
};

/** How each is filled in from what was done before, for whoever wants it again. */
export const FILLS = {
  research: (form, item) => { form.question.value = item.question; },
  task: (form, item) => {
    form.goal.value = item.goal;
    form.propose.checked = item.tools.some((name) => name.startsWith("propose_"));
    for (const name of ["steps", "tokens", "seconds"]) form[name].value = item.bounds[name];
    form.dollars.value = item.bounds.micro_usd === null ? "" : String(item.bounds.micro_usd / 1e6);
  },
  crawl: (form, item) => {
    form.urls.value = item.start_urls.join("\n");
    form.depth.value = item.depth;
    form.pages.value = item.pages_max;
    form.megabytes.value = Math.max(1, Math.round(item.bytes_max / MEGABYTE));
    form.minutes.value = Math.max(1, Math.round(item.seconds_max / 60));
    for (const name of ["hosts", "include", "exclude"]) form[name].value = item[name].join(" ");
    form.render.value = item.render ?? "";
    form.render.closest("details").open = item.render !== null; // what is not as usual is not hidden
  },
};

/** A key under which a request is made once, however often it is sent. Other than `randomUUID` it is there without TLS, too. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
