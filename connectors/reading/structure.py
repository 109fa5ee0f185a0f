"""The structure of a text: headings, paragraphs, list items with their boxes, tables, in the order in which they stand.

Owns a tolerant, linear-time reading. Blocks and links are where CommonMark says they are, but for what would hide a
text from its reader: a fence or a comment that never closes is none. HTML is read as the blocks that it would show.
AsciiDoc and reStructuredText come here as Markdown with the same lines (`markup.py`). Refuses to judge: any text has a
structure. Next: `fields.py`, `sentences.py` and `titles.py`, which read meaning in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, fence
from markdown_it.token import Token

from connectors.history.model import Markup
from connectors.reading.front_matter import FrontMatter, read_front_matter
from connectors.reading.inline import INVISIBLE, Inline, References, Tag, find_references, flatten
from connectors.reading.markup import to_markdown

_LINE_END = re.compile(r"\r\n|\n|\r")
_CLOSING_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})[ \t]*$")
_BOX = re.compile(r"\[([ xX✓✔*]?)\](?=\s|$)\s*")
_CLASSED_HEADING = re.compile(r"\s*\{[#.:][^{}]{0,100}\}\s*$")

BlockKind = Literal["heading", "text", "item", "table", "code"]


class Block(msgspec.Struct, frozen=True):
    """One block. `line` is the index of its first line. `ticked` is an item's box, None where it has none. `rows` are
    a table's, its head first. `quoted`: in a block quote; `depth`: how many lists it is in."""

    kind: BlockKind
    line: int
    lines: int = 1
    inline: Inline = Inline()
    level: int = 0
    depth: int = 0
    ticked: bool | None = None
    quoted: bool = False
    rows: tuple[tuple[Inline, ...], ...] = ()

    @property
    def text(self) -> str:
        return self.inline.text


class Structure(msgspec.Struct, frozen=True):
    """`lines` are all lines as written, without their ends."""

    lines: tuple[str, ...]
    blocks: tuple[Block, ...]
    front: FrontMatter = FrontMatter()

    @property
    def headings(self) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.kind == "heading")

    def with_paths(self) -> Iterator[tuple[Block, str]]:
        """Each block, and the headings above it but for the first level: "Context > Constraints". A heading is under
        itself."""
        above: dict[int, str] = {}
        for block in self.blocks:
            if block.kind == "heading":
                above = {level: text for level, text in above.items() if level < block.level} | {
                    block.level: block.text
                }
            yield block, " > ".join(text for level, text in sorted(above.items()) if level > 1)

    def section_at(self, at: int) -> tuple[Block, ...]:
        """The blocks under the heading at a place, up to the next heading of any level."""
        end = at + 1
        while end < len(self.blocks) and self.blocks[end].kind != "heading":
            end += 1
        return self.blocks[at + 1 : end]


def split_lines(text: str) -> list[str]:
    """Lines without their ends. Only the three line ends of text files count, not form feeds and their like."""
    return _LINE_END.split(text)


def read_structure(text: str, markup: Markup = "markdown") -> Structure:
    """Read `text`. Never raises; linear in its length."""
    lines = split_lines(text.removeprefix("\ufeff"))
    front = read_front_matter(lines)
    shown = [INVISIBLE.sub("", line) for line in lines[front.lines :]]
    prose = _blank_comments([""] * front.lines + to_markdown(shown, markup))
    tokens = _PARSER.parse("\n".join(prose), {"closing": _find_closing_fences(prose)})
    return Structure(tuple(lines), tuple(_Builder(find_references(prose)).build(tokens)), front)


def _blank_comments(lines: list[str]) -> list[str]:
    """The lines, HTML comments blanked. One that never closes is none."""
    joined = "\n".join(lines)
    parts: list[str] = []
    at = 0
    while (start := joined.find("<!--", at)) >= 0 and (end := joined.find("-->", start + 4)) >= 0:
        parts += joined[at:start], "\n" * joined.count("\n", start, end)
        at = end + 3
    return "".join([*parts, joined[at:]]).split("\n")


# -------------------------------------------------------------------------------------------------------- the parser


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


def _parser() -> MarkdownIt:
    """A parser of blocks. Comments are gone when it is asked; tags and link definitions come as text, and `inline`
    reads both."""
    parser = MarkdownIt("commonmark").enable("table").disable(["html_block", "reference", "inline", "text_join"])
    parser.block.ruler.at("fence", _parse_fence, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    return parser


_PARSER: Final = _parser()


class _Builder:
    """Makes blocks of tokens. Tables may come in both syntaxes; one in HTML can span several paragraphs."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._quotes = 0
        self._lists = 0
        self._rows: list[list[Inline]] = []
        self._table_line = -1

    def build(self, tokens: Sequence[Token]) -> Iterator[Block]:
        markdown_rows: list[list[Inline]] = []
        table_line = 0
        for at, token in enumerate(tokens):
            match token.type:
                case "blockquote_open" | "blockquote_close":
                    self._quotes += token.nesting
                case "list_item_open" | "list_item_close":
                    self._lists += token.nesting
                case "table_open":
                    markdown_rows, table_line = [], token.map[0] if token.map else 0
                case "tr_open":
                    markdown_rows.append([])
                case "inline" if tokens[at - 1].type in ("th_open", "td_open"):
                    markdown_rows[-1].append(flatten(token.content, self._references)[0])
                case "table_close":
                    yield self._table(markdown_rows, table_line)
                case "inline":
                    yield from self._text(token, tokens[at - 1])
                case "fence" | "code_block" if token.map:
                    yield from self._code(token)
                case _:
                    pass
        yield from self._close_table()

    def _table(self, rows: Sequence[Sequence[Inline]], line: int) -> Block:
        return Block("table", line, len(rows), rows=tuple(map(tuple, rows)), quoted=self._quotes > 0)

    def _code(self, token: Token) -> Iterator[Block]:
        assert token.map is not None
        start, end = token.map
        if token.type == "code_block":  # indented by chance as often as meant: a reader sees its words
            yield self._block("text", flatten(token.content, self._references)[0], start, end - start)
        else:
            yield Block("code", start, end - start)

    def _block(self, kind: BlockKind, inline: Inline, line: int, lines: int) -> Block:
        return Block(kind, line, lines, inline, depth=self._lists, quoted=self._quotes > 0)

    def _text(self, token: Token, opening: Token) -> Iterator[Block]:
        start, end = token.map or (0, 1)
        ticked: bool | None = None
        content = token.content
        in_item = self._lists > 0
        if in_item and (box := _BOX.match(content)):
            ticked, content = bool(box[1].strip()), content[box.end() :]
        if opening.type == "heading_open" and not opening.level and "\n" not in token.content:
            inline, _ = flatten(_CLASSED_HEADING.sub("", content.strip()), self._references)
            start, end = opening.map or (start, end)  # the rule under a title is its line, too
            yield Block("heading", start, end - start, inline, level=int(opening.tag[1:]))
            return
        inline, tags = flatten(content, self._references)
        if not tags and self._table_line < 0:
            kind: BlockKind = "item" if in_item else "text"
            yield msgspec.structs.replace(self._block(kind, inline, start, end - start), ticked=ticked)
            return
        yield from self._html(inline, tags, start)

    def _html(self, inline: Inline, tags: Sequence[Tag], line: int) -> Iterator[Block]:
        """Cut a paragraph at its tags of blocks, as a browser would show it."""
        at, level, piece_line, next_line = 0, 0, line, line
        for tag in [*tags, Tag(len(inline.text), "", False)]:
            piece = inline.cut(at, tag.at)
            piece_line, next_line = next_line, next_line + piece.text.count("\n")
            at = tag.at
            if self._rows and self._rows[-1] and (tag.name in ("td", "th", "tr", "table", "") or tag.closing):
                self._rows[-1][-1] = self._rows[-1][-1].join(piece)
            elif self._table_line < 0 and piece.text.strip():
                kind: BlockKind = "heading" if level else "item" if self._lists else "text"
                if tag.name == "summary" and tag.closing:  # what a fold is called stands out as its heading would
                    piece = msgspec.structs.replace(piece.strip(), strong=((0, len(piece.text.strip())),))
                block = self._block(kind, piece.strip(), piece_line, 1 + piece.text.strip().count("\n"))
                yield msgspec.structs.replace(block, level=level)
            level = 0
            if tag.name == "table" and not tag.closing:
                self._table_line, self._rows = piece_line, []
            elif tag.name == "table":
                yield from self._close_table()
            elif tag.name == "tr" and not tag.closing and self._table_line >= 0:
                self._rows.append([])
            elif tag.name in ("td", "th") and not tag.closing and self._rows:
                self._rows[-1].append(Inline())
            elif re.fullmatch("h[1-6]", tag.name) and not tag.closing:
                level = int(tag.name[1])

    def _close_table(self) -> Iterator[Block]:
        rows = [[cell.strip() for cell in row] for row in self._rows if row]
        if rows:
            yield self._table(rows, self._table_line)
        self._rows, self._table_line = [], -1
