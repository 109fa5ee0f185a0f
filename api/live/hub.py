"""Reads each partition of a view's topic once, for all live readers of this process.

Owns the consumer (`connectors/kafka/tail.py`), a `Lane` for each partition that somebody reads, the decoding, the
bounds on readers, and the look once a second at the database and the broker: which snapshot is newest, how far each
view is, and from which offset on a reader's picture has that much. Refuses to write to a response: `reader` does.

A lane begins `SETTLE_S` before the end of the log and not at its end. A commit can be in the log before snapshots see
it (`join`), for as long as its backend needs from the one to the other: some instructions without I/O. With synchronous
replication it waits for the standby in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import BoundedSemaphore
from typing import Any, Protocol
from uuid import UUID

from api.db import Database, tenant_transaction
from api.live import rows
from api.live.join import Seen
from api.live.ring import Change, Ring, Unknowable
from api.watermarks import UNKNOWN, AsOf, judge
from connectors.kafka.offsets import Offsets
from connectors.kafka.partitioner import partition_for
from connectors.kafka.records import Record, TopicPartition
from connectors.kafka.tail import Stretch, Tail, Tailed, topic_ids
from connectors.postgres.lsn import parse
from connectors.registry import RegistryClient
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError, DependencyUnavailable, OperatingError, RateLimited
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.codec import HEADER, Decoder, schema_id_of
from schemas.flows import KeptView
from topics import catalog

SETTLE_S = 60.0
"""How far before the end of the log a lane begins, in seconds."""
LOOK_S = 1.0
"""Between two looks at database and broker; so old is what a watermark says, at least."""
LOOKS_MAX = 64
"""Looks that wait until change capture has passed them: a minute of an outage. Later ones then take their place."""
SCHEMAS_MAX = 1024
"""Schemas that are remembered as asked for."""
SILENT_S_MAX = 3.0
"""After so long without an answer a dependency is said to be away."""
LINGER_S = 60.0
"""A lane without a reader is kept for so long: whoever was cut comes back to it."""
HANDED_OVER_MAX = 4
"""Batches that the consumer's thread may be ahead of the event loop."""
HELD_BYTES_MAX = 67_108_864
"""Snapshots that are not sent yet, of all readers of the process: 64 MiB."""
STALL_S_MAX = 60.0
"""A reader who takes nothing for so long, while there is something, is cut."""
CLOSE_S_MAX = 2.0
"""At the end of the process, for a look that is under way."""
NOBODY = UUID(int=0)

log = get_logger("live")


@dataclass(frozen=True, slots=True)
class Mark:
    """Whoever has read up to `offset` has everything that was committed before `wal`; the view was at `lsn` then."""

    offset: int
    wal: int
    lsn: str | None
    time: datetime | None
    complete: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What the database said at once: how far each view was, all of it committed before `wal`."""

    wal: int
    marks: dict[str, tuple[str, datetime, bool]]
    stopped: frozenset[str]
    """Tables whose changes are not captured any more."""


@dataclass
class Lane:
    """One partition of one view's topic."""

    view: KeptView
    source: TopicPartition
    topic_id: str
    ring: Ring
    idle_since_s: float
    lost: bool = False
    """Reading has ended: the log does not have what comes next, or another topic has its name."""
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=LOOKS_MAX))
    news: dict[UUID, set[asyncio.Event]] = field(default_factory=dict)

    def wake(self, tenants: set[UUID] | None = None) -> None:
        """Readers of `tenants`; None: all of them."""
        for tenant_id in self.news if tenants is None else tenants & self.news.keys():
            for event in self.news[tenant_id]:
                event.set()

    def mark_at(self, offset: int) -> Mark | None:
        """The newest that a reader at `offset` has reached."""
        return next((mark for mark in reversed(self.marks) if mark.offset <= offset), None)


class Cuttable(Protocol):
    """A reader."""

    def cut_if_stalled(self) -> None:
        """Give everything back when nobody has taken anything for `STALL_S_MAX`."""
        ...


class Hub:
    """One of a process. `start` before, `close` at the end; in between everything is on the event loop."""

    def __init__(self, settings: Settings, database: Database, clock: Clock, views: Iterable[KeptView]) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.views = {view.name: view for view in views if view.live}
        self.closing = False
        self.held_bytes = 0
        self.stretches = 0
        """Readers that catch up from the log by themselves right now."""
        self.newest_wal = 0
        self.looked = asyncio.Event()
        """Set after each look, for a moment."""
        self._registry = RegistryClient(settings.registry)
        self._decoder = Decoder(self._registry)
        self._kinds: dict[int, dict[str, rows.Convert]] = {}
        self._heads: set[bytes] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._lanes: dict[TopicPartition, Lane] = {}
        self._starting: dict[TopicPartition, asyncio.Lock] = {}
        self._of_tenant: Counter[UUID] = Counter()
        self._open: set[Cuttable] = set()
        self._looks: deque[Look] = deque(maxlen=LOOKS_MAX)
        self._answered_s: dict[str, float] = {}
        self._undecoded: str | None = None
        self._tail: Tail | None = None
        self._offsets: Offsets | None = None
        self._room = BoundedSemaphore(HANDED_OVER_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looking: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    # --- starting and stopping --------------------------------------------------------------------------------------

    def end_readers(self) -> None:
        """Every read says that it ends, and does. A server waits for open responses before it ends its application."""
        self.closing = True
        for lane in self._lanes.values():
            lane.wake()

    async def close(self) -> None:
        """Readers end by themselves, now. Nothing of theirs is left behind."""
        self.end_readers()
        if self._looking is not None:
            self._stop.set()
            await asyncio.wait({self._looking}, timeout=CLOSE_S_MAX)
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        if self._tail is not None:
            self._loop = None  # what the thread still has is dropped
            with contextlib.suppress(ValueError):
                self._room.release()
            await asyncio.to_thread(self._tail.stop)
        self._registry.close()

    def _begin(self) -> None:
        """With the first reader, so that a process without any has no consumer."""
        if self._looking is None:
            self._loop = asyncio.get_running_loop()
            self._tail = Tail(self.settings.kafka, self._deliver)
            self._tail.start()
            self._looking = asyncio.create_task(self._look_on(), name="live looks")

    # --- readers ----------------------------------------------------------------------------------------------------

    def enter(self, tenant_id: UUID, reader: Cuttable) -> None:
        """A place for one reader. Raises `RateLimited` when the tenant has its share, `DependencyUnavailable` when the
        process is full."""
        limits = self.settings.api
        if self.closing:
            raise DependencyUnavailable("this process is about to end", hint="ask again")
        if self._of_tenant[tenant_id] >= limits.live_readers_per_tenant_max:
            raise RateLimited(
                f"{limits.live_readers_per_tenant_max} live reads of this tenant are open",
                hint="close one: one stream a page is enough (api.live_readers_per_tenant_max)",
            )
        if self._of_tenant.total() >= limits.live_readers_max:
            raise DependencyUnavailable(
                f"{limits.live_readers_max} live reads are open", hint="ask again later (api.live_readers_max)"
            )
        self._begin()
        self._of_tenant[tenant_id] += 1
        self._open.add(reader)
        metrics.LIVE_READERS.set(self._of_tenant.total())

    def leave(self, tenant_id: UUID, reader: Cuttable) -> None:
        self._open.discard(reader)
        self._of_tenant[tenant_id] -= 1
        if not self._of_tenant[tenant_id]:
            del self._of_tenant[tenant_id]
        metrics.LIVE_READERS.set(self._of_tenant.total())

    @property
    def readers(self) -> int:
        return self._of_tenant.total()

    async def lane(self, view: KeptView, tenant_id: UUID, news: asyncio.Event) -> Lane:
        """The lane with the tenant's records, read from now on at the latest. `news` is set when some arrive.

        Raises `DependencyUnavailable` when the broker does not answer. Give it back with `release`.
        """
        topic = view.topic(self.settings.cdc.prefix)
        source = TopicPartition(
            topic, partition_for(str(tenant_id), catalog.load()[f"adriatic.{view.table}"].partitions)
        )
        async with self._starting.setdefault(source, asyncio.Lock()):
            lane = self._lanes.get(source)
            if lane is None or lane.lost or lane.ring.blind:
                lane = await self._start(view, source)
            lane.news.setdefault(tenant_id, set()).add(news)
            lane.ring.watch(tenant_id)
        return lane

    def release(self, lane: Lane, tenant_id: UUID, news: asyncio.Event) -> None:
        waiting = lane.news.get(tenant_id, set())
        if news not in waiting:
            return
        waiting.discard(news)
        if not waiting:
            del lane.news[tenant_id]
        lane.ring.unwatch(tenant_id)
        lane.idle_since_s = self.clock.monotonic()

    async def _start(self, view: KeptView, source: TopicPartition) -> Lane:
        at_ms = int((self.clock.now().timestamp() - SETTLE_S) * 1000)
        topic_id, start, _ = await asyncio.to_thread(self._ask_where, source, at_ms)
        old = self._lanes.get(source)
        if old is not None:
            old.lost = True
            old.wake()
        lane = Lane(view, source, topic_id, Ring(start, self.xid_of), self.clock.monotonic())
        self._lanes[source] = lane
        assert self._tail is not None
        self._tail.follow(source, start)
        return lane

    def _ask_where(self, source: TopicPartition, at_ms: int) -> tuple[str, int, int]:
        """The topic's id, the first offset since a time, and the end. Blocks."""
        topic_id = topic_ids(self.settings.kafka, [source.topic])[source.topic]
        offsets = self._known_offsets()
        end = offsets.end([source])[source]
        since = offsets.at([source], at_ms)[source]
        return topic_id, end if since < 0 else since, end

    async def bounds(self, source: TopicPartition) -> tuple[int, int]:
        """The first offset that the log has, and its end. Raises `DependencyUnavailable`."""

        def ask() -> tuple[int, int]:
            offsets = self._known_offsets()
            return offsets.first([source])[source], offsets.end([source])[source]

        return await asyncio.to_thread(ask)

    def stretch(self, source: TopicPartition, offset: int) -> Stretch:
        return Stretch(self.settings.kafka, source, offset)

    def _known_offsets(self) -> Offsets:
        if self._offsets is None:
            self._offsets = Offsets(self.settings.kafka)
        return self._offsets

    # --- records ----------------------------------------------------------------------------------------------------

    def _deliver(self, tailed: Sequence[Tailed]) -> None:
        """On the consumer's thread. Waits while the event loop is behind."""
        loop = self._loop
        if loop is None:
            return
        self._room.acquire()
        try:
            loop.call_soon_threadsafe(self._take, tailed)
        except RuntimeError:  # the loop has ended
            self._loop = None

    def _take(self, tailed: Sequence[Tailed]) -> None:
        with contextlib.suppress(ValueError):
            self._room.release()
        for each in tailed:
            lane = self._lanes.get(each.source)
            if lane is None or lane.lost:
                continue
            self._learn(each.records)
            news = lane.ring.extend(each.records, each.position)
            lane.lost = each.lost
            lane.wake(None if each.lost else news)

    def _learn(self, records: Sequence[Record]) -> None:
        """Ask for schemas that were never seen, before somebody has to wait for them."""
        for record in records:
            value = record.value
            if value is None or (head := value[: HEADER.size]) in self._heads:
                continue
            self._heads.add(head)
            if len(self._heads) > SCHEMAS_MAX:
                self._heads.clear()
            task = asyncio.create_task(self._ask(value), name="live schema")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, value: bytes) -> None:
        try:
            await self._kinds_of(schema_id_of(value))
        except AdriaticError:
            self._heads.discard(value[: HEADER.size])  # the next record asks again

    def xid_of(self, change: Change) -> int | None:
        """Raises `Unknowable` when its schema was never seen."""
        if change.decoded is None:
            try:
                if schema_id_of(change.record.value or b"") not in self._kinds:
                    raise Unknowable
                change.decoded = self._decoder.decode(change.record.value or b"")
            except AdriaticError:
                return None
        return _xid(change.decoded)

    async def decode(self, change: Change) -> dict[str, rows.Convert]:
        """Makes `change.decoded`; returns how its values are shown. Raises `DataError` when it cannot be read, and
        `DependencyUnavailable` when the registry does not say how."""
        value = change.record.value or b""
        kinds = await self._kinds_of(schema_id_of(value))
        if change.decoded is None:
            change.decoded = self._decoder.decode(value)
        return kinds

    async def _kinds_of(self, schema_id: int) -> dict[str, rows.Convert]:
        if schema_id not in self._kinds:
            try:
                schema = await asyncio.to_thread(self._registry.schema, schema_id)
            except DependencyUnavailable as error:
                self._undecoded = str(error)
                raise
            self._kinds[schema_id] = rows.kinds_of(schema)
        self._undecoded = None
        return self._kinds[schema_id]

    # --- how far everything is --------------------------------------------------------------------------------------

    def waits_for(self) -> list[str]:
        """Of database, kafka and registry those that do not answer right now."""
        now_s = self.clock.monotonic()
        away = [name for name in ("database", "kafka") if now_s - self._answered_s.get(name, now_s) > SILENT_S_MAX]
        return away + (["registry"] if self._undecoded else [])

    def as_of(self, mark: Mark | None) -> AsOf:
        if mark is None:
            return UNKNOWN
        return judge(mark.lsn, mark.time, self.clock.now(), complete=mark.complete)

    async def _look_on(self) -> None:
        now_s = self.clock.monotonic()
        self._answered_s = {"database": now_s, "kafka": now_s}
        while not await self._stopped_within(LOOK_S):
            self._forget_idle()
            for reader in tuple(self._open):
                reader.cut_if_stalled()
            if not self._lanes:
                now_s = self.clock.monotonic()
                self._answered_s = {"database": now_s, "kafka": now_s}
                continue
            try:
                await self._look()
            except OperatingError as error:
                log.info("live reads wait", code=error.code, detail=error.detail)
            except Exception:
                log.exception("unexpected exception")
            self.looked.set()
            self.looked.clear()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return False
        return True

    async def _look(self) -> None:
        progress = await self._ask_database()
        self._answered_s["database"] = self.clock.monotonic()
        certain = next((look for look in reversed(self._looks) if look.wal <= progress), None)
        lanes = dict(self._lanes)
        ends, ids = await asyncio.to_thread(self._ask_broker, tuple(lanes))
        self._answered_s["kafka"] = self.clock.monotonic()
        for source, lane in lanes.items():
            if ids[source.topic] != lane.topic_id:
                lane.lost = True
                lane.wake()
            elif certain is not None:
                lane.marks.append(_mark(lane.view, ends[source], certain))

    async def _ask_database(self) -> int:
        """Notes what it says, and returns the position up to which everything is in Kafka."""
        async with tenant_transaction(self.database, NOBODY, read_only=True) as connection:
            row = await connection.fetchrow(
                "select pg_current_snapshot()::text as seen, pg_current_wal_insert_lsn()::text as wal, "
                "(select lsn::text from ops.cdc_progress where slot = $1) as progress",
                self.settings.cdc.slot,
            )
            found = await connection.fetch(
                "select view, min(lsn)::text as lsn, min(source_at) as time, bool_and(lsn > '0/0') as complete "
                "from mv.watermarks group by view"
            )
            stopped = await connection.fetch("select table_name from ops.cdc_tables where state = 'stopped'")
        seen = Seen.parse(row["seen"], parse(row["wal"]), self.newest_wal)
        self.newest_wal = seen.lsn
        for lane in self._lanes.values():
            lane.ring.look(seen)
        marks = {each["view"]: (each["lsn"], each["time"], each["complete"]) for each in found}
        self._looks.append(Look(seen.lsn, marks, frozenset(each["table_name"] for each in stopped)))
        return parse(row["progress"]) if row["progress"] else 0

    def _ask_broker(self, sources: Sequence[TopicPartition]) -> tuple[dict[TopicPartition, int], dict[str, str]]:
        ids = topic_ids(self.settings.kafka, sorted({source.topic for source in sources}))
        return self._known_offsets().end(sources), dict(ids)

    def _forget_idle(self) -> None:
        now_s = self.clock.monotonic()
        for source, lane in list(self._lanes.items()):
            starting = self._starting.get(source)
            if lane.news or (starting is not None and starting.locked()) or now_s - lane.idle_since_s < LINGER_S:
                continue
            del self._lanes[source]
            assert self._tail is not None
            self._tail.leave(source)


def _mark(view: KeptView, offset: int, look: Look) -> Mark:
    lsn, time, complete = look.marks.get(view.name, (None, None, False))
    complete = complete and view.table not in look.stopped
    return Mark(offset, look.wal, lsn, time, complete)


def _xid(envelope: Any) -> int | None:
    try:
        xid = envelope["source"]["txId"]
    except (KeyError, TypeError):
        return None
    return None if xid is None or envelope.get("op") == "r" else int(xid)
