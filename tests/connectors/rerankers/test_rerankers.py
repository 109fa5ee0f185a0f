"""Reranking: late interaction with the model that comes along, and each form of endpoint against a local stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import rerankers
from connectors.embedders.minilm import WEIGHTS
from connectors.embedders.tokens import LAST_LAYER, TokenEmbedder, name_output
from connectors.rerankers.late import LateInteraction, max_sim
from connectors.rerankers.remote import RESPONSE_BYTES_MAX, RemoteReranker
from runtime.errors import DependencyUnavailable
from runtime.settings import RerankerSettings
from tests.connectors.embedders.stand_in import StandIn

PASSAGES = ["Invoices are rendered with a browser.", "Events leave through the outbox."]
SCORES = [0.1, 0.9]


@pytest.fixture
def endpoint() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


def settings(endpoint: StandIn, kind: str, **more: Any) -> RerankerSettings:
    base = endpoint.url.removesuffix("/v1")
    return RerankerSettings.model_validate({"kind": kind, "model": "m", "base_url": base, "api_key": "k", **more})


def rows(kind: str, scores: list[float]) -> bytes:
    """The answer, the best first, as endpoints send it."""
    name = "score" if kind == "tei" else "relevance_score"
    found = sorted(({"index": at, name: score} for at, score in enumerate(scores)), key=lambda row: -row[name])
    return json.dumps(found if kind == "tei" else {"id": "x", "results": found}).encode()


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenEmbedder]:
    embedder = TokenEmbedder(threads=1)
    yield embedder
    embedder.close()


def test_token_vectors_are_one_each_word_piece_and_of_length_one(tokens: TokenEmbedder) -> None:
    (vectors,) = tokens.embed(["nobody writes twice"])
    assert vectors.shape == (3, 384)
    assert abs((vectors**2).sum(axis=1) - 1).max() < 1e-5
    assert tokens.embed([""])[0].shape == (0, 384)


def test_naming_an_output_leaves_the_file_as_it_is() -> None:
    model = (WEIGHTS / "model.onnx").read_bytes()
    named = name_output(model, LAST_LAYER)
    assert named.startswith(model)
    assert len(named) < len(model) + 200


def test_late_interaction_prefers_what_speaks_of_it(tokens: TokenEmbedder) -> None:
    reranker = LateInteraction(tokens)
    ((far, near),) = reranker.score(["How do events get out?"], PASSAGES)
    assert near > far
    assert max_sim(tokens.embed(["x"])[0], tokens.embed([""])[0]) == 0.0


@pytest.mark.parametrize(
    ("kind", "path", "fields"),
    [
        ("cohere", "/v2/rerank", {"model": "m", "query": "q", "documents": PASSAGES, "top_n": 2}),
        (
            "jina",
            "/v1/rerank",
            {"model": "m", "query": "q", "documents": PASSAGES, "top_n": 2, "return_documents": False},
        ),
        ("tei", "/rerank", {"query": "q", "texts": PASSAGES, "truncate": True}),
    ],
)
def test_each_form_is_spoken(endpoint: StandIn, kind: str, path: str, fields: dict[str, Any]) -> None:
    endpoint.misbehave = lambda _: (200, {}, rows(kind, SCORES))
    reranker = rerankers.build(settings(endpoint, kind))
    assert reranker.score(["q"], PASSAGES) == [SCORES], "in the order of the passages"
    assert reranker.score(["q"], []) == [[]]
    reranker.close()
    assert endpoint.requests == [{"path": path, **fields}]
    assert endpoint.keys == ["Bearer k"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"[]", "sent 0 scores for 2 passages"),
        (200, rows("tei", [0.1, 0.2, 0.3]), "sent 3 scores for 2 passages"),
        (200, b'[{"index": 0}, {"index": 1}]', "a score that is no number"),
        (200, b"<html>", "is not understood"),
        (200, b"[" + b" " * RESPONSE_BYTES_MAX + b"]", f"sent more than {RESPONSE_BYTES_MAX} bytes"),
        (401, b"", "does not accept the key"),
        (500, b"broken, and your key is sk-heron-0123456789", "HTTP 500, broken, and your key is"),
        (302, b"", "HTTP 302"),
    ],
)
def test_what_is_no_answer_is_an_outage_and_says_which(endpoint: StandIn, status: int, body: bytes, said: str) -> None:
    endpoint.misbehave = lambda _: (status, {"location": "http://127.0.0.1:9/"} if status == 302 else {}, body)
    reranker = RemoteReranker(settings(endpoint, "tei", api_key="sk-heron-0123456789"))
    with pytest.raises(DependencyUnavailable) as refused:
        reranker.score(["q"], PASSAGES)
    assert said in refused.value.detail
    assert "sk-heron-0123456789" not in refused.value.detail
    reranker.close()


def test_an_endpoint_that_trickles_or_is_away_is_an_outage(endpoint: StandIn) -> None:
    endpoint.misbehave = lambda _: (200, {}, rows("tei", [0.5] * 100))
    endpoint.trickle_s = 0.3
    slow = RemoteReranker(settings(endpoint, "tei", timeout_s=0.5))
    with pytest.raises(DependencyUnavailable, match=r"took longer than 0\.5 s"):
        slow.score(["q"], ["x"] * 100)
    away = RemoteReranker(RerankerSettings(kind="tei", base_url="http://127.0.0.1:1"))
    with pytest.raises(DependencyUnavailable, match="does not answer"):
        away.score(["q"], PASSAGES)


def test_an_endpoint_elsewhere_is_refused_at_the_start() -> None:
    with pytest.raises(ValidationError, match=r"example\.org is none of reranker\.allowed_hosts"):
        RerankerSettings(kind="jina", base_url="https://example.org", allowed_hosts=("api.jina.ai",))
