"""Which embedding spaces the settings can fill, and the embedder of each, made at its first use.

Owns the space of settings, without loading a model, and the embedders of one process by their space. Refuses to know
who searches in which (`app.tenant_spaces`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from connectors.embedders import Embedder, EmbeddingSpace, build
from runtime.settings import EmbedderSettings, SecretSettings

IN_PROCESS: Final = "minilm"
"""The provider of a space whose vectors are computed here."""
MODEL: Final = "all-MiniLM-L6-v2-int8"
DIMENSION: Final = 384
MODEL_SHA256: Final = "bb8c5045854c2f000fd81f9fac08702104ae28f287ebc98d3ae0aacf28fde392"
"""The model that comes along, and the hash of its weights, which is its revision."""


def space_of(settings: EmbedderSettings) -> EmbeddingSpace:
    """The space that the embedder of these settings fills."""
    if settings.kind == "minilm":
        return EmbeddingSpace.of(IN_PROCESS, MODEL, MODEL_SHA256, DIMENSION)
    # The endpoint belongs to the space: nothing else says whether two servers' "bge-small" are the same weights.
    host = urlsplit(settings.base_url).netloc
    return EmbeddingSpace.of(f"openai:{host}", settings.model, "unversioned", settings.dimension)


def name_spaces(settings: EmbedderSettings) -> Mapping[str, EmbeddingSpace]:
    """The space of each embedder that the settings have, by the name that callers use; the search's own first."""
    found = {name: settings.find(name) for name in settings.names}
    return {name: space_of(each) for name, each in found.items() if each is not None}


class SpaceEmbedders:
    """Embedders by space. Safe to call from several threads. The first is that of tenants that chose none."""

    def __init__(self, builders: Mapping[EmbeddingSpace, Callable[[], Embedder]]) -> None:
        self.spaces = tuple(builders)
        self._builders = {space.name: builder for space, builder in builders.items()}
        self._built: dict[str, Embedder] = {}
        self._building = threading.Lock()

    @classmethod
    def of(cls, *embedders: Embedder) -> SpaceEmbedders:
        """Those that are there already."""

        def give(embedder: Embedder) -> Callable[[], Embedder]:
            return lambda: embedder

        return cls({embedder.space: give(embedder) for embedder in embedders})

    @classmethod
    def from_settings(cls, settings: EmbedderSettings, secrets: SecretSettings | None = None) -> SpaceEmbedders:
        """Those of the settings; none of them is made yet."""

        def make(chosen: EmbedderSettings) -> Callable[[], Embedder]:
            return lambda: build(chosen, secrets)

        chosen = [each for name in settings.names if (each := settings.find(name)) is not None]
        builders: dict[EmbeddingSpace, Callable[[], Embedder]] = {}
        for each in chosen:
            builders.setdefault(space_of(each), make(each))
        return cls(builders)

    @property
    def in_process(self) -> bool:
        """Whether one of them computes on the processors of this process."""
        return any(space.provider == IN_PROCESS for space in self.spaces)

    def find(self, space: str) -> Embedder | None:
        """The embedder that fills this space; None where the settings have none. Raises what building it raises."""
        with self._building:
            if space not in self._built and space in self._builders:
                self._built[space] = self._builders[space]()
            return self._built.get(space)

    def close(self) -> None:
        """Close those that were made."""
        for embedder in self._built.values():
            embedder.close()
