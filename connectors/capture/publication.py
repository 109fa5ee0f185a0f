"""What a publication has: its tables and their columns, by one query, for change capture and for the contracts.

Refuses to follow changes: change capture reads Relation messages for that.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.capture import pgoutput
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from runtime.errors import NotFound
from runtime.settings import PostgresSettings
from schemas.capture import Column

PUBLISHED = """
  select
    n.nspname, c.relname, c.oid::bigint, c.relreplident::text, p.rowfilter, a.attname, a.atttypid::bigint,
    a.atttypmod, coalesce(a.attnum = any (i.indkey), false) or c.relreplident = 'f',
    coalesce(a.attnum = any (k.indkey), false), c.relkind = 'p',
    format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ', not null' else '' end
  from pg_publication b
  left join pg_publication_tables p on p.pubname = b.pubname
  left join pg_namespace n on n.nspname = p.schemaname
  left join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
  left join pg_attribute a on a.attrelid = c.oid and a.attname = any (p.attnames) and not a.attisdropped
  left join pg_index k on k.indrelid = c.oid and k.indisprimary
  left join pg_index i on i.indrelid = c.oid
    and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
  where b.pubname = %s
  order by n.nspname, c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Published:
    """A table of the publication, each with the columns that it publishes, in the table's order."""

    relation: pgoutput.Relation
    """The table as the WAL will show it: keys are the replica identity."""
    row_filter: str | None
    is_partitioned: bool
    """Its rows are in other tables, and the WAL shows them as its own."""
    columns: tuple[Column, ...]
    """The columns as its contract has them: keys are the primary key."""

    @property
    def name(self) -> str:
        return self.relation.name


def read_published(connection: Connection, publication: str) -> list[Published] | None:
    """The tables of `publication`; None when there is no such publication."""
    tables: dict[int, Published] = {}
    rows = connection.execute(PUBLISHED, [publication]).fetchall()
    for row in rows:
        schema, table, oid, identity, row_filter, name, type_oid, modifier, is_identity, *rest = row
        is_primary, is_partitioned, doc = rest
        if oid is None:  # a publication of no tables
            continue
        before = tables.get(oid)
        known, columns = (before.relation.columns, before.columns) if before else ((), ())
        shown = (*known, pgoutput.RelationColumn(name, type_oid, modifier, is_identity))
        relation = pgoutput.Relation(oid, schema, table, identity, shown)
        columns = (*columns, Column(name, type_oid, is_primary, modifier, doc))
        tables[oid] = Published(relation, row_filter, is_partitioned, columns)
    return list(tables.values()) if rows else None


def describe_published(settings: PostgresSettings, publication: str) -> list[Published]:
    """The same by a connection of its own. Raises `NotFound` when there are none, and what
    `connectors/postgres/errors.py` says."""
    with (
        translate(f"read the columns of publication {publication}"),
        connect(settings, "watch", "owner", name="adriatic-contracts") as connection,
    ):
        tables = read_published(connection, publication)
    if not tables:
        raise NotFound(f"no tables in a publication {publication}", hint="run `adriatic migrate` first")
    return tables
