"""A vector for each word piece of a text, by the model that comes along: what late interaction compares.

Owns the second run of the same weights, in a session of its own: one that gives more than the vector of a text might
compute that vector by other steps, and stored vectors are compared bit for bit. The graph as it was released names the
vector of the whole text alone as its output; the last layer's is in it all the same, and is named here. Refuses to
rank, and to keep what it computed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from connectors.embedders.minilm import THREADS_MAX, WEIGHTS, feed, open_weights, session_options

TokenVectors = npt.NDArray[np.float32]
"""Shape (word pieces, dimension); each row has length 1."""

LAST_LAYER: Final = "/encoder/encoder/layer.5/output/LayerNorm/LayerNormalization_output_0"
"""The tensor of the last layer, as the released graph calls it."""
_GRAPH, _OUTPUT, _NAME, _TYPE, _TENSOR = 7, 12, 1, 2, 1
"""Field numbers of ONNX: a model's graph, its outputs, the name and type of one."""
_FLOATS: Final = b"\x08\x01"


class TokenEmbedder:
    """Safe to call from several threads. Holds about 60 MB, 30 more per busy thread."""

    def __init__(self, threads: int = 0, weights: Path = WEIGHTS) -> None:
        """Load and verify the weights, in about 0.1 s. Raises `Halted` as `MiniLM` does."""
        model, self._tokenizer = open_weights(weights)
        self._session = onnxruntime.InferenceSession(
            name_output(model.read_bytes(), LAST_LAYER),
            sess_options=session_options(),
            providers=["CPUExecutionProvider"],
        )
        self._pool = ThreadPoolExecutor(
            min(threads or os.cpu_count() or 1, THREADS_MAX), thread_name_prefix="token-embedder"
        )

    def embed(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of each text, without the marks at its ends, in the order of the texts."""
        return list(self._pool.map(self._embed_one, texts))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _embed_one(self, text: str) -> TokenVectors:
        made: Any = self._session.run([LAST_LAYER], feed(self._tokenizer, text))[0][0][1:-1]
        lengths = np.linalg.norm(made, axis=1, keepdims=True)
        vectors: TokenVectors = made / np.maximum(lengths, 1e-9)
        return vectors


def name_output(model: bytes, tensor: str) -> bytes:
    """The model with one output more. Parts of a message that follow each other are read as one, so what is added
    stands behind the file, which stays as it is."""
    value = _field(_NAME, tensor.encode()) + _field(_TYPE, _field(_TENSOR, _FLOATS))
    return model + _field(_GRAPH, _field(_OUTPUT, value))


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
