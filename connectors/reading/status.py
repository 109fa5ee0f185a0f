"""What the lines about a status come to.

Owns how claims are weighed: several are a chain, of which the last counts where dates, arrows or the usual order of a
decision's life say that it is one; otherwise they contradict each other, and the status is unknown. Boxes that are
ticked, of several, are one claim. What a line claims is in `claims.py`, and where lines stand in `fields.py`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final, Literal, cast, get_args

import msgspec

from connectors.reading.claims import ARROW, Status, StatusClaim, StatusReading, read, says_nothing
from connectors.reading.inline import Inline
from connectors.reading.words import WORDS, Words

Doubt = Literal["no-status", "unknown-status", "placeholder", "weak-status", "contradicting-status"]
STATUSES: Final = get_args(Status)
STATEMENTS_MAX: Final = 40
"""Lines of a section that are read. A history of a status has a few."""
_LIFE: Final = {"draft": 0, "proposed": 1, "accepted": 2, "rejected": 2, "deprecated": 3, "superseded": 4}
"""The usual order in which a decision has its states."""
_TICKED = re.compile(r"\[[xX✓✔]\]|[☑✅✔🗹◉🔘]|\([xX*]\)")
_UNTICKED = re.compile(r"\[ ?\]|[☐⬜◻□○❏❌✗✘]|\( \)")


class Statement(msgspec.Struct, frozen=True):
    """One line about the status. `opens`: it is the first of its block, and no line of wrapped prose."""

    inline: Inline
    line: int = 0
    ticked: bool | None = None
    opens: bool = True


class Verdict(msgspec.Struct, frozen=True):
    """`raw` is the statement that decided; `doubt` says what is odd about it, or about all of them."""

    status: Status
    raw: str = ""
    line: int = 0
    doubt: Doubt | None = None


def judge(statements: Sequence[Statement], *, words: Words = WORDS, day_first: bool | None = None) -> Verdict:
    """The status that the statements of one place say together."""
    statements = [each for each in _by_boxes(statements) if each.inline.text.strip()][:STATEMENTS_MAX]
    if not statements:
        return Verdict("unknown", doubt="no-status")
    boxed = [each for each in statements if each.ticked is not None]
    if boxed:
        return _judge_boxes(boxed, statements, words, day_first)
    return _judge_lines(statements, words, day_first)


def judge_mark(mark: Inline, *, words: Words = WORDS) -> Verdict | None:
    """The status that some words beside a title say, if they say that and nothing else."""
    reading = read(mark, words=words)
    only = reading.claims and not (reading.foreign or reading.lost or reading.choice or reading.question)
    if not only or any(claim.weak or not (claim.pure or claim.referenced) for claim in reading.claims):
        return None
    verdict = judge([Statement(mark)], words=words)
    return verdict if verdict.status != "unknown" else None


def _judge_boxes(
    boxed: Sequence[Statement], statements: Sequence[Statement], words: Words, day_first: bool | None
) -> Verdict:
    ticked = [each for each in boxed if each.ticked]
    if ticked:
        return _judge_lines(ticked, words, day_first)
    plain = [each for each in statements if each.ticked is None]
    verdict = _judge_lines(plain, words, day_first) if plain else Verdict("unknown")
    return verdict if verdict.status != "unknown" else Verdict("unknown", _raw(boxed[0]), boxed[0].line, "placeholder")


def _judge_lines(statements: Sequence[Statement], words: Words, day_first: bool | None) -> Verdict:
    claims: list[tuple[StatusClaim, Statement]] = []
    doubt: Doubt | None = None
    doubtful = statements[0]
    before_pure = True
    for each in statements:
        reading = read(each.inline, words=words, day_first=day_first)
        first = not claims
        usable = _usable(reading, later=not each.opens and not before_pure, first=first)
        before_pure = bool(reading.claims) and all(claim.pure for claim in reading.claims) and not reading.foreign
        if reading.choice:
            if first:
                return Verdict("unknown", _raw(each), each.line, "placeholder")
            continue
        if reading.question or (reading.lost and not usable):
            doubt, doubtful = doubt or "weak-status", each if doubt is None else doubtful
        if claims and usable:
            usable[0].cut = usable[0].cut or "\n"
        claims += ((claim, each) for claim in ([] if reading.question else usable))
    last = claims[-1] if len(claims) > 1 else None
    if last and last[0].open and all(says_nothing(each.inline.text) for each in _after(statements, last[1])[:1]):
        claims.pop()  # "Superseded by:", which nobody filled in
    if not claims:
        return Verdict("unknown", _raw(doubtful), doubtful.line, doubt or "unknown-status")
    return _combine(claims)


def _after(statements: Sequence[Statement], statement: Statement) -> Sequence[Statement]:
    return statements[next(at for at, each in enumerate(statements) if each is statement) + 1 :]


def _usable(reading: StatusReading, *, later: bool, first: bool) -> list[StatusClaim]:
    """The claims that may be believed: a line of wrapped prose must say nothing else, and a later paragraph must begin
    with what it says."""
    if reading.foreign:
        return []
    if later:
        return reading.claims if all(claim.pure for claim in reading.claims) else []
    if not first and reading.claims and not reading.claims[0].pure and reading.claims[0].weak:
        return []
    return reading.claims


def _combine(claims: Sequence[tuple[StatusClaim, Statement]]) -> Verdict:
    said = [(claim, each) for claim, each in claims if claim.status is not None and not claim.partly]
    present = [(claim, each) for claim, each in said if not claim.past] or [
        (claim, each) for claim, each in said if len(said) > 1
    ]
    raw, line = _raw(claims[0][1]), claims[0][1].line
    if not present:
        return Verdict("unknown", raw, line, "weak-status")

    def verdict(at: int) -> Verdict:
        claim, each = present[at]
        assert claim.status is not None
        return Verdict(claim.status, _raw(each), each.line)

    first = present[0][0]
    present = [
        (claim, each)
        for claim, each in present
        if claim is first or not claim.told or _LIFE[claim.status or "draft"] >= _LIFE[first.status or "draft"]
    ]  # "Accepted. It was proposed in May."
    if any(claim.negated and not claim.now and claim.status != first.status for claim, _ in present[1:]):
        return Verdict("unknown", raw, line, "contradicting-status")  # "Proposed (not accepted)"
    states = [claim.status for claim, _ in present]
    if any(claim.grasps and claim.status != states[0] for claim, _ in present[1:]):
        return Verdict("unknown", raw, line, "contradicting-status")  # "Accepted. Superseded ADR-3."
    if any(not claim.pure and claim.status != states[0] and not claim.referenced for claim, _ in present[1:]):
        return Verdict("unknown", raw, line, "contradicting-status")
    if "superseded" in states:
        return verdict(states.index("superseded"))
    if len(set(states)) == 1:
        return verdict(0)
    days = [claim.day for claim, _ in present]
    if all(day is not None for day in days):
        latest = max(cast("list[date]", days))
        return verdict(max(at for at, day in enumerate(days) if day == latest))
    moved = [at for at, (claim, _) in enumerate(present) if claim.now or any(mark in claim.cut for mark in ARROW)]
    if moved and moved[-1] == len(present) - 1:
        return verdict(-1)
    if [at for at, (claim, _) in enumerate(present) if claim.now] == [0]:
        return verdict(0)  # "Now: rejected. Accepted before."
    order = [_LIFE[state] for state in states if state]
    if all(low < high or a == b for low, high, a, b in zip(order, order[1:], states, states[1:], strict=False)):
        return verdict(-1)
    return Verdict("unknown", raw, line, "contradicting-status")


def _raw(statement: Statement) -> str:
    return statement.inline.render()


def _by_boxes(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Cut lines at their boxes, where there are several: "☐ Proposed ☑ Accepted"."""
    marks = sum(len(_TICKED.findall(each.inline.text)) for each in statements)
    empty = sum(len(_UNTICKED.findall(each.inline.text)) for each in statements)
    if not empty or marks + empty < 2:
        yield from statements
        return
    for each in statements:
        text = each.inline.text
        places = [(match.start(), match.end(), True) for match in _TICKED.finditer(text)]
        places += [(match.start(), match.end(), False) for match in _UNTICKED.finditer(text)]
        places.sort()
        if not places:
            yield each
            continue
        if text[: places[0][0]].strip():
            yield msgspec.structs.replace(each, inline=each.inline.cut(0, places[0][0]))
        for (_, start, ticked), end in zip(places, [*(at for at, _, _ in places[1:]), len(text)], strict=True):
            yield Statement(each.inline.cut(start, end), each.line, ticked, True)
