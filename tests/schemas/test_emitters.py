"""Law 1 and 4: who may put an event into the log, tried as each role, with and without a tenant."""

from __future__ import annotations

import json
import re
from typing import Any, get_args
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors

from runtime.settings import Role, Settings
from tests import databases
from topics import catalog

pytestmark = pytest.mark.stack

A, B = uuid4(), uuid4()
ROLES: tuple[Role, ...] = tuple(role for role in get_args(Role) if role != "admin")
EMITTERS: tuple[Role, ...] = ("api", "flows")
EVENT, LETTER = "document.uploaded", "feed.received.dlq"
EMIT = "select app.emit(%s, %s, %s, %s)"
EMIT_RAW = "select app.emit_raw(%s, 'k', %s, 'v')"
REFUSED = (errors.InsufficientPrivilege, errors.CheckViolation)

Connection = psycopg.Connection[Any]


def arguments(topic: str, tenant: UUID | None, *, said: UUID | None = None) -> list[Any]:
    """Of `app.emit`. `said`: the tenant that the event itself names, when it is another."""
    named = None if (said or tenant) is None else str(said or tenant)
    content = json.dumps({"tenant_id": named, "id": str(uuid4())})
    return [topic, content, tenant, content]


def may(role: Role, topic: str) -> bool:
    return topic in ALLOWED[role]


ALLOWED: dict[Role, set[str]] = {
    "api": {
        *("agent.task.submitted", "crawl.submitted", "document.uploaded", "feed.received", "job.progress"),
        *("spend.alert", "rag.search.requested", "agent.task.completed"),
    },
    "flows": {
        *(
            "crawl.completed",
            "crawl.submitted",
            "document.processed",
            "embeddings.requested",
            "embeddings.requested.bulk",
        ),
        *("job.progress", "spend.alert", "rag.search.completed", "agent.task.completed"),
    }
    | {name for name, topic in catalog.load().items() if topic.kind == "dlq"},
}


def test_each_topic_of_events_has_who_speaks_to_it_and_no_other_topic_has(database: Settings) -> None:
    with databases.act(database, "admin", None) as connection:
        rows = connection.execute("select role, topic from app.emitters").fetchall()
    assert {(role, topic) for role, topic in rows} == {
        (f"adriatic_{role}", topic) for role, topics in ALLOWED.items() for topic in topics
    }
    kinds = {topic: catalog.load()[topic].kind for _, topic in rows}
    assert set(kinds.values()) == {"event", "dlq"}


@pytest.mark.parametrize("topic", sorted({*catalog.load(), "no.such.topic"}))
@pytest.mark.parametrize("tenant", [None, A], ids=["without a tenant", "as a tenant"])
@pytest.mark.parametrize("role", ROLES)
def test_a_role_speaks_to_its_own_topics_alone(role: Role, tenant: UUID | None, topic: str, database: Settings) -> None:
    allowed = role in EMITTERS and may(role, topic) and (role == "flows" or tenant is not None)
    letters = topic.endswith(".dlq")
    for statement, values, fits in ((EMIT, arguments(topic, A), True), (EMIT_RAW, [topic, A], letters)):
        with databases.act(database, role, tenant) as connection:
            if allowed and fits:
                connection.execute(statement, values)
            else:
                with pytest.raises(REFUSED):
                    connection.execute(statement, values)


@pytest.mark.parametrize(
    "values",
    [
        arguments(EVENT, B),
        arguments(EVENT, A, said=B),
        arguments(EVENT, None),
        arguments(EVENT, None, said=B),
    ],
    ids=["another's", "one's own that names another", "nobody's", "nobody's that names another"],
)
def test_a_tenant_speaks_for_itself_alone(values: list[Any], database: Settings) -> None:
    with databases.act(database, "api", A) as connection, pytest.raises(REFUSED):
        connection.execute(EMIT, values)


@pytest.mark.parametrize("role", EMITTERS)
def test_bytes_that_nobody_looks_into_are_no_events(role: Role, database: Settings) -> None:
    """They could name another tenant."""
    for topic in ALLOWED[role] - {name for name in catalog.load() if name.endswith(".dlq")}:
        for column in ("key_bytes", "value_bytes"):
            insert = f"insert into app.outbox (topic, tenant_id, {column}) values (%s, %s, 'x')"
            with databases.act(database, role, A) as connection, pytest.raises(errors.CheckViolation):
                connection.execute(insert.encode(), [topic, A])


@pytest.mark.parametrize("topic", sorted(ALLOWED["api"]))
def test_an_event_is_bounded(topic: str, database: Settings) -> None:
    """What is larger than a gigabyte as text cannot be read from the WAL, nor anything behind it."""
    for size in ("repeat('x', 17000000)", "repeat(E'\\x01', 3000000)"):
        insert = (
            "insert into app.outbox (topic, tenant_id, value) values (%s, %s, "
            f"jsonb_build_object('tenant_id', %s::text, 'a', to_jsonb({size}::text)))"
        )
        with databases.act(database, "api", A) as connection, pytest.raises(errors.CheckViolation):
            connection.execute(insert.encode(), [topic, A, str(A)])


def test_every_row_that_is_captured_fits_into_a_record_of_its_topic(database: Settings) -> None:
    """Else one row of one tenant stops the table for all of them."""
    with databases.act(database, "admin", None) as connection:
        rows = connection.execute(
            "select p.schemaname || '.' || p.tablename, "
            "array(select a.attname::text from pg_attribute a join pg_type t on t.oid = a.atttypid "
            "where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and t.typlen = -1 "
            "and t.typname <> 'numeric'), "
            "(select pg_get_constraintdef(k.oid) from pg_constraint k "
            "where k.conrelid = c.oid and conname = 'is_bounded') "
            "from pg_publication_tables p "
            "join pg_class c on c.oid = format('%I.%I', p.schemaname, p.tablename)::regclass"
        ).fetchall()
    assert len(rows) > 20
    for table, texts, constraint in rows:
        named = set(re.findall(r"octet_length\(\(?\"?(\w+)", constraint or ""))
        assert named == set(texts), table
        if texts and table != "app.outbox":
            topic = catalog.load()[f"adriatic.{table}"]
            room = int(topic.extra.get("max.message.bytes", 1_048_588)) - int(constraint.rstrip(")").split()[-1])
            assert room >= 65_536, table


@pytest.mark.parametrize("column", ["title", "message", "author", "source_ref", "original"])
def test_no_column_makes_a_row_too_large(column: str, database: Settings) -> None:
    row = {"change": "create", "title": "t", "status": "draft", "body": "b", "author": "a", column: "x" * 4_200_000}
    names = ", ".join(row)
    insert = (
        f"insert into app.adr_versions (tenant_id, adr_id, version, effective_at, {names}) "
        f"values (%s, gen_random_uuid(), 1, now(), {', '.join(['%s'] * len(row))})"
    )
    with databases.act(database, "api", A) as connection, pytest.raises(errors.CheckViolation, match="is_bounded"):
        connection.execute(insert.encode(), [A, *row.values()])


def test_a_publication_that_somebody_changed_is_made_again_as_it_was(database: Settings) -> None:
    members = (
        "select schemaname, tablename, attnames::text, rowfilter, pubviaroot "
        "from pg_publication_tables join pg_publication using (pubname) where pubname = 'adriatic' order by 1, 2"
    )
    with databases.act(database, "owner", None) as connection:
        mark = "select ops.publication_mark('adriatic')"
        was, marked = connection.execute(members).fetchall(), connection.execute(mark).fetchone()
        assert connection.execute(mark).fetchone() == marked
        for change in (
            "alter publication adriatic drop table app.adr_versions",
            "alter publication adriatic add table app.adr_versions",
            "alter publication adriatic set (publish = 'insert')",
            "alter publication adriatic set table app.outbox where (false)",
        ):
            connection.execute(change.encode())
            now = connection.execute(mark).fetchone()
            assert now != marked, change
            marked = now
        connection.execute("call ops.make_publication()")
        assert connection.execute(members).fetchall() == was
        connection.execute("drop publication adriatic")
        assert connection.execute(mark).fetchone() == (None,)


def test_what_an_event_says_is_what_its_row_says_whoever_wrote_it(database: Settings) -> None:
    with databases.act(database, "flows", None) as connection, pytest.raises(errors.CheckViolation):
        connection.execute(EMIT, arguments("document.processed", A, said=B))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "insert into app.outbox (topic, tenant_id, value, emitted_by) values ('document.uploaded', %(a)s, '{}', 'x')",
        "insert into app.outbox (topic, tenant_id, value, emitted_at) values ('document.uploaded', %(a)s, '{}', now())",
        "insert into app.outbox_rest (topic, tenant_id, value) values ('document.uploaded', %(a)s, '{}')",
        "update app.outbox set topic = 'feed.received'",
        "delete from app.outbox",
        "truncate app.outbox",
        "insert into app.emitters values ('adriatic_api', 'embeddings.requested')",
        "delete from app.emitters",
    ],
)
def test_nobody_changes_what_was_said_or_who_may_say_it(role: Role, statement: str, database: Settings) -> None:
    if role == "owner":
        pytest.skip("whom the tables belong to; it serves nobody")
    with databases.act(database, role, A) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement, {"a": A})


@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("cdc", "owner")])
def test_nobody_but_change_capture_reads_what_is_said(role: Role, database: Settings) -> None:
    with databases.act(database, role, A) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("select from app.outbox")


def test_days_are_made_ahead_and_dropped_when_everybody_has_passed_them(database: Settings) -> None:
    with databases.act(database, "admin", None) as connection:

        def days() -> list[str]:
            rows = connection.execute(
                "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid "
                "where i.inhparent = 'app.outbox'::regclass order by 1"
            )
            return [name for (name,) in rows]

        tend = "select made, dropped from ops.tend_outbox()"
        assert len(days()) == 9, "a week ahead, today, and the rest"
        connection.execute(tend)  # a new day may have begun since the migration: one more is made
        assert connection.execute(tend).fetchone() == (0, 0)
        connection.execute(
            "create table app.outbox_20200101 partition of app.outbox "
            "for values from ('2020-01-01 00:00+00') to ('2020-01-02 00:00+00')"
        )
        assert connection.execute(tend).fetchone() == (0, 0), "capture has not passed anything yet"
        connection.execute(
            "insert into ops.cdc_progress (slot, system_id, lsn, committed_at) "
            "values ('s', '1', '0/1', '2020-01-01 12:00Z')"
        )
        assert connection.execute(tend).fetchone() == (0, 0), "half of it is not in Kafka"
        connection.execute("update ops.cdc_progress set committed_at = now()")
        connection.execute(
            "insert into mv.watermarks values ('v', 'embeddings.requested', 0, '0/1', '2020-01-01 12:00Z')"
        )
        assert connection.execute(tend).fetchone() == (0, 0), "a flow has not read it"
        connection.execute("update mv.watermarks set source_at = now()")
        assert connection.execute(tend).fetchone() == (0, 1)
        assert "outbox_20200101" not in days()


def test_a_day_that_nobody_made_loses_nothing(database: Settings) -> None:
    with databases.act(database, "admin", None) as connection:
        insert = "insert into app.outbox (topic, tenant_id, value, emitted_at) values ('t', null, '{}', %s)"
        connection.execute(insert, ["2030-05-05 12:00Z"])
        connection.execute(insert, ["2020-05-05 12:00Z"])
        assert connection.execute("select count(*) from app.outbox_rest").fetchone() == (2,)
        connection.execute(
            "insert into ops.cdc_progress (slot, system_id, lsn, committed_at) values ('s', '1', '0/1', now())"
        )
        connection.execute("select ops.tend_outbox()")
        assert connection.execute("select emitted_at from app.outbox_rest").fetchall() != []
        assert connection.execute("select count(*) from app.outbox_rest").fetchone() == (1,)
