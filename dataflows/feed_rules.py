"""What becomes of a feed's records: pure rules.

Owns who a record is from, whether it may be, and what a version of an item does beside those that came before it.
Refuses I/O and clocks: keys, what is known, and used quota come in as values. Read next: `dataflows/feeds.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.kafka.records import Record
from runtime.errors import DataError
from schemas import feeds
from schemas.feeds import Reason

Outcome = Literal["accepted", "duplicate", "superseded", "rejected"]
NOBODY = UUID(int=0)


class FeedId(NamedTuple):
    """Sorts in lock order."""

    tenant_id: UUID
    feed_id: UUID


@dataclass(frozen=True, slots=True)
class FeedState:
    """A feed, as far as one of its records needs it."""

    id: FeedId
    slug: str
    paused: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of the database."""

    feed: FeedState
    public: Ed25519PublicKey
    revoked: bool


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One version of one document of a producer."""

    external_id: str
    version: int
    deleted: bool
    title: str
    text: str
    media_type: str
    uri: str | None
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """A record, and whose it is. Either `item`, or `reason` and `detail`.

    `feed` is None when nobody can tell. `proven`: its producer signed it, or it came through the API.
    """

    record: Record
    feed: FeedState | None
    proven: bool
    item: FeedItem | None = None
    reason: Reason | None = None
    detail: str = ""
    over_http: bool = False

    @property
    def received_at(self) -> datetime:
        """When the record came, by the broker's clock."""
        return datetime.fromtimestamp((self.record.timestamp_ms or 0) / 1000, UTC)

    @property
    def day(self) -> date:
        return self.received_at.date()


Decode = Callable[[bytes], Any]


def judge(record: Record, keys: Mapping[str, KnownKey], decode: Decode) -> Judged:
    """A record of the public topic. Nothing is read in it before its signature is good, so that strangers cost one
    look at a key, and a producer answers for its own feed alone."""
    value = record.value or b""
    key_id = record.header(feeds.KEY_HEADER)
    key = keys.get(key_id or "")
    if key is None:
        known: Reason = "unsigned" if key_id is None else "unknown_key"
        return Judged(record, None, False, reason=known)
    if not feeds.proves(key.public, record.header(feeds.SIGNATURE_HEADER), value):
        return Judged(record, key.feed, False, reason="bad_signature")
    if key.revoked:
        return Judged(record, key.feed, True, reason="revoked_key")
    return _judge_value(record, key.feed, decode)


def judge_received(record: Record, feed_of: Mapping[tuple[UUID, str], FeedState], decoded: Any) -> Judged:
    """A record that the API emitted: it has checked who sent it, what it says, and the quota."""
    feed = feed_of.get((decoded["tenant_id"], decoded["feed"]))
    if feed is None:
        return Judged(record, None, True, reason="unknown_feed", over_http=True)
    return Judged(record, feed, True, item=item_of(decoded), over_http=True)


def _judge_value(record: Record, feed: FeedState, decode: Decode) -> Judged:
    def no(reason: Reason, detail: str = "") -> Judged:
        return Judged(record, feed, True, reason=reason, detail=detail)

    value = record.value or b""
    if len(value) > feeds.RECORD_BYTES_MAX:
        return no("too_large", f"{len(value)} bytes")
    try:
        decoded = decode(value)
    except DataError as error:
        return no("undecodable", error.detail)
    if decoded["tenant_id"] != feed.id.tenant_id:
        return no("wrong_tenant")
    if decoded["feed"] != feed.slug:
        return no("wrong_feed")
    if feed.deleted:
        return no("unknown_feed")
    if feed.paused:
        return no("paused")
    if (fault := feeds.fault(decoded)) is not None:
        return no("invalid", fault)
    return Judged(record, feed, True, item=item_of(decoded))


def item_of(decoded: Any) -> FeedItem:
    deleted = decoded["deleted"]
    return FeedItem(
        external_id=decoded["document_id"],
        version=decoded["source_version"],
        deleted=deleted,
        title=decoded["title"],
        text="" if deleted else decoded["text"],
        media_type=decoded["media_type"],
        uri=decoded["uri"],
        effective_at=decoded["published_at"] or decoded["occurred_at"],
    )


# --- one after the other --------------------------------------------------------------------------------------------


class ItemId(NamedTuple):
    """Sorts in lock order."""

    feed: FeedId
    external_id: str


class Used(NamedTuple):
    """What a feed sent on a day."""

    items: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    items_per_day: int
    bytes_per_day: int


@dataclass(slots=True)
class FeedLedger:
    """What is there before a batch. `settle` moves it on."""

    heads: dict[ItemId, int] = field(default_factory=dict)
    """The newest version of each item."""
    versions: set[tuple[ItemId, int]] = field(default_factory=set)
    """Versions of the batch that came before."""
    used: dict[tuple[FeedId, date], Used] = field(default_factory=dict)
    quotas: dict[FeedId, Quota] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """A record and what it did. `first`: the first version of its item that ever came."""

    judged: Judged
    outcome: Outcome
    reason: Reason | None = None
    first: bool = False


def settle(judged: Iterable[Judged], known: FeedLedger, counted_to: int = 0) -> list[Settled]:
    """What each record does, in order. The result is the same however the records are cut into batches.

    Records below `counted_to` were counted before: they use no quota again.
    """
    return [_settle(one, known, one.record.offset < counted_to) for one in judged]


def _settle(judged: Judged, known: FeedLedger, again: bool) -> Settled:
    if judged.item is None or judged.feed is None:
        return Settled(judged, "rejected", judged.reason)
    if not _within_quota(judged, known, again):
        return Settled(judged, "rejected", "quota")
    item, key = judged.item, ItemId(judged.feed.id, judged.item.external_id)
    if (key, item.version) in known.versions:
        return Settled(judged, "duplicate")
    known.versions.add((key, item.version))
    head = known.heads.get(key)
    if head is not None and head > item.version:
        return Settled(judged, "superseded")
    known.heads[key] = item.version
    return Settled(judged, "accepted", first=head is None)


def _within_quota(judged: Judged, known: FeedLedger, again: bool) -> bool:
    """The API has counted what came through it."""
    assert judged.feed is not None
    feed, size = judged.feed.id, judged.record.size_bytes
    used = known.used.get((feed, judged.day), Used(0, 0))
    after = Used(used.items + 1, used.bytes + size)
    quota = known.quotas[feed]
    fits = after.items <= quota.items_per_day and after.bytes <= quota.bytes_per_day
    if fits or judged.over_http:
        if not again:
            known.used[feed, judged.day] = after
        return True
    return again and _was_counted(known, judged)


def _was_counted(known: FeedLedger, judged: Judged) -> bool:
    """A record that is read again and had its place in the quota then is known by its version."""
    assert judged.feed is not None
    assert judged.item is not None
    return (ItemId(judged.feed.id, judged.item.external_id), judged.item.version) in known.versions


def tally(settled: Iterable[Settled]) -> dict[FeedId, Counter[str]]:
    """What a batch adds to each feed's counts. Reasons are counted under `rejected_by.<reason>`."""
    counts: dict[FeedId, Counter[str]] = {}
    for one in settled:
        if one.judged.feed is None:
            continue
        count = counts.setdefault(one.judged.feed.id, Counter())
        count["received"] += 1
        count["duplicates" if one.outcome == "duplicate" else one.outcome] += 1
        if one.outcome == "accepted" and one.judged.item is not None:
            count["deleted"] += one.judged.item.deleted
        if one.reason is not None:
            count[f"rejected_by.{one.reason}"] += 1
    return counts
