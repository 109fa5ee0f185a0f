"""The topics of this release: one TOML file each, in this folder.

Owns the shape of those files and what they must agree on (a dead-letter topic is somebody's, a partition follows from
the key). Refuses any behaviour, and to name who reads a topic: each flow and agent says that itself.
`topics/plan.py` compares them with a broker, `connectors/kafka/admin.py` talks to one. Records of `<topic>.dlq` carry
the original record's own bytes, so these topics have no schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from runtime.errors import Misconfigured

FOLDER = Path(__file__).parent
DLQ_SUFFIX = ".dlq"
FOREVER_MS = -1

Kind = Literal["capture", "event", "feed", "dlq"]
"""`capture`: changes of one table, a Debezium envelope. `event`: emitted through the outbox. `feed`: written by
producers outside. `dlq`: records that could not be processed."""
Cleanup = Literal["delete", "compact", "compact,delete"]

NAME = re.compile(r"[a-z0-9._-]{1,200}")
DURATION = re.compile(r"(?P<count>\d+)(?P<unit>ms|s|m|h|d)")
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Dlq(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a consumer puts what it cannot process, and when it must stop instead: a bad deploy would otherwise drain
    the whole topic into the dead letters."""

    topic: str
    consecutive_max: int = 100
    """How many in a row in one partition stop the consumer."""
    ratio_max: float = 0.05
    """More than this share of a partition's records stops it too."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file, as written."""

    kind: Kind
    description: str
    owner: str
    partitions: int
    key: tuple[str, ...]
    partition_by: str
    cleanup: Cleanup
    producers: tuple[str, ...]
    pii: tuple[str, ...]
    freshness_target_s: float | None = None
    retention: str = "forever"
    config: dict[str, str] = {}
    dlq: Dlq | None = None


class Topic(msgspec.Struct, frozen=True):
    """One topic. The replication factor is not here: it belongs to the cluster (`kafka.replication_factor`)."""

    name: str
    kind: Kind
    description: str
    owner: str
    """The room whose change of it must be reviewed."""
    partitions: int
    key: tuple[str, ...]
    """Fields of the key's record; empty where the key is somebody else's bytes."""
    partition_by: str
    """The field whose murmur2 hash picks the partition, so that one tenant's records stay in order."""
    cleanup: Cleanup
    retention_ms: int
    """`FOREVER_MS` for no limit."""
    producers: tuple[str, ...]
    pii: tuple[str, ...]
    """Fields that hold, or may hold, what people wrote or who they are."""
    freshness_target_s: float | None
    """Time from the commit to the record, in seconds; None where nothing is promised."""
    dlq: Dlq | None
    extra: Mapping[str, str]

    @property
    def config(self) -> dict[str, str]:
        """What the broker is told, by its own names."""
        declared: dict[str, str] = {"cleanup.policy": self.cleanup}
        if "delete" in self.cleanup:
            declared["retention.ms"] = str(self.retention_ms)
        return {**declared, **self.extra}


def load(folder: Path = FOLDER) -> dict[str, Topic]:
    """Every topic by name. Raises `Misconfigured` with all the faults of all the files."""
    topics, faults = _load(folder)
    if faults:
        raise Misconfigured("topics:\n" + "\n".join(f"  {fault}" for fault in faults))
    return dict(topics)


@lru_cache(maxsize=8)
def _load(folder: Path) -> tuple[Mapping[str, Topic], tuple[str, ...]]:
    topics: dict[str, Topic] = {}
    faults: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        try:
            topic = parse(file.stem, file.read_bytes())
        except (msgspec.DecodeError, ValueError) as error:
            faults.append(f"{file.name}: {error}")
        else:
            topics[topic.name] = topic
    for topic in topics.values():
        faults.extend(f"{topic.name}.toml: {fault}" for fault in _faults(topic, topics))
    return topics, tuple(faults)


def parse(name: str, content: bytes) -> Topic:
    """One file. The name of the topic is the name of the file. Raises `ValueError`."""
    said = msgspec.structs.asdict(msgspec.toml.decode(content, type=_File))
    retention, extra = said.pop("retention"), said.pop("config")
    said["description"] = said["description"].strip()
    return Topic(name=name, retention_ms=duration_ms(retention), extra=extra, **said)


def duration_ms(text: str) -> int:
    """'7d', '30m', '500ms' … in milliseconds; 'forever' is `FOREVER_MS`."""
    if text == "forever":
        return FOREVER_MS
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write 7d, 12h, 30m, 10s, 500ms or forever")
    return int(match["count"]) * UNITS_MS[match["unit"]]


def _faults(topic: Topic, topics: Mapping[str, Topic]) -> list[str]:
    rules = {
        "the name is not one that every broker takes (a-z, 0-9, dot, dash, underscore)": NAME.fullmatch(topic.name),
        "partitions must be at least 1": topic.partitions >= 1,
        "no description": topic.description,
        "no owner": topic.owner,
        "key is empty: only dead letters have somebody else's key": topic.key or topic.kind == "dlq",
        "partition_by is not in key: a reader could not compute the partition": topic.kind == "dlq"
        or topic.partition_by in topic.key,
        "a dead-letter topic is named <topic>.dlq": (topic.kind == "dlq") == topic.name.endswith(DLQ_SUFFIX),
        "a dead-letter topic has no dead letters of its own": topic.kind != "dlq" or topic.dlq is None,
        "retention and cleanup go into their own settings, not into config": not topic.extra.keys()
        & {"cleanup.policy", "retention.ms"},
        "its dlq topic has no file": topic.dlq is None or topic.dlq.topic in topics,
        "nobody sends to this dead-letter topic": topic.kind != "dlq"
        or any(other.dlq and other.dlq.topic == topic.name for other in topics.values()),
    }
    return [fault for fault, holds in rules.items() if not holds]
