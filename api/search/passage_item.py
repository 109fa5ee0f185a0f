"""Does the search find the passage that a sentence was taken out of? Pure.

Owns which sentence of each ADR is asked for, its text without that sentence, and whether a passage is the right one.
The sentence stands nowhere in what is searched, so nothing finds it by being the same: what is left of its paragraph is
to be found, by what it is about. Nobody has to judge anything, and any history is an evaluation. A question is longer
than what people type, and about one thing. Refuses I/O: who runs it is `adriatic/cli/evaluate_passage.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from api.adrs.mentions import strip_mentions
from api.research.sentences import split_sentences
from api.research.words import stems_of
from api.search.known_item import HistoryEnd, as_query
from connectors.history import Fault, FileChange

WORDS: Final = (6, 25)
"""Words that count of a sentence that is asked for: fewer fit everything, more are a list."""
CHARS_MAX: Final = 400
"""A longer one is no sentence, and is not what anybody types."""
LEFT_WORDS_MIN: Final = 3
"""Words that count that must be left of its paragraph: a heading alone does not say which passage is the right one."""

_PARAGRAPH_END: Final = re.compile(r"\n[^\S\n]*\n|\Z")
_MARK: Final = re.compile(r"(?:^|\n)[^\S\n]*(?:[-*+•>]|\d+[.)])[^\S\n]*\Z")
_MARKUP: Final = re.compile(r"://|\]\(|\||<|`{3}")


class PassageItem(msgspec.Struct, frozen=True):
    """One ADR without a sentence. `query` is the sentence, None where none can be asked for: then the text is only
    something that could be found wrongly. `place` is where the rest of its paragraph ends or begins, in characters of
    `text`."""

    path: str
    text: str
    query: str | None = None
    place: int = 0

    def is_right(self, start: int, end: int) -> bool:
        """Whether a passage from `start` to `end` is the one that the sentence was in."""
        return self.query is not None and start <= self.place <= end


def items(changes: Iterable[FileChange | Fault], seed: int) -> list[PassageItem]:
    """The ADRs at the end of a history, in the order of paths. The same seed chooses the same sentences."""
    chance = random.Random(seed)  # noqa: S311 - a sample, not a secret
    texts = [(path, text, document.role == "record") for path, text, document in HistoryEnd(changes).texts()]
    found = []
    for at, (path, text, is_record) in enumerate(texts):
        fit = [item for item in _find_items(path, text) if is_record]
        chance.shuffle(fit)
        others = [other for place, (_, other, _) in enumerate(texts) if place != at]
        # What another ADR says word for word has two right answers.
        alone = (item for sentence, item in fit if not any(sentence in other for other in others))
        found.append(next(alone, PassageItem(path, text)))
    return found


def _find_items(path: str, text: str) -> Iterator[tuple[str, PassageItem]]:
    """Each sentence that may be asked for, and the ADR without it."""
    start = 0
    for end in (match.end() for match in _PARAGRAPH_END.finditer(text)):
        for each in split_sentences(text[start:end]):
            if _can_be_asked(each.plain) and text.count(each.plain) == 1:
                item = _cut(path, text, (start, end), (start + each.start, start + each.end), as_query(each.plain))
                if item is not None:
                    yield each.plain, item
        start = end


def _can_be_asked(sentence: str) -> bool:
    """Whether it says enough in words alone, and names no record: one that is named is found by its name."""
    low, high = WORDS
    return (
        len(sentence) <= CHARS_MAX
        and low <= len(stems_of(sentence)) <= high
        and _MARKUP.search(sentence) is None
        and strip_mentions(sentence) == sentence
    )


def _cut(path: str, text: str, paragraph: tuple[int, int], sentence: tuple[int, int], query: str) -> PassageItem | None:
    """The ADR without a sentence and the mark of its item; None where too little is left of the paragraph."""
    before, after = text[: sentence[0]], text[sentence[1] :]
    if mark := _MARK.search(before, max(0, paragraph[0] - 1)):
        before = before[: mark.start()]
        after = after if after.lstrip(" ").startswith("\n") else f"\n{after.lstrip()}"
    before, after = before.rstrip(" "), after if after.lstrip(" ").startswith("\n") else after.lstrip(" ")
    between = " " if before[-1:].strip() and after[:1].strip() else ""
    left = before[paragraph[0] :].strip(), text[sentence[1] : paragraph[1]].strip()
    if len(stems_of(" ".join(left))) < LEFT_WORDS_MIN:
        return None
    place = len(before.rstrip()) if left[0] else len(before) + len(after) - len(after.lstrip())
    return PassageItem(path, f"{before}{between}{after}", query, place)
