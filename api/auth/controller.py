"""`/v1/me`: who a caller is, and what it may do.

Owns the HTTP of it. A program that shows people what they can do asks here, instead of trying what is refused.
"""

from __future__ import annotations

from uuid import UUID

import msgspec
from litestar import Controller

from api.auth.roles import NEEDS_READ, SCOPES, Scope
from api.routes import By, get

_ID = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"


class CallerIdentity(msgspec.Struct, frozen=True):
    """The user or machine behind the token or the key that was sent. `key_id`: the credential's, as usage shows it."""

    tenant_id: UUID
    user_id: UUID
    name: str
    key_id: str | None
    scopes: list[Scope]


class CallerController(Controller):
    """Whoever asks."""

    path = "/v1/me"
    tags = ("keys",)
    opt = NEEDS_READ

    @get(
        "/",
        "See who you are",
        {
            "tenant_id": _ID,
            "user_id": _ID,
            "name": "Ada",
            "key_id": "web-app",
            "scopes": ["read", "write", "chat", "ingest", "admin"],
        },
        "You, and what you may do.",
    )
    async def get_caller(self, principal: By) -> CallerIdentity:
        """What a scope allows is beside each route, and in the table of roles."""
        scopes = [scope for scope in SCOPES if scope in principal.scopes]
        return CallerIdentity(principal.tenant_id, principal.user_id, principal.shown, principal.key_id, scopes)
