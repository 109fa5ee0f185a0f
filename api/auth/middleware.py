"""Every route needs a token, or a key in its place, unless it says that it is public (`opt={"public": True}`).

Owns where the check happens, and that a caller has the scope that the route needs (`roles`). Refuses to decide what is
allowed beyond that: tenants are told apart by Postgres.
"""

from __future__ import annotations

from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware

from api.auth import api_keys, feed_keys, roles
from api.requests import refuse_repeated_headers
from schemas.feeds import KEY_PREFIX
from schemas.keys import API_KEY_PREFIX

PUBLIC = {"public": True}
FEED_KEY = {"feed_key": True}
"""Marks a route that takes a feed's key in the place of a token."""
API_KEY = {"api_key": True}
"""Marks a route that takes a token or a key from `X-Api-Key` too, where clients of Anthropic's API put it."""


class RequireToken(AbstractAuthenticationMiddleware):
    """Puts a `Principal` on the request, or raises."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        refuse_repeated_headers(connection)
        handler, state = connection.route_handler, connection.app.state
        authorization = _authorization(connection)
        presented = _bearer(authorization)
        if presented.startswith(KEY_PREFIX) and handler.opt.get("feed_key"):
            # Elsewhere it is a token like any other that is none.
            sender = await feed_keys.identify(state.database, presented)
            structlog.contextvars.bind_contextvars(tenant_id=str(sender.tenant_id), user_id=sender.subject)
            return AuthenticationResult(user=sender, auth=None)
        proof: Any
        if presented.startswith(API_KEY_PREFIX):
            proof = await api_keys.identify(state.database, state.clock, presented)
            principal = proof.principal
        else:
            proof = await state.tokens.check(authorization)
            hasher, tenant_id = state.addresses, proof.tenant_id
            principal = await state.users.identify(
                proof, lambda: hasher.hash(connection, tenant_id) if hasher else None
            )
        structlog.contextvars.bind_contextvars(tenant_id=str(principal.tenant_id), user_id=str(principal.user_id))
        roles.require(principal.scopes, roles.scope_of(handler))
        return AuthenticationResult(user=principal, auth=proof)


def _authorization(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The header with the token, or the same made of the other header that the route takes it from."""
    key = connection.headers.get("x-api-key") if connection.route_handler.opt.get("api_key") else None
    return connection.headers.get("authorization") or (f"Bearer {key}" if key else None)


def _bearer(authorization: str | None) -> str:
    """What is presented as a bearer's; empty where nothing is."""
    scheme, _, presented = (authorization or "").partition(" ")
    return presented.strip() if scheme.lower() == "bearer" else ""


def require_token() -> DefineMiddleware:
    return DefineMiddleware(RequireToken, exclude_from_auth_key="public")
