"""The loop's order of things, with a server, a broker and a database that do as they are told."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from connectors.capture.ledger import Last, Ledger
from connectors.capture.outbox import EventEncoder
from connectors.capture.stream import Parts, Stream
from connectors.capture.tables import Contracts, Tables
from connectors.capture.tracker import Confirmed
from connectors.capture.transport import Data, Keepalive
from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import Lsn, Pos
from runtime.clock import ManualClock
from runtime.errors import AdriaticError, DependencyUnavailable, RecordTooLarge
from runtime.settings import CdcSettings
from tests.connectors.capture.test_encoder import NAME, TENANT, Lookup, contract
from tests.connectors.capture.test_outbox import topic
from tests.connectors.capture.test_pgoutput import tuple_data

TABLE = 9
START = 1_000


class World:
    """Everything around a stream, and what it did, in order."""

    def __init__(self, last: dict[Any, Last] | None = None, snapshot_lsn: int = 0) -> None:
        self.clock = ManualClock()
        self.did: list[Any] = []
        self.records: list[EncodedRecord] = []
        self.waiting: list[Callable[[], None]] = []
        self.inbox: list[Data | Keepalive] = []
        self.room = 1_000
        self.silence_s = 0.0
        self.deaf = False
        self.too_large: set[bytes] = set()
        key, value = contract()
        schemas = {f"{NAME}-key": key, f"{NAME}-value": value}
        contracts = Contracts({NAME: topic(NAME, "capture")}, Lookup(), schemas.__getitem__)
        self.tables = Tables(contracts, "p", "db", {})
        everything: Any = self
        parts = Parts(everything, everything, everything, self.tables, EventEncoder({}, {}), Ledger(last or {}))
        settings = CdcSettings(heartbeat_s=3_600)
        self.stream = Stream(parts, settings, Confirmed(START, 0), snapshot_lsn, 0, self.clock)

    def run(self, rounds: int = 3) -> None:
        """So many turns of the loop, a little more than a second each."""
        left = [rounds]

        def stopping() -> bool:
            left[0] -= 1
            return left[0] < 0

        self.stream.run(stopping)

    def acknowledge_all(self) -> None:
        for acked in self.waiting:
            acked()
        self.waiting.clear()

    # the transport

    def receive(self) -> list[Data | Keepalive]:
        arrived, self.inbox = self.inbox, []
        return arrived

    def wait(self, timeout_s: float) -> None:
        self.clock.sleep(1.1)

    def keep_alive(self) -> None:
        self.did.append("alive")

    def acknowledge(self, flushed: int) -> None:
        self.did.append(("acknowledged", flushed))

    # the store

    def beat(self, confirmed: Confirmed | None, *, heartbeat: bool, read_at_us: int = 0) -> None:
        if confirmed is not None:
            self.did.append(("written", confirmed.lsn))

    def table_state(self, table: str, state: str, error: AdriaticError) -> None:
        self.did.append((state, table, error.code, self.unacked))

    def dead_letter(self, topic: str, lsn: int, tenant: str | None, error: AdriaticError, content: bytes) -> None:
        self.did.append(("dead", lsn))

    # the producer

    @property
    def unacked(self) -> int:
        return len(self.waiting)

    def check(self, record: EncodedRecord) -> None:
        if any(text in (record.value or b"") for text in self.too_large):
            raise RecordTooLarge("too large")

    def send(self, record: EncodedRecord, acked: Callable[[], None]) -> bool:
        if len(self.waiting) >= self.room:
            return False
        self.records.append(record)
        self.waiting.append(acked)
        return True

    def poll(self, timeout_s: float) -> None:
        self.clock.sleep(timeout_s)
        if timeout_s and not self.deaf:  # somebody waits for it
            self.acknowledge_all()

    def silent_s(self) -> float:
        return self.silence_s

    # the WAL

    def transaction(self, commit: int, *messages: bytes, end: int | None = None) -> None:
        begin = b"B" + struct.pack(">QqI", commit, 7, 1)
        ended = b"C" + struct.pack(">BQQq", 0, commit, end or commit + 8, 7)
        self.inbox += [Data(commit, message) for message in (begin, *messages, ended)]

    def shown(self) -> list[tuple[int, int]]:
        return [(record.pos.commit, record.pos.ordinal) for record in self.records]

    def written(self, kind: str) -> list[int]:
        return [what[1] for what in self.did if isinstance(what, tuple) and what[0] == kind]


def relation() -> bytes:
    columns = [(b"tenant_id", 2950, 1), (b"id", 23, 1), (b"title", 25, 0), (b"body", 25, 0), (b"traceparent", 25, 0)]
    shown = b"".join(bytes([key]) + name + b"\0" + struct.pack(">Ii", oid, -1) for name, oid, key in columns)
    return b"R" + struct.pack(">I", TABLE) + b"app\0item\0d" + struct.pack(">h", len(columns)) + shown


def insert(number: int, title: bytes = b"x") -> bytes:
    cells = tuple_data(TENANT, b"%d" % number, title, None, None)
    return b"I" + struct.pack(">I", TABLE) + b"N" + cells


def message(prefix: bytes, content: bytes, *, transactional: bool = True, lsn: int = 0) -> bytes:
    return b"M" + struct.pack(">BQ", transactional, lsn) + prefix + b"\0" + struct.pack(">I", len(content)) + content


def test_nothing_is_acknowledged_before_kafka_has_it() -> None:
    world = World()
    world.deaf = True
    world.transaction(2_000, relation(), insert(1))
    world.inbox += [Data(2_500, message(b"heartbeat", b"123", transactional=False, lsn=2_500)), Keepalive(9_000_000, 0)]
    world.run(10)
    assert len(world.records) == 1
    assert world.written("written") == world.written("acknowledged") == []
    world.acknowledge_all()
    world.run()
    assert world.written("acknowledged") == [9_000_000]


def test_a_silent_broker_ends_the_session() -> None:
    world = World()
    world.silence_s = 21
    world.transaction(2_000, relation(), insert(1))
    with pytest.raises(DependencyUnavailable, match="acknowledged nothing for 21 s"):
        world.run()
    assert world.written("acknowledged") == []


def test_what_is_acknowledged_was_written_down_before() -> None:
    world = World()
    world.transaction(2_000, relation(), insert(1))
    world.transaction(3_000, insert(2))
    world.run()
    steps = [what for what in world.did if what != "alive"]
    assert steps == [("written", 3_008), ("acknowledged", 3_008)]


def test_a_heartbeat_moves_on_only_behind_what_came_before() -> None:
    world = World()
    world.transaction(2_000, relation(), insert(1))
    world.inbox.append(Data(2_500, message(b"heartbeat", b"123", transactional=False, lsn=2_500)))
    world.run()
    assert world.written("acknowledged")[-1] == 2_500
    idle = World()
    idle.inbox.append(Data(2_500, message(b"heartbeat", b"123", transactional=False, lsn=2_500)))
    idle.run()
    assert idle.written("acknowledged") == [2_500]


def test_keepalives_count_only_when_much_wal_has_passed() -> None:
    world = World()
    world.inbox.append(Keepalive(START + 100, 0))  # our own writing of progress
    world.run()
    assert world.written("acknowledged") == []
    world.inbox.append(Keepalive(START + 2_000_000, 0))
    world.run()
    assert world.written("acknowledged") == [START + 2_000_000]


def test_positions_depend_on_the_wal_alone() -> None:
    """Whatever is skipped, stopped or not ours keeps its ordinals."""
    world = World()
    other, raw = message(b"of others", b"?"), message(b"outbox", b"not json", lsn=77)
    world.transaction(2_000, other, relation(), insert(1), raw, insert(2), insert(3))
    world.run()
    assert world.shown() == [(2_000, 3 + 2), (2_000, 9 + 2), (2_000, 12 + 2)]
    assert world.written("dead") == [77]


def test_what_the_log_has_is_not_sent_again() -> None:
    first = World()
    first.transaction(2_000, relation(), insert(1), insert(2))
    first.run()
    source = TopicPartition(first.records[0].topic, first.records[0].partition)
    again = World({source: Last(first.records[0].pos, None)})
    again.transaction(2_000, relation(), insert(1), insert(2))
    again.transaction(3_000, insert(3))
    again.run()
    assert again.shown() == [*first.shown()[1:], (3_000, 2)]
    assert again.written("acknowledged")[-1] == 3_008


def test_what_the_snapshot_has_is_not_streamed() -> None:
    world = World(snapshot_lsn=2_500)
    world.transaction(2_000, relation(), insert(1))
    world.transaction(2_500, insert(2))  # starts exactly where the snapshot was taken: it is not in it
    world.run()
    assert world.shown() == [(2_500, 2)]


def test_a_full_queue_does_not_stop_the_talk_with_the_server() -> None:
    world = World()
    world.room = 1
    world.transaction(2_000, relation(), *(insert(number) for number in range(50)))
    world.run()
    assert len(world.records) == 50
    assert world.did.count("alive") >= 49


def test_a_table_stops_after_what_came_before_it_is_in_kafka() -> None:
    world = World()
    world.too_large.add(b"huge")
    world.transaction(2_000, relation(), insert(1), insert(2, b"huge"), insert(3))
    world.run()
    assert world.shown() == [(2_000, 2)]
    assert [what for what in world.did if what[0] == "stopped"] == [("stopped", "app.item", "record-too-large", 0)]
    assert world.written("acknowledged")[-1] == 2_008


def test_a_position_of_the_log_is_compared_as_a_pair() -> None:
    assert Pos(Lsn(1), 99) < Pos(Lsn(2), 0)
