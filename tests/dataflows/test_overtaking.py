"""What somebody waits for overtakes what nobody waits for: requests for vectors, by the flows themselves."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from connectors.embedders import Vector
from connectors.kafka.lanes import AHEAD_MAX
from dataflows.embed import Embed
from dataflows.index import BULK_ITEMS_MAX, BULK_TOPIC, ITEMS_MAX, REQUESTS_TOPIC
from dataflows.oracle import verify
from runtime.errors import DependencyUnavailable
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.dataflows.world import DocumentVersion, Outbox, Running, Version, World, until

pytestmark = pytest.mark.stack

PARAGRAPH = "Because order matters, and because whoever reads it later must find out why it was decided so. "
WAITING = 10_000
IMPORTED_AT_ONCE = 100
"""Passages of each source of the import."""
CALL_S = 0.2
"""How long a call of the slow model takes while an edit is on its way: long beside what a record takes to come."""


def text_of(passages: int, mark: str) -> str:
    """Markdown that is cut into so many passages, each like no other."""
    return "\n\n".join(f"{mark} {number}. {PARAGRAPH * 8}" for number in range(passages))


def routes(world: World, outbox: Outbox) -> dict[str, list[str]]:
    """The topic of each request that the flow `index` makes of what is there, by source."""
    world.run_until_done(world.index)
    found: dict[str, list[str]] = {}
    for message in outbox.carry():
        found.setdefault(message["value"]["source_id"], []).append(message["topic"])
    return found


def test_who_waits_for_a_version_is_read_from_its_event(world: World, outbox: Outbox) -> None:
    tenant = uuid.uuid4()
    written, imported, edited, long, uploaded, copied = (uuid.uuid4() for _ in range(6))
    world.run_until_done(world.embed)
    world.versions(
        [
            Version(tenant, written, 1, body="# A\n\nWritten by a person.\n", change="create"),
            Version(tenant, imported, 1, body="# A\n\nImported.\n", change="create", source_ref="c0ffee"),
            Version(tenant, edited, 1, body="# A\n\nImported too.\n", change="create", source_ref="c0ffee"),
            Version(tenant, edited, 2, body="# A\n\nThen edited by a person.\n"),
            Version(tenant, long, 1, body=text_of(ITEMS_MAX + 1, "part"), change="create"),
        ]
    )
    world.versions([Version(tenant, copied, 1, body="# A\n\nCopied by a snapshot.\n")], op="r")
    world.documents([DocumentVersion(tenant, uploaded, 1, body="Uploaded.")])
    bundles = -(-(ITEMS_MAX + 1) // BULK_ITEMS_MAX)
    assert routes(world, outbox) == {
        str(written): [REQUESTS_TOPIC],
        str(imported): [BULK_TOPIC],
        str(edited): [REQUESTS_TOPIC],
        str(long): [BULK_TOPIC] * bundles,
        str(copied): [BULK_TOPIC],
        str(uploaded): [REQUESTS_TOPIC],
    }
    world.run_until_done(world.embed)
    assert world.rows("select count(*) from mv.search_state where meaning_version = words_version") == [(6,)]


class SlowEmbedder(FakeEmbedder):
    """A model that takes its time while `is_slow`, and that a test can hold in the middle of a call."""

    def __init__(self) -> None:
        super().__init__()
        self.is_slow = threading.Event()
        self.may_go_on = threading.Event()

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        vectors = super().embed(texts)
        assert self.may_go_on.wait(60)
        if self.is_slow.is_set():
            time.sleep(CALL_S)
        return vectors


@pytest.fixture
def slow(world: World) -> Iterator[SlowEmbedder]:
    world.embedder = embedder = SlowEmbedder()
    yield embedder
    embedder.may_go_on.set()


def edit(world: World, outbox: Outbox, version: Version) -> None:
    """A person's edit, up to the request for its vectors."""
    world.versions([version])
    until(lambda: world.done(world.index))
    assert [message["topic"] for message in outbox.carry()] == [REQUESTS_TOPIC]


def is_findable(world: World, version: Version) -> bool:
    return world.rows(FINDABLE, version.adr_id, 2) == [(1,)]


FINDABLE = "select count(*) from mv.search_state where source_id = %s and meaning_version = %s"


def test_an_edit_overtakes_ten_thousand_texts_of_an_import(world: World, outbox: Outbox, slow: SlowEmbedder) -> None:
    """Of the same tenant and of another one; and the import goes on."""
    tenant, other, adr, others = (uuid.uuid4() for _ in range(4))
    slow.may_go_on.set()
    world.run_until_done(world.embed)
    world.versions([Version(tenant, adr, 1, change="create"), Version(other, others, 1, change="create")])
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    slow.calls.clear()
    world.versions(
        [
            Version(
                *(tenant if number % 2 else other, uuid.uuid4(), 1),
                body=text_of(IMPORTED_AT_ONCE, f"import {number}"),
                change="create",
                source_ref="c0ffee",
            )
            for number in range(WAITING // IMPORTED_AT_ONCE)
        ]
    )
    world.run_until_done(world.index)
    outbox.carry()
    slow.may_go_on.clear()
    with Running(world, world.index), Running(world, world.embed) as embed:
        until(lambda: bool(slow.calls))
        slow.is_slow.set()
        for number, version in enumerate((Version(tenant, adr, 2), Version(other, others, 2))):
            mark = f"Nobody wrote this before {number}."
            edit(world, outbox, Version(version.tenant_id, version.adr_id, 2, body=f"# Use a log\n\n{mark}\n"))
            before = len(slow.calls)
            slow.may_go_on.set()
            until(partial(is_findable, world, version))
            at = next(at for at, texts in enumerate(slow.calls) if any(mark in text for text in texts))
            between = [text for texts in slow.calls[before:at] for text in texts]
            assert len(between) <= 2 * BULK_ITEMS_MAX, "it waited for more than what was under way"
            slow.may_go_on.clear()
        slow.is_slow.clear()
        slow.may_go_on.set()
        until(lambda: world.done(Embed(slow)))
        assert embed.error is None
    assert world.rows("select sum(embedded)::int from mv.embedding_stats") == [(WAITING + 4,)], "each text once"
    report = verify(world.settings, slow, topics=world.topics)
    assert [each for each in report.differences if each.flow in ("index", "embed")] == []
    assert sum(tenant.vectors_recomputed for tenant in report.tenants) == WAITING + 2


def test_an_import_goes_on_however_much_overtakes_it(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it waits before the flow begins, a request a batch: it has its turns long before all else is done."""
    monkeypatch.setattr(Embed, "remote_limits", Embed.limits)
    tenant, written, passages = uuid.uuid4(), 60, 20
    world.run_until_done(world.embed)
    world.versions(
        [
            *(
                Version(tenant, uuid.uuid4(), 1, body=text_of(passages, f"written {number}"), change="create")
                for number in range(written)
            ),
            Version(
                tenant, uuid.uuid4(), 1, body=text_of(16 * passages, "imported"), change="create", source_ref="c0ffee"
            ),
        ]
    )
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    imports = [any("imported" in text for text in texts) for texts in world.embedder.calls]
    assert imports.count(False) == written
    assert imports.count(True) == passages
    last_written = max(at for at, is_import in enumerate(imports) if not is_import)
    assert sum(imports[:last_written]) >= written // (AHEAD_MAX + 1) - 1


def test_a_bad_request_of_an_import_is_one_dead_letter(world: World, outbox: Outbox) -> None:
    tenant, adr = uuid.uuid4(), uuid.uuid4()
    world.run_until_done(world.embed)
    world.produce(BULK_TOPIC, tenant, b"garbage")
    world.versions([Version(tenant, adr, 1, change="create", source_ref="c0ffee")])
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    assert world.rows("select flow, topic, code from ops.dlq") == [("embed", world.topics[BULK_TOPIC], "undecodable")]
    assert world.rows(FINDABLE, adr, 1) == [(1,)]


class AwayEmbedder(FakeEmbedder):
    """A model that does not answer at first."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        if len(self.calls) < 3:
            self.calls.append([])
            raise DependencyUnavailable("the model does not answer")
        return super().embed(texts)


def test_a_model_that_is_away_makes_lag_of_both_and_no_dead_letters(world: World, outbox: Outbox) -> None:
    tenant, imported, written = (uuid.uuid4() for _ in range(3))
    world.embedder = AwayEmbedder()
    world.run_until_done(world.embed)
    world.versions(
        [
            Version(tenant, imported, 1, change="create", source_ref="c0ffee"),
            Version(tenant, written, 1, body="# Another\n\nText.\n", change="create"),
        ]
    )
    world.run_until_done(world.index)
    outbox.carry()
    world.run_until_done(world.embed)
    assert [world.rows(FINDABLE, source, 1) for source in (imported, written)] == [[(1,)], [(1,)]]
    assert world.rows("select count(*) from ops.dlq") == [(0,)]
