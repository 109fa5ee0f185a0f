"""Decision records that a change proposes, and what each seems to be beside one that stands. Pure.

Owns what is a proposal: a new file of records in a diff, a text under the path of one, or a text that says itself that
it is proposed. Whether it supersedes or contradicts what stands is the rule that suggests links
(`connectors/reading/suggesting.py`); that it decides the same again is read here. Refuses to understand: two records
that say one thing in other words are two.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final, Literal, NamedTuple

from api.adrs.document import ParsedAdr, parse
from api.guard.change import AddedLine, Change
from api.guard.stances import BODY_CHARS_MAX
from api.guard.uses import is_record_path
from connectors.reading.outcomes import Decision, DecisionText, Option, Outcome, words_of
from connectors.reading.structure import Structure, read_structure
from connectors.reading.suggesting import is_same_matter, suggest
from schemas.suggestions import CONFIDENCE, EVIDENCE

ProposalKind = Literal["duplicate", "supersedes", "conflicts"]

PROPOSALS_MAX: Final = 5
"""Proposals of one change that are vetted: each takes two searches."""
TITLE_WORDS_MIN: Final = 3
TITLE_SHARE_MIN: Final = 0.75
"""Share of the words of two titles that both have, when both say the same."""
DUPLICATE_CONFIDENCE: Final = 0.91
"""Share of right ones among those said, as of the other kinds of evidence (`adriatic eval guard`)."""


class ProposedRecord(NamedTuple):
    """A record that a change proposes. `line`: where it begins."""

    parsed: ParsedAdr
    text: str
    line: AddedLine

    @property
    def decision(self) -> Decision:
        return read_decision(self.parsed.title, self.text)

    @property
    def named(self) -> frozenset[int]:
        """Numbers of the records that it links itself, as more than related."""
        found = (link.number for link in self.parsed.links if link.kind != "relates-to")
        return frozenset(number for number in found if number is not None)


class Likeness(NamedTuple):
    """What a proposal seems to be beside a record that stands. `mine` and `theirs`: what both say."""

    kind: ProposalKind
    confidence: float
    mine: str
    theirs: str


def find_proposals(change: Change) -> list[ProposedRecord]:
    """The records that a change proposes, at most `PROPOSALS_MAX`."""
    found = (_propose(lines) for lines in _new_files(change))
    return [each for each in found if each is not None][:PROPOSALS_MAX]


def _new_files(change: Change) -> Iterator[list[AddedLine]]:
    """The lines of each file of which all are added, and of a text."""
    for path, group in groupby(change.lines, key=lambda line: line.path):
        lines = list(group)
        whole = [line.number for line in lines] == list(range(1, len(lines) + 1))
        if whole and (not change.files or (path and is_record_path(path))):
            yield lines


def _propose(lines: list[AddedLine]) -> ProposedRecord | None:
    path = lines[0].path or ""
    text = "\n".join(line.text for line in lines)[:BODY_CHARS_MAX]
    parsed = parse(text, path=path)
    if parsed.role != "record" or not (is_record_path(path) or parsed.status in ("proposed", "draft")):
        return None
    return ProposedRecord(parsed, text, lines[0])


def read_decision(title: str, text: str) -> Decision:
    """A record as the rule of suggestions reads it: its title, and its text by sections."""
    text = text[:BODY_CHARS_MAX]
    return Decision(title, list(_sections(read_structure(text))))


def _sections(structure: Structure) -> Iterator[DecisionText]:
    starts = [0]
    for line in structure.lines:
        starts.append(starts[-1] + len(line) + 1)
    headings = [(block, path) for block, path in structure.with_paths() if block.kind == "heading"]
    for at, (block, path) in enumerate(headings):
        begin = block.line + block.lines
        end = headings[at + 1][0].line if at + 1 < len(headings) else len(structure.lines)
        body = "\n".join(structure.lines[begin:end])
        if body.strip():
            yield DecisionText(path, starts[begin], body)
    if not headings:
        yield DecisionText("", 0, "\n".join(structure.lines))


def compare_decisions(proposed: Decision, standing: Decision) -> Likeness | None:
    """What a proposal seems to be beside a decision that stands; None where nothing is known."""
    mine, theirs = proposed.outcome, standing.outcome
    if _is_duplicate(proposed, standing, mine, theirs):
        return Likeness("duplicate", DUPLICATE_CONFIDENCE, proposed.title, standing.title)
    found = suggest(proposed, standing)
    if found is None:
        return None
    assert found.evidence in EVIDENCE
    return Likeness(found.kind, CONFIDENCE[found.kind, found.evidence], found.newer.quote, found.older.quote)


def _is_duplicate(proposed: Decision, standing: Decision, mine: Outcome, theirs: Outcome) -> bool:
    """Whether both choose the same for the same matter, or have nearly one title and refuse nothing different."""
    if _words(mine.left) != _words(theirs.left) or _words(mine.refused) != _words(theirs.refused):
        return False
    chosen = _words(mine.chosen)
    if chosen and chosen == _words(theirs.chosen):
        return is_same_matter(mine.about, theirs.about) or not (mine.about or theirs.about)
    ours, others = words_of(proposed.title), words_of(standing.title)
    alike = len(ours & others) >= TITLE_SHARE_MIN * len(ours | others)
    return alike and len(ours & others) >= TITLE_WORDS_MIN and not (chosen and _words(theirs.chosen))


def _words(option: Option | None) -> frozenset[str]:
    return option.words if option else frozenset()
