"""The endpoint's embedder against a server that speaks the protocol, well and badly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

from connectors.embedders.openai import PLAIN_WORD, REQUEST_CHARS_MAX, OpenAIEmbedder, batches
from connectors.secrets import REREAD_S_MIN, RETRY_S
from connectors.secrets.blocking import BlockingCredential
from runtime import secret_references
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable, Halted, OperatingError, Unprocessable
from runtime.secret_references import SecretReference
from runtime.settings import EmbedderSettings, SecretSettings
from tests.connectors.embedders.stand_in import DIMENSION, Reply, StandIn, answer, hashed_words, refusal


@pytest.fixture
def server() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture
def embedder(server: StandIn) -> Iterator[OpenAIEmbedder]:
    built = OpenAIEmbedder(settings(server))
    yield built
    built.close()


def settings(server: StandIn, **changes: Any) -> EmbedderSettings:
    fields: dict[str, Any] = {
        "kind": "openai",
        "model": "stand-in",
        "dimension": DIMENSION,
        "base_url": server.url,
        "api_key": SecretStr("secret"),
        "batch_max": 4,
        "timeout_s": 2.0,
    }
    return EmbedderSettings(**{**fields, **changes})


def test_what_is_asked(server: StandIn, embedder: OpenAIEmbedder) -> None:
    embedder.embed(["one", "two"])
    assert server.requests == [
        {"path": "/v1/embeddings", "input": ["one", "two"], "model": "stand-in", "encoding_format": "float"}
    ]
    assert server.keys == ["Bearer secret"]


def test_the_dimension_is_asked_for_when_the_settings_say_so(server: StandIn) -> None:
    embedder = OpenAIEmbedder(settings(server, send_dimension=True))
    embedder.embed(["one"])
    embedder.close()
    assert server.requests[0]["dimensions"] == DIMENSION


def test_the_space_names_the_endpoint(server: StandIn, embedder: OpenAIEmbedder) -> None:
    assert embedder.space.provider == f"openai:{server.url.split('/')[2]}"


def test_many_texts_are_several_requests_in_order(server: StandIn, embedder: OpenAIEmbedder) -> None:
    texts = [f"text {number}" for number in range(10)]
    vectors = embedder.embed(texts)
    assert [len(request["input"]) for request in server.requests] == [4, 4, 2]
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(vector, hashed_words(text), atol=1e-6)


def test_rows_out_of_order_are_put_in_order(server: StandIn, embedder: OpenAIEmbedder) -> None:
    server.misbehave = lambda request: (200, {}, answer(request["input"], order=[2, 0, 1]))
    vectors = embedder.embed(["a", "b", "c"])
    for text, vector in zip("abc", vectors, strict=True):
        np.testing.assert_allclose(vector, hashed_words(text), atol=1e-6)


@pytest.mark.parametrize(
    ("order", "why"), [([0], "1 vectors for 2"), ([0, 0], "2 vectors for 2"), ([], "0 vectors for 2")]
)
def test_a_partial_answer_is_no_answer(server: StandIn, embedder: OpenAIEmbedder, order: list[int], why: str) -> None:
    server.misbehave = lambda request: (200, {}, answer(request["input"], order=order))
    with pytest.raises(DependencyUnavailable, match=why):
        embedder.embed(["a", "b"])


def test_another_dimension_halts(server: StandIn, embedder: OpenAIEmbedder) -> None:
    server.misbehave = lambda request: (200, {}, answer(request["input"], dimension=8))
    with pytest.raises(Halted, match="8 dimensions, the settings say 16"):
        embedder.embed(["a"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>proxy</html>",
        b'{"data": [{"index": 0}]}',
        b'{"error": "none"}',
        json.dumps({"data": [{"index": 0, "embedding": [0.0] * DIMENSION}]}).encode(),
        json.dumps({"data": [{"index": 0, "embedding": [None] * DIMENSION}]}).encode(),
        b'{"data": [{"index": 0, "embedding": [' + b",".join([b"1e400"] * DIMENSION) + b"]}]}",
    ],
)
def test_nonsense_is_an_outage(server: StandIn, embedder: OpenAIEmbedder, body: bytes) -> None:
    server.misbehave = lambda request: (200, {}, body)
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["a"])


@pytest.mark.parametrize("status", [401, 403, 404, 408, 409, 429, 500, 502, 503, 529])
def test_an_endpoint_that_cannot_is_an_outage_and_is_asked_once(
    server: StandIn, embedder: OpenAIEmbedder, status: int
) -> None:
    server.misbehave = lambda request: refusal(status, "not now")
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["a", "b", "c"])
    assert len(server.requests) == 1


def test_the_wait_that_is_asked_for_is_passed_on(server: StandIn, embedder: OpenAIEmbedder) -> None:
    server.misbehave = lambda request: refusal(429, "slow down", {"retry-after": "7"})
    with pytest.raises(DependencyUnavailable) as caught:
        embedder.embed(["a"])
    assert caught.value.coordinates == {"retry_after_s": 7.0}
    assert "7 s" in caught.value.hint


def test_a_rate_limit_that_speaks_of_tokens_is_still_a_rate_limit(server: StandIn, embedder: OpenAIEmbedder) -> None:
    server.misbehave = lambda request: refusal(429, "maximum of 1000000 tokens a minute")
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["a" * 1000])
    assert len(server.requests) == 1


def test_a_text_too_long_is_cut_and_its_mates_are_whole(server: StandIn, embedder: OpenAIEmbedder) -> None:
    def limited(request: dict[str, Any]) -> Reply | None:
        if any(len(text) > 100 for text in request["input"]):
            return refusal(400, "This model's maximum context length is 100 tokens")
        return None

    server.misbehave = limited
    texts = ["short", "long " * 60, "also short"]
    first = embedder.embed(texts)
    assert embedder.embed(texts)[1].tobytes() == first[1].tobytes()
    np.testing.assert_allclose(first[0], hashed_words("short"), atol=1e-6)
    np.testing.assert_allclose(first[1], hashed_words(("long " * 60)[:75]), atol=1e-6)
    np.testing.assert_allclose(first[2], hashed_words("also short"), atol=1e-6)


def test_one_refused_text_is_found_in_its_batch(server: StandIn, embedder: OpenAIEmbedder) -> None:
    def picky(request: dict[str, Any]) -> Reply | None:
        return refusal(400, "content not allowed") if "bad" in request["input"] else None

    server.misbehave = picky
    with pytest.raises(Unprocessable, match="content not allowed") as caught:
        embedder.embed(["a", "b", "c", "d", "e", "bad", "g"])
    assert caught.value.coordinates == {"index": 5}


def test_an_endpoint_that_refuses_everything_blames_no_text(server: StandIn, embedder: OpenAIEmbedder) -> None:
    server.misbehave = lambda request: refusal(400, "unknown model")
    with pytest.raises(DependencyUnavailable, match="refuses every text"):
        embedder.embed(["a", "b"])
    assert server.requests[-1]["input"] == [PLAIN_WORD]


def test_an_endpoint_that_calls_everything_too_long_is_asked_a_bounded_number_of_times(
    server: StandIn, embedder: OpenAIEmbedder
) -> None:
    server.misbehave = lambda request: refusal(400, "context length exceeded")
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["word " * 1000])
    assert len(server.requests) < 12


def test_nobody_listening_is_an_outage() -> None:
    server = StandIn()
    nowhere = settings(server)
    server.close()
    embedder = OpenAIEmbedder(nowhere)
    with pytest.raises(DependencyUnavailable, match="does not answer"):
        embedder.embed(["a"])
    embedder.close()


def test_silence_and_trickle_both_end(server: StandIn) -> None:
    embedder = OpenAIEmbedder(settings(server, timeout_s=0.3))
    server.trickle_s = 0.1
    with pytest.raises(DependencyUnavailable, match=r"longer than 0\.3 s"):
        embedder.embed(["a"])
    server.trickle_s = 1.0
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["a"])
    embedder.close()


def test_a_broken_answer_is_an_outage(server: StandIn, embedder: OpenAIEmbedder) -> None:
    server.misbehave = lambda request: (200, {"content-length": "5000"}, b'{"data": [')
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["a"])


def test_batches_are_bounded_by_count_and_by_size() -> None:
    assert list(batches([], 2)) == []
    assert list(batches([1] * 5, 2)) == [(0, 2), (2, 4), (4, 5)]
    assert list(batches([REQUEST_CHARS_MAX, 1, REQUEST_CHARS_MAX * 2, 1], 64)) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert list(batches([REQUEST_CHARS_MAX - 1, 1, 1], 64)) == [(0, 2), (2, 3)]


# --- keys that change -------------------------------------------------------------------------------------------------


def take_only(good: str) -> Any:
    """A server that takes one key, and quotes what it was given in its refusal."""
    refused = json.dumps({"error": {"message": "no", "type": "x"}}).encode()

    def misbehave(server: StandIn) -> Any:
        return lambda request: None if server.keys[-1] == f"Bearer {good}" else (401, {}, refused)

    return misbehave


def test_a_key_that_was_changed_costs_nobody_a_vector(server: StandIn, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("key-one\n")
    clock = ManualClock()
    embedder = OpenAIEmbedder(settings(server, api_key=f"file:{file}"), clock, SecretSettings())
    embedder.embed(["one"])
    file.write_text("key-two\n")
    embedder.embed(["one"])
    assert server.keys == ["Bearer key-one"] * 2, "it is not read for each request"
    server.misbehave = take_only("key-two")(server)
    embedder.embed(["one"])
    assert server.keys[2:] == ["Bearer key-one", "Bearer key-two"]
    file.write_text("key-three")
    clock.sleep(SecretSettings().refresh_s)
    server.misbehave = take_only("key-three")(server)
    embedder.embed(["one"])
    assert server.keys[4:] == ["Bearer key-three"], "by then it was read without being asked to"
    embedder.close()


def test_a_key_that_is_not_taken_is_asked_with_once_and_read_again_at_most_so_often(
    server: StandIn, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("wrong")
    server.misbehave = take_only("good")(server)
    clock = ManualClock()
    embedder = OpenAIEmbedder(settings(server, api_key=f"file:{file}"), clock)
    for _ in range(2):
        with pytest.raises(DependencyUnavailable, match="does not accept the key") as caught:
            embedder.embed(["one"])
        assert "wrong" not in str(caught.value)
        file.write_text("good")  # within the least time between two readings
    assert len(server.keys) == 2
    clock.sleep(REREAD_S_MIN)
    embedder.embed(["one"])
    embedder.close()


def test_while_the_file_is_away_the_last_key_is_used_and_without_one_it_is_an_outage(
    server: StandIn, tmp_path: Path
) -> None:
    file, clock = tmp_path / "key", ManualClock()
    embedder = OpenAIEmbedder(settings(server, api_key=f"file:{file}"), clock)
    with pytest.raises(OperatingError, match="cannot be read"):
        embedder.embed(["one"])
    file.write_text("key-one")
    clock.sleep(RETRY_S)
    embedder.embed(["one"])
    file.unlink()
    clock.sleep(SecretSettings().refresh_s)
    embedder.embed(["one"])
    assert server.keys == ["Bearer key-one"] * 2
    embedder.close()


def test_many_threads_read_a_key_once(server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("key-one")
    reads: list[SecretReference] = []

    def read(reference: SecretReference) -> str:
        reads.append(reference)
        return secret_references.read_local(reference)

    monkeypatch.setattr("connectors.secrets.read_local", read)
    credential = BlockingCredential(SecretStr(f"file:{file}"), clock=ManualClock())
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: credential.get(), range(50))) == {"key-one"}
    assert len(reads) == 1


# --- where it goes ----------------------------------------------------------------------------------------------------


def test_a_redirect_gets_neither_the_key_nor_the_texts(server: StandIn) -> None:
    elsewhere = StandIn()
    server.misbehave = lambda request: (307, {"location": f"{elsewhere.url}/embeddings"}, b"")
    embedder = OpenAIEmbedder(settings(server))
    with pytest.raises(DependencyUnavailable):
        embedder.embed(["one"])
    assert elsewhere.requests == []
    embedder.close()
    elsewhere.close()


@pytest.mark.parametrize(
    ("base_url", "allowed", "fits"),
    [
        ("https://api.openai.com/v1", (), True),
        ("https://api.openai.com/v1", ("api.openai.com",), True),
        ("https://x.openai.azure.com/v1", ("*.openai.azure.com",), True),
        ("https://api.openai.com.evil.example/v1", ("api.openai.com", "*.openai.com"), False),
        ("https://openai.com/v1", ("*.openai.com",), False),
    ],
)
def test_an_endpoint_elsewhere_is_refused_at_the_start(base_url: str, allowed: tuple[str, ...], fits: bool) -> None:
    wanted = {"kind": "openai", "base_url": base_url, "allowed_hosts": allowed}
    if fits:
        EmbedderSettings.model_validate(wanted)
    else:
        with pytest.raises(ValidationError, match=r"embedder\.allowed_hosts"):
            EmbedderSettings.model_validate(wanted)
        EmbedderSettings.model_validate(wanted | {"kind": "minilm"})
