"""The rows of API keys as a tenant sees them: making, listing, rotating, revoking.

Owns the SQL of `app.api_keys` and the bounds of what there can be. Refuses to check a presented key: that is done in
`api/auth/api_keys.py`. Each function works in the caller's transaction, so a process that is killed leaves a key as it
was, or as asked.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api.auth.roles import SCOPES, Scope
from api.auth.tokens import API_KEY_SUBJECT
from api.auth.users import Principal
from api.db import Connection, to_struct
from runtime.errors import Conflict, Forbidden, Gone, NotFound
from runtime.ids import new_id
from schemas import text
from schemas.keys import ApiKeySecret, new_key_id

NAME_CHARS_MAX = 200
KEYS_MAX = 100
"""Good keys of a tenant: one for each program and place. More is a program that makes one whenever it starts."""
SHOWN_MAX = 200
"""Most keys of a list: all that can be good, and as many of those that were."""
SECRETS_MAX = 5
"""Good secrets of a key: a rotation needs two, and one that was cut off and repeated some more."""
DAYS_DEFAULT = 90
DAYS_MAX = 366
"""A secret that is good for years is forgotten where it is kept. Rotating gives a key a new one for as long again."""
GRACE_S_DEFAULT = 86_400
GRACE_S_MAX = 30 * 86_400
"""Longest time, in seconds, that the old secrets of a rotated key stay good: a release of every month is over then."""

State = Literal["good", "expired", "revoked"]


class NewApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key may do is what its maker may, at most."""

    name: Annotated[
        str, Meta(pattern=text.NAME, min_length=1, max_length=NAME_CHARS_MAX, description="Who or what has it.")
    ]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(SCOPES), description="What it may do.")]
    days: Annotated[
        int, Meta(ge=1, le=DAYS_MAX, description="How long a secret of it is good, from when it is made.")
    ] = DAYS_DEFAULT


class KeyRotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    grace_s: Annotated[
        int, Meta(ge=0, le=GRACE_S_MAX, description="How long the secrets of now stay good, in seconds.")
    ] = GRACE_S_DEFAULT


class KeySecret(msgspec.Struct, frozen=True):
    """A secret of a key, without the secret."""

    created_at: datetime
    good_until: datetime
    last_used_at: Annotated[datetime | None, Meta(description="To the minute; null: never.")]


class ApiKey(msgspec.Struct, frozen=True):
    """A key, without its secrets."""

    key_id: Annotated[str, Meta(description="What usage, limits and budgets of the level `key` call it. No secret.")]
    name: str
    scopes: list[Scope]
    state: State
    days: int
    created_by: Annotated[UUID, Meta(description="The user who made it.")]
    created_at: datetime
    expires_at: Annotated[datetime, Meta(description="When its newest secret stops being good.")]
    last_used_at: Annotated[datetime | None, Meta(description="To the minute; null: never.")]
    revoked_at: datetime | None
    revoked_by: UUID | None
    secrets: Annotated[list[KeySecret], Meta(description="The newest first. The last use says which ones are needed.")]


class ShownApiKey(msgspec.Struct, frozen=True):
    """A key with a new secret, which is shown this once: only its hash is kept."""

    api_key: ApiKey
    secret: Annotated[str, Meta(description="What to send: `Authorization: Bearer adr_…`.")]


class ApiKeyList(msgspec.Struct, frozen=True):
    """Good ones first, then the newest of the others."""

    items: list[ApiKey]


_READ = """
  select
    k.key_id, k.name, k.scopes, k.days, k.created_by, k.created_at, k.last_used_at, k.revoked_at,
    k.revoked_by, s.expires_at, s.secrets,
    case
      when k.revoked_at is not null then 'revoked'
      when s.expires_at <= now() then 'expired'
      else 'good'
    end as state
  from app.api_keys k
  cross join lateral (
    select
      max(good_until) as expires_at,
      jsonb_agg(
        jsonb_build_object(
          'created_at', created_at, 'good_until', good_until, 'last_used_at', last_used_at
        ) order by created_at desc
      ) as secrets
    from app.api_key_secrets
    where tenant_id = k.tenant_id and key_id = k.key_id
  ) s
  where k.tenant_id = $1 and ($2::text is null or k.key_id = $2)
  order by k.revoked_at is not null, s.expires_at <= now(), k.created_at desc, k.key_id
  limit $3
"""

_LOCK = "select pg_advisory_xact_lock(hashtextextended($1::uuid::text || '/keys', 0))"

_COUNT_GOOD = """
  select count(*)
  from app.api_keys k
  where k.tenant_id = $1
    and k.revoked_at is null
    and exists (
      select
      from app.api_key_secrets s
      where s.tenant_id = k.tenant_id and s.key_id = k.key_id and s.good_until > now()
    )
"""

_INSERT_USER = "insert into app.users (tenant_id, user_id, subject, name) values ($1, $2, $3, $4)"

_INSERT_KEY = """
  insert into app.api_keys (tenant_id, key_id, user_id, name, scopes, days, created_by)
  values ($1, $2, $3, $4, $5, $6, $7)
"""

_INSERT_HASH = """
  insert into app.api_key_secrets (tenant_id, key_id, secret_hash, good_until)
  select tenant_id, key_id, $3, now() + make_interval(days => days)
  from app.api_keys
  where tenant_id = $1 and key_id = $2
"""

_FIND_AND_LOCK = """
  select revoked_at is not null as is_revoked
  from app.api_keys
  where tenant_id = $1 and key_id = $2
  for no key update
"""

_FORGET_EXPIRED = """
  delete from app.api_key_secrets
  where tenant_id = $1 and key_id = $2 and good_until <= now()
"""

_COUNT_SECRETS = "select count(*) from app.api_key_secrets where tenant_id = $1 and key_id = $2"

_END_SOON = """
  update app.api_key_secrets
  set good_until = least(good_until, now() + make_interval(secs => $3))
  where tenant_id = $1 and key_id = $2
"""

_REVOKE = """
  update app.api_keys
  set revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $3)
  where tenant_id = $1 and key_id = $2
  returning key_id
"""


async def list_all(connection: Connection, tenant_id: UUID) -> ApiKeyList:
    rows = await connection.fetch(_READ, tenant_id, None, SHOWN_MAX)
    return ApiKeyList([_key(row) for row in rows])


async def create(connection: Connection, principal: Principal, wanted: NewApiKey) -> ShownApiKey:
    """A key that may do what was asked for. Raises `Forbidden` where its maker may not, `Conflict` where the tenant has
    as many as it can."""
    scopes = sorted(set(wanted.scopes), key=SCOPES.index)
    if beyond := [scope for scope in scopes if scope not in principal.scopes]:
        raise Forbidden(
            f"a key may not have the scope {beyond[0]}, which you do not have yourself",
            hint=f"you may give: {', '.join(sorted(principal.scopes))}",
            coordinates={"scope": beyond[0]},
        )
    tenant_id, key_id, user_id = principal.tenant_id, new_key_id(principal.tenant_id), new_id()
    await connection.execute(_LOCK, tenant_id)
    if await connection.fetchval(_COUNT_GOOD, tenant_id) >= KEYS_MAX:
        raise Conflict(f"the tenant has {KEYS_MAX} keys, which is the limit", hint="revoke one that is not used")
    await connection.execute(_INSERT_USER, tenant_id, user_id, f"{API_KEY_SUBJECT}{key_id}", wanted.name)
    await connection.execute(
        _INSERT_KEY, tenant_id, key_id, user_id, wanted.name, scopes, wanted.days, principal.user_id
    )
    return await _add_secret(connection, tenant_id, key_id)


async def rotate(connection: Connection, tenant_id: UUID, key_id: str, wanted: KeyRotation) -> ShownApiKey:
    """A new secret beside those of now, which stay good for the grace time at most.

    Whoever did not get to see the new one asks again: no rotation ends a secret before its own grace time. Raises
    `NotFound`, `Gone` for a revoked key, `Conflict` for more secrets than a key can have.
    """
    row = await connection.fetchrow(_FIND_AND_LOCK, tenant_id, key_id)
    if row is None:
        raise _not_found()
    if row["is_revoked"]:
        raise Gone("the API key is revoked", hint="make a new one with `adriatic keys create`")
    await connection.execute(_END_SOON, tenant_id, key_id, wanted.grace_s)
    await connection.execute(_FORGET_EXPIRED, tenant_id, key_id)
    if await connection.fetchval(_COUNT_SECRETS, tenant_id, key_id) >= SECRETS_MAX:
        raise Conflict(
            f"the key has {SECRETS_MAX} good secrets, which is the limit",
            hint="wait until one ends, rotate with a grace time of 0, or revoke the key and make another",
        )
    return await _add_secret(connection, tenant_id, key_id)


async def revoke(connection: Connection, principal: Principal, key_id: str) -> None:
    """No process takes the key from the commit on. Raises `NotFound`."""
    if await connection.fetchval(_REVOKE, principal.tenant_id, key_id, principal.user_id) is None:
        raise _not_found()


async def _add_secret(connection: Connection, tenant_id: UUID, key_id: str) -> ShownApiKey:
    secret = ApiKeySecret.new(key_id)
    await connection.execute(_INSERT_HASH, tenant_id, key_id, secret.digest)
    row = await connection.fetchrow(_READ, tenant_id, key_id, 1)
    return ShownApiKey(_key(row), str(secret))


def _key(row: Any) -> ApiKey:
    return to_struct(row, ApiKey, "secrets")


def _not_found() -> NotFound:
    return NotFound("there is no such API key", hint="GET /v1/keys lists them")
