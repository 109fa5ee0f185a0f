"""Every route needs a token, unless it says that it is public (`opt={"public": True}`).

Owns where the check happens; refuses to decide what is allowed beyond that: tenants are told apart by Postgres.
"""

from __future__ import annotations

from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware

from api.auth import feed_keys
from api.requests import refuse_repeated_headers
from schemas.feeds import KEY_PREFIX

PUBLIC = {"public": True}
FEED_KEY = {"feed_key": True}
"""Marks a route that takes a feed's key in the place of a token."""
API_KEY = {"api_key": True}
"""Marks a route that takes a token from `X-Api-Key` too, where clients of Anthropic's API put it."""


class RequireToken(AbstractAuthenticationMiddleware):
    """Puts a `Principal` on the request, or raises."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        state = connection.app.state
        refuse_repeated_headers(connection)
        if presented := _feed_key(connection):
            sender = await feed_keys.identify(state.database, presented)
            structlog.contextvars.bind_contextvars(tenant_id=str(sender.tenant_id), user_id=sender.subject)
            return AuthenticationResult(user=sender, auth=None)
        claims = await state.tokens.check(_authorization(connection))
        principal = await state.users.identify(claims)
        structlog.contextvars.bind_contextvars(tenant_id=str(principal.tenant_id), user_id=str(principal.user_id))
        return AuthenticationResult(user=principal, auth=claims)


def _feed_key(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The key, where one is presented to a route that takes it. Elsewhere it is a token like any other that is none."""
    scheme, _, presented = connection.headers.get("authorization", "").partition(" ")
    is_key = scheme.lower() == "bearer" and presented.strip().startswith(KEY_PREFIX)
    return presented.strip() if is_key and connection.route_handler.opt.get("feed_key") else None


def _authorization(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The header with the token, or the same made of the other header that the route takes it from."""
    key = connection.headers.get("x-api-key") if connection.route_handler.opt.get("api_key") else None
    return connection.headers.get("authorization") or (f"Bearer {key}" if key else None)


def require_token() -> DefineMiddleware:
    return DefineMiddleware(RequireToken, exclude_from_auth_key="public")
