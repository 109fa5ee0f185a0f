"""Feed, counts and active users, read for a caller: what the flow `activity` keeps.

Owns the bounds of an answer. Refuses to compute: `as_of` says how much of what was written each view shows.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from api import watermarks
from api.db import Database, tenant_transaction

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


async def feed(database: Database, tenant_id: UUID, limit: int) -> ActivityFeed:
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(_READ_ACTIVITY, limit)
        as_of = await watermarks.read(connection, "activity")
    return ActivityFeed([Happening(**dict(row)) for row in rows], as_of)


async def counts(database: Database, tenant_id: UUID) -> Counts:
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch("select kind, label, count from mv.entity_counts order by kind, label")
        as_of = await watermarks.read(connection, "entity_counts")
    return Counts([Count(**dict(row)) for row in rows], as_of)


async def active_days(database: Database, tenant_id: UUID, limit: int) -> ActiveDays:
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch("select day, users from mv.daily_active_users order by day desc limit $1", limit)
        as_of = await watermarks.read(connection, "daily_active_users")
    return ActiveDays([ActiveDay(**dict(row)) for row in rows], as_of)
