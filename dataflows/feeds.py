"""The flow `feeds`: what outside producers send becomes versions of documents, once each.

Reads `feed.documents` (outside producers, signed) and `feed.received` (what came over HTTP). Writes
`app.document_versions`; keeps `mv.feed_status`, `mv.feed_rejections` and the ledger that both are counted from. Refuses
to let a producer's faults count as ours: a record that is refused is a rejection of its feed, kept and countable, and
says nothing to the dead-letter limit. Only what raises in here does.

Ledger first: `mv.feed_ledger` has a row for each version of each item. A version that is there changes nothing but a
count, an older one never replaces a newer one, and a delete is a version, so an old replay brings nothing back.
A record that is read again (an operator set the offset back) is known by its offset and is not counted twice.
The rules are in `dataflows/feed_rules.py`, keys and reasons in `schemas/feeds.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

import msgspec

from connectors.kafka.records import Record, TopicPartition
from connectors.kafka.source import BatchLimits
from connectors.postgres.sink import Connection
from connectors.registry import RegistryClient
from dataflows import oracle_feeds
from dataflows.comparison import Comparison
from dataflows.feed_rejections import DAYS_KEPT, FLOW, forget_rejections, keep_letters, write_rejections
from dataflows.feed_rules import (
    Feed,
    FeedId,
    ItemId,
    Judged,
    Known,
    KnownKey,
    Quota,
    Settled,
    Used,
    judge,
    judge_received,
    settle,
    tally,
)
from dataflows.flow import Event, Flow
from runtime.errors import Unprocessable
from runtime.settings import Settings
from schemas import catalog as schema_catalog
from schemas import feeds as contract
from schemas.codec import Decoder, SchemaLookup
from schemas.flows import KeptTable, KeptView
from schemas.headers import TRACEPARENT_HEADER

BATCH_RECORDS_MAX = 1_000
"""Fixed costs of a transaction are then below a tenth of a batch."""
COUNTS = ("received", "accepted", "deleted", "duplicates", "superseded", "rejected", "redriven", "not_kept")


@dataclass(frozen=True, slots=True)
class Effects:
    """Records of one partition, and what is to be thought of them, once somebody has looked at the keys."""

    records: tuple[Record, ...]
    contract: str
    judged: tuple[Judged, ...] = ()


class Feeds(Flow[Effects]):
    """`strict` raises what it would reject."""

    name = FLOW
    about = "what outside producers send → versions of documents"
    topics = (contract.TOPIC, contract.RECEIVED_TOPIC)
    tables = (
        KeptTable("app.document_versions", compared="those of feeds are what the ledger has as accepted"),
        KeptTable(
            "mv.feed_ledger", compared="the versions of documents that feeds wrote, and none that was passed over"
        ),
        KeptTable("mv.feed_status", compared="a recount of the ledger, and of rejections"),
        KeptTable(
            "mv.feed_rejections",
            not_compared="the newest refusals, which nothing else keeps; how many there were is in mv.feed_status",
        ),
        KeptTable("mv.feed_days", not_compared="what counts against the quota of a day, by the broker's clock"),
    )
    views = (
        KeptView(
            "feed_status",
            "What became of the items of each feed.",
            table="mv.feed_status",
            key=("feed_id",),
            columns=(
                *("received", "accepted", "deleted", "duplicates", "superseded", "rejected", "rejected_by"),
                *("redriven", "not_kept", "last_item_at", "last_accepted_at"),
            ),
        ),
    )
    limits = BatchLimits(records_max=BATCH_RECORDS_MAX)
    raw = True

    def __init__(self, lookup: SchemaLookup, *, strict: bool = False) -> None:
        self._lookup = lookup
        self._strict = strict
        self._decode_outside = Decoder(lookup, schema_catalog.subject_of(contract.TOPIC, "value")).decode
        self._decode_received = Decoder(lookup, schema_catalog.subject_of(contract.RECEIVED_TOPIC, "value")).decode

    @classmethod
    def build(cls, settings: Settings) -> Feeds:
        return cls(RegistryClient(settings.registry))

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        found = oracle_feeds.unlike(comparison.connection, comparison.tenant.tenant_id)
        comparison.add_unlike(found, "is not what the feeds' ledger gives")

    def redriving(self) -> Feeds:
        return Feeds(self._lookup, strict=True)

    def transform(self, events: Sequence[Event]) -> Effects:
        return Effects(tuple(event.record for event in events), events[0].contract if events else "")

    def prepare(self, connection: Connection, effects: Effects) -> Effects:
        if effects.contract == contract.TOPIC:
            keys = _keys(connection, {record.header(contract.KEY_HEADER) or "" for record in effects.records})
            judged = [judge(record, keys, self._decode_outside) for record in effects.records]
        else:
            decoded = [self._decode_received(record.value or b"") for record in effects.records]
            found = _feeds(connection, {(value["tenant_id"], value["feed"]) for value in decoded})
            pairs = zip(effects.records, decoded, strict=True)
            judged = [judge_received(record, found, value) for record, value in pairs]
        return replace(effects, judged=tuple(judged))

    def apply(self, connection: Connection, effects: Effects) -> None:
        """All of it is of one partition."""
        if not effects.judged:
            return
        records = effects.records
        source = TopicPartition(records[0].topic, records[0].partition)
        status = _lock_status(connection, _feeds_of(effects.judged))
        counted_to = _counted_to(connection, source)
        settled = settle(effects.judged, _known(connection, effects.judged), counted_to)
        if self._strict:
            _raise_rejected(settled)
        first = [one for one in settled if one.judged.record.offset >= counted_to]
        again = [one for one in settled if one.judged.record.offset < counted_to and one.outcome in MENDED]
        _write_versions(connection, [*again, *first])
        _write_ledger(connection, [*again, *first])
        _write_used(connection, first)
        not_kept = keep_letters(connection, [one for one in first if one.outcome == "rejected"])
        _write_status(connection, status, first, again, not_kept)
        write_rejections(connection, first)
        forget_rejections(connection, again, decided=self._strict)
        _count(connection, source, records[-1].offset + 1)


MENDED = ("accepted", "superseded")
"""What a record can come to that is read again: it was refused the first time."""


def _feeds_of(judged: Iterable[Judged]) -> list[FeedId]:
    return sorted({one.feed.id for one in judged if one.feed is not None})


def _raise_rejected(settled: Sequence[Settled]) -> None:
    for one in settled:
        if one.reason is not None:
            raise Unprocessable(
                f"{one.reason}: {one.judged.detail}" if one.judged.detail else one.reason,
                hint=contract.HINTS[one.reason],
            )


# --- what is known --------------------------------------------------------------------------------------------------


def _keys(connection: Connection, key_ids: set[str]) -> dict[str, KnownKey]:
    named = [(tenant_id, key_id) for key_id in key_ids if (tenant_id := contract.tenant_of(key_id)) is not None]
    rows = connection.execute(
        "select k.key_id, k.public_key, k.revoked_at is not null, f.tenant_id, f.feed_id, f.slug, f.paused, "
        "f.deleted_at is not null from app.feed_keys k join app.feeds f using (tenant_id, feed_id) "
        "join unnest(%s::uuid[], %s::text[]) as n (tenant_id, key_id) using (tenant_id, key_id)",
        [[tenant_id for tenant_id, _ in named], [key_id for _, key_id in named]],
    )
    return {
        key_id: KnownKey(Feed(FeedId(tenant_id, feed_id), slug, paused, deleted), contract.public_key(public), revoked)
        for key_id, public, revoked, tenant_id, feed_id, slug, paused, deleted in rows
    }


def _feeds(connection: Connection, named: set[tuple[UUID, str]]) -> dict[tuple[UUID, str], Feed]:
    rows = connection.execute(
        "select f.tenant_id, f.feed_id, f.slug, f.paused, f.deleted_at is not null from app.feeds f "
        "join unnest(%s::uuid[], %s::text[]) as n (tenant_id, slug) using (tenant_id, slug)",
        [[tenant_id for tenant_id, _ in named], [slug for _, slug in named]],
    )
    return {
        (tenant_id, slug): Feed(FeedId(tenant_id, feed_id), slug, paused, deleted)
        for tenant_id, feed_id, slug, paused, deleted in rows
    }


def _known(connection: Connection, judged: Sequence[Judged]) -> Known:
    known = Known()
    items = [(one.feed.id, one.item, one.day) for one in judged if one.feed is not None and one.item is not None]
    if not items:
        return known
    versions = sorted({(ItemId(feed, item.external_id), item.version) for feed, item, _ in items})
    for at, head, there in connection.execute(
        "select k.at, (select max(l.version) from mv.feed_ledger l where l.tenant_id = k.tenant_id "
        "and l.feed_id = k.feed_id and l.external_id = k.external_id), "
        "exists (select from mv.feed_ledger l where l.tenant_id = k.tenant_id and l.feed_id = k.feed_id "
        "and l.external_id = k.external_id and l.version = k.version) "
        "from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[]) "
        "with ordinality as k (tenant_id, feed_id, external_id, version, at)",
        [
            [key.feed.tenant_id for key, _ in versions],
            [key.feed.feed_id for key, _ in versions],
            [key.external_id for key, _ in versions],
            [version for _, version in versions],
        ],
    ):
        if head is not None:
            known.heads[versions[at - 1][0]] = head
        if there:
            known.versions.add(versions[at - 1])
    feeds = sorted({feed for feed, _, _ in items})
    known.quotas = _quotas(connection, feeds)
    known.used = _used(connection, sorted({(feed, day) for feed, _, day in items}))
    return known


def _quotas(connection: Connection, feeds: Sequence[FeedId]) -> dict[FeedId, Quota]:
    rows = connection.execute(
        "select tenant_id, feed_id, items_per_day, bytes_per_day from app.feeds "
        "join unnest(%s::uuid[], %s::uuid[]) as n (tenant_id, feed_id) using (tenant_id, feed_id)",
        _columns(feeds),
    )
    return {FeedId(tenant_id, feed_id): Quota(items, size) for tenant_id, feed_id, items, size in rows}


def _used(connection: Connection, days: Sequence[tuple[FeedId, date]]) -> dict[tuple[FeedId, date], Used]:
    rows = connection.execute(
        "select tenant_id, feed_id, day, items, bytes from mv.feed_days "
        "join unnest(%s::uuid[], %s::uuid[], %s::date[]) as n (tenant_id, feed_id, day) "
        "using (tenant_id, feed_id, day)",
        [*_columns([feed for feed, _ in days]), [day for _, day in days]],
    )
    return {(FeedId(tenant_id, feed_id), day): Used(items, size) for tenant_id, feed_id, day, items, size in rows}


def _columns(feeds: Sequence[FeedId]) -> list[list[UUID]]:
    return [[feed.tenant_id for feed in feeds], [feed.feed_id for feed in feeds]]


def _counted_to(connection: Connection, source: TopicPartition) -> int:
    row = connection.execute(
        "select counted_to from ops.feed_positions where topic = %s and partition = %s for update", list(source)
    ).fetchone()
    return row[0] if row else 0


def _count(connection: Connection, source: TopicPartition, to: int) -> None:
    connection.execute(
        "insert into ops.feed_positions as p (topic, partition, counted_to) values (%s, %s, %s) "
        "on conflict (topic, partition) do update set counted_to = excluded.counted_to "
        "where p.counted_to < excluded.counted_to",
        [*source, to],
    )


# --- versions -------------------------------------------------------------------------------------------------------


def _write_versions(connection: Connection, settled: Sequence[Settled]) -> None:
    rows = sorted(
        (_version(one) for one in settled if one.outcome == "accepted"), key=lambda row: (row[0], row[1], row[2])
    )
    if rows:
        connection.execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, feed_id, external_id, "
            "title, media_type, uri, body, effective_at, traceparent) "
            "select tenant_id, document_id, version, kind, 'feed', feed_id, external_id, title, media_type, uri, body, "
            "effective_at, traceparent from unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::uuid[], "
            "%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[]) as v "
            "(tenant_id, document_id, version, kind, feed_id, external_id, title, media_type, uri, body, "
            "effective_at, traceparent) on conflict (tenant_id, document_id, version) do nothing",
            list(map(list, zip(*rows, strict=True))),
        )


def _version(one: Settled) -> tuple[Any, ...]:
    feed, item = one.judged.feed, one.judged.item
    assert feed is not None
    assert item is not None
    return (
        feed.id.tenant_id,
        contract.document_id(feed.id.tenant_id, feed.slug, item.external_id),
        item.version,
        "delete" if item.deleted else "create" if one.first else "update",
        feed.id.feed_id,
        item.external_id,
        item.title or item.external_id,
        item.media_type,
        item.uri,
        item.text,
        item.effective_at,
        one.judged.record.header(TRACEPARENT_HEADER) if one.judged.over_http else None,
    )


def _write_ledger(connection: Connection, settled: Sequence[Settled]) -> None:
    rows: dict[tuple[ItemId, int], tuple[str, bool]] = {}
    repeats: Counter[tuple[ItemId, int]] = Counter()
    for one in settled:
        feed, item = one.judged.feed, one.judged.item
        if feed is None or item is None or one.outcome == "rejected":
            continue
        key = (ItemId(feed.id, item.external_id), item.version)
        # Of a row that is there, only the repeats are taken.
        rows.setdefault(key, ("superseded" if one.outcome == "superseded" else "accepted", item.deleted))
        repeats[key] += one.outcome == "duplicate"
    ordered = sorted(rows)
    if ordered:
        connection.execute(
            "insert into mv.feed_ledger as l (tenant_id, feed_id, external_id, version, outcome, deleted, repeats) "
            "select * from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::bool[], "
            "%s::bigint[]) on conflict (tenant_id, feed_id, external_id, version) "
            "do update set repeats = l.repeats + excluded.repeats",
            [
                [item.feed.tenant_id for item, _ in ordered],
                [item.feed.feed_id for item, _ in ordered],
                [item.external_id for item, _ in ordered],
                [version for _, version in ordered],
                [rows[key][0] for key in ordered],
                [rows[key][1] for key in ordered],
                [repeats[key] for key in ordered],
            ],
        )


# --- counts ---------------------------------------------------------------------------------------------------------


def _lock_status(connection: Connection, feeds: Sequence[FeedId]) -> dict[FeedId, dict[str, Any]]:
    if not feeds:
        return {}
    connection.execute(
        "insert into mv.feed_status (tenant_id, feed_id) select * from unnest(%s::uuid[], %s::uuid[]) "
        "on conflict do nothing",
        _columns(feeds),
    )
    rows = connection.execute(
        f"select s.tenant_id, s.feed_id, rejected_by, last_item_at, last_accepted_at, {', '.join(COUNTS)} "  # noqa: S608 - constants
        "from mv.feed_status s join unnest(%s::uuid[], %s::uuid[]) as n (tenant_id, feed_id) "
        "using (tenant_id, feed_id) order by 1, 2 for update of s",
        _columns(feeds),
    )
    names = ("rejected_by", "last_item_at", "last_accepted_at", *COUNTS)
    return {FeedId(row[0], row[1]): dict(zip(names, row[2:], strict=True)) for row in rows}


def _write_status(
    connection: Connection,
    status: dict[FeedId, dict[str, Any]],
    first: Sequence[Settled],
    again: Sequence[Settled],
    not_kept: Counter[FeedId],
) -> None:
    added = tally(first)
    for feed, count in tally(again).items():
        added.setdefault(feed, Counter()).update(
            {name: by for name, by in count.items() if name != "received"} | {"redriven": count["received"]}
        )
    for feed, count in added.items():
        row = status[feed]
        count["not_kept"] += not_kept[feed]
        for name in COUNTS:
            row[name] += count[name]
        for name, by in count.items():
            if name.startswith("rejected_by."):
                reason = name.partition(".")[2]
                row["rejected_by"][reason] = row["rejected_by"].get(reason, 0) + by
    for one in [*again, *first]:
        if one.judged.feed is not None and one.judged.proven:
            row = status[one.judged.feed.id]
            at = one.judged.received_at
            row["last_item_at"] = max(row["last_item_at"] or at, at)
            if one.outcome == "accepted":
                row["last_accepted_at"] = max(row["last_accepted_at"] or at, at)
    changed = sorted(added)
    names = ("last_item_at", "last_accepted_at", *COUNTS)
    connection.cursor().executemany(
        f"update mv.feed_status set rejected_by = %s::jsonb, {', '.join(f'{name} = %s' for name in names)} "  # noqa: S608 - constants
        "where tenant_id = %s and feed_id = %s",
        [
            [
                msgspec.json.encode(status[feed]["rejected_by"]).decode(),
                *(status[feed][name] for name in names),
                *feed,
            ]
            for feed in changed
        ],
    )


def _write_used(connection: Connection, first: Sequence[Settled]) -> None:
    used: dict[tuple[FeedId, date], list[int]] = defaultdict(lambda: [0, 0])
    for one in first:
        if one.judged.feed is not None and one.judged.item is not None and one.reason != "quota":
            total = used[one.judged.feed.id, one.judged.day]
            total[0] += 1
            total[1] += one.judged.record.size_bytes
    for (feed, day), (items, size) in sorted(used.items()):
        new = connection.execute(
            "insert into mv.feed_days as d (tenant_id, feed_id, day, items, bytes) values (%s, %s, %s, %s, %s) "
            "on conflict (tenant_id, feed_id, day) do update set items = d.items + excluded.items, "
            "bytes = d.bytes + excluded.bytes returning xmax = 0",
            [*feed, day, items, size],
        ).fetchone()
        if new == (True,):
            connection.execute(
                "delete from mv.feed_days where tenant_id = %s and feed_id = %s and day < %s::date - %s::int",
                [*feed, day, DAYS_KEPT],
            )
