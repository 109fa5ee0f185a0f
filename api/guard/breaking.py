"""What a change seems to break: something that it uses, and a decision that refuses it. Pure.

Owns the comparison, and how sure each kind of evidence is, which was measured (`adriatic eval guard`). It is told of
all decisions that may speak of the change. A name that any of them chooses is refused by none: two that differ are for
`/v1/suggestions`. Refuses to be certain: what is found is for a person to look at, and nothing is said of what is not
known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

from api.guard.change import AddedLine
from api.guard.limits import breaks_limit
from api.guard.stances import RefusedName, Stances
from api.guard.uses import Use, Uses, bare

BreakEvidence = Literal["dependency", "import", "service", "call", "prose", "way", "number"]
"""The kinds of uses; beside them a sentence that tells a way which was not chosen, and a number beyond a decision's."""

EVIDENCE: Final[tuple[BreakEvidence, ...]] = get_args(BreakEvidence)
WAY_SPREAD: Final = 2
"""The words among which those of a way may stand, for each of them."""
LIKELY_MIN: Final = 0.8
"""How sure an evidence must be to be called likely: of five that are said, four are right."""
CONFIDENCE: Final[Mapping[BreakEvidence, float]] = {
    "dependency": 0.93,
    "import": 0.95,
    "service": 0.86,
    "call": 0.88,
    "prose": 0.83,
    "way": 0.67,
    "number": 0.83,
}
"""Share of right ones among those said, (right + 1) / (said + 2), on the labelled changes of `adriatic eval guard`; a
test holds these to what it measures."""


def judge_likelihood(confidence: float) -> Literal["likely", "possible"]:
    """What people are told of how sure something is."""
    return "likely" if confidence >= LIKELY_MIN else "possible"


class Breach(NamedTuple):
    """What seems to be broken. `record`: which of the decisions, by its place. `named`: what the line uses."""

    record: int
    evidence: BreakEvidence
    named: str
    line: AddedLine
    quote: str
    heading: str
    reason: str


def find_breaches(uses: Uses, records: Sequence[Stances]) -> list[Breach]:
    """What seems to be broken, in the order of the lines: once for each decision and name, where it is used first."""
    chosen = frozenset().union(*(record.chosen for record in records))
    found: dict[tuple[int, str], Breach] = {}
    for at, record in enumerate(records):
        for breach in (
            *_of_names(at, record, uses, chosen),
            *_of_ways(at, record, uses),
            *_of_numbers(at, record, uses),
        ):
            found.setdefault((at, breach.named), breach)
    return list(found.values())


def _of_names(at: int, record: Stances, uses: Uses, chosen: frozenset[str]) -> Iterator[Breach]:
    standing = [each for each in record.refused if each.key not in chosen]
    refused = {key: each for each in reversed(standing) for key in (each.key, bare(each.key)) if key not in chosen}
    spelled = {each.spelled: each for each in standing}
    named = {each.spelled: each for each in standing if each.whole}
    for use in uses.names:
        if use.keys & chosen:
            continue
        refusal = _find_name(use, named if use.kind == "call" else spelled if use.kind == "prose" else refused)
        if refusal is not None:
            reason = f"{_HOW[use.kind]} {use.spelled}, which this decision does not want"
            yield Breach(at, use.kind, refusal.key, use.line, refusal.quote, refusal.heading, reason)


_HOW: Final = {
    "dependency": "depends on",
    "import": "imports",
    "service": "runs or addresses",
    "call": "names",
    "prose": "adopts",
}


def _find_name(use: Use, refused: Mapping[str, RefusedName]) -> RefusedName | None:
    for key in sorted(use.keys):
        if key in refused:
            return refused[key]
    if use.starts:
        return next((each for key, each in refused.items() for mine in use.keys if mine.startswith(f"{key}-")), None)
    return None


def _of_ways(at: int, record: Stances, uses: Uses) -> Iterator[Breach]:
    for way in record.ways:
        for adopted in uses.ways:
            if _is_told(way.stems, adopted.stems):
                reason = f"tells a way that was considered and not chosen: {', '.join(way.stems)}"
                yield Breach(at, "way", way.quote, adopted.line, way.quote, way.heading, reason)


def _is_told(way: Sequence[str], said: Sequence[str]) -> bool:
    """Whether a sentence has all words of a way, in their order, and not many others between them."""
    for start in (at for at, stem in enumerate(said) if stem == way[0]):
        rest = iter(said[start : start + WAY_SPREAD * len(way)])
        if all(stem in rest for stem in way):
            return True
    return False


def _of_numbers(at: int, record: Stances, uses: Uses) -> Iterator[Breach]:
    """Numbers that none of those that the decision gives to the name allows."""
    for each in uses.numbers:
        limits = [limit for limit in record.limits if limit.name == each.number.name]
        if limits and all(breaks_limit(limit, each.number) for limit in limits):
            said = limits[0]
            reason = f"sets {each.number.name} to {each.number.value:g}, and the decision says "
            reason += f"at most {said.value:g}" if said.at_most else f"{said.value:g}"
            yield Breach(at, "number", said.name, each.line, said.quote, said.heading, reason)
