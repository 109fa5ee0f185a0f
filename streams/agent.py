"""Runs any `Agent` on Faust: the thin driver of the consumer core.

Owns the order of things: take without acknowledging, leave out what is done, hand to the core, acknowledge in order.
Refuses everything about records and transactions (`connectors/consumer/core.py` does that, the same for flows), the
client (`connectors/kafka/faust_app.py`), and what Faust does wrongly or not at all (docs/decisions/0005): no tables, no
web views, no threaded producer, no exactly-once mode. Nothing escapes from the loop, because Faust would acknowledge
and skip what was in hand: an outage is waited for in place, a fault of a record is a dead letter, and everything else
ends the process with nothing acknowledged.

The truth about what is done is `ops.consumer_offsets`, and reading begins there; what the broker knows is for the eyes
of operators' tools. A topic that an agent reads only announces: what it announces is a row, and a record that expired
unread is no loss.
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Unpack

from connectors.consumer import instances
from connectors.consumer.contract import Event, Processor
from connectors.consumer.driver import Driver, DriverOptions
from connectors.consumer.stall import LOOK_S, StallWatch
from connectors.kafka import faust_app
from connectors.kafka.logs import Logs
from connectors.kafka.records import Batch, Record, TopicPartition
from connectors.postgres.connections import Connection
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import backoff_s
from runtime.errors import DependencyUnavailable, Fenced, Halted
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings

log = get_logger("agent")

TAKE_MAX = 100
"""Records of one transaction."""
WITHIN_S = 0.2
"""How long the first of them waits for the others."""
PROCESS_S_MAX = 25
"""One statement of an agent, in seconds. Faust waits for what is in hand when partitions move, and after a minute
(`connectors/kafka/faust_app.py`: REBALANCE_S) the broker gives up on this process. What takes longer is a job."""
START_S_MAX = 60.0
"""Limit for Faust to come up while the broker answers."""
STOP_S_MAX = 10.0


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
        self._logs = Logs(settings.kafka)
        self._nothing_left: dict[TopicPartition, tuple[int, int]] = {}
        """Where a partition stood, and its end then, when there was no record between the two."""
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
                reason = faust_app.describe_end(error)
                log.warning("faust ended", agent=self.agent.name, reason=reason, exc_info=True)
                self._life.health.wait_for("faust", f"it ended, and is started again: {reason}")
                self._life.sleep(next(pauses))

    async def _live(self, instance: str, sources: Sequence[TopicPartition]) -> None:
        """One life of the Faust app. A broker that goes away for long ends it; it is then made anew."""
        app = faust_app.make_app(self._core.group, instance, self._settings, self._begin)
        names = self._core.topics
        topic = app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        async def consume(stream: Any) -> None:
            async for events in stream.noack().noack_take(TAKE_MAX, within=WITHIN_S):
                done = await asyncio.to_thread(self._handle, [faust_app.record_of(event.message) for event in events])
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
                    await asyncio.to_thread(self._look, sources)
                    looked_s = SYSTEM_CLOCK.monotonic()
            if app.crashed and not self._life.stopping:
                raise RuntimeError("the Faust app crashed") from app.crash_reason
        finally:
            faust_app.leave_at_stop(app)
            await asyncio.wait_for(app.stop(), STOP_S_MAX)

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _begin(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        with self._turn:
            return self._core.begin(sources)

    def _look(self, sources: Sequence[TopicPartition]) -> None:
        """End when Faust takes nothing any more, or when the log is not the one that was read. Its client does not say
        either: an offset that the log does not have it takes for a reason to begin at the oldest."""
        try:
            self._core.guard.compare(self._core.guard.describe(self._core.topics))
            with self._turn:  # nothing is in hand then
                at = self._core.read_committed(sources)
            # Asked for after the offsets, so none of those is above them in a log that has not gone back.
            ends = self._core.offsets.end(sources)
            for source, offset in at.items():
                self._core.guard.check_end(source, offset, ends[source])
            readable = self._core.offsets.end_of_committed(sources)
            reason = self._find_stalled(readable, at)
        except DependencyUnavailable:
            self._stall.reset()
            return
        except Halted as error:
            self._life.fail(error)
            return
        if reason:
            self._life.fail(Fenced(f"Faust takes nothing, though the broker answers: {reason}"))

    def _find_stalled(self, ends: Mapping[TopicPartition, int], at: Mapping[TopicPartition, int]) -> str:
        """Why Faust is to begin anew. The end of a transaction, as of a snapshot, is an entry that no reader is given:
        behind the last record it stays unread."""
        left = {each: end for each, end in ends.items() if self._nothing_left.get(each) != (at.get(each, 0), end)}
        if not self._stall.find_stalled(left, at):
            return ""
        unread = {each: at.get(each, 0) for each, end in left.items() if end > at.get(each, 0)}
        for each in unread.keys() - self._logs.read_from(unread).keys():
            self._nothing_left[each] = (unread[each], left.pop(each))
        return self._stall.find_stalled(left, at)

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
        known = self._core.retry("postgres", partial(self._core.read_committed, [source]))
        at = known[source] if source in known else self._core.begin([source])[source]
        if at < self._at.get(source, at):
            raise Fenced(f"{source} was set back from {self._at[source]} to {at}: a new process begins there")
        fresh = choose_fresh(records, at)
        return Batch(*source, at, fresh[-1].offset + 1, fresh) if fresh else None


def choose_fresh(records: Sequence[Record], at: int) -> tuple[Record, ...]:
    """The records at and after the offset `at`, each once and in order: when partitions move, Faust may hand over in
    one go what it had and what it has fetched again."""
    by_offset = {record.offset: record for record in records if record.offset >= at}
    return tuple(by_offset[offset] for offset in sorted(by_offset))
