"""The simulated log as a process sees it, as `ports.Log` wants it, and a producer that behaves as librdkafka does.

Owns what happens to a record between `send` and its report: it waits for company, is under way with at most a few
requests, lies in the log before anybody hears of it, is sent again by the same number when a connection broke, and is
dropped when it is too old while a younger one still goes out. All that goes on while the process computes, and stands
still while the process is stopped; what is in the network arrives whether its sender lives or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from connectors.capture.ports import Acked, Bounds, LogRecord, Meanwhile, Stopping, TopicFacts
from connectors.kafka.producer import EncodedRecord
from connectors.kafka.records import TopicPartition
from runtime.errors import AdriaticError, DependencyUnavailable
from tests.connectors.capture.simulation.broker import RECORD_BYTES_MAX, Batch, Broker, BrokerTransaction, logged

if TYPE_CHECKING:
    from tests.connectors.capture.simulation.capture import Running

DELIVERY_TIMEOUT_S = 30.0
EXPIRY_S = 1.0
"""How often old records are looked for."""
FLIGHTS_MAX = 5
REQUEST_S_MAX = 10.0
SETTLE_S, SETTLE_S_MAX = 0.2, 30.0
CLOSE_S_MAX = 35.0
RETRY_S = 0.1
UNPLACED = -1
"""A broker that has a batch already may not say where."""
BEHIND_S = 0.0005
"""Time that a request behind another one takes to get its turn."""


@dataclass(slots=True)
class Waiting:
    """A record that was handed over."""

    record: EncodedRecord
    acked: Acked
    since_s: float


@dataclass(slots=True, eq=False)
class Flight:
    """A request. `life`: the connection that it went out on; 0 for none yet."""

    batch: Batch
    of: list[Waiting]
    life: tuple[int, int] = (0, 0)
    """The broker's life and the connection by which it was sent last; neither before that."""
    frozen: bool = False
    """It has reached a broker that was frozen, which takes it when it goes on."""


@dataclass(slots=True)
class PartitionQueue:
    """What is on its way to one partition."""

    waiting: deque[Waiting] = field(default_factory=deque)
    flying: list[Flight] = field(default_factory=list)
    epoch: int = 0
    next_number: int = 0
    draining: bool = False
    """A record was dropped: what is under way ends first, then a new epoch begins."""


class SimulatedLog:
    def __init__(self, running: Running) -> None:
        self._running = running
        self._world = running.world

    def _request(self) -> Broker:
        """Ask the broker, which may be away."""
        running, broker = self._running, self._world.broker
        running.call()
        running.nap(self._world.weather.latency_s)
        now_s = self._world.clockwork.now_s
        if broker.frozen_until_s > now_s:
            running.nap(min(REQUEST_S_MAX, broker.frozen_until_s - now_s + 0.001))
        if broker.down_until_s > self._world.clockwork.now_s:
            running.nap(0.5)
        now_s = self._world.clockwork.now_s
        if broker.frozen_until_s > now_s or broker.down_until_s > now_s:
            raise DependencyUnavailable("the broker does not answer", coordinates={"dependency": "kafka"})
        return broker

    def topics(self, names: Collection[str]) -> Mapping[str, TopicFacts]:
        topics = self._request().topics
        return {
            name: TopicFacts(topics[name].topic_id, len(topics[name].partitions), RECORD_BYTES_MAX)
            for name in names
            if name in topics
        }

    def bounds(self, sources: Collection[TopicPartition], meanwhile: Meanwhile) -> Mapping[TopicPartition, Bounds]:
        until_s = self._world.clockwork.now_s + SETTLE_S_MAX
        before = self._bounds(sources)
        while True:
            self._running.nap(SETTLE_S)
            meanwhile()
            if (again := self._bounds(sources)) == before:
                self._world.oracle.looked(self._running)
                return again
            if self._world.clockwork.now_s > until_s:
                raise DependencyUnavailable("somebody keeps writing", coordinates={"dependency": "kafka"})
            before = again

    def _bounds(self, sources: Collection[TopicPartition]) -> dict[TopicPartition, Bounds]:
        broker = self._request()
        found = {}
        for source in sources:
            partition = broker.partition(source)
            if partition is None:
                raise DependencyUnavailable(f"no partition {source}", coordinates={"dependency": "kafka"})
            found[source] = Bounds(0, partition.committed_end, len(partition.records))
        return found

    def read(self, ranges: Mapping[TopicPartition, tuple[int, int]], meanwhile: Meanwhile) -> Iterator[LogRecord]:
        meanwhile()
        broker = self._request()
        for source, (begin, end) in ranges.items():
            partition = broker.partition(source)
            if partition is None:
                raise DependencyUnavailable(f"no partition {source}", coordinates={"dependency": "kafka"})
            for offset, record in partition.visible(begin, end):
                yield LogRecord(source, offset, dict(record.headers))

    def producer(self, limits: Mapping[str, int]) -> SimulatedProducer:
        self._running.call()
        producer = SimulatedProducer(self._running)
        self._running.producers.append(producer)
        return producer

    def transaction(self, name: str, limits: Mapping[str, int]) -> SimulatedTransaction:
        return SimulatedTransaction(self._running, self._request(), name)


class SimulatedProducer:
    """An idempotent producer."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._world = running.world
        self._clockwork = running.world.clockwork
        self.id = self._world.next_number()
        self.writer = f"{running.name}/{self.id}"
        self._queues: dict[TopicPartition, PartitionQueue] = {}
        self._reports: deque[tuple[Waiting, int | None]] = deque()
        self._late_answers: list[tuple[TopicPartition, Flight, int | None]] = []
        self._outstanding = 0
        self._error: AdriaticError | None = None
        self._answered_at_s = self._clockwork.now_s
        self._connection = 1
        self._line_s = 0.0
        self._lines: dict[tuple[TopicPartition, tuple[int, int]], deque[Flight]] = {}
        self._closed = False
        self._expires = False
        self._looks = False

    # --- the port ---------------------------------------------------------------------------------------------------

    @property
    def unacked(self) -> int:
        return self._outstanding

    def check(self, record: EncodedRecord) -> None:
        self._running.call()

    def send(self, record: EncodedRecord, acked: Acked) -> bool:
        """Takes no time: nobody is stopped in here."""
        self._running.process.require_alive()
        if self._outstanding == 0:
            self._answered_at_s = self._clockwork.now_s
        if self._outstanding >= self._world.weather.room:
            return False
        self._outstanding += 1
        source = TopicPartition(record.topic, record.partition)
        self._world.oracle.sent(self._running, self, source, record)
        queue = self._queues.setdefault(source, PartitionQueue())
        queue.waiting.append(Waiting(record, acked, self._clockwork.now_s))
        if len(queue.waiting) == 1:
            self._clockwork.after(self._world.weather.linger_s, self._pump)
        if not self._expires:
            self._expires = True
            self._clockwork.after(EXPIRY_S, self._expire_regularly)
        return True

    def poll(self, timeout_s: float) -> None:
        self._running.call()
        until_s = self._clockwork.now_s + timeout_s
        while not self._reports and self._clockwork.now_s < until_s:
            self._running.nap(until_s - self._clockwork.now_s, until_due=True)
        while self._reports:
            waiting, offset = self._reports.popleft()
            self._outstanding -= 1
            if offset is not None:
                self._answered_at_s = self._clockwork.now_s
                waiting.acked(offset)
            elif self._error is None:
                self._error = DependencyUnavailable("a record was not delivered", coordinates={"dependency": "kafka"})
        if self._error is not None:
            raise self._error

    def silent_s(self) -> float:
        return self._clockwork.now_s - self._answered_at_s if self._outstanding else 0.0

    def close(self, stopping: Stopping) -> None:
        self._running.call()
        for queue in self._queues.values():
            queue.waiting.clear()
        until_s = self._clockwork.now_s + CLOSE_S_MAX
        while (
            any(queue.flying for queue in self._queues.values()) and self._clockwork.now_s < until_s and not stopping()
        ):
            self._running.nap(0.2)
        self._closed = True

    # --- beside the process -----------------------------------------------------------------------------------------

    @property
    def _works(self) -> bool:
        return self._running.alive and not (self._running.stalled or self._closed or self._looks)

    def resume(self, old_first: bool) -> None:
        """The process goes on: answers that came meanwhile and records that became too old are both looked at, in
        one order or in the other. Nothing is sent before that: librdkafka looks for what is too old at the beginning of
        each round in which it sends (rd_kafka_broker_producer_serve)."""
        self._looks = True
        if old_first:
            self._expire()
        late, self._late_answers = self._late_answers, []
        for source, flight, offset in late:
            self._answer(source, flight, flight.life, offset)
        self._expire()
        self._looks = False
        self._pump()

    def break_connection(self) -> None:
        """What is under way arrives or not; all of it is sent again."""
        self._connection += 1
        self._clockwork.after(RETRY_S, self._pump)

    def _pump(self) -> None:
        if not self._works:
            return
        broker = self._world.broker
        if broker.down_until_s > self._clockwork.now_s:
            self._clockwork.after(broker.down_until_s - self._clockwork.now_s + RETRY_S, self._pump)
            return
        life = (broker.lives, self._connection)
        for source, queue in self._queues.items():
            for flight in queue.flying:
                if flight.life != life:
                    self._send(source, flight, life)
            if queue.draining and not queue.flying:
                queue.draining, queue.epoch = False, queue.epoch + 1
            while queue.waiting and not queue.draining and len(queue.flying) < FLIGHTS_MAX:
                count = min(len(queue.waiting), self._world.weather.batch_max)
                self._send(source, self._form(source, queue, [queue.waiting.popleft() for _ in range(count)]), life)

    def _form(self, source: TopicPartition, queue: PartitionQueue, of: list[Waiting]) -> Flight:
        records = tuple(logged(source, one.record.key, one.record.value, one.record.headers, self.writer) for one in of)
        flight = Flight(Batch(self.id, queue.epoch, queue.next_number, records), of)
        queue.next_number += len(of)
        queue.flying.append(flight)
        return flight

    def _send(self, source: TopicPartition, flight: Flight, life: tuple[int, int]) -> None:
        flight.life = life
        # A connection keeps its order, however fast the network has become.
        self._line_s = max(self._line_s, self._clockwork.now_s + self._world.weather.latency_s)
        self._clockwork.at(self._line_s, lambda: self._arrive(source, flight, life, False))

    def _arrive(self, source: TopicPartition, flight: Flight, life: tuple[int, int], delayed: bool) -> None:
        world, broker, now_s = self._world, self._world.broker, self._clockwork.now_s
        if life[0] != broker.lives or broker.down_until_s > now_s:
            return
        if not self._running.alive and not delayed:
            if self._running.requests_land:
                self._clockwork.after(self._running.late_s, lambda: self._arrive(source, flight, life, True))
            return
        if life[1] != self._connection and not self._running.requests_land:
            return
        # Whoever waits at the broker waits in a line.
        line = self._lines.setdefault((source, life), deque())
        frozen, held_until_s = broker.frozen_until_s > now_s, world.weather.held_until_s.get(source, 0.0)
        held = held_until_s > now_s or (flight in line and not flight.frozen)
        given_up = flight not in self._queues[source].flying
        if held and not frozen and given_up:
            # What only one partition holds up is taken back when its sender gave it up.
            if flight in line:
                line.remove(flight)
            return
        if frozen or held_until_s > now_s or (line and line[0] is not flight):
            if flight not in line:
                line.append(flight)
                flight.frozen = frozen and held_until_s <= now_s
            again_s = max(broker.frozen_until_s, held_until_s, now_s + BEHIND_S)
            self._clockwork.at(again_s, lambda: self._arrive(source, flight, life, delayed))
            return
        if line:
            line.popleft()
        partition = broker.partition(source)
        offset = None
        if partition is not None:
            before = len(partition.records)
            offset = partition.append(flight.batch)
            if len(partition.records) > before:
                world.oracle.landed(source, flight.batch)
            elif offset is not None and world.weather.doubles_unplaced:
                offset = UNPLACED
        self._clockwork.after(world.weather.latency_s, lambda: self._answer(source, flight, life, offset))

    def _answer(self, source: TopicPartition, flight: Flight, life: tuple[int, int], offset: int | None) -> None:
        if not self._running.alive or life != (self._world.broker.lives, self._connection):
            return
        if self._running.stalled:
            self._late_answers.append((source, flight, offset))
            return
        queue = self._queues[source]
        if flight not in queue.flying:
            return
        queue.flying.remove(flight)
        if offset is None:
            # Refused, so it is not there: it goes out again by a new number.
            queue.waiting.extendleft(reversed(flight.of))
            for behind in list(queue.flying):
                if behind.life != life:
                    queue.flying.remove(behind)
            queue.draining = True
        else:
            for number, one in enumerate(flight.of):
                self._reports.append((one, offset if offset == UNPLACED else offset + number))
        self._pump()

    def _expire_regularly(self) -> None:
        self._expires = False
        if self._works:
            self._expire()
        if self._running.alive and not self._closed and self._outstanding:
            self._expires = True
            self._clockwork.after(EXPIRY_S, self._expire_regularly)

    def _expire(self) -> None:
        """Drop what is too old, and nothing else."""
        oldest_s = self._clockwork.now_s - DELIVERY_TIMEOUT_S
        for queue in self._queues.values():
            for flight in list(queue.flying):
                if flight.of[0].since_s < oldest_s:
                    queue.flying.remove(flight)
                    queue.draining = True
                    self._reports.extend((one, None) for one in flight.of)
            while queue.waiting and queue.waiting[0].since_s < oldest_s:
                queue.draining = queue.draining or bool(queue.flying)
                self._reports.append((queue.waiting.popleft(), None))
        self._pump()


class SimulatedTransaction:
    """Records that are seen together."""

    def __init__(self, running: Running, broker: Broker, name: str) -> None:
        self._running = running
        self._world = running.world
        self._broker = broker
        self._name = name
        self._transaction: BrokerTransaction = broker.begin(name)
        self._life = broker.lives
        self._reports: list[tuple[Acked, int]] = []
        self.writer = f"{running.name}/{self._world.next_number()}"

    def check(self, record: EncodedRecord) -> None:
        self._running.call()

    def _require_open(self) -> None:
        self._running.call()
        broker, now_s = self._broker, self._world.clockwork.now_s
        if broker.frozen_until_s > now_s:
            self._running.nap(broker.frozen_until_s - now_s)
        lives = broker.lives == self._life and broker.down_until_s <= self._world.clockwork.now_s
        if not lives or self._transaction.state != "open":
            raise DependencyUnavailable("the transaction is over", coordinates={"dependency": "kafka"})

    def send(self, record: EncodedRecord, acked: Acked, stopping: Stopping) -> None:
        self._require_open()
        source = TopicPartition(record.topic, record.partition)
        partition = self._broker.partition(source)
        if partition is None:
            raise DependencyUnavailable(f"no partition {source}", coordinates={"dependency": "kafka"})
        self._world.oracle.sent(self._running, self, source, record)
        self._transaction.touched.add(source)
        made = logged(source, record.key, record.value, record.headers, self.writer)
        self._reports.append((acked, len(partition.records)))
        partition.records.append(made._replace(transaction=self._transaction))
        if len(self._reports) % 4 == 0:
            self._running.nap(self._world.weather.latency_s)
            self._report()

    def _report(self) -> None:
        reports, self._reports = self._reports, []
        for acked, offset in reports:
            acked(offset)

    def commit(self, stopping: Stopping) -> None:
        self._require_open()
        self._running.nap(self._world.weather.latency_s)
        self._require_open()
        self._report()
        self._broker.end(self._name, "committed")
        self._running.nap(self._world.weather.latency_s)

    def abort(self) -> None:
        self._running.call()
        if self._transaction.state == "open" and self._broker.lives == self._life:
            self._broker.end(self._name, "aborted")
