"""The flows `index` and `embed` on a real broker, database and registry."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace

import pytest

from connectors.postgres.connections import Connection
from dataflows import vectors
from schemas.sources import SourceKey
from tests.dataflows.world import DocumentVersion, Outbox, Version, World

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


def test_a_document_becomes_findable_whatever_its_source_counts_by(world: World, outbox: Outbox) -> None:
    """Versions of a feed may be times in milliseconds, come in any order and twice; the newest is what is found."""
    tenant, document = uuid.uuid4(), uuid.uuid4()
    world.run_until_done(world.embed)
    first, second, third = (1_790_000_000_000 + n for n in range(3))
    world.versions([Version(tenant, uuid.uuid4(), 1, change="create")])
    world.documents([DocumentVersion(tenant, document, second, body="Second.")])
    world.run_until_done(world.index)
    world.documents(
        [
            DocumentVersion(tenant, document, first, body="First."),
            DocumentVersion(tenant, document, third, body="Third."),
            DocumentVersion(tenant, document, second, body="Second."),
        ]
    )
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    found = "select words_version, meaning_version, deleted from mv.search_state where kind = 'document'"
    assert world.rows(found) == [(third, third, False)]
    chunks = "select version, body from mv.chunks where source_id = %s"
    assert world.rows(chunks, document) == [(third, "Third.")]
    world.documents([DocumentVersion(tenant, document, third + 1, kind="delete")])
    world.documents([DocumentVersion(tenant, document, third, body="Third.")])
    world.run_until_done(world.index)
    assert world.rows(found) == [(third + 1, third + 1, True)]
    assert world.rows(chunks, document) == []
    assert world.rows("select words_version from mv.search_state where kind = 'adr'") == [(1,)]


def test_a_later_reading_of_a_version_is_news_and_an_older_one_is_not(world: World, outbox: Outbox) -> None:
    tenant, adr = uuid.uuid4(), uuid.uuid4()
    found = "select words_version, reading, title, status, meaning_version = words_version from mv.search_state"
    passages = "select count(*), min(version), bool_or(tsv @@ to_tsquery('english', 'scale')) from mv.chunks"
    saved = "select firsts, edits from mv.embedding_stats"
    world.run_until_done(world.embed)
    first = Version(tenant, adr, 1, title="Context", body="# Context\n\nWhy.\n", change="create")
    world.versions([first])
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    assert world.rows(found) == [(1, 1, "Context", "accepted", True)]

    again = replace(first, title="Weigh with scales", status="rejected", reading=2)
    world.versions([again], op="u")
    world.run_until_done(world.index)
    assert world.rows(found) == [(1, 2, "Weigh with scales", "rejected", None)]
    assert world.rows(passages) == [(1, 1, True)]
    assert len(outbox.carry()) == 1, "the title is part of what is embedded"
    world.run_until_done(world.embed)
    assert world.rows(found) == [(1, 2, "Weigh with scales", "rejected", True)]
    assert world.rows(saved) == [(1, 0)], "no edit"

    world.versions([first])
    world.versions([again], op="u")
    world.run_until_done(world.index)
    assert world.rows(found) == [(1, 2, "Weigh with scales", "rejected", True)]

    world.versions([replace(again, status="deprecated", reading=3)], op="u")
    world.run_until_done(world.index)
    assert world.rows(found) == [(1, 3, "Weigh with scales", "deprecated", True)], "the same words need no vectors"
    assert outbox.carry() == []


def test_neither_flow_holds_the_counts_of_a_tenant_while_it_works(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both count in one row of the tenant: whoever took it first would make the other wait for all of its work."""
    tenant, adr = uuid.uuid4(), uuid.uuid4()
    seen: list[int] = []
    keep = vectors.keep

    def look(connection: Connection, changed: Iterable[SourceKey]) -> None:
        keep(connection, changed)
        with world.admin() as other:
            counted = "select from mv.embedding_stats where tenant_id = %s for update nowait"
            seen.append(other.execute(counted, [tenant]).rowcount)

    world.run_until_done(world.embed)
    monkeypatch.setattr(vectors, "keep", look)
    for number in (1, 2):
        change = "create" if number == 1 else "update"
        world.versions([Version(tenant, adr, number, body=f"# Title\n\nText {number}.\n", change=change)])
        world.run_until_done(world.index)
        outbox.carry()
        world.run_until_done(world.embed)
    assert world.rows("select firsts, edits, embedded from mv.embedding_stats") == [(1, 1, 2)]
    assert seen == [0, 1, 1, 1]
