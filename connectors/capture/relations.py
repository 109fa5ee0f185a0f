"""The tables of a publication and their columns, as a migrated database has them.

Owns the catalogue query behind the committed capture contracts. Refuses to follow changes: change capture reads
Relation messages for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.postgres.connections import connect
from connectors.postgres.errors import translate
from runtime.errors import NotFound
from runtime.settings import PostgresSettings
from schemas.capture import Column

COLUMNS_SQL = """
select n.nspname, c.relname, a.attname, a.atttypid, a.atttypmod,
       coalesce(i.indkey::int2[] @> array[a.attnum], false) as key,
       format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ', not null' else '' end as doc
from pg_publication_tables p
join pg_namespace n on n.nspname = p.schemaname
join pg_class c on c.relname = p.tablename and c.relnamespace = n.oid
join pg_attribute a on a.attrelid = c.oid and a.attname = any (p.attnames) and not a.attisdropped
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where p.pubname = %s
order by n.nspname, c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A published table; the columns in the order in which the WAL has them."""

    schema: str
    table: str
    columns: tuple[Column, ...]


def published(settings: PostgresSettings, publication: str) -> list[Relation]:
    """Every table of `publication`. Raises `NotFound` when there is none, and what `errors.py` says."""
    with (
        translate(f"read the columns of publication {publication}"),
        connect(settings, "watch", "owner", name="adriatic-contracts") as connection,
    ):
        rows = connection.execute(COLUMNS_SQL, [publication]).fetchall()
    if not rows:
        raise NotFound(f"no tables in a publication {publication}", hint="run `adriatic migrate` first")
    tables: dict[tuple[str, str], list[Column]] = {}
    for schema, table, name, type_oid, type_modifier, key, doc in rows:
        column = Column(name, type_oid, key, type_modifier, doc)
        tables.setdefault((schema, table), []).append(column)
    return [Relation(schema, table, tuple(columns)) for (schema, table), columns in tables.items()]
