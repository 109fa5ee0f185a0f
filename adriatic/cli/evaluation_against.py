"""`adriatic eval … --against FILE`: two runs of one evaluation, compared question by question.

Owns what a run leaves for a later one (`Measurement`), and whether something got worse. A question is its own control:
the difference of both runs is resampled over questions, which sees changes that are far smaller than the interval of
either run. Refuses to measure: the evaluations do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import msgspec

from api.search.known_item import interval
from runtime.errors import InvalidInput

RUN_BYTES_MAX = 67_108_864
"""Largest file of an earlier run: some hundred thousand questions."""
HINT = "make one by the same command with --json, and keep what it prints"


class Measurement(msgspec.Struct, frozen=True):
    """How well one question was answered, from 0 to 1, by each way that it was asked in."""

    corpus: str
    question: str
    values: dict[str, float]


class EarlierRun(msgspec.Struct, frozen=True):
    """What is read of the JSON of a run; the rest of it is for people."""

    task: str
    measurements: list[Measurement]


class WayCompared(msgspec.Struct, frozen=True):
    """Means over the questions that both runs asked in this way. `low` and `high` are the 95 % interval of how much
    more this run has."""

    way: str
    questions: int
    before: float
    now: float
    low: float
    high: float
    worse: bool


class Compared(msgspec.Struct, frozen=True):
    """`only_before` and `only_now` are questions that one of the runs alone asked: they say nothing."""

    differences: list[WayCompared]
    only_before: int
    only_now: int

    @property
    def worse(self) -> list[str]:
        return [each.way for each in self.differences if each.worse]


def load_earlier(path: Path, task: str) -> list[Measurement]:
    """Read the file of an earlier run. Raises `InvalidInput` for one that is too large, no such file, or of another
    task."""
    if path.stat().st_size > RUN_BYTES_MAX:
        raise InvalidInput(f"{path} is larger than {RUN_BYTES_MAX} bytes", hint=HINT)
    try:
        run = msgspec.json.decode(path.read_bytes(), type=EarlierRun)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is no run of an evaluation: {error}", hint=HINT) from error
    if run.task != task:
        raise InvalidInput(f"{path} is a run of {run.task}, and not of {task}", hint=HINT)
    return run.measurements


def compare(before: Sequence[Measurement], now: Sequence[Measurement]) -> Compared:
    """Compare what both have. Raises `InvalidInput` when they have no question in common."""
    earlier = {(each.corpus, each.question): each.values for each in before}
    later = {(each.corpus, each.question): each.values for each in now}
    common = [key for key in later if key in earlier]
    if not common:
        raise InvalidInput("the two runs have no question in common", hint="evaluate the same --data as before")
    ways = dict.fromkeys(way for key in common for way in later[key] if way in earlier[key])
    found = []
    for way in ways:
        pairs = [(earlier[key][way], later[key][way]) for key in common if way in earlier[key] and way in later[key]]
        low, high = interval([after - first for first, after in pairs])
        means = fmean(first for first, _ in pairs), fmean(after for _, after in pairs)
        found.append(WayCompared(way, len(pairs), *means, low, high, worse=high < 0))
    return Compared(found, len(earlier.keys() - later.keys()), len(later.keys() - earlier.keys()))


def lines(measure: str, compared: Compared) -> Iterator[str]:
    """Say it for people; `measure` is what the values are."""
    yield ""
    for each in compared.differences:
        verdict = "worse" if each.worse else "better" if each.low > 0 else "no difference that can be told"
        yield (
            f"{each.way:<8} {measure} {each.before:.3f} before, {each.now:.3f} now, {each.now - each.before:+.3f} "
            f"(95 % of resamples: {each.low:+.3f} to {each.high:+.3f}, {each.questions} questions): {verdict}"
        )
    if compared.only_before or compared.only_now:
        yield f"not compared: {compared.only_before} questions of before alone, {compared.only_now} of now alone"
