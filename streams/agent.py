"""Runs any `Agent` on Faust: the thin driver of the consumer core, and the app with its safe settings.

Owns the order of things: take without acknowledging, leave out what is done, hand to the core, acknowledge in order.
Refuses everything about records and transactions (`connectors/consumer/core.py` does that, the same for flows), and
what Faust does wrongly or not at all (docs/decisions/0005): no tables, no web views, no threaded producer, no
exactly-once mode. Nothing escapes from the loop, because Faust would acknowledge and skip what was in hand: an outage
is waited for in place, a fault of a record is a dead letter, and everything else ends the process with nothing
acknowledged.

The truth about what is done is `ops.consumer_offsets`, and reading begins there; what the broker knows is for the eyes
of operators' tools. A topic that an agent reads only announces: what it announces is a row, and a record that expired
unread is no loss.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Unpack

import faust
from faust.transport.drivers import aiokafka
from faust.types import TP
from faust.types.auth import SASLMechanism

from connectors.consumer import instances
from connectors.consumer.contract import Event, Processor
from connectors.consumer.driver import Driver, DriverOptions
from connectors.consumer.stall import LOOK_S, StallWatch
from connectors.kafka.errors import map_aiokafka_error
from connectors.kafka.records import Batch, Record, TopicPartition
from connectors.kafka.source import HEARTBEAT_S, METADATA_S, SESSION_S
from connectors.postgres.connections import Connection
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import backoff_s
from runtime.errors import DependencyUnavailable, Fenced, Misconfigured
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import KafkaSettings, Settings

log = get_logger("agent")

TAKE_MAX = 100
"""Records of one transaction."""
WITHIN_S = 0.2
"""How long the first of them waits for the others."""
PROCESS_S_MAX = 25
"""One statement of an agent, in seconds. Faust waits for what is in hand when partitions move, and after
`REBALANCE_S` the broker gives up on this process. What takes longer is a job."""
REBALANCE_S = 60
START_S_MAX = 60.0
"""Limit for Faust to come up while the broker answers."""
STOP_S_MAX = 10.0

Begin = Callable[[Sequence[TopicPartition]], dict[TopicPartition, int]]


class Agent(Processor[tuple[Event, ...]]):
    """What one agent does: a `Processor` whose events each have their effects at once. Instances hold no state that
    matters."""

    @abstractmethod
    def process(self, connection: Connection, event: Event) -> None:
        """The event's effects: SQL in the transaction, quick. A `DataError`, or anything else that is no
        `OperatingError`, makes the event a dead letter and undoes what it wrote."""

    def after_commit(self) -> None:
        """Called after each transaction, for what need not be durable."""

    def transform(self, events: Sequence[Event]) -> tuple[Event, ...]:
        return tuple(events)

    def apply(self, connection: Connection, effects: tuple[Event, ...]) -> None:
        connection.execute("select set_config('statement_timeout', %s, true)", [f"{PROCESS_S_MAX}s"])
        for event in effects:
            self.process(connection, event)


class AgentRunner(Driver[tuple[Event, ...]]):
    """One agent in this process."""

    command = "adriatic stream run"

    def __init__(self, agent: Agent, settings: Settings, life: Lifecycle, **options: Unpack[DriverOptions]) -> None:
        super().__init__(agent, settings, life, **options)
        self.agent = agent
        self._stall = StallWatch()
        self._turn = threading.Lock()
        """The core has one connection. Each thread takes this by itself: when partitions move, Faust cancels who waits
        for a thread, and the thread goes on."""
        self._at: dict[TopicPartition, int] = {}
        """The offset up to which this process has done each partition."""

    def _run(self) -> None:
        with instances.claim(self._settings.home, self._core.group) as instance:
            self._run_apps(instance)

    def _run_apps(self, instance: str) -> None:
        pauses = backoff_s()
        while not self._life.stopping:
            sources = self._core.retry("kafka", partial(self._core.offsets.partitions, self._core.topics))
            self._begin(sources)
            try:
                asyncio.run(self._live(instance, sources))
            except Exception as error:
                reason = describe_end(error)
                log.warning("faust ended", agent=self.agent.name, reason=reason, exc_info=True)
                self._life.health.wait_for("faust", f"it ended, and is started again: {reason}")
                self._life.sleep(next(pauses))

    async def _live(self, instance: str, sources: Sequence[TopicPartition]) -> None:
        """One life of the Faust app. A broker that goes away for long ends it; it is then made anew."""
        app = make_app(self._core.group, instance, self._settings)
        app.transport.Consumer = partial(LedgerConsumer, self._begin)  # type: ignore[misc, assignment]  # Faust asks for it there
        names = self._core.topics
        topic = app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        async def consume(stream: Any) -> None:
            async for events in stream.noack().noack_take(TAKE_MAX, within=WITHIN_S):
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
            log.info("reading", agent=self.agent.name, topics=names)
            looked_s = SYSTEM_CLOCK.monotonic()
            while not (self._life.stopping or app.crashed):
                await asyncio.sleep(0.1)  # threads ask to stop
                if SYSTEM_CLOCK.monotonic() - looked_s >= LOOK_S:
                    await asyncio.to_thread(self._end_when_stalled, sources)
                    looked_s = SYSTEM_CLOCK.monotonic()
            if app.crashed and not self._life.stopping:
                raise RuntimeError("the Faust app crashed") from app.crash_reason
        finally:
            leave_at_stop(app)
            await asyncio.wait_for(app.stop(), STOP_S_MAX)

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _begin(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        with self._turn:
            return self._core.begin(sources)

    def _end_when_stalled(self, sources: Sequence[TopicPartition]) -> None:
        try:
            ends = self._core.offsets.end_of_committed(sources)
            with self._turn:  # nothing is in hand then
                reason = self._stall.find_stalled(ends, self._core.read_committed(sources))
        except DependencyUnavailable:
            self._stall.reset()
            return
        if reason:
            self._life.fail(Fenced(f"Faust takes nothing, though the broker answers: {reason}"))

    def _handle(self, records: Sequence[Record]) -> bool:
        """Records of one partition to one transaction. False when they must not be acknowledged. Never raises."""
        with self._turn, self._note_failure():
            while (batch := self._fresh(records)) is not None:
                try:
                    for step in self._core.write([batch]):
                        self._at[step.source] = step.target
                        self.agent.after_commit()
                    break
                except Fenced as error:  # partitions had moved: what another process committed is left out
                    self._core.tolerate(error, batch.source)
        return not self._dropping

    def _fresh(self, records: Sequence[Record]) -> Batch | None:
        """What of `records` the ledger does not have yet."""
        source = TopicPartition(records[0].topic, records[0].partition)
        at = self._core.begin([source])[source]
        if at < self._at.get(source, at):
            raise Fenced(f"{source} was set back from {self._at[source]} to {at}: a new process begins there")
        fresh = tuple(record for record in records if record.offset >= at)
        return Batch(*source, at, fresh[-1].offset + 1, fresh) if fresh else None


class LedgerConsumer(aiokafka.Consumer):
    """Faust's consumer, which begins where `begin` says and not where the broker believes. `begin` may raise
    `StopRequested`."""

    def __init__(self, begin: Begin, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._begin = begin

    async def seek_to_committed(self) -> dict[TP, int]:
        at = await asyncio.to_thread(self._begin, [TopicPartition(*tp) for tp in self.assignment()])
        offsets = {TP(*source): offset for source, offset in at.items()}
        for tp, offset in offsets.items():
            await self._seek(tp, offset)
        return offsets


def describe_end(error: BaseException) -> str:
    """Why Faust ended, for people: what its client raised, however deep it is, in our words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, Exception) and (ours := map_aiokafka_error(cause, "read from Kafka")) is not None:
            return str(ours)
        cause = cause.__cause__
    return "it did not come up in time" if isinstance(error, TimeoutError) else type(error).__name__


def record_of(message: Any) -> Record:
    """A record of ours from Faust's message."""
    headers = message.headers or ()
    pairs = headers.items() if isinstance(headers, dict) else headers
    timestamp_ms = None if message.timestamp is None else int(message.timestamp * 1000)
    carried = tuple((str(name), value) for name, value in pairs)
    at = (message.topic, message.partition, message.offset)
    return Record(*at, timestamp_ms, message.key, message.value, carried)


def make_app(group: str, instance: str, settings: Settings) -> faust.App:
    """A Faust app that neither declares topics, keeps tables, nor serves anything. `instance` is the process: a restart
    within `SESSION_S` gets its partitions back without a rebalance."""
    return faust.App(
        group,
        broker=[f"kafka://{one.strip()}" for one in settings.kafka.bootstrap_servers.split(",")],
        broker_credentials=credentials(settings.kafka),
        consumer_group_instance_id=instance,
        consumer_metadata_max_age_ms=round(METADATA_S * 1000),
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_S,
        broker_rebalance_timeout=REBALANCE_S,
        broker_heartbeat_interval=HEARTBEAT_S,
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


def leave_at_stop(app: faust.App) -> None:
    """Make a clean stop tell the group, so that the others have the partitions at once. Faust's client leaves no group
    as a static member, and has no call for it: without its name it is an ordinary member, which does."""
    with suppress(AttributeError):  # it never came so far as to join
        consumer: Any = app.consumer
        consumer._thread._consumer._coordinator._group_instance_id = None


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
