"""The rows of a tenant's own words.

Owns the SQL of `app.reader_words`. Refuses to judge a word: `connectors/reading/own.py` does. Each function works in
the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from api.db import Connection, Database, tenant_transaction, to_struct
from connectors.reading.own import OwnWord, words_with
from connectors.reading.words import Words
from schemas.arrays import arrays_of

_READ = """
  select subject, name, phrase
  from app.reader_words
  where tenant_id = $1
  order by subject, name, phrase
"""
_DROP = "delete from app.reader_words where tenant_id = $1"
_ADD = """
  insert into app.reader_words (tenant_id, subject, name, phrase)
  select $1, *
  from unnest($2::text[], $3::text[], $4::text[])
"""


async def read(connection: Connection, tenant_id: UUID) -> tuple[OwnWord, ...]:
    return tuple(to_struct(row, OwnWord) for row in await connection.fetch(_READ, tenant_id))


async def replace(connection: Connection, tenant_id: UUID, own: Sequence[OwnWord]) -> tuple[OwnWord, ...]:
    """The tenant has exactly these words afterwards. Two replacements at once come one after the other."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant_id}/words")
    await connection.execute(_DROP, tenant_id)
    await connection.execute(_ADD, tenant_id, *arrays_of([(word.subject, word.name, word.phrase) for word in own], 3))
    return await read(connection, tenant_id)


async def load(database: Database, tenant_id: UUID) -> Words:
    """What a tenant's texts are read with."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        return words_with(await read(connection, tenant_id))
