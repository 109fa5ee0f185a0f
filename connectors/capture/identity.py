"""Whether the log and the database belong together (R12), decided without I/O.

Owns what a record of ours says of itself, and the rules that find another one's log: topics that are not those that we
filled, ends below what was acknowledged, sessions and beats that the database does not know, positions that it has not
reached. Refuses to repair: each raises, with the one way out that there is.

Why not the system id, the timeline, or the position alone: a copy of a data directory has the same system id and
timeline, and its WAL passes the old end sooner or later. Then the positions of new commits are those of old ones, and
new records would be taken for old ones in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from connectors.capture.checks import RECOVER
from connectors.capture.ports import Bounds, FilledTopic, LogRecord, TopicFacts
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import Pos, show
from runtime.errors import Halted, Undecodable
from schemas.headers import (
    COMMITTED_AT_HEADER,
    POSITION_HEADER,
    SESSION_HEADER,
    SNAPSHOT_HEADER,
    SNAPSHOT_ID_HEADER,
    TRANSACTION_HEADER,
)


class ForeignLog(Halted):
    """The log has records that this database does not know: one of the two went back, or is another's."""

    code = "foreign-log"


class LogLost(Halted):
    """The broker does not have what it acknowledged, or has another topic in its place."""

    code = "log-lost"


class Label(NamedTuple):
    """What a record says of itself. `xid` None: it is of a snapshot. `beat` None: an earlier release made it."""

    pos: Pos
    xid: int | None
    committed_at_us: int
    beat: Beat | None
    snapshot_at: int | None = None
    snapshot_id: UUID | None = None


class UsedTopics(NamedTuple):
    """The topics as they are used. `learnt`: what is to be written down of them. `more`: those with more partitions
    than are used."""

    partitions: dict[str, int]
    learnt: dict[str, FilledTopic]
    more: tuple[str, ...]


def label_of(record: LogRecord) -> Label | None:
    """None for a record that does not even look like one of change capture. It proves nothing, and no reason to halt:
    whoever can write to the broker would have us in their hands. For flows it is a dead letter."""
    try:
        return _label(record.headers)
    except (KeyError, TypeError, ValueError, Undecodable):
        return None


def _label(headers: Mapping[str, bytes | None]) -> Label:
    position = headers[POSITION_HEADER]
    pos = Pos.parse(position or b"")
    if pos.header() != position or pos.commit >= 2**64:
        raise ValueError
    session, snapshot, snapshot_id = (
        headers.get(name) for name in (SESSION_HEADER, SNAPSHOT_HEADER, SNAPSHOT_ID_HEADER)
    )
    return Label(
        pos,
        None if snapshot is not None else _number(headers[TRANSACTION_HEADER]),
        _number(headers[COMMITTED_AT_HEADER]),
        None if session is None else Beat.parse(session),
        None if snapshot is None else int(snapshot[:17], 16),
        None if snapshot_id is None else UUID(snapshot_id.decode("ascii")),
    )


def _number(text: bytes | None) -> int:
    """A decimal number of at most 20 digits, as we write it."""
    if text is None or len(text) > 20 or b"%d" % (number := int(text)) != text:
        raise ValueError
    return number


def compare_topics(filled: Mapping[str, FilledTopic], found: Mapping[str, TopicFacts]) -> UsedTopics:
    """The topics that there are, against those that we filled. Keys stay in the partition that they are in: of a topic
    that was given more of them, as many are used as at first. Raises `LogLost`."""
    used = UsedTopics({}, {}, ())
    more = []
    for name, now in found.items():
        known = filled.get(name)
        if known is None or (known.may_differ and _is_other(known, now)):
            used.partitions[name] = now.partitions
            used.learnt[name] = FilledTopic(now.topic_id, now.partitions)
            continue
        if _is_other(known, now):
            raise LogLost(
                f"the topic {name} is not the one that was filled: that one was deleted or lost, this one made anew",
                hint=RECOVER,
            )
        used.partitions[name] = known.partitions
        if now.partitions > known.partitions:
            more.append(name)
        if known.may_differ or known.topic_id != now.topic_id:
            used.learnt[name] = replace(known, topic_id=now.topic_id or known.topic_id, may_differ=False)
    return used._replace(more=tuple(more))


def _is_other(known: FilledTopic, now: TopicFacts) -> bool:
    """A topic never loses partitions; ids say it where the broker has them."""
    named_otherwise = bool(known.topic_id and now.topic_id) and known.topic_id != now.topic_id
    return named_otherwise or now.partitions < known.partitions


def require_topics(filled: Mapping[str, FilledTopic], missing: list[str]) -> None:
    """A topic that was filled cannot just be made again. Raises `LogLost`."""
    if gone := [name for name in missing if name in filled and not filled[name].may_differ]:
        raise LogLost(f"Kafka lost the topic {', '.join(gone)}, which was filled before", hint=RECOVER)


def require_ends(filled: Mapping[str, FilledTopic], bounds: Mapping[TopicPartition, Bounds]) -> None:
    """What was acknowledged is there. Raises `LogLost`."""
    for name, topic in filled.items():
        for partition, end in enumerate(topic.ends):
            there = bounds.get(TopicPartition(name, partition))
            if there is not None and there.end < end:
                raise LogLost(
                    f"Kafka lost records: {name}, partition {partition}, ends at offset {there.end}, and {end} were "
                    "acknowledged",
                    hint=RECOVER,
                )


def require_known(beat: Beat, known: Mapping[UUID, int], source: TopicPartition, pos: Pos) -> None:
    """Raises `ForeignLog`."""
    if known.get(beat.session, 0) < beat.number:
        raise ForeignLog(
            f"{source.topic}, partition {source.partition}, has a record at {show(pos.commit)} of session "
            f"{beat.session}, beat {beat.number}, which this database does not know: the database went back to an "
            "earlier state, or the topics are another's",
            hint=RECOVER,
        )


def require_earlier_release(pos: Pos, source: TopicPartition, first_session_at: int | None) -> None:
    """A record without a session is older than the first session of all. Raises `ForeignLog`."""
    if first_session_at is not None and pos.commit >= first_session_at:
        raise ForeignLog(
            f"{source.topic}, partition {source.partition}, has a record at {show(pos.commit)} without the header "
            f"{SESSION_HEADER}: an earlier release ran after this one, or somebody else writes there",
            hint=RECOVER,
        )


def require_reached(pos: Pos, source: TopicPartition, wal_end: int) -> None:
    """No record may come from a later position than the database has reached. Raises `ForeignLog`."""
    if pos.commit >= wal_end:
        raise ForeignLog(
            f"{source.topic}, partition {source.partition}, has a record at {show(pos.commit)}, and this database is "
            f"only at {show(wal_end)}: the database went back to an earlier state, or the topics are another's",
            hint=RECOVER,
        )
