// Opening what is cited: the very passage, in a decision that is read or in a dialog. Owns finding the place of a quote.
// Refuses markup: what a page of others says is shown as the text that it is.

import { ask } from "./api.js";
import { h, refused, when } from "./parts.js";

const OUTSIDE = { target: "_blank", rel: "noopener noreferrer nofollow" };
const BLOCKS = "p, li, td, th, pre, blockquote, h2, h3, h4, h5, h6";
const AROUND_CHARS = 1_500; // of a page, before and behind a passage: about what fits the dialog
const SHOWN_CHARS_MAX = 20_000; // of a page that is opened without a passage
const byId = (id) => document.getElementById(id);

/** Positions count characters as the server does, by code point. */
export const cut = (text, from, to) => [...text].slice(from, to).join("");

const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();

/** The smallest block below `root` that says `quote`, whatever markup it has; else the one that begins as it does. */
export function findQuote(root, quote) {
  const wanted = plain(quote);
  if (wanted === "") return null;
  const blocks = [...root.querySelectorAll(BLOCKS)].map((element) => ({ element, says: plain(element.textContent) }));
  const smallest = (found) => found.toSorted((one, other) => one.says.length - other.says.length)[0]?.element ?? null;
  return smallest(blocks.filter((each) => each.says.includes(wanted)))
    // A quote of several paragraphs, or of rows of a table, is in none of them: its first words are.
    ?? smallest(blocks.filter((each) => each.says.length > 8 && wanted.startsWith(each.says)));
}

/** Mark the block of a quote, and go there. False where it is not found. */
export function showQuote(root, quote) {
  for (const old of root.querySelectorAll(".cited")) old.classList.remove("cited");
  const found = findQuote(root, quote);
  if (!found) return false;
  found.classList.add("cited");
  found.tabIndex = -1;
  found.focus({ preventScroll: true });
  found.scrollIntoView({ block: "center" });
  return true;
}

/** A page of a site, opened at what is cited of it. `version` is what was cited: another one may say it elsewhere. */
export async function openPage(id, { from, to, version } = {}) {
  const dialog = byId("passage");
  byId("passage-title").textContent = "Looking …";
  byId("passage-where").replaceChildren();
  byId("passage-text").replaceChildren();
  dialog.showModal();
  try {
    const page = await ask(`/v1/pages/${encodeURIComponent(id)}`);
    byId("passage-title").textContent = page.title || page.url;
    const same = from !== undefined && Number(version) === page.version;
    const outside = /^https?:/i.test(page.url) ? h("a", { href: page.url, ...OUTSIDE }, page.url) : page.url;
    byId("passage-where").append(outside, " · as it was ", when(page.changed_at), from !== undefined && !same ? ". It has changed since it was cited." : "");
    byId("passage-text").replaceChildren(...(same ? around(page.body, Number(from), Number(to)) : [page.body.slice(0, SHOWN_CHARS_MAX)]));
    byId("passage-text").querySelector("mark")?.scrollIntoView({ block: "center" });
  } catch (error) {
    byId("passage-title").textContent = "Not to be shown";
    byId("passage-text").replaceChildren(refused(error));
  }
}

function around(body, from, to) {
  const characters = [...body];
  const piece = (start, end) => characters.slice(Math.max(0, start), Math.max(0, end)).join("");
  return [from > AROUND_CHARS ? "… " : "", piece(from - AROUND_CHARS, from), h("mark", {}, piece(from, to)), piece(to, to + AROUND_CHARS), characters.length > to + AROUND_CHARS ? " …" : ""];
}
