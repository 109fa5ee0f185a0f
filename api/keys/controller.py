"""`/v1/keys`: API keys of a tenant.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller
from litestar.params import PathParameter

from api.auth.roles import NEEDS_ADMIN
from api.db import tenant_transaction
from api.keys import service
from api.routes import By, Db, body, delete, get, post

_KEY_ID = "0199f0c2a1b27c3d8e4f5a6b7c8d9e0f.mfrggzdfmztwq2lk"
_KEY: dict[str, Any] = {
    "key_id": _KEY_ID,
    "name": "web-app",
    "scopes": ["read", "chat"],
    "state": "good",
    "days": 90,
    "created_by": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "created_at": "2026-01-15T09:00:00Z",
    "expires_at": "2026-04-15T09:00:00Z",
    "last_used_at": None,
    "revoked_at": None,
    "revoked_by": None,
    "secrets": [
        {"created_at": "2026-01-15T09:00:00Z", "good_until": "2026-04-15T09:00:00Z", "last_used_at": None},
    ],
}
_SHOWN = {"api_key": _KEY, "secret": f"adr_{_KEY_ID}_{'5f' * 32}"}

KeyId = Annotated[str, PathParameter(max_length=255, description="The key's id, without its secret.")]


class ApiKeyController(Controller):
    """A key acts for its tenant, as a user of its own, within its scopes. It is sent in the place of a token."""

    path = "/v1/keys"
    tags = ("keys",)
    opt = NEEDS_ADMIN

    @get("/", "List API keys", {"items": [_KEY]}, "The good ones first, then the newest of the others.")
    async def list_api_keys(self, database: Db, principal: By) -> service.ApiKeyList:
        """There are at most 200 in the list, without their secrets. `last_used_at` is right to the minute."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.list_all(connection, principal.tenant_id)

    @post(
        "/",
        "Make an API key",
        _SHOWN,
        "The key, whose secret is shown this once.",
        status=201,
        errors=(409, 413, 415),
    )
    async def create_api_key(
        self,
        database: Db,
        principal: By,
        data: Annotated[service.NewApiKey, body("New key", {"name": "web-app", "scopes": ["read", "chat"]})],
    ) -> service.ShownApiKey:
        """It may do what its maker may, at most. It stays when its maker goes: it is the tenant's."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.create(connection, principal, data)

    @post(
        "/{api_key_id:str}/rotate",
        "Rotate an API key",
        _SHOWN,
        "The key with a new secret, which is shown this once.",
        errors=(404, 409, 410, 413, 415),
    )
    async def rotate_api_key(
        self,
        database: Db,
        principal: By,
        api_key_id: KeyId,
        data: Annotated[service.KeyRotation, body("A day of grace", {"grace_s": 86_400})],
    ) -> service.ShownApiKey:
        """The secrets of now stay good for the grace time, and the new one for as many days as the key was made for.
        Where the answer was lost, ask again: the secret in use stays good all the same."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.rotate(connection, principal.tenant_id, api_key_id, data)

    @delete("/{api_key_id:str}", "Revoke an API key", None, "Revoked.", status=204, errors=(404,))
    async def revoke_api_key(self, database: Db, principal: By, api_key_id: KeyId) -> None:
        """Every process refuses it from now on. An answer that is being written is still written to its end; a live
        read ends within a minute."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.revoke(connection, principal, api_key_id)
