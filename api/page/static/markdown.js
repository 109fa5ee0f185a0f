// Markdown to nodes. markdown-it reads it into tokens, by the same rules as the server's chunker; here tokens become
// elements one by one, from the list below and nothing else. HTML in a text stays text, an image is a link to it, and a
// link leads to http, https or mail only.

import { h } from "./parts.js";

const TEXT_CHARS_MAX = 300_000; // the longest decision of real histories has a third; longer ones make a browser stop
const ELEMENTS = new Set(["p", "blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "strong", "em", "s", "hr", "br"]);
const FRONT_MATTER = /^\uFEFF?---\r?\n[\s\S]{0,10000}?\n---\r?\n\s*/; // title, status and date are shown above the text
const LINK = /^(https?:|mailto:)/i;

const reader = markdownit({ html: false, linkify: false, typographer: false });

/** Nodes of `text`. The first heading is left out when it only repeats `title`. `words` makes nodes of a piece of plain text. */
export function markdown(text, { title = "", words = (piece) => [piece] } = {}) {
  text = text.replace(FRONT_MATTER, "");
  const cut = text.length > TEXT_CHARS_MAX;
  const tokens = reader.parse(cut ? text.slice(0, TEXT_CHARS_MAX) : text, {});
  if (tokens[0]?.type === "heading_open" && tokens[0].tag === "h1" && repeats(tokens[1].content, title)) tokens.splice(0, 3);
  const root = document.createDocumentFragment();
  build(tokens, root, words);
  if (cut) root.append(h("p", { class: "small" }, "The text is longer than is shown here."));
  return [...root.childNodes];
}

const plain = (words) => words.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
const repeats = (heading, title) => title !== "" && plain(heading).endsWith(plain(title));

function build(tokens, root, words) {
  const path = [root];
  for (const token of tokens) {
    const here = path.at(-1);
    if (token.hidden) continue; // paragraphs of tight lists
    if (token.nesting === 1) {
      const element = opened(token);
      here.append(element);
      path.push(element);
    } else if (token.nesting === -1) {
      path.pop();
    } else if (token.type === "inline") {
      build(token.children, here, words);
    } else if (token.type === "text") {
      here.append(...words(token.content));
    } else {
      here.append(leaf(token));
    }
  }
}

function opened(token) {
  if (token.type === "heading_open") return h(`h${Math.min(6, Number(token.tag[1]) + 1)}`); // the page's own title is h2
  if (token.type === "link_open") {
    const target = token.attrGet("href") ?? "";
    // A path leads to a file of the history that this text came from, which is not here.
    return LINK.test(target) ? h("a", { href: target, rel: "noopener noreferrer nofollow", target: "_blank" }) : h("span", { class: "path", title: target });
  }
  if (token.type === "ordered_list_open") return h("ol", { start: token.attrGet("start") });
  return h(ELEMENTS.has(token.tag) ? token.tag : "div");
}

function leaf(token) {
  switch (token.type) {
    case "softbreak": return document.createTextNode("\n");
    case "code_inline": return h("code", {}, token.content);
    case "fence":
    case "code_block": return h("pre", { tabindex: "0" }, h("code", {}, token.content));
    case "image": {
      const target = token.attrGet("src") ?? "";
      const words = `image: ${token.content || target}`;
      return LINK.test(target) ? h("a", { href: target, rel: "noopener noreferrer nofollow", target: "_blank" }, words) : h("span", { class: "path", title: target }, words);
    }
    default: return ELEMENTS.has(token.tag) && token.content === "" ? h(token.tag) : document.createTextNode(token.content);
  }
}
