"""kill -9 in the middle of work, again and again: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import time
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from dataflows.catalog import flows
from dataflows.oracle import verify
from dataflows.usage import Spent
from tests.dataflows.world import EPOCH, Outbox, Process, Version, World, until

pytestmark = [pytest.mark.stack, pytest.mark.crash]

KILLS = 5
ADRS = 60
VERSIONS = 6
ATTEMPTS = 100


def test_killed_flows_lose_and_double_nothing(world: World, outbox: Outbox, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    tenants = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(4)]
    adrs = [(tenant, uuid.UUID(int=chance.getrandbits(128))) for tenant in tenants for _ in range(ADRS // 4)]
    history = [
        Version(
            *(tenant, adr, number + 1),
            body=f"# A\n\n{chance.choice('abc')} {number // 2}\n\n" + "Text. " * 200,
            source_ref=chance.choice([None, "imported"]),
        )
        for number in range(VERSIONS)
        for tenant, adr in adrs
    ]
    world.run_until_done(world.embed)
    parts = {name: Process(world, name, tmp_path / name) for name in flows()}
    share = len(history) // KILLS
    for start in range(0, len(history), share):
        world.versions(history[start : start + share])
        world.attempts([_spent(chance, chance.choice(tenants)) for _ in range(ATTEMPTS // KILLS)])
        world.jobs(tenants[0])
        time.sleep(chance.uniform(0.3, 1.2))
        name = chance.choice(sorted(parts))
        parts[name].kill()
        outbox.carry()
        world.capture()
        parts[name] = Process(world, name, tmp_path / name)
    until(lambda: world.done(world.index) and world.done(world.activity) and world.done(world.feeds))
    outbox.carry()
    until(lambda: world.done(world.embed) and world.done(world.usage))
    world.capture()
    until(lambda: world.done(world.related))
    for part in parts.values():
        assert part.terminate() == 0

    report = verify(world.settings, world.embedder, topics=world.topics)
    assert report.clean, report.differences
    assert report.dead_letters == 0
    assert world.rows("select sum(attempts)::int from mv.usage_by_key") == [(ATTEMPTS,)]
    assert world.rows("select count(*) from mv.job_status") == [(2 * KILLS,)]
    counted = "select sum(firsts), sum(edits), sum(first_chunks + edit_chunks) from mv.embedding_stats"
    assert world.rows(counted) == [(len(adrs), len(history) - len(adrs), sum(_passages(v) for v in history))]
    assert world.rows("select sum(embedded) from mv.embedding_stats") == world.rows(
        "select count(*) from mv.embeddings"
    )


def _spent(chance: random.Random, tenant: uuid.UUID) -> Spent:
    attempt, at = uuid.UUID(int=chance.getrandbits(128)), EPOCH + timedelta(minutes=chance.randrange(9_999))
    key, model = chance.choice(["a", None]), chance.choice("mn")
    return Spent(
        *(tenant, attempt, at, tenant, key, "openai", model, "completed", "provider", 1, 2, 3, 4, 5, 6, 7),
    )


def _passages(version: Version) -> int:
    from dataflows.chunker import chunk

    return len(chunk(version.title, version.body))
