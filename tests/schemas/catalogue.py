"""Walks over Postgres' catalogue that say where the isolation of tenants has a hole. Each gives one line per hole."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg

SCHEMAS = ["app", "mv", "ops"]
SHARED = {"mv.watermarks", "mv.embedding_spaces", "app.emitters"}
"""Tables that the API reads and that hold nothing of any tenant."""
OPEN_TO_THE_API = {
    "ops.consumer_offsets",
    "ops.cdc_progress",
    "ops.cdc_tables",
    "ops.cdc_sessions",
    "ops.cdc_snapshots",
    "ops.cdc_topics",
    "ops.migrations",
    "ops.pipeline",
    "ops.freshness_minute",
}
"""Of ops, what `as_of`, lag and readiness are computed from."""
AMONG_ALL_TENANTS = {"app.tenants_slug_key"}
"""Indexes that are about all tenants: no two of them have the same slug. Only the owner, who makes tenants, meets
it."""
TENDED_BY_THE_OWNER = {
    "ops.tend_outbox(interval)",
    "ops.keep_api_process(uuid,double precision)",
    "ops.call_answer(uuid,uuid,boolean)",
    "ops.take_answer_calls(uuid)",
    "ops.api_process_lives(uuid)",
    "ops.tell_stops(uuid[])",
    "mv.make_vector_table(integer)",
    "mv.build_vector_graph(integer,integer,integer)",
    "mv.drop_vector_table(integer)",
}
"""The first and those of vectors make and drop tables, which only their owner can; the others are about processes of
the API, whose rows are no tenant's, and say nothing to who does not know the id
(tests/streams/test_lost_attempts.py, tests/api/chat/test_kept.py). `ops.tell_stops` tells which tenants of those that
one knows have stopped spending (tests/api/spend/test_switch.py)."""
TENANT_POLICY = "(tenant_id = ( SELECT app.current_tenant() AS current_tenant))"

Connection = psycopg.Connection[Any]


def _holes(connection: Connection, query: LiteralString, **parameters: Any) -> list[str]:
    return [" ".join(map(str, row)) for row in connection.execute(query, {"schemas": SCHEMAS, **parameters})]


def tables(connection: Connection, *, with_tenant: bool, with_partitions: bool = False) -> list[str]:
    """Every table that has (or has not) a tenant_id, as schema.table."""
    return _holes(
        connection,
        """
        select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any (%(schemas)s) and c.relkind in ('r', 'p') and %(with_tenant)s = exists (
            select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped)
        and (%(with_partitions)s or not c.relispartition)
        order by 1
        """,
        with_tenant=with_tenant,
        with_partitions=with_partitions,
    )


def without_forced_row_security(connection: Connection) -> list[str]:
    return _holes(
        connection,
        "select c.oid::regclass from pg_class c where c.oid = any (%(tables)s::regclass[]) "
        "and not (c.relrowsecurity and c.relforcerowsecurity) order by 1",
        tables=tables(connection, with_tenant=True, with_partitions=True),
    )


def without_tenant(connection: Connection) -> list[str]:
    """Tables of app and mv that the law does not reach because they have no tenant_id, and that nobody excepted."""
    found = tables(connection, with_tenant=False)
    return [name for name in found if not name.startswith("ops.") and name not in SHARED]


def policies_that_show_the_api_more(connection: Connection) -> list[str]:
    """Policies that reach the API's role, directly or through PUBLIC, and say something else than the tenant's own. One
    that is restrictive takes away only."""
    return _holes(
        connection,
        """
        select tablename, policyname, coalesce(qual, '-'), coalesce(with_check, '-') from pg_policies
        where schemaname = any (%(schemas)s) and roles && array['adriatic_api', 'public']::name[]
        and permissive = 'PERMISSIVE' and (qual is distinct from %(policy)s or with_check is distinct from %(policy)s)
        """,
        policy=TENANT_POLICY,
    )


def tables_that_the_api_reads_without_policy(connection: Connection) -> list[str]:
    found = _holes(
        connection,
        """
        select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any (%(schemas)s) and c.relkind in ('r', 'p', 'm', 'f')
        and has_any_column_privilege('adriatic_api', c.oid, 'select')
        and not exists (select from pg_policy p where p.polrelid = c.oid and 'adriatic_api'::regrole = any (p.polroles))
        """,
    )
    return [name for name in found if name not in SHARED | OPEN_TO_THE_API]


def roles_that_may_too_much(connection: Connection) -> list[str]:
    """Row security does not bind a superuser, a role with BYPASSRLS, and whoever may become one."""
    return _holes(
        connection,
        """
        select r.rolname, m.rolname from pg_roles r left join pg_roles m on pg_has_role(r.oid, m.oid, 'member')
        where r.rolname like 'adriatic\\_%%' and (m.rolsuper or m.rolbypassrls or m.rolcreaterole
            or (m.rolname <> r.rolname and (r.rolname, m.rolname) <> ('adriatic_owner', 'adriatic_search')))
        """,
    )


def indexes_that_serve_nobody(connection: Connection) -> list[str]:
    """Indexes of tenant tables that do not start with the tenant (GIN has no order, so it is excepted)."""
    found = _holes(
        connection,
        """
        select i.indexrelid::regclass from pg_index i
        join pg_class c on c.oid = i.indexrelid join pg_am am on am.oid = c.relam
        join pg_attribute a on a.attrelid = i.indrelid and a.attname = 'tenant_id'
        where i.indrelid = any (%(tables)s::regclass[]) and am.amname <> 'gin' and i.indkey[0] <> a.attnum
        and has_any_column_privilege('adriatic_api', i.indrelid, 'select')
        """,
        tables=tables(connection, with_tenant=True),
    )
    return [name for name in found if name not in AMONG_ALL_TENANTS]


def foreign_keys_that_cross_tenants(connection: Connection) -> list[str]:
    """Foreign keys between tenant tables that do not begin with the tenant on both sides."""
    return _holes(
        connection,
        """
        select k.conrelid::regclass, k.conname from pg_constraint k
        where k.contype = 'f' and k.conrelid = any (%(tables)s::regclass[]) and k.confrelid = any
        (%(tables)s::regclass[]) and not exists (
            select from pg_attribute ours join pg_attribute theirs on theirs.attrelid = k.confrelid
            where ours.attrelid = k.conrelid and ours.attname = 'tenant_id' and theirs.attname = 'tenant_id'
            and k.conkey[1] = ours.attnum and k.confkey[1] = theirs.attnum)
        """,
        tables=tables(connection, with_tenant=True),
    )


def rights_that_nobody_needs(connection: Connection) -> list[str]:
    """What PUBLIC has, what lets a role of ours get around a policy, and what the API may write beyond its tables."""
    return _holes(
        connection,
        """
        select c.oid::regclass, coalesce(r.rolname, 'public'), g.privilege_type
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        cross join lateral aclexplode(c.relacl) g left join pg_roles r on r.oid = g.grantee
        where n.nspname = any (%(schemas)s) and g.grantee <> c.relowner and (
            g.grantee = 0
            or g.privilege_type in ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
            or r.rolname = 'adriatic_api' and n.nspname <> 'app' and g.privilege_type <> 'SELECT'
            or r.rolname = 'adriatic_search' and g.privilege_type <> 'SELECT'
            or r.rolname = 'adriatic_cdc' and n.nspname <> 'ops' and g.privilege_type <> 'SELECT'
            or r.rolname in ('adriatic_api', 'adriatic_flows')
                and c.oid in ('app.adr_versions'::regclass, 'app.document_versions'::regclass,
                    'app.page_versions'::regclass)
                and g.privilege_type in ('UPDATE', 'DELETE'))
        """,
    )


def functions_that_run_as_somebody_else(connection: Connection) -> list[str]:
    """SECURITY DEFINER without a pinned search_path, or open to everybody, or owned by a role that sees more."""
    found = _holes(
        connection,
        """
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = any (%(schemas)s) and p.prosecdef and (
            not exists (select from unnest(p.proconfig) s where s like 'search\\_path=%%')
            or has_function_privilege('public', p.oid, 'execute')
            or p.proowner <> 'adriatic_search'::regrole)
        """,
    )
    return [name for name in found if name not in TENDED_BY_THE_OWNER]


def views_that_run_as_their_owner(connection: Connection) -> list[str]:
    return _holes(
        connection,
        """
        select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = any (%(schemas)s) and (c.relkind = 'm' or c.relkind = 'v'
            and not coalesce(c.reloptions @> array['security_invoker=true'], false))
        """,
    )


def who_may_connect_for_nothing(connection: Connection) -> list[str]:
    """What others than our login roles and the owner may in this database: without any right in it one may write
    messages into the WAL and hold advisory locks."""
    return _holes(
        connection,
        """
        select coalesce(r.rolname, 'public'), g.privilege_type
        from pg_database d cross join lateral aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) g
        left join pg_roles r on r.oid = g.grantee
        where d.datname = current_database() and g.grantee <> d.datdba
        and (coalesce(r.rolname, 'public'), g.privilege_type) not in (
            ('adriatic_owner', 'CREATE'), ('adriatic_owner', 'CONNECT'), ('adriatic_api', 'CONNECT'),
            ('adriatic_flows', 'CONNECT'), ('adriatic_cdc', 'CONNECT'))
        """,
    )


WALKS = (
    who_may_connect_for_nothing,
    without_forced_row_security,
    without_tenant,
    policies_that_show_the_api_more,
    tables_that_the_api_reads_without_policy,
    roles_that_may_too_much,
    indexes_that_serve_nobody,
    foreign_keys_that_cross_tenants,
    rights_that_nobody_needs,
    functions_that_run_as_somebody_else,
    views_that_run_as_their_owner,
)
