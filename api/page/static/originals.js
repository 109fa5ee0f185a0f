// The files that people uploaded, opened at the page that is cited of them. Owns that: a PDF in the browser's own viewer,
// in a tab of its own, and whatever else as a download. Refuses types that somebody else names: bytes are shown as a PDF
// when they begin as one, and then as nothing but a PDF, so that no file of others becomes a document of this site.

import { open } from "./api.js";
import { h } from "./parts.js";

const KEPT_MS = 60_000; // of a download: the browser has taken the bytes long before
const SHOWN_MS = 3_600_000; // of what is read: a reload of its tab finds it for an hour
const PDF = "application/pdf";
const BEGINS = "%PDF-"; // within its first kilobyte, as every reader of them takes it
const AT_PAGE = /#page=([1-9]\d{0,5})$/;

/** The page that an address names; null without one. */
export const pageOf = (address) => AT_PAGE.exec(address ?? "")?.[1] ?? null;

/** Fetch an original, which needs the token, so that a plain link cannot, and show it. Returns what is to be said of it. */
export async function openOriginal(address, title) {
  const page = pageOf(address);
  // The tab is made while the click still counts: after a slow answer the browser would take it for an advertisement.
  const tab = page !== null && navigator.pdfViewerEnabled ? window.open("about:blank") : null;
  try {
    const response = await open(address);
    const bytes = await response.blob();
    if (tab && await isPdf(bytes)) {
      tab.opener = null;
      tab.location.replace(`${keep(new Blob([bytes], { type: PDF }), SHOWN_MS)}#page=${page}`);
      return `Opened at page ${page}.`;
    }
    tab?.close();
    h("a", { href: keep(bytes, KEPT_MS), download: nameIn(response) ?? title }).click();
    return page === null ? "" : `It is downloaded: what is cited is on page ${page}.`;
  } catch (error) {
    tab?.close();
    throw error;
  }
}

const isPdf = async (bytes) => (await bytes.slice(0, 1024).text()).includes(BEGINS);

function keep(bytes, forMs) {
  const address = URL.createObjectURL(bytes);
  setTimeout(() => URL.revokeObjectURL(address), forMs);
  return address;
}

/** What the file was called when it was uploaded: a title has no ending, and no program opens it by that. */
function nameIn(response) {
  const said = /filename\*=UTF-8''([^;]+)/i.exec(response.headers.get("content-disposition") ?? "")?.[1];
  try { return said ? decodeURIComponent(said) : null; } catch { return null; }
}
