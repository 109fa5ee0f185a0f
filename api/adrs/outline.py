"""The outline of a Markdown text: front matter, headings, and the lines that are prose.

Owns a tolerant, linear-time reading of what the recognition of a decision record needs. Where headings and code are is
said by CommonMark's rules, but for what would hide a text from its reader: a fence or a comment that never closes is
none. Refuses to judge: any text has an outline. Next: `api/adrs/document.py`, which reads meaning in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, fence
from markdown_it.token import Token

FRONT_MATTER_LINES_MAX = 200
"""Front matter is a few lines; a text that opens with `---` and never closes it must not be swallowed whole."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_CLOSING_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})[ \t]*$")
_KEY = re.compile(r"([A-Za-z][\w .-]{0,60}?)[ \t]{0,8}:(?:\s+(.*)|$)")


class Heading(msgspec.Struct, frozen=True):
    """`line` is its index, `lines` how many it takes (a setext heading takes two)."""

    level: int
    text: str
    line: int
    lines: int = 1


class Outline(msgspec.Struct, frozen=True):
    """`lines` are all lines without their ends; `prose[i]` is line i, blank if it is front matter, code or comment."""

    lines: tuple[str, ...]
    prose: tuple[str, ...]
    headings: tuple[Heading, ...]
    front_matter: Mapping[str, tuple[str, ...]] = {}
    relations: tuple[Mapping[str, str], ...] = ()
    front_matter_lines: int = 0
    front_matter_unclosed: bool = False

    def section(self, heading: Heading) -> tuple[str, ...]:
        """The prose under a heading, up to the next heading of any level."""
        start = heading.line + heading.lines
        end = next((other.line for other in self.headings if other.line >= start), len(self.prose))
        return self.prose[start:end]

    @property
    def preamble(self) -> tuple[str, ...]:
        """The prose before the second heading: where dialects put status, date and people as single lines."""
        end = self.headings[1].line if len(self.headings) > 1 else len(self.prose)
        return self.prose[:end]


def split_lines(text: str) -> list[str]:
    """Lines without their ends. Only the three line ends of text files count, not form feeds and their like."""
    return _LINE_END.split(text)


def outline(text: str) -> Outline:
    """Read `text`. Never raises; linear in its length."""
    lines = split_lines(text.removeprefix("\ufeff"))
    front_end, unclosed = _front_matter_end(lines)
    front_matter, relations = _front_matter(lines[1 : front_end - 1]) if front_end else ({}, ())
    prose = _blank_comments([""] * front_end + lines[front_end:])
    tokens = _BLOCKS.parse("\n".join(prose), {"closing": _find_closing_fences(prose)})
    for token in tokens:
        if token.type == "fence" and token.map:
            start, end = token.map
            prose[start:end] = [""] * (end - start)
    return Outline(
        lines=tuple(lines),
        prose=tuple(prose),
        headings=tuple(_headings(tokens)),
        front_matter=front_matter,
        relations=relations,
        front_matter_lines=front_end,
        front_matter_unclosed=unclosed,
    )


def _front_matter_end(lines: list[str]) -> tuple[int, bool]:
    """How many lines the front matter takes (0: none), and whether one seems to have been opened, yet never closed."""
    if lines[0].rstrip() != "---" or len(lines) < 2:
        return 0, False
    for index in range(1, min(len(lines), FRONT_MATTER_LINES_MAX)):
        if lines[index].rstrip() in ("---", "..."):
            return index + 1, False
    return 0, _KEY.match(lines[1]) is not None


def _front_matter(lines: list[str]) -> tuple[dict[str, tuple[str, ...]], tuple[Mapping[str, str], ...]]:
    """The part of YAML that people write here: `key: value`, lists in both forms, and lists of small maps."""
    values: dict[str, tuple[str, ...]] = {}
    relations: list[dict[str, str]] = []
    key = ""
    for line in lines:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith(("- ", "-\t")):
            item = stripped[1:].strip()
            if relation := _relation(item, key):
                relations.append(relation)
            elif key:
                values[key] = (*values.get(key, ()), *_scalars(item))
        elif line[0] in " \t":
            pair = _KEY.match(stripped)
            if pair and relations:
                relations[-1][_normal_key(pair[1])] = unquote(pair[2] or "")
        elif pair := _KEY.match(stripped):
            key = _normal_key(pair[1])
            values[key] = tuple(_scalars(pair[2] or ""))
    return values, tuple(relations)


def _relation(item: str, key: str) -> dict[str, str] | None:
    """The first line of a small map in the list `key`; None when the item is none."""
    pair = _KEY.match(item)
    if pair and _normal_key(pair[1]) in ("type", "kind", "target", "id", "ref", "path"):
        return {_normal_key(pair[1]): unquote(pair[2] or ""), "list": key}
    return None


def _normal_key(key: str) -> str:
    return key.strip().lower().replace("_", "-").replace(" ", "-")


def _scalars(value: str) -> Iterator[str]:
    value = value.strip()
    if value.startswith("[") and value.endswith("]") and "|" not in value:
        yield from filter(None, (unquote(item) for item in value[1:-1].split(",")))
    elif value:
        yield unquote(value)


def unquote(value: str) -> str:
    """A YAML scalar without its quotes, or without the comment that follows it."""
    value = value.strip()
    if len(value) > 1 and value[0] in "\"'":
        closing = value.find(value[0], 1)
        return value[1:closing] if closing > 0 else value[1:]
    return value.split(" #", 1)[0].rstrip()


def _blank_comments(lines: list[str]) -> list[str]:
    """The lines, HTML comments blanked. One that never closes is none."""
    joined = "\n".join(lines)
    parts: list[str] = []
    at = 0
    while (start := joined.find("<!--", at)) >= 0 and (end := joined.find("-->", start + 4)) >= 0:
        parts += joined[at:start], "\n" * joined.count("\n", start, end)
        at = end + 3
    return "".join([*parts, joined[at:]]).split("\n")


# ---------------------------------------------------------------------------------------------- headings and code


def _find_closing_fences(lines: Sequence[str]) -> dict[str, list[int]]:
    """Find for each mark of a fence the length of the longest that could close one, at or after each line."""
    longest = {"`": [0] * (len(lines) + 1), "~": [0] * (len(lines) + 1)}
    for index in range(len(lines) - 1, -1, -1):
        for after in longest.values():
            after[index] = after[index + 1]
        if closing := _CLOSING_FENCE.match(lines[index]):
            after = longest[closing[1][0]]
            after[index] = max(after[index], len(closing[1]))
    return longest


def _parse_fence(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """CommonMark's rule, but for a fence that never closes: it would hide the rest of the text."""
    at = state.bMarks[start_line] + state.tShift[start_line]
    mark = state.src[at : at + 1]
    longest = state.env["closing"].get(mark)
    if longest is None or longest[start_line + 1] < state.skipCharsStr(at, mark) - at:
        return False
    return fence(state, start_line, end_line, silent)


def _blocks() -> MarkdownIt:
    """A parser of blocks alone. Comments are gone when it is asked, other HTML is text like any, and so is a link
    definition."""
    parser = MarkdownIt("commonmark").disable(["html_block", "reference", "inline", "text_join"])
    parser.block.ruler.at("fence", _parse_fence, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


_BLOCKS: Final = _blocks()


def _headings(tokens: Sequence[Token]) -> Iterator[Heading]:
    """Those of the text itself, not of a quotation or a list in it."""
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.level or not opening.map or "\n" in inline.content:
            continue  # with a line end: a longer paragraph with a rule drawn under it
        start, end = opening.map
        yield Heading(int(opening.tag[1:]), inline.content.strip(), start, end - start)
