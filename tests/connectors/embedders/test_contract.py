"""One suite for everything that calls itself an embedder: the in-process model, an endpoint, the fake of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pydantic import SecretStr

from connectors.embedders import Embedder, build
from runtime.errors import Unprocessable
from runtime.settings import EmbedderSettings
from tests.connectors.embedders.stand_in import DIMENSION, FakeEmbedder, StandIn

TEXTS = [
    "Write changes to the log once > Decision\nEvery event enters Kafka through the write-ahead log.",
    "x",
    "Use Postgres row security",
    "Ünïcödé, 漢字 and 🚀 in a title",
    "Nobody writes twice " * 200,
]


@pytest.fixture(params=["minilm", "openai", "fake"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    stand_in = StandIn()
    built: Embedder
    if request.param == "minilm":
        built = build(EmbedderSettings(threads=2))
    elif request.param == "openai":
        built = build(
            EmbedderSettings(
                kind="openai",
                model="stand-in",
                dimension=DIMENSION,
                base_url=stand_in.url,
                api_key=SecretStr("secret"),
                batch_max=3,
            )
        )
    else:
        built = FakeEmbedder()
    yield built
    built.close()
    stand_in.close()


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.dot(left, right))


def test_one_vector_a_text_of_the_space_s_shape(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert len(vectors) == len(TEXTS)
    for vector in vectors:
        assert vector.dtype == np.float32
        assert vector.shape == (embedder.space.dimension,)
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-4)


def test_the_order_is_the_order_of_the_texts(embedder: Embedder) -> None:
    forwards, backwards = embedder.embed(TEXTS), embedder.embed(TEXTS[::-1])
    for left, right in zip(forwards, backwards[::-1], strict=True):
        assert cosine(left, right) == pytest.approx(1.0, abs=1e-5)


def test_a_vector_does_not_depend_on_its_batch_mates(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        (alone,) = embedder.embed([text])
        if embedder.reproducible:
            assert alone.tobytes() == vector.tobytes()
        else:
            assert cosine(alone, vector) == pytest.approx(1.0, abs=1e-5)


def test_nothing_gives_nothing(embedder: Embedder) -> None:
    assert embedder.embed([]) == []


@pytest.mark.parametrize("blank", ["", " \n\t "])
def test_a_blank_text_is_refused_and_named(embedder: Embedder, blank: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        embedder.embed(["fine", blank])
    assert caught.value.coordinates == {"index": 1}


def test_several_threads_get_what_one_gets(embedder: Embedder) -> None:
    alone = [embedder.embed([text])[0] for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(embedder.embed, [TEXTS] * 4):
            for left, right in zip(alone, vectors, strict=True):
                assert cosine(left, right) == pytest.approx(1.0, abs=1e-5)


def test_the_space_names_all_that_makes_vectors_comparable(embedder: Embedder) -> None:
    space = embedder.space
    assert space.provider in space.name
    assert space.model in space.name
    assert space.revision[:12] in space.name
    assert space.name.endswith(f"/{space.dimension}")


def test_texts_that_share_meaning_are_nearer(embedder: Embedder) -> None:
    query, near, far = embedder.embed(["message broker choice", "choice of a message broker", "colour of the buttons"])
    assert cosine(query, near) > cosine(query, far)
