"""The models that a caller can name.

Owns the list, of those that answer and of those that make vectors. `adriatic` is the first configured model with the
tenant's own sources: the last question of a conversation is searched for, and the answer stands on what is found, with
citations that are checked. By its own name a configured model gets the conversation as it stands. Without a model
nobody can: what quotes passages has no conversation. Which models make vectors says `embedder` in the settings; a name
can be of one of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from runtime.errors import NotFound
from runtime.settings import LlmSettings, Settings

GROUNDED: Final = "adriatic"

ModelUse = Literal["chat", "embeddings"]


def list_names(settings: LlmSettings) -> list[str]:
    """The best first."""
    named = [settings.model] if settings.provider != "extractive" else []
    for model in settings.models:
        if any(target.provider != "extractive" for target in model.targets):
            named.append(model.name)
    return [GROUNDED, *(name for name in named if name != GROUNDED)]


def list_served(settings: Settings) -> Mapping[str, Sequence[ModelUse]]:
    """What each name is good for: those of chats before those of vectors alone."""
    chats, vectors = list_names(settings.llm), settings.embedder.names
    uses: dict[ModelUse, Sequence[str]] = {"chat": chats, "embeddings": vectors}
    return {name: [use for use in uses if name in uses[use]] for name in (*chats, *vectors)}


def find_uses(settings: Settings, name: str) -> Sequence[ModelUse]:
    """What a name is good for. Raises `NotFound` for one that is in no list."""
    served = list_served(settings)
    if name not in served:
        raise _miss(name, served)
    return served[name]


def find_route(settings: LlmSettings, name: str) -> str | None:
    """The name by which the router knows a model; None for the first of them."""
    return name if settings.models and name != GROUNDED else None


def require_known(settings: LlmSettings, name: str) -> None:
    """Raise `NotFound` for a name that no model of chats has."""
    if name not in (names := list_names(settings)):
        raise _miss(name, names)


def _miss(name: str, names: Iterable[str]) -> NotFound:
    return NotFound(f"there is no model {name!r}", hint=f"GET /v1/models lists them: {', '.join(names)}")
