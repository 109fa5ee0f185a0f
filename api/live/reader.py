"""One live read: a snapshot, then each change once and in order, until somebody ends it.

Drives the state machine of `states`: does what it wants, and tells it what came of that. Owns what a stream holds (its
partition, a reader of the log while it catches up) and the bytes that it sends. Refuses to keep records: the ring of
its partition does, and a reader for whom a change has fallen out of it starts anew. Holds no connection to the database
while it streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api import sse, watermarks
from api.db import read_now, tenant_transaction
from api.live import events, rows, states
from api.live.hub import Hub
from api.live.join import PgSnapshot, ResumeToken
from api.live.partitions import WatchedPartition
from api.live.polling import POLL_S
from api.live.ring import RowChange
from api.live.states import CatchingUp, Ended, Following, Joining, OffsetWatermark, Position, ReaderEvent, Sending
from connectors.kafka.tail import PartitionReader
from connectors.postgres.lsn import parse
from runtime import metrics
from runtime.errors import DataError, DependencyUnavailable, TooLarge
from runtime.logs import get_logger
from schemas.flows import KeptView

CHANGES_MAX = 200
"""Changes in one piece of the response."""
STALL_S_MAX = 60.0
"""A reader who takes nothing for so long, while there is something, is cut."""

log = get_logger("live")


class _PositionLost(Exception):
    """What follows cannot be shown."""

    def __init__(self, reason: events.Reset) -> None:
        self.reason: events.Reset = reason


class _OtherFuture(Exception):
    """What follows never happened in this database."""


@dataclass(slots=True)
class Pace:
    """When a reader says how far it is, when it tries again, and since when nobody takes what it offers. Pure."""

    watermark_s: float = 0.0
    again_s: float = 0.0
    offered_s: float | None = None
    said: bool = False

    def take_turn(self, now_s: float) -> bool:
        """Whether a watermark is said now. Changes have their turn in between, however slowly the pieces are taken."""
        self.said = not self.said and now_s - self.watermark_s >= POLL_S
        if self.said:
            self.watermark_s = now_s
        return self.said

    def time_left_s(self, now_s: float) -> float:
        """Seconds until the next watermark."""
        return max(0.0, self.watermark_s + POLL_S - now_s)

    def is_stalled(self, now_s: float) -> bool:
        return self.offered_s is not None and now_s - self.offered_s > STALL_S_MAX


class Reader:
    """`begin`, then `frames`. `close` is called by `frames`, and by the hub when nobody reads."""

    def __init__(self, hub: Hub, view: KeptView, tenant_id: UUID, until: datetime | None = None) -> None:
        self.state: states.ReaderState = Joining()
        self._hub = hub
        self._view = view
        self._tenant_id = tenant_id
        self._until = until
        self._pace = Pace()
        self._news = asyncio.Event()
        self._partition: WatchedPartition | None = None
        self._log: PartitionReader | None = None

    async def begin(self, last_event_id: str | None) -> None:
        """Wait until there is something to show. Raises what keeps it from beginning; then nothing is left behind."""
        hub = self._hub
        hub.admission.enter(self._tenant_id, self)
        try:
            hub.poller.begin()
            partition = await self._find_partition()
            now_s = hub.clock.now().timestamp()
            self.state = states.start(last_event_id, self._view.name, self._tenant_id, partition.topic_id, now_s)
            while not isinstance(self.state, Sending | Following | CatchingUp):
                await self._advance()
        except BaseException:
            self.close()
            raise
        self._pace.offered_s = self._pace.watermark_s = hub.clock.monotonic()

    async def frames(self) -> AsyncIterator[bytes]:
        """The bytes of the response."""
        clock = self._hub.clock
        try:
            while True:
                self._pace.offered_s = None
                frame = await self._next()
                over = isinstance(self.state, Ended)
                self._pace.offered_s = clock.monotonic()
                yield frame
                if over:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Give back what is held. Idempotent, and never waits."""
        self._enter(states.ReadOver("slow"))
        if self._partition is not None:
            self._hub.partitions.unwatch(self._partition, self._tenant_id, self._news)
            self._partition = None
        self._hub.admission.leave(self)

    def cut_if_stalled(self) -> None:
        if self._pace.is_stalled(self._hub.clock.monotonic()):
            self.close()

    # --- driving ----------------------------------------------------------------------------------------------------

    def _enter(self, event: ReaderEvent) -> None:
        """Take the machine's next state, and hold what it needs. Raises `DependencyUnavailable` when there is no room
        for that; then the state is as it was."""
        admission, old = self._hub.admission, self.state
        new = states.step(old, event)
        admission.hold(states.count_bytes(new) - states.count_bytes(old))
        self.state = new
        if isinstance(new, CatchingUp) and self._log is None:
            self._open_log(new.position)
        elif self._log is not None and not isinstance(new, CatchingUp):
            self._close_log()

    async def _next(self) -> bytes:
        """The next piece, after a second at most."""
        clock = self._hub.clock
        while True:
            if reason := self._find_end():
                self._enter(states.ReadOver(reason))
            if reset := states.find_reset(self.state):
                return self._say_reset(reset)
            match states.want(self.state):
                case "end":
                    return self._say_end()
                case "page":
                    return self._send_page()
            if self._pace.take_turn(clock.monotonic()):
                return self._say_watermark()
            if clock.monotonic() >= self._pace.again_s and (found := await self._try()):
                return found
            await self._wait()

    async def _try(self) -> bytes:
        """`_advance`, and what its faults mean to a stream."""
        try:
            return await self._advance()
        except _PositionLost as lost:
            self._enter(states.PositionLost(lost.reason))
        except _OtherFuture:
            self._enter(states.ReadOver("other-log"))
        except TooLarge:
            self._enter(states.ReadOver("too-large"))
        except DependencyUnavailable as error:
            log.info("a live read waits", view=self._view.name, detail=error.detail)
            self._pace.again_s = self._hub.clock.monotonic() + POLL_S
        return b""

    async def _advance(self) -> bytes:
        """Do what the state wants of others; the changes that came of it, if any."""
        match states.want(self.state):
            case "bounds":
                await self._resume()
            case "poll":
                await self._hub.poller.wait_for_poll()
                self._enter(states.HubPolled())
            case "snapshot":
                await self._join()
            case "changes":
                return await self._follow()
            case "log":
                return await self._catch_up()
        return b""

    async def _wait(self) -> None:
        """Wait for news, until the next watermark at most; not at all where there is something to do."""
        clock, partition = self._hub.clock, self._partition
        seconds = self._pace.time_left_s(clock.monotonic())
        if clock.monotonic() < self._pace.again_s:
            await asyncio.sleep(seconds)
            return
        if states.want(self.state) != "changes" or partition is None:
            return
        if partition.lost or self.state.position.offset < partition.ring.next:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def _find_end(self) -> events.End | None:
        if self._hub.admission.closing:
            return "closing"
        if self._until is not None and self._hub.clock.now() >= self._until:
            return "token-expired"
        return None

    # --- what is said -----------------------------------------------------------------------------------------------

    def _frame(self, name: str, data: bytes) -> bytes:
        now_s = self._hub.clock.now().timestamp()
        return sse.encode_frame(name, data, states.write_token(self.state, self._view.name, self._tenant_id, now_s))

    def _say_end(self) -> bytes:
        assert isinstance(self.state, Ended)
        return self._frame("end", events.encode(events.EndEvent(self.state.reason)))

    def _say_reset(self, reason: events.Reset) -> bytes:
        self._enter(states.ResetSaid())
        metrics.LIVE_RESETS.labels(reason).inc()
        return self._frame("reset", events.encode(events.ResetEvent(reason)))

    def _send_page(self) -> bytes:
        assert isinstance(self.state, Sending)
        page = self.state.pages[0]
        self._enter(states.PageSent())
        as_of = self._hub.as_of(self.state.position.base)
        return self._frame("snapshot", events.encode_snapshot(page, more=isinstance(self.state, Sending), as_of=as_of))

    def _say_watermark(self) -> bytes:
        """How far the picture is. Once everything before the snapshot was passed, the token need not remember it."""
        mark, at = None, self.state.position
        if self._partition is not None and isinstance(self.state, Following | CatchingUp):
            mark = self._partition.find_watermark(at.offset)
            if mark is not None and at.seen is not None and mark.wal >= at.seen.lsn:
                self._enter(states.SnapshotPassed())
        if mark is None or (at.base is not None and at.base.order > mark.order):
            mark = at.base
        said = events.WatermarkEvent(self._hub.as_of(mark), self._hub.waits_for())
        return self._frame("watermark", events.encode(said))

    # --- the beginning ----------------------------------------------------------------------------------------------

    async def _find_partition(self) -> WatchedPartition:
        """The one that is watched, or a new one in the place of one that is of no use any more."""
        partition = self._partition
        if partition is None or partition.lost:
            if partition is not None:
                self._hub.partitions.unwatch(partition, self._tenant_id, self._news)
            self._partition = None
            partition = await self._hub.partitions.watch(self._view, self._tenant_id, self._news)
            self._partition = partition
        return partition

    async def _resume(self) -> None:
        partition = await self._find_partition()
        first, end = await self._hub.partitions.ask_bounds(partition.source)
        self._enter(states.BoundsFound(first, end, partition.ring.first, self._hub.admission.may_catch_up))

    async def _join(self) -> None:
        """Read the rows, and find the first change that they do not have."""
        partition = await self._find_partition()
        since = self._hub.poller.newest_wal
        partition.ring.dropped.begin_join()
        try:
            async with tenant_transaction(self._hub.database, self._tenant_id, read_only=True) as connection:
                wal, snapshot = await read_now(connection)
                seen = PgSnapshot.parse(snapshot, parse(wal), since)
                offset = partition.ring.find_start(self._tenant_id, seen)
                if offset is not None:
                    found = await rows.read(connection, self._view, self._tenant_id)
                    as_of = await watermarks.read(connection, self._view.name)
        finally:
            partition.ring.dropped.end_join()
        if offset is not None and not partition.lost:
            base = OffsetWatermark(0, 0, as_of.lsn, as_of.time, as_of.time is not None)
            position = Position(partition.topic_id, offset, seen, base)
            self._enter(states.SnapshotJoined(position, tuple(rows.paginate(found))))
            return
        self._enter(states.CommitHidden())
        if isinstance(self.state, Joining):
            raise DependencyUnavailable(
                "a commit that was announced is not visible yet",
                hint="ask again; does Postgres wait for a synchronous standby?",
            )

    # --- the changes ------------------------------------------------------------------------------------------------

    async def _follow(self) -> bytes:
        """The next changes of the ring; empty when there is none."""
        partition, offset = self._partition, self.state.position.offset
        if partition is None or partition.lost:
            raise _PositionLost("other-log")
        if partition.ring.has_lost(self._tenant_id, offset):
            raise _PositionLost("behind")
        end = partition.ring.next
        changes = partition.ring.since(self._tenant_id, offset, CHANGES_MAX)
        return await self._show(changes, end if len(changes) < CHANGES_MAX else 0)

    async def _catch_up(self) -> bytes:
        """A piece of what the ring does not have any more; when it is read, the ring goes on."""
        partition, source = self._partition, self._log
        if partition is None or source is None or partition.lost:
            raise _PositionLost("other-log")
        batch = await asyncio.to_thread(source.read)
        if self._log is not source:
            return b""  # ended meanwhile
        if batch.lost:
            raise _PositionLost("other-log")
        own = (each for each in batch.records if each.tenant_id == self._tenant_id and each.value is not None)
        shown = await self._show([RowChange.of(record) for record in own], batch.position)
        at = self.state.position
        if at.offset < batch.position:
            # The registry went away in the middle: the rest of the batch is read again.
            self._close_log()
            self._open_log(at)
        elif at.offset >= partition.ring.first:
            self._enter(states.RingReached())
        return shown

    async def _show(self, changes: Sequence[RowChange], end: int) -> bytes:
        """Moves on to `end` when all of `changes` were shown."""
        parts: list[bytes] = []
        for change in changes:
            try:
                if not await self._hub.sessions.has(change.beat):
                    raise _OtherFuture
                data = await self._find_data(change)
            except (DependencyUnavailable, _OtherFuture):
                if not parts:
                    raise
                end = 0  # the others are shown first; this one is asked for again
                break
            self._enter(states.OffsetReached(change.record.offset + 1))
            if data is not None:
                parts.append(self._frame("delta", data))
        self._enter(states.OffsetReached(end))
        metrics.LIVE_DELTAS.labels(self._view.name).inc(len(parts))
        return b"".join(parts)

    async def _find_data(self, change: RowChange) -> bytes | None:
        """One change as JSON; None when it is not for this reader."""
        decoder, seen = self._hub.decoder, self.state.position.seen
        try:
            converters = await decoder.decode(change)
        except DataError as error:
            log.error("a record of a view cannot be read", code=error.code, **change.record.coordinates)
            raise _PositionLost("unreadable") from None
        envelope = change.decoded
        if seen is not None:
            if change.lsn >= seen.lsn:
                self._enter(states.SnapshotPassed())
            elif seen.has(change.xid, change.lsn):
                return None
        if envelope["op"] not in ("c", "u", "d"):
            raise _PositionLost("other-log")
        row = envelope["before"] if envelope["op"] == "d" else envelope["after"]
        if row["tenant_id"] != str(self._tenant_id):
            log.error("a record whose header names another tenant than its row", **change.record.coordinates)
            return None
        if change.data is None:
            change.data = rows.encode_delta(self._view, envelope, converters)
        return change.data

    def _open_log(self, at: Position) -> None:
        assert self._partition is not None
        self._log = PartitionReader(self._hub.settings.kafka, self._partition.source, at.offset)
        self._hub.admission.catch_ups += 1

    def _close_log(self) -> None:
        if self._log is not None:
            source, self._log = self._log, None
            self._hub.admission.catch_ups -= 1
            # It may be in the middle of a read on another thread; closing waits for nothing there.
            asyncio.get_running_loop().run_in_executor(None, source.close)


def require_token(last_event_id: str | None) -> str | None:
    """The token, or None where there is none. Raises `InvalidInput` for what cannot be one."""
    if last_event_id:
        ResumeToken.parse(last_event_id)
    return last_event_id or None
