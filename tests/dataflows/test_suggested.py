"""Suggestions are what lists and texts give, whatever the order and repetition, and go when their reason is gone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.postgres.connections import Connection
from dataflows import nearness, oracle_related, related_lists
from dataflows.flow import Event
from runtime.settings import Settings
from schemas.suggestions import suggestion_id
from tests.dataflows.test_related import ADRS, TENANTS, Tables, start

pytestmark = pytest.mark.stack

SAID = {
    "Use Jenkins": "One server builds everything.",
    "Use GitHub Actions": "We move away from Jenkins.",
    "Stop using Jenkins": "Runners are rented.",
    "Do not use Jenkins": "It is patched by hand.",
    "Use Jenkins for CI builds": "One server builds everything.",
    "Use Buildkite for CI builds": "Agents are ours.",
}
STATUSES = ("accepted", "accepted", "proposed", "superseded")
ALL = "select newer_id, older_id, kind, evidence from mv.suggestions where tenant_id = %s order by 1, 2"


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    with psycopg.connect(fresh_database.postgres.dsn("admin")) as opened:
        yield opened
        opened.rollback()


def write(
    tables: Tables, adr: uuid.UUID, title: str, status: str = "accepted", tenant: uuid.UUID = TENANTS[0]
) -> Event:
    return tables.write(tenant, adr, f"# {title}\n\n{SAID[title]}\n", title=title, status=status)


def suggested(connection: Connection, tenant: uuid.UUID = TENANTS[0]) -> list[Any]:
    return connection.execute(ALL, [tenant]).fetchall()


@settings(max_examples=20)
@given(data=st.data())
def test_any_history_in_any_order_ends_where_every_pair_by_itself_ends(
    connection: Connection, data: st.DataObject
) -> None:
    tables = start(connection)
    with pytest.MonkeyPatch.context() as patched:
        for module in (nearness, related_lists, oracle_related):
            patched.setattr(module, "RELATED_MAX", 2)
        pending: list[Event] = []
        for _ in range(data.draw(st.integers(2, 14))):
            tenant, adr = data.draw(st.sampled_from(TENANTS)), data.draw(st.sampled_from(ADRS[:4]))
            match data.draw(st.sampled_from(("write", "write", "write", "delete", "link", "unlink"))):
                case "write":
                    title, status = data.draw(st.sampled_from(list(SAID))), data.draw(st.sampled_from(STATUSES))
                    pending.append(write(tables, adr, title, status, tenant))
                case "delete":
                    pending.append(tables.delete(tenant, adr))
                case "link":
                    kind = data.draw(st.sampled_from(["relates-to", "supersedes"]))
                    pending.append(tables.link(tenant, adr, data.draw(st.sampled_from(ADRS[:4])), kind))
                case _:
                    pending.append(tables.unlink(tenant, adr))
            if data.draw(st.booleans()):
                some = data.draw(st.permutations(pending))
                tables.step(some)
                pending = data.draw(st.lists(st.sampled_from(some), max_size=2))
        if pending:
            tables.step(pending)
        assert tables.differences() == []


def test_a_suggestion_says_where_both_texts_say_it(connection: Connection) -> None:
    tables = start(connection)
    older, newer = ADRS[:2]
    tables.step([write(tables, older, "Use Jenkins"), write(tables, newer, "Use GitHub Actions")])
    assert suggested(connection) == [(newer, older, "supersedes", "words")]
    row = connection.execute(
        "select suggestion_id, newer_field, newer_start, newer_end, newer_quote, older_field, older_quote, terms "
        "from mv.suggestions"
    ).fetchone()
    text = f"# Use GitHub Actions\n\n{SAID['Use GitHub Actions']}\n"
    at = text.index("We move away")
    quote = SAID["Use GitHub Actions"]
    wanted = ("body", at, at + len(quote), quote, "title", "Use Jenkins", ["jenkin"])
    assert row == (suggestion_id(newer, older), *wanted)
    assert text[at : at + len(quote)] == quote


def test_a_suggestion_goes_with_its_reason_and_comes_back_with_it(connection: Connection) -> None:
    tables = start(connection)
    older, newer = ADRS[:2]
    tables.step([write(tables, older, "Use Jenkins"), write(tables, newer, "Use GitHub Actions")])
    found = [(newer, older, "supersedes", "words")]
    tables.step([write(tables, older, "Use Jenkins", "superseded")])
    assert suggested(connection) == [], "the older one holds no more: no list has moved by that"
    tables.step([write(tables, older, "Use Jenkins")])
    assert suggested(connection) == found
    tables.step([tables.link(TENANTS[0], newer, older, "relates-to")])
    assert suggested(connection) == found, "that one refers to the other settles nothing"
    tables.step([tables.link(TENANTS[0], newer, older, "supersedes")])
    assert suggested(connection) == [], "somebody has said so"
    tables.step([tables.unlink(TENANTS[0], newer)])
    assert suggested(connection) == found
    tables.step([tables.delete(TENANTS[0], older)])
    assert suggested(connection) == []
    assert tables.differences() == []


def test_a_replay_writes_nothing_and_other_evidence_keeps_the_id(connection: Connection) -> None:
    tables = start(connection)
    older, newer = ADRS[:2]
    events = [write(tables, older, "Use Jenkins"), write(tables, newer, "Do not use Jenkins")]
    tables.step(events)
    assert suggested(connection) == [(newer, older, "conflicts", "negation")]
    writers = "select suggestion_id, xmin::text, ctid::text from mv.suggestions"
    before = connection.execute(writers).fetchall()
    tables.step(events)
    assert connection.execute(writers).fetchall() == before
    tables.step([write(tables, newer, "Use GitHub Actions")])
    assert suggested(connection) == [(newer, older, "supersedes", "words")]
    assert connection.execute("select suggestion_id from mv.suggestions").fetchall() == [before[0][:1]]


def test_verify_finds_every_damage(connection: Connection) -> None:
    tables = start(connection)
    tables.step([write(tables, ADRS[0], "Use Jenkins"), write(tables, ADRS[1], "Stop using Jenkins")])
    for damage in (
        "delete from mv.suggestions",
        "update mv.suggestions set kind = 'conflicts'",
        "update mv.suggestions set newer_start = newer_start + 1",
        "update mv.suggestions set terms = '{}'",
        "update mv.suggestions set suggestion_id = gen_random_uuid()",
    ):
        with connection.transaction(force_rollback=True):
            assert connection.execute(damage).rowcount == 1
            assert {one.table for one in tables.differences()} == {"mv.suggestions"}, damage
    assert tables.differences() == []


def test_tenants_with_the_same_texts_do_not_meet_and_the_api_sees_its_own(
    fresh_database: Settings, connection: Connection
) -> None:
    tables = start(connection)
    tables.step(
        [write(tables, ADRS[0], "Use Jenkins"), write(tables, ADRS[1], "Use GitHub Actions", tenant=TENANTS[1])]
    )
    assert suggested(connection) == suggested(connection, TENANTS[1]) == []
    tables.step([write(tables, ADRS[1], "Use GitHub Actions")])
    assert len(suggested(connection)) == 1
    connection.commit()
    with psycopg.connect(fresh_database.postgres.dsn("api")) as api:
        assert api.execute("select count(*) from mv.suggestions").fetchone() == (0,)
        for tenant, count in ((TENANTS[0], 1), (TENANTS[1], 0)):
            api.execute("select set_config('app.tenant_id', %s, true)", [str(tenant)])
            assert api.execute("select count(*) from mv.suggestions").fetchone() == (count,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("delete from mv.suggestions")
