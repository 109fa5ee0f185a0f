"""The models that a caller can name.

Owns the list. `adriatic` is the configured model with the tenant's own sources: the last question of a conversation is
searched for, and the answer stands on what is found, with citations that are checked. By its own name the configured
model gets the conversation as it stands. Without a model nobody can: what quotes passages has no conversation.
"""

from __future__ import annotations

from typing import Final

from runtime.errors import NotFound
from runtime.settings import LlmSettings

GROUNDED: Final = "adriatic"


def list_names(settings: LlmSettings) -> list[str]:
    """The best first."""
    has_model = settings.provider != "extractive" and settings.model != GROUNDED
    return [GROUNDED, *([settings.model] if has_model else [])]


def require_known(settings: LlmSettings, name: str) -> None:
    """Raise `NotFound` for a name that is in no list."""
    if name not in (names := list_names(settings)):
        raise NotFound(f"there is no model {name!r}", hint=f"GET /v1/models lists them: {', '.join(names)}")
