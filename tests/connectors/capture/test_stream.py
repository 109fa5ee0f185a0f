"""The loop's order of things, with a server, a broker and a database that do as they are told."""

from __future__ import annotations

import struct
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from connectors.capture.config import CaptureConfig
from connectors.capture.identity import LogLost
from connectors.capture.ledger import Identity, Ledger, Run
from connectors.capture.outbox import EventEncoder, OutboxEvent
from connectors.capture.pgoutput import POSTGRES_EPOCH_US, UNCHANGED, Message
from connectors.capture.ports import Acked, Data, Keepalive, Tell, Told, Written
from connectors.capture.routing import TenantRouter
from connectors.capture.stream import Parts, Stream, StreamStart
from connectors.capture.tables import Contracts, Tables
from connectors.capture.tracker import Confirmed
from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import Lsn, Pos
from runtime.clock import ManualClock
from runtime.errors import AdriaticError, DependencyUnavailable, RecordTooLarge
from tests.connectors.capture.test_encoder import NAME, TENANT, Lookup, contract
from tests.connectors.capture.test_outbox import topic
from tests.connectors.capture.test_pgoutput import tuple_data

TABLE, OUTBOX = 9, 10
SESSION = uuid.UUID(int=1)
START = 1_000


class World:
    """Everything around a stream, and what it did, in order."""

    def __init__(self, ledger: Ledger | None = None, snapshot_lsn: int = 0, tell: Tell = lambda _: None) -> None:
        self.clock = ManualClock()
        self.did: list[Any] = []
        self.records: list[EncodedRecord] = []
        self.waiting: list[Callable[[], None]] = []
        self.offsets: Counter[tuple[str, int]] = Counter()
        self.beats: list[Written] = []
        self.inbox: list[Data | Keepalive] = []
        self.room = 1_000
        self.silence_s = 0.0
        self.deaf = False
        self.too_large: set[bytes] = set()
        key, value = contract()
        schemas = {f"{NAME}-key": key, f"{NAME}-value": value}
        contracts = Contracts({NAME: topic(NAME, "capture")}, Lookup(), schemas.__getitem__)
        self.tables = Tables(contracts, TenantRouter("p"), "db", {})
        everything: Any = self
        parts = Parts(everything, everything, everything, self.tables, EventEncoder({}, {}), ledger or Ledger())
        config = CaptureConfig("s", "p", heartbeat_s=3_600, kafka_down_max_s=20)
        start = StreamStart(Confirmed(START, 0), Beat(SESSION, 1), snapshot_lsn)
        self.stream = Stream(parts, config, start, self.clock, tell)

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

    def write(self, written: Written) -> None:
        self.beats.append(written)
        if written.confirmed is not None:
            self.did.append(("written", written.confirmed.lsn))

    def table_state(self, table: str, state: str, error: AdriaticError) -> None:
        self.did.append((state, table, error.code, self.unacked))

    def dead_letter(self, event: OutboxEvent | None, lsn: int, error: AdriaticError) -> None:
        self.did.append(("dead", event.event_id if event else lsn))

    def own_heartbeat(self, message: Message) -> int | None:
        own = message.prefix == "heartbeat" and message.content.isdigit() and len(message.content) < 20
        return int(message.content) if own else None

    # the producer

    @property
    def unacked(self) -> int:
        return len(self.waiting)

    def check(self, record: EncodedRecord) -> None:
        if any(text in (record.value or b"") for text in self.too_large):
            raise RecordTooLarge("too large")

    def send(self, record: EncodedRecord, acked: Acked) -> bool:
        if len(self.waiting) >= self.room:
            return False
        self.records.append(record)
        self.waiting.append(partial(acked, self.offsets[record[:2]]))
        self.offsets[record[:2]] += 1
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


EVENT_COLUMNS = (b"event_id", b"topic", b"tenant_id", b"key", b"value", b"key_bytes", b"value_bytes", b"headers")


def outbox_relation() -> bytes:
    shown = b"".join(b"\0" + name + b"\0" + struct.pack(">Ii", 25, -1) for name in EVENT_COLUMNS)
    return b"R" + struct.pack(">I", OUTBOX) + b"app\0outbox\0d" + struct.pack(">h", len(EVENT_COLUMNS)) + shown


def emitted(number: int, topic: bytes) -> bytes:
    cells = tuple_data(b"%d" % number, topic, TENANT, b"{}", b"{}", None, None, b"{}")
    return b"I" + struct.pack(">I", OUTBOX) + b"N" + cells


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
    other, event = message(b"outbox", b"of others"), emitted(77, b"nowhere")
    world.transaction(2_000, other, relation(), insert(1), outbox_relation(), event, insert(2), insert(3))
    world.run()
    assert world.shown() == [(2_000, 3 + 2), (2_000, 9 + 2), (2_000, 12 + 2)]
    assert world.written("dead") == [77]


def test_what_the_log_has_is_not_sent_again() -> None:
    first = World()
    first.transaction(2_000, relation(), insert(1), insert(2))
    first.run()
    source = TopicPartition(first.records[0].topic, first.records[0].partition)
    run = Run()
    run.add_older(first.records[0].pos)
    again = World(Ledger(START, {source: run}, {2_000: Identity(1, 7 + POSTGRES_EPOCH_US)}))
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


def test_a_relation_that_nothing_comes_of_stops_nothing() -> None:
    """The server shows the days of the outbox beside the outbox itself, and their rows as the outbox's own."""
    world = World()
    day = relation().replace(b"item", b"outbox_20261128").replace(struct.pack(">I", TABLE), struct.pack(">I", 77))
    world.transaction(2_000, outbox_relation(), day, emitted(1, b"nowhere"), relation(), insert(1))
    world.run()
    assert world.written("dead") == [1]
    assert not [what for what in world.did if what[0] == "stopped"]
    world.transaction(3_000, insert(2).replace(struct.pack(">I", TABLE), struct.pack(">I", 77)), insert(3))
    world.run()
    assert [what[:3] for what in world.did if what[0] == "stopped"] == [
        ("stopped", "app.outbox_20261128", "no-contract")
    ]
    assert world.shown() == [(2_000, 3 + 2), (3_000, 3 + 2)]


@pytest.mark.parametrize(
    "cells",
    [
        (b"\xff" * 36, b"1", b"x"),
        (TENANT, b"9" * 5_000, b"x"),
        (TENANT, b"1", b"\xff\xfe"),
        (None, b"1", b"x"),
        (TENANT, b"1", UNCHANGED),
        (TENANT, b"", b""),
    ],
)
def test_whatever_a_row_holds_the_others_go_on(cells: tuple[Any, ...]) -> None:
    world = World()
    odd = b"I" + struct.pack(">I", TABLE) + b"N" + tuple_data(*cells, None, None)
    world.transaction(2_000, relation(), odd)
    world.transaction(
        3_000, message(b"\xff\xfe", b"\xff" * 9), message(b"heartbeat", b"9" * 5_000, transactional=False)
    )
    world.run()
    assert world.written("acknowledged")[-1] == 3_008


def test_every_record_carries_a_beat_that_was_written_before() -> None:
    world = World()
    for commit in (2_000, 3_000, 4_000):
        world.transaction(commit, *([relation()] if commit == 2_000 else []), insert(1))
        world.run()
    carried = [dict(record.headers)["adriatic.session"] for record in world.records]
    assert len(set(carried)) == 3
    written = [each.beat.header() for each in world.beats if each.beat is not None]
    assert set(carried) <= {Beat(SESSION, 1).header(), *written}
    assert carried == sorted(carried)


def test_an_acknowledgement_that_goes_back_is_told_to_nobody() -> None:
    world = World()
    world.transaction(2_000, relation(), insert(1))
    world.run()
    assert world.written("acknowledged") == [2_008]
    world.offsets.clear()  # the broker lost what it had
    world.transaction(3_000, insert(2))
    with pytest.raises(LogLost, match="put a record at offset 0"):
        world.run()
    assert world.written("acknowledged") == world.written("written") == [2_008]


def test_the_time_of_the_newest_position_is_told_also_when_the_clock_went_back() -> None:
    told: list[Told] = []
    world = World(tell=told.append)
    for lsn, at in ((2_500, b"4102444800000000"), (2_600, b"1700000000000000")):
        world.inbox.append(Data(lsn, message(b"heartbeat", at, transactional=False, lsn=lsn)))
        world.run()
    assert told[-1].confirmed == Confirmed(2_600, 1_700_000_000_000_000)
