"""A question taken apart: what has to be answered for it to be answered. Pure, by rules that need no model.

Owns the rules: each sentence that asks is a question; a conjunction before a word that asks begins another one; a
comparison asks for each of what it compares, and for both together. What none of them takes apart is one question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from api.research.words import stems_of

PARTS_MAX: Final = 6
"""Questions that one is taken apart into. Each is searched for: a person who asks for more asks for a report."""
PART_CHARS_MIN: Final = 8
"""What is shorter is no question: "Why?" stands for the one before it."""

_ASKS: Final = (
    r"(?:what|when|where|which|who|whom|whose|why|how|is|are|was|were|do|does|did|can|could|should|has|have|"
    r"was|wann|wo|warum|wieso|weshalb|welche[rsnm]?|wer|wen|wem|wie|quoi|quand|où|comment|pourquoi|quel(?:le)?s?|qui)"
)
_SENTENCE: Final = re.compile(r"(?<=[?？;])\s+|\n+|(?<=[.!])(?<!\bvs\.)(?<!\be\.g\.)\s+(?=\S)")
_JOINED: Final = re.compile(rf"[,;]?\s+(?:and|und|et|but|aber|mais|as well as|sowie)\s+(?={_ASKS}\b)", re.IGNORECASE)
_END: Final = r"[\s?!.]*$"
_COMPARED: Final = tuple(
    re.compile(pattern + _END, re.IGNORECASE)
    for pattern in (
        r"^(?P<lead>.*\bdifferences?\s+between)\s+(?P<one>.+?)\s+and\s+(?P<other>.+?)",
        r"^(?P<lead>.*\bcompar(?:e|ison of|ing))\s+(?P<one>.+?)\s+(?:and|with|to|against)\s+(?P<other>.+?)",
        r"^(?P<lead>how (?:does|do|is|are))\s+(?P<one>.+?)\s+"
        r"(?:relate(?:d)? to|differ from|compare (?:to|with))\s+(?P<other>.+?)",
        r"^(?P<lead>.*\b(?:unterschiede?|vergleich\w*)\s+(?:zwischen|von))\s+(?P<one>.+?)\s+und\s+(?P<other>.+?)",
        r"^(?P<lead>.*\bdifférences?\s+entre)\s+(?P<one>.+?)\s+et\s+(?P<other>.+?)",
        r"^(?P<lead>)(?P<one>.+?)\s+(?:versus|vs\.?|gegenüber|rather than|instead of)\s+(?P<other>.+?)",
    )
)


def decompose(question: str) -> list[str]:
    """The questions to answer, in the order that they are asked in; at least one, at most `PARTS_MAX`."""
    whole = " ".join(question.split())
    parts: list[str] = []
    for sentence in filter(None, (each.strip() for each in _SENTENCE.split(question.strip()))):
        for asked in filter(None, (each.strip() for each in _JOINED.split(sentence))):
            _add(parts, " ".join(asked.split()))
    found = [each for part in parts or [whole] for each in _split_comparison(part)]
    return list(dict.fromkeys(found))[:PARTS_MAX]


def _add(parts: list[str], asked: str) -> None:
    """Take a piece for a question of its own, or put it behind the one before, which it goes on with."""
    if parts and (len(asked) < PART_CHARS_MIN or not stems_of(asked)):
        parts[-1] = f"{parts[-1]} {asked}"
    else:
        parts.append(asked)


def _split_comparison(asked: str) -> Iterator[str]:
    """A question, and where it compares two things, one about each of them before it."""
    for pattern in _COMPARED:
        if (match := pattern.match(asked)) and stems_of(match["one"]) and stems_of(match["other"]):
            yield match["one"].strip(" ,")
            yield match["other"].strip(" ,?!.")
            break
    yield asked
