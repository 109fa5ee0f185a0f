"""The transactional sink: the fence, the lost answer of a commit, whose fault an error is, dead letters, watermarks."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from connectors.kafka.records import Record, TopicPartition
from connectors.postgres import sink
from connectors.postgres.connections import Connection, connect
from connectors.postgres.sink import DeadLetter, Step, TransactionalSink, Watermark
from runtime.errors import Fenced, Undecodable, Unprocessable
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.ops import Health
from runtime.settings import Settings
from tests import databases
from tests.patience import PATIENCE_S

SOURCE = TopicPartition("topic", 3)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def nothing() -> None:
    return None


@pytest.fixture
def writer(fresh_database: Settings) -> Iterator[TransactionalSink]:
    with closing(TransactionalSink(fresh_database.postgres, "flow", Lifecycle(Health()))) as made:
        made.load_offsets({SOURCE: 5})
        yield made


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    databases.let_emit(fresh_database, f"{SOURCE.topic}.dlq")
    with connect(fresh_database.postgres, autocommit=True) as opened:
        yield opened


def offset(connection: Connection) -> int:
    row = connection.execute("select next_offset from ops.consumer_offsets").fetchone()
    assert row is not None
    return int(row[0])


def mark(connection: Connection) -> None:
    """Some work that can be counted."""
    connection.execute(
        "insert into ops.dlq (flow, topic, partition, record_offset, stage, code, detail) "
        "select 'work', 't', 0, count(*), '', '', '' from ops.dlq where flow = 'work'"
    )


def marks(connection: Connection) -> int:
    row = connection.execute("select count(*) from ops.dlq where flow = 'work'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.stack
class TestOffsets:
    def test_a_new_partition_starts_where_the_log_does_and_has_a_row(
        self, writer: TransactionalSink, connection: Connection
    ) -> None:
        assert offset(connection) == 5
        assert writer.load_offsets({SOURCE: 77, TopicPartition("topic", 4): 9}) == {
            SOURCE: 5,
            TopicPartition("topic", 4): 9,
        }

    def test_offset_and_work_are_committed_together(self, writer: TransactionalSink, connection: Connection) -> None:
        writer.commit(Step(SOURCE, 5, 8), mark, nothing)
        assert (offset(connection), marks(connection)) == (8, 1)

    def test_a_failed_work_moves_nothing(self, writer: TransactionalSink, connection: Connection) -> None:
        def work(inner: Connection) -> None:
            mark(inner)
            inner.execute("select 1 / 0")

        with pytest.raises(Unprocessable):
            writer.commit(Step(SOURCE, 5, 8), work, nothing)
        assert (offset(connection), marks(connection)) == (5, 0)
        writer.commit(Step(SOURCE, 5, 8), mark, nothing)

    def test_a_zombie_is_fenced_and_writes_nothing(
        self, writer: TransactionalSink, connection: Connection, fresh_database: Settings
    ) -> None:
        with closing(TransactionalSink(fresh_database.postgres, "flow", Lifecycle(Health()))) as zombie:
            writer.commit(Step(SOURCE, 5, 8), mark, nothing)
            with pytest.raises(Fenced, match="stands at offset 8"):
                zombie.commit(Step(SOURCE, 5, 8), mark, nothing)
            with pytest.raises(Fenced):
                zombie.commit(Step(SOURCE, 7, 9), mark, nothing)
        assert (offset(connection), marks(connection)) == (8, 1)

    def test_two_writers_at_once_are_one_after_the_other(
        self, writer: TransactionalSink, connection: Connection, fresh_database: Settings
    ) -> None:
        """The second waits for the first one's transaction, and then finds that it is late."""
        entered, leave = threading.Event(), threading.Event()

        def slow(inner: Connection) -> None:
            mark(inner)
            entered.set()
            assert leave.wait(PATIENCE_S)

        errors: list[Exception] = []

        def second() -> None:
            with closing(TransactionalSink(fresh_database.postgres, "flow", Lifecycle(Health()))) as other:
                try:
                    other.commit(Step(SOURCE, 5, 8), mark, nothing)
                except Fenced as error:
                    errors.append(error)

        first = threading.Thread(target=writer.commit, args=(Step(SOURCE, 5, 8), slow, nothing))
        first.start()
        assert entered.wait(PATIENCE_S)
        late = threading.Thread(target=second)
        late.start()
        late.join(0.3)
        assert late.is_alive()
        leave.set()
        first.join(PATIENCE_S)
        late.join(PATIENCE_S)
        assert len(errors) == 1
        assert (offset(connection), marks(connection)) == (8, 1)

    def test_a_deadlock_is_tried_again(self, writer: TransactionalSink, connection: Connection) -> None:
        tries = 0

        def work(inner: Connection) -> None:
            nonlocal tries
            tries += 1
            mark(inner)
            if tries < 3:
                raise psycopg.errors.DeadlockDetected

        retries: list[int] = []
        writer.commit(Step(SOURCE, 5, 8), work, lambda: retries.append(tries))
        assert retries == [1, 2]
        assert (offset(connection), marks(connection)) == (8, 1)

    def test_asked_to_stop_while_the_database_is_away_it_stops(self, fresh_database: Settings) -> None:
        life = Lifecycle(Health())
        postgres = fresh_database.postgres.model_copy(update={"port": 1})
        threading.Timer(0.3, life.stop).start()
        with pytest.raises(StopRequested):
            TransactionalSink(postgres, "flow", life).commit(Step(SOURCE, 5, 8), mark, nothing)


class CuttingProxy:
    """Between a client and Postgres. Cuts the connection at the first COMMIT: before the server sees it, or before
    the client sees the answer."""

    def __init__(self, host: str, port: int, deliver: bool) -> None:
        self._target, self._deliver = (host, port), deliver
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            while data := _received(client):
                if b"COMMIT" in data and not self.cuts:
                    self.cuts += 1
                    if self._deliver:
                        client.shutdown(socket.SHUT_RDWR)  # the answer will find nobody
                        server.sendall(data)
                        threading.Event().wait(0.2)
                    break
                server.sendall(data)
            _hang_up(client)
            _hang_up(server)

    @staticmethod
    def _down(server: socket.socket, client: socket.socket) -> None:
        try:
            while data := _received(server):
                client.sendall(data)
        except OSError:
            return
        _hang_up(client)


def _hang_up(peer: socket.socket) -> None:
    """Closing alone would not tell the other side while a thread still reads."""
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _received(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65536)
    except OSError:
        return b""


@pytest.mark.stack
@pytest.mark.parametrize("deliver", [True, False], ids=["committed", "not committed"])
def test_a_commit_whose_answer_is_lost_happens_once(
    writer: TransactionalSink, connection: Connection, fresh_database: Settings, deliver: bool
) -> None:
    postgres = fresh_database.postgres
    with closing(CuttingProxy(postgres.host, postgres.port, deliver)) as proxy:
        through = postgres.model_copy(update={"host": "127.0.0.1", "port": proxy.port, "sslmode": "disable"})
        with closing(TransactionalSink(through, "flow", Lifecycle(Health()))) as cut:
            cut.commit(Step(SOURCE, 5, 8), mark, nothing)
            assert proxy.cuts == 1
            assert (offset(connection), marks(connection)) == (8, 1)
            cut.commit(Step(SOURCE, 8, 9), mark, nothing)
    assert (offset(connection), marks(connection)) == (9, 2)


def record(at: int, **changes: Any) -> Record:
    return Record(**{"topic": "topic", "partition": 3, "offset": at, "timestamp_ms": 1_767_225_600_123, "key": b"\x00k",
                     "value": b"\xff\x00v", "headers": (("adriatic.pos", b"00000000000003E8/00000001"), ("h", b"\xff"),
                     ("text", b"t\x00"), ("none", None)), **changes})  # fmt: skip


def test_a_dead_letter_never_quotes_values() -> None:
    try:
        int("secret")
    except ValueError as error:
        letter = DeadLetter.of(record(1), "process", error)
    assert "secret" not in letter.detail
    assert "test_a_dead_letter_never_quotes_values" in letter.detail


def test_headers_of_a_dead_letter_say_where_it_was() -> None:
    headers = sink.dead_letter_headers("flow", DeadLetter.of(record(7), "decode", Undecodable("too short")))
    assert headers == {
        "text": "t\\0",
        "dlq.source.topic": "topic",
        "dlq.source.partition": "3",
        "dlq.source.offset": "7",
        "dlq.source.timestamp": "1767225600123",
        "dlq.source.position": "00000000000003E8/00000001",
        "dlq.flow": "flow",
        "dlq.stage": "decode",
        "dlq.code": "undecodable",
        "dlq.detail": "too short",
    }


@pytest.mark.stack
class TestRows:
    def test_a_dead_letter_keeps_every_byte(self, connection: Connection) -> None:
        tenant = uuid.uuid4()
        letter = DeadLetter.of(record(7), "decode", Undecodable("a \x00 detail"), tenant)
        sink.write_dead_letters(
            connection, "flow", [letter, DeadLetter.of(record(9, key=None), "decode", ValueError())]
        )
        rows = connection.execute(
            "select tenant_id, key, value, headers, record_at, code, attempts from ops.dlq order by record_offset"
        ).fetchall()
        assert rows[0][:3] == (tenant, b"\x00k", b"\xff\x00v")
        assert rows[0][3] == json.loads(
            '[["adriatic.pos", "MDAwMDAwMDAwMDAwMDNFOC8wMDAwMDAwMQ=="], ["h", "/w=="], ["text", "dAA="], '
            '["none", null]]'
        )
        assert rows[0][4:] == (datetime(2026, 1, 1, 0, 0, 0, 123000, UTC), "undecodable", 1)
        assert rows[1][1] is None

    def test_a_replayed_dead_letter_counts_one_attempt_more(self, connection: Connection) -> None:
        for _ in range(2):
            sink.write_dead_letters(connection, "flow", [DeadLetter.of(record(7), "decode", Undecodable("x"))])
        assert connection.execute("select attempts from ops.dlq").fetchall() == [(2,)]

    def test_only_undecided_dead_letters_count_towards_the_limit(self, connection: Connection) -> None:
        letters = [DeadLetter.of(record(at), "decode", Undecodable("x")) for at in (3, 5, 6, 9)]
        sink.write_dead_letters(connection, "flow", letters)
        connection.execute("update ops.dlq set state = 'dropped' where record_offset = 5")
        assert sink.recent_dead_letters(connection, "flow", SOURCE, 3, 9) == [3, 6]
        assert sink.recent_dead_letters(connection, "other", SOURCE, 3, 9) == []

    def test_watermarks_never_go_back(self, connection: Connection) -> None:
        for lsn, seconds in ((100, 10), (90, 20), (110, 5)):
            sink.advance_watermarks(connection, ["v"], SOURCE, Watermark(lsn, AT + timedelta(seconds=seconds)))
        row = connection.execute("select lsn::text, source_at from mv.watermarks").fetchall()
        assert row == [("0/6E", AT + timedelta(seconds=5))], "the time is that of the newest position"

    def test_an_idle_watermark_needs_a_flow_that_is_at_the_end(
        self, writer: TransactionalSink, connection: Connection
    ) -> None:
        def advance(end: int, lsn: str) -> list[Any]:
            sink.advance_idle_watermarks(connection, "flow", ["v", "w"], {SOURCE: end}, lsn, AT)
            return connection.execute("select view, lsn::text from mv.watermarks order by 1").fetchall()

        assert advance(6, "0/10") == []
        assert advance(5, "0/10") == [("v", "0/10"), ("w", "0/10")]
        assert advance(6, "0/20") == [("v", "0/10"), ("w", "0/10")]
        assert advance(5, "0/8") == [("v", "0/10"), ("w", "0/10")]
