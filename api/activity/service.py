"""Feed, counts and active users, read for a caller: what the flow `activity` keeps.

Owns the bounds of an answer. Refuses to compute: `as_of` says how much of what was written each view shows.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from api import watermarks
from api.db import Database, tenant_transaction, to_struct

FEED_MAX = 200
"""Versions that the view keeps of a tenant (dataflows/activity.py: EVENTS_MAX)."""
FEED_DEFAULT = 50
DAYS_MAX = 400
"""Days in one answer: a year and a month, to compare a day with the one a year ago."""
DAYS_DEFAULT = 30


class Happening(msgspec.Struct, frozen=True):
    """One version."""

    adr_id: UUID
    version: int
    change: Annotated[str, Meta(description="create, update, rename, rollback, delete or restore.")]
    title: str
    status: str
    author: Annotated[str, Meta(description="Empty where it is not known.")]
    effective_at: datetime
    recorded_at: datetime


class ActivityFeed(msgspec.Struct, frozen=True):
    """Newest first, by when they were written here."""

    items: list[Happening]
    as_of: watermarks.AsOf


class Count(msgspec.Struct, frozen=True):
    kind: Annotated[str, Meta(description="adrs, deleted_adrs or versions.")]
    label: Annotated[str, Meta(description="Status of the newest version; of versions, their kind of change.")]
    count: int


class Counts(msgspec.Struct, frozen=True):
    """What has no row is zero."""

    items: list[Count]
    as_of: watermarks.AsOf


class ActiveDay(msgspec.Struct, frozen=True):
    day: date
    users: int


class ActiveDays(msgspec.Struct, frozen=True):
    """Newest first. A day without a row had nobody."""

    items: list[ActiveDay]
    as_of: watermarks.AsOf


_READ_ACTIVITY = """
  select adr_id, version, change, title, status, author, effective_at, recorded_at
  from mv.activity
  order by recorded_at desc, effective_at desc, adr_id desc, version desc
  limit $1
"""


_READ_COUNTS = "select kind, label, count from mv.entity_counts order by kind, label limit $1"
_READ_DAYS = "select day, users from mv.daily_active_users order by day desc limit $1"

Item = TypeVar("Item", Happening, Count, ActiveDay)


async def feed(database: Database, tenant_id: UUID, limit: int) -> ActivityFeed:
    return ActivityFeed(*await _read(database, tenant_id, "activity", Happening, _READ_ACTIVITY, limit))


async def counts(database: Database, tenant_id: UUID) -> Counts:
    return Counts(*await _read(database, tenant_id, "entity_counts", Count, _READ_COUNTS, None))


async def active_days(database: Database, tenant_id: UUID, limit: int) -> ActiveDays:
    return ActiveDays(*await _read(database, tenant_id, "daily_active_users", ActiveDay, _READ_DAYS, limit))


async def _read(
    database: Database, tenant_id: UUID, view: str, item: type[Item], query: str, limit: int | None
) -> tuple[list[Item], watermarks.AsOf]:
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(query, limit)
        return [to_struct(row, item) for row in rows], await watermarks.read(connection, view)
