"""Every route needs a token, unless it says that it is public (`opt={"public": True}`).

Owns where the check happens; refuses to decide what is allowed beyond that: tenants are told apart by Postgres.
"""

from __future__ import annotations

from typing import Any

import structlog
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware

PUBLIC = {"public": True}


class RequireToken(AbstractAuthenticationMiddleware):
    """Puts a `Principal` on the request, or raises."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        state = connection.app.state
        claims = await state.tokens.check(connection.headers.get("authorization"))
        principal = await state.users.identify(claims)
        structlog.contextvars.bind_contextvars(tenant_id=str(principal.tenant_id), user_id=str(principal.user_id))
        return AuthenticationResult(user=principal, auth=claims)


def require_token() -> DefineMiddleware:
    return DefineMiddleware(RequireToken, exclude_from_auth_key="public")
