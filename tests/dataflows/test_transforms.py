"""What flows compute, without I/O."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import Record
from connectors.postgres.vectors import read, send
from dataflows import catalog, index
from dataflows.chunker import text_hash
from dataflows.embed import Embed
from dataflows.flow import Event
from dataflows.index import Index
from runtime.errors import Undecodable, Unprocessable
from runtime.settings import Settings
from schemas.sources import SourceKey
from tests.connectors.embedders.stand_in import FakeEmbedder
from tests.dataflows.world import DOCUMENTS_TOPIC, VERSIONS_TOPIC, DocumentVersion, Version, envelope

TENANT, ADR = uuid.uuid4(), uuid.uuid4()


def event(
    value: Any, offset: int = 0, headers: tuple[tuple[str, bytes], ...] = (), contract: str = VERSIONS_TOPIC
) -> Event:
    return Event(Record("topic", 0, offset, 0, b"k", b"v", headers), value, contract)


def test_a_version_becomes_its_passages() -> None:
    effects = Index().transform([event(envelope(Version(TENANT, ADR, 3, title="T", body="# T\n\nBody.")))])
    (version,) = effects.versions
    assert (version.source, version.version, version.deleted) == (SourceKey(TENANT, "adr", ADR), 3, False)
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
    assert effects.erased == ((SourceKey(TENANT, "adr", ADR), 4),)


def test_a_truncated_table_is_not_guessed_at() -> None:
    with pytest.raises(Unprocessable):
        Index().transform([event({"op": "t", "before": None, "after": None})])


@given(st.lists(st.integers(1, 400_000), max_size=200), st.sampled_from([index.ITEMS_MAX, index.BULK_ITEMS_MAX]))
def test_requests_stay_within_the_contract(sizes: list[int], items_max: int) -> None:
    texts = {number.to_bytes(4, "big"): "x" * size for number, size in enumerate(sizes)}
    bundles = list(index._bundles(texts, items_max))
    assert [item for bundle in bundles for item in bundle] == list(texts.items())
    for bundle in bundles:
        assert 1 <= len(bundle) <= items_max
        assert len(bundle) == 1 or sum(len(text) for _hash, text in bundle) <= index.ITEMS_CHARS_MAX


def requested(**changes: Any) -> dict[str, Any]:
    value = {
        "tenant_id": TENANT,
        "space": FakeEmbedder().space.name,
        "kind": "adr",
        "source_id": ADR,
        "version": 1,
        "items": [{"text_hash": text_hash("a"), "text": "a"}],
    }
    return {**value, **changes}


def test_a_request_is_taken() -> None:
    (request,) = Embed(FakeEmbedder()).transform([event(requested())]).requests
    assert request.source == SourceKey(TENANT, "adr", ADR)
    assert request.texts == {text_hash("a"): "a"}


def test_a_request_keeps_its_space() -> None:
    (request,) = Embed(FakeEmbedder()).transform([event(requested(space="another"))]).requests
    assert request.space == "another"


def test_a_request_of_any_kind_is_taken() -> None:
    (request,) = Embed(FakeEmbedder()).transform([event(requested(kind="page"))]).requests
    assert request.source == SourceKey(TENANT, "page", ADR)


def test_a_text_under_a_wrong_hash_is_refused() -> None:
    items = [{"text_hash": text_hash("a"), "text": "b"}]
    with pytest.raises(Undecodable):
        Embed(FakeEmbedder()).transform([event(requested(items=items))])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_vector_keeps_every_bit(values: list[float]) -> None:
    vector = np.array(values, dtype=np.float32)
    back = read(send(vector).to_binary())
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


def test_a_version_is_of_the_kind_that_its_contract_carries_and_keeps_its_number() -> None:
    document = uuid.uuid4()
    row = DocumentVersion(TENANT, document, 1_790_000_000_000).row
    changes = [event(envelope(Version(TENANT, ADR, 3))), event({"op": "c", "after": row}, contract=DOCUMENTS_TOPIC)]
    versions = Index().transform(changes).versions
    assert [(version.source, version.version, version.status) for version in versions] == [
        (SourceKey(TENANT, "adr", ADR), 3, "accepted"),
        (SourceKey(TENANT, "document", document), 1_790_000_000_000, ""),
    ]


def test_a_contract_without_a_kind_is_not_guessed_at() -> None:
    with pytest.raises(Unprocessable, match="no versions of a kind"):
        Index().transform([event(envelope(Version(TENANT, ADR, 3)), contract="job.progress")])
