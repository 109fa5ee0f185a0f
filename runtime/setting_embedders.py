"""Settings of what turns text into vectors: for the search, and for callers of `/v1/embeddings`.

Owns the section `embedder`. Refuses to make anything of it (`connectors/embedders`).
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from runtime.setting_kinds import Name, Seconds, Section, Url, is_allowed_host
from runtime.setting_models import MODEL_CHARS_MAX

DIMENSION_MAX = 16_000
"""The longest vector that pgvector stores."""
EMBEDDING_MODELS_MAX = 16
"""Embedding models that may be named beside the first: each has a client of its own."""
TEXTS_MAX = 2_048
"""Texts that the endpoints take in one request, at most."""
THREADS_MAX = 1_024
"""More than any machine has cores that one model could use."""


class EmbeddingModelSettings(Section):
    """An embedding model that callers, and a tenant that changes its embedding space, may name."""

    name: Annotated[Name, Field(max_length=MODEL_CHARS_MAX)] = Field(description="What callers call it.")
    kind: Literal["minilm", "openai"] = Field(
        "openai", description="As `embedder.kind`: an endpoint, or the model that comes along."
    )
    model: Name = Field(description="What the endpoint calls it.")
    base_url: Url = Field("https://api.openai.com/v1", description="Base of the endpoint's API.")
    key: str = Field("", description="Name of its key in `embedder.keys`; empty is no key.")
    dimension: int = Field(ge=1, le=DIMENSION_MAX, description="Length of its vectors.")
    send_dimension: bool = Field(
        False, description="Its vectors can be shortened: the endpoint is asked for `dimension`, and callers for less."
    )


class EmbedderSettings(Section):
    """What turns text into vectors. `minilm` runs in the process; `openai` is any endpoint that speaks its API."""

    kind: Literal["minilm", "openai"] = Field(
        "minilm", description="`minilm` is the model that comes along; `openai` asks an endpoint."
    )
    model: Name = Field("all-MiniLM-L6-v2-int8", description="Name of the model; part of the embedding space.")
    dimension: int = Field(384, ge=1, le=DIMENSION_MAX, description="Length of a vector; part of the embedding space.")
    base_url: Url = Field("https://api.openai.com/v1", description="Base of the endpoint's API, for `openai`.")
    api_key: SecretStr = Field(
        SecretStr(""), description="Key of the endpoint, for `openai`, or where it is kept, as `llm.api_key`."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that may be asked, as `llm.allowed_hosts`; an endpoint elsewhere is refused at the start. "
        "Empty: those of the settings. As a variable: JSON.",
    )
    batch_max: int = Field(64, ge=1, le=TEXTS_MAX, description="Texts in one request to an endpoint.")
    timeout_s: Seconds = Field(30.0, description="One request to an endpoint, in seconds.")
    send_dimension: bool = Field(
        False, description="Ask the endpoint for `dimension`, which models of variable length need and others refuse."
    )
    threads: int = Field(
        0, ge=0, le=THREADS_MAX, description="Threads of the in-process model; 0 takes the number of cores."
    )
    models: tuple[EmbeddingModelSettings, ...] = Field(
        (),
        max_length=EMBEDDING_MODELS_MAX,
        description="Further models, for callers of `/v1/embeddings`, and for tenants that change their embedding "
        "space. The search of all others keeps to the one above. As a variable: JSON.",
    )
    keys: dict[str, SecretStr] = Field(default_factory=dict, description="Keys that `embedder.models` name.")

    @model_validator(mode="after")
    def _check_models(self) -> EmbedderSettings:
        asked = [each.base_url for each in self.models if each.kind == "openai"]
        asked += [self.base_url] if self.kind == "openai" else []
        for host in (urlsplit(url).hostname or "" for url in asked):
            if not is_allowed_host(host, self.allowed_hosts):
                raise ValueError(f"{host} is none of embedder.allowed_hosts: add it, or ask somebody else")
        if twice := next((name for name in self.names if self.names.count(name) > 1), None):
            raise ValueError(f"two embedding models are called {twice}")
        if missing := [each.key for each in self.models if each.key and each.key not in self.keys]:
            raise ValueError(f"embedder.keys has no {missing[0]}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What callers can name: the model of the search by its two names first."""
        return ("adriatic", self.model, *(each.name for each in self.models))

    def find(self, name: str) -> EmbedderSettings | None:
        """What makes the vectors of a model that a caller names; None for one that is not there. `adriatic`, and its
        own name, are the model of the search."""
        if name in ("adriatic", self.model):
            return self
        for each in self.models:
            if each.name == name:
                key = self.keys[each.key] if each.key else SecretStr("")
                names = ("kind", "model", "base_url", "dimension", "send_dimension")
                changed = {field: getattr(each, field) for field in names}
                return self.model_copy(update={**changed, "api_key": key})
        return None
