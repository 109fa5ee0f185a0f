"""What stands in a line: the text as it reads, its links, what is struck out or set strong, the tags of HTML in it.

Owns the reading of one paragraph, heading or cell, by CommonMark's rules. Refuses to know blocks. Used by
`structure.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import unescape
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote

import msgspec
from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

T = TypeVar("T")

PIECE_CHARS_MAX: Final = 20_000
"""Characters that are read at once for their markup. A paragraph is shorter; the parser's time grows faster than the
text where brackets are never closed."""
TARGET_CHARS_MAX: Final = 1_000
"""A link's target is part of an index key in Postgres, which holds at most about 2 700 bytes."""

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
"""What shows nothing by itself, and would stand within a word or before a heading. Joiners stay: letters need them."""
_BADGE = re.compile(r"/badge/(?P<path>[^?#\s]{1,300})|/static/v1\?(?P<query>[^#\s]{1,300})")
_MARKED = re.compile(r"[\[\]*_~`<>&\\|]|://")
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,14})\b([^<>]{0,2000})>")
_HREF = re.compile(r"\bhref\s{0,3}=\s{0,3}[\"']?([^\"'\s>]{1,1000})", re.IGNORECASE)
_ALT = re.compile(r"\balt\s{0,3}=\s{0,3}[\"']([^\"'>]{1,300})", re.IGNORECASE)
_SRC = re.compile(r"\bsrc\s{0,3}=\s{0,3}[\"']?([^\"'\s>]{1,1000})", re.IGNORECASE)
_DEFINITION = re.compile(r" {0,3}\[([^\[\]]{1,200})\]:\s{1,8}<?(\S{1,1000}?)>?(?:\s+[\"'(].{0,200}[\"')])?\s*$")
_BLOCK_TAGS: Final = frozenset(
    (
        *("table", "tr", "td", "th", "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "details", "summary", "section"),
        *("ul", "ol", "dl", "dt", "center", "blockquote", "pre", "thead", "tbody", "header", "article", "hr"),
    )
)
_STRONG_TAGS: Final = frozenset(("b", "strong", "em", "i", "mark", "u"))
_QUIET_TAGS: Final = frozenset(
    (
        *("span", "font", "sub", "sup", "small", "big", "code", "kbd", "samp", "var", "abbr", "cite", "q", "tt", "img"),
        *("label", "input", "picture", "source", "video", "svg", "path", "figure", "figcaption", "nobr", "wbr", "ins"),
        *("tfoot", "col", "colgroup", "caption", "main", "nav", "footer", "aside", "time", "button", "iframe", "bdi"),
    )
)
"""Tags that show nothing by themselves; their text is text."""
_STRUCK_TAGS: Final = frozenset(("del", "s", "strike"))


class InlineLink(msgspec.Struct, frozen=True):
    """`start` and `end` are where its label stands in the text."""

    start: int
    end: int
    target: str


class Tag(msgspec.Struct, frozen=True):
    """A tag of a block of HTML, where it stood in the text."""

    at: int
    name: str
    closing: bool


class Inline(msgspec.Struct, frozen=True):
    """`text` as it reads, line ends kept. `strong` are the places that emphasis sets apart. What is struck out is gone;
    `struck` says that there was some. `links` and `strong` stand in their order, and none begins within another: where
    a part of them is looked for, it is found without asking each."""

    text: str = ""
    links: tuple[InlineLink, ...] = ()
    strong: tuple[tuple[int, int], ...] = ()
    struck: bool = False

    def cut(self, start: int, end: int) -> Inline:
        """The part between two places."""
        links = self.links[
            bisect_right(self.links, start, key=lambda link: link.end) : bisect_left(
                self.links, end, key=lambda link: link.start
            )
        ]
        strong = self.strong[
            bisect_right(self.strong, start, key=lambda place: place[1]) : bisect_left(
                self.strong, end, key=lambda place: place[0]
            )
        ]
        return Inline(
            self.text[start:end],
            tuple(
                InlineLink(max(link.start, start) - start, min(link.end, end) - start, link.target) for link in links
            ),
            tuple((max(low, start) - start, min(high, end) - start) for low, high in strong),
            self.struck,
        )

    def render(self) -> str:
        """The text with its links, as Markdown has them."""
        parts: list[str] = []
        at = 0
        for link in self.links:
            if link.start >= at:
                parts += self.text[at : link.start], f"[{self.text[link.start : link.end]}]({link.target})"
                at = link.end
        return "".join([*parts, self.text[at:]]).strip()

    def strip(self) -> Inline:
        start = len(self.text) - len(self.text.lstrip())
        return self.cut(start, max(start, len(self.text.rstrip())))

    def join(self, other: Inline) -> Inline:
        shift = len(self.text)
        return Inline(
            self.text + other.text,
            (*self.links, *(InlineLink(link.start + shift, link.end + shift, link.target) for link in other.links)),
            (*self.strong, *((low + shift, high + shift) for low, high in other.strong)),
            self.struck or other.struck,
        )

    def split_lines(self) -> Iterator[Inline]:
        at = 0
        for line in self.text.split("\n"):
            yield self.cut(at, at + len(line))
            at += len(line) + 1


References = Mapping[str, str]
"""Targets of link definitions, by their names as `find_references` writes them."""


class _AsWritten(MarkdownIt):
    """A target is what its author wrote: it names a file, and nothing is shown in a browser."""

    def normalizeLink(self, url: str) -> str:  # noqa: N802 - the library's name
        return url

    def validateLink(self, url: str) -> bool:  # noqa: N802 - as above
        return bool(url)


_INLINE: Final = _AsWritten("commonmark", {"html": True}).enable("strikethrough")


def find_references(lines: Iterable[str]) -> References:
    """Find the link definitions of a text. The first of a name counts."""
    found: dict[str, str] = {}
    for line in lines:
        if line.lstrip().startswith("[") and (definition := _DEFINITION.match(line)):
            found.setdefault(normalizeReference(definition[1]), definition[2])
    return found


def flatten(content: str, references: References | None = None) -> tuple[Inline, Sequence[Tag]]:
    """Read the markup of one paragraph. Never raises."""
    content = INVISIBLE.sub("", CONTROL.sub(" ", content))
    if not _MARKED.search(content):
        return Inline(content), ()
    writer = _Writer(references or {})
    for piece in _pieces(content):
        writer.write(piece)
    return writer.inline(), writer.tags


def _pieces(content: str) -> Iterator[str]:
    while len(content) > PIECE_CHARS_MAX:
        cut = content.rfind("\n", 0, PIECE_CHARS_MAX) + 1 or PIECE_CHARS_MAX
        yield content[:cut]
        content = content[cut:]
    yield content


def keep_apart(found: Iterable[T], span: Callable[[T], tuple[int, int]]) -> tuple[T, ...]:
    """What was found in its order, without what begins within another."""
    kept: list[T] = []
    for each in sorted(found, key=lambda each: (span(each)[0], -span(each)[1])):
        if not kept or span(each)[0] >= span(kept[-1])[1]:
            kept.append(each)
    return tuple(kept)


class _Writer:
    """Writes the text of tokens, and remembers where what stood."""

    def __init__(self, references: References) -> None:
        self.tags: list[Tag] = []
        self._env = {"references": {name: {"href": href, "title": ""} for name, href in references.items()}}
        self._parts: list[str] = []
        self._at = 0
        self._links: list[InlineLink] = []
        self._strong: list[tuple[int, int]] = []
        self._open: list[tuple[str, int, str]] = []
        self._struck = 0
        self._was_struck = False

    def inline(self) -> Inline:
        strong = keep_apart((place for place in self._strong if place[0] < place[1]), lambda place: place)
        links = keep_apart(self._links, lambda link: (link.start, link.end))
        return Inline("".join(self._parts), links, strong, self._was_struck)

    def write(self, content: str) -> None:
        lines: list[str] = []
        for line in content.split("\n"):
            definition = _DEFINITION.match(line) if line.lstrip().startswith("[") else None
            if definition is None:
                lines.append(line)
                continue
            self._parse("\n".join(lines) + "\n" if lines else "")
            lines = []
            self._links.append(InlineLink(self._at, self._at + len(definition[1]), _target(definition[2])))
            self._put(definition[1] + "\n")
        self._parse("\n".join(lines))

    def _parse(self, content: str) -> None:
        if not content:
            return
        if not _MARKED.search(content):
            self._put(content)
            return
        for token in _INLINE.parseInline(content, self._env)[0].children or ():
            self._take(token)
        if content.endswith("\n"):
            self._put("\n")
        self._open, self._struck = [], 0

    def _put(self, text: str) -> None:
        if self._struck:
            self._was_struck = True
        else:
            self._parts.append(text)
            self._at += len(text)

    def _take(self, token: Token) -> None:
        match token.type:
            case "softbreak" | "hardbreak":
                self._put("\n")
            case "link_open":
                self._open.append(("a", self._at, str(token.attrGet("href") or "")))
            case "link_close":
                self._close("a")
            case "strong_open" | "em_open":
                self._open.append(("b", self._at, ""))
            case "strong_close" | "em_close":
                self._close("b")
            case "s_open":
                self._struck += 1
            case "s_close":
                self._struck = max(0, self._struck - 1)
            case "html_inline":
                self._tag(token.content)
            case "image":
                self._put(_picture(token.content, str(token.attrGet("src") or "")))
            case _:
                self._put(unescape(token.content) if token.type == "text_special" else token.content)

    def _close(self, kind: str) -> None:
        for at in range(len(self._open) - 1, -1, -1):
            name, start, target = self._open[at]
            if name == kind:
                del self._open[at]
                if kind == "a":
                    self._links.append(InlineLink(start, self._at, _target(target)))
                else:
                    self._strong.append((start, self._at))
                return

    def _tag(self, written: str) -> None:
        tag = _TAG.match(written)
        if tag is None:
            return
        closing, name = bool(tag[1]), tag[2].lower()
        if name == "br":
            self._put("\n")
        elif name in ("li", "dd"):
            self._put(": " if name == "dd" and not closing else "\n")
        elif name == "a":
            href = _HREF.search(tag[3])
            if closing:
                self._close("a")
            elif href:
                self._open.append(("a", self._at, unescape(href[1])))
        elif name in _STRONG_TAGS:
            self._close("b") if closing else self._open.append(("b", self._at, ""))
        elif name in _STRUCK_TAGS:
            self._struck = max(0, self._struck + (-1 if closing else 1))
        elif name == "img":
            alt, src = _ALT.search(tag[3]), _SRC.search(tag[3])
            self._put(_picture(unescape(alt[1]) if alt else "", unescape(src[1]) if src else ""))
        elif name in _BLOCK_TAGS:
            self.tags.append(Tag(self._at, name, closing))
        elif name not in _QUIET_TAGS:
            self._put(written)  # no tag of HTML: "<number>. <title>" of a template


def _picture(alt: str, source: str) -> str:
    """The words that stand for a picture. A badge is a picture of words: those are in its address."""
    badge = _BADGE.search(source)
    if badge is None:
        return alt
    if badge["query"]:
        query = parse_qs(badge["query"])
        shown = [*query.get("label", ())[:1], *query.get("message", ())[:1]]
    else:
        path = badge["path"].removesuffix(".svg").replace("--", "\0").replace("__", "\1")
        if "-" not in path:
            path = path.strip("/").replace("/", "-")  # badgen.net: /badge/status/accepted/green
        parts = [unquote(part).replace("_", " ").replace("\1", "_") for part in path.split("-")]
        shown = [part.replace("\0", "-").strip() for part in (parts[:-1] if len(parts) > 1 else parts)]
    if len(shown) > 1 and re.fullmatch(r"adr\W?\d{0,5}", shown[0].strip().casefold()):
        shown[0] = "Status"  # a badge of the record shows its status, and no number
    return CONTROL.sub(" ", ": ".join(filter(None, shown))) or alt


def _target(href: str) -> str:
    return CONTROL.sub("", href)
