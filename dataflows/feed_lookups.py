"""What the database knows of feeds and of their items: keys, quotas, the newest versions, what was used of a day.

Owns these reads. Refuses to judge: `dataflows/feed_rules.py` does. Read next: `dataflows/feeds.py`, which asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from connectors.postgres.connections import Connection
from dataflows.feed_rules import FeedId, FeedLedger, FeedState, ItemId, Judged, KnownKey, Quota, Used
from schemas import feeds as contract
from schemas.arrays import arrays_of
from schemas.keys import tenant_of

_READ_KEYS = """
  select
    k.key_id, k.public_key, k.revoked_at is not null, f.tenant_id, f.feed_id, f.slug, f.paused,
    f.deleted_at is not null
  from app.feed_keys k
  join app.feeds f using (tenant_id, feed_id)
  join unnest(%s::uuid[], %s::text[]) as n (tenant_id, key_id) using (tenant_id, key_id)
"""


def read_keys(connection: Connection, key_ids: set[str]) -> dict[str, KnownKey]:
    named = [(tenant_id, key_id) for key_id in key_ids if (tenant_id := tenant_of(key_id)) is not None]
    rows = connection.execute(_READ_KEYS, arrays_of(named, 2))
    return {
        key_id: KnownKey(
            FeedState(FeedId(tenant_id, feed_id), slug, paused, deleted), contract.public_key(public), revoked
        )
        for key_id, public, revoked, tenant_id, feed_id, slug, paused, deleted in rows
    }


_READ_FEEDS = """
  select f.tenant_id, f.feed_id, f.slug, f.paused, f.deleted_at is not null
  from app.feeds f
  join unnest(%s::uuid[], %s::text[]) as n (tenant_id, slug) using (tenant_id, slug)
"""


def read_feeds(connection: Connection, named: set[tuple[UUID, str]]) -> dict[tuple[UUID, str], FeedState]:
    rows = connection.execute(_READ_FEEDS, arrays_of(named, 2))
    return {
        (tenant_id, slug): FeedState(FeedId(tenant_id, feed_id), slug, paused, deleted)
        for tenant_id, feed_id, slug, paused, deleted in rows
    }


_READ_KNOWN = """
  select
    k.at,
    (
      select max(l.version)
      from mv.feed_ledger l
      where l.tenant_id = k.tenant_id and l.feed_id = k.feed_id and l.external_id = k.external_id
    ),
    exists (
      select
      from mv.feed_ledger l
      where l.tenant_id = k.tenant_id
        and l.feed_id = k.feed_id
        and l.external_id = k.external_id
        and l.version = k.version
    )
  from unnest(
    %s::uuid[], %s::uuid[], %s::text[], %s::bigint[]
  ) with ordinality as k (tenant_id, feed_id, external_id, version, at)
"""


def read_known(connection: Connection, judged: Sequence[Judged]) -> FeedLedger:
    known = FeedLedger()
    items = [(one.feed.id, one.item, one.day) for one in judged if one.feed is not None and one.item is not None]
    if not items:
        return known
    versions = sorted({(ItemId(feed, item.external_id), item.version) for feed, item, _ in items})
    for at, head, there in connection.execute(
        _READ_KNOWN, arrays_of([(*key.feed, key.external_id, version) for key, version in versions], 4)
    ):
        if head is not None:
            known.heads[versions[at - 1][0]] = head
        if there:
            known.versions.add(versions[at - 1])
    feeds = sorted({feed for feed, _, _ in items})
    known.quotas = _read_quotas(connection, feeds)
    known.used = _read_used(connection, sorted({(feed, day) for feed, _, day in items}))
    return known


_READ_QUOTAS = """
  select tenant_id, feed_id, items_per_day, bytes_per_day
  from app.feeds
  join unnest(%s::uuid[], %s::uuid[]) as n (tenant_id, feed_id) using (tenant_id, feed_id)
"""


def _read_quotas(connection: Connection, feeds: Sequence[FeedId]) -> dict[FeedId, Quota]:
    rows = connection.execute(_READ_QUOTAS, arrays_of(feeds, 2))
    return {FeedId(tenant_id, feed_id): Quota(items, size) for tenant_id, feed_id, items, size in rows}


_READ_USED = """
  select tenant_id, feed_id, day, items, bytes
  from mv.feed_days
  join unnest(
    %s::uuid[], %s::uuid[], %s::date[]
  ) as n (tenant_id, feed_id, day) using (tenant_id, feed_id, day)
"""


def _read_used(connection: Connection, days: Sequence[tuple[FeedId, date]]) -> dict[tuple[FeedId, date], Used]:
    rows = connection.execute(_READ_USED, arrays_of([(*feed, day) for feed, day in days], 3))
    return {(FeedId(tenant_id, feed_id), day): Used(items, size) for tenant_id, feed_id, day, items, size in rows}
