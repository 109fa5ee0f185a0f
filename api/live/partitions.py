"""The partitions that somebody watches, each read once for all readers of this process.

Owns the consumer (`connectors/kafka/tail.py`), the way from its thread to the event loop, and one `WatchedPartition`
for each. Refuses to decode, and to know what a reader does with a record.

A partition is read from `SETTLE_S` before the end of the log on, and not from its end. A commit can be in the log
before snapshots see it (`join`), for as long as its backend needs from the one to the other: some instructions without
I/O. With synchronous replication it waits for the standby in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from uuid import UUID

from api.live.decoding import ChangeDecoder
from api.live.ring import Ring
from api.live.states import OffsetWatermark
from connectors.consumer.stall import StallWatch
from connectors.kafka.logs import Logs, TopicState
from connectors.kafka.offsets import Offsets
from connectors.kafka.partitioner import partition_for
from connectors.kafka.records import TopicPartition
from connectors.kafka.tail import PartitionBatch, TopicTail
from runtime.clock import Clock
from runtime.logs import get_logger
from runtime.settings import KafkaSettings
from schemas.flows import KeptView
from topics import catalog

log = get_logger("live")

SETTLE_S = 60.0
"""How far before the end of the log reading begins, in seconds."""
WATERMARKS_MAX = 64
"""Watermarks that a partition keeps: a reader that is a minute behind is told how far it is."""
LINGER_S = 60.0
"""A partition without a reader is kept for so long: whoever was cut comes back to it."""
HANDED_OVER_MAX = 4
"""Batches that the consumer's thread may be ahead of the event loop."""


@dataclass
class WatchedPartition:
    """One partition of one view's topic."""

    view: KeptView
    source: TopicPartition
    topic_id: str
    ring: Ring
    idle_since_s: float
    lost: bool = False
    """Reading has ended: the log does not have what comes next, or another topic has its name."""
    watermarks: deque[OffsetWatermark] = field(default_factory=lambda: deque(maxlen=WATERMARKS_MAX))
    news: dict[UUID, set[asyncio.Event]] = field(default_factory=dict)

    def wake(self, tenants: set[UUID] | None = None) -> None:
        """Readers of `tenants`; None: all of them."""
        for tenant_id in self.news if tenants is None else tenants & self.news.keys():
            for event in self.news[tenant_id]:
                event.set()

    def lose(self) -> None:
        self.lost = True
        self.wake()

    def find_watermark(self, offset: int) -> OffsetWatermark | None:
        """The newest that a reader at `offset` has reached."""
        return next((each for each in reversed(self.watermarks) if each.offset <= offset), None)


class TailOnLoop:
    """A `TopicTail` whose batches arrive on the event loop. The thread waits while the loop is behind."""

    def __init__(self, settings: KafkaSettings, take: Callable[[Sequence[PartitionBatch]], None]) -> None:
        self._take = take
        self._room = BoundedSemaphore(HANDED_OVER_MAX)
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self.tail = TopicTail(settings, self._deliver)
        self.tail.start()

    async def close(self) -> None:
        self._loop = None  # what the thread still has is dropped
        with contextlib.suppress(ValueError):
            self._room.release()
        await asyncio.to_thread(self.tail.stop)

    def _deliver(self, batches: Sequence[PartitionBatch]) -> None:
        """Called on the consumer's thread."""
        loop = self._loop
        if loop is None:
            return
        self._room.acquire()
        try:
            loop.call_soon_threadsafe(self._arrive, batches)
        except RuntimeError:  # the loop has ended
            self._loop = None

    def _arrive(self, batches: Sequence[PartitionBatch]) -> None:
        with contextlib.suppress(ValueError):
            self._room.release()
        if self._loop is not None:
            self._take(batches)


class Partitions:
    """One of a process, on the event loop. A process without readers has no consumer."""

    def __init__(self, settings: KafkaSettings, prefix: str, decoder: ChangeDecoder, clock: Clock) -> None:
        self._settings = settings
        self._prefix = prefix
        self._decoder = decoder
        self._clock = clock
        self._watched: dict[TopicPartition, WatchedPartition] = {}
        self._starting: dict[TopicPartition, asyncio.Lock] = {}
        self._tail: TailOnLoop | None = None
        self._stall = StallWatch(clock)
        self._offsets: Offsets | None = None
        self._logs: Logs | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def all(self) -> tuple[WatchedPartition, ...]:
        return tuple(self._watched.values())

    def wake(self) -> None:
        """Every reader."""
        for partition in self._watched.values():
            partition.wake()

    async def close(self) -> None:
        if self._tail is not None:
            await self._tail.close()

    # --- for readers ------------------------------------------------------------------------------------------------

    async def watch(self, view: KeptView, tenant_id: UUID, news: asyncio.Event) -> WatchedPartition:
        """The partition with the tenant's records, read from now on at the latest. `news` is set when some arrive.

        Raises `DependencyUnavailable` when the broker does not answer. Give it back with `unwatch`.
        """
        topic = view.topic(self._prefix)
        count = catalog.load()[f"adriatic.{view.table}"].partitions
        source = TopicPartition(topic, partition_for(str(tenant_id), count))
        async with self._starting.setdefault(source, asyncio.Lock()):
            partition = self._watched.get(source)
            if partition is None or partition.lost:
                partition = await self._start(view, source)
            partition.news.setdefault(tenant_id, set()).add(news)
            partition.ring.watch(tenant_id)
        return partition

    def unwatch(self, partition: WatchedPartition, tenant_id: UUID, news: asyncio.Event) -> None:
        """Idempotent."""
        waiting = partition.news.get(tenant_id, set())
        if news not in waiting:
            return
        waiting.discard(news)
        if not waiting:
            del partition.news[tenant_id]
        partition.ring.unwatch(tenant_id)
        partition.idle_since_s = self._clock.monotonic()

    async def ask_bounds(self, source: TopicPartition) -> tuple[int, int]:
        """The first offset that the log has, and its end. Raises `DependencyUnavailable`."""

        def ask() -> tuple[int, int]:
            offsets = self._open_offsets()
            return offsets.first([source])[source], offsets.end([source])[source]

        return await asyncio.to_thread(ask)

    async def _start(self, view: KeptView, source: TopicPartition) -> WatchedPartition:
        if self._tail is None:
            self._tail = TailOnLoop(self._settings, self._take)
        at_ms = int((self._clock.now().timestamp() - SETTLE_S) * 1000)
        topic_id, start = await asyncio.to_thread(self._ask_start, source, at_ms)
        if (old := self._watched.get(source)) is not None:
            old.lose()
        partition = WatchedPartition(view, source, topic_id, Ring(start), self._clock.monotonic())
        self._watched[source] = partition
        self._tail.tail.follow(source, start)
        return partition

    def _ask_start(self, source: TopicPartition, at_ms: int) -> tuple[str, int]:
        """The topic's id, and the first offset since a time, or the end. Blocks."""
        topic_id = self._open_logs().describe([source.topic])[source.topic].topic_id
        offsets = self._open_offsets()
        end = offsets.end([source])[source]
        since = offsets.at([source], at_ms)[source]
        return topic_id, end if since < 0 else since

    # --- for the poll -----------------------------------------------------------------------------------------------

    def ask_ends(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, tuple[int, TopicState]]:
        """Where each partition ends, and its topic now. Blocks; raises `DependencyUnavailable`."""
        topics = self._open_logs().describe({source.topic for source in sources})
        ends = self._open_offsets().end(sources)
        return {source: (ends[source], topics[source.topic]) for source in sources}

    def note_silence(self) -> None:
        """The broker did not answer: that nothing came meanwhile says nothing of the consumer."""
        self._stall.reset()

    def renew_if_deaf(self, ends: Mapping[TopicPartition, int], read: Mapping[TopicPartition, int]) -> None:
        """Take another consumer when this one has stood before the end of a partition for too long, though the broker
        answers. `read`: up to where each was read, asked for before its end."""
        if self._tail is not None and (reason := self._stall.find_stalled(ends, read)):
            log.warning("live reads take a new consumer", reason=reason)
            self._stall.reset()
            self._tail.tail.renew()

    def forget_idle(self) -> None:
        """Leave partitions that nobody has read for a while."""
        now_s = self._clock.monotonic()
        for source, partition in list(self._watched.items()):
            starting = self._starting.get(source)
            busy = partition.news or (starting is not None and starting.locked())
            if busy or now_s - partition.idle_since_s < LINGER_S:
                continue
            del self._watched[source]
            assert self._tail is not None
            self._tail.tail.leave(source)

    # --- records ----------------------------------------------------------------------------------------------------

    def _take(self, batches: Sequence[PartitionBatch]) -> None:
        for batch in batches:
            partition = self._watched.get(batch.source)
            if partition is None or partition.lost:
                continue
            self._decoder.learn(batch.records)
            news = partition.ring.extend(batch.records, batch.position)
            if batch.lost:
                partition.lose()
            else:
                partition.wake(news)

    def _open_logs(self) -> Logs:
        if self._logs is None:
            self._logs = Logs(self._settings)
        return self._logs

    def _open_offsets(self) -> Offsets:
        if self._offsets is None:
            self._offsets = Offsets(self._settings)
        return self._offsets
