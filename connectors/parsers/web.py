"""The text of an HTML page, as a browser shows it.

Owns what each element does to text: begins a line, is a heading, an item, a cell, shows an attribute, shows nothing.
The tree is lxml's; what styles hide, `hidden` says; Markdown is `markdown`'s. A first pass over the tree, in
`page_kinds.py`, says of every element of what kind its text is, a second one writes. Refuses what lies outside of the
file. An element that nobody knows is shown, since browsers do so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from connectors.parsers import UNSEEN, Kind
from connectors.parsers.embedded import is_large_picture
from connectors.parsers.hidden import PageStyles
from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.page_kinds import SeenPage, find_attributes, find_texts, look_around, names, own_text, tag_of
from connectors.parsers.page_voids import release_voids
from connectors.parsers.word_numbers import write_number

FRAMES_DEPTH_MAX = 4
"""Pages within pages within pages."""
ROWS_MAX = 65_534
"""Most rows that browsers let a cell cover."""

_BLOCKS = names(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption figure "
    "footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html iframe legend li listing main menu nav noframes "
    "noscript object ol optgroup p plaintext pre search section summary table tbody td text tfoot th thead tr ul xmp"
)
"""Elements that begin and end a line, `text` being SVG's."""
_APART = names("button select option input textarea img svg label rt meter video audio area math")
"""Elements within a line that touch no neighbour."""
_PRE = names("pre listing xmp plaintext")
_STRUCK = frozenset(("del", "s", "strike"))
_LINES = frozenset(("block", "flex", "grid", "table", "list-item", "table-row", "flow-root"))
_NUMBERS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_BETWEEN = {"mfrac": "/", "msup": "^", "msub": "_", "munder": "_", "mover": "^"}

_FRAMES = "frames, which show other files"
_SPACE = re.compile(r"[ \t\n\r\f]+")
_HEADING = re.compile(r"h[1-6]")


def read_page(
    text: str,
    inventory: Inventory,
    writer: Writer,
    kind: Kind = "text",
    depth: int = 0,
    sheets: Mapping[str, str] | None = None,
) -> str:
    """Write a page's text, and return its title. All of its text is counted as of `kind` where it is no other.
    `sheets` are the style sheets that lie beside the page, by their addresses."""
    root = _parse(text, inventory)
    if root is None:
        return ""
    styles = PageStyles("\n".join(_sheets(root, sheets or {})))
    page = look_around(root, kind, styles, whole=False)
    if not any(_look_for_text(page)):
        # Its scripts or its frames would bring the text. What it says to those who have none is all that there is.
        page = look_around(root, kind, styles, whole=True)
        _say_why_empty(page, root, inventory)
    for _ in range(page.elsewhere):
        inventory.miss("frames", _FRAMES)
    for _ in filter(is_large_picture, _find_seen(page, "img")):
        inventory.miss("picture", "large picture in the page, without a description")
    for element in page.kinds:
        for own, held in find_texts(page, element):
            inventory.hold(own, held)
    _PageWriter(page, inventory, writer, depth).render(root)
    return _title(root)


def _say_why_empty(page: SeenPage, root: Any, inventory: Inventory) -> None:
    frames = [each for each in root.iter() if page.frames and tag_of(each) == "frame"]
    for _ in frames:
        inventory.miss("frames", _FRAMES)
    if page.scripted and not frames and not page.elsewhere:
        inventory.miss("scripted", "page whose text is made by scripts")
    for _ in filter(lambda each: not is_large_picture(each), _find_seen(page, "img")):
        inventory.miss("picture", "picture without a description, on a page without text")


def _find_seen(page: SeenPage, tag: str) -> Iterator[Any]:
    return (
        each for each, kind in page.kinds.items() if kind is not None and kind not in UNSEEN and tag_of(each) == tag
    )


def _sheets(root: Any, sheets: Mapping[str, str]) -> Iterator[str]:
    """The style sheets of a page in their order, each with the medium for which it is meant."""
    for each in root.iter():
        tag = tag_of(each)
        text = each.text or "" if tag == "style" else ""
        if tag == "link" and "stylesheet" in (each.get("rel") or "").lower().split():
            text = sheets.get(each.get("href") or "", "")
        media = (each.get("media") or "").strip() if text else ""
        if text:
            yield f"@media {media} {{{text}}}" if media else text


def _parse(text: str, inventory: Inventory) -> Any:
    """The tree of a page: of XML where it is, else of whatever browsers make something of."""
    if text.lstrip().startswith("<?xml"):
        # The text was decoded already: what its declaration says of bytes is over.
        strict = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False)
        try:
            root = etree.fromstring(text.encode(), parser=strict)
            if not any(isinstance(each, etree._Entity) for each in root.iter()):
                return root
        except etree.XMLSyntaxError:
            pass
    parser = lxml_html.HTMLParser(encoding="utf-8", huge_tree=True, remove_pis=True)
    if not text.strip():
        return None
    try:
        root = lxml_html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:
        return None
    if any("xcessive depth" in (entry.message or "") for entry in parser.error_log):
        inventory.miss("damaged-parts", "place where elements are nested deeper than can be read")
    for each in [each for each in root.itersiblings() if isinstance(each.tag, str)]:
        # What stands behind the end of a page, or a second page. Browsers show it below the first.
        root.append(each)
    release_voids(root)
    return root


def _look_for_text(page: SeenPage) -> Iterator[bool]:
    for element in page.kinds:
        for kind, text in find_texts(page, element):
            if kind not in UNSEEN and text.strip():
                yield True
    yield from (bool(text) for text in page.within.values())


def _title(root: Any) -> str:
    for element in root.iter():
        if tag_of(element) == "title" and tag_of(element.getparent()) != "svg":
            return element.text or ""
    return ""


class _PageWriter:
    """The second pass."""

    def __init__(self, page: SeenPage, inventory: Inventory, writer: Writer, depth: int) -> None:
        self._page = page
        self._inventory = inventory
        self._writer = writer
        self._depth = depth
        self._pre = 0
        self._struck = 0
        self._numbers: list[_Count | None] = []

    def render(self, root: Any) -> None:
        walk = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
        for event, element in walk:
            kind = self._page.kinds.get(element)
            tag = tag_of(element)
            if event == "start":
                if kind is None or kind in UNSEEN:
                    if self._page.bases[element] == kind:
                        walk.skip_subtree()
                    self._pass_over(tag, element)
                else:
                    self._write_beginning(tag, element, kind)
                continue
            if not tag and kind is not None:
                self._put(kind, own_text(self._page, element))
            if tag and kind is not None and kind not in UNSEEN:
                self._put(kind, self._page.around.get(element, ("", ""))[1])
                self._end(tag, element)
            self._follow(element)
        self._writer.end_block()

    def _write_beginning(self, tag: str, element: Any, kind: Kind) -> None:
        self._start(tag, element)
        self._put(kind, self._page.around.get(element, ("", ""))[0])
        self._put(kind, own_text(self._page, element))
        for own, text in find_attributes(element):
            self._put(own, text)
        if tag == "img" and not element.get("alt"):
            self._write_within(element, "drawing")

    def _pass_over(self, tag: str, element: Any) -> None:
        """An element that is not shown may stand between two that are."""
        if tag in _BLOCKS:
            self._writer.end_block()
        if self._page.kinds[element] == "copy":
            self._write_within(element, "text")

    def _write_within(self, element: Any, kind: Kind) -> None:
        within = self._page.within.get(element)
        if within and self._depth < FRAMES_DEPTH_MAX:
            read_page(within, self._inventory, self._writer, kind, depth=self._depth + 1)
        elif within:
            self._inventory.miss("frames", "pages within pages, deeper than can be read")

    def _follow(self, element: Any) -> None:
        parent = element.getparent()
        around = self._page.kinds.get(parent) if parent is not None else None
        if around is not None and around not in UNSEEN and element.tail:
            self._put(around, element.tail)

    def _put(self, kind: Kind, text: str) -> None:
        if not text:
            return
        self._inventory.keep(kind, text)
        if not self._pre:
            text = _SPACE.sub(" ", text)
        if self._struck and text.strip():
            core = text.strip()
            before, _, after = text.partition(core)
            text = f"{before}~~{core}~~{after}"
        self._writer.text(text)

    def _start(self, tag: str, element: Any) -> None:
        writer = self._writer
        if tag in _PRE:
            writer.open_pre()
            self._pre += 1
        elif tag in ("table", "tr", "td", "th"):
            self._start_table(tag, element)
        elif tag == "blockquote":
            writer.open_quote()
        elif tag in ("ol", "ul", "menu", "dir"):
            writer.end_block()
            self._numbers.append(_Count.of(element) if tag == "ol" else None)
        elif tag == "li":
            self._open_item(element)
        elif _HEADING.fullmatch(tag):
            writer.open_heading(int(tag[1]))
        else:
            self._start_line(tag, element)

    def _start_line(self, tag: str, element: Any) -> None:
        writer = self._writer
        if tag == "br":
            writer.text("\n")
        elif tag in _STRUCK:
            self._struck += 1
        elif tag in _BLOCKS or self._page.displays[element] in _LINES:
            writer.end_block()
        elif tag in _APART or self._page.displays[element].startswith("inline-"):
            writer.text(" ")
        else:
            writer.text({"msqrt": "√", "mfenced": element.get("open", "(")}.get(tag, ""))
        if tag == "noframes":
            read_page(element.text or "", self._inventory, writer, depth=self._depth + 1)
        if tag == "rt":
            writer.text("(")

    def _start_table(self, tag: str, element: Any) -> None:
        if not self._is_data(element):
            self._writer.end_block()
        elif tag == "table":
            self._writer.open_table()
        elif tag == "tr":
            self._writer.open_row()
        else:
            self._writer.open_cell()

    def _close_table(self, tag: str, element: Any) -> None:
        if tag == "table":
            self._writer.close_table()
        else:
            # A cell down to the end of its table says 0 rows.
            rows = _number(element.get("rowspan"), 1) or ROWS_MAX
            self._writer.close_cell(_number(element.get("colspan"), 1), rows)

    def _is_data(self, element: Any) -> bool:
        """Whether the table that a row or cell is in is one of data."""
        table = element
        while table is not None and tag_of(table) != "table":
            table = table.getparent()
        return table is not None and table not in self._page.layouts

    def _end(self, tag: str, element: Any) -> None:
        writer = self._writer
        if tag in _PRE:
            self._pre -= 1
            writer.close_pre()
        elif tag in ("table", "td", "th") and self._is_data(element):
            self._close_table(tag, element)
        elif tag in ("blockquote", "li"):
            writer.close_container()
        elif tag in ("ol", "ul", "menu", "dir"):
            writer.end_block()
            self._numbers.pop()
        elif tag in _STRUCK:
            self._struck -= 1
        elif tag in _BLOCKS or self._page.displays[element] in _LINES:
            writer.end_block()
        else:
            self._end_inline(tag, element)

    def _end_inline(self, tag: str, element: Any) -> None:
        if tag == "rt":
            self._writer.text(")")
        if tag in _APART or self._page.displays[element].startswith("inline-"):
            self._writer.text(" ")
        parent = element.getparent()
        between = _BETWEEN.get(tag_of(parent) if parent is not None else "")
        if tag == "mfenced":
            self._writer.text(element.get("close", ")"))
        elif parent is not None and tag_of(parent) == "mfenced":
            between = (parent.get("separators") or ",").strip()[:1]
        if between and element.getnext() is not None:
            self._writer.text(between)

    def _open_item(self, element: Any) -> None:
        count = self._numbers[-1] if self._numbers else None
        if count is None:
            self._writer.open_item("-")
            return
        count.next = _number(element.get("value"), count.next)
        form = _NUMBERS.get(element.get("type") or count.form, "")
        if form:
            # Markdown has no mark for letters.
            self._writer.open_item("-")
            self._writer.text(f"{write_number(count.next, form)}. ")
        else:
            self._writer.open_item(f"{count.next}.")
        count.next += count.step


@dataclass(slots=True)
class _Count:
    """The numbers of one list."""

    next: int
    step: int
    form: str

    @classmethod
    def of(cls, listing: Any) -> _Count:
        is_reversed = listing.get("reversed") is not None
        items = sum(tag_of(each) == "li" for each in listing) if is_reversed else 1
        return cls(_number(listing.get("start"), items), -1 if is_reversed else 1, listing.get("type") or "")


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"\d{1,9}", text.strip()) else default
