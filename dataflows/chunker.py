"""Cuts the text of an ADR into the passages that search finds: pure, deterministic, with boundaries that stay put.

Owns where a passage begins and ends, its heading path, the text as embedded and that text's hash. Refuses I/O, the
clock and any knowledge of tenants or versions. Who calls it: `dataflows.index` and, to check it, `dataflows.oracle`.

The cut decides the bill, because a passage whose text did not change is not embedded again. So boundaries follow the
document: a heading always may begin a passage, blocks (paragraph, list, table, fenced code) are kept whole while they
fit, and inside a long section the cut depends on the blocks around it, not on what happened a page earlier.
`bench/chunker.py` prints how many passages survive real edits.

Invariants, tested with generated documents:
- `body == text[char_start:char_end]`; passages are in order and do not overlap;
- every character outside passages is white space, front matter, or the byte order mark at the start;
- no body is longer than `BODY_CHARS_MAX`; a document has at least one passage, so that its title is always findable.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from markdown_it import MarkdownIt

from runtime.errors import Unprocessable
from schemas.analysis import Analysed
from schemas.languages import read_languages
from schemas.stems import analyse_in

BODY_CHARS_MIN = 150
"""Sections shorter than this join short neighbours: a lone "## Status: accepted" is noise to every ranking."""
BODY_CHARS_TARGET = 220
"""A passage is filled up to about this size. Measured on the edits of six real histories (`bench/chunker.py`): passages
that survive an edit 71 % at 1200, 79 % at 400, 83 % at 220, 84 % at 200, while the characters that go through the model
stay the same (2.43 to 2.57 million). Finding an ADR by its removed title (`adriatic eval known-item`), nDCG@10 by both
arms joined: 0.928 at 400, 0.929 at 250, 0.927 at 200; by meaning alone 0.911, 0.911, 0.900."""
BODY_CHARS_MAX = 1_200
"""Hard cap, also for one endless line, and about what the default embedder reads (256 word pieces). A block between
target and cap (a table, a listing) stays whole."""
TITLE_CHARS_MAX = 300
"""Longest title that is repeated in front of every passage; a longer one is cut there, not in the ADR."""
HEADING_CHARS_MAX = 120
"""Longest heading in a path."""
CHUNKS_MAX = 20_000
"""Most chunks of one document. The worst text of the API's largest size (1 MiB, headings without text between just long
enough sections) has about 14 000."""
PREFIX_VERSION = b"1\n"
"""Hashed in front of the text: a new rule for composing the embedded text must change every hash."""

_MARKDOWN: Final = MarkdownIt("commonmark").disable(["reference", "inline", "text_join"])
"""A parser of blocks alone: words are not its business. A link definition is a paragraph, as it is text to find, and a
table is one too, as it has no blank lines."""
_LINE_END = re.compile(r"\r\n|\n|\r")
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n")
_FRONT_MATTER_END = re.compile(r"^(?:---|\.\.\.)[ \t]*\r?(?:\n|\Z)", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage. Offsets are in characters of the whole text; `text` is what gets embedded, `text_hash` names it."""

    ordinal: int
    heading_path: str
    body: str
    char_start: int
    char_end: int
    text: str
    text_hash: bytes


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _HeadedBlocks:
    """A heading and the blocks up to the next heading. `path` includes the heading itself."""

    path: tuple[str, ...]
    blocks: tuple[_Span, ...]

    @property
    def span(self) -> _Span:
        return _Span(self.blocks[0].start, self.blocks[-1].end)


def chunk(title: str, text: str) -> list[Chunk]:
    """The passages of `text`, in order.

    Raises `Unprocessable` for a document with more than `CHUNKS_MAX` passages.
    """
    pieces = [piece for group in _groups(_sections(title, text)) for piece in _pieces(text, group)]
    if len(pieces) > CHUNKS_MAX:
        raise Unprocessable(
            f"the document has {len(pieces)} passages, more than {CHUNKS_MAX}", hint="split it into several documents"
        )
    if not pieces:
        pieces = [((), _Span(len(text), len(text)))]
    return [_chunk(ordinal, title, path, text, span) for ordinal, (path, span) in enumerate(pieces)]


def text_to_embed(title: str, heading_path: str, body: str) -> str:
    """The text as embedded: title and heading path give a passage its context. Line ends are normalised, so that a
    change of line ends alone costs nothing."""
    head = " > ".join(filter(None, (title_line(title), heading_path)))
    return f"{head}\n{body}".replace("\r\n", "\n")


def title_line(title: str) -> str:
    """The title as it stands in front of every passage: one line, bounded, never blank (a blank text has no vector)."""
    return _one_line(title, TITLE_CHARS_MAX) or "Untitled"


def analyse_chunks(title: str, parts: Sequence[Chunk]) -> list[Analysed]:
    """What each of all passages of a source of that title is found by. The title is in the source's language, a passage
    and its headings may be in another one."""
    of_source, of_parts = read_languages(title, [part.body for part in parts])
    return [
        Analysed(
            analyse_in(of_source, title) if part.ordinal == 0 else "",
            analyse_in(language, part.heading_path),
            analyse_in(language, part.body),
        )
        for part, language in zip(parts, of_parts, strict=True)
    ]


def text_hash(text: str) -> bytes:
    """The address of an embedded text."""
    return hashlib.sha256(PREFIX_VERSION + text.encode("utf-8", "surrogatepass")).digest()


def _chunk(ordinal: int, title: str, path: tuple[str, ...], text: str, span: _Span) -> Chunk:
    heading_path = " > ".join(path)
    body = text[span.start : span.end]
    embedded = text_to_embed(title, heading_path, body)
    return Chunk(ordinal, heading_path, body, span.start, span.end, embedded, text_hash(embedded))


# --- blocks and sections --------------------------------------------------------------------------------------------


def _sections(title: str, text: str) -> list[_HeadedBlocks]:
    """Headings with their blocks. What stands before the first heading is a section with the empty path."""
    sections: list[_HeadedBlocks] = []
    blocks: list[_Span] = []
    path: list[tuple[int, str]] = []
    root = _one_line(title, HEADING_CHARS_MAX)

    def close() -> None:
        if blocks:
            names = tuple(name for _level, name in path if name and name != root)
            sections.append(_HeadedBlocks(names, tuple(blocks)))
            blocks.clear()

    for span, level, name in _blocks(text):
        if level:
            close()
            path = [*(entry for entry in path if entry[0] < level), (level, name)]
        blocks.append(span)
    close()
    return sections


def _blocks(text: str) -> Iterator[tuple[_Span, int, str]]:
    """The outermost blocks, without white space around them, each with level and text of a heading, or 0 and "".

    A list stands together with the sentence that introduces it, and so does whatever has no blank line between, but
    for headings and fenced code.
    """
    start = _body_start(text)
    bounds = [start, *(match.end() for match in _LINE_END.finditer(text, start)), len(text)]
    open_: _Span | None = None
    for first, last, level, name, alone in _outermost(text[start:], len(bounds) - 1):
        span = _trim(text, bounds[first], bounds[last])
        if span is None:
            continue
        if open_ is not None and (alone or _LINE_END.findall(text, open_.end, span.start)[1:]):
            yield open_, 0, ""
            open_ = None
        if alone:
            yield span, level, name
        else:
            open_ = _Span(open_.start if open_ else span.start, span.end)
    if open_ is not None:
        yield open_, 0, ""


def _outermost(body: str, lines: int) -> Iterator[tuple[int, int, int, str, bool]]:
    """First line, line after the last, level and text of a heading, and whether it stands alone.

    What the parser leaves out is there too: it stops at a depth of nesting that nobody writes.
    """
    tokens = _MARKDOWN.parse(body)
    done = 0
    for number, token in enumerate(tokens):
        if token.level or not token.map:
            continue
        first, last = token.map
        if first > done:
            yield done, first, 0, "", False
        # One of several lines is a paragraph with a rule drawn under it.
        is_heading = token.type == "heading_open" and "\n" not in tokens[number + 1].content
        level = int(token.tag[1:]) if is_heading else 0
        name = _one_line(tokens[number + 1].content, HEADING_CHARS_MAX) if is_heading else ""
        yield first, last, level, name, is_heading or token.type == "fence"
        done = last
    if lines > done:
        yield done, lines, 0, "", False


def _trim(text: str, start: int, end: int) -> _Span | None:
    """The lines between two places, without the blank ones around them and without space at the end; if any."""
    part = text[start:end]
    if not part.strip():
        return None
    lead = len(part) - len(part.lstrip())
    begin = max(part.rfind("\n", 0, lead), part.rfind("\r", 0, lead)) + 1
    return _Span(start + begin, start + len(part.rstrip()))


def _body_start(text: str) -> int:
    """Behind a byte order mark, which would hide what the first line is, and behind front matter, which is data about
    the ADR and has its own columns."""
    start = 1 if text.startswith("\ufeff") else 0
    if not _FRONT_MATTER.match(text, start):
        return start
    end = _FRONT_MATTER_END.search(text, text.index("\n") + 1)
    return end.end() if end else start


def _one_line(raw: str, chars_max: int) -> str:
    return " ".join(raw.split())[:chars_max].rstrip()


# --- packing --------------------------------------------------------------------------------------------------------


def _groups(sections: Sequence[_HeadedBlocks]) -> Iterator[tuple[_HeadedBlocks, ...]]:
    """Neighbouring sections that share a passage. Only short ones do, and only with each other: a changed status then
    costs the little passage that holds it, not the first page of the context."""
    group: list[_HeadedBlocks] = []
    size = 0
    for section in sections:
        if group and max(size, section.span.size) >= BODY_CHARS_MIN:
            yield tuple(group)
            group, size = [], 0
        group.append(section)
        size += section.span.size
    if group:
        yield tuple(group)


def _pieces(text: str, group: tuple[_HeadedBlocks, ...]) -> Iterator[tuple[tuple[str, ...], _Span]]:
    path = _common(section.path for section in group)
    blocks = [part for section in group for block in section.blocks for part in _cut(text, block)]
    for span in _pack(blocks):
        yield path, span


def _pack(blocks: Iterable[_Span]) -> Iterator[_Span]:
    start = end = -1
    for block in blocks:
        if start >= 0 and block.end - start > BODY_CHARS_TARGET:
            yield _Span(start, end)
            start = -1
        if start < 0:
            start = block.start
        end = block.end
    if start >= 0:
        yield _Span(start, end)


def _common(paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    first, *others = paths
    shared = len(first)
    for other in others:
        pairs = zip(first, other, strict=False)
        shared = min(shared, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return first[:shared]


def _cut(text: str, block: _Span) -> Iterator[_Span]:
    """A block as it is when it fits, else in parts: at line ends, or between sentences, or between words, or hard."""
    if block.size <= BODY_CHARS_MAX:
        yield block
        return
    start = block.start
    while block.end - start > BODY_CHARS_TARGET:
        window = text[start : start + BODY_CHARS_TARGET]
        cut = start + _best_cut(window)
        end = start + len(text[start:cut].rstrip())
        if end > start:
            yield _Span(start, end)
        start = cut
    if text[start : block.end].strip():
        yield _Span(start, block.end)


def _best_cut(window: str) -> int:
    half = len(window) // 2
    line_end = window.rfind("\n", half) + 1
    if line_end > 0:
        return line_end
    sentence_ends = [match.end() for match in _SENTENCE.finditer(window, half)]
    if sentence_ends:
        return sentence_ends[-1]
    space = max(window.rfind(" ", half), window.rfind("\t", half)) + 1
    return space or len(window)
