// How a search is narrowed down, and what it was taken for. Owns the counts as boxes to tick, the ticks while answers come and
// go, and the line that says which word was searched for instead. Refuses to ask: the form does, of which the boxes are a part.

import { count, h, settle } from "./parts.js";

const ONE = new Set(["log", "author", "year"]); // a search takes one of these, and several of the others
const byId = (id) => document.getElementById(id);

/** What a search sends beside its form: whether its last word is unfinished, and a year as the API knows it. */
export function narrow(body, typing) {
  if (typing) body.set("typing", "true");
  const year = Number(body.get("year"));
  body.delete("year");
  if (!year) return;
  const first = (of) => `${String(of).padStart(4, "0")}-01-01T00:00:00Z`;
  body.set("since", first(year));
  body.set("until", first(year + 1));
}

/** Each facet with its values; those that are ticked stay, whatever is found. */
export function showFacets(facets, form) {
  const area = byId("facets");
  area.hidden = !facets;
  if (!facets) return;
  const least = facets.at_least ? "at least " : "";
  const { name, value } = document.activeElement; // a box that is replaced keeps the focus
  byId("facets-of").textContent = `Of ${least}${count(facets.sources)} ${facets.of}.`;
  settle(byId("facets-by"), Object.entries(facets.by).map(([facet, counts]) => {
    const ticked = [...form.querySelectorAll(`input[type=checkbox][name="${facet}"]:checked`)].map((box) => box.value);
    const missing = ticked.filter((value) => !counts.values.some((each) => each.value === value)).map((value) => ({ value, count: 0 }));
    const boxes = [...missing, ...counts.values].map((each) => {
      const box = h("input", { type: "checkbox", name: facet, value: each.value, checked: ticked.includes(each.value) ? "" : null });
      return h("label", {}, box, h("span", {}, each.value), h("span", { class: "small" }, ` ${least ? "≥ " : ""}${count(each.count)}`));
    });
    const more = counts.more ? h("span", { class: "small" }, `and ${count(counts.more)} more`) : null;
    return h("fieldset", boxes.length ? {} : { hidden: "" }, h("legend", { class: "label" }, facet), ...boxes, more);
  }));
  if (facets.by[name]) byId("facets-by").querySelector(`input[name="${name}"][value="${CSS.escape(value)}"]`)?.focus();
}

byId("facets-by").addEventListener("input", ({ target }) => {
  if (!ONE.has(target.name) || !target.checked) return;
  for (const other of byId("facets-by").querySelectorAll(`input[name="${target.name}"]`)) if (other !== target) other.checked = false;
});

/** Which words were searched for in place of others, and a way to search for those that were typed. */
export function showCorrected(corrected) {
  const line = byId("corrected");
  line.hidden = corrected.length === 0;
  const typed = corrected.map((each) => each.from).join(" ");
  const button = h("button", { type: "button" }, `Search for ${typed}`);
  button.addEventListener("click", () => {
    byId("correct").value = "false";
    byId("search").dispatchEvent(new Event("search-now"));
  });
  line.replaceChildren(`Showing results for ${corrected.map((each) => each.to).join(" ")}. `, ...(corrected.length ? [button] : []));
}

byId("q").addEventListener("input", () => { byId("correct").value = ""; });
