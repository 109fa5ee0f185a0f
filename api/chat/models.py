"""The models that a caller can name.

Owns the list. `adriatic` is the first configured model with the tenant's own sources: the last question of a
conversation is searched for, and the answer stands on what is found, with citations that are checked. By its own name a
configured model gets the conversation as it stands. Without a model nobody can: what quotes passages has no
conversation.
"""

from __future__ import annotations

from typing import Final

from runtime.errors import NotFound
from runtime.settings import LlmSettings

GROUNDED: Final = "adriatic"


def list_names(settings: LlmSettings) -> list[str]:
    """The best first."""
    named = [settings.model] if settings.provider != "extractive" else []
    for model in settings.models:
        if any(target.provider != "extractive" for target in model.targets):
            named.append(model.name)
    return [GROUNDED, *(name for name in named if name != GROUNDED)]


def find_route(settings: LlmSettings, name: str) -> str | None:
    """The name by which the router knows a model; None for the first of them."""
    return name if settings.models and name != GROUNDED else None


def require_known(settings: LlmSettings, name: str) -> None:
    """Raise `NotFound` for a name that is in no list."""
    if name not in (names := list_names(settings)):
        raise NotFound(f"there is no model {name!r}", hint=f"GET /v1/models lists them: {', '.join(names)}")
