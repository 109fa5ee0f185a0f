"""What only the in-process model promises: the released weights, exact vectors, bounded memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

from connectors.embedders import build
from connectors.embedders.minilm import WEIGHTS, MiniLM
from connectors.embedders.spaces import MODEL_SHA256
from runtime.errors import Halted, Misconfigured
from runtime.settings import EmbedderSettings


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM(threads=2)


def test_the_space_carries_the_sum_of_the_weights(minilm: MiniLM) -> None:
    assert minilm.space.revision == MODEL_SHA256
    assert minilm.space.name == f"minilm/all-MiniLM-L6-v2-int8@{MODEL_SHA256[:12]}/384"


def test_vectors_are_those_of_the_published_model(minilm: MiniLM) -> None:
    """The model card's own example: the first two sentences are alike, the third is not."""
    alike, also, other = minilm.embed(
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    )
    assert float(np.dot(alike, also)) == pytest.approx(0.67, abs=0.05)
    assert float(np.dot(alike, other)) == pytest.approx(0.10, abs=0.05)


def test_words_after_the_window_do_not_count(minilm: MiniLM) -> None:
    head = "a decision about the broker " * 100
    first, second = minilm.embed([head + "one ending", head + "quite another ending"])
    assert first.tobytes() == second.tobytes()


def test_words_after_the_tokenizer_s_own_limit_do_count(minilm: MiniLM) -> None:
    head = "decision " * 150  # 128 is the limit in the published file
    first, second = minilm.embed([head + "broker", head + "colour"])
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_weights_that_were_changed_are_refused(tmp_path: Path, name: str) -> None:
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    with (tmp_path / "weights" / name).open("ab") as handle:
        handle.write(b" ")
    with pytest.raises(Halted, match=name):
        MiniLM(weights=tmp_path / "weights")


def test_missing_weights_are_told_apart_from_changed_ones(tmp_path: Path) -> None:
    with pytest.raises(Halted, match=r"model\.onnx is missing"):
        MiniLM(weights=tmp_path)


def test_settings_of_another_model_are_refused() -> None:
    with pytest.raises(Misconfigured, match="text-embedding-3-small with 1536"):
        build(EmbedderSettings(model="text-embedding-3-small", dimension=1536))


def test_many_texts_do_not_keep_memory(minilm: MiniLM) -> None:
    texts = ["a decision about the broker " * 60] * 40
    minilm.embed(texts)
    before = psutil.Process().memory_info().rss
    minilm.embed(texts)
    assert psutil.Process().memory_info().rss - before < 60 * 1024 * 1024
