"""Asks database and broker once a second, for all live readers of this process, how far everything is.

Owns which snapshot is newest, how far each view is, from which offset on a reader's picture has that much, and which of
the two does not answer. Refuses to read rows or records.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import msgspec

from api.db import Database, read_now, tenant_transaction
from api.live.join import PgSnapshot
from api.live.partitions import Partitions, WatchedPartition
from api.live.states import OffsetWatermark
from connectors.postgres.lsn import parse
from runtime.clock import Clock
from runtime.errors import OperatingError
from runtime.logs import get_logger

POLL_S = 1.0
"""Time between two polls of database and broker: a watermark is at least this old."""
POLLS_MAX = 64
"""Polls that wait until change capture has passed them: a minute of an outage. Later ones then take their place."""
SILENT_S_MAX = 3.0
"""A dependency without an answer for longer than this is said to be away."""
CLOSE_S_MAX = 2.0
"""How long the end of the process waits for a poll that is under way."""
NOBODY = UUID(int=0)

_SELECT_PROGRESS = "select lsn::text from ops.cdc_progress where slot = $1"
_SELECT_WATERMARKS = """
  select view, min(lsn)::text as lsn, min(source_at) as time, bool_and(lsn > '0/0') as complete
  from mv.watermarks
  group by view
"""
_SELECT_STOPPED = "select table_name from ops.cdc_tables where state = 'stopped'"

log = get_logger("live")


class DatabasePoll(msgspec.Struct, frozen=True):
    """What the database said at once: how far each view was, all of it committed before `wal`."""

    wal: int
    views: dict[str, tuple[str, datetime, bool]]
    stopped: frozenset[str]
    """Tables whose changes are not captured any more."""

    def watermark(self, partition: WatchedPartition, end: int) -> OffsetWatermark:
        """What a reader of `partition` has who has read up to `end`."""
        view = partition.view
        lsn, time, complete = self.views.get(view.name, (None, None, False))
        return OffsetWatermark(end, self.wal, lsn, time, complete and view.table not in self.stopped)


class Poller:
    """One of a process. `begin` with the first reader; `tick` is called once a second, whatever answers."""

    def __init__(
        self, database: Database, slot: str, partitions: Partitions, clock: Clock, tick: Callable[[], None]
    ) -> None:
        self.newest_wal = 0
        """A position of the WAL that every later snapshot is behind."""
        self._database = database
        self._slot = slot
        self._partitions = partitions
        self._clock = clock
        self._tick = tick
        self._polls: deque[DatabasePoll] = deque(maxlen=POLLS_MAX)
        self._answered_s: dict[str, float] = {}
        self._polled = asyncio.Event()
        """Set after each poll, for a moment."""
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def begin(self) -> None:
        if self._task is None:
            self._note_answer("database", "kafka")
            self._task = asyncio.create_task(self._run(), name="live poll")

    async def close(self) -> None:
        if self._task is not None:
            self._stop.set()
            await asyncio.wait({self._task}, timeout=CLOSE_S_MAX)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait_for_poll(self) -> None:
        """Wait until the poll that is under way is over, or takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * POLL_S):
                await self._polled.wait()

    def find_silent(self) -> list[str]:
        """Those of database and kafka that do not answer right now."""
        now_s = self._clock.monotonic()
        return [name for name in ("database", "kafka") if now_s - self._answered_s.get(name, now_s) > SILENT_S_MAX]

    async def _run(self) -> None:
        while not await self._stops_within(POLL_S):
            self._partitions.forget_idle()
            self._tick()
            if not self._partitions:
                self._note_answer("database", "kafka")  # nobody was asked
                continue
            try:
                await self._poll()
            except OperatingError as error:
                self._partitions.note_silence()
                log.info("live reads wait", code=error.code, detail=error.detail)
            except Exception:
                log.exception("unexpected exception")
            self._polled.set()
            self._polled.clear()

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        return self._stop.is_set()

    def _note_answer(self, *names: str) -> None:
        self._answered_s |= dict.fromkeys(names, self._clock.monotonic())

    async def _poll(self) -> None:
        progress = await self._poll_database()
        self._note_answer("database")
        certain = next((poll for poll in reversed(self._polls) if poll.wal <= progress), None)
        partitions = self._partitions.all()
        read = {each.source: each.ring.next for each in partitions}  # before the ends are asked for: they only grow
        found = await asyncio.to_thread(self._partitions.ask_ends, list(read))
        self._note_answer("kafka")
        self._partitions.renew_if_deaf({source: end for source, (end, _) in found.items()}, read)
        for partition in partitions:
            end, topic = found[partition.source]
            if topic.topic_id != partition.topic_id or end < read[partition.source]:
                partition.lose()  # it was made anew, or went back
            elif certain is not None:
                partition.watermarks.append(certain.watermark(partition, end))

    async def _poll_database(self) -> int:
        """Notes what it says, and returns the position up to which everything is in Kafka."""
        async with tenant_transaction(self._database, NOBODY, read_only=True) as connection:
            wal, seen = await read_now(connection)
            progress = await connection.fetchval(_SELECT_PROGRESS, self._slot)
            found = await connection.fetch(_SELECT_WATERMARKS)
            stopped = await connection.fetch(_SELECT_STOPPED)
        snapshot = PgSnapshot.parse(seen, parse(wal), self.newest_wal)
        self.newest_wal = snapshot.lsn
        for partition in self._partitions.all():
            partition.ring.dropped.note_snapshot(snapshot)
        views = {each["view"]: (each["lsn"], each["time"], each["complete"]) for each in found}
        self._polls.append(DatabasePoll(snapshot.lsn, views, frozenset(each["table_name"] for each in stopped)))
        return parse(progress) if progress else 0
