"""One live read: a snapshot, then each change once and in order, until somebody ends it.

Owns the state of one stream (where it is, what its snapshot had, what waits to be sent), its answers to a resume token,
and what it says when something is away. Refuses to keep records: the lane of the `hub` does, and a reader for whom a
change has fallen out of it starts anew. Holds no connection to the database while it streams.

    begin ──▶ [resume] ──▶ changes ◀──▶ wait
       └────▶ join ──▶ pages ──┘           any fault of the position: reset ──▶ join
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from uuid import UUID

from api import watermarks
from api.db import tenant_transaction
from api.live import events, rows
from api.live.hub import HELD_BYTES_MAX, LOOK_S, STALL_S_MAX, Hub, Lane, Mark
from api.live.join import TOKEN_S_MAX, Seen, Token, token
from api.live.ring import Change
from connectors.kafka.tail import Stretch
from connectors.postgres.lsn import parse
from runtime import metrics
from runtime.errors import DataError, DependencyUnavailable, TooLarge
from runtime.logs import get_logger
from schemas.flows import KeptView

CHANGES_MAX = 200
"""Changes in one piece of the response."""
JOIN_TRIES_MAX = 5
"""Snapshots taken for one join; a second one is needed when a commit takes longer than usual to become visible."""
AWAY_OFFSETS_MAX = 100_000
"""A reader that was away for longer gets a snapshot, which is less to read."""
STRETCHES_MAX = 8
"""Readers that catch up from the log at once, in one process: each has a consumer of its own for that time."""

log = get_logger("live")


class _Restart(Exception):
    """The reader's position is of no use any more."""

    def __init__(self, reason: events.Reset) -> None:
        self.reason: events.Reset = reason


class Reader:
    """`begin`, then `frames`. `close` is called by `frames`, and by the hub when nobody reads."""

    def __init__(self, hub: Hub, view: KeptView, tenant_id: UUID, until: datetime | None = None) -> None:
        self._hub = hub
        self._view = view
        self._tenant_id = tenant_id
        self._until = until
        self._news = asyncio.Event()
        self._lane: Lane | None = None
        self._topic_id = ""
        self._joined = False
        self._partial = False
        """A part of the snapshot was not sent yet."""
        self._too_large = False
        self._cursor = 0
        self._seen: Seen | None = None
        self._base: Mark | None = None
        self._pages: deque[bytes] = deque()
        self._reset: events.Reset | None = None
        self._stretch: Stretch | None = None
        self._entered = self._closed = False
        self._waiting_since_s: float | None = None
        self._watermark_s = 0.0
        self._said_watermark = False
        self._again_s = 0.0

    async def begin(self, last_event_id: str | None) -> None:
        """Until there is something to show. Raises what keeps it from beginning; then nothing is left behind."""
        self._hub.enter(self._tenant_id, self)
        self._entered = True
        try:
            self._lane = await self._hub.lane(self._view, self._tenant_id, self._news)
            if last_event_id:
                self._reset = await self._resume(last_event_id, self._lane)
            if not last_event_id or self._reset:
                await self._join()
        except BaseException:
            self.close()
            raise
        self._waiting_since_s = self._watermark_s = self._hub.clock.monotonic()

    async def frames(self) -> AsyncIterator[bytes]:
        """The bytes of the response."""
        clock = self._hub.clock
        try:
            while True:
                self._waiting_since_s = None
                if over := self._over():
                    yield events.frame("end", events.encoded(events.EndEvent(over)), self._token())
                    return
                frame = await self._next()
                self._waiting_since_s = clock.monotonic()
                yield frame
        finally:
            self.close()

    def close(self) -> None:
        """Give back what is held. Idempotent, and never waits."""
        self._closed = True
        if self._lane is not None:
            self._hub.release(self._lane, self._tenant_id, self._news)
            self._lane = None
        self._drop_pages()
        self._end_stretch()
        if self._entered:
            self._entered = False
            self._hub.leave(self._tenant_id, self)

    def cut_if_stalled(self) -> None:
        since_s = self._waiting_since_s
        if since_s is not None and self._hub.clock.monotonic() - since_s > STALL_S_MAX:
            self.close()

    def _over(self) -> events.End | None:
        if self._closed:
            return "slow"
        if self._too_large:
            return "too-large"
        if self._hub.closing:
            return "closing"
        if self._until is not None and self._hub.clock.now() >= self._until:
            return "token-expired"
        return None

    # --- what comes next --------------------------------------------------------------------------------------------

    async def _next(self) -> bytes:
        """The next piece, after a second at most."""
        if self._reset:
            reason, self._reset = self._reset, None
            metrics.LIVE_RESETS.labels(reason).inc()
            return events.frame("reset", events.encoded(events.ResetEvent(reason)), self._token())
        if self._pages:
            return self._page()
        clock = self._hub.clock
        while not self._hub.closing:
            now_s = clock.monotonic()
            # Changes have their turn in between, however slowly the pieces are taken.
            if now_s - self._watermark_s >= LOOK_S and not self._said_watermark:
                self._watermark_s, self._said_watermark = now_s, True
                return self._watermark()
            self._said_watermark = False
            try:
                if now_s >= self._again_s:
                    if not self._joined:
                        await self._join()
                        return self._page()
                    if found := await self._changes():
                        return found
            except _Restart as restart:
                await self._start_anew(restart.reason)
                return await self._next()
            except TooLarge:
                self._too_large = True
                return self._watermark()
            except DependencyUnavailable as error:
                log.info("a live read waits", view=self._view.name, detail=error.detail)
                self._again_s = clock.monotonic() + LOOK_S
            await self._wait(max(0.0, self._watermark_s + LOOK_S - clock.monotonic()))
        return events.KEEP_ALIVE

    async def _wait(self, seconds: float) -> None:
        """For news, and for so long at most."""
        lane, idle = self._lane, self._hub.clock.monotonic() < self._again_s
        if not idle and (self._stretch or (self._joined and lane and not lane.lost and self._cursor < lane.ring.next)):
            return
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()
        if idle:
            await asyncio.sleep(seconds)

    async def _start_anew(self, reason: events.Reset) -> None:
        self._reset, self._joined = reason, False
        self._seen = self._base = None
        self._end_stretch()
        if reason in ("unreadable", "other-log"):
            # The snapshot that follows must be known to be younger than what was met.
            await self._looked()
            await self._looked()

    async def _looked(self) -> None:
        try:
            async with asyncio.timeout(2 * LOOK_S):
                await self._hub.looked.wait()
        except TimeoutError:
            return

    # --- the snapshot -----------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Read the rows, and find the first change that they do not have."""
        for _ in range(JOIN_TRIES_MAX):
            lane = await self._usable_lane()
            since = self._hub.newest_wal
            lane.ring.begin_join()
            try:
                async with tenant_transaction(self._hub.database, self._tenant_id, read_only=True) as connection:
                    row = await connection.fetchrow(
                        "select pg_current_snapshot()::text as seen, pg_current_wal_insert_lsn()::text as wal"
                    )
                    seen = Seen.parse(row["seen"], parse(row["wal"]), since)
                    place = lane.ring.place(self._tenant_id, seen)
                    if place is not None:
                        found = await rows.read(connection, self._view, self._tenant_id)
                        as_of = await watermarks.read(connection, self._view.name)
            finally:
                lane.ring.end_join()
            if place is None or lane.lost:
                await self._looked()
                continue
            self._hold(rows.pages(found))
            self._cursor, self._seen, self._joined, self._topic_id = place, seen, True, lane.topic_id
            self._base = Mark(0, 0, as_of.lsn, as_of.time, as_of.time is not None)
            return
        raise DependencyUnavailable(
            "a commit that was announced is not visible yet",
            hint="ask again; does Postgres wait for a synchronous standby?",
        )

    async def _usable_lane(self) -> Lane:
        lane = self._lane
        if lane is None or lane.lost or lane.ring.blind:
            if lane is not None:
                self._hub.release(lane, self._tenant_id, self._news)
            self._lane = None
            lane = self._lane = await self._hub.lane(self._view, self._tenant_id, self._news)
        return lane

    def _hold(self, pages: Sequence[bytes]) -> None:
        size = sum(map(len, pages))
        if self._hub.held_bytes + size > HELD_BYTES_MAX:
            raise DependencyUnavailable(
                "too many live reads begin at once", hint="ask again in some seconds: each begins with a snapshot"
            )
        self._hub.held_bytes += size
        self._pages.extend(pages)
        self._partial = True

    def _page(self) -> bytes:
        page = self._pages.popleft()
        self._hub.held_bytes -= len(page)
        self._partial = bool(self._pages)
        data = events.snapshot(page, more=bool(self._pages), as_of=self._hub.as_of(self._base))
        return events.frame("snapshot", data, self._token())

    def _drop_pages(self) -> None:
        self._hub.held_bytes -= sum(map(len, self._pages))
        self._pages.clear()

    # --- the changes ------------------------------------------------------------------------------------------------

    async def _changes(self) -> bytes:
        """The next changes; empty when there is none."""
        lane = self._lane
        if lane is None or lane.lost:
            raise _Restart("other-log")
        if self._stretch is not None:
            return await self._caught_up(lane, self._stretch)
        if lane.ring.has_lost(self._tenant_id, self._cursor):
            raise _Restart("behind")
        end = lane.ring.next
        changes = lane.ring.since(self._tenant_id, self._cursor, CHANGES_MAX)
        return await self._shown(changes, end if len(changes) < CHANGES_MAX else 0)

    async def _shown(self, changes: Sequence[Change], end: int) -> bytes:
        """Moves on to `end` when all of `changes` were shown."""
        parts: list[bytes] = []
        for change in changes:
            try:
                data = await self._data(change)
            except DependencyUnavailable:
                if not parts:
                    raise
                end = 0  # the others are shown first; this one is asked for again
                break
            self._cursor = change.record.offset + 1
            if data is not None:
                parts.append(events.frame("delta", data, self._token()))
        self._cursor = max(self._cursor, end)
        metrics.LIVE_DELTAS.labels(self._view.name).inc(len(parts))
        return b"".join(parts)

    async def _data(self, change: Change) -> bytes | None:
        """One change as JSON; None when it is not for this reader."""
        try:
            kinds = await self._hub.decode(change)
        except DataError as error:
            log.error("a record of a view cannot be read", code=error.code, **change.record.coordinates)
            raise _Restart("unreadable") from None
        envelope = change.decoded
        if self._seen is not None:
            if change.lsn >= self._seen.lsn:
                self._seen = None  # everything from here on was committed after the snapshot
            elif self._seen.has(self._hub.xid_of(change), change.lsn):
                return None
        if envelope["op"] not in ("c", "u", "d"):
            raise _Restart("other-log")
        row = envelope["before"] if envelope["op"] == "d" else envelope["after"]
        if row["tenant_id"] != str(self._tenant_id):
            log.error("a record whose header names another tenant than its row", **change.record.coordinates)
            return None
        if change.data is None:
            change.data = rows.delta(self._view, envelope, kinds)
        return change.data

    # --- going on where another stream ended --------------------------------------------------------------------------

    async def _resume(self, text: str, lane: Lane) -> events.Reset | None:
        """Take up the position of a token; a reason when it is of no use."""
        found = Token.parse(text)
        reason = self._refusal(found, lane)
        if found is None or reason is not None:
            return reason
        first, end = await self._hub.bounds(lane.source)
        if not first <= found.offset <= end:
            return "other-log"
        far = end - found.offset > AWAY_OFFSETS_MAX or self._hub.stretches >= STRETCHES_MAX
        if found.offset < lane.ring.first and far:
            return "behind"
        self._cursor, self._seen, self._joined, self._topic_id = found.offset, found.seen, True, lane.topic_id
        if found.offset < lane.ring.first:
            self._begin_stretch(lane)
        return None

    def _refusal(self, found: Token | None, lane: Lane) -> events.Reset | None:
        if found is None:
            return "expired"
        if found.view != self._view.name:
            return "other-view"
        if found.tenant_id != self._tenant_id:
            return "other-tenant"
        if found.topic_id != lane.topic_id:
            return "other-log"
        if not found.whole:
            return "snapshot-incomplete"
        if self._hub.clock.now().timestamp() - found.at_s > TOKEN_S_MAX:
            return "expired"
        return None

    async def _caught_up(self, lane: Lane, stretch: Stretch) -> bytes:
        """A piece of what the lane does not have any more; when it is read, the lane goes on."""
        piece = await asyncio.to_thread(stretch.read)
        if self._stretch is not stretch:
            return b""  # ended meanwhile
        if piece.lost:
            raise _Restart("other-log")
        own = (record for record in piece.records if record.tenant_id == self._tenant_id and record.value is not None)
        shown = await self._shown([Change.of(record) for record in own], piece.position)
        if self._cursor < piece.position:
            # The registry went away in the middle: the rest of the piece is read again.
            self._end_stretch()
            self._begin_stretch(lane)
        elif self._cursor >= lane.ring.first:
            self._end_stretch()
        return shown

    def _begin_stretch(self, lane: Lane) -> None:
        self._hub.stretches += 1
        self._stretch = self._hub.stretch(lane.source, self._cursor)

    def _end_stretch(self) -> None:
        if self._stretch is not None:
            stretch, self._stretch = self._stretch, None
            self._hub.stretches -= 1
            # It may be in the middle of a read on another thread; closing waits for nothing there.
            asyncio.get_running_loop().run_in_executor(None, stretch.close)

    # --- how far it is ------------------------------------------------------------------------------------------------

    def _watermark(self) -> bytes:
        """How far the picture is. Once everything before the snapshot was passed, the token need not remember it."""
        mark = self._lane.mark_at(self._cursor) if self._lane is not None and self._joined else None
        if mark is not None and self._seen is not None and mark.wal >= self._seen.lsn:
            self._seen = None
        if mark is None or (self._base is not None and _time(self._base) > _time(mark)):
            mark = self._base
        waits_for = self._hub.waits_for()
        return events.frame(
            "watermark", events.encoded(events.Watermark(self._hub.as_of(mark), waits_for)), self._token()
        )

    def _token(self) -> str:
        return token(
            self._view.name,
            self._tenant_id,
            self._topic_id,
            self._cursor,
            int(self._hub.clock.now().timestamp()),
            whole=self._joined and not self._partial,
            seen=self._seen,
        ).text()


def _time(mark: Mark) -> float:
    return mark.time.timestamp() if mark.time else 0.0


def checked(last_event_id: str | None) -> str | None:
    """Raises `InvalidInput` for what cannot be a token."""
    if last_event_id:
        Token.parse(last_event_id)
    return last_event_id or None
