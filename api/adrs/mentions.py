"""How a text refers to other decision records: links, labels like ADR-12, relations in front matter.

Owns what becomes a link of a record, and the bounds on that. What counts as a reference is in `references.py`,
what a sentence says of it in `sentences.py`. Pure. Refuses to resolve: `api/adrs/links.py` and
`api/imports/links.py` know what exists. Used by `api/adrs/document.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, cast

import msgspec

from connectors.reading import numbers
from connectors.reading.claims import STATEMENT_CHARS_MAX
from connectors.reading.dates import find_dates
from connectors.reading.fields import Fields
from connectors.reading.front_matter import is_nothing, normalise_key
from connectors.reading.inline import TARGET_CHARS_MAX, Inline, flatten
from connectors.reading.numbers import number_of_path
from connectors.reading.references import LABEL, Reference, find_references, is_label, is_record_target
from connectors.reading.sentences import KINDS, LinkKind, fold_sentence, lead_of, mark_references, relations
from connectors.reading.structure import Block, Structure
from connectors.reading.titles import PLACEHOLDER
from connectors.reading.words import WORDS, Words

__all__ = ["LINKS_MAX", "TARGET_CHARS_MAX", "LinkKind", "Mention", "links_of", "number_of_path", "strip_mentions"]

LINKS_MAX: Final = 500
"""Links of one document. The fullest real index that was seen has about 150."""

_INLINE_LINK = re.compile(r"(?<!!)\[([^\[\]]{0,400})\]\(<?([^()\s<>]{1,1000})>?(?:\s+[\"'][^\"')]{0,200}[\"'])?\)")
_REFERENCE = re.compile(r" {0,3}\[([^\[\]]{1,200})\]:\s{1,8}<?(\S{1,1000}?)>?(?:\s|$)")
_MARKDOWN_NAME = re.compile(r"[^\s()<>\[\]]{1,1000}\.(?:md|markdown)\b[^\s()<>\[\]]{0,200}", re.IGNORECASE)
_SPELLED_LABEL = re.compile(r"\b(?:ADR|(?:architecture )?decision(?: record)?)s?[-_ #]{0,3}\d{1,5}\b", re.IGNORECASE)
_BARE_NUMBER = re.compile(
    r"(?<![\w.,#/:№-])(?:0\d{2,4}(?![\w%/-]|[.,]\d)|\d{1,4}(?=\s*(?:$|[.,;)\]）。，；\n]\D|[.,;)\]）。，；]$)))"
)
_TARGET_KEYS: Final = ("target", "ref", "path", "href", "url", "id", "adr", "number")
_RANK: Final[Mapping[LinkKind, int]] = {
    "superseded-by": 3, "supersedes": 3, "amended-by": 2, "amends": 2, "depends-on": 1, "relates-to": 0,
}  # fmt: skip


class Mention(msgspec.Struct, frozen=True):
    """`target` is as written: a path, a URL, or a label like `ADR-12`."""

    kind: LinkKind
    target: str
    label: str = ""

    @property
    def number(self) -> int | None:
        """The number that the target names, by its file name or as a label."""
        return _read_target(self.target).number

    @property
    def counted(self) -> str:
        """How the log counts what the target names: `7`, `51.1`, `2025-1`; empty when the target has no number."""
        return _read_target(self.target).label

    @property
    def counts(self) -> tuple[int | None, str | None]:
        """The number that the target names, or the label that is more than a number: `ADR-51.1` is never 51."""
        label = self.counted
        return (int(label), None) if label.isascii() and label.isdigit() else (None, label or None)


def _read_target(target: str) -> numbers.Numbered:
    if label := LABEL.fullmatch(target):
        return numbers.number_at(label["number"]) or numbers.NOT_NUMBERED
    return numbers.read_number(target)


class Self(NamedTuple):
    """The record that speaks: `label` is how its log counts it, and `code` what the log calls its records, where that
    is not ADR."""

    label: str = ""
    code: str = ""

    def is_meant(self, target: str) -> bool:
        """Whether a target is this record's own label, which leads nowhere."""
        return bool(self.label) and is_label(target, self.code) and _read_target(target).label == self.label


def links_of(structure: Structure, fields: Fields, own: Self, words: Words = WORDS) -> Iterator[Mention]:
    """Links of a text to other records, each target once, by its strongest kind, in order of first mention."""
    best: dict[str, Mention] = {}
    for link in (*_mentions(structure, own, words), *_bare_numbers(fields, words)):
        key = link.target.casefold()
        if len(link.target) > TARGET_CHARS_MAX or own.is_meant(link.target):
            continue
        known = best.get(key)
        if (known is None and len(best) < LINKS_MAX) or (known is not None and _RANK[known.kind] < _RANK[link.kind]):
            best[key] = link
    yield from best.values()


def _mentions(structure: Structure, own: Self, words: Words) -> Iterator[Mention]:
    front = structure.front
    for key, values in front.values.items():
        kind = _relation_kind(key, words)
        for value in values if kind is not None else ():
            yield from _relation(kind or "relates-to", value)
        if kind is None and words.meaning(key) == "status":
            yield from _read_inline(flatten(", ".join(values))[0], own, None, words)
    for relation in front.relations:
        target = next((relation[key] for key in _TARGET_KEYS if relation.get(key)), "")
        name = next(
            (relation[key] for key in ("type", "kind", "rel", "relation") if relation.get(key)), relation["list"]
        )
        yield from _relation(_relation_kind(name, words) or "relates-to", target)
    yield from _in_blocks(structure, own, words)


def _relation_kind(name: str, words: Words) -> LinkKind | None:
    found = words.meaning(normalise_key(name))
    return next((kind for kind in KINDS if kind == found), None)


def _relation(kind: LinkKind, value: str) -> Iterator[Mention]:
    """A link from front matter, where a bare number or file name is the whole value."""
    bare = value.strip()
    dated = find_dates(bare[:TARGET_CHARS_MAX])
    if is_nothing(bare) or PLACEHOLDER.search(bare) or (dated and dated[0].end - dated[0].start == len(bare)):
        return
    inline = flatten(bare)[0]
    links = find_references(inline) if " " in bare or "]" in bare or "," in bare else []
    if links:
        yield from (Mention(kind, link.target, link.label) for link in links)
        return
    parts = [part.strip() for part in bare.split(",")] if re.fullmatch(r"[\d\s,]+", bare) else [bare]
    for part in parts:
        yield Mention(kind, f"ADR-{int(part)}" if part.isascii() and part.isdigit() and len(part) <= 5 else part, "")


def _bare_numbers(fields: Fields, words: Words) -> Iterator[Mention]:
    """Numbers without a label name records only in a field that speaks of others, and in a status behind its verb:
    "Superseded by 0012". Elsewhere they count something."""
    for name in ("status", *KINDS[1:]):
        for each in (each for field in fields.all(name) for each in field.statements):
            inline = each.inline.cut(0, STATEMENT_CHARS_MAX)
            found = list(_find_numbers(inline))
            others = find_references(inline)
            found = [each for each in found if not any(o.start <= each.start < o.end for o in others)]
            folded = mark_references(fold_sentence(inline.text, words), found)
            if name == "status":
                kinds = relations(folded, found, words, written=inline.text)
                said = zip(kinds, found, strict=True)
                yield from (Mention(kind, number.target) for kind, number in said if kind != "relates-to")
            elif not re.search(r"\w", mark_references(folded, others)):
                yield from (Mention(cast("LinkKind", name), number.target) for number in found)


def _find_numbers(inline: Inline) -> Iterator[Reference]:
    """Numbers that may be those of records: written with zeros before them, or with no word behind that they count."""
    text = inline.text
    for match in _BARE_NUMBER.finditer(text):
        found = numbers.number_at(text, match.start())
        linked = any(link.start < match.end() and link.end > match.start() for link in inline.links)
        if found and found.number is not None and found.end == match.end() and not linked:
            yield Reference(*match.span(), f"ADR-{found.number}", "")


# ---------------------------------------------------------------------------------------------------------- in blocks


def _in_blocks(structure: Structure, own: Self, words: Words) -> Iterator[Mention]:
    heading: LinkKind | None = None
    opening: LinkKind | None = None
    for block in structure.blocks:
        if block.kind == "heading":
            name = _relation_kind(block.text, words)
            heading, opening = None if words.is_section(block.text) else name or lead_of(block.text, words), None
        if block.kind == "table":
            yield from _in_table(block, own, heading, words)
            continue
        if block.kind == "text":
            opening = lead_of(block.text, words) if block.text.rstrip().endswith((":", "：")) else None
        elif block.kind == "item" and block.text.rstrip().endswith((":", "：")):
            opening = lead_of(block.text, words) or opening
        lead = None if block.kind == "heading" else (opening if block.kind == "item" else None) or heading
        yield from _read_inline(block.inline, own, lead, words)


def _in_table(block: Block, own: Self, heading: LinkKind | None, words: Words) -> Iterator[Mention]:
    """The first cell of a row, or the head of a column, may say what the cells are."""
    heads = [lead_of(cell.text, words) for cell in block.rows[0]] if block.rows else []
    for place, row in enumerate(block.rows):
        key = lead_of(row[0].text, words) if row and not find_references(row[0], own.code) else None
        for at, cell in enumerate(row):
            column = heads[at] if place and at < len(heads) else None
            yield from _read_inline(cell, own, (key if at else None) or column or heading, words)


def _read_inline(inline: Inline, own: Self, lead: LinkKind | None, words: Words) -> Iterator[Mention]:
    """The references of one paragraph, with what its sentences say of them."""
    references = find_references(inline, own.code)
    if not references:
        return
    folded = fold_sentence(inline.text, words)
    others: list[Reference] = []
    parts: list[str] = []
    at = 0
    for each in references:
        if own.is_meant(each.target):
            parts += folded[at : each.start], "this".ljust(each.end - each.start)[: each.end - each.start]
            at = max(at, each.end)
        else:
            others.append(each)
    folded = "".join([*parts, folded[at:]])
    for each, kind in zip(
        others, relations(mark_references(folded, others), others, words, lead, inline.text), strict=True
    ):
        yield Mention(kind, each.target, each.label)


# -------------------------------------------------------------------------------------------------- without mentions


def strip_mentions(text: str) -> str:
    """`text` without what refers to another record: links to Markdown files and to labels with their words, labels,
    file names, relations in front matter. Titles that are quoted as words stay: only who knows them finds them.

    For evaluations that ask whether two records belong together without being told.
    """
    return "\n".join(_strip_line(line) for line in text.split("\n") if not _is_mention(line))


def _is_mention(line: str) -> bool:
    """Whether nothing but a reference is in the line: a link definition, or a relation of front matter."""
    definition = _REFERENCE.match(line)
    key, colon, _ = line.partition(":")
    return (bool(colon) and len(key) < 60 and _relation_kind(key, WORDS) is not None) or (
        definition is not None and is_record_target(definition[2], definition[1])
    )


def _strip_line(line: str) -> str:
    line = _INLINE_LINK.sub(lambda match: " " if is_record_target(match[2], match[1]) else match[0], line)
    return _MARKDOWN_NAME.sub(" ", _SPELLED_LABEL.sub(" ", line))
