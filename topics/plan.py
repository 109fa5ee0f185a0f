"""What would have to change on a broker for it to have the topics of this release.

Owns the comparison, pure: desired topics and what the broker says in, changes out. Refuses to delete anything, and to
propose what would lose records or their order: fewer partitions, another replication factor, and (unless allowed) more
partitions, which would move every tenant to another partition while its old records stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from topics.catalog import DLQ_SUFFIX, Topic

Action = Literal["create", "grow", "alter", "refused", "info"]
"""`refused` is a difference that stays until somebody decides; `info` is none of our business, and said once."""

LIST_KEYS = frozenset({"cleanup.policy"})
"""Settings whose value is a list without order."""


@dataclass(frozen=True, slots=True)
class Actual:
    """A topic as the broker has it. `config` holds effective values, wherever they come from; `overrides` the names of
    those that somebody set for this topic."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]
    overrides: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TopicChange:
    """One difference. `setting` is empty for the topic as a whole."""

    action: Action
    topic: str
    setting: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""

    @property
    def pending(self) -> bool:
        """Whether the broker differs from the files because of it."""
        return self.action != "info"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What to do, topic by topic in the order of their names, dead-letter topics before those that need them."""

    changes: tuple[TopicChange, ...] = ()
    unmanaged: tuple[str, ...] = field(default=())
    """Topics of the broker that no file speaks of. Left alone."""

    @property
    def pending(self) -> tuple[TopicChange, ...]:
        return tuple(change for change in self.changes if change.pending)

    @property
    def refused(self) -> tuple[TopicChange, ...]:
        return tuple(change for change in self.changes if change.action == "refused")

    @property
    def in_sync(self) -> bool:
        return not self.pending


def plan(
    desired: Sequence[Topic],
    actual: Mapping[str, Actual],
    *,
    replication_factor: int,
    allow_partition_growth: bool = False,
) -> TopicPlan:
    """`actual` is all that the broker has, by name; topics whose names start with two underscores are the broker's
    own."""
    changes: list[TopicChange] = []
    for topic in sorted(desired, key=lambda topic: (not topic.name.endswith(DLQ_SUFFIX), topic.name)):
        found = actual.get(topic.name)
        if found is None:
            changes.append(_create(topic, replication_factor))
            continue
        changes.extend(_partitions(topic, found, allow_partition_growth))
        changes.extend(_replication(topic, found, replication_factor))
        changes.extend(_config(topic, found))
    names = {topic.name for topic in desired}
    unmanaged = sorted(name for name in actual if name not in names and not name.startswith("_"))
    return TopicPlan(tuple(changes), tuple(unmanaged))


def _create(topic: Topic, replication_factor: int) -> TopicChange:
    config = ", ".join(f"{key}={value}" for key, value in sorted(topic.config.items()))
    after = f"{topic.partitions} partition(s), replication {replication_factor}, {config}"
    return TopicChange("create", topic.name, after=after)


def _partitions(topic: Topic, found: Actual, allow_growth: bool) -> Iterator[TopicChange]:
    before, after = str(found.partitions), str(topic.partitions)
    if topic.partitions < found.partitions:
        reason = "no broker can remove a partition: it would lose its records. Put the number into the file as it is"
        yield TopicChange("refused", topic.name, "partitions", before, after, reason)
    elif topic.partitions > found.partitions and topic.key and not allow_growth:
        reason = (
            f"keys move to other partitions ({topic.partition_by} decides), so a tenant's newer records could overtake "
            "its older ones: flows halt until `adriatic recover` has made the topics anew. To do both, use "
            "--allow-partition-growth"
        )
        yield TopicChange("refused", topic.name, "partitions", before, after, reason)
    elif topic.partitions > found.partitions:
        yield TopicChange("grow", topic.name, "partitions", before, after)


def _replication(topic: Topic, found: Actual, replication_factor: int) -> Iterator[TopicChange]:
    if found.replication_factor != replication_factor:
        reason = "needs a reassignment of replicas, which is the cluster's business (kafka.replication_factor is ours)"
        yield TopicChange(
            "refused", topic.name, "replication", str(found.replication_factor), str(replication_factor), reason
        )


def _config(topic: Topic, found: Actual) -> Iterator[TopicChange]:
    """Only what the file declares is compared, with the value in effect: a default that happens to be right is
    right."""
    declared = topic.config
    for key, value in sorted(declared.items()):
        before = found.config.get(key)
        if before is None:
            # Refusing would keep every plan from ever being empty on a broker of another make.
            yield TopicChange(
                "info", topic.name, key, "", value, "this broker does not have the setting; it does without"
            )
        elif normalise(key, before) != normalise(key, value):
            yield TopicChange("alter", topic.name, key, before, value)
    for key in sorted(found.overrides - declared.keys()):
        reason = "set on the broker, not in the file"
        yield TopicChange("info", topic.name, key, found.config.get(key, ""), "", reason)


def normalise(key: str, value: str) -> str:
    """One spelling for each meaning: lists in order, numbers without decoration, booleans in lower case."""
    text = value.strip()
    if key in LIST_KEYS:
        return ",".join(sorted(part.strip().lower() for part in text.split(",")))
    try:
        return str(int(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
