"""The feed and the counts are what plain SQL makes of the versions, whatever the order, repetition and erasure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection, connect
from dataflows import activity
from dataflows.activity import Activity, VersionKey
from dataflows.flow import Event
from runtime.errors import Unprocessable
from runtime.settings import Settings
from tests.dataflows.world import EPOCH, Version, envelope

TENANTS = [uuid.UUID(int=number) for number in (1, 2)]
ADRS = [uuid.UUID(int=number) for number in (11, 12)]


def event(value: Any) -> Event:
    return Event(Record("t", 0, 0, 0, None, b""), value, "t")


def written(version: Version) -> Event:
    return event(envelope(version))


def erased(version: Version) -> Event:
    before = {"tenant_id": str(version.tenant_id), "adr_id": str(version.adr_id), "version": version.version}
    return event({"op": "d", "before": before, "after": None})


def test_the_last_that_a_batch_says_of_a_version_counts() -> None:
    one, two = Version(TENANTS[0], ADRS[0], 1), Version(TENANTS[0], ADRS[0], 2, title="Another")
    effects = Activity().transform([written(two), written(one), erased(one)])
    assert [(row.key.version, row.title) for row in effects.happened] == [(2, "Another")]
    assert effects.erased == (VersionKey(TENANTS[0], ADRS[0], 1),)
    effects = Activity().transform([written(one), erased(one), written(one)])
    assert (len(effects.happened), effects.erased) == (1, ())


def test_a_change_that_cannot_be_is_the_fault_of_its_event() -> None:
    with pytest.raises(Unprocessable, match="kind t"):
        Activity().transform([event({"op": "t"})])


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    with connect(fresh_database.postgres) as opened:
        yield opened
        opened.rollback()


def step(connection: Connection, events: list[Event]) -> None:
    flow = Activity()
    flow.apply(connection, flow.transform(events))


def feed(connection: Connection, tenant_id: uuid.UUID) -> list[Any]:
    rows = connection.execute(
        """
        select adr_id, version, change, title
        from mv.activity
        where tenant_id = %s
        order by recorded_at desc, effective_at desc, adr_id desc, version desc
        """,
        [tenant_id],
    )
    return rows.fetchall()


def counts(connection: Connection, tenant_id: uuid.UUID) -> dict[tuple[str, str], int]:
    rows = connection.execute("select kind, label, count from mv.entity_counts where tenant_id = %s", [tenant_id])
    return {(kind, label): count for kind, label, count in rows}


def users(connection: Connection, tenant_id: uuid.UUID) -> dict[date, int]:
    rows = connection.execute("select day, users from mv.daily_active_users where tenant_id = %s", [tenant_id])
    return dict(rows.fetchall())


def active(versions: list[Version]) -> dict[date, int]:
    """By going through all of them, too."""
    days = {version.effective_at.date() for version in versions if version.author}
    return {day: len({one.author for one in versions if one.author and one.effective_at.date() == day}) for day in days}


def recounted(versions: list[Version]) -> dict[tuple[str, str], int]:
    """The simplest there is: go through all of them."""
    newest = {version.adr_id: version for version in sorted(versions, key=lambda one: one.version)}
    found: dict[tuple[str, str], int] = {}
    for label in (
        *(("versions", version.change) for version in versions),
        *(("deleted_adrs" if one.change == "delete" else "adrs", one.status) for one in newest.values()),
    ):
        found[label] = found.get(label, 0) + 1
    return found


def newest_first(versions: list[Version]) -> list[Any]:
    ordered = sorted(versions, key=lambda one: (one.effective_at, one.adr_id, one.version), reverse=True)
    return [(one.adr_id, one.version, one.change, one.title) for one in ordered[: activity.EVENTS_MAX]]


@st.composite
def histories(draw: st.DrawFn) -> list[Version]:
    versions = []
    for tenant in TENANTS:
        for adr in ADRS:
            for number in range(draw(st.integers(0, 4))):
                change = draw(st.sampled_from(["update", "delete", "restore"])) if number else "create"
                status = draw(st.sampled_from(["proposed", "accepted"]))
                author, days = draw(st.sampled_from(["", "ada", "bob"])), draw(st.integers(0, 2))
                versions.append(Version(tenant, adr, number + 1, "T", "", change, status, author, timedelta(days)))
    return versions


@pytest.mark.stack
@settings(max_examples=40)
@given(history=histories(), data=st.data())
def test_any_order_and_repetition_ends_at_the_recount(
    connection: Connection, history: list[Version], data: st.DataObject
) -> None:
    connection.rollback()
    repeated = data.draw(st.lists(st.sampled_from(history), max_size=4)) if history else []
    gone = data.draw(st.lists(st.sampled_from(history), max_size=2, unique=True)) if history else []
    events = [written(version) for version in data.draw(st.permutations(history + repeated))]
    events += [erased(version) for version in gone]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(activity, "EVENTS_MAX", 3)
        while events:
            size = data.draw(st.integers(1, 5))
            step(connection, events[:size])
            del events[:size]
        left = [version for version in history if version not in gone]
        for tenant in TENANTS:
            own = [version for version in left if version.tenant_id == tenant]
            assert counts(connection, tenant) == recounted(own)
            assert feed(connection, tenant) == newest_first(own)
            assert users(connection, tenant) == active(own)


@pytest.mark.stack
def test_a_day_is_counted_in_utc_and_by_name(connection: Connection) -> None:
    late = timedelta(hours=23, minutes=58)
    written_by = [
        Version(TENANTS[0], ADRS[0], number, author=author, later=late)
        for number, author in enumerate(["ada", "ada", "bob", ""], 1)
    ]
    connection.execute("set local timezone = 'Pacific/Kiritimati'")
    step(connection, [written(version) for version in written_by])
    first, second = EPOCH.date(), EPOCH.date() + timedelta(days=1)
    assert users(connection, TENANTS[0]) == {first: 1, second: 2}
    step(connection, [erased(written_by[1])])
    assert users(connection, TENANTS[0]) == {first: 1, second: 1}
    step(connection, [erased(written_by[2]), erased(written_by[3])])
    assert users(connection, TENANTS[0]) == {first: 1}, "a day that nobody is left of has no row"


@pytest.mark.stack
def test_a_replay_writes_nothing(connection: Connection) -> None:
    history = [Version(TENANTS[0], ADRS[0], number) for number in range(1, 4)]
    step(connection, [written(version) for version in history])
    connection.commit()
    query = "select xmin::text from {} order by 1"
    tables = ("mv.activity", "mv.activity_ledger", "mv.entity_counts", "mv.daily_active_users")

    def writers() -> list[Any]:
        return [connection.execute(query.format(table)).fetchall() for table in tables]

    before = writers()
    assert all(before)
    step(connection, [written(version) for version in history])
    step(connection, [written(history[0])])
    connection.commit()
    assert writers() == before


@pytest.mark.stack
def test_a_feed_is_bounded_and_fills_up_again_when_its_newest_is_erased(connection: Connection) -> None:
    many = activity.EVENTS_MAX + 20
    history = [Version(TENANTS[0], ADRS[0], number) for number in range(1, many + 1)]
    step(connection, [written(version) for version in history])
    assert feed(connection, TENANTS[0]) == newest_first(history)
    assert len(feed(connection, TENANTS[0])) == activity.EVENTS_MAX
    assert counts(connection, TENANTS[0]) == {("versions", "update"): many, ("adrs", "accepted"): 1}
    step(connection, [erased(history[-1])])
    assert feed(connection, TENANTS[0]) == newest_first(history[:-1])


@pytest.mark.stack
def test_a_tenant_sees_its_own_rows_and_the_api_writes_none(fresh_database: Settings, connection: Connection) -> None:
    step(connection, [written(Version(tenant, ADRS[0], 1, title=str(tenant))) for tenant in TENANTS])
    connection.commit()
    with psycopg.connect(fresh_database.postgres.dsn("api")) as api:
        for table in ("mv.activity", "mv.entity_counts", "mv.daily_active_users"):
            assert api.execute(f"select count(*) from {table}").fetchone() == (0,)
        api.execute("select set_config('app.tenant_id', %s, true)", [str(TENANTS[1])])
        assert api.execute("select tenant_id, title from mv.activity").fetchall() == [(TENANTS[1], str(TENANTS[1]))]
        assert api.execute("select distinct tenant_id from mv.entity_counts").fetchall() == [(TENANTS[1],)]
        assert api.execute("select tenant_id from mv.daily_active_users").fetchall() == [(TENANTS[1],)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("select from mv.activity_ledger")
        api.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("delete from mv.activity")
