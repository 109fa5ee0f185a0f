"""The state that the migrations make, as SQL to read: `schemas/sql/schema.sql`.

Owns what of Postgres' catalogue is told, and in which order: by name, so that equal databases give equal texts. Refuses
to open a connection, and to be run: rights and policies are what a person wants to see beside a table, not a script.
`adriatic schemas generate` writes the file; a test compares it with a database that the migrations made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from schemas.migrations import SQL_FOLDER

if TYPE_CHECKING:
    import psycopg

STATE_FILE = SQL_FOLDER / "schema.sql"
HEADER = "-- What the migrations make, written by `adriatic schemas generate`. Change a migration, not this file.\n"
SCHEMAS = ["app", "mv", "ops"]

COLUMNS = """
  select
    a.attrelid::regclass::text,
    concat_ws(
      ' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
      case
        when a.attstorage <> t.typstorage then case a.attstorage
          when 'm' then 'storage main'
          when 'e' then 'storage external'
          else 'storage plain'
        end
      end,
      case when a.attidentity = 'a' then 'generated always as identity' end,
      case when a.attnotnull then 'not null' end, 'default ' || pg_get_expr(d.adbin, d.adrelid)
    )
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_type t on t.oid = a.atttypid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where c.relnamespace = any (%(schemas)s::regnamespace[])
    and c.relkind in ('r', 'p')
    and a.attnum > 0
    and not a.attisdropped
  order by 1, a.attnum
"""

CONSTRAINTS = """
  select conrelid::regclass::text, 'constraint ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid)
  from pg_constraint
  where connamespace = any (%(schemas)s::regnamespace[]) and contype <> 'n'
  order by 1, position(contype in 'pufcx'), conname
"""

INDEXES = """
  select i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid) || ';'
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  where c.relnamespace = any (%(schemas)s::regnamespace[])
    and not exists (
      select
      from pg_constraint k
      where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x')
    )
  order by 1, c.relname
"""

ROW_SECURITY = """
  select
    oid::regclass::text,
    'alter table ' || oid::regclass || ' ' || unnest(
      array_remove(
        array[
          case when relrowsecurity then 'enable row level security;' end,
          case when relforcerowsecurity then 'force row level security;' end
        ],
        null
      )
    )
  from pg_class
  where relnamespace = any (%(schemas)s::regnamespace[]) and relkind in ('r', 'p')
  order by 1, 2
"""

POLICIES = """
  select
    polrelid::regclass::text,
    concat_ws(
      ' ', 'create policy', quote_ident(polname), 'on', polrelid::regclass,
      case when not polpermissive then 'as restrictive' end,
      case polcmd
        when 'r' then 'for select'
        when 'a' then 'for insert'
        when 'w' then 'for update'
        when 'd' then 'for delete'
      end,
      'to',
      (
        select string_agg(
          coalesce(nullif(role, 0)::regrole::text, 'public'), ', ' order by role::regrole::text
        )
        from unnest(polroles) as role
      ),
      'using (' || pg_get_expr(polqual, polrelid) || ')',
      'with check (' || pg_get_expr(polwithcheck, polrelid) || ')'
    ) || ';'
  from pg_policy
  join pg_class c on c.oid = polrelid
  where c.relnamespace = any (%(schemas)s::regnamespace[])
  order by 1, polname
"""

COMMENTS = """
  select
    p.polrelid::regclass::text,
    format('comment on policy %%I on %%s is %%L;', p.polname, p.polrelid::regclass, d.description)
  from pg_description d
  join pg_policy p on d.classoid = 'pg_policy'::regclass and d.objoid = p.oid
  union all
  select
    c.oid::regclass::text,
    case
      when d.objsubid = 0 then format('comment on table %%s is %%L;', c.oid::regclass, d.description)
      else format('comment on column %%s.%%I is %%L;', c.oid::regclass, a.attname, d.description)
    end
  from pg_description d
  join pg_class c on d.classoid = 'pg_class'::regclass and d.objoid = c.oid
  left join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid
  where c.relnamespace = any (%(schemas)s::regnamespace[])
  order by 1, 2
"""

GRANTS = """
  with rights as (
    select c.oid as relation, '' as columns, g.grantee, g.privilege_type
    from pg_class c
    cross join lateral aclexplode(c.relacl) g
    where c.relnamespace = any (%(schemas)s::regnamespace[])
      and c.relkind in ('r', 'p')
      and g.grantee <> c.relowner
    union all
    select
      a.attrelid, ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')', g.grantee,
      g.privilege_type
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    cross join lateral aclexplode(a.attacl) g
    where c.relnamespace = any (%(schemas)s::regnamespace[])
    group by a.attrelid, g.grantee, g.privilege_type
  )
  select
    relation::regclass::text,
    format(
      'grant %%s on %%s to %%s;',
      string_agg(lower(privilege_type) || columns, ', ' order by privilege_type, columns), relation::regclass,
      case when grantee = 0 then 'public' else grantee::regrole::text end
    )
  from rights
  group by relation, grantee
  order by 1, 2
"""

VIEWS = r"""
  select
    c.oid::regclass::text,
    concat_ws(
      e'\n',
      format(
        'create view %%s%%s as', c.oid::regclass, ' with (' || array_to_string(c.reloptions, ', ') || ')'
      ),
      pg_get_viewdef(c.oid),
      (
        select string_agg(
          format('grant %%s on %%s to %%s;', lower(g.privilege_type), c.oid::regclass, g.grantee::regrole),
          e'\n' order by g.grantee::regrole::text, g.privilege_type
        )
        from aclexplode(c.relacl) g
        where g.grantee <> c.relowner
      )
    )
  from pg_class c
  where c.relnamespace = any (%(schemas)s::regnamespace[]) and c.relkind = 'v'
  order by 1
"""

FUNCTIONS = r"""
  select
    oid::regprocedure::text,
    trim(trailing e'\n' from pg_get_functiondef(oid)) || ';' || concat_ws(
      e'\n', '', format('alter routine %%s owner to %%s;', oid::regprocedure, proowner::regrole),
      case
        when proacl is not null and not exists (select from aclexplode(proacl) where grantee = 0) then
          format('revoke execute on routine %%s from public;', oid::regprocedure)
      end,
      (
        select string_agg(
          format('grant execute on routine %%s to %%s;', oid::regprocedure, grantee::regrole),
          e'\n' order by grantee::regrole::text
        )
        from aclexplode(proacl)
        where grantee not in (0, proowner)
      )
    )
  from pg_proc
  where pronamespace = any (%(schemas)s::regnamespace[])
  order by 1
"""

SCHEMA_GRANTS = r"""
  select concat_ws(
    e'\n', format('create schema %%I;', n.nspname),
    string_agg(
      format('grant %%s on schema %%I to %%s;', lower(g.privilege_type), n.nspname, g.grantee::regrole),
      e'\n' order by g.grantee::regrole::text, g.privilege_type
    )
  )
  from pg_namespace n
  left join lateral aclexplode(n.nspacl) g on g.grantee <> n.nspowner
  where n.oid = any (%(schemas)s::regnamespace[])
  group by n.nspname
  order by n.nspname
"""

PUBLICATIONS = r"""
  select format(
    e'create publication %%I for table\n    %%s;', pubname,
    string_agg(format('%%I.%%I', schemaname, tablename), e',\n    ' order by schemaname, tablename)
  )
  from pg_publication_tables
  group by pubname
  order by pubname
"""


def describe(connection: psycopg.Connection[Any]) -> str:
    """The schemas, functions, tables and publications of this database, as text."""
    parts = [HEADER]
    parts.append(_lines(connection, SCHEMA_GRANTS))
    parts.extend(_tables(connection))
    parts.extend(f"{text}\n" for query in (VIEWS, FUNCTIONS) for _, text in _rows(connection, query))
    parts.append(_lines(connection, PUBLICATIONS))
    return "\n".join(parts)


def _tables(connection: psycopg.Connection[Any]) -> Iterator[str]:
    body = _by_table(connection, COLUMNS)
    after: dict[str, list[str]] = defaultdict(list)
    for table, lines in _by_table(connection, CONSTRAINTS).items():
        body[table].extend(lines)
    for query in (INDEXES, ROW_SECURITY, POLICIES, COMMENTS, GRANTS):
        for table, lines in _by_table(connection, query).items():
            after[table].extend(lines)
    for table in sorted(body):
        columns = ",\n".join(f"    {line}" for line in body[table])
        yield "\n".join([f"create table {table} (\n{columns}\n);", *after[table], ""])


def _by_table(connection: psycopg.Connection[Any], query: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for table, line in _rows(connection, query):
        found[table].append(line)
    return found


def _lines(connection: psycopg.Connection[Any], query: str) -> str:
    return "".join(f"{row[0]}\n" for row in _rows(connection, query))


def _rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), {"schemas": SCHEMAS}).fetchall()
