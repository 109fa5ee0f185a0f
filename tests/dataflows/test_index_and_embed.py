"""The flows `index` and `embed` on a real broker, database and registry."""

from __future__ import annotations

import uuid

import pytest

from tests.dataflows.world import Outbox, Version, World

pytestmark = pytest.mark.stack


def test_a_version_becomes_findable_by_words_then_by_meaning(world: World, outbox: Outbox) -> None:
    tenant, adr = uuid.uuid4(), uuid.uuid4()
    world.run_until_done(world.embed)
    world.versions([Version(tenant, adr, 1, change="create")])
    world.run_until_done(world.index)
    assert world.rows("select words_version, meaning_version, chunks from mv.search_state") == [(1, None, 1)]
    assert len(outbox.carry()) == 1
    world.run_until_done(world.embed)
    assert world.rows("select words_version, meaning_version from mv.search_state") == [(1, 1)]
    assert world.rows("select count(*) from mv.embeddings") == [(1,)]


def test_a_request_that_was_lost_with_a_slot_is_made_again_when_its_version_comes_again(
    world: World, outbox: Outbox
) -> None:
    version = Version(uuid.uuid4(), uuid.uuid4(), 1, change="create")
    world.run_until_done(world.embed)
    world.versions([version])
    world.run_until_done(world.index)
    assert len(outbox.messages()) == 1  # read, and carried nowhere
    world.versions([version])
    world.run_until_done(world.index)
    assert len(outbox.carry()) == 1
    world.run_until_done(world.embed)
    assert world.rows("select words_version, meaning_version from mv.search_state") == [(1, 1)]
    world.versions([version])
    world.run_until_done(world.index)
    assert outbox.carry() == [], "what is findable asks for nothing"
