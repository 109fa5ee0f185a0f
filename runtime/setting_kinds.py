"""Kinds of values that many settings have, and the form of a section.

Owns what a port, a wait and an address may be. Refuses settings themselves (`runtime/settings.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

PORT_MAX = 65_535
"""TCP has 16 bits for it."""
WAIT_S_MAX = 3_600.0
"""Upper end of every wait that can be set, in seconds: who waits an hour for one answer has mistaken the unit."""


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port beyond 65535
        whole = False
    if not whole or any(character.isspace() for character in text):
        raise ValueError("should be an address like https://host:8081/path")
    return text


def _web_address_or_none(text: str) -> str:
    return _web_address(text) if text else text


def _secret_web_address_or_none(secret: SecretStr) -> SecretStr:
    _web_address_or_none(secret.get_secret_value())
    return secret


Port = Annotated[int, Field(ge=1, le=PORT_MAX)]
Name = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(gt=0, le=WAIT_S_MAX, allow_inf_nan=False)]
Url = Annotated[str, AfterValidator(_web_address)]
OptionalUrl = Annotated[str, AfterValidator(_web_address_or_none)]

SecretUrl = Annotated[SecretStr, AfterValidator(_secret_web_address_or_none)]
"""An address that may hold a secret, and is not printed; empty is none."""


def is_allowed_host(host: str, patterns: Iterable[str]) -> bool:
    """Whether a host is one of those that are named; `*.example.com` names all below it, and no pattern names all."""
    lowered = [pattern.lower() for pattern in patterns]
    return not lowered or any(
        host.lower().endswith(each[1:]) if each.startswith("*.") else host.lower() == each for each in lowered
    )


class Section(BaseModel):
    """A part of the settings: frozen, and without names that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
