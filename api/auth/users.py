"""The people and machines behind the tokens: one row of app.users for each subject of a tenant.

Owns the row's making at first sight, with a hash of where it came from (`addresses`), and a bounded memory of whom this
process has seen. Refuses to make tenants: a token for one that does not exist is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import asyncpg
import msgspec

from api.auth.roles import GIVEN, Scope
from api.auth.tokens import Claims
from api.db import Database, tenant_transaction
from runtime.errors import Forbidden
from runtime.ids import new_id
from runtime.memory import BoundedMemory

USERS_MAX = 10_000
"""Remembered by one process, some 3 MB. A forgotten one costs a statement, nothing else."""

_UPSERT = """
  with known as (
    insert into app.users as known (tenant_id, user_id, subject, name, email)
    values ($1, $2, $3, $4, $5)
    on conflict (tenant_id, subject)
    do update set
      name = coalesce(nullif(excluded.name, ''), known.name),
      email = coalesce(nullif(excluded.email, ''), known.email)
    returning user_id, name, xmax = 0 as is_new
  ),
  came as (
    insert into app.user_addresses (tenant_id, address_hash, user_id)
    select $1, $6, user_id
    from known
    where is_new and $6::bytea is not null
    on conflict do nothing
  )
  select user_id, name
  from known
"""


class Principal(msgspec.Struct, frozen=True):
    """Who acts, and for which tenant. `shown` is what the history says, `scopes` what it may do. `feed`: a feed's key
    may send to that feed, and nothing else."""

    tenant_id: UUID
    user_id: UUID
    subject: str
    shown: str
    feed: str | None = None
    key_id: str | None = None
    scopes: frozenset[Scope] = frozenset()


class Users:
    """Turns claims into principals."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = BoundedMemory[Claims, Principal](USERS_MAX)

    async def identify(self, claims: Claims, hash_address: Callable[[], bytes | None] = lambda: None) -> Principal:
        """Who acts. `hash_address` says where a user came from that was never seen before. Raises `Forbidden` for a
        tenant that does not exist."""
        if principal := self._seen.get(claims):
            return principal
        async with tenant_transaction(self._database, claims.tenant_id) as connection:
            try:
                row = await connection.fetchrow(
                    _UPSERT, claims.tenant_id, new_id(), claims.subject, claims.name, claims.email, hash_address()
                )
            except asyncpg.ForeignKeyViolationError:
                raise Forbidden(
                    f"there is no tenant {claims.tenant_id} here",
                    hint="`adriatic tenant list` shows the ones that exist",
                ) from None
        principal = Principal(
            claims.tenant_id,
            UUID(str(row["user_id"])),
            claims.subject,
            row["name"] or claims.subject,
            key_id=claims.key_id,
            scopes=GIVEN[claims.role],
        )
        self._seen.put(claims, principal)
        return principal
