"""The steps of a recovery, and the decisions in it. Pure.

Owns the order, who holds until when, which topics and tables are made anew, and whether a log that outsiders write to
is the one that was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from dataflows.catalog import flows
from topics.catalog import Topic

Step = Literal["hold", "forget", "empty", "topics", "copy", "catch-up", "verify"]
STEPS: Sequence[Step] = get_args(Step)
MEANINGS: Mapping[Step, str] = {
    "hold": "wait until capture and the flows have let go",
    "forget": "drop the slot and what capture knows of the topics",
    "empty": "empty every table that is made from topics, and forget offsets",
    "topics": "delete the topics that capture fills, and make them anew",
    "copy": "copy every published table into them",
    "catch-up": "wait until every flow has read all of it",
    "verify": "compare every view with the database",
}
CAPTURE_HOLDS: frozenset[Step] = frozenset({"hold", "forget", "empty", "topics"})
"""Steps in which change capture must not run."""
FLOWS_HOLD: frozenset[Step] = CAPTURE_HOLDS | {"copy"}
"""Steps in which flows and agents must not run: what they keep is empty before the copy begins, and the positions of
feeds follow from the copy."""

LETTERS_APART = 10**15
"""Added to nothing that is in a log: offsets of dead letters whose log is gone are this much lower, times the number of
the recovery, so that those of the new log do not meet them."""

Log = Literal["same", "unknown", "other"]
"""Whether a log is the one that a flow read. `unknown`: nothing says that it is not, and nothing proves that it is."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A row of ops.recovery. `total` None: not known."""

    number: int
    asked_by: str
    step: Step
    since: datetime
    done: int
    total: int | None

    def describe(self) -> str:
        """How far it is, for people."""
        share = f", {self.done} of {self.total}" if self.total else ""
        return f"step {self.step}{share} since {self.since:%H:%M:%S} UTC: {MEANINGS[self.step]}"


def list_remade_topics(topics: Mapping[str, Topic]) -> list[str]:
    """Those that change capture fills: all but what outsiders write to."""
    return sorted(name for name, topic in topics.items() if topic.kind != "feed")


def list_outside_topics(topics: Mapping[str, Topic]) -> list[str]:
    """Those that outsiders write to. Nothing can make their records anew."""
    return sorted(name for name, topic in topics.items() if topic.kind == "feed")


def list_emptied_tables() -> list[str]:
    """Every table that a flow keeps and that the log has all of; and how far each view is."""
    kept = {table for flow in flows().values() for table in flow.tables}
    return ["mv.watermarks", *sorted({table.name for table in kept if not table.outlives})]


def judge_log(
    committed: Mapping[int, int], known_id: str | None, found_id: str, ends: Mapping[int, tuple[int, int]]
) -> Log:
    """`committed`: the next offset of each partition. `known_id`: the broker's id of the topic when it was read, `ends`
    the first offset and the end of each partition that there is now."""
    if known_id and found_id and known_id != found_id:
        return "other"
    for partition, at in committed.items():
        first, end = ends.get(partition, (0, -1))
        if not first <= at <= end:
            return "other"
    return "same" if known_id and found_id else "unknown"
