"""What is suggested of two decisions: that one supersedes the other, or that they conflict; and on which evidence.

Owns the kinds, what counts as evidence and which is stronger, how sure each is, and the id of a suggestion. Refuses to
find any: `connectors/reading/suggesting.py` does, and `api/suggestions` shows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

SuggestionKind = Literal["supersedes", "conflicts"]
Evidence = Literal["words", "negation", "outcome"]
"""`words`: the newer text says that it leaves what the older one decided. `negation`: one title refuses or ends what
the other chose. `outcome`: both answer the same question, each with another option."""
Field = Literal["title", "body"]
"""Where a passage stands."""

EVIDENCE: Final[tuple[Evidence, ...]] = get_args(Evidence)
"""The strongest first."""
IN_FORCE: Final = ("accepted", "unknown")
"""Statuses of decisions that hold. One that says none was written down because it does."""
QUOTE_CHARS_MAX: Final = 300
"""Characters of a passage that are kept beside its place: two lines on a page."""
TERMS_MAX: Final = 8
"""Words that are named as what both are about."""
CONFIDENCE: Final[Mapping[tuple[SuggestionKind, Evidence], float]] = {
    ("supersedes", "words"): 0.95,
    ("supersedes", "negation"): 0.89,
    ("supersedes", "outcome"): 0.88,
    ("conflicts", "negation"): 0.92,
    ("conflicts", "outcome"): 0.8,
}
"""Share of right ones among those suggested, (right + 1) / (suggested + 2), on the labelled pairs of
`adriatic eval suggestions`; a test holds these to what it measures."""


class SuggestionPassage(NamedTuple):
    """Where something stands: characters of the title or of the text as it was written, and what they say."""

    field: Field
    start: int
    end: int
    quote: str


class Suggestion(NamedTuple):
    """What is suggested of a pair, and why: `terms` are words of what is left, chosen or refused."""

    kind: SuggestionKind
    evidence: Evidence
    terms: tuple[str, ...]
    newer: SuggestionPassage
    older: SuggestionPassage


def suggestion_id(newer_id: UUID, older_id: UUID) -> UUID:
    """The id of what is suggested of this pair: the same at every replay, so that an answer to it stays its answer."""
    digest = hashlib.blake2b(newer_id.bytes + older_id.bytes, digest_size=16).digest()
    return UUID(bytes=digest, version=4)
