"""The list of models, in a form that clients of OpenAI and of Anthropic both read.

Owns the shape. Both protocols ask at the same address, and neither minds the other's fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.chat.models import ModelUse

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
"""Both protocols want to know when a model was made, which nobody here knows: a time like any other."""


class ModelCard(msgspec.Struct, frozen=True):
    """One model. `object`, `created` and `owned_by` are OpenAI's; `type`, `created_at` and the name Anthropic's.
    `uses` is ours: neither protocol says which models make vectors."""

    id: str
    display_name: str
    created: int
    created_at: datetime
    uses: Annotated[
        Sequence[ModelUse], Meta(description="`chat` answers; `embeddings` makes vectors, at /v1/embeddings.")
    ]
    object: Literal["model"] = "model"
    type: Literal["model"] = "model"
    owned_by: str = "adriatic"


class ModelCards(msgspec.Struct, frozen=True):
    """All of them: there is one page."""

    data: list[ModelCard]
    first_id: str
    last_id: str
    has_more: bool = False
    object: Literal["list"] = "list"


def describe_model(name: str, uses: Sequence[ModelUse]) -> ModelCard:
    return ModelCard(name, name, int(SINCE.timestamp()), SINCE, uses)
