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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import msgspec

from connectors.kafka.records import Record, TopicPartition
from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from connectors.registry import RegistryClient
from dataflows import feed_lookups, oracle_feeds
from dataflows.comparison import Comparison
from dataflows.feed_rejections import DAYS_KEPT, FLOW, forget_rejections, keep_letters, write_rejections
from dataflows.feed_rules import FeedId, ItemId, Judged, Settled, judge, judge_received, settle, tally
from dataflows.flow import Event, Flow
from runtime.errors import Unprocessable
from runtime.settings import Settings
from schemas import catalog as schema_catalog
from schemas import feeds as contract
from schemas.arrays import arrays_of
from schemas.codec import Decoder, SchemaLookup
from schemas.flows import KeptTable, KeptView
from schemas.headers import TRACEPARENT_HEADER

BATCH_RECORDS_MAX = 1_000
"""Fixed costs of a transaction are then below a tenth of a batch."""
ACCOUNT = "the account of what outsiders sent: the log keeps that for days, and the versions that came of it stay"
COUNTS = ("received", "accepted", "deleted", "duplicates", "superseded", "rejected", "redriven", "not_kept")


@dataclass(frozen=True, slots=True)
class FeedEffects:
    """Records of one partition, and what is to be thought of them, once somebody has looked at the keys."""

    records: tuple[Record, ...]
    contract: str
    judged: tuple[Judged, ...] = ()


class Feeds(Flow[FeedEffects]):
    """`strict` raises what it would reject."""

    name = FLOW
    about = "what outside producers send → versions of documents"
    topics = (contract.TOPIC, contract.RECEIVED_TOPIC)
    tables = (
        KeptTable(
            "app.document_versions",
            compared="those of feeds are what the ledger has as accepted",
            outlives="versions that readers were told of",
        ),
        KeptTable(
            "mv.feed_ledger",
            compared="the versions of documents that feeds wrote, and none that was passed over",
            outlives=ACCOUNT,
        ),
        KeptTable("mv.feed_status", compared="a recount of the ledger, and of rejections", outlives=ACCOUNT),
        KeptTable(
            "mv.feed_rejections",
            not_compared="the newest refusals, which nothing else keeps; how many there were is in mv.feed_status",
            outlives=ACCOUNT,
        ),
        KeptTable(
            "mv.feed_days",
            not_compared="what counts against the quota of a day, by the broker's clock",
            outlives=ACCOUNT,
        ),
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

    def for_redrive(self) -> Feeds:
        return Feeds(self._lookup, strict=True)

    def transform(self, events: Sequence[Event]) -> FeedEffects:
        return FeedEffects(tuple(event.record for event in events), events[0].contract if events else "")

    def prepare(self, connection: Connection, effects: FeedEffects) -> FeedEffects:
        if effects.contract == contract.TOPIC:
            keys = feed_lookups.read_keys(
                connection, {record.header(contract.KEY_HEADER) or "" for record in effects.records}
            )
            judged = [judge(record, keys, self._decode_outside) for record in effects.records]
        else:
            decoded = [self._decode_received(record.value or b"") for record in effects.records]
            found = feed_lookups.read_feeds(connection, {(value["tenant_id"], value["feed"]) for value in decoded})
            pairs = zip(effects.records, decoded, strict=True)
            judged = [judge_received(record, found, value) for record, value in pairs]
        return replace(effects, judged=tuple(judged))

    def apply(self, connection: Connection, effects: FeedEffects) -> None:
        """All of it is of one partition."""
        if not effects.judged:
            return
        records = effects.records
        source = TopicPartition(records[0].topic, records[0].partition)
        status = _lock_status(connection, sorted({one.feed.id for one in effects.judged if one.feed is not None}))
        counted_to = _lock_position(connection, source)
        settled = settle(effects.judged, feed_lookups.read_known(connection, effects.judged), counted_to)
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


def _raise_rejected(settled: Sequence[Settled]) -> None:
    for one in settled:
        if one.reason is not None:
            raise Unprocessable(
                f"{one.reason}: {one.judged.detail}" if one.judged.detail else one.reason,
                hint=contract.HINTS[one.reason],
            )


# --- positions -------------------------------------------------------------------------------------------------------


def _lock_position(connection: Connection, source: TopicPartition) -> int:
    row = connection.execute(
        "select counted_to from ops.feed_positions where topic = %s and partition = %s for update", list(source)
    ).fetchone()
    return row[0] if row else 0


_WRITE_POSITION = """
  insert into ops.feed_positions as p (topic, partition, counted_to)
  values (%s, %s, %s)
  on conflict (topic, partition)
  do update set counted_to = excluded.counted_to
  where p.counted_to < excluded.counted_to
"""


def _count(connection: Connection, source: TopicPartition, to: int) -> None:
    connection.execute(_WRITE_POSITION, [*source, to])


# --- versions -------------------------------------------------------------------------------------------------------


_INSERT_VERSIONS = """
  insert into app.document_versions (
    tenant_id, document_id, version, kind, origin, feed_id, external_id, title, media_type, uri, body,
    effective_at, traceparent
  )
  select
    tenant_id, document_id, version, kind, 'feed', feed_id, external_id, title, media_type, uri, body,
    effective_at, traceparent
  from unnest(
    %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::timestamptz[], %s::text[]
  ) as v (
    tenant_id, document_id, version, kind, feed_id, external_id, title, media_type, uri, body, effective_at,
    traceparent
  )
  on conflict (tenant_id, document_id, version) do nothing
"""


def _write_versions(connection: Connection, settled: Sequence[Settled]) -> None:
    rows = sorted(
        (_version(one) for one in settled if one.outcome == "accepted"), key=lambda row: (row[0], row[1], row[2])
    )
    if rows:
        connection.execute(_INSERT_VERSIONS, arrays_of(rows, 12))


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


_WRITE_LEDGER = """
  insert into mv.feed_ledger as l (tenant_id, feed_id, external_id, version, outcome, deleted, repeats)
  select *
  from unnest(%s::uuid[], %s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::bool[], %s::bigint[])
  on conflict (tenant_id, feed_id, external_id, version)
  do update set repeats = l.repeats + excluded.repeats
"""


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
        written = [(*key[0].feed, key[0].external_id, key[1], *rows[key], repeats[key]) for key in ordered]
        connection.execute(_WRITE_LEDGER, arrays_of(written, 7))


# --- counts ---------------------------------------------------------------------------------------------------------


_INSERT_STATUS = """
  insert into mv.feed_status (tenant_id, feed_id)
  select *
  from unnest(%s::uuid[], %s::uuid[])
  on conflict do nothing
"""

_LOCK_STATUS = """
  select
    s.tenant_id, s.feed_id, rejected_by, last_item_at, last_accepted_at, received, accepted, deleted,
    duplicates, superseded, rejected, redriven, not_kept
  from mv.feed_status s
  join unnest(%s::uuid[], %s::uuid[]) as n (tenant_id, feed_id) using (tenant_id, feed_id)
  order by 1, 2
  for update of s
"""


def _lock_status(connection: Connection, feeds: Sequence[FeedId]) -> dict[FeedId, dict[str, Any]]:
    if not feeds:
        return {}
    connection.execute(_INSERT_STATUS, arrays_of(feeds, 2))
    rows = connection.execute(_LOCK_STATUS, arrays_of(feeds, 2))
    names = ("rejected_by", "last_item_at", "last_accepted_at", *COUNTS)
    return {FeedId(row[0], row[1]): dict(zip(names, row[2:], strict=True)) for row in rows}


_WRITE_STATUS = """
  update mv.feed_status
  set
    rejected_by = %(rejected_by)s::jsonb,
    last_item_at = %(last_item_at)s,
    last_accepted_at = %(last_accepted_at)s,
    received = %(received)s,
    accepted = %(accepted)s,
    deleted = %(deleted)s,
    duplicates = %(duplicates)s,
    superseded = %(superseded)s,
    rejected = %(rejected)s,
    redriven = %(redriven)s,
    not_kept = %(not_kept)s
  where tenant_id = %(tenant_id)s and feed_id = %(feed_id)s
"""


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
            counted, _, reason = name.partition(".")
            if reason:
                row[counted][reason] = row[counted].get(reason, 0) + by
    for one in [*again, *first]:
        if one.judged.feed is not None and one.judged.proven:
            row = status[one.judged.feed.id]
            at = one.judged.received_at
            row["last_item_at"] = max(row["last_item_at"] or at, at)
            if one.outcome == "accepted":
                row["last_accepted_at"] = max(row["last_accepted_at"] or at, at)
    for feed in added:
        status[feed]["rejected_by"] = msgspec.json.encode(status[feed]["rejected_by"]).decode()
    connection.cursor().executemany(_WRITE_STATUS, [status[feed] | feed._asdict() for feed in sorted(added)])


_ADD_USED = """
  insert into mv.feed_days as d (tenant_id, feed_id, day, items, bytes)
  values (%s, %s, %s, %s, %s)
  on conflict (tenant_id, feed_id, day)
  do update set items = d.items + excluded.items, bytes = d.bytes + excluded.bytes
  returning xmax = 0
"""


def _write_used(connection: Connection, first: Sequence[Settled]) -> None:
    used: dict[tuple[FeedId, date], list[int]] = defaultdict(lambda: [0, 0])
    for one in first:
        if one.judged.feed is not None and one.judged.item is not None and one.reason != "quota":
            total = used[one.judged.feed.id, one.judged.day]
            total[0] += 1
            total[1] += one.judged.record.size_bytes
    for (feed, day), (items, size) in sorted(used.items()):
        new = connection.execute(_ADD_USED, [*feed, day, items, size]).fetchone()
        if new == (True,):
            connection.execute(
                "delete from mv.feed_days where tenant_id = %s and feed_id = %s and day < %s::date - %s::int",
                [*feed, day, DAYS_KEPT],
            )
