"""What a check takes and gives, on the wire."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.adrs.document import Status
from api.guard.breaking import BreakEvidence
from api.logs.numbers import HOLDER_CHARS_MAX
from api.search.schemas import Degraded, SearchFreshness
from schemas import text

CHANGE_CHARS_MAX: Final = 262_144
"""Longest change. One of five thousand lines is one that nobody reviews."""
GOVERNING_DEFAULT: Final = 5
GOVERNING_MAX: Final = 20
EXCERPT_CHARS_MAX: Final = 1_000
"""Longest passage that is shown of a record: a paragraph."""
BROKEN_MAX: Final = 50
"""Most that is told of what seems to be broken. Who has more of it begins with the first."""
FINDINGS_MAX: Final = 20
"""Most that is told of one proposed record."""
PATH_CHARS_MAX: Final = 500
LINE_CHARS_MAX: Final = 200
"""Longest line that is shown of the change."""


class CheckRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change: a unified diff, of which the added lines count, or any text."""

    change: Annotated[str, Meta(pattern=text.BODY, min_length=1, max_length=CHANGE_CHARS_MAX)]
    log: Annotated[str, Meta(pattern=text.SLUG, description="Slug of the log to look in; null: all.")] | None = None
    path: (
        Annotated[str, Meta(pattern=text.NAME, max_length=PATH_CHARS_MAX, description="The file that a text is from.")]
        | None
    ) = None
    holder: (
        Annotated[
            str,
            Meta(
                pattern=text.NAME,
                max_length=HOLDER_CHARS_MAX,
                description="Who may hold the number of a proposed record, such as a branch. Null: nobody asks.",
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=0, le=GOVERNING_MAX, description="Governing decisions at most.")] = GOVERNING_DEFAULT


class ChangePlace(msgspec.Struct, frozen=True):
    """A line of the change. `path` is null for a text without files."""

    path: str | None
    line: int
    text: str


class NamedDecision(msgspec.Struct, frozen=True):
    """A decision, by its names."""

    adr_id: UUID
    address: str
    label: str | None
    log: str
    title: str
    status: Status


class CitedDecision(msgspec.Struct, frozen=True):
    """A decision that does not hold any more, and where the change cites it. `by`: what names it. `superseded_by`: what
    stands in its place."""

    decision: NamedDecision
    by: Literal["number", "file", "title"]
    place: ChangePlace
    superseded_by: list[NamedDecision]
    reason: str


class BrokenDecision(msgspec.Struct, frozen=True):
    """A decision that the change seems to break. `evidence`: how. `confidence`: the share of right ones among labelled
    changes of which such was said (`adriatic eval guard`); `likely` is 0.8 and more. `passage`: what the decision says,
    under `heading`. `reason`: what the line at `place` does."""

    decision: NamedDecision
    evidence: BreakEvidence
    likelihood: Literal["likely", "possible"]
    confidence: float
    place: ChangePlace
    heading: str
    passage: str
    reason: str


class GoverningDecision(msgspec.Struct, frozen=True):
    """A decision that holds and that is near to what the change says: a candidate, for somebody to read. `passage` is
    the one that fits best. `near_to`: the files that found it. `support`: which arms of the search did."""

    decision: NamedDecision
    heading: str
    passage: str
    score: float
    near_to: list[str]
    support: Literal["both", "words", "meaning"]
    reason: str


class ProposalFinding(msgspec.Struct, frozen=True):
    """What is known of a proposed record beside one that is there. `number-taken` is certain, and so
    is `number-reserved`: another holder has it, and there is no decision yet. `duplicate`: both decide
    the same; `supersedes`: it leaves what the other chose; `conflicts`: it answers otherwise. `confidence`: the share
    of right ones among labelled pairs. `proposed` and `standing`: what both say."""

    kind: Literal["number-taken", "number-reserved", "duplicate", "supersedes", "conflicts"]
    likelihood: Literal["certain", "likely", "possible"]
    confidence: float
    decision: NamedDecision | None
    proposed: str
    standing: str
    reason: str


class VettedProposal(msgspec.Struct, frozen=True):
    """A decision record that the change proposes, where it begins, and what was found of it."""

    title: str
    number: int | None
    status: Status
    place: ChangePlace
    findings: list[ProposalFinding]


class CheckResult(msgspec.Struct, frozen=True):
    """What was found. `cited` is certain: the change names these, and they do not hold. `seems_to_break` was found by a
    rule, the surest first. `proposals`: decision records that it adds. `governing` is a ranking.

    `topics`: how many files, or parts of a text, were searched for; others were left out. `as_of` null: nothing was.
    """

    cited: list[CitedDecision]
    seems_to_break: list[BrokenDecision]
    proposals: list[VettedProposal]
    governing: list[GoverningDecision]
    lines: int
    files: int
    topics: int
    degraded: list[Degraded]
    as_of: SearchFreshness | None
