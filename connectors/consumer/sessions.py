"""Whether the database knows the sessions of change capture that a batch of records tells of.

A session writes each of its beats into `ops.cdc_sessions` before any record carries it. So a record whose session or
beat is not there is of another future: the database went back to an earlier state, or the log is that of another one.
Owns that check. Refuses to look again later: what is not there when its record is read never comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from connectors.consumer.origin import WAY_OUT
from connectors.kafka.records import Record
from connectors.postgres.sink import TransactionalSink
from runtime.errors import Halted, Unprocessable
from runtime.lifecycle import Lifecycle

SESSIONS_MAX = 1_000
"""Sessions that are kept in mind. A log has one for each start of change capture; those beyond are asked for again."""


class Sessions:
    """The check of one reader, on its own connection. Not for several threads at once."""

    def __init__(self, name: str, sink: TransactionalSink, life: Lifecycle) -> None:
        self._name = name
        self._sink = sink
        self._life = life
        self._known: dict[UUID, int] = {}

    def check(self, records: Iterable[Record]) -> None:
        """Halt when the database does not know a record's session or beat. At most one statement, and none while no
        beat is newer than those that were seen. Records that name no session are passed over (`find_foreign`)."""
        newest = find_newest_beats(records)
        if not find_unknown(newest, self._known):
            return
        found = self._life.retry("postgres", lambda: self._sink.read_beats(list(newest)))
        if unknown := find_unknown(newest, found):
            session, record = min(unknown.items(), key=lambda item: item[1].offset)
            raise Halted(
                f"{self._name} stopped: {record.topic}/{record.partition} has a record at offset {record.offset} of "
                f"session {session} of change capture, at a beat that this database does not know: it went back to an "
                "earlier state, or the log belongs to another one",
                hint=WAY_OUT,
                coordinates=record.coordinates,
            )
        if len(self._known) + len(found) > SESSIONS_MAX:
            self._known.clear()
        self._known |= found


def find_newest_beats(records: Iterable[Record]) -> dict[UUID, tuple[int, Record]]:
    """The newest beat of each session, and the first record that carries it."""
    newest: dict[UUID, tuple[int, Record]] = {}
    for record in records:
        beat = record.beat
        if beat is not None and (beat.session not in newest or beat.number > newest[beat.session][0]):
            newest[beat.session] = (beat.number, record)
    return newest


def find_unknown(newest: Mapping[UUID, tuple[int, Record]], known: Mapping[UUID, int]) -> dict[UUID, Record]:
    """The sessions that are not known, or not as far, with a record of each."""
    return {session: record for session, (beat, record) in newest.items() if known.get(session, -1) < beat}


def find_foreign(record: Record) -> Unprocessable | None:
    """Why a record of a topic that change capture fills is not to be processed: nothing of ours produced it. It is a
    dead letter and does not halt, or whoever can write to the broker would have every flow in their hands."""
    if record.beat is not None:
        return None
    return Unprocessable(
        "no session of change capture produced it, and nobody else writes to this topic",
        hint="who may write to the broker? Drop it, or process it once if you know whose it is",
    )
