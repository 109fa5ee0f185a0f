"""How a text refers to other decision records: links, labels like ADR-12, relations in front matter.

Owns what counts as a reference, its kind (the words before it say which), the number in a file name, and the bounds on
all of that. Pure. Refuses to resolve: `api/adrs/links.py` and `api/imports/links.py` know what exists. Used by
`api/adrs/document.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from api.adrs.outline import Outline

LinkKind = Literal["relates-to", "supersedes", "superseded-by", "amends", "amended-by", "depends-on"]

LINKS_MAX: Final = 500
"""Links of one document. The fullest real index that was seen has about 150."""
TARGET_CHARS_MAX: Final = 1_000
"""A link's target is part of an index key in Postgres, which holds at most about 2 700 bytes."""
PLAIN_CHARS_MAX: Final = 1_200
"""Longest text that is read for its words: four times the longest title."""

PATH_NUMBER = re.compile(r"(?:(?:adr|rfc|dr|decision)[-_ ]?)?(\d{1,5})(?=$|[-_. ])", re.IGNORECASE)
DATED = re.compile(r"\d{4}[-_]\d{2}[-_]\d{2}|\d{8}")
PLACEHOLDER = re.compile(r"\w\W{0,9}\|\W{0,9}\w|^\W{0,3}[{<][^}>]{1,200}[}>]\W{0,3}$")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = re.compile(r"\bADR[-_ #]{0,2}0{0,4}(\d{1,5})\b", re.IGNORECASE)
_INLINE_LINK = re.compile(r"(?<!!)\[([^\[\]]{0,400})\]\(<?([^()\s<>]{1,1000})>?(?:\s+[\"'][^\"')]{0,200}[\"'])?\)")
_REFERENCE = re.compile(r" {0,3}\[([^\[\]]{1,200})\]:\s{1,8}<?(\S{1,1000}?)>?(?:\s|$)")
_MARKDOWN_PATH = re.compile(r"\.(?:md|markdown)(?:[?#]|$)", re.IGNORECASE)
_MARKDOWN_NAME = re.compile(r"[^\s()<>\[\]]{1,1000}\.(?:md|markdown)\b[^\s()<>\[\]]{0,200}", re.IGNORECASE)
_SPELLED_LABEL = re.compile(r"\b(?:ADR|(?:architecture )?decision(?: record)?)s?[-_ #]{0,3}\d{1,5}\b", re.IGNORECASE)
_EMPHASIS = re.compile(r"\*\*|__")

_LINK_WORDS: Final[tuple[tuple[LinkKind, str], ...]] = (
    (
        "superseded-by",
        r"super[sc]+ee?ded[ -](?:by|in|with)|superceded[ -](?:by|in|with)|replaced[ -]by|obsoleted[ -]by",
    ),
    ("supersedes", r"super[sc]+ee?des|supercedes|supersed(?:e|ing)|replaces|obsoletes"),
    ("amended-by", r"amended[ -](?:by|in)|updated[ -]by|extended[ -]by|modified[ -]by"),
    ("amends", r"amends|updates|extends|modifies"),
    ("depends-on", r"depends[ -]on|requires|builds[ -]on|based[ -]on"),
)
_LINK_KIND = re.compile(
    "|".join(f"(?P<k{i}>\\b(?:{words}))" for i, (_, words) in enumerate(_LINK_WORDS)), re.IGNORECASE
)
_LINK_REACH_CHARS = 60
"""How far before a link its verb may stand: "Superseded, for the reasons given in the review, by [ADR-9]"."""


class Mention(msgspec.Struct, frozen=True):
    """`target` is as written: a path, a URL, or a label like `ADR-12`."""

    kind: LinkKind
    target: str
    label: str = ""

    @property
    def number(self) -> int | None:
        """The number that the target names, by its file name or as a label."""
        label = _LABEL.fullmatch(self.target)
        return int(label[1]) if label else number_of_path(self.target)


def number_of_path(path: str) -> int | None:
    """The number in a file name (`0012-use-kafka.md`, `adr-12.md`), or None: dates and other long numbers are none."""
    name = path.split("?", 1)[0].split("#", 1)[0].rstrip("/").replace("\\", "/").rsplit("/", 1)[-1]
    if DATED.match(name):
        return None
    match = PATH_NUMBER.match(name)
    return int(match[1]) if match else None


def plain(text: str) -> str:
    """Text as it reads: links as their labels, no emphasis, no control characters, single spaces."""
    text = _INLINE_LINK.sub(r"\1", text[:PLAIN_CHARS_MAX])
    return " ".join(CONTROL.sub(" ", _EMPHASIS.sub("", text)).split())


def links_of(out: Outline, own_number: int | None) -> Iterator[Mention]:
    """Links of a text to other records, each target once, by its strongest kind, in order of first mention."""
    best: dict[str, Mention] = {}
    for link in _mentions(out):
        key = link.target.casefold()
        own = _LABEL.fullmatch(link.target)
        if len(link.target) > TARGET_CHARS_MAX or (own and int(own[1]) == own_number):
            continue
        known = best.get(key)
        new = known is None and len(best) < LINKS_MAX
        if new or (known is not None and known.kind == "relates-to" != link.kind):
            best[key] = link
    yield from best.values()


def _mentions(out: Outline) -> Iterator[Mention]:
    for key, kind in _RELATION_KEYS.items():
        for target in out.front_matter.get(key, ()):
            yield from _relation(kind, target)
    for relation in out.relations:
        target = next((relation[key] for key in ("target", "ref", "path", "id") if relation.get(key)), "")
        yield from _relation(_relation_kind(relation.get("type") or relation.get("kind") or relation["list"]), target)
    if status := ", ".join(out.front_matter.get("status", ())):
        yield from _line_links(status)
    for line in out.prose:
        if "[" in line or "ADR" in line or "adr" in line:
            yield from _line_links(line)


def strip_mentions(text: str) -> str:
    """`text` without what refers to another record: links to Markdown files and to labels with their words, labels,
    file names, relations in front matter. Titles that are quoted as words stay: only who knows them finds them.

    For evaluations that ask whether two records belong together without being told.
    """
    return "\n".join(_strip_line(line) for line in text.split("\n") if not _is_mention(line))


def _is_mention(line: str) -> bool:
    """Whether nothing but a reference is in the line: a link definition, or a relation of front matter."""
    definition = _REFERENCE.match(line)
    key = line.partition(":")[0].strip().lower().replace("_", "-").replace(" ", "-")
    return key in _RELATION_KEYS or (definition is not None and bool(_record_target(definition[2], definition[1])))


def _strip_line(line: str) -> str:
    line = _INLINE_LINK.sub(lambda match: " " if _record_target(match[2], match[1]) else match[0], line)
    return _MARKDOWN_NAME.sub(" ", _SPELLED_LABEL.sub(" ", line))


_RELATION_KEYS: Final[dict[str, LinkKind]] = {
    "supersedes": "supersedes",
    "replaces": "supersedes",
    "superseded-by": "superseded-by",
    "replaced-by": "superseded-by",
    "amends": "amends",
    "amended-by": "amended-by",
    "depends-on": "depends-on",
    "related": "relates-to",
    "relates-to": "relates-to",
    "related-to": "relates-to",
}


def _relation_kind(name: str) -> LinkKind:
    return _RELATION_KEYS.get(name.strip().lower().replace("_", "-").replace(" ", "-"), "relates-to")


def _relation(kind: LinkKind, value: str) -> Iterator[Mention]:
    """A link from front matter, where a bare number or file name is the whole value."""
    bare = value.strip()
    links = [Mention(kind, link.target, link.label) for link in _line_links(bare) if " " in bare or "]" in bare]
    if links:
        yield from links
    elif bare and not PLACEHOLDER.search(bare):
        yield Mention(kind, f"ADR-{int(bare)}" if bare.isascii() and bare.isdigit() and len(bare) <= 5 else bare, "")


def _line_links(line: str) -> Iterator[Mention]:
    """Inline links, link definitions and labels like ADR-12, with the kind that the words before them say."""
    taken: list[tuple[int, int]] = []
    for match in _INLINE_LINK.finditer(line):
        taken.append(match.span())
        if target := _record_target(match[2], match[1]):
            yield Mention(_kind_before(line, match.start()), target, plain(match[1]))
    if (definition := _REFERENCE.match(line)) and (target := _record_target(definition[2], definition[1])):
        taken.append(definition.span())
        yield Mention("relates-to", target, plain(definition[1]))
    spans = iter([*taken, (len(line) + 1, len(line) + 1)])
    span = next(spans)
    for match in _LABEL.finditer(line):
        while match.start() >= span[1]:
            span = next(spans)
        if match.end() <= span[0]:
            yield Mention(_kind_before(line, match.start()), match[0], match[0])


def _record_target(target: str, label: str) -> str | None:
    """The target when it may be another record: a Markdown file anywhere, or anything whose label is like ADR-12."""
    if target.startswith(("#", "mailto:")) or not (_MARKDOWN_PATH.search(target) or _LABEL.search(label)):
        return None
    return target


def _kind_before(line: str, at: int) -> LinkKind:
    kind: LinkKind = "relates-to"
    for match in _LINK_KIND.finditer(line, max(0, at - _LINK_REACH_CHARS), at):
        kind = _LINK_WORDS[int((match.lastgroup or "k0")[1:])][0]
    return kind
