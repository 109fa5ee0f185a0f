"""What every Faust agent uses: the app with its safe settings, and the one loop from a topic to a transaction.

Owns the order of things: take without acknowledging, leave out what is done, decode, one transaction (rows, offset,
events, dead letters), acknowledge in order. Refuses what Faust does wrongly or not at all (docs/decisions/0005): no
tables, no web views, no threaded producer, no exactly-once mode. Nothing escapes from the loop, because Faust would
acknowledge and skip what was in hand: an outage is waited for in place, a fault of a record is a dead letter, and
everything else ends the process with nothing acknowledged.

The truth about what is done is `ops.consumer_offsets`; what the broker knows is for lag and for where to begin. So a
topic that an agent reads only announces: what it announces is a row, and a record that expired unread is no loss.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust
from faust.types.auth import SASLMechanism

from connectors.kafka.dead_letters import NO_LIMIT, limit_of
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import Record, TopicPartition
from connectors.postgres.sink import (
    Connection,
    DeadLetter,
    Step,
    TransactionalSink,
    mapped,
    recent_dead_letters,
    write_dead_letters,
)
from connectors.registry import RegistryClient
from runtime import metrics
from runtime.deadline import backoff_s
from runtime.errors import Fenced, Halted, Misconfigured, OperatingError
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import KafkaSettings, Settings
from schemas import catalog as schema_catalog
from schemas.codec import Decoder, SchemaLookup

log = get_logger("agent")

TAKE_MAX = 100
"""Records of one transaction."""
WITHIN_S = 0.2
"""How long the first of them waits for the others."""
PROCESS_S_MAX = 25
"""One statement of an agent, in seconds. Faust waits for what is in hand when partitions move, and after
`REBALANCE_S` the broker gives up on this process. What takes longer is a job."""
SESSION_S = 30
REBALANCE_S = 60
START_S_MAX = 60.0
"""For Faust to come up while the broker answers."""
STOP_S_MAX = 10.0


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded record. Tombstones never become one."""

    record: Record
    value: Any


class Agent(ABC):
    """What one agent does. Instances hold no state that matters.

    Delivery: the events of a partition come in order, each one's effects are committed once, with the offset. A replay
    is possible (an operator may set the offset back) and must change nothing.
    """

    name: str
    """In `ops.consumer_offsets` and metrics, and of the consumer group `adriatic.<name>`; for ever."""
    about: str
    """What it does, in a few words for people."""
    topic: str
    """By contract name."""

    @abstractmethod
    def process(self, connection: Connection, event: Event) -> None:
        """The event's effects: SQL in the transaction, quick. A `DataError`, or anything else that is no
        `OperatingError`, makes the event a dead letter and undoes what it wrote."""

    def committed(self) -> None:  # noqa: B027 - most agents have nothing to do here
        """After each transaction, for what need not be durable."""


class AgentRunner:
    """One agent in this process. `topic` is read instead of the contract's, in a group of its own, for tests."""

    def __init__(
        self,
        agent: Agent,
        settings: Settings,
        life: Lifecycle,
        *,
        topic: str | None = None,
        lookup: SchemaLookup | None = None,
        dead_letter_limit: bool = True,
    ) -> None:
        self.agent = agent
        self.topic = topic or agent.topic
        self._group = f"adriatic.{agent.name}" + ("" if topic is None else f".{topic}")
        self._settings = settings
        self._life = life
        self._registry = RegistryClient(settings.registry) if lookup is None else None
        lookup = lookup or self._registry
        assert lookup is not None
        self._decoder = Decoder(lookup, schema_catalog.subject_of(agent.topic, "value"))
        self._limit = limit_of(agent.topic) if dead_letter_limit else NO_LIMIT
        self._sink = TransactionalSink(settings.postgres, agent.name, life)

    def run(self) -> None:
        """Until asked to stop. Raises what made going on impossible (`Halted`)."""
        try:
            self._run()
        except StopRequested:
            pass
        finally:
            self._sink.close()
            if self._registry is not None:
                self._registry.close()
        if self._life.failure is not None:
            raise self._life.failure

    def _run(self) -> None:
        pauses = backoff_s()
        while not self._life.stopping:
            offsets = Offsets(self._settings.kafka)
            sources = self._life.retry("kafka", partial(offsets.partitions, [self.topic]))
            first = self._life.retry("kafka", partial(offsets.first, sources))
            self._life.retry("postgres", partial(self._sink.load_offsets, first))
            try:
                asyncio.run(self._live())
            except Exception as error:
                log.warning("faust ended", agent=self.agent.name, error=type(error).__name__, exc_info=True)
                self._life.health.wait_for("faust", f"it ended ({type(error).__name__}), and is started again")
                self._life.sleep(next(pauses))

    async def _live(self) -> None:
        """One life of the Faust app. A broker that goes away for long ends it; it is then made anew."""
        app = make_app(self._group, self._settings)
        turn = asyncio.Lock()  # the sink has one connection
        topic = app.topic(self.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        async def consume(stream: Any) -> None:
            async for events in stream.noack().noack_take(TAKE_MAX, within=WITHIN_S):
                async with turn:
                    done = await asyncio.to_thread(self._handle, [record_of(event.message) for event in events])
                if not done:
                    await asyncio.Event().wait()  # ends with the app; nothing in hand is acknowledged
                for event in events:
                    event.ack()

        app.agent(topic, name=f"{self.agent.name}.consume", concurrency=1, isolated_partitions=True)(consume)
        app.finalize()
        try:
            await asyncio.wait_for(app.start(), START_S_MAX)
            self._life.health.clear("faust")
            self._life.health.ready()
            log.info("reading", agent=self.agent.name, topic=self.topic)
            while not (self._life.stopping or app.crashed):  # noqa: ASYNC110 - threads ask to stop
                await asyncio.sleep(0.1)
            if app.crashed and not self._life.stopping:
                raise RuntimeError("the Faust app crashed") from app.crash_reason
        finally:
            await asyncio.wait_for(app.stop(), STOP_S_MAX)

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _handle(self, records: Sequence[Record]) -> bool:
        """Records of one partition to one transaction. False when they must not be acknowledged. Never raises."""
        try:
            self._commit_new(records)
        except StopRequested:
            return False
        except OperatingError as error:
            self._life.fail(error)
            return False
        except Exception as error:
            log.exception("agent raised", agent=self.agent.name)
            self._life.fail(Halted(f"{self.agent.name} raised {type(error).__name__}", hint="see its log"))
            return False
        return True

    def _commit_new(self, records: Sequence[Record]) -> None:
        """What another process committed meanwhile (partitions had moved) is read afresh and left out."""
        for tries_left in (2, 1, 0):
            source = TopicPartition(records[0].topic, records[0].partition)
            at = self._retry("postgres", partial(self._offset, source))
            fresh = [record for record in records if record.offset >= at]
            if not fresh:
                return
            try:
                self._commit(Step(source, at, fresh[-1].offset + 1), fresh)
            except Fenced:
                if not tries_left:
                    raise
            else:
                return

    def _offset(self, source: TopicPartition) -> int:
        with self._sink.reading() as connection:
            row = connection.execute(
                "select next_offset from ops.consumer_offsets where flow = %s and topic = %s and partition = %s",
                [self.agent.name, *source],
            ).fetchone()
        if row is None:
            raise Halted(f"{self.agent.name} has no offset for {source}", hint="partitions were added: start it again")
        return int(row[0])

    def _commit(self, step: Step, records: Sequence[Record]) -> None:
        began = time.perf_counter()
        events, undecodable = self._decode(records)
        letters: list[DeadLetter] = []

        def work(connection: Connection) -> None:
            connection.execute(f"set local statement_timeout = '{PROCESS_S_MAX}s'")
            letters[:] = [*undecodable, *self._process(connection, events)]
            if letters:
                self._refuse_flood(connection, step.source, records, letters)
                write_dead_letters(connection, self.agent.name, letters)

        self._sink.commit(step, work, lambda: self._count_retry("postgres"))
        self.agent.committed()
        metrics.FLOW_RECORDS.labels(self.agent.name, self.agent.topic).inc(len(records))
        metrics.FLOW_BATCH_SECONDS.labels(self.agent.name, "commit").observe(time.perf_counter() - began)
        for letter in letters:
            metrics.FLOW_DEAD_LETTERS.labels(self.agent.name, self.agent.topic, letter.code).inc()
            log.warning("dead letter", agent=self.agent.name, code=letter.code, **letter.record.coordinates)

    def _decode(self, records: Sequence[Record]) -> tuple[list[Event], list[DeadLetter]]:
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for record in records:
            if record.value is None:
                metrics.FLOW_TOMBSTONES.labels(self.agent.name, self.agent.topic).inc()
                continue
            try:
                events.append(Event(record, self._retry("registry", partial(self._decoder.decode, record.value))))
            except OperatingError:
                raise
            except Exception as error:  # a decoder that trips over hostile bytes is the record's fault too
                letters.append(DeadLetter.of(record, "decode", error))
        return events, letters

    def _process(self, connection: Connection, events: Sequence[Event]) -> list[DeadLetter]:
        letters: list[DeadLetter] = []
        for event in events:
            try:
                with mapped(), connection.transaction():
                    self.agent.process(connection, event)
            except OperatingError:
                raise
            except Exception as error:
                letters.append(DeadLetter.of(event.record, "process", error))
        return letters

    def _refuse_flood(
        self, connection: Connection, source: TopicPartition, records: Sequence[Record], letters: Sequence[DeadLetter]
    ) -> None:
        """Raises before anything is written: the transaction rolls back, and the records stay where they are."""
        offsets = [record.offset for record in records]
        earlier = recent_dead_letters(connection, self.agent.name, source, offsets[0] - self._limit.window, offsets[0])
        if reason := self._limit.breach(earlier, offsets, {letter.record.offset for letter in letters}):
            raise Halted(
                f"{self.agent.name} stopped at {source}: {reason}",
                hint="nothing of this batch was written. Look with `adriatic dlq list`; fix the release or the "
                "producer and start again, or go on regardless with `adriatic stream run --no-dead-letter-limit`",
                coordinates={"topic": source.topic, "partition": source.partition, "code": letters[-1].code},
            )

    def _retry(self, what: str, attempt: Callable[[], Any]) -> Any:
        return self._life.retry(what, attempt, lambda: self._count_retry(what))

    def _count_retry(self, dependency: str) -> None:
        metrics.FLOW_RETRIES.labels(self.agent.name, dependency).inc()


def record_of(message: Any) -> Record:
    """A record of ours from Faust's message."""
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    timestamp_ms = None if message.timestamp is None else int(message.timestamp * 1000)
    return Record(
        message.topic,
        message.partition,
        message.offset,
        timestamp_ms,
        message.key,
        message.value,
        tuple((str(name), value) for name, value in pairs),
    )


def make_app(group: str, settings: Settings) -> faust.App:
    """A Faust app that neither declares topics, keeps tables, nor serves anything. One instance id per process: a
    restart within `SESSION_S` gets its partitions back without a rebalance."""
    return faust.App(
        group,
        broker=[f"kafka://{one.strip()}" for one in settings.kafka.bootstrap_servers.split(",")],
        broker_credentials=credentials(settings.kafka),
        consumer_group_instance_id=f"{group}.{settings.telemetry.ops_port or 0}",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_S,
        broker_rebalance_timeout=REBALANCE_S,
        broker_heartbeat_interval=3,
        broker_commit_interval=1.0,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        producer_threaded=False,
        processing_guarantee="at_least_once",
        store="memory://",
        web_enabled=False,
        datadir=settings.home / "faust",
        loghandlers=[],
    )


def credentials(settings: KafkaSettings) -> Any:
    """What librdkafka calls `security.protocol` and `sasl.*`, in Faust's words. Raises `Misconfigured` for what Faust's
    client cannot do."""
    config = settings.client_config()
    protocol = config.get("security.protocol", "PLAINTEXT").upper()
    context = ssl.create_default_context(cafile=config.get("ssl.ca.location")) if "SSL" in protocol else None
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    mechanism = config.get("sasl.mechanism", config.get("sasl.mechanisms", "")).upper()
    if protocol not in ("SASL_PLAINTEXT", "SASL_SSL") or mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise Misconfigured(
            f"agents cannot speak {protocol} {mechanism}".rstrip(),
            hint="PLAINTEXT, SSL, or SASL with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        )
    return faust.SASLCredentials(
        username=config.get("sasl.username", ""),
        password=config.get("sasl.password", ""),
        mechanism=SASLMechanism(mechanism),
        ssl_context=context,
    )
