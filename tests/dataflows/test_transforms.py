"""What flows compute, without I/O."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import Record
from dataflows import catalog, index
from dataflows.chunker import text_hash
from dataflows.embed import Embed, vector_literal
from dataflows.flow import Event
from dataflows.index import Adr, Index
from runtime.errors import Undecodable, Unprocessable
from runtime.settings import Settings
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.dataflows.world import Version, envelope

TENANT, ADR = uuid.uuid4(), uuid.uuid4()


def event(value: Any, offset: int = 0, headers: tuple[tuple[str, bytes], ...] = ()) -> Event:
    return Event(Record("topic", 0, offset, 0, b"k", b"v", headers), value, "topic")


def test_a_version_becomes_its_passages() -> None:
    effects = Index().transform([event(envelope(Version(TENANT, ADR, 3, title="T", body="# T\n\nBody.")))])
    (version,) = effects.versions
    assert (version.adr, version.version, version.deleted) == (Adr(TENANT, ADR), 3, False)
    assert [part.body for part in version.chunks] == ["# T\n\nBody."]


def test_versions_are_sorted_and_a_repeated_one_counts_once() -> None:
    versions = [Version(TENANT, ADR, number) for number in (2, 1, 2)]
    effects = Index().transform([event(envelope(version)) for version in versions])
    assert [version.version for version in effects.versions] == [1, 2]


def test_a_delete_has_no_passages() -> None:
    (version,) = Index().transform([event(envelope(Version(TENANT, ADR, 2, change="delete")))]).versions
    assert version.deleted
    assert version.chunks == ()


def test_the_commit_time_comes_from_capture() -> None:
    headers = (("adriatic.committed_at", b"1767225600000001"), ("traceparent", b"00-a-b-01"))
    (version,) = Index().transform([event(envelope(Version(TENANT, ADR, 1)), headers=headers)]).versions
    assert version.recorded_at.isoformat() == "2026-01-01T00:00:00.000001+00:00"
    assert version.traceparent == "00-a-b-01"


def test_an_erased_row_is_told_apart_from_a_deleted_adr() -> None:
    before = {"tenant_id": str(TENANT), "adr_id": str(ADR), "version": 4}
    effects = Index().transform([event({"op": "d", "before": before, "after": None})])
    assert effects.erased == ((Adr(TENANT, ADR), 4),)


def test_a_truncated_table_is_not_guessed_at() -> None:
    with pytest.raises(Unprocessable):
        Index().transform([event({"op": "t", "before": None, "after": None})])


@given(st.lists(st.integers(1, 400_000), max_size=200))
def test_requests_stay_within_the_contract(sizes: list[int]) -> None:
    texts = {number.to_bytes(4, "big"): "x" * size for number, size in enumerate(sizes)}
    bundles = list(index._bundles(texts))
    assert [item for bundle in bundles for item in bundle] == list(texts.items())
    for bundle in bundles:
        assert 1 <= len(bundle) <= index.ITEMS_MAX
        assert len(bundle) == 1 or sum(len(text) for _hash, text in bundle) <= index.ITEMS_CHARS_MAX


def requested(**changes: Any) -> dict[str, Any]:
    value = {
        "tenant_id": TENANT,
        "space": FakeEmbedder().space.name,
        "source_kind": "adr",
        "source_id": ADR,
        "version": 1,
        "items": [{"text_hash": text_hash("a"), "text": "a"}],
    }
    return {**value, **changes}


def test_a_request_is_taken() -> None:
    (request,) = Embed(FakeEmbedder()).transform([event(requested())]).requests
    assert request.adr == Adr(TENANT, ADR)
    assert request.texts == {text_hash("a"): "a"}


@pytest.mark.parametrize("changes", [{"space": "another"}, {"source_kind": "page"}])
def test_a_request_for_others_is_left_to_them(changes: dict[str, Any]) -> None:
    assert Embed(FakeEmbedder()).transform([event(requested(**changes))]).requests == ()


def test_a_text_under_a_wrong_hash_is_refused() -> None:
    items = [{"text_hash": text_hash("a"), "text": "b"}]
    with pytest.raises(Undecodable):
        Embed(FakeEmbedder()).transform([event(requested(items=items))])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_vector_keeps_every_bit_as_text(values: list[float]) -> None:
    vector = np.array(values, dtype=np.float32)
    back = np.array(vector_literal(vector).strip("[]").split(","), dtype=np.float32)
    assert vector.tobytes() == back.tobytes()


def test_every_flow_is_wired_to_topics_that_exist() -> None:
    from topics import catalog as topics

    known = topics.load()
    # Only `embed` would need a model's weights.
    for name, flow in catalog.flows().items():
        for topic in flow.topics:
            assert name in catalog.readers_of(topic)
            assert known[topic].dlq is not None, "a consumed topic has a dead-letter topic"
        made_from = {topic for view in flow.views for topic in view.made_from}
        assert made_from <= set(flow.topics)
        if name != "embed":  # only that one would need a model's weights
            assert type(catalog.build(name, Settings())) is flow


def test_versions_of_a_document_are_numbered_from_what_is_known_and_those_of_an_adr_are_not() -> None:
    document = Adr(TENANT, uuid.uuid4())
    (adr,) = Index().transform([event(envelope(Version(TENANT, ADR, 3)))]).versions
    news = [
        replace(adr, adr=document, version=0, kind="document", source_version=order) for order in (500, 700, 90_000)
    ]
    numbers = [version.version for version in index.numbered([adr, *news], {document: index.Known(4, 400)})]
    assert numbers == [3, 5, 6, 7]
    assert [version.version for version in index.numbered(news, {})] == [1, 2, 3]
