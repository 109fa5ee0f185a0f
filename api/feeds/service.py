"""The rows of feeds and keys as a tenant sees them, and the door for items over HTTP.

Owns making and changing feeds, the quota at the door, and handing items on as events. Refuses to write documents: the
flow `feeds` does (`dataflows/feeds.py`). Each function works in the caller's transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from api import watermarks
from api.auth.users import Principal
from api.db import Connection, to_struct
from api.requests import refuse
from api.watermarks import AsOf
from runtime.errors import Conflict, Forbidden, InvalidInput, NotFound, RateLimited
from runtime.ids import new_id
from schemas import feeds as contract
from schemas import text

NAME_CHARS_MAX = 200
FEEDS_MAX = 100
"""Most feeds of one tenant. A feed is a system that produces, and a list of them is read at once."""
KEYS_MAX = 10
"""Good ones of one feed: rotation needs two, and each is one more that can be stolen."""
ITEMS_MAX = 500
"""Most items of one request: one transaction, and one answer that a producer waits for."""
BODY_BYTES_MAX = 8_388_608
"""Largest request: the largest text, written with JSON's escapes, and room for many usual ones."""
REJECTIONS_SHOWN_MAX = 50

ITEMS_PER_DAY = 1_000_000
BYTES_PER_DAY = 10 * 2**30
ITEMS_PER_MINUTE = 30_000
"""Defaults of a new feed, far above what a wiki or a tracker sends."""
QUOTA_MAX = 10**15

Slug = Annotated[str, Meta(pattern=text.SLUG, description="Its name in addresses and records.")]
Name = Annotated[str, Meta(pattern=text.LINE, max_length=NAME_CHARS_MAX, description="Its name for people.")]
Items = Annotated[int, Meta(ge=0, le=QUOTA_MAX, description="Items that a day (UTC) takes.")]
Bytes = Annotated[int, Meta(ge=0, le=QUOTA_MAX, description="Bytes that a day (UTC) takes, as Avro.")]
PerMinute = Annotated[int, Meta(ge=1, le=1_000_000, description="Items that a minute takes over HTTP.")]


class NewFeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    slug: Slug
    name: Name = ""
    items_per_day: Items = ITEMS_PER_DAY
    bytes_per_day: Bytes = BYTES_PER_DAY
    items_per_minute: PerMinute = ITEMS_PER_MINUTE


class FeedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not named stays as it is."""

    name: Annotated[str, Meta(pattern=text.NAME, min_length=1, max_length=NAME_CHARS_MAX)] | None = None
    items_per_day: Items | None = None
    bytes_per_day: Bytes | None = None
    items_per_minute: PerMinute | None = None
    paused: Annotated[bool, Meta(description="Items are refused; over Kafka they can be redriven later.")] | None = None


class NewItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of one document at its source."""

    id: Annotated[str, Meta(min_length=1, max_length=contract.EXTERNAL_ID_CHARS_MAX, description="At its source.")]
    version: Annotated[
        int,
        Meta(ge=1, le=contract.VERSION_MAX, description="Grows with every change: a counter, or a time in ms."),
    ]
    title: Annotated[str, Meta(max_length=contract.TITLE_CHARS_MAX)] = ""
    text: Annotated[str, Meta(description=f"At most {contract.TEXT_BYTES_MAX} bytes. Empty when deleted.")] = ""
    uri: Annotated[str, Meta(max_length=contract.URI_CHARS_MAX, description="Where people find it.")] | None = None
    deleted: bool = False
    media_type: Annotated[
        str, Meta(description="What the text is.", extra_json_schema={"enum": contract.MEDIA_TYPES})
    ] = "text/markdown"
    published_at: Annotated[datetime, Meta(tz=True)] | None = None


class NewItems(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[NewItem], Meta(min_length=1, max_length=ITEMS_MAX)]


class Received(msgspec.Struct, frozen=True):
    """Taken, and on their way: what becomes of them is in the feed's counts."""

    received: int


class FeedKey(msgspec.Struct, frozen=True):
    key_id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=text.LINE, max_length=NAME_CHARS_MAX, description="Who has it.")] = ""


class ShownKey(msgspec.Struct, frozen=True):
    """A new key. It is shown this once: only its public half is kept."""

    key_id: str
    key: str


class Rejection(msgspec.Struct, frozen=True):
    """A record that was refused. `id` and `version` are there when it could be read."""

    reason: str
    detail: str
    hint: str
    received_at: datetime
    topic: str
    partition: int
    offset: int
    key_id: str | None
    id: str | None
    version: int | None


class Feed(msgspec.Struct, frozen=True):
    """received + redriven = accepted + duplicates + superseded + all that was rejected."""

    slug: str
    name: str
    tenant_id: UUID
    paused: bool
    items_per_day: int
    bytes_per_day: int
    items_per_minute: int
    created_at: datetime
    received: int
    accepted: Annotated[int, Meta(description="Each is a version of a document.")]
    deleted: Annotated[int, Meta(description="Of the accepted ones.")]
    duplicates: Annotated[int, Meta(description="A version that was here already.")]
    superseded: Annotated[int, Meta(description="An older version, after a newer one.")]
    rejected: Annotated[dict[str, int], Meta(description="By reason.")]
    redriven: Annotated[int, Meta(description="Of the rejected ones, those that were processed since.")]
    not_kept: Annotated[int, Meta(description="Of the rejected ones, those that cannot be redriven.")]
    items_today: int
    bytes_today: int
    last_item_at: datetime | None
    last_accepted_at: datetime | None
    behind_s: Annotated[float | None, Meta(description="How old the newest is that is surely counted; null: unknown.")]


class FeedList(msgspec.Struct, frozen=True):
    items: list[Feed]
    as_of: AsOf


class FeedDetail(msgspec.Struct, frozen=True):
    feed: Feed
    keys: list[FeedKey]
    rejections: Annotated[list[Rejection], Meta(description="The newest ones.")]
    as_of: AsOf


class MadeFeed(msgspec.Struct, frozen=True):
    feed: Feed
    key: ShownKey


_READ_FEEDS = """
  select
    f.slug, f.name, f.tenant_id, f.paused, f.items_per_day, f.bytes_per_day, f.items_per_minute, f.created_at,
    coalesce(s.received, 0) as received, coalesce(s.accepted, 0) as accepted,
    coalesce(s.deleted, 0) as deleted, coalesce(s.duplicates, 0) as duplicates,
    coalesce(s.superseded, 0) as superseded, coalesce(s.rejected_by, '{}') as rejected,
    coalesce(s.redriven, 0) as redriven, coalesce(s.not_kept, 0) as not_kept,
    coalesce(d.items, 0) as items_today, coalesce(d.bytes, 0) as bytes_today, s.last_item_at,
    s.last_accepted_at
  from app.feeds f
  left join mv.feed_status s using (tenant_id, feed_id)
  left join mv.feed_days d on d.tenant_id = f.tenant_id
    and d.feed_id = f.feed_id
    and d.day = (now() at time zone 'UTC')::date
  where f.tenant_id = $1 and f.deleted_at is null and ($2::uuid is null or f.feed_id = $2)
  order by f.slug
  limit $3
"""


# --- reading --------------------------------------------------------------------------------------------------------


async def list_all(connection: Connection, tenant_id: UUID) -> FeedList:
    mark = await watermarks.read(connection, watermarks.FEEDS_VIEW)
    rows = await connection.fetch(_READ_FEEDS, tenant_id, None, FEEDS_MAX)
    return FeedList([_feed(row, mark) for row in rows], mark)


_READ_KEYS = """
  select key_id, name, created_at, revoked_at
  from app.feed_keys
  where tenant_id = $1 and feed_id = $2
  order by revoked_at is not null, created_at desc, key_id
"""

_READ_REJECTIONS = """
  select
    reason, detail, received_at, topic, partition, record_offset as offset, key_id, external_id as id, version
  from mv.feed_rejections
  where tenant_id = $1 and feed_id = $2
  order by received_at desc, topic, partition, record_offset desc
  limit $3
"""


async def read(connection: Connection, tenant_id: UUID, slug: str) -> FeedDetail:
    feed_id = await _find(connection, tenant_id, slug)
    mark = await watermarks.read(connection, watermarks.FEEDS_VIEW)
    row = await connection.fetchrow(_READ_FEEDS, tenant_id, feed_id, 1)
    keys = await connection.fetch(_READ_KEYS, tenant_id, feed_id)
    rejections = await connection.fetch(_READ_REJECTIONS, tenant_id, feed_id, REJECTIONS_SHOWN_MAX)
    return FeedDetail(
        _feed(row, mark),
        [FeedKey(**dict(key)) for key in keys],
        [Rejection(hint=contract.HINTS.get(each["reason"], ""), **dict(each)) for each in rejections],
        mark,
    )


def _feed(row: Any, mark: AsOf) -> Feed:
    return to_struct({**row, "behind_s": mark.age_s}, Feed, "rejected")


_FIND = "select feed_id from app.feeds where tenant_id = $1 and slug = $2 and deleted_at is null"
_FIND_AND_LOCK = "select feed_id from app.feeds where tenant_id = $1 and slug = $2 and deleted_at is null for update"


async def _find(connection: Connection, tenant_id: UUID, slug: str, *, lock: bool = False) -> UUID:
    feed_id: UUID | None = await connection.fetchval(_FIND_AND_LOCK if lock else _FIND, tenant_id, slug)
    if feed_id is None:
        raise NotFound(f"there is no feed {slug[:63]}", hint="GET /v1/feeds lists them")
    return feed_id


# --- changing -------------------------------------------------------------------------------------------------------


_INSERT_FEED = """
  insert into app.feeds as f (tenant_id, feed_id, slug, name, items_per_day, bytes_per_day, items_per_minute)
  values ($1, $2, $3, $4, $5, $6, $7)
  on conflict (tenant_id, slug)
  do update set
    name = excluded.name,
    items_per_day = excluded.items_per_day,
    bytes_per_day = excluded.bytes_per_day,
    items_per_minute = excluded.items_per_minute,
    paused = false,
    deleted_at = null
  where f.deleted_at is not null
  returning feed_id
"""


async def create(connection: Connection, tenant_id: UUID, wanted: NewFeed) -> MadeFeed:
    """A feed and its first key. One that was deleted is there again, with its documents and without its keys."""
    there = await connection.fetchval(
        "select count(*) from app.feeds where tenant_id = $1 and deleted_at is null", tenant_id
    )
    if there >= FEEDS_MAX:
        raise Conflict(f"the tenant has {FEEDS_MAX} feeds, which is the limit", hint="delete one that is not used")
    feed_id = await connection.fetchval(
        _INSERT_FEED,
        *(tenant_id, new_id(), wanted.slug, wanted.name or wanted.slug),
        *(wanted.items_per_day, wanted.bytes_per_day, wanted.items_per_minute),
    )
    if feed_id is None:
        raise Conflict(f"there is a feed {wanted.slug} already", hint="choose another slug, or make a key for it")
    key = await _new_key(connection, tenant_id, feed_id, "")
    return MadeFeed((await read(connection, tenant_id, wanted.slug)).feed, key)


_UPDATE_FEED = """
  update app.feeds
  set
    name = coalesce($3, name),
    items_per_day = coalesce($4, items_per_day),
    bytes_per_day = coalesce($5, bytes_per_day),
    items_per_minute = coalesce($6, items_per_minute),
    paused = coalesce($7, paused)
  where tenant_id = $1 and feed_id = $2
"""


async def change(connection: Connection, tenant_id: UUID, slug: str, wanted: FeedChange) -> FeedDetail:
    feed_id = await _find(connection, tenant_id, slug, lock=True)
    await connection.execute(
        _UPDATE_FEED,
        *(tenant_id, feed_id, wanted.name, wanted.items_per_day, wanted.bytes_per_day, wanted.items_per_minute),
        wanted.paused,
    )
    return await read(connection, tenant_id, slug)


async def delete(connection: Connection, tenant_id: UUID, slug: str) -> None:
    """Its documents stay: their producer deletes them one by one, or whoever owns them does."""
    feed_id = await _find(connection, tenant_id, slug, lock=True)
    await connection.execute(
        "update app.feeds set deleted_at = now() where tenant_id = $1 and feed_id = $2", tenant_id, feed_id
    )
    await connection.execute(
        "update app.feed_keys set revoked_at = now() where tenant_id = $1 and feed_id = $2 and revoked_at is null",
        *(tenant_id, feed_id),
    )


async def create_key(connection: Connection, tenant_id: UUID, slug: str, name: str) -> ShownKey:
    feed_id = await _find(connection, tenant_id, slug, lock=True)
    good = await connection.fetchval(
        "select count(*) from app.feed_keys where tenant_id = $1 and feed_id = $2 and revoked_at is null",
        *(tenant_id, feed_id),
    )
    if good >= KEYS_MAX:
        raise Conflict(f"the feed has {KEYS_MAX} keys, which is the limit", hint="revoke one that is not used")
    return await _new_key(connection, tenant_id, feed_id, name)


async def _new_key(connection: Connection, tenant_id: UUID, feed_id: UUID, name: str) -> ShownKey:
    key = contract.ProducerKey.new(tenant_id)
    await connection.execute(
        "insert into app.feed_keys (tenant_id, feed_id, key_id, public_key, name) values ($1, $2, $3, $4, $5)",
        *(tenant_id, feed_id, key.key_id, key.public, name),
    )
    return ShownKey(key.key_id, str(key))


_REVOKE_KEY = """
  update app.feed_keys
  set revoked_at = coalesce(revoked_at, now())
  where tenant_id = $1 and feed_id = $2 and key_id = $3
  returning key_id
"""


async def revoke_key(connection: Connection, tenant_id: UUID, slug: str, key_id: str) -> None:
    """Revoke a key: at once over HTTP; over Kafka for every record that is not processed yet."""
    feed_id = await _find(connection, tenant_id, slug, lock=True)
    found = await connection.fetchval(_REVOKE_KEY, tenant_id, feed_id, key_id)
    if found is None:
        raise NotFound("the feed has no such key", hint=f"GET /v1/feeds/{slug} lists its keys")


# --- the door -------------------------------------------------------------------------------------------------------


_READ_LIMITS = """
  select feed_id, paused, items_per_day, bytes_per_day, items_per_minute
  from app.feeds
  where tenant_id = $1 and slug = $2 and deleted_at is null
"""

_EMIT_ITEMS = """
  select count(
    app.emit(
      'feed.received',
      jsonb_build_object(
        'tenant_id', e -> 'tenant_id', 'feed', e -> 'feed', 'document_id', e -> 'document_id'
      ),
      $1, e || jsonb_build_object('occurred_at', (extract(epoch from now()) * 1000000)::bigint),
      $3::text::jsonb
    )
  )
  from jsonb_array_elements($2::text::jsonb) as e
"""


async def receive(
    connection: Connection,
    principal: Principal,
    slug: str,
    items: list[NewItem],
    traceparent: str | None,
) -> Received:
    """Hand items on, all or none of them."""
    if principal.feed is not None and principal.feed != slug:
        raise Forbidden("the key is another feed's", hint="each feed has keys of its own")
    row = await connection.fetchrow(_READ_LIMITS, principal.tenant_id, slug)
    if row is None:
        raise NotFound(f"there is no feed {slug[:63]}", hint="GET /v1/feeds lists them")
    if row["paused"]:
        raise Conflict("the feed is paused", hint="PATCH it with paused: false, or wait until somebody does")
    values = [_value(principal.tenant_id, slug, item, at) for at, item in enumerate(items)]
    content = msgspec.json.encode(values)
    await _pass_door(connection, principal.tenant_id, row, len(items), len(content))
    headers = msgspec.json.encode({"traceparent": traceparent} if traceparent else {}).decode()
    await connection.execute(_EMIT_ITEMS, principal.tenant_id, content.decode(), headers)
    return Received(len(items))


def _value(tenant_id: UUID, slug: str, item: NewItem, at: int) -> dict[str, Any]:
    value = {
        "tenant_id": str(tenant_id),
        "feed": slug,
        "document_id": item.id,
        "source_version": item.version,
        "deleted": item.deleted,
        "title": item.title,
        "text": "" if item.deleted else item.text,
        "media_type": item.media_type,
        "uri": item.uri,
        "language": None,
        "published_at": None if item.published_at is None else _micros(item.published_at),
        "attributes": {},
        "event_id": str(new_id()),
    }
    if (fault := contract.fault(value)) is not None:
        raise _bad_item(at, "", fault)
    return value


def _bad_item(at: int, field: str, detail: str) -> InvalidInput:
    where = f"items[{at}].{field}".rstrip(".")
    return refuse(f"{where}: {detail}", "nothing of this request was taken", "body", (where, detail))


def _micros(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


_COUNT_AT_DOOR = """
  insert into app.feed_doors as d (tenant_id, feed_id, minute, minute_items, day, day_items, day_bytes)
  values ($1, $2, date_trunc('minute', now()), $3, (now() at time zone 'UTC')::date, $3, $4)
  on conflict (tenant_id, feed_id)
  do update set
    minute_items = excluded.minute_items + case
      when d.minute = excluded.minute then d.minute_items
      else 0
    end,
    day_items = excluded.day_items + case when d.day = excluded.day then d.day_items else 0 end,
    day_bytes = excluded.day_bytes + case when d.day = excluded.day then d.day_bytes else 0 end,
    minute = excluded.minute,
    day = excluded.day
  returning
    minute_items, day_items, day_bytes, ceil(60 - extract(second from now()))::int as minute_left_s,
    ceil(extract(epoch from date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::int as day_left_s,
    coalesce(
      (
        select u.items
        from mv.feed_days u
        where u.tenant_id = d.tenant_id and u.feed_id = d.feed_id and u.day = d.day
      ), 0
    ) + $3 as counted_items,
    coalesce(
      (
        select u.bytes
        from mv.feed_days u
        where u.tenant_id = d.tenant_id and u.feed_id = d.feed_id and u.day = d.day
      ), 0
    ) + $4 as counted_bytes
"""


async def _pass_door(connection: Connection, tenant_id: UUID, feed: Any, items: int, size: int) -> None:
    """Count them against the minute and the day. What came over Kafka today counts too, as far as it is known."""
    row = await connection.fetchrow(_COUNT_AT_DOOR, tenant_id, feed["feed_id"], items, size)
    if row["minute_items"] > feed["items_per_minute"]:
        raise _over(f"{feed['items_per_minute']} items a minute", max(1, row["minute_left_s"]))
    if max(row["day_items"], row["counted_items"]) > feed["items_per_day"]:
        raise _over(f"{feed['items_per_day']} items a day", max(1, row["day_left_s"]))
    if max(row["day_bytes"], row["counted_bytes"]) > feed["bytes_per_day"]:
        raise _over(f"{feed['bytes_per_day']} bytes a day", max(1, row["day_left_s"]))


def _over(quota: str, retry_after_s: int) -> RateLimited:
    return RateLimited(
        f"the feed's quota is used up: {quota}",
        hint=f"send it again in {retry_after_s} s, in smaller requests if need be, or have the quota raised",
        coordinates={"retry_after_s": retry_after_s},
    )
