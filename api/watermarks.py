"""How much of what was written a materialized view shows: the `as_of` that every read of one carries (law 5).

Owns the reading of `mv.watermarks`, what fresh, stale and unknown mean, and how it is said in a body and in headers.
Waits, bounded, for a position that a caller
brings from a write. Refuses to guess: a view that never reported, or not for long, is `unknown`, never fresh.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar.params import HeaderParameter

from api.db import Connection, Database, tenant_transaction
from runtime.deadline import Deadline
from runtime.errors import Behind
from schemas.pipeline import FRESH_S_MAX, KNOWN_S_MAX, SKEW_S_MAX, State
from schemas.search import WAITING_FOR_VECTORS
from schemas.search import WORDS_VIEW as WORDS_VIEW
from schemas.text import END

RELATED_VIEW = "related"
FEEDS_VIEW = "feed_status"
POSITION_HEADER = "adriatic-position"
"""Header in the answer to a write: an LSN at or after its commit. In a request for a view: show everything up to it."""
POSITION_WAIT_S = 5.0
"""How long a read waits for its view: several times what an edit takes to be searchable, and shorter than the patience
of whoever reads."""
POLL_S = 0.05
"""Pause between two looks at the watermark. No connection is held meanwhile."""

Position = Annotated[
    str | None,
    HeaderParameter(
        name="Adriatic-Position",
        pattern=r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}" + END,
        description="From the answer to a write: wait, up to 5 s, until the view shows that write. "
        "503 with the code `behind` when it does not by then.",
    ),
]


class AsOf(msgspec.Struct, frozen=True):
    """Every commit up to `lsn`, made at `time`, is in the view; `age_s` is how long ago that was.

    `unknown` means that nobody can say what is missing: the view has not reported, or not for a long time.
    """

    state: State
    lsn: str | None = None
    time: datetime | None = None
    age_s: float | None = None

    def headers(self) -> dict[str, str]:
        """The same for clients that do not look into the body."""
        time = None if self.time is None else self.time.isoformat()
        age_s = None if self.age_s is None else f"{self.age_s:.3f}"
        said = {"state": self.state, "lsn": self.lsn, "time": time, "age-seconds": age_s}
        return {f"adriatic-as-of-{name}": value for name, value in said.items() if value is not None}


UNKNOWN = AsOf("unknown")


def judge(lsn: str | None, time: datetime | None, now: datetime, *, complete: bool = True) -> AsOf:
    """What a watermark is worth at `now`. `complete` is False when a partition has not reported at all."""
    if time is None or not complete or (now - time).total_seconds() < -SKEW_S_MAX:
        return UNKNOWN
    # A small step of the source's clock must not show a negative age.
    age_s = max(0.0, (now - time).total_seconds())
    state: State = "fresh" if age_s <= FRESH_S_MAX else "stale" if age_s <= KNOWN_S_MAX else "unknown"
    return AsOf(state, lsn, time, round(age_s, 3))


WATERMARK = """
  select
    min(lsn)::text as lsn, min(source_at) as time,
    bool_and(lsn > '0/0' and not topic like any (stopped.topics)) as complete, clock_timestamp() as now
  from mv.watermarks
  cross join ops.stopped_topics() as stopped (topics)
  where view = $1
"""


async def read(connection: Connection, view: str) -> AsOf:
    """The watermark of `view`: that of its slowest partition; unknown while one has not reported at all, or a table
    that it is made of is stopped. Its flow says at its start which partitions there are: each has a row, at 0/0 until
    it reports.

    Use the connection that reads the view, in a read-only `tenant_transaction`: then both are of one snapshot.
    """
    row = await connection.fetchrow(WATERMARK, view)
    return judge(row["lsn"], row["time"], row["now"], complete=bool(row["complete"]))


async def read_meaning(connection: Connection, words: AsOf) -> AsOf:
    """How far search by meaning is, for the tenant of the transaction, given how far search by words is.

    It is as far as `words` when every ADR has all vectors of its newest version; otherwise as far as the oldest version
    that still waits for one was written.
    """
    waiting: datetime | None = await connection.fetchval(WAITING_FOR_VECTORS)
    if waiting is None or words.time is None:
        return words
    # No position is known for a moment in time; the one of `words` would claim too much.
    return judge(None, min(waiting, words.time), await connection.fetchval("select clock_timestamp()"))


_READ_NOT_RELATED = """
  select min(s.recorded_at) as time, clock_timestamp() as now
  from mv.search_state s
  left join (
    select tenant_id, kind, source_id, version
    from mv.related_features
  ) f using (tenant_id, kind, source_id)
  where s.kind = 'adr' and f.version is distinct from case when not s.deleted then s.words_version end
"""
"""The oldest version that search by words shows and the lists do not, or deleted ADR that they still have."""


async def read_related(connection: Connection) -> AsOf:
    """How far the lists of related ADRs are, for the tenant of the transaction.

    They are made from what search wrote, so a position of theirs says nothing of the versions below it; what does is
    which version of each ADR they compare. They are as far as search by words and their links are, when they have all
    of the newest; otherwise as far as the oldest that they lack was written.
    """
    parts = (await read(connection, WORDS_VIEW), await read(connection, RELATED_VIEW))
    base = min(parts, key=lambda part: part.time.timestamp() if part.time else 0.0)
    row = await connection.fetchrow(_READ_NOT_RELATED)
    if row["time"] is None or base.time is None:
        return base
    return judge(None, min(row["time"], base.time), row["now"])


async def wait_until_related(database: Database, tenant_id: UUID, position: str | None) -> None:
    """Waits like `wait_until_shown`, for the lists of related ADRs: text and links up to `position` are in them."""
    if position is not None:
        deadline = Deadline.after(POSITION_WAIT_S)
        await _wait_until_reached(database, tenant_id, WORDS_VIEW, position, deadline)
        while not await _has_related(database, tenant_id, position):
            how_far = "they follow search by meaning, and `as_of` says how far behind they are"
            await _wait("the related ADRs have", position, deadline, how_far)


async def _has_related(database: Database, tenant_id: UUID, position: str) -> bool:
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        if not await _shows(connection, RELATED_VIEW, position):
            return False
        return await connection.fetchval(_READ_NOT_RELATED) is None


async def wait_until_shown(
    database: Database, tenant_id: UUID, view: str, position: str | None, *, meaning: bool = False
) -> None:
    """Return once `view` shows every commit up to `position`, an LSN that the request may bring; with `meaning`, search
    by meaning too.

    Raises `Behind` when the time is over. A read after it, in whatever transaction, shows at least that much:
    watermarks only grow, and the flow moves them in the transaction of the rows.
    """
    if position is not None:
        deadline = Deadline.after(POSITION_WAIT_S)
        await _wait_until_reached(database, tenant_id, view, position, deadline, meaning=meaning)


async def _wait_until_reached(
    database: Database, tenant_id: UUID, view: str, position: str, deadline: Deadline, *, meaning: bool = False
) -> None:
    while (waits := await _find_lag(database, tenant_id, view, position, meaning)) is not None:
        await _wait(f"{waits} has", position, deadline, "`as_of` and `GET /v1/freshness` say how far behind it is")


async def _wait(what_has: str, position: str, deadline: Deadline, how_far: str) -> None:
    if deadline.passed:
        raise Behind(
            f"{what_has} not reached {position} yet",
            hint=f"ask again, or without the header {POSITION_HEADER} for what is there; {how_far}",
        )
    await asyncio.sleep(min(POLL_S, deadline.left_s))


REACHED = """
  select coalesce(bool_and(lsn >= $2::text::pg_lsn), false)
    and not exists (
      select
      from ops.cdc_progress
      where system_id <> (select system_identifier::text from pg_control_system())
    )
  from mv.watermarks
  where view = $1
"""
"""Positions of a server that this database came from by a dump say nothing of this one's, and flows that read on what
is left of the old log go on writing them."""


async def _shows(connection: Connection, view: str, position: str) -> bool:
    return bool(await connection.fetchval(REACHED, view, position))


async def _find_lag(database: Database, tenant_id: UUID, view: str, position: str, meaning: bool) -> str | None:
    """What has not reached `position`."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        if not await _shows(connection, view, position):
            return "search by words" if view == WORDS_VIEW else f"the view {view}"
        if meaning and await connection.fetchval(WAITING_FOR_VECTORS) is not None:
            return "search by meaning"
    return None
