// What is suggested of a decision and another: that one supersedes the other, or that they conflict. Owns how it looks,
// and its answers: accept, dismiss, reopen. Refuses to say what is suggested: /v1 does.

import { ask } from "./api.js";
import { h, refused, settle } from "./parts.js";

const SAID = { // by kind, and by whether the decision that is read is the newer one
  supersedes: { true: "It may supersede ", false: "It may be superseded by " },
  conflicts: { true: "It may conflict with ", false: "It may conflict with " },
};

export function suggested(answer, section) {
  const mine = section.dataset.of;
  const open = answer.suggestions.filter((each) => each.state === "open");
  const dismissed = answer.suggestions.filter((each) => each.state === "dismissed");
  const more = dismissed.length ? h("details", { class: "sources" },
    h("summary", { class: "small" }, `Dismissed: ${dismissed.length}`), h("ul", { class: "plain" }, ...dismissed.map((each) => shown(each, mine, section)))) : null;
  const list = open.length ? h("ul", { class: "plain" }, ...open.map((each) => shown(each, mine, section))) : null;
  settle(section.querySelector(".panel-body"), [list, more].filter(Boolean));
  section.querySelector(".panel-body").setAttribute("aria-busy", "false");
  section.hidden = !open.length && !dismissed.length;
}

function shown(each, mine, section) {
  const newest = each.newer.adr_id === mine;
  const other = newest ? each.older : each.newer;
  const name = `${other.label ?? other.log} ${other.title}`;
  const { reason } = each;
  const problem = h("div", { role: "status" });
  const buttons = each.state === "open"
    ? [button("Accept", `Accept: ${SAID[each.kind]?.[newest] ?? ""}${name}`, "accept", { expected_version: each.older.version }), button("Dismiss", `Dismiss what is suggested of ${name}`, "dismiss")]
    : [button("Reopen", `Reopen what is suggested of ${name}`, "reopen")];
  function button(text, meaning, verb, data) {
    const made = h("button", { type: "button", "aria-label": meaning }, text);
    made.addEventListener("click", () => answer(each, verb, data, { section, problem, buttons }));
    return made;
  }
  return h("li", { class: "suggestion" },
    h("p", {}, SAID[each.kind]?.[newest] ?? `${each.kind}: `, h("a", { href: `/?adr=${encodeURIComponent(other.adr_id)}`, "data-adr": other.adr_id }, name)),
    h("p", { class: "small" }, `${reason.text.charAt(0).toUpperCase()}${reason.text.slice(1)}. Of such suggestions ${Math.round(reason.confidence * 100)} % were right in tests.`),
    h("blockquote", { class: "small" }, reason.newer.quote, reason.older.quote === each.older.title ? null : h("br"), reason.older.quote === each.older.title ? null : reason.older.quote),
    h("p", { class: "row" }, ...buttons), problem);
}

/** What a button does, once; then the section is asked again. */
async function answer(each, verb, data, { section, problem, buttons }) {
  for (const button of buttons) button.disabled = true;
  try {
    await ask(`/v1/suggestions/${each.suggestion_id}/${verb}`, { method: "POST", ...(data ? { body: data } : {}) });
    section.dispatchEvent(new Event("again"));
  } catch (error) {
    problem.replaceChildren(refused(error));
    for (const button of buttons) button.disabled = false;
  }
}
