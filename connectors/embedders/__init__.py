"""Text to vectors: the seam, the value that names a space, and the choice by settings.

Owns the contract that every embedder keeps (`tests/connectors/embedders/test_contract.py` runs it against each).
Refuses to cut text into chunks, to store vectors, and to retry: the caller tries again. The in-process model
is in `minilm`, any endpoint that speaks OpenAI's API in `openai`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from runtime.errors import Unprocessable
from runtime.settings import EmbedderSettings, SecretSettings

Vector = npt.NDArray[np.float32]
"""One embedding: float32, shape (dimension,), finite, of length 1, so that a dot product is a cosine."""


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """Where vectors may be compared with each other. Vectors of two spaces never meet in one query.

    `name` is the key of mv.embedding_spaces and holds all the other fields, so that a changed model, revision or
    dimension is another space and never a silent mixture.
    """

    name: str
    provider: str
    model: str
    revision: str
    dimension: int

    @classmethod
    def of(cls, provider: str, model: str, revision: str, dimension: int) -> EmbeddingSpace:
        return cls(f"{provider}/{model}@{revision[:12]}/{dimension}", provider, model, revision, dimension)


class Embedder(Protocol):
    """Turns texts into vectors of one space. Safe to call from several threads.

    `embed` blocks, keeps the order, and is all or nothing: as many vectors as texts, or an error. A vector depends on
    its text alone, never on the other texts of the call. An empty sequence gives an empty list.

    It raises `Unprocessable` for a text that can never have a vector (blank, refused by the model), with the index of
    the text in `coordinates`; `DependencyUnavailable` when an endpoint does not answer or answers nonsense (nothing was
    lost: call again later); `Halted` when the settings and the model contradict each other.

    `reproducible` says whether the same text gives the same bits again on this machine. If not, compare by cosine.
    """

    @property
    def space(self) -> EmbeddingSpace: ...

    @property
    def reproducible(self) -> bool: ...

    def embed(self, texts: Sequence[str]) -> list[Vector]: ...

    def close(self) -> None: ...


class CountingEmbedder(Embedder, Protocol):
    """An embedder that says how many tokens it read. See `Embedder`."""

    def embed_counting(self, texts: Sequence[str]) -> tuple[list[Vector], int | None]:
        """The vectors as `embed` makes them, and the tokens of all texts; None where an endpoint does not say."""


def build(settings: EmbedderSettings, secrets: SecretSettings | None = None) -> CountingEmbedder:
    """The embedder that the settings ask for, ready to work. `secrets` says how a key is read that is kept elsewhere.

    Raises `Misconfigured` for settings that cannot be, `Halted` when the weights are not those that were released.
    """
    # Imported here: a process that never embeds should not pay for a model runtime (45 MB) or an SDK (30 MB).
    if settings.kind == "minilm":
        from connectors.embedders.minilm import MiniLM

        return MiniLM.from_settings(settings)
    from connectors.embedders.openai import OpenAIEmbedder

    return OpenAIEmbedder(settings, secrets=secrets)


def refuse_blank(texts: Sequence[str]) -> None:
    """A blank text has no meaning to find. A vector for it would be near to anything."""
    for index, text in enumerate(texts):
        if not text.strip():
            raise Unprocessable("the text to embed is blank", coordinates={"index": index})
