"""What an event costs: events a second into the database and on into Kafka, WAL, and room in the outbox.

The events are bytes for a topic of dead letters, which nobody reads: so it is the way of an event that is measured,
and no flow's work.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psycopg

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition
from connectors.postgres.lsn import parse
from runtime.settings import Settings

TOPIC = "rag.search.requested.dlq"
EVENT_BYTES = 400
"""About as large as the progress of a job."""
EVENTS = 20_000
ONE_BY_ONE = 2_000
"""Fewer, because each is a commit that waits for the disk."""
ARRIVED_S_MAX = 300.0

_EMIT = """
  select app.emit_raw(%s, %s, null, %s)
  from generate_series(1, %s)
"""
_MEASURE = """
  select
    pg_current_wal_insert_lsn()::text,
    (
      select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'app' and c.relname like 'outbox%%' and c.relkind = 'r'
    )
"""


@dataclass(frozen=True)
class Cost:
    """Figures of one size of transaction. Bytes are those of one event; the first of a page pays for all of it."""

    events_in_a_transaction: int
    committed_per_s: float
    in_kafka_per_s: float
    wal_bytes: float
    table_bytes: float


def measure(settings: Settings) -> list[Cost]:
    """Emit events one by one, and a thousand at a time."""
    with psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as connection:
        return [_cost(settings, connection, count, size) for count, size in ((ONE_BY_ONE, 1), (EVENTS, 1_000))]


def _cost(settings: Settings, connection: psycopg.Connection[tuple[str, int]], count: int, size: int) -> Cost:
    parts = KafkaAdmin(settings.kafka).topics([TOPIC])[TOPIC].partitions
    sources = [TopicPartition(TOPIC, number) for number in range(parts)]
    offsets = Offsets(settings.kafka)
    end = sum(offsets.end_of_committed(sources).values()) + count
    lsn, table_bytes = _look(connection)
    started_s = time.perf_counter()
    for _ in range(count // size):
        connection.execute(_EMIT, [TOPIC, os.urandom(16), os.urandom(EVENT_BYTES), size])
    committed_s = time.perf_counter() - started_s
    lsn_after, table_bytes_after = _look(connection)
    while sum(offsets.end_of_committed(sources).values()) < end:
        if time.perf_counter() - started_s > ARRIVED_S_MAX:
            raise TimeoutError(f"not in Kafka within {ARRIVED_S_MAX:.0f} s")
        time.sleep(0.02)
    arrived_s = time.perf_counter() - started_s
    wal, room = (lsn_after - lsn) / count, (table_bytes_after - table_bytes) / count
    return Cost(size, count / committed_s, count / arrived_s, wal, room)


def _look(connection: psycopg.Connection[tuple[str, int]]) -> tuple[int, int]:
    """The WAL's end, and the size of the outbox in bytes."""
    row = connection.execute(_MEASURE).fetchone()
    assert row is not None
    return parse(row[0]), row[1]
