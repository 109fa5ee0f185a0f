// From data to nodes. Owns the only two ways in which this page makes elements: `stamp` fills a <template>, `h` makes one
// element. Both set text and never markup; the browser refuses markup from a string too (Trusted Types, in the page's policy).

const OUTSIDE = { target: "_blank", rel: "noopener noreferrer nofollow" }; // of a link that leaves this site

/** An element. `attributes` that are null are left out; `children` are nodes or text. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A copy of `<template id="part-{name}">` and its slots by name. A value that is null removes its slot. */
export function stamp(name, values = {}) {
  const root = document.getElementById(`part-${name}`).content.firstElementChild.cloneNode(true);
  const slots = {};
  for (const slot of root.querySelectorAll("[data-slot]")) slots[slot.dataset.slot] = slot;
  for (const [key, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") slots[key].remove();
    else if (Array.isArray(value)) slots[key].replaceChildren(...value);
    else slots[key].replaceChildren(value);
  }
  return { root, slots };
}

/** Replace the children of `element` only where they differ, so that focus and selection stay. */
export function settle(element, nodes) {
  const same = nodes.length === element.children.length && nodes.every((node, index) => node.isEqualNode(element.children[index]));
  if (!same) element.replaceChildren(...nodes);
}

/**
 * Make the children of `element` what `nodes` are, child by child: the others keep focus, selection and scrolling. What a
 * reader opened stays open, and a button that is made anew keeps the focus, where both have the same `data-key`.
 */
export function renew(element, nodes) {
  const open = new Set([...element.querySelectorAll("details[open][data-key]")].map((each) => each.dataset.key));
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  for (const node of nodes) {
    for (const each of [...(node.matches("details[data-key]") ? [node] : []), ...node.querySelectorAll("details[data-key]")]) each.open = open.has(each.dataset.key);
  }
  const there = [...element.childNodes];
  nodes.forEach((node, at) => {
    if (at >= there.length) element.append(node);
    else if (!there[at].isEqualNode(node)) there[at].replaceWith(node);
  });
  for (const old of there.slice(nodes.length)) old.remove();
  if (focused && !element.contains(document.activeElement)) element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

const LOCALE = "en-GB";
const counting = new Intl.NumberFormat(LOCALE);
const dating = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });
const timing = new Intl.DateTimeFormat(LOCALE, { dateStyle: "long", timeStyle: "medium" });

export const count = (number) => counting.format(number);

/** "1 version", "2 versions" */
export const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Seconds as people say them. */
export function seconds(value) {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172_800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86_400)} days`;
}

/** A <time>: how long ago within a day, the date before that. */
export function when(iso) {
  const time = new Date(iso);
  const agoS = (Date.now() - time.getTime()) / 1000;
  const text = agoS < 5 ? "just now" : agoS < 86_400 ? `${seconds(Math.max(agoS, 10))} ago` : dating.format(time);
  return h("time", { datetime: iso, title: timing.format(time) }, text);
}

/** What a refusal shows where an answer would be. */
export function refused(error) {
  const sentence = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return h("p", { class: "problem" }, `${sentence}.${error.hint ? ` ${error.hint.charAt(0).toUpperCase()}${error.hint.slice(1)}.` : ""}`);
}

const READ_HERE = /^\/v1\/adrs\/([^/]+)$/; // what the API shows there, the page reads itself
const PAGE_HERE = /^\/v1\/pages\/([^/]+)$/; // and a page of a site it opens in a dialog, as text

/** Where a source leads, as attributes of a link: a decision and a page are read here, an upload is fetched, an item of a feed is where it came from. */
export function whereTo({ path, title, document: file }) {
  const adr = READ_HERE.exec(path ?? "")?.[1];
  if (adr) return { href: `/?adr=${adr}`, "data-adr": adr };
  const page = PAGE_HERE.exec(path ?? "")?.[1];
  if (page) return { href: path, "data-page": page };
  if (path) return { href: path, "data-original": title };
  return /^https?:/i.test(file?.uri ?? "") ? { href: file.uri, ...OUTSIDE } : { tabindex: "0" };
}

/** On which pages of its file a passage stands; nothing where there are none. */
export const onPages = (pages) => pages && (pages[0] === pages[1] ? `page ${pages[0]}` : `pages ${pages[0]}–${pages[1]}`);

/** What people call a source of this kind: the search form has the kinds. */
export const wordFor = (kind) => document.querySelector(`#search option[value="${CSS.escape(kind)}"]`)?.dataset.word ?? kind;

/** A status as a chip: the word is there, the colour only helps. */
export const chip = (word) => h("span", { class: "chip", "data-word": word }, word);
