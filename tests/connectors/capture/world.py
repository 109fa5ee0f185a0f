"""A database with tables of its own, its topics and contracts, and captures of it as processes that can be killed.

Each world has its own slot, publication and prefix, so that several share one server and one broker. Run as a program
it is such a process: the same `Capture` that `adriatic cdc run` starts, on this world's contracts.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it exports them, silently

from connectors.capture import outbox
from connectors.capture.assemble import assemble
from connectors.capture.source import Capture
from connectors.capture.tables import Contracts
from connectors.postgres.lsn import Pos
from connectors.registry import RegistryClient
from runtime import logs
from runtime.ops import Health
from runtime.settings import Settings
from schemas import capture as capture_schemas
from schemas.catalog import Schema, subject_of
from schemas.codec import Decoder, header
from schemas.headers import COMMITTED_AT_HEADER, POSITION_HEADER
from tests.patience import PATIENCE_S
from topics.catalog import Dlq, Kind, Topic

PARTITIONS = 4
RECORD_BYTES_MAX = 1_048_588
ROOT = Path(__file__).resolve().parents[3]

TABLES = """
create table app.item (
    tenant_id uuid not null, id integer not null, title text not null, body text, number numeric(12, 2),
    free numeric, at timestamptz, day date, data jsonb, raw bytea, tags text[], traceparent text,
    primary key (tenant_id, id)
);
create table app.other (tenant_id uuid not null, id integer not null, note text, primary key (tenant_id, id));
create table app.whole (tenant_id uuid not null, id integer not null, note text, body text,
    primary key (tenant_id, id));
alter table app.whole replica identity full;
grant select on app.item, app.other, app.whole to adriatic_cdc;
"""
EVENT_KEY: Schema = {
    "type": "record",
    "name": "Key",
    "fields": [{"name": "tenant_id", "type": {"type": "string", "logicalType": "uuid"}}, {"name": "id", "type": "int"}],
}
EVENT_VALUE: Schema = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "int"},
        {"name": "text", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}


class Read(NamedTuple):
    """A record as a consumer sees it, decoded."""

    topic: str
    partition: int
    offset: int
    key: Any
    value: Any
    headers: dict[str, bytes]

    @property
    def pos(self) -> Pos:
        return Pos.parse(self.headers[POSITION_HEADER])

    @property
    def committed_at_us(self) -> int:
        return int(self.headers[COMMITTED_AT_HEADER])


class NoRegistry:
    """Ids that were registered before: what a capture has when the registry is away."""

    def __init__(self, ids: dict[str, int]) -> None:
        self._ids = ids

    def id_of(self, subject: str, schema: Schema) -> int:
        return self._ids[subject]

    def schema(self, schema_id: int) -> Schema:
        raise AssertionError("a producer does not read schemas")


class World:
    """See the module."""

    def __init__(self, settings: Settings) -> None:
        self.name = f"w{uuid.uuid4().hex[:8]}"
        cdc = settings.cdc.model_copy(
            update={"slot": self.name, "publication": self.name, "prefix": self.name, "heartbeat_s": 0.2}
        )
        self.settings = settings.model_copy(update={"cdc": cdc})
        self.tables = ("app.item", "app.other", "app.whole")
        self.topics = {
            topic.name: topic
            for topic in (
                *(self._topic(table, "capture", ("tenant_id", "id")) for table in self.tables),
                self._topic("events", "event", ("tenant_id", "id")),
                self._topic("feed", "feed", ("tenant_id", "id")),
                self._topic("events.dlq", "dlq", ()),
            )
        }
        self.schemas: dict[str, Schema] = {}
        self.ids: dict[str, int] = {}
        self.registry = RegistryClient(settings.registry)
        self._admin = psycopg.connect(settings.postgres.dsn("admin"), autocommit=True)
        self._kafka = AdminClient({**settings.kafka.client_config()})
        self._processes: list[Process] = []

    def topic(self, name: str) -> str:
        return f"{self.name}.{name}"

    def _topic(self, name: str, kind: Kind, key: tuple[str, ...]) -> Topic:
        return Topic(
            name=self.topic(name), kind=kind, description="", owner="tests", partitions=PARTITIONS, key=key,
            partition_by="tenant_id", cleanup="delete", retention_ms=-1, producers=("cdc",), pii=(),
            freshness_target_s=None, dlq=Dlq("") if kind == "event" else None, extra={},
        )  # fmt: skip

    # --- making it --------------------------------------------------------------------------------------------------

    def make(self) -> None:
        self.sql(TABLES)
        published = ", ".join((*self.tables, outbox.TABLE))
        self.sql(f"create publication {self.name} for table {published} with (publish_via_partition_root = true)")
        self.register()
        limit = {"max.message.bytes": str(RECORD_BYTES_MAX)}
        futures = self._kafka.create_topics([NewTopic(name, PARTITIONS, 1, config=limit) for name in self.topics])
        for future in futures.values():
            future.result(30)

    def register(self) -> None:
        """Contracts of what the tables are now."""
        for table in self.tables:
            schema, _, name = table.partition(".")
            columns = self.columns(table)
            self.contract(table, "key", capture_schemas.key_schema(self.name, schema, name, columns))
            self.contract(table, "value", capture_schemas.envelope_schema(self.name, schema, name, columns))
        self.contract("events", "key", EVENT_KEY)
        self.contract("events", "value", EVENT_VALUE)

    def contract(self, topic: str, side: Any, schema: Schema) -> None:
        subject = subject_of(self.topic(topic), side)
        self.schemas[subject] = schema
        self.ids[subject] = self.registry.register(subject, schema).schema_id

    def columns(self, table: str) -> list[capture_schemas.Column]:
        rows = self.sql(
            "select a.attname, a.atttypid::bigint, coalesce(a.attnum = any(i.indkey), false), a.atttypmod "
            "from pg_attribute a join pg_index i on i.indrelid = a.attrelid and i.indisprimary "
            f"where a.attrelid = '{table}'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum"
        )
        return [capture_schemas.Column(*row) for row in rows]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        # A broker writes every log that it has when it ends: without this, one that is ours takes a minute.
        for future in self._kafka.delete_topics(list(self.topics)).values():
            with suppress(KafkaException):  # it was never made
                future.result(30)
        self._admin.close()
        self.registry.close()

    # --- the database -----------------------------------------------------------------------------------------------

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.settings.postgres.dsn("admin"), autocommit=True)

    def sql(self, query: str, *values: Any) -> list[Any]:
        cursor = self._admin.execute(query, values or None)
        return cursor.fetchall() if cursor.description else []

    def emit(self, connection: psycopg.Connection[Any], tenant: str, number: int, text: str) -> None:
        connection.execute(
            "select app.emit(%s, %s, %s, %s, %s)",
            [
                self.topic("events"),
                json.dumps({"tenant_id": tenant, "id": number}),
                tenant,
                json.dumps({"id": number, "text": text, "at": 1_767_225_600_000_001}),
                json.dumps({"traceparent": "00-1-2-01"}),
            ],
        )

    def confirmed(self) -> str | None:
        rows = self.sql("select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s", self.name)
        return rows[0][0] if rows else None

    # --- captures ---------------------------------------------------------------------------------------------------

    def contracts(self) -> Contracts:
        return Contracts(self.topics, NoRegistry(self.ids), self.schemas.__getitem__)

    def capture(self, health: Health | None = None) -> Capture:
        return assemble(self.settings, self.contracts(), health)

    def process(self) -> Process:
        process = Process(self)
        self._processes.append(process)
        return process

    @contextmanager
    def capturing(self) -> Iterator[Process]:
        process = self.process()
        try:
            yield process
        finally:
            process.kill()

    def streaming(self) -> None:
        """Until the first copy is done."""
        query = "select 1 from ops.cdc_progress where slot = %s and snapshot_lsn is not null"
        self.until(lambda: self.sql(query, self.name))

    def caught_up(self, timeout_s: float = PATIENCE_S) -> None:
        """Until everything that is committed now is in Kafka."""
        (now,) = self.sql("select pg_current_wal_insert_lsn()::text")[0]
        self.until(
            lambda: self.sql(
                "select 1 from ops.cdc_progress where slot = %s and lsn >= %s::pg_lsn and snapshot_lsn is not null",
                self.name,
                now,
            ),
            timeout_s,
        )

    def until(self, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        end = time.monotonic() + timeout_s
        while not (result := condition()):
            if time.monotonic() > end:
                raise AssertionError("it did not happen in time" + "".join(p.output() for p in self._processes))
            time.sleep(0.05)
        return result

    # --- the topics -------------------------------------------------------------------------------------------------

    def read(self, name: str, *, raw: bool = False, isolation: str = "read_committed") -> list[Read]:
        """Every record of a topic, in order within a partition."""
        topic = self.topic(name)
        consumer = Consumer(
            {
                **self.settings.kafka.client_config(),
                "group.id": "tests",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": isolation,
            }
        )
        decoder = Decoder(self.registry)
        records: list[Read] = []
        try:
            consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
            ended: set[int | None] = set()
            while len(ended) < PARTITIONS:
                message = consumer.poll(PATIENCE_S)
                assert message is not None, "the broker does not answer"
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(message.partition())
                    continue
                key: Any = message.key()
                value: Any = message.value()
                headers: Any = message.headers()
                if not raw:
                    key = decoder.decode(key)
                    value = None if value is None else decoder.decode(value)
                records.append(
                    Read(topic, message.partition() or 0, message.offset() or 0, key, value, dict(headers or ()))
                )
        finally:
            consumer.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))


class Process:
    """A capture as a process."""

    def __init__(self, world: World) -> None:
        handle, name = tempfile.mkstemp(suffix=".world")
        self._spec = Path(name)
        with os.fdopen(handle, "wb") as file:
            pickle.dump((world.settings, world.topics, world.ids, world.schemas), file)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, __file__, name], cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.kill()
        self._process.wait()
        self._log.close()
        self._spec.unlink(missing_ok=True)

    def stop(self, timeout_s: float = PATIENCE_S) -> int:
        """As a supervisor does; returns the exit code."""
        self._process.terminate()
        code = self._process.wait(timeout_s)
        self._spec.unlink(missing_ok=True)
        return code

    def output(self) -> str:
        if self._log.closed:
            return ""
        # Not `seek`: the process writes through the same open file, and would go on from there.
        return os.pread(self._log.fileno(), 1_000_000, 0).decode()


@contextmanager
def made(settings: Settings) -> Iterator[World]:
    world = World(settings)
    try:
        world.make()
        yield world
    finally:
        world.close()


def wire_header(world: World, topic: str, side: Any) -> bytes:
    return header(world.ids[subject_of(world.topic(topic), side)])


def _main(spec: str) -> None:
    settings, topics, ids, schemas = pickle.loads(Path(spec).read_bytes())
    logs.configure("cdc", settings.telemetry)
    capture = assemble(settings, Contracts(topics, NoRegistry(ids), schemas.__getitem__))
    signal.signal(signal.SIGTERM, lambda *_: capture.stop())
    capture.run()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _main(sys.argv[1])
