"""Reads a page in the browser as HTML: what lies in trees of its own elements, and in its frames, at its place.

Owns the script that does it. Frames are read first, each for itself, and put in where they are shown: one that nobody
sees, that asks not to be kept, or that does not answer is left out. Refuses to wait for a page to rest: `visit` does.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from playwright.async_api import CDPSession, Error, Frame, Page

from connectors.rendering import FRAMES_MAX, HTML_CHARS_MAX

LINKS_MAX: Final = 5_000
SHADOWS_MAX: Final = 2_000
"""Most elements with a tree of their own that are read."""
FRAME_S_MAX, FRAMES_S_MAX = 1.5, 4.0
"""Longest wait for what one frame says, and for all of them, in seconds: one may have a process, and an endless script,
of its own. The page itself is read in what is left of `READ_S`."""
FRAME_PIXELS_MIN: Final = 16
"""Least width and height of a frame that shows something. What counts visitors has one."""

_READ: Final = """
(() => {
  let count = 0;
  const hosts = [...document.querySelectorAll("*")].filter((each) => each.shadowRoot).slice(0, SHADOWS);
  for (const host of hosts) {
    const shown = document.createElement("div");
    for (const child of host.shadowRoot.childNodes) shown.append(child.cloneNode(true));
    for (const slot of shown.querySelectorAll("slot")) {
      const name = slot.getAttribute("name") || "";
      const filling = [...host.childNodes].filter((each) => (each.slot || "") === name);
      if (filling.length) slot.replaceWith(...filling);
    }
    host.replaceChildren(shown);
  }
  for (const link of document.querySelectorAll("a[href], area[href]")) {
    if (++count > LINKS) break;
    if (typeof link.href === "string") link.setAttribute("href", link.href);
  }
  for (const each of document.querySelectorAll("script, noscript, template")) each.remove();
  for (const frame of document.querySelectorAll("[MARK]")) {
    const place = document.createElement("div");
    place.textContent = frame.getAttribute("MARK");
    frame.replaceWith(place);
  }
  if (document.body && document.body.localName === "frameset") {
    const body = document.createElement("body");
    body.append(...document.body.querySelectorAll("div"));
    document.documentElement.replaceChild(body, document.body);
  }
  return RESULT;
})()
"""
_TREE: Final = f"(document.documentElement ? document.documentElement.outerHTML : '').slice(0, {HTML_CHARS_MAX + 1})"
_BODY: Final = (
    "[...document.querySelectorAll('meta[name]')].some((each) => /^(robots|adriatic)$/i.test(each.name)"
    " && /(^|[\\s,])(noindex|none)([\\s,]|$)/i.test(each.content)) ? ''"
    f" : (document.body ? document.body.innerHTML : '').slice(0, {HTML_CHARS_MAX + 1})"
)


async def evaluate(session: CDPSession, expression: str) -> Any:
    """What an expression gives in a world of its own, whose functions the page cannot have replaced."""
    tree = await session.send("Page.getFrameTree")
    frame = tree["frameTree"]["frame"]["id"]
    world = await session.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "reader"})
    asked = {"expression": expression, "contextId": world["executionContextId"], "returnByValue": True}
    found = await session.send("Runtime.evaluate", asked)
    return found.get("result", {}).get("value")


async def read_tree(page: Page, session: CDPSession) -> Any:
    """The page with its frames; what is no text is no tree."""
    mark = f"x{secrets.token_hex(8)}"  # so that no page can say it
    until = asyncio.get_running_loop().time() + FRAMES_S_MAX
    frames = await _mark(page, mark, until)
    shown: dict[str, str] = {}
    for place, frame in reversed(frames.items()):  # reading what a frame lies in takes the frame away
        shown[place] = await _read_frame(frame, mark, until)
    html = await evaluate(session, _write_script(mark, _TREE))
    if not isinstance(html, str):
        return None
    for place in frames:  # those in frames come after these
        fits = len(html) + len(shown[place]) <= HTML_CHARS_MAX
        html = html.replace(place, shown[place] if fits else "", 1)
    return html


def _limit(until: float) -> asyncio.Timeout:
    return asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + FRAME_S_MAX))


def _write_script(mark: str, result: str) -> str:
    script = _READ.replace("SHADOWS", str(SHADOWS_MAX)).replace("LINKS", str(LINKS_MAX))
    return script.replace("MARK", mark).replace("RESULT", result)


async def _mark(page: Page, mark: str, until: float) -> dict[str, Frame]:
    """Frames that somebody sees, those that lie in others after these, by what is written where each is."""
    found: dict[str, Frame] = {}
    for frame in page.frames[1 : FRAMES_MAX + 1]:
        place = f"{mark}n{len(found)}."
        try:
            async with _limit(until):
                element = await frame.frame_element()
                box = await element.bounding_box()
                if box is None or min(box["width"], box["height"]) < FRAME_PIXELS_MIN:
                    continue
                await element.evaluate("(element, said) => element.setAttribute(said[0], said[1])", [mark, place])
        except (Error, TimeoutError):
            continue
        found[place] = frame
    return found


async def _read_frame(frame: Frame, mark: str, until: float) -> str:
    try:
        async with _limit(until):
            html = await frame.evaluate(_write_script(mark, _BODY))
    except (Error, TimeoutError):
        return ""
    return html if isinstance(html, str) else ""
