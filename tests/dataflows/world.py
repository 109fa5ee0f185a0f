"""A small world for flows: topics of its own, records as change capture makes them, a flow in a thread or a process.

Stands in for change capture where a test needs only its product: `versions` are envelopes with the headers that capture
writes, and `Outbox` carries what a flow emitted from the WAL to a topic, the way capture does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from connectors.kafka.partitioner import partition_for
from connectors.registry import RegistryClient
from dataflows.activity import Activity
from dataflows.catalog import flows
from dataflows.embed import Embed
from dataflows.feeds import Feeds
from dataflows.flow import Flow
from dataflows.index import Index
from dataflows.related import LINKS_TOPIC, STATE_TOPIC, Related
from dataflows.runner import Runner
from dataflows.usage import EVENTS_TOPIC, Spent, Usage
from runtime.errors import AdriaticError
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings
from schemas import catalog, sources
from schemas.codec import Encoder, SchemaLookup
from tests import databases
from tests.brokers import has_leaders
from tests.connectors.embedders.stand_in import FakeEmbedder

VERSIONS_TOPIC = sources.KINDS["adr"].contract
DOCUMENTS_TOPIC = sources.KINDS["document"].contract
PARTITIONS = 3
BEATS = 5
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Version:
    """A row of app.adr_versions."""

    tenant_id: uuid.UUID
    adr_id: uuid.UUID
    version: int
    title: str = "Use a log"
    body: str = "# Use a log\n\nBecause order matters.\n"
    change: str = "update"
    status: str = "accepted"
    author: str = "ada"
    later: timedelta = timedelta()
    reading: int = 1
    source_ref: str | None = None
    """The commit of an import."""

    @property
    def effective_at(self) -> datetime:
        return EPOCH + timedelta(minutes=self.version) + self.later


def envelope(version: Version, op: str = "c") -> dict[str, Any]:
    """What capture makes of the insert of a version."""
    row = {
        "tenant_id": str(version.tenant_id),
        "adr_id": str(version.adr_id),
        "version": version.version,
        "change": version.change,
        "title": version.title,
        "status": version.status,
        "body": version.body,
        "original": None,
        "message": "",
        "author": version.author,
        "author_id": None,
        "source_key": None,
        "source_ref": version.source_ref,
        "traceparent": None,
        "effective_at": version.effective_at.isoformat(),
        "recorded_at": version.effective_at.isoformat(),
        "reading": version.reading,
    }
    source = {"version": "1", "connector": "postgresql", "name": "adriatic", "ts_ms": 0, "db": "d", "schema": "app"}
    return {"before": None, "after": row, "source": {**source, "table": "adr_versions"}, "op": op}


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """A row of app.document_versions."""

    tenant_id: uuid.UUID
    document_id: uuid.UUID
    version: int
    title: str = "The manual"
    body: str = "# The manual\n\nTurn it on.\n"
    kind: str = "update"

    @property
    def row(self) -> dict[str, Any]:
        return {
            "tenant_id": str(self.tenant_id),
            "document_id": str(self.document_id),
            "version": self.version,
            "kind": self.kind,
            "origin": "upload",
            "title": self.title,
            "media_type": "text/markdown",
            "body": "" if self.kind == "delete" else self.body,
            "effective_at": EPOCH.isoformat(),
            "recorded_at": EPOCH.isoformat(),
        }


def usage_envelope(spent: Spent, op: str = "c") -> dict[str, Any]:
    """What capture makes of the insert of an attempt: ids and times are texts, and there are columns that no aggregate
    needs."""
    ids = {name: str(getattr(spent, name)) for name in ("tenant_id", "attempt_id", "user_id")}
    times = {"started_at": spent.started_at.isoformat(), "finished_at": spent.started_at.isoformat()}
    row = {**asdict(spent), **ids, **times, "session_id": str(spent.user_id), "code": "", "first_token_ms": None}
    source = {"version": "1", "connector": "postgresql", "name": "adriatic", "ts_ms": 0, "db": "d", "schema": "app"}
    return {"before": None, "after": row, "source": {**source, "table": "usage_events"}, "op": op}


def know_session(settings: Settings, session: uuid.UUID, beat: int = BEATS) -> None:
    """Make the database know a session of change capture, up to a beat."""
    known = {"session": str(session), "slot": "s", "beat": beat, "started_at": EPOCH.isoformat(), "started_lsn": "0/0"}
    known |= {"process": "", "ended": True}
    databases.ask(
        settings.postgres.dsn("admin"),
        "insert into ops.cdc_sessions select * from jsonb_populate_record(null::ops.cdc_sessions, %s) "
        "on conflict (session) do update set beat = excluded.beat returning 1",
        json.dumps(known),
    )


@dataclass
class World:
    """Topics with names of their own, and a database of its own."""

    settings: Settings
    registry: RegistryClient
    topics: dict[str, str]
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    lsn: int = 1000
    session: uuid.UUID = field(default_factory=uuid.uuid4)
    """Of change capture, which the database knows up to `BEATS`."""
    _producer: Producer = field(init=False)
    _encoders: dict[str, Encoder] = field(default_factory=dict)
    _captured: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._producer = Producer({**self.settings.kafka.client_config(), "linger.ms": 1})
        know_session(self.settings, self.session)

    def encoder(self, topic: str) -> Encoder:
        if topic not in self._encoders:
            self._encoders[topic] = Encoder(self.registry, f"{topic}-value")
        return self._encoders[topic]

    def produce(
        self,
        topic: str,
        tenant_id: uuid.UUID,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        key: bytes = b"key",
        committed_at: datetime = EPOCH,
        beat: str | None = None,
    ) -> None:
        """One record with the headers that capture writes, in its tenant's partition. `beat`: of another session than
        the world's own; empty for none."""
        self.lsn += 8
        ours = [
            ("adriatic.pos", f"{self.lsn:016X}/{0:08d}".encode()),
            ("adriatic.committed_at", str(int(committed_at.timestamp() * 1_000_000)).encode()),
            ("adriatic.tenant", str(tenant_id).encode()),
            *([("adriatic.session", (beat or f"{self.session}/{BEATS}").encode())] if beat != "" else []),
        ]
        self._producer.produce(
            self.topics[topic],
            value,
            key,
            partition=partition_for(str(tenant_id), PARTITIONS),
            headers=[*ours, *headers],
        )
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def versions(self, versions: Sequence[Version], op: str = "c") -> None:
        """Insert the rows, and produce what capture makes of them."""
        self.insert(versions)
        for version in versions:
            value = self.encoder(VERSIONS_TOPIC).encode(envelope(version, op))
            self.produce(VERSIONS_TOPIC, version.tenant_id, value)
        self.flush()

    def documents(self, versions: Sequence[DocumentVersion]) -> None:
        """Insert the rows, and produce what capture makes of them."""
        source = envelope(Version(uuid.UUID(int=1), uuid.UUID(int=1), 1))["source"] | {"table": "document_versions"}
        for version in versions:
            with self.admin() as connection:
                connection.execute(
                    "insert into app.tenants (tenant_id, slug, name) values (%s, %s, 'n') on conflict do nothing",
                    [version.tenant_id, f"t-{version.tenant_id.hex[-12:]}"],
                )
                connection.execute(
                    "insert into app.document_versions "
                    "select * from jsonb_populate_record(null::app.document_versions, %s) on conflict do nothing",
                    [json.dumps(version.row)],
                )
            value = {"before": None, "after": version.row, "source": source, "op": "c"}
            self.produce(DOCUMENTS_TOPIC, version.tenant_id, self.encoder(DOCUMENTS_TOPIC).encode(value))
        self.flush()

    def attempts(self, attempts: Sequence[Spent]) -> None:
        """Insert the rows, and produce what capture makes of them. Tenants must be there."""
        with self.admin() as connection:
            for spent in attempts:
                connection.execute(
                    "insert into app.users (tenant_id, user_id, subject) values (%s, %s, %s) on conflict do nothing",
                    [spent.tenant_id, spent.user_id, str(spent.user_id)],
                )
                row = {**asdict(spent), "session_id": spent.user_id, "finished_at": spent.started_at}
                connection.execute(
                    f"insert into app.usage_events ({', '.join(row)}) "
                    f"values ({', '.join(f'%({name})s' for name in row)})",
                    row,
                )
        for spent in attempts:
            value = self.encoder(EVENTS_TOPIC).encode(usage_envelope(spent))
            self.produce(EVENTS_TOPIC, spent.tenant_id, value)
        self.flush()

    def jobs(self, tenant_id: uuid.UUID) -> None:
        """One job that is over and one that is open, which has gone on since it said something last. The outbox carries
        what they say."""
        with self.admin() as connection:
            for state, sequence in (("succeeded", 3), ("running", 2)):
                job_id = connection.execute(
                    "insert into app.jobs (tenant_id, job_id, kind, state, sequence, done, finished_at) "
                    "values (%s, gen_random_uuid(), 'reindex', %s, %s, 1, case when %s = 'succeeded' then now() end) "
                    "returning job_id",
                    [tenant_id, state, sequence, state],
                ).fetchone()
                assert job_id is not None
                connection.execute("select app.emit_job_progress(%s, %s)", [tenant_id, job_id[0]])
            connection.execute("update app.jobs set sequence = 3, done = 2 where state = 'running'")

    def capture(self) -> int:
        """Produce what capture makes of the rows of `mv.search_state` and `app.adr_links` that are not as they were at
        the last call. Returns how many records that were."""
        produced = 0
        for topic, key in ((STATE_TOPIC, ("kind", "source_id")), (LINKS_TOPIC, ("adr_id", "kind", "target"))):
            table = topic.removeprefix("adriatic.")
            seen = {at for at in self._captured if at[0] == topic}
            for (row,) in self.rows(f"select to_jsonb(t) from {table} t order by 1"):
                at = (topic, row["tenant_id"], *(row[name] for name in key))
                seen.discard(at)
                if self._captured.get(at) != row:
                    self._captured[at] = row
                    produced += self._captured_row(topic, {"op": "u", "before": None, "after": row}, row["tenant_id"])
            for at in sorted(seen):
                row = self._captured.pop(at)
                gone = {name: row[name] for name in ("tenant_id", *key)}
                produced += self._captured_row(topic, {"op": "d", "before": gone, "after": None}, row["tenant_id"])
        self.flush()
        return produced

    def _captured_row(self, topic: str, change: dict[str, Any], tenant_id: str) -> int:
        source = {"version": "1", "connector": "postgresql", "name": "adriatic", "ts_ms": 0, "db": "d", "schema": "mv"}
        value = {**change, "source": {**source, "table": topic.rpartition(".")[2]}}
        self.produce(topic, uuid.UUID(tenant_id), self.encoder(topic).encode(value))
        return 1

    def insert(self, versions: Sequence[Version]) -> None:
        with self.admin() as connection:
            for version in versions:
                connection.execute(
                    "insert into app.tenants (tenant_id, slug, name) values (%s, %s, 'n') on conflict do nothing",
                    [version.tenant_id, f"t-{version.tenant_id.hex[-12:]}"],
                )
                connection.execute(
                    "insert into app.logs (tenant_id, log_id, slug, name) values (%s, %s, 'l', 'l') "
                    "on conflict do nothing",
                    [version.tenant_id, version.tenant_id],
                )
                connection.execute(
                    "insert into app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at) "
                    "values (%s, %s, %s, %s, %s, %s, now(), now()) on conflict do nothing",
                    [
                        version.tenant_id,
                        version.adr_id,
                        version.tenant_id,
                        version.title,
                        version.status,
                        version.version,
                    ],
                )
                connection.execute(
                    "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, author, "
                    "effective_at, recorded_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
                    [
                        version.tenant_id,
                        version.adr_id,
                        version.version,
                        version.change,
                        version.title,
                        version.status,
                        version.body,
                        version.author,
                        version.effective_at,
                        version.effective_at,
                    ],
                )

    def admin(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.settings.postgres.dsn("admin"), autocommit=True)

    def rows(self, query: Any, *arguments: Any) -> list[tuple[Any, ...]]:
        return databases.ask(self.settings.postgres.dsn("admin"), query, *arguments)

    def end(self, topic: str) -> int:
        """Records of a topic, over its partitions."""
        from connectors.kafka.offsets import Offsets

        offsets = Offsets(self.settings.kafka)
        return sum(offsets.end(offsets.partitions([self.topics[topic]])).values())

    def done(self, flow: Flow[Any]) -> bool:
        """Whether `flow` has committed everything that its topics hold."""
        names = [self.topics[topic] for topic in flow.topics]
        ((known, at),) = self.rows(
            "select count(*), coalesce(sum(next_offset), 0) from ops.consumer_offsets "
            "where flow = %s and topic = any(%s)",
            flow.name,
            names,
        )
        return known >= PARTITIONS * len(names) and int(at) >= sum(self.end(topic) for topic in flow.topics)

    def run_until_done(self, *flows: Flow[Any], dead_letter_limit: bool = True) -> None:
        """Each of `flows`, one after the other, until it has read its topics; the outbox is carried in between."""
        for flow in flows:
            with Running(self, flow, dead_letter_limit=dead_letter_limit) as running:
                until(partial(self._ended, running, flow))
            if running.error is not None:
                raise running.error

    def _ended(self, running: Running, flow: Flow[Any]) -> bool:
        return running.error is not None or self.done(flow)

    @property
    def index(self) -> Index:
        return Index()

    @property
    def activity(self) -> Activity:
        return Activity()

    @property
    def usage(self) -> Usage:
        return Usage()

    @property
    def feeds(self) -> Feeds:
        return Feeds(self.registry)

    @property
    def related(self) -> Related:
        return Related()

    @property
    def embed(self) -> Embed:
        return Embed(self.embedder)


class Running:
    """A flow in a thread of this process."""

    def __init__(
        self,
        world: World,
        flow: Flow[Any],
        dead_letter_limit: bool = True,
        lookup: SchemaLookup | None = None,
    ) -> None:
        self.health = Health()
        self.life = Lifecycle(self.health)
        self.error: BaseException | None = None
        self.runner = Runner(
            flow,
            world.settings,
            self.life,
            topics=world.topics,
            lookup=lookup or world.registry,
            dead_letter_limit=dead_letter_limit,
        )

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="flow", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.runner.run()
        except AdriaticError as error:
            self.error = error

    def __enter__(self) -> Running:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.life.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the flow did not stop"


class Process:
    """A flow in a process of its own, to be killed. Its embedder is the fake one."""

    def __init__(self, world: World, flow: str, log: Path) -> None:
        self._log = log.open("ab")
        self._path, self._said_before = log, log.stat().st_size
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "tests.dataflows.process", flow],
            env={**os.environ, "WORLD": json.dumps(description(world))},
            stdout=self._log,
            stderr=self._log,
            cwd=Path(__file__).resolve().parents[2],
        )

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(WAIT_S)
        self._log.close()

    def reads(self) -> bool:
        """Whether it came so far that it says so. Before, a signal ends it like any program that is being loaded."""
        return b"reading" in self._path.read_bytes()[self._said_before :]

    def terminate(self) -> int:
        """Ask it to end, once it reads; its exit code."""
        until(self.reads)
        self.popen.terminate()
        code = self.popen.wait(WAIT_S)
        self._log.close()
        return code


def description(world: World) -> dict[str, Any]:
    """What a process needs to join the world."""
    postgres, kafka, registry = world.settings.postgres, world.settings.kafka, world.settings.registry
    return {
        "home": str(world.settings.home),
        "postgres": {
            "host": postgres.host,
            "port": postgres.port,
            "database": postgres.database,
            "sslmode": postgres.sslmode,
            "flows_password": postgres.flows_password.get_secret_value(),
        },
        "kafka": {"bootstrap_servers": kafka.bootstrap_servers},
        "registry": {"url": registry.url},
        "topics": world.topics,
    }


class Outbox:
    """Carries requests that flows emitted from the outbox to their topic, as change capture does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._last = self._rows()[-1][0] if self._rows() else 0

    def _rows(self, after: int = 0) -> list[tuple[Any, ...]]:
        return self._world.rows(
            "select event_id, topic, tenant_id::text, key, value, headers, encode(key_bytes, 'base64'), "
            "encode(value_bytes, 'base64') from app.outbox where event_id > %s order by event_id",
            after,
        )

    def messages(self) -> list[dict[str, Any]]:
        """What was emitted and committed since the last call."""
        found = []
        for event_id, topic, tenant_id, key, value, headers, key_b64, value_b64 in self._rows(self._last):
            self._last = event_id
            content = {"key": key, "value": value}
            if key is None and value is None:
                content = {"key_b64": key_b64, "value_b64": value_b64}
            found.append({"topic": topic, "tenant_id": tenant_id, "headers": headers, **content})
        return found

    def carry(self) -> list[dict[str, Any]]:
        messages = self.messages()
        for message in messages:
            if "value" in message:
                value = self._world.encoder(message["topic"]).encode_json(message["value"])
                self._world.produce(message["topic"], uuid.UUID(message["tenant_id"]), value)
        self._world.flush()
        return messages


@contextmanager
def made(settings: Settings, contracts: Sequence[str] = ()) -> Iterator[World]:
    """A world whose topics are deleted afterwards: all that flows read, or those of `contracts`."""
    prefix = f"flows-{uuid.uuid4().hex[:8]}-"
    topics = {topic: prefix + topic for topic in contracts or {t for flow in flows().values() for t in flow.topics}}
    admin = AdminClient({**settings.kafka.client_config()})
    config = {"max.message.bytes": "4194304", "message.timestamp.type": "LogAppendTime"}
    _await(admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config) for name in topics.values()]))
    with RegistryClient(settings.registry) as registry:
        for topic in topics:
            registry.register(f"{topic}-value", catalog.schema(f"{topic}-value"))
        world = World(settings, registry, topics)
        databases.let_emit(settings, *(f"{name}.dlq" for name in topics.values()))
        until(lambda: has_leaders(settings.kafka, topics.values()))
        yield world
    _await(admin.delete_topics(list(topics.values())))


def _await(futures: Mapping[str, Any]) -> None:
    for future in futures.values():
        future.result(30)


def until(condition: Callable[[], bool], wait_s: float = WAIT_S) -> None:
    """Poll until `condition`, or fail the test."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
