"""kill -9 in the middle of work, again and again: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import time
import uuid
from pathlib import Path

import pytest

from dataflows.oracle import verify
from tests.dataflows.world import Outbox, Process, Version, World, until

pytestmark = [pytest.mark.stack, pytest.mark.crash]

KILLS = 5
ADRS = 60
VERSIONS = 6


def test_killed_flows_lose_and_double_nothing(world: World, outbox: Outbox, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    tenants = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(4)]
    adrs = [(tenant, uuid.UUID(int=chance.getrandbits(128))) for tenant in tenants for _ in range(ADRS // 4)]
    history = [
        Version(tenant, adr, number + 1, body=f"# A\n\n{chance.choice('abc')} {number // 2}\n\n" + "Text. " * 200)
        for number in range(VERSIONS)
        for tenant, adr in adrs
    ]
    world.run_until_done(world.embed)
    parts = {name: Process(world, name, tmp_path / name) for name in ("index", "embed", "activity", "related")}
    share = len(history) // KILLS
    for start in range(0, len(history), share):
        world.versions(history[start : start + share])
        time.sleep(chance.uniform(0.3, 1.2))
        name = chance.choice(sorted(parts))
        parts[name].kill()
        outbox.carry()
        world.capture()
        parts[name] = Process(world, name, tmp_path / name)
    until(lambda: world.done(world.index) and world.done(world.activity))
    outbox.carry()
    until(lambda: world.done(world.embed))
    world.capture()
    until(lambda: world.done(world.related))
    for part in parts.values():
        assert part.terminate() == 0

    report = verify(world.settings, world.embedder, topics=world.topics)
    assert report.clean, report.differences
    assert report.dead_letters == 0
    counted = "select sum(firsts), sum(edits), sum(first_chunks + edit_chunks) from mv.embedding_stats"
    assert world.rows(counted) == [(len(adrs), len(history) - len(adrs), sum(_passages(v) for v in history))]
    assert world.rows("select sum(embedded) from mv.embedding_stats") == world.rows(
        "select count(*) from mv.embeddings"
    )


def _passages(version: Version) -> int:
    from dataflows.chunker import chunk

    return len(chunk(version.title, version.body))
