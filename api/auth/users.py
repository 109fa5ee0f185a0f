"""The people and machines behind the tokens: one row of app.users for each subject of a tenant.

Owns the row's making at first sight, with a hash of where it came from (`addresses`), and a bounded memory of whom this
process has seen. Those of a tenant who come at the same moment, as on a Monday, share a statement. Refuses to make
tenants: a token for one that does not exist is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from api.auth.roles import GIVEN, Scope
from api.auth.tokens import Claims
from api.db import CallRefused, Database
from api.gathering import Gatherer
from runtime.errors import DependencyUnavailable, Forbidden
from runtime.ids import new_id
from runtime.memory import BoundedMemory

USERS_MAX = 10_000
"""Remembered by one process, some 3 MB. A forgotten one costs a statement, nothing else."""
WAITING_MAX = 10_000
"""Requests of users that this process does not know yet, at a time: as many as it remembers, and 160 statements."""
CONNECTIONS_MAX = 2
"""Connections of a process that find out who asks, beside its pool: there each would wait behind all that those ask who
were let in before, and be refused for their work. One statement of a tenant at a time takes one of them."""
WAIT_S_MAX = 15.0
"""Longest wait of each, in seconds: longer than one statement and the wait for its connection may take together."""

_SEE = "select user_id, subject, name from app.see_users($1, $2, $3, $4, $5, $6)"


class _Sight(NamedTuple):
    """A user that this process does not know yet, and the hash of where it came from."""

    claims: Claims
    address_hash: bytes | None


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
    """Turns claims into principals. `database` is for that alone."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = BoundedMemory[Claims, Principal](USERS_MAX)
        self._sights = Gatherer[_Sight, Principal](self._see_all, self._see)
        self._waiting = 0

    async def identify(self, claims: Claims, hash_address: Callable[[], bytes | None] = lambda: None) -> Principal:
        """Who acts. `hash_address` says where a user came from that was never seen before. Raises `Forbidden` for a
        tenant that does not exist, and `DependencyUnavailable` when the database is away or too many are new."""
        if principal := self._seen.get(claims):
            return principal
        if self._waiting >= WAITING_MAX:
            raise DependencyUnavailable(f"{WAITING_MAX} new users wait already", hint="ask again")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                principal = await self._sights.add(claims.tenant_id, _Sight(claims, hash_address()))
        except TimeoutError:
            late = f"who asks was not found out within {WAIT_S_MAX:g} s"
            raise DependencyUnavailable(late, hint="ask again") from None
        except CallRefused:
            raise Forbidden(
                f"there is no tenant {claims.tenant_id} here",
                hint="`adriatic tenant list` shows the ones that exist",
            ) from None
        finally:
            self._waiting -= 1
        self._seen.put(claims, principal)
        return principal

    async def close(self) -> None:
        """Find out about nobody any more."""
        await self._sights.close()

    async def _see(self, sight: _Sight) -> Principal:
        (principal,) = await self._see_all(sight.claims.tenant_id, [sight])
        return principal

    async def _see_all(self, tenant_id: UUID, sights: Sequence[_Sight]) -> Sequence[Principal]:
        every = [each.claims for each in sights]
        rows = await self._database.call_all(
            *(_SEE, tenant_id, [new_id() for _ in every], [each.subject for each in every]),
            *([each.name for each in every], [each.email for each in every], [each.address_hash for each in sights]),
        )
        known = {row["subject"]: row for row in rows}
        return [_make_principal(each, known[each.subject]) for each in every]


def _make_principal(claims: Claims, row: Any) -> Principal:
    return Principal(
        claims.tenant_id,
        UUID(str(row["user_id"])),
        claims.subject,
        row["name"] or claims.subject,
        key_id=claims.key_id,
        scopes=GIVEN[claims.role],
    )
