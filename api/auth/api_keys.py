"""Identify a caller by an API key in the place of a token: it acts for its tenant, as a user of its own.

Owns the check. Each request asks the database, in a transaction of the tenant that the key's id names, so that a key
which was revoked is refused by every process from the commit on: nothing that was found is remembered. Refuses to tell
apart a key that never was, one that was revoked, one that has expired, and a wrong secret.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import NamedTuple

from api.auth.users import Principal
from api.db import Database, tenant_transaction
from runtime.clock import Clock
from runtime.errors import Unauthenticated
from schemas.keys import ApiKeySecret, tenant_of

NOTE_USE_S = 60
"""Seconds between two notes of a key's use: it is one write, and people ask for the day."""
STREAM_S_MAX = 60
"""Longest live read by a key, in seconds: a token says when it ends, a key is revoked. Its reader asks again with the
last id, and is refused then."""

_FIND = """
  select user_id, name, scopes, subject, secret_hash, good_until, is_use_due
  from app.find_api_key($1, $2, $3)
"""

_NOTE_USE = """
  with due as (
    select k.tenant_id, k.key_id, s.secret_hash
    from app.api_keys k
    join app.api_key_secrets s using (tenant_id, key_id)
    where tenant_id = $1
      and key_id = $2
      and s.secret_hash = $3
      and (s.last_used_at is null or s.last_used_at < now() - make_interval(secs => $4))
    for update of k skip locked
  ),
  noted as (
    update app.api_key_secrets s
    set last_used_at = now()
    from due d
    where s.tenant_id = d.tenant_id and s.key_id = d.key_id and s.secret_hash = d.secret_hash
  )
  update app.api_keys k
  set last_used_at = now()
  from due d
  where k.tenant_id = d.tenant_id and k.key_id = d.key_id
"""
"""One request of many in the same moment writes; the others find the row locked, and leave it to that one."""


class KeyProof(NamedTuple):
    """What a good key proves. `expires_at` is when a stream that begins now has to end."""

    principal: Principal
    expires_at: datetime


async def identify(database: Database, clock: Clock, presented: str) -> KeyProof:
    """Raises `Unauthenticated`."""
    try:
        key = ApiKeySecret.parse(presented)
    except ValueError:
        raise _refusal() from None
    tenant_id = tenant_of(key.key_id)
    assert tenant_id is not None
    rows = await database.call_all(_FIND, tenant_id, key.key_id, NOTE_USE_S)
    # Each of them, whatever the first says: how long it takes does not tell which one it was.
    fitting = [row for row in rows if hmac.compare_digest(bytes(row["secret_hash"]), key.digest)]
    if not fitting:
        raise _refusal()
    (row,) = fitting
    if row["is_use_due"]:
        async with tenant_transaction(database, tenant_id) as connection:
            await connection.execute(_NOTE_USE, tenant_id, key.key_id, key.digest, NOTE_USE_S)
    principal = Principal(
        tenant_id,
        row["user_id"],
        row["subject"],
        row["name"],
        key_id=key.key_id,
        scopes=frozenset(row["scopes"]),
    )
    return KeyProof(principal, min(row["good_until"], clock.now() + timedelta(seconds=STREAM_S_MAX)))


def _refusal() -> Unauthenticated:
    return Unauthenticated(
        "the API key is not valid",
        hint="it may be revoked or expired: `adriatic keys list` shows the ones that are good",
        coordinates={"presented": True},
    )
