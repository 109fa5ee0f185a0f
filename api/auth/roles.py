"""What a caller may do: roles of people and machines, the scopes that a role gives, and the scope that a route needs.

Owns the reading of a role from the claims of a token, and the refusal of a caller without the scope. Refuses to know
routes: each says what it needs beside its path (`opt=NEEDS_ADMIN`), and one that says nothing needs `read` for a GET
and `write` for the rest. Tenants are told apart by Postgres, whatever the role.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, get_args

from litestar.handlers import HTTPRouteHandler

from runtime.errors import Forbidden
from runtime.settings import AuthSettings, CallerRole

Scope = Literal["read", "write", "chat", "ingest", "admin"]

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
GIVEN: Final[Mapping[CallerRole, frozenset[Scope]]] = {
    "admin": frozenset(SCOPES),
    "member": frozenset({"read", "write", "chat"}),
    "service": frozenset({"read", "write", "chat", "ingest"}),
}
"""What each role may. A machine brings in what others wrote, with their names and dates; a member writes as itself."""

NEEDS_READ: Final = {"scope": "read"}
NEEDS_CHAT: Final = {"scope": "chat"}
NEEDS_INGEST: Final = {"scope": "ingest"}
NEEDS_ADMIN: Final = {"scope": "admin"}

_CLAIM_VALUES_MAX = 1_000
"""Most values of the claim that are looked at. Tokens are bounded, and so is the work that one can cause."""


def scope_of(handler: HTTPRouteHandler) -> Scope:
    """The scope that a route needs."""
    named: Scope | None = handler.opt.get("scope")
    return named or ("read" if "GET" in handler.http_methods else "write")


def read_role(claims: Mapping[str, Any], settings: AuthSettings) -> CallerRole:
    """The role that a token gives. Pure.

    A token without the claim has `auth.default_role`. One that has it, and none of the values that are known here, is a
    member's whatever the default: its issuer does speak of roles, and gave none of ours.
    """
    found = _find_claim(claims, settings.role_claim)
    if found is None:
        return settings.default_role
    values = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    given = {value for value in values[:_CLAIM_VALUES_MAX] if isinstance(value, str)}
    if given & set(settings.admin_values):
        return "admin"
    return "service" if given & set(settings.service_values) else "member"


def _find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of this very name, which may have dots (`https://example.com/roles`); else, by its dots, one inside of
    others (`realm_access.roles`). None where there is none."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def require(scopes: Collection[Scope], needed: Scope) -> None:
    """Raise `Forbidden` unless `scopes` have what is needed."""
    if needed in scopes:
        return
    roles = " or ".join(role for role, given in GIVEN.items() if needed in given)
    raise Forbidden(
        f"this needs the role {roles} (scope {needed}), and you have {', '.join(sorted(scopes)) or 'none'}",
        hint=f"ask an admin of your tenant to do it, or for a token or an API key with the scope {needed}",
        coordinates={"scope": needed},
    )
