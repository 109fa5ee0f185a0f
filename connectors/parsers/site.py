"""A page of a site: its main part without menus and the like, where its links lead, and what it asks of robots.

Owns the choice of what is read of such a page. What its main part is, trafilatura says; where that finds next to
nothing, all that a browser shows is taken, as of an upload. Runs in the parser process. Refuses to judge where links
lead: they are handed on as whole addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urljoin

from lxml import html as lxml_html

from connectors.parsers import PageFacts
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.web import read_page

LINKS_MAX = 1_000
"""Most links of one page that are taken, in their order. Site maps for people have hundreds."""
LINK_CHARS_MAX = 2_048
MAIN_SHARE_MIN = 0.1
"""A main part with less than this share of the words that the page shows is none: a list, an index, a table."""
FEW_WORDS = 50
"""A page with scripts and fewer words than this seems to be made by them. The shells of applications have a dozen: a
title, a wish for scripts."""
SHELL_WORDS_MAX = 300
"""The same of a page that has an empty place for what its scripts make: menus and footers may be there already."""
_PLACES = frozenset(("root", "app", "application", "__next", "__nuxt", "___gatsby", "svelte", "q-app", "docsify"))
"""Names of such places, as the tools that make applications choose them."""
_SCRIPT_TYPES = frozenset(("", "module", "text/javascript", "application/javascript", "text/ecmascript"))
_WORD = re.compile(r"\w+")
_NAMES = ("robots", "adriatic")
"""Names to which a page may speak in its `meta`: everybody's, or ours."""


class PageReading(NamedTuple):
    """What was read of a page."""

    title: str
    text: str
    facts: PageFacts


def read_site_page(text: str, url: str) -> PageReading:
    """Read a page that came from `url`. Raises whatever libraries raise on what they cannot read."""
    writer = Writer()
    title = read_page(text, Inventory(), writer)
    shown = writer.finish()
    main = _find_main(text, url)
    enough = len(_WORD.findall(main)) >= MAIN_SHARE_MIN * len(_WORD.findall(shown))
    chosen = main if main.strip() and enough else shown
    return PageReading(title, chosen, _find_facts(text, url, len(_WORD.findall(chosen))))


def _find_main(text: str, url: str) -> str:
    from trafilatura import extract  # half a second, which only processes that read such pages pay

    found = extract(text, url=url, output_format="markdown", include_comments=False, include_tables=True, fast=True)
    return found or ""


def _find_facts(text: str, url: str, words: int) -> PageFacts:
    if not text.strip():
        return PageFacts(())
    root = lxml_html.document_fromstring(
        text.encode("utf-8", "replace"), parser=lxml_html.HTMLParser(encoding="utf-8", huge_tree=True)
    )
    base = next((urljoin(url, each.get("href")) for each in root.iter("base") if each.get("href")), url)
    asked = _read_wishes(root)
    canonical = next(
        (href for each in root.iter("link") if "canonical" in _rel(each) and (href := _whole(base, each))), ""
    )
    links = tuple(dict.fromkeys(_find_links(root, base)))[:LINKS_MAX]
    index, follow = not asked & {"noindex", "none"}, not asked & {"nofollow", "none"}
    return PageFacts(links, canonical, index, follow, _seems_scripted(root, words))


def _seems_scripted(root: Any, words: int) -> bool:
    """Whether a page with so many words is a shell that its scripts fill."""
    if words >= SHELL_WORDS_MAX or not any(_runs(each) for each in root.iter("script")):
        return False
    if words < FEW_WORDS:
        return True
    places = (
        each for each in root.iter("div", "main", "app-root") if each.tag == "app-root" or each.get("id") in _PLACES
    )
    return any(not "".join(each.itertext()).strip() for each in places)


def _runs(script: Any) -> bool:
    named = (script.get("type") or "").partition(";")[0].strip().lower()
    return named in _SCRIPT_TYPES and bool(script.get("src") or (script.text or "").strip())


def _read_wishes(root: Any) -> set[str]:
    contents = (each.get("content") or "" for each in root.iter("meta") if (each.get("name") or "").lower() in _NAMES)
    return {word.strip().lower() for content in contents for word in content.split(",")}


def _find_links(root: Any, base: str) -> Iterator[str]:
    for each in root.iter("a", "area", "frame", "iframe"):
        name = "src" if each.tag in ("frame", "iframe") else "href"
        if "nofollow" not in _rel(each) and (link := _whole(base, each, name)):
            yield link


def _rel(element: Any) -> list[str]:
    return (element.get("rel") or "").lower().split()


def _whole(base: str, element: Any, name: str = "href") -> str:
    """Where an element leads; empty for what is no page of a site."""
    try:
        link = urljoin(base, (element.get(name) or "").strip())
    except ValueError:
        return ""
    return link if link.startswith(("http://", "https://")) and len(link) <= LINK_CHARS_MAX else ""
