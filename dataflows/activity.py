"""The flow `activity`: what happened in a tenant, newest first, how many things it has, and who was active.

Reads `adriatic.app.adr_versions`; keeps `mv.activity`, `mv.entity_counts` and `mv.daily_active_users`. Refuses texts: a
feed names an ADR, and does not show it.

Ledger, then aggregate. `mv.activity_ledger` has a row for each version that was counted; counts move by what a batch
changed in it, the feed is the ledger's newest rows, and the users of a day are counted anew when a version of that day
changed. So order and repetition are indifferent, and an erased version makes room for the one before it. A tenant's
records are in one partition, so no other transaction moves its counts.

A user is active on a day when a version of theirs took effect on it, in UTC; a user is an author's name, and a version
without one counts nobody. A day has a row when it has a user, so there are never more days than days with versions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from connectors.postgres.connections import Connection
from dataflows import oracle_activity
from dataflows.flow import Event, Flow, take_latest
from schemas import sources
from schemas.arrays import arrays_of
from schemas.flows import KeptTable, KeptView

VERSIONS_TOPIC = sources.KINDS["adr"].contract
EVENTS_MAX = 200
"""Versions that a tenant's feed keeps: some screens full. The whole history of an ADR is its versions."""


COMPARED = "a plain query over what the flow read, row by row"
COLUMNS = "tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at"
"""A version, in the ledger and in the feed."""


class VersionKey(NamedTuple):
    """Which version. Sorts in lock order."""

    tenant_id: UUID
    adr_id: UUID
    version: int


@dataclass(frozen=True, slots=True)
class Happened:
    """One version, as far as feed and counts need it."""

    key: VersionKey
    change: str
    title: str
    status: str
    author: str
    effective_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ActivityEffects:
    """What the batch leaves of each version that it names: a row, or none. Each sorted by key, none in both."""

    happened: tuple[Happened, ...]
    erased: tuple[VersionKey, ...]


class Activity(Flow[ActivityEffects]):
    name = "activity"
    about = "versions of ADRs → what happened, newest first, and counts"
    topics = (VERSIONS_TOPIC,)
    tables = (
        KeptTable("mv.activity_ledger", COMPARED, columns=COLUMNS, right=oracle_activity.VERSIONS),
        KeptTable("mv.activity", COMPARED, columns=COLUMNS, right=oracle_activity.NEWEST, rows_max=EVENTS_MAX),
        KeptTable("mv.entity_counts", COMPARED, columns="tenant_id, kind, label, count", right=oracle_activity.COUNTS),
        KeptTable("mv.daily_active_users", COMPARED, columns="tenant_id, day, users", right=oracle_activity.DAYS),
    )
    views = (
        KeptView(
            "activity",
            f"The newest {EVENTS_MAX} versions of ADRs: who changed what, how and when.",
            table="mv.activity",
            key=("adr_id", "version"),
            columns=("change", "title", "status", "author", "effective_at", "recorded_at"),
        ),
        KeptView(
            "entity_counts",
            "How many ADRs there are by status, deleted ones too, and how many versions by kind of change.",
            table="mv.entity_counts",
            key=("kind", "label"),
            columns=("count",),
        ),
        KeptView(
            "daily_active_users",
            "How many people wrote versions on each day.",
            table="mv.daily_active_users",
            key=("day",),
            columns=("users",),
        ),
    )

    def transform(self, events: Sequence[Event]) -> ActivityEffects:
        return ActivityEffects(*take_latest(events, _key, _read_happened))

    def apply(self, connection: Connection, effects: ActivityEffects) -> None:
        keys = [*(row.key for row in effects.happened), *effects.erased]
        before, days = _counts(connection, keys), _days(connection, keys)
        changed = _write_ledger(connection, effects.happened) | _erase_ledger(connection, effects.erased)
        if not changed:
            return
        _move_counts(connection, _counts(connection, keys), before)
        _write_days(connection, days | _days(connection, keys))
        for tenant_id in sorted(changed):
            _write_feed(connection, tenant_id)


def _read_happened(row: Any) -> Happened:
    return Happened(
        key=_key(row),
        change=row["change"],
        title=row["title"],
        status=row["status"],
        author=row["author"],
        effective_at=datetime.fromisoformat(row["effective_at"]),
        recorded_at=datetime.fromisoformat(row["recorded_at"]),
    )


def _key(row: Any) -> VersionKey:
    return VersionKey(UUID(row["tenant_id"]), UUID(row["adr_id"]), row["version"])


# --- SQL ------------------------------------------------------------------------------------------------------------

Count = tuple[UUID, str, str]
"""Tenant, kind, label."""


_COUNT_VERSIONS = """
  with versions as materialized (
    select l.*
    from mv.activity_ledger l
    join unnest(%s::uuid[], %s::uuid[]) as a (tenant_id, adr_id) using (tenant_id, adr_id)
  )
  select tenant_id, 'versions', change, count(*)
  from versions
  group by tenant_id, change
  union all
  select tenant_id, kind, status, count(*)
  from (
    select distinct on (tenant_id, adr_id)
      tenant_id, status, case when change = 'delete' then 'deleted_adrs' else 'adrs' end as kind
    from versions
    order by tenant_id, adr_id, version desc
  ) newest
  group by tenant_id, kind, status
"""


def _counts(connection: Connection, keys: Sequence[VersionKey]) -> Counter[Count]:
    """What the ADRs of `keys` add to the counts, by the ledger as it is now."""
    adrs = sorted({(key.tenant_id, key.adr_id) for key in keys})
    rows = connection.execute(_COUNT_VERSIONS, arrays_of(adrs, 2))
    return Counter({(tenant_id, kind, label): count for tenant_id, kind, label, count in rows})


_WRITE_LEDGER = """
  insert into mv.activity_ledger as l (
    tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at
  )
  select *
  from unnest(
    %s::uuid[], %s::uuid[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],
    %s::timestamptz[]
  )
  on conflict (tenant_id, adr_id, version)
  do update set
    change = excluded.change,
    title = excluded.title,
    status = excluded.status,
    author = excluded.author,
    effective_at = excluded.effective_at,
    recorded_at = excluded.recorded_at
  where l is distinct from excluded
  returning l.tenant_id
"""


def _write_ledger(connection: Connection, happened: Sequence[Happened]) -> set[UUID]:
    """Returns the tenants of rows that are new, or not as they were."""
    rows = [
        (*row.key, row.change, row.title, row.status, row.author, row.effective_at, row.recorded_at) for row in happened
    ]
    return {tenant_id for (tenant_id,) in connection.execute(_WRITE_LEDGER, arrays_of(rows, 9))}


_ERASE_LEDGER = """
  delete from mv.activity_ledger l
  using unnest(%s::uuid[], %s::uuid[], %s::int[]) as e (tenant_id, adr_id, version)
  where l.tenant_id = e.tenant_id and l.adr_id = e.adr_id and l.version = e.version
  returning l.tenant_id
"""


def _erase_ledger(connection: Connection, erased: Sequence[VersionKey]) -> set[UUID]:
    """Returns the tenants of rows that were there."""
    return {tenant_id for (tenant_id,) in connection.execute(_ERASE_LEDGER, arrays_of(erased, 3))}


_ADD_COUNTS = """
  insert into mv.entity_counts as c (tenant_id, kind, label, count)
  values (%s, %s, %s, %s)
  on conflict (tenant_id, kind, label)
  do update set count = c.count + excluded.count
"""


def _move_counts(connection: Connection, after: Counter[Count], before: Counter[Count]) -> None:
    """Move each count by the difference. A count that comes to zero loses its row."""
    after.subtract(before)
    moved = sorted((*count, by) for count, by in after.items() if by)
    connection.cursor().executemany(_ADD_COUNTS, moved)
    connection.cursor().executemany(
        "delete from mv.entity_counts where tenant_id = %s and kind = %s and label = %s and count = 0",
        [row[:3] for row in moved if row[3] < 0],
    )


_READ_DAYS = """
  select distinct tenant_id, (effective_at at time zone 'UTC')::date
  from mv.activity_ledger
  join unnest(
    %s::uuid[], %s::uuid[], %s::int[]
  ) as k (tenant_id, adr_id, version) using (tenant_id, adr_id, version)
"""


def _days(connection: Connection, keys: Sequence[VersionKey]) -> set[tuple[UUID, date]]:
    """The days of the versions `keys`, by the ledger as it is now."""
    return {(tenant_id, day) for tenant_id, day in connection.execute(_READ_DAYS, arrays_of(keys, 3))}


_WRITE_DAYS = """
  with counted as materialized (
    select
      d.tenant_id, d.day,
      (
        select count(distinct author)
        from mv.activity_ledger l
        where l.tenant_id = d.tenant_id and (effective_at at time zone 'UTC')::date = d.day and author <> ''
      ) as users
    from unnest(%s::uuid[], %s::date[]) as d (tenant_id, day)
  ),
  gone as (
    delete from mv.daily_active_users u
    using counted c
    where u.tenant_id = c.tenant_id and u.day = c.day and c.users = 0
  )
  insert into mv.daily_active_users as u (tenant_id, day, users)
  select tenant_id, day, users
  from counted
  where users > 0
  order by tenant_id, day
  on conflict (tenant_id, day)
  do update set users = excluded.users
  where u.users <> excluded.users
"""


def _write_days(connection: Connection, days: set[tuple[UUID, date]]) -> None:
    """Count the users of `days` anew. A day that stays as it is is not written; one without users loses its row."""
    connection.execute(_WRITE_DAYS, arrays_of(sorted(days), 2))


_WRITE_FEED = """
  with newest as materialized (
    select tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at
    from mv.activity_ledger
    where tenant_id = %(tenant_id)s
    order by recorded_at desc, effective_at desc, adr_id desc, version desc
    limit %(max)s
  ),
  gone as (
    delete from mv.activity a
    where a.tenant_id = %(tenant_id)s
      and not exists (select from newest n where n.adr_id = a.adr_id and n.version = a.version)
  )
  insert into mv.activity as a (
    tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at
  )
  select tenant_id, adr_id, version, change, title, status, author, effective_at, recorded_at
  from newest
  order by adr_id, version
  on conflict (tenant_id, adr_id, version)
  do update set
    change = excluded.change,
    title = excluded.title,
    status = excluded.status,
    author = excluded.author,
    effective_at = excluded.effective_at,
    recorded_at = excluded.recorded_at
  where a is distinct from excluded
"""


def _write_feed(connection: Connection, tenant_id: UUID) -> None:
    """The ledger's newest rows. Rows that stay as they are are not written, so they make no change in the topic."""
    connection.execute(_WRITE_FEED, {"tenant_id": tenant_id, "max": EVENTS_MAX})
