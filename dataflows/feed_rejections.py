"""What becomes of a feed's item that is refused: a dead letter with its bytes, and a line for its producer.

Owns the bounds on both, and their SQL, in the transaction of the flow `feeds` (`dataflows/feeds.py`). Refuses to decide
what is refused: `dataflows/feed_rules.py` does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from connectors.postgres.connections import Connection
from connectors.postgres.sink import DeadLetter, write_dead_letters
from dataflows.feed_rules import NOBODY, FeedId, Settled
from schemas import feeds as contract

FLOW = "feeds"
REJECTIONS_MAX = 50
"""Most rejections of one feed and reason, the newest. All are counted; the records themselves are dead letters."""
LETTERS_PER_DAY_MAX = 10_000
"""Rejected records of one feed whose bytes are kept a day; so many again for those that somebody else sent in its name,
and for those of nobody. At the contract's largest record this bounds what a flood writes; the topic has the rest."""
DAYS_KEPT = 8
"""Days that used quota is kept: one more than the topic's retention."""
STAGE = "reject"
"""Stage of the dead letters of this flow that are a producer's fault."""


def keep_letters(connection: Connection, rejected: Sequence[Settled]) -> Counter[FeedId]:
    """Dead letters, up to the day's bound; returns how many of each feed were not kept."""
    groups: dict[tuple[date, UUID, bool], list[Settled]] = defaultdict(list)
    for one in rejected:
        feed = one.judged.feed
        groups[one.judged.day, feed.id.feed_id if feed else NOBODY, one.judged.proven].append(one)
    not_kept: Counter[FeedId] = Counter()
    for (day, feed_id, proven), group in sorted(groups.items(), key=lambda entry: entry[0]):
        row = connection.execute(
            "select kept from ops.feed_letters where day = %s and feed_id = %s and proven = %s", [day, feed_id, proven]
        ).fetchone()
        keep = group[: max(0, LETTERS_PER_DAY_MAX - (row[0] if row else 0))]
        write_dead_letters(connection, FLOW, map(_letter, keep))
        _count_letters(connection, day, feed_id, proven, len(keep), len(group) - len(keep))
        not_kept.update(one.judged.feed.id for one in group[len(keep) :] if one.judged.feed is not None)
    return not_kept


_COUNT_LETTERS = """
  insert into ops.feed_letters as l (day, feed_id, proven, kept, dropped)
  values (%s, %s, %s, %s, %s)
  on conflict (day, feed_id, proven)
  do update set kept = l.kept + excluded.kept, dropped = l.dropped + excluded.dropped
"""


def _count_letters(connection: Connection, day: date, feed_id: UUID, proven: bool, kept: int, dropped: int) -> None:
    connection.execute(_COUNT_LETTERS, [day, feed_id, proven, kept, dropped])
    connection.execute("delete from ops.feed_letters where day < %s::date - %s::int", [day, DAYS_KEPT])


def _letter(one: Settled) -> DeadLetter:
    assert one.reason is not None
    feed = one.judged.feed
    tenant_id = feed.id.tenant_id if feed is not None and one.judged.proven else None
    detail = one.judged.detail or one.reason.replace("_", " ")
    return DeadLetter(one.judged.record, STAGE, one.reason, detail, contract.HINTS[one.reason], tenant_id)


_INSERT_REJECTION = """
  insert into mv.feed_rejections (
    tenant_id, feed_id, topic, partition, record_offset, reason, detail, key_id, external_id, version,
    received_at
  )
  values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
  on conflict do nothing
"""

_TRIM_REJECTIONS = """
  delete from mv.feed_rejections r
  using (
    select topic, partition, record_offset
    from mv.feed_rejections
    where tenant_id = %(tenant)s and feed_id = %(feed)s and reason = %(reason)s
    order by received_at desc, topic, partition, record_offset desc
    offset %(max)s
  ) old
  where r.tenant_id = %(tenant)s
    and r.feed_id = %(feed)s
    and r.topic = old.topic
    and r.partition = old.partition
    and r.record_offset = old.record_offset
"""


def write_rejections(connection: Connection, first: Sequence[Settled]) -> None:
    newest: dict[tuple[FeedId, str], list[Settled]] = defaultdict(list)
    for one in first:
        if one.judged.feed is not None and one.reason is not None:
            newest[one.judged.feed.id, one.reason].append(one)
    for (feed, reason), group in sorted(newest.items(), key=lambda entry: entry[0]):
        connection.cursor().executemany(_INSERT_REJECTION, [_rejection(one) for one in group[-REJECTIONS_MAX:]])
        connection.execute(
            _TRIM_REJECTIONS, {"tenant": feed.tenant_id, "feed": feed.feed_id, "reason": reason, "max": REJECTIONS_MAX}
        )


def _rejection(one: Settled) -> tuple[Any, ...]:
    judged = one.judged
    assert judged.feed is not None
    record, item = judged.record, judged.item
    return (
        *judged.feed.id,
        *(record.topic, record.partition, record.offset),
        one.reason,
        judged.detail,
        record.header(contract.KEY_HEADER),
        item.external_id if item else None,
        item.version if item else None,
        judged.received_at,
    )


_DELETE_REJECTION = """
  delete from mv.feed_rejections
  where tenant_id = %s and feed_id = %s and topic = %s and partition = %s and record_offset = %s
"""

_MARK_REDRIVEN = """
  update ops.dlq
  set state = 'redriven'
  where flow = %s and topic = %s and partition = %s and record_offset = %s and state = 'new'
"""


def forget_rejections(connection: Connection, again: Sequence[Settled], *, decided: bool) -> None:
    """Forget rejections of records that were processed after all. `decided`: whoever redrives marks the dead letter."""
    for one in again:
        record = one.judged.record
        at = [record.topic, record.partition, record.offset]
        if one.judged.feed is not None:
            connection.execute(_DELETE_REJECTION, [*one.judged.feed.id, *at])
        if not decided:
            connection.execute(_MARK_REDRIVEN, [FLOW, *at])
