"""Identify a caller by a feed's key in the place of a token: it may send to that one feed.

Owns the check. The database has the public half of each key, and whoever presents the seed can be held against it.
Refuses to tell apart a key that never was, one that was revoked, and one whose feed is gone.
"""

from __future__ import annotations

import hmac

from api.auth.users import Principal
from api.db import Database, tenant_transaction
from runtime.errors import Unauthenticated
from schemas.feeds import ProducerKey
from schemas.keys import tenant_of

_FIND_KEY = """
  select k.public_key, f.feed_id, f.slug
  from app.feed_keys k
  join app.feeds f using (tenant_id, feed_id)
  where tenant_id = $1 and key_id = $2 and k.revoked_at is null and f.deleted_at is null
"""


async def identify(database: Database, presented: str) -> Principal:
    """Raises `Unauthenticated`."""
    try:
        key = ProducerKey.parse(presented)
    except ValueError:
        raise _refusal() from None
    tenant_id = tenant_of(key.key_id)
    assert tenant_id is not None
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        row = await connection.fetchrow(_FIND_KEY, tenant_id, key.key_id)
    if row is None or not hmac.compare_digest(bytes(row["public_key"]), key.public):
        raise _refusal()
    return Principal(tenant_id, row["feed_id"], f"feed-key:{key.key_id}", row["slug"], feed=row["slug"])


def _refusal() -> Unauthenticated:
    return Unauthenticated(
        "the feed's key is not valid",
        hint="make a new one with `adriatic feed key create`",
        coordinates={"presented": True},
    )
