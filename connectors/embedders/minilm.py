"""The embedder that needs no key and no network: all-MiniLM-L6-v2, int8, on ONNX Runtime, in this process.

Owns the weights beside it (`weights/`, see the README there) and how they are run: one text per call of the graph,
calls in parallel. Quantisation is dynamic, so the vector of a text in a batch depends on its neighbours and on padding.
Measured on two cores over 400 passages of 204 word pieces: in batches of 8, 32–44 texts/s and no vector equal to the
text's own (cosine down to 0.968); equal lengths together, 38 texts/s and 11 % equal; one by one on two threads, 48
texts/s and all equal. Exactness is free here, and content-addressed vectors need it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from connectors.embedders import EmbeddingSpace, Vector, refuse_blank
from connectors.embedders.spaces import DIMENSION, IN_PROCESS, MODEL, MODEL_SHA256
from runtime.errors import Halted, Misconfigured
from runtime.settings import EmbedderSettings

WEIGHTS: Final = Path(__file__).parent / "weights" / "all-minilm-l6-v2-int8"
TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

WORD_PIECES_MAX: Final = 256
"""What the model was made for; the rest of a longer text does not count. A chunk of 1200 characters has about 250."""

THREADS_MAX: Final = 8
"""Each running call holds about 30 MB of activations; more threads than this would buy little for the memory."""


class MiniLM:
    """See `Embedder`. Bit for bit reproducible on one kind of processor. Holds about 60 MB, 30 more per busy thread."""

    reproducible = True

    def __init__(self, threads: int = 0, weights: Path = WEIGHTS) -> None:
        """Load and verify the weights, in about 0.1 s. `threads` 0 takes the number of cores.

        Raises `Halted` if a file is missing or is not the one that was released.
        """
        model, self._tokenizer = open_weights(weights)
        self.space = EmbeddingSpace.of(IN_PROCESS, MODEL, MODEL_SHA256, DIMENSION)
        self._session = onnxruntime.InferenceSession(
            str(model), sess_options=session_options(), providers=["CPUExecutionProvider"]
        )
        self._pool = ThreadPoolExecutor(
            min(threads or os.cpu_count() or 1, THREADS_MAX), thread_name_prefix="embedder-minilm"
        )

    @classmethod
    def from_settings(cls, settings: EmbedderSettings) -> MiniLM:
        if (settings.model, settings.dimension) != (MODEL, DIMENSION):
            raise Misconfigured(
                f"the in-process embedder is {MODEL} with {DIMENSION} dimensions, the settings ask for "
                f"{settings.model} with {settings.dimension}",
                hint="set embedder.kind to openai for another model, or leave embedder.model and .dimension alone",
            )
        return cls(settings.threads)

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        vectors, _ = self.embed_counting(texts)
        return vectors

    def embed_counting(self, texts: Sequence[str]) -> tuple[list[Vector], int | None]:
        """See `CountingEmbedder`. Word pieces beyond the bound are not read, and not counted."""
        refuse_blank(texts)
        # A query is one text: the hop to another thread would be a good part of its 2 ms.
        mapped = map if len(texts) == 1 else self._pool.map
        made = list(mapped(self._embed_one, texts))
        return [vector for vector, _ in made], sum(count for _, count in made)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _embed_one(self, text: str) -> tuple[Vector, int]:
        feeds = feed(self._tokenizer, text)
        vector: Vector = self._session.run(None, feeds)[0][0]
        return vector, feeds["input_ids"].size


def open_weights(weights: Path) -> tuple[Path, Tokenizer]:
    """The file of the model, and the tokenizer, both verified. Raises `Halted` as `verify_sha256` does."""
    model, file = weights / "model.onnx", weights / "tokenizer.json"
    verify_sha256(model, MODEL_SHA256)
    verify_sha256(file, TOKENIZER_SHA256)
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(WORD_PIECES_MAX)
    tokenizer.no_padding()
    return model, tokenizer


def feed(tokenizer: Tokenizer, text: str) -> dict[str, npt.NDArray[np.int64]]:
    """What the graph takes for one text."""
    ids = np.asarray([tokenizer.encode(text).ids], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def verify_sha256(file: Path, expected: str) -> None:
    """Other weights would fill the space with vectors that mean something else, and nobody would notice."""
    try:
        with file.open("rb") as handle:
            actual = hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        raise Halted(
            f"the embedder's {file.name} is missing", hint="install Adriatic again; the weights are part of it"
        ) from None
    if actual != expected:
        raise Halted(
            f"the embedder's {file.name} has sha256 {actual[:12]}…, released was {expected[:12]}…",
            hint="restore the file; other weights belong to another space",
        )


def session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # parallel over texts, not inside one: 48 against 43 texts/s on two cores
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps the largest run's memory for ever (+180 MB at batches of 8)
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors only: its log has no place in ours
    return options
