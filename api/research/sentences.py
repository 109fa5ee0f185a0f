"""Sentences of a passage, with where each stands in it. Pure.

Owns where a sentence ends: at a full stop, at the end of a paragraph, an item or a row. What is quoted is one or more
of them as they stand, so that nothing is cut off in front of a "not".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_END: Final = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+|\n\s*\n|\n(?=\s*(?:[-*+•|>#]|\d+[.)])\s?)|(?<=:)\s*\n")
_ABBREVIATED: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|z\.B|d\.h|bzw|ca|no|nr|fig|resp)|\b[A-Z])\.$", re.IGNORECASE
)
_HEADING: Final = re.compile(r"\s*(?:#{1,6}\s|={3,}|-{3,}|```|\|[\s:|-]+\|?\s*$)")
_MARKS: Final = re.compile(r"^\s*(?:[-*+•>]\s+|\d+[.)]\s+|\[[ xX]\]\s+)+")


class Sentence(NamedTuple):
    """A sentence as it stands: `text` is the passage's characters from `start` to `end`."""

    start: int
    end: int
    text: str

    @property
    def plain(self) -> str:
        """The text without the mark of an item before it."""
        return _MARKS.sub("", self.text)


def split_sentences(passage: str) -> list[Sentence]:
    """The sentences in order, without headings and rules."""
    return [each for each in _split(passage) if not _HEADING.match(each.text)]


def _split(passage: str) -> Iterator[Sentence]:
    start = 0
    for match in _END.finditer(passage):
        if _ABBREVIATED.search(passage[start : match.start()]):
            continue
        yield from _trim(passage, start, match.start() + len(match[0]) - len(match[0].lstrip("\"'”’)]")))
        start = match.end()
    yield from _trim(passage, start, len(passage))


def _trim(passage: str, start: int, end: int) -> Iterator[Sentence]:
    text = passage[start:end]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    if text:
        yield Sentence(start, start + len(text), text)
