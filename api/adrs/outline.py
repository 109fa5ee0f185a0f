"""The outline of a Markdown text: front matter, headings, and the lines that are prose.

Owns a tolerant, linear-time reading of just as much Markdown as the recognition of a decision record needs: it is no
Markdown parser, and it refuses to judge: any text has an outline. Next: `api/adrs/document.py`, which reads meaning in
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FRONT_MATTER_LINES_MAX = 200
"""Front matter is a few lines; a text that opens with `---` and never closes it must not be swallowed whole."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)(.*)")
_ATX_CLOSE = re.compile(r"(?:^|[ \t])#{1,100}[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NOT_A_PARAGRAPH = re.compile(r"\s*(?:$|[-*+>|#]|\d{1,9}[.)]\s|`{3}|~{3})")
_KEY = re.compile(r"([A-Za-z][\w .-]{0,60}?)[ \t]{0,8}:(?:\s+(.*)|$)")


@dataclass(frozen=True, slots=True)
class Heading:
    """`line` is its index, `lines` how many it takes (a setext heading takes two)."""

    level: int
    text: str
    line: int
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Outline:
    """`lines` are all lines without their ends; `prose[i]` is line i, blank if it is front matter, code or comment."""

    lines: tuple[str, ...]
    prose: tuple[str, ...]
    headings: tuple[Heading, ...]
    front_matter: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
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
    prose = _blank_comments([""] * front_end + _blank_code(lines[front_end:]))
    return Outline(
        lines=tuple(lines),
        prose=tuple(prose),
        headings=tuple(_headings(prose)),
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
            _list_item(stripped[1:].strip(), key, values, relations)
        elif line[0] in " \t":
            pair = _KEY.match(stripped)
            if pair and relations:
                relations[-1][_normal_key(pair[1])] = unquote(pair[2] or "")
        elif pair := _KEY.match(stripped):
            key = _normal_key(pair[1])
            values[key] = tuple(_scalars(pair[2] or ""))
    return values, tuple(relations)


def _list_item(item: str, key: str, values: dict[str, tuple[str, ...]], relations: list[dict[str, str]]) -> None:
    pair = _KEY.match(item)
    if pair and _normal_key(pair[1]) in ("type", "kind", "target", "id", "ref", "path"):
        relations.append({_normal_key(pair[1]): unquote(pair[2] or ""), "list": key})
    elif key:
        values[key] = (*values.get(key, ()), *_scalars(item))


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


def _blank_code(lines: list[str]) -> list[str]:
    """The lines, fenced code blanked. A fence that never closes is no fence: an open one would hide the rest."""
    result = list(lines)
    opened: tuple[str, int] | None = None
    for index, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            if fence[1][0] == "~" or "`" not in line[fence.end() :]:
                opened = fence[1], index
        elif fence[1][0] == opened[0][0] and len(fence[1]) >= len(opened[0]) and not line[fence.end() :].strip():
            result[opened[1] : index + 1] = [""] * (index + 1 - opened[1])
            opened = None
    return result


def _blank_comments(lines: list[str]) -> list[str]:
    """The lines, HTML comments blanked. As with fences, a comment that never closes is none."""
    joined = "\n".join(lines)
    parts: list[str] = []
    at = 0
    while (start := joined.find("<!--", at)) >= 0 and (end := joined.find("-->", start + 4)) >= 0:
        parts += joined[at:start], "\n" * joined.count("\n", start, end)
        at = end + 3
    return "".join([*parts, joined[at:]]).split("\n")


def _headings(prose: list[str]) -> Iterator[Heading]:
    for index, line in enumerate(prose):
        if atx := _ATX.match(line):
            yield Heading(len(atx[1]), _ATX_CLOSE.sub("", atx[2].strip()).strip(), index)
        elif index and (setext := _SETEXT.match(line)) and not _NOT_A_PARAGRAPH.match(prose[index - 1]):
            above = prose[index - 2] if index > 1 else ""
            if above.strip() and not _ATX.match(above) and not _SETEXT.match(above):
                continue  # the last line of a longer paragraph: a rule drawn under it, not a heading
            yield Heading(1 if setext[1][0] == "=" else 2, prose[index - 1].strip(), index - 1, 2)
