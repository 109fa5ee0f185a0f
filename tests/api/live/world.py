"""Change capture, a broker and a registry of one test's own, with the tables of the live views; and readers of them.

Nothing maintains the views here: the tests write to the tables as a flow does.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it exports them, silently

from connectors.capture.assemble import assemble
from connectors.capture.source import Capture
from connectors.capture.tables import Contracts
from connectors.llm.sse import ServerEvent
from connectors.registry import RegistryClient
from dataflows.catalog import views
from runtime.settings import Settings
from schemas import capture as capture_schemas
from schemas.catalog import Schema, subject_of
from schemas.codec import Decoder
from schemas.flows import KeptView
from tests import databases
from tests.brokers import has_leaders
from tests.patience import PATIENCE_S
from topics import catalog
from topics.catalog import Topic

LIVE = tuple(view for view in views() if view.live)


def view_named(name: str) -> KeptView:
    return next(view for view in LIVE if view.name == name)


class World:
    """See the module. Close it."""

    def __init__(self, settings: Settings, views: Sequence[KeptView] = LIVE) -> None:
        self.name = f"w{uuid.uuid4().hex[:8]}"
        cdc = settings.cdc.model_copy(
            update={"slot": self.name, "publication": self.name, "prefix": self.name, "heartbeat_s": 0.2}
        )
        self.settings = settings.model_copy(update={"cdc": cdc})
        self.views = views
        known = catalog.load()
        self.topics: dict[str, Topic] = {
            view.topic(self.name): msgspec.structs.replace(known[f"adriatic.{view.table}"], name=view.topic(self.name))
            for view in views
        }
        self.registry = RegistryClient(settings.registry)
        self._schemas: dict[str, Schema] = {}
        self._kafka = AdminClient({**settings.kafka.client_config()})
        self._capture: Capture | None = None
        self._thread: threading.Thread | None = None

    def make(self) -> None:
        tables = ", ".join(view.table for view in self.views)
        self.sql(f"create publication {self.name} for table {tables}")
        for view in self.views:
            columns = self._columns(view.table)
            schema, _, table = view.table.partition(".")
            for side, contract in (
                ("key", capture_schemas.key_schema(self.name, schema, table, columns)),
                ("value", capture_schemas.envelope_schema(self.name, schema, table, columns)),
            ):
                subject = subject_of(view.topic(self.name), side)  # type: ignore[arg-type]  # one of the two
                self._schemas[subject] = contract
                self.registry.register(subject, contract)
        self.make_topics()
        self.start_capture()
        self.until(
            lambda: self.sql("select 1 from ops.cdc_progress where slot = %s and snapshot_lsn is not null", self.name)
        )

    def make_topics(self) -> None:
        made = self._kafka.create_topics(
            [NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in self.topics.values()]
        )
        for future in made.values():
            future.result(30)
        self.until(lambda: has_leaders(self.settings.kafka, self.topics))

    def take_topics_as_they_are(self) -> None:
        """What somebody decides who made them anew: change capture would halt, because it has filled others."""
        self.sql("update ops.cdc_topics set may_differ = true, ends = '{}', lasts = '{}' where slot = %s", self.name)

    def delete_topics(self) -> None:
        for future in self._kafka.delete_topics(list(self.topics)).values():
            with suppress(KafkaException):  # it was never made
                future.result(30)

    def topics_there(self) -> list[str]:
        return list(self._kafka.list_topics(timeout=PATIENCE_S).topics)

    def schema(self, subject: str) -> Schema:
        return self._schemas[subject]

    def start_capture(self) -> None:
        contracts = Contracts(self.topics, self.registry, self._schemas.__getitem__)
        self._capture = assemble(self.settings, contracts)
        self._thread = threading.Thread(target=self._capture.run, name="capture", daemon=True)
        self._thread.start()

    def stop_capture(self) -> None:
        if self._capture is not None and self._thread is not None:
            self._capture.stop()
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "change capture does not stop"

    def close(self) -> None:
        self.stop_capture()
        self.delete_topics()
        self.registry.close()

    def _columns(self, table: str) -> list[capture_schemas.Column]:
        rows = self.sql(
            "select a.attname, a.atttypid::bigint, coalesce(a.attnum = any(i.indkey), false), a.atttypmod "
            "from pg_attribute a join pg_index i on i.indrelid = a.attrelid and i.indisprimary "
            f"where a.attrelid = '{table}'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum"
        )
        return [capture_schemas.Column(*row) for row in rows]

    # --- the database -----------------------------------------------------------------------------------------------

    def connect(self) -> psycopg.Connection[Any]:
        """As the flows' role, without a transaction of its own."""
        return psycopg.connect(self.settings.postgres.dsn("flows"), autocommit=True)

    def sql(self, query: str, *values: Any) -> list[Any]:
        return databases.ask(self.settings.postgres.dsn("admin"), query, *values)

    def count(self, tenant_id: uuid.UUID, label: str, count: int) -> None:
        """One row of `entity_counts`."""
        self.sql(COUNT, tenant_id, "adrs", label, count)

    def caught_up(self) -> None:
        """Until everything that is committed now is in Kafka."""
        (now,) = self.sql("select pg_current_wal_insert_lsn()::text")[0]
        query = "select 1 from ops.cdc_progress where slot = %s and lsn >= %s::pg_lsn"
        self.until(lambda: self.sql(query, self.name, now))

    def until(self, condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE_S
        while not (result := condition()):
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.05)
        return result

    # --- the topics -------------------------------------------------------------------------------------------------

    def read(self, view: KeptView) -> list[Any]:
        """Every envelope of the view's topic that is no tombstone, in order within a partition, by a plain consumer."""
        topic = view.topic(self.name)
        consumer = Consumer(
            {
                **self.settings.kafka.client_config(),
                "group.id": "tests",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
            }
        )
        decoder, found = Decoder(self.registry), []
        try:
            partitions = range(self.topics[topic].partitions)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            ended: set[int | None] = set()
            while len(ended) < len(partitions):
                message = consumer.poll(PATIENCE_S)
                assert message is not None, "the broker does not answer"
                if (error := message.error()) is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    ended.add(message.partition())
                elif (value := message.value()) is not None:
                    found.append(decoder.decode(value))
        finally:
            consumer.close()
        return found


COUNT = (
    "insert into mv.entity_counts values (%s, %s, %s, %s) "
    "on conflict (tenant_id, kind, label) do update set count = excluded.count"
)


@contextmanager
def made(settings: Settings) -> Iterator[World]:
    world = World(settings)
    try:
        world.make()
        yield world
    finally:
        world.close()


# --- rows of any view -------------------------------------------------------------------------------------------------


def invented(world: World, view: KeptView, chance: random.Random, tenant_id: uuid.UUID, number: int) -> dict[str, Any]:
    """A row that fits the view's table, whatever its columns are. The same `number` gives the same key."""
    schema, _, table = view.table.partition(".")
    columns = world.sql(
        "select column_name, data_type from information_schema.columns where table_schema = %s and table_name = %s",
        schema,
        table,
    )
    keys = random.Random(number)
    row = {name: _value(kind, keys if name in view.key else chance) for name, kind in columns}
    # There are few days in a month: chance alone would give two numbers the same.
    day = f"2026-01-{number + 1:02}"
    days = {"date": day, "timestamp with time zone": f"{day}T10:00:00.120000+00"}
    row |= {name: days[kind] for name, kind in columns if name in view.key and kind in days}
    return row | {"tenant_id": tenant_id}


def _value(kind: str, chance: random.Random) -> Any:
    match kind:
        case "uuid":
            return uuid.UUID(int=chance.getrandbits(128))
        case "bigint" | "integer" | "smallint":
            return chance.randrange(1, 30_000)
        case "text":
            return chance.choice(["ä", "plain", "“quoted”\n", '{"not": "json"}', "\u2028"]) + str(
                chance.randrange(9999)
            )
        case "timestamp with time zone":
            return f"2026-01-{chance.randrange(1, 28):02}T10:00:00.{chance.choice(['000000', '120000', '123456'])}+00"
        case "date":
            return f"2026-01-{chance.randrange(1, 28):02}"
        case "boolean":
            return chance.random() < 0.5
        case "real" | "double precision":
            return chance.randrange(1000) / 8
        case "numeric":
            return f"{chance.randrange(1000)}.25"
        case "json" | "jsonb":
            return f'{{"a": {chance.randrange(99)}}}'
        case "ARRAY":
            return ["a", "b"]
        case other:
            raise AssertionError(f"say here what a value of type {other} looks like")


def write(connection: psycopg.Connection[Any], view: KeptView, row: dict[str, Any]) -> None:
    """Insert, or change what is not the key."""
    names = ", ".join(row)
    key = ("tenant_id", *view.key)
    changes = ", ".join(f"{name} = excluded.{name}" for name in row if name not in key)
    connection.execute(
        f"insert into {view.table} ({names}) values ({', '.join(['%s'] * len(row))}) "
        f"on conflict ({', '.join(key)}) do update set {changes}",
        list(row.values()),
    )


def erase(connection: psycopg.Connection[Any], view: KeptView, row: dict[str, Any]) -> None:
    key = ("tenant_id", *view.key)
    where = " and ".join(f"{name} = %s" for name in key)
    connection.execute(f"delete from {view.table} where {where}", [row[name] for name in key])


# --- what a reader sees -----------------------------------------------------------------------------------------------


class Picture:
    """What a client makes of the events: rows by key, and the changes since the last snapshot."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.deltas: list[dict[str, Any]] = []
        self.resets: list[str] = []
        self.ends: list[str] = []
        self.watermarks: list[dict[str, Any]] = []
        self.snapshots = 0
        self.last_id = ""
        self.joined_id = ""
        """Of the last snapshot's last event."""
        self.whole = False

    def take(self, view: KeptView, event: ServerEvent) -> None:
        data = msgspec.json.decode(event.data)
        assert event.id, event
        self.last_id = event.id
        if event.name == "snapshot":
            if self.whole:
                self.rows.clear()
            self.whole = not data["more"]
            for row in data["rows"]:
                self.rows[_key({name: row[name] for name in view.key})] = row
            if self.whole:
                self.snapshots += 1
                self.deltas.clear()
                self.joined_id = event.id
        elif event.name == "delta":
            assert self.whole, "a change before the snapshot is complete"
            self.deltas.append(data)
            key = _key(data["key"])
            if data["op"] == "delete":
                self.rows.pop(key, None)
            else:
                self.rows[key] = self.rows.get(key, {}) | data["row"]
        elif event.name == "reset":
            self.resets.append(data["reason"])
            self.rows.clear()
            self.whole = False
        elif event.name == "watermark":
            self.watermarks.append(data)
        else:
            assert event.name == "end", event
            self.ends.append(data["reason"])


def _key(key: dict[str, Any]) -> str:
    return msgspec.json.encode(key).decode()


def table(world: World, view: KeptView, tenant_id: uuid.UUID) -> dict[str, dict[str, Any]]:
    """The tenant's rows, as a picture has them; by Postgres' own JSON."""
    found = world.sql(
        f"select to_jsonb(t) from (select {', '.join(view.shown)} from {view.table} where tenant_id = %s) t", tenant_id
    )
    return {_key({name: row[name] for name in view.key}): row for (row,) in found}


def same(picture: dict[str, dict[str, Any]], rows: dict[str, dict[str, Any]]) -> bool:
    """Equal, whatever the way in which a time is written."""
    return _plain(picture) == _plain(rows)


def keys(view: KeptView, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys of rows, of a reader or of the log, whatever the way in which a time is written."""
    return [{name: _time(_day(row[name]) if name == "day" else row[name]) for name in view.key} for row in rows]


def _day(value: Any) -> Any:
    """Avro counts days from 1970 on."""
    return (date(1970, 1, 1) + timedelta(days=value)).isoformat() if isinstance(value, int) else value


def _plain(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {_plain_key(key): {name: _time(value) for name, value in row.items()} for key, row in rows.items()}


def _plain_key(key: str) -> str:
    return str({name: _time(value) for name, value in json.loads(key).items()})


def _time(value: Any) -> Any:
    if isinstance(value, str) and value[:2] == "20" and "T" in value:
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    return value
