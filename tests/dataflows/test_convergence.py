"""Whatever the order, repetition and interleaving, the tables end where one pass in order ends; and nothing is embedded
twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection, connect
from dataflows.embed import Embed
from dataflows.flow import Event
from dataflows.index import Index, IndexEffects, _requests, find_missing_texts
from runtime.settings import Settings
from schemas.sources import SourceKey
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.dataflows.world import VERSIONS_TOPIC, Version, envelope

pytestmark = pytest.mark.stack

TENANTS = [uuid.UUID(int=number) for number in (1, 2)]
ADRS = [uuid.UUID(int=number) for number in (11, 12)]
BODIES = ["", "# A\n\nOne.", "# A\n\nTwo.", "## B\n\n" + "Long enough. " * 40 + "\n\n## C\n\n" + "Also long. " * 40]


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    with connect(fresh_database.postgres) as opened:
        yield opened
        opened.rollback()


class Listening(Index):
    """Keeps the requests that it emits, in order, as the other flow would read them."""

    def __init__(self, space: str) -> None:
        self._space = space
        self.requests: list[Event] = []

    def apply(self, connection: Connection, effects: IndexEffects) -> None:
        before = self._state(connection)
        super().apply(connection, effects)
        newest = {one.source: one for one in effects.versions if one.version > before.get(one.source, 0)}
        missing = find_missing_texts(connection, self._space, list(newest.values()))
        for source, lacking in missing.items():
            for _ in _requests(self._space, newest[source], lacking):
                texts = {part.text_hash: part.text for part in newest[source].chunks if part.text_hash in lacking}
                items = [{"text_hash": key, "text": text} for key, text in texts.items()]
                value = {**source._asdict(), "version": newest[source].version, "items": items}
                self.requests.append(event({**value, "space": self._space}))

    @staticmethod
    def _state(connection: Connection) -> dict[SourceKey, int]:
        rows = connection.execute("select tenant_id, kind, source_id, words_version from mv.search_state")
        return {SourceKey(*key): version for *key, version in rows}


def event(value: Any) -> Event:
    return Event(Record("t", 0, 0, 0, None, b""), value, VERSIONS_TOPIC)


def step(connection: Connection, flow: Any, events: list[Event]) -> None:
    effects = flow.transform(events)
    flow.apply(connection, flow.prepare(connection, effects))


def tables(connection: Connection) -> list[Any]:
    return [
        connection.execute(query).fetchall()
        for query in (
            "select tenant_id, source_id, words_version, meaning_version, deleted, title, chunks from mv.search_state "
            "order by 1, 2",
            "select tenant_id, source_id, version, ordinal, body, text_hash, tsv::text, length from mv.chunks "
            "order by 1, 2, 3, 4",
        )
    ]


def start(connection: Connection) -> tuple[Listening, Embed, FakeEmbedder]:
    connection.rollback()
    embedder = FakeEmbedder()
    embed = Embed(embedder)
    embed.start(connection)
    return Listening(embedder.space.name), embed, embedder


@st.composite
def histories(draw: st.DrawFn) -> list[Version]:
    """Every ADR's versions in order."""
    versions = []
    for tenant in TENANTS:
        for adr in ADRS:
            for number in range(draw(st.integers(0, 4))):
                change = "delete" if number and draw(st.integers(0, 5)) == 0 else "update"
                body, title = draw(st.sampled_from(BODIES)), draw(st.sampled_from(["A", "B"]))
                versions.append(Version(tenant, adr, number + 1, title=title, body=body, change=change))
    return versions


@settings(max_examples=40)
@given(history=histories(), data=st.data())
def test_any_order_ends_where_one_pass_in_order_ends(
    connection: Connection, history: list[Version], data: st.DataObject
) -> None:
    index, embed, _ = start(connection)
    for version in history:
        step(connection, index, [event(envelope(version))])
        step(connection, embed, index.requests)
        index.requests.clear()
    expected = tables(connection)

    index, embed, embedder = start(connection)
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=4)) if history else []
    pending = [event(envelope(version)) for version in data.draw(st.permutations(history + repeated))]
    asked = 0
    coin = st.booleans()
    while pending or asked < len(index.requests):
        if pending and (asked == len(index.requests) or data.draw(coin)):
            size = data.draw(st.integers(1, 4))
            step(connection, index, pending[:size])
            del pending[:size]
        else:
            some = index.requests[asked : asked + 2]
            step(connection, embed, some)
            asked += len(some)
    assert tables(connection) == expected
    calls = [text for call in embedder.calls for text in call]
    assert len(calls) <= 2 * len(set(calls)), "once a tenant at most"
    embedded = connection.execute("select coalesce(sum(embedded), 0) from mv.embedding_stats").fetchone()
    stored = connection.execute("select count(*) from mv.embeddings").fetchone()
    assert embedded == stored


def test_the_old_version_stays_findable_by_meaning_until_the_new_one_is_complete(connection: Connection) -> None:
    index, embed, _ = start(connection)
    first = Version(TENANTS[0], ADRS[0], 1)
    step(connection, index, [event(envelope(first))])
    step(connection, embed, index.requests)
    step(connection, index, [event(envelope(replace(first, version=2, body="Quite another text.")))])

    def found() -> Any:
        state = connection.execute("select words_version, meaning_version from mv.search_state").fetchone()
        return state, [row[0] for row in connection.execute("select distinct version from mv.chunks order by 1")]

    assert found() == ((2, 1), [1, 2])
    step(connection, index, [event(envelope(replace(first, version=3, body="And another.")))])
    assert found() == ((3, 1), [1, 3])
    step(connection, embed, index.requests[1:])
    assert found() == ((3, 3), [3])


def test_an_edit_back_costs_nothing_and_is_complete_at_once(connection: Connection) -> None:
    index, embed, embedder = start(connection)
    first = Version(TENANTS[0], ADRS[0], 1)
    for version in (first, replace(first, version=2, body="Quite another text.")):
        step(connection, index, [event(envelope(version))])
        step(connection, embed, index.requests)
    calls, requests = len(embedder.calls), len(index.requests)
    step(connection, index, [event(envelope(replace(first, version=3)))])
    state = connection.execute("select meaning_version from mv.search_state").fetchone()
    assert (state, len(embedder.calls), len(index.requests)) == ((3,), calls, requests)
    stats = connection.execute("select edits, edit_chunks, edit_chunks_known, embedded from mv.embedding_stats")
    assert stats.fetchone() == (2, 2, 1, 2)


def test_an_overtaken_request_is_not_embedded(connection: Connection) -> None:
    index, embed, embedder = start(connection)
    first = Version(TENANTS[0], ADRS[0], 1)
    for version in (first, replace(first, version=2, body="Quite another text.")):
        step(connection, index, [event(envelope(version))])
    step(connection, embed, index.requests)
    assert [len(call) for call in embedder.calls] == [1]


def test_erased_rows_are_not_found_any_more(connection: Connection) -> None:
    index, embed, _ = start(connection)
    version = Version(TENANTS[0], ADRS[0], 1)
    step(connection, index, [event(envelope(version))])
    step(connection, embed, index.requests)
    before = {"tenant_id": str(version.tenant_id), "adr_id": str(version.adr_id), "version": 1}
    step(connection, index, [event({"op": "d", "before": before, "after": None})])
    assert connection.execute("select deleted, title from mv.search_state").fetchall() == [(True, "")]
    assert connection.execute("select count(*) from mv.chunks").fetchone() == (0,)
