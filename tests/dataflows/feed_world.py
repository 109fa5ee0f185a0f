"""Feeds for tests: topics of their own, tenants with feeds and keys, producers that err, and a plain model."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from dataflows.feeds import Feeds
from runtime.settings import Settings
from schemas.codec import Encoder
from schemas.feeds import RECEIVED_TOPIC, TOPIC, ProducerKey
from tests.dataflows import world as worlds
from tests.dataflows.world import World

TEXTS = [(f"Topic {number}", f"What is said of topic {number}. " * 30) for number in range(40)]
"""About a kilobyte each, and few: what reads the documents afterwards embeds each text once."""


@dataclass(frozen=True, slots=True)
class Producer:
    """A feed of a tenant, and who has its key."""

    tenant_id: uuid.UUID
    feed_id: uuid.UUID
    slug: str
    key: ProducerKey


class Encoders(Protocol):
    """What is needed of a world to make records."""

    def encoder(self, topic: str) -> Encoder: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """One record. `reason` is what it is to be refused with."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    item: tuple[str, int, bool] | None = None
    reason: str | None = None


@contextmanager
def made(settings: Settings) -> Iterator[World]:
    with worlds.made(settings, (TOPIC, RECEIVED_TOPIC)) as world:
        yield world


def flow(world: World, *, strict: bool = False) -> Feeds:
    return Feeds(world.registry, strict=strict)


def producer(world: World, tenant: int = 1, slug: str = "wiki", items_per_day: int = 10**9) -> Producer:
    """A tenant and its feed, as the API makes them."""
    tenant_id, feed_id = uuid.UUID(int=tenant), uuid.uuid4()
    key = ProducerKey.new(tenant_id)
    with world.admin() as admin:
        admin.execute(
            "insert into app.tenants (tenant_id, slug, name) values (%s, %s, 'n') on conflict do nothing",
            [tenant_id, f"t-{tenant}"],
        )
        admin.execute(
            "insert into app.feeds (tenant_id, feed_id, slug, name, items_per_day, bytes_per_day, items_per_minute) "
            "values (%s, %s, %s, 'n', %s, %s, %s)",
            [tenant_id, feed_id, slug, items_per_day, 10**15, 10**6],
        )
        admin.execute(
            "insert into app.feed_keys (tenant_id, feed_id, key_id, public_key) values (%s, %s, %s, %s)",
            [tenant_id, feed_id, key.key_id, key.public],
        )
    return Producer(tenant_id, feed_id, slug, key)


def encoded(world: Encoders, by: Producer, external_id: str, version: int, **says: Any) -> bytes:
    value = {
        "tenant_id": by.tenant_id,
        "feed": by.slug,
        "document_id": external_id,
        "occurred_at": datetime(2026, 1, 1, tzinfo=UTC),
        "source_version": version,
        "title": f"Page {external_id}",
        "text": f"Text of {external_id}.",
        **says,
    }
    return world.encoder(TOPIC).encode(value)


def signed(value: bytes, key: ProducerKey) -> Sent:
    return Sent(value, tuple((name, text.encode()) for name, text in key.headers(value).items()))


def item(world: Encoders, by: Producer, external_id: str, version: int, **says: Any) -> Sent:
    sent = signed(encoded(world, by, external_id, version, **says), by.key)
    return replace(sent, item=(external_id, version, bool(says.get("deleted"))))


def poison(world: Encoders, by: Producer, kind: int) -> Sent:
    """Something that is refused, of one of six kinds."""
    good = encoded(world, by, f"poison-{kind}", 1)
    made: Sequence[Sent] = (
        replace(signed(b"not avro", by.key), reason="undecodable"),
        replace(signed(good[:-3], by.key), reason="undecodable"),
        replace(signed(encoded(world, by, "x", 1, text=""), by.key), reason="invalid"),
        replace(signed(encoded(world, by, "x", 1, feed="another"), by.key), reason="wrong_feed"),
        replace(signed(encoded(world, by, "x", 1, tenant_id=uuid.UUID(int=99)), by.key), reason="wrong_tenant"),
        Sent(good, signed(good + b"!", by.key).headers, reason="bad_signature"),
    )
    return made[kind % len(made)]


def traffic(world: Encoders, by: Producer, count: int, chance: random.Random) -> list[Sent]:
    """A history as producers send it: items edited and deleted, some sent again, all a little out of order, and 1 %
    that is poison."""
    versions: Counter[str] = Counter()
    sent: list[Sent] = []
    while len(sent) < count:
        draw = chance.random()
        if draw < 0.01:
            sent.append(poison(world, by, chance.randrange(6)))
        elif draw < 0.11 and sent:
            sent.append(chance.choice(sent[-200:]))
        else:
            name = f"page-{chance.randrange(max(1, count // 4))}"
            versions[name] += 1
            title, text = TEXTS[chance.randrange(len(TEXTS))]
            says = {"title": title, "text": text, "deleted": chance.random() < 0.1}
            sent.append(item(world, by, name, versions[name], **says))
    places = {number: number + chance.uniform(0, 40) for number in range(count)}
    return [sent[number] for number in sorted(places, key=places.__getitem__)]


def send(world: World, by: Producer, records: Sequence[Sent]) -> None:
    for record in records:
        world.produce(TOPIC, by.tenant_id, record.value, record.headers)
    world.flush()


@dataclass
class Model:
    """What must come of records, in the plainest way: one after the other."""

    heads: dict[str, tuple[int, bool]] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    written: set[tuple[str, int, bool]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def take(self, records: Sequence[Sent]) -> Model:
        for record in records:
            self.counts["received"] += 1
            if record.reason is not None:
                self.counts["rejected"] += 1
                self.rejected[record.reason] += 1
                continue
            assert record.item is not None
            name, version, deleted = record.item
            if (name, version) in self.seen:
                self.counts["duplicates"] += 1
            elif name in self.heads and self.heads[name][0] > version:
                self.counts["superseded"] += 1
            else:
                self.counts["accepted"] += 1
                self.counts["deleted"] += deleted
                self.heads[name] = (version, deleted)
                self.written.add(record.item)
            self.seen.add((name, version))
        return self


COUNTS = ("received", "accepted", "deleted", "duplicates", "superseded", "rejected", "redriven", "not_kept")


def status(world: World, by: Producer) -> dict[str, Any]:
    rows = world.rows(
        "select received, accepted, deleted, duplicates, superseded, rejected, redriven, not_kept, rejected_by "
        "from mv.feed_status where tenant_id = %s and feed_id = %s",
        by.tenant_id,
        by.feed_id,
    )
    return dict(zip((*COUNTS, "rejected_by"), rows[0], strict=True)) if rows else {}


def written(world: World, by: Producer) -> set[tuple[str, int, bool]]:
    rows = world.rows(
        "select external_id, version, kind = 'delete' from app.document_versions "
        "where tenant_id = %s and feed_id = %s and origin = 'feed'",
        by.tenant_id,
        by.feed_id,
    )
    assert len(set(rows)) == len(rows)
    return {(name, version, deleted) for name, version, deleted in rows}


def assert_is(world: World, by: Producer, model: Model) -> None:
    found = status(world, by)
    assert found.pop("rejected_by") == dict(model.rejected)
    assert found == {name: model.counts[name] for name in COUNTS}
    assert written(world, by) == model.written
    heads = world.rows(
        "select distinct on (external_id) external_id, version, kind = 'delete' from app.document_versions "
        "where feed_id = %s order by external_id, version desc",
        by.feed_id,
    )
    assert {name: (version, deleted) for name, version, deleted in heads} == model.heads
