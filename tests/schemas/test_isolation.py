"""Law 4: Postgres isolates tenants. The catalogue says so, and rows say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from runtime.settings import Role, Settings
from tests import databases
from tests.schemas import catalogue

pytestmark = pytest.mark.stack

A, B = uuid4(), uuid4()
Connection = psycopg.Connection[Any]


@pytest.mark.parametrize("walk", catalogue.WALKS, ids=lambda walk: walk.__name__)
def test_the_catalogue_has_no_hole(walk: Callable[[Connection], list[str]], database: Settings) -> None:
    with databases.act(database, "admin") as connection:
        assert walk(connection) == []


# Each walk must find what it is there for, or its silence means nothing.
@pytest.mark.parametrize(
    ("hole", "walk"),
    [
        ("create table app.leak (tenant_id uuid)", catalogue.without_forced_row_security),
        ("alter table app.adrs no force row level security", catalogue.without_forced_row_security),
        ("alter table mv.chunks disable row level security", catalogue.without_forced_row_security),
        ("create table mv.leak (adr_id uuid)", catalogue.without_tenant),
        ("create policy wide on app.adrs to adriatic_api using (true)", catalogue.policies_that_show_the_api_more),
        ("create policy wide on app.adrs to public using (true)", catalogue.policies_that_show_the_api_more),
        ("grant select on ops.dlq to adriatic_api", catalogue.tables_that_the_api_reads_without_policy),
        (
            "create table ops.leak (body text); grant select (body) on ops.leak to adriatic_api",
            catalogue.tables_that_the_api_reads_without_policy,
        ),
        ("create role adriatic_leak superuser", catalogue.roles_that_may_too_much),
        ("create role adriatic_leak bypassrls", catalogue.roles_that_may_too_much),
        ("grant adriatic_flows to adriatic_api", catalogue.roles_that_may_too_much),
        ("create index leak on app.adrs (title)", catalogue.indexes_that_serve_nobody),
        (
            "create table app.leak (tenant_id uuid, id uuid primary key, parent uuid references app.leak (id))",
            catalogue.foreign_keys_that_cross_tenants,
        ),
        ("grant select on app.tenants to public", catalogue.rights_that_nobody_needs),
        ("grant truncate on app.adr_tags to adriatic_api", catalogue.rights_that_nobody_needs),
        ("grant update on app.adr_versions to adriatic_api", catalogue.rights_that_nobody_needs),
        ("grant delete on app.document_versions to adriatic_flows", catalogue.rights_that_nobody_needs),
        ("grant delete on mv.chunks to adriatic_api", catalogue.rights_that_nobody_needs),
        (
            "create function app.leak() returns bigint language sql security definer "
            "as 'select count(*) from app.adrs'",
            catalogue.functions_that_run_as_somebody_else,
        ),
        ("grant connect on database {database} to public", catalogue.who_may_connect_for_nothing),
        ("grant temporary on database {database} to adriatic_api", catalogue.who_may_connect_for_nothing),
        ("create view mv.leak as select * from app.adrs", catalogue.views_that_run_as_their_owner),
        ("create materialized view mv.leak as select 1 as one", catalogue.views_that_run_as_their_owner),
    ],
)
def test_the_walks_find_holes(hole: LiteralString, walk: Callable[[Connection], list[str]], database: Settings) -> None:
    with databases.act(database, "admin") as connection:
        connection.execute(sql.SQL(hole).format(database=sql.Identifier(database.postgres.database)))
        assert walk(connection) != []


def test_a_role_that_is_not_ours_cannot_connect(database: Settings) -> None:
    name = f"stranger_{uuid4().hex[:8]}"
    with psycopg.connect(database.postgres.dsn("admin"), autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login password 'x'").format(sql.Identifier(name)))
        try:
            theirs = database.postgres.model_copy(update={"admin_user": name, "admin_password": SecretStr("x")})
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(theirs.dsn("admin"))
        finally:
            admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


# --- rows -----------------------------------------------------------------------------------------------------------

VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'x' || gen_random_uuid()",
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "double precision": "1",
    "text[]": "'{x}'",
    "integer[]": "'{1}'",
    "boolean": "false",
    "bytea": "'\\x01'",
    "jsonb": "'[]'",
    "tsvector": "'x'",
    "vector": "'[1]'",
    "halfvec": "'[1]'",
    "timestamp with time zone": "now()",
    "date": "current_date",
    "name": "current_user",
}
"""Something for each type that a tenant table has."""


@pytest.fixture(scope="module")
def two_tenants(database: Settings) -> Settings:
    """Every table with a tenant_id has one row of A and one of B. What else the rows say does not matter, so
    constraints that would ask for more are dropped from this database first."""
    with psycopg.connect(database.postgres.dsn("admin"), autocommit=True) as admin:
        constraints = admin.execute(
            "select conrelid::regclass::text, conname from pg_constraint k join pg_namespace n on n.oid = connamespace "
            "where n.nspname = any (%s) and contype in ('c', 'f') and coninhcount = 0",
            [catalogue.SCHEMAS],
        ).fetchall()
        for table, name in constraints:
            admin.execute(sql.SQL("alter table {} drop constraint {}").format(sql.SQL(table), sql.Identifier(name)))
        # A partition that is made when a tenant has grown, as every other: of slot 1, which `VALUES` has.
        admin.execute("select mv.make_vector_table(1)")
        for table in catalogue.tables(admin, with_tenant=True):
            for tenant in (A, B):
                _insert(admin, table, tenant)
    return database


def _insert(connection: Connection, table: str, tenant: UUID) -> None:
    columns = connection.execute(
        "select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attnum > 0 "
        "and attnotnull and not attisdropped and attname <> 'tenant_id' and attgenerated = '' and attidentity = ''",
        [table],
    ).fetchall()
    names = [sql.Identifier("tenant_id"), *(sql.Identifier(name) for name, _ in columns)]
    values = [sql.Literal(str(tenant)), *(sql.SQL(VALUES[kind]) for _, kind in columns)]
    connection.execute(
        sql.SQL("insert into {} ({}) values ({})").format(
            sql.SQL(table),
            sql.SQL(", ").join(names),
            sql.SQL(", ").join(values),
        )
    )


def readable(connection: Connection) -> list[str]:
    return [
        table
        for table in catalogue.tables(connection, with_tenant=True)
        if connection.execute("select has_table_privilege(%s, 'select')", [table]).fetchone() == (True,)
    ]


def tenants_seen(connection: Connection, table: str) -> set[UUID]:
    return {row[0] for row in connection.execute(sql.SQL("select tenant_id from {}").format(sql.SQL(table)))}


def test_an_unset_tenant_sees_nothing(two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api") as connection:
        tables = readable(connection)
        assert len(tables) > 8
        assert {table: tenants_seen(connection, table) for table in tables} == {table: set() for table in tables}
        connection.execute("select set_config('app.tenant_id', '', true)")
        assert {table: tenants_seen(connection, table) for table in tables} == {table: set() for table in tables}


@pytest.mark.parametrize("tenant", [A, B], ids="AB")
def test_a_tenant_sees_its_own_rows_and_no_others(tenant: UUID, two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api", tenant) as connection:
        tables = readable(connection)
        assert {table: tenants_seen(connection, table) for table in tables} == {table: {tenant} for table in tables}


def test_a_tenant_that_does_not_exist_sees_nothing(two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api", uuid4()) as connection:
        assert [table for table in readable(connection) if tenants_seen(connection, table)] == []


def test_the_tenant_ends_with_the_transaction(two_tenants: Settings) -> None:
    with psycopg.connect(two_tenants.postgres.dsn("api"), autocommit=True) as connection:
        with connection.transaction():
            connection.execute("select set_config('app.tenant_id', %s, true)", [str(A)])
            assert tenants_seen(connection, "app.adrs") == {A}
        assert tenants_seen(connection, "app.adrs") == set()


def test_a_tenant_that_is_not_a_uuid_is_an_error_and_not_everything(two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api") as connection:
        connection.execute("select set_config('app.tenant_id', 'everybody', true)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            tenants_seen(connection, "app.adrs")


def may(connection: Connection, right: str, table: str) -> bool:
    return connection.execute("select has_table_privilege(%s, %s)", [table, right]).fetchone() == (True,)


@pytest.mark.parametrize(
    ("right", "attempt"),
    [
        ("update", "update {} set tenant_id = tenant_id where tenant_id = {}"),
        ("delete", "delete from {} where tenant_id = {}"),
    ],
)
def test_the_api_cannot_change_another_tenants_rows(right: str, attempt: LiteralString, two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api", A) as connection:
        tables = [table for table in catalogue.tables(connection, with_tenant=True) if may(connection, right, table)]
        assert len(tables) > 2
        for table in tables:
            assert connection.execute(sql.SQL(attempt).format(sql.SQL(table), str(B))).rowcount == 0, table


def test_the_api_cannot_add_rows_to_another_tenant(two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api", A) as connection:
        tables = [table for table in catalogue.tables(connection, with_tenant=True) if may(connection, "insert", table)]
        assert len(tables) > 5
        for table in tables:
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
                connection.transaction(),
            ):
                _insert(connection, table, B)


def test_a_row_cannot_be_given_away(two_tenants: Settings) -> None:
    with databases.act(two_tenants, "api", A) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("update app.adrs set tenant_id = %s", [B])


def test_the_owner_is_bound_too(two_tenants: Settings) -> None:
    """A migration that reads rows sees none by accident; tenants themselves are made by the owner, events of days that
    nobody made are deleted by it, and orders to stop are told by a function of it (`ops.tell_stops`)."""
    with databases.act(two_tenants, "owner") as connection:
        seen = {table for table in readable(connection) if tenants_seen(connection, table)}
    assert seen == {"app.tenants", "app.spend_stops"}


@pytest.mark.parametrize("role", ["flows", "cdc"])
def test_those_who_serve_all_tenants_see_all_by_a_policy(role: Role, two_tenants: Settings) -> None:
    with databases.act(two_tenants, role) as connection:
        tables = readable(connection)
        assert "app.adr_versions" in tables
        assert {table: tenants_seen(connection, table) for table in tables} == {table: {A, B} for table in tables}
