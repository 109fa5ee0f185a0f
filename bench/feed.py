"""A feed with duplicates, reordering, deletes and 1 % poison: how fast it goes, and whether it ends exactly right.

    python -m bench.feed --items 100000 --kills 3

Owns the load: one feed of a tenant of its own, over Kafka, signed, on the running system. Everything is made and signed
before the clock starts. What must come of it is computed beside, one record after the other, and compared row by row.
`--kills` ends the flow with kill -9 so often on the way; the supervisor starts it again.

Texts are drawn from a pool of 40: each is embedded once, so the embedder, which does some 50 a second, is not what is
measured. The time is from the first record produced to the last one counted in `mv.feed_status`.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from confluent_kafka import Producer as KafkaProducer
from psycopg.rows import dict_row

from adriatic.supervisor.supervisor import Files, read_running
from bench.path import client, new_tenant
from connectors.kafka.partitioner import partition_for
from connectors.postgres.connections import connect
from connectors.registry import RegistryClient
from dataflows import oracle_feeds
from runtime.deadline import Deadline
from runtime.settings import Settings, load
from schemas.codec import Encoder
from schemas.feeds import TOPIC, ProducerKey
from tests.dataflows.feed_world import COUNTS, Model, Producer, Sent, traffic
from topics import catalog

ITEMS = 100_000
SLUG = "bench"
SETTLE_MAX_S = 900.0
POLL_S = 0.05
SHOWN_MAX = 20
"""Differences that are named."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of one feed."""

    items: int
    seconds: float
    items_per_s: float
    kills: int
    counts: dict[str, int]
    rejected: dict[str, int]
    documents: int
    differences: list[str]


class _Encoders:
    def __init__(self, registry: RegistryClient) -> None:
        self._encoder = Encoder(registry, f"{TOPIC}-value")

    def encoder(self, topic: str) -> Encoder:
        assert topic == TOPIC
        return self._encoder


def measure(settings: Settings, items: int = ITEMS, kills: int = 0, seed: int = 1) -> Figures:
    by = _feed(settings, items)
    with RegistryClient(settings.registry) as registry:
        history = traffic(_Encoders(registry), by, items, random.Random(seed))
    model = Model().take(history)
    began_s = time.perf_counter()
    _send(settings, by, history)
    killed = _until_counted(settings, by, items, kills)
    took_s = time.perf_counter() - began_s
    found, rejected = _counts(settings, by)
    return Figures(
        items,
        took_s,
        items / took_s,
        killed,
        found,
        rejected,
        len(model.heads),
        _differences(settings, by, model, found, rejected),
    )


def _feed(settings: Settings, items: int) -> Producer:
    _slug, tenant_id = new_tenant(settings)
    quota = {"items_per_day": 10 * items, "bytes_per_day": 10**13}
    with client(settings, tenant_id) as http:
        made = http.post("/v1/feeds", json={"slug": SLUG, **quota}).raise_for_status().json()
    with psycopg.connect(settings.postgres.dsn("flows")) as connection:
        row = connection.execute("select feed_id from app.feeds where tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None
    feed_id: UUID = row[0]
    return Producer(tenant_id, feed_id, SLUG, ProducerKey.parse(made["key"]["key"]))


def _send(settings: Settings, by: Producer, history: list[Sent]) -> None:
    producer = KafkaProducer({**settings.kafka.client_config(), "linger.ms": 20, "enable.idempotence": True})
    partition = partition_for(str(by.tenant_id), catalog.load()[TOPIC].partitions)
    for record in history:
        while True:
            try:
                producer.produce(TOPIC, record.value, partition=partition, headers=list(record.headers))
            except BufferError:
                producer.poll(0.1)
            else:
                break
    assert producer.flush(60) == 0


def _until_counted(settings: Settings, by: Producer, items: int, kills: int) -> int:
    """Returns how often the flow was killed."""
    deadline = Deadline.after(SETTLE_MAX_S)
    killed = 0
    with psycopg.connect(settings.postgres.dsn("flows"), autocommit=True) as connection:
        while not deadline.passed:
            row = connection.execute(
                "select received from mv.feed_status where tenant_id = %s and feed_id = %s", [by.tenant_id, by.feed_id]
            ).fetchone()
            received = row[0] if row else 0
            if received >= items:
                return killed
            if killed < kills and received >= items * (killed + 1) // (kills + 1):
                killed += _kill(settings)
            time.sleep(POLL_S)
    raise SystemExit(f"not counted within {SETTLE_MAX_S} s; see `adriatic status`")


def _kill(settings: Settings) -> int:
    report = read_running(Files(settings.home.resolve()))
    pids = [part.pid for part in report.parts if part.name == "feeds" and part.pid] if report else []
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return len(pids)


def _counts(settings: Settings, by: Producer) -> tuple[dict[str, int], dict[str, int]]:
    with psycopg.connect(settings.postgres.dsn("flows")) as connection:
        status = connection.cursor(row_factory=dict_row).execute(
            "select * from mv.feed_status where tenant_id = %s and feed_id = %s", [by.tenant_id, by.feed_id]
        )
        row = status.fetchone()
    assert row is not None
    return {name: row[name] for name in COUNTS}, row["rejected_by"]


_READ_NEWEST = """
  select external_id, version, kind = 'delete'
  from app.document_versions
  where tenant_id = %s and feed_id = %s
"""


def _differences(
    settings: Settings, by: Producer, model: Model, found: dict[str, int], rejected: dict[str, int]
) -> list[str]:
    wrong = [
        f"{name}: {found[name]} instead of {model.counts[name]}" for name in COUNTS if found[name] != model.counts[name]
    ]
    if rejected != dict(model.rejected):
        wrong.append(f"rejected: {rejected} instead of {dict(model.rejected)}")
    with connect(settings.postgres) as connection:
        rows = connection.execute(_READ_NEWEST, [by.tenant_id, by.feed_id]).fetchall()
        wrong += [f"{each.table}: {each.kind} {each.where}" for each in oracle_feeds.unlike(connection, by.tenant_id)]
    there = Counter((name, version, deleted) for name, version, deleted in rows)
    wrong += [f"version {item} is missing" for item in sorted(model.written - there.keys())]
    wrong += [f"version {item} is extra" for item in sorted(there.keys() - model.written)]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    figures = measure(load(), arguments.items, arguments.kills, arguments.seed)
    print(f"{figures.items} records in {figures.seconds:.1f} s: {figures.items_per_s:.0f} items/s")
    print(f"the flow was killed {figures.kills} times")
    for name, count in {
        **figures.counts,
        **{f"  {reason}": n for reason, n in sorted(figures.rejected.items())},
    }.items():
        print(f"{name:16} {count}")
    print(f"{'documents':16} {figures.documents}")
    print(f"{'differences':16} {len(figures.differences)}")
    for difference in figures.differences[:SHOWN_MAX]:
        print(f"  {difference}")
    sys.exit(1 if figures.differences else 0)


def figures(settings: Settings) -> list[dict[str, Any]]:
    found = measure(settings)
    return [
        {
            "items": found.items,
            "items_per_s": found.items_per_s,
            **found.counts,
            "differences": len(found.differences),
        }
    ]


if __name__ == "__main__":
    main()
