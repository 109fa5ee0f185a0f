"""How old a view is, split into the stages of its path. Pure.

Owns the stages, what fresh and stale mean, and the percentiles of a minute. A heartbeat passes the whole path about
once a second, so an idle system stays fresh and a broken path does not.

Each place on the way knows up to which commit it has everything, by the source's clock. The differences of these times,
one place after the other, add up to the view's age, so they say where its time is spent, now:

    now ── wal ── read by capture ── capture ── in Kafka ── topic ── taken by the flow ── flow ── in the view
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from schemas.pipeline import (
    BLAME,
    FRESH_S_MAX,
    KNOWN_S_MAX,
    SKEW_S_MAX,
    STAGES,
    TOTAL,
    Percentiles,
    Stage,
    State,
    ViewFreshness,
    unknown_view,
)


def split(now_s: float, marks: Sequence[float | None]) -> dict[Stage, float] | None:
    """Seconds of each stage. `marks`: up to which commit capture has read, Kafka has, the flow has taken and the view
    shows, in seconds since 1970; None is not known, and counts as if it were as far as the next one that is. None when
    the view says nothing."""
    read, in_kafka, taken, shown = marks
    if shown is None:
        return None
    taken = shown if taken is None else max(taken, shown)
    in_kafka = taken if in_kafka is None else max(in_kafka, taken)
    read = in_kafka if read is None else max(read, in_kafka)
    borders = (max(now_s, read), read, in_kafka, taken, shown)
    return {stage: borders[at] - borders[at + 1] for at, stage in enumerate(STAGES)}


def judge(view: str, flow: str, now_s: float, marks: Sequence[float | None], *, complete: bool = True) -> ViewFreshness:
    """How fresh a view is. `complete`: all of its partitions have reported."""
    *_, shown = marks
    if shown is not None and shown - now_s > SKEW_S_MAX:
        ahead_s = f"{shown - now_s:.0f} s"
        return unknown_view(
            view, flow, f"it shows a commit that is {ahead_s} in the future: is the database's clock right?"
        )
    # What claims to be in the future says nothing of the stages before it.
    stages = split(now_s, [None if mark is not None and mark - now_s > SKEW_S_MAX else mark for mark in marks])
    if stages is None or not complete:
        return unknown_view(view, flow, "its flow has not reported for all partitions yet, or a table is stopped")
    age_s = sum(stages.values())
    state: State = "fresh" if age_s <= FRESH_S_MAX else "stale" if age_s <= KNOWN_S_MAX else "unknown"
    slowest: Stage | None = None if state == "fresh" else _slowest(stages)
    return ViewFreshness(
        view=view,
        flow=flow,
        state=state,
        age_s=round(age_s, 3),
        stages={str(stage): round(seconds, 3) for stage, seconds in stages.items()},
        slowest=slowest,
        reason="" if slowest is None else BLAME[slowest],
    )


def _slowest(stages: Mapping[Stage, float]) -> Stage:
    return max(STAGES, key=lambda stage: stages[stage])


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """Nearest rank, so that each figure is one that was measured. At least one value."""
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return Percentiles(len(ordered), at(0.5), at(0.95), at(0.99), at(1.0))


class Minutes:
    """Collects looks, and gives each minute once it is over. Bounded: one minute of looks."""

    def __init__(self) -> None:
        self._minute = -1
        self._seconds: dict[tuple[str, str], list[float]] = {}

    def add(self, at_s: float, views: Sequence[ViewFreshness]) -> tuple[int, dict[tuple[str, str], Percentiles]] | None:
        """The minute that these looks ended (seconds since 1970), by view and stage; None while it goes on."""
        minute = int(at_s // 60)
        ended = self.end() if minute != self._minute else None
        self._minute = minute
        for view in views:
            for stage, seconds in ((TOTAL, view.age_s), *view.stages.items()):
                if seconds is not None:
                    self._seconds.setdefault((view.view, stage), []).append(seconds)
        return ended

    def end(self) -> tuple[int, dict[tuple[str, str], Percentiles]] | None:
        """What was collected, which is forgotten then."""
        found = {name: percentiles(values) for name, values in self._seconds.items()}
        self._seconds = {}
        return (self._minute * 60, found) if found else None
