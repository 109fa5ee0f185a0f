"""Usage is what plain SQL makes of the ledger, whatever the order, repetition and erasure; unknown is never free."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection, connect
from dataflows.flow import Event
from dataflows.usage import EVENTS_TOPIC, GROUPS, AttemptKey, Spent, Usage
from runtime.errors import Unprocessable
from runtime.settings import Settings
from tests.dataflows.world import EPOCH, PARTITIONS, Running, Version, World, until, usage_envelope

TENANTS = [uuid.UUID(int=number) for number in (1, 2)]
USERS = [uuid.UUID(int=number) for number in (21, 22)]
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
ONE = Spent(
    tenant_id=TENANTS[0],
    attempt_id=uuid.UUID(int=100),
    started_at=MIDNIGHT,
    user_id=USERS[0],
    key_id="key",
    provider="anthropic",
    model="m",
    outcome="completed",
    usage_source="provider",
    input_uncached=10,
    cache_read=20,
    cache_write_5m=30,
    cache_write_1h=40,
    output_visible=50,
    reasoning=60,
    cost_micro_usd=7,
)


BUCKETS = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output_visible", "reasoning")


def event(value: Any) -> Event:
    return Event(Record("t", 0, 0, 0, None, b""), value, EVENTS_TOPIC)


def written(spent: Spent, op: str = "c") -> Event:
    return event(usage_envelope(spent, op))


def erased(spent: Spent) -> Event:
    before = {"tenant_id": str(spent.tenant_id), "attempt_id": str(spent.attempt_id)}
    return event({"op": "d", "before": before, "after": None})


def test_the_last_that_a_batch_says_of_an_attempt_counts() -> None:
    other = replace(ONE, attempt_id=uuid.UUID(int=99), cost_micro_usd=None, key_id=None)
    effects = Usage().transform([written(ONE), written(other, "r"), written(ONE, "u")])
    assert (effects.spent, effects.erased) == ((other, ONE), ())
    effects = Usage().transform([written(ONE), erased(ONE)])
    assert (effects.spent, effects.erased) == ((), (AttemptKey(ONE.tenant_id, ONE.attempt_id),))


def test_a_change_that_cannot_be_is_the_fault_of_its_event() -> None:
    with pytest.raises(Unprocessable, match="kind t"):
        Usage().transform([event({"op": "t"})])


def test_each_topic_moves_the_watermarks_of_its_own_views() -> None:
    flow = Usage()
    of_topics = [flow.views_of(topic) for topic in flow.topics]
    assert [view for views in of_topics for view in views] == [view.name for view in flow.views]
    assert of_topics[1] == ("job_status",)


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    with connect(fresh_database.postgres) as opened:
        yield opened
        opened.rollback()


def step(connection: Connection, events: list[Event]) -> None:
    flow = Usage()
    flow.apply(connection, flow.transform(events))


def shown(connection: Connection, view: str) -> list[dict[str, Any]]:
    cursor = connection.execute(f"select * from mv.{view} order by 1, 2, 3, 4")
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def groups_of(spent: Spent) -> dict[str, tuple[Any, ...]]:
    day = spent.started_at.date()
    return {
        "usage_by_hour": (spent.started_at.replace(minute=0, second=0, microsecond=0),),
        "usage_by_day": (day,),
        "usage_by_model": (day, spent.provider, spent.model),
        "usage_by_user": (day, spent.user_id),
        "usage_by_key": (day, spent.key_id or ""),
    }


def recounted(attempts: list[Spent], view: str) -> list[dict[str, Any]]:
    """The simplest there is: go through all of them."""
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    for spent in attempts:
        sums = found.setdefault((spent.tenant_id, *groups_of(spent)[view]), {})
        adds = {
            "attempts": 1,
            **{outcome: int(spent.outcome == outcome) for outcome in ("completed", "failed", "cancelled")},
            **{bucket: getattr(spent, bucket) for bucket in BUCKETS},
            "cost_micro_usd": spent.cost_micro_usd or 0,
            "unpriced": int(spent.cost_micro_usd is None),
            **{source: int(spent.usage_source == source) for source in ("partial", "estimated")},
        }
        for name, added in adds.items():
            sums[name] = sums.get(name, 0) + added
    names = ("tenant_id", *GROUPS[view])
    return [dict(zip(names, key, strict=True)) | sums for key, sums in sorted(found.items())]


@st.composite
def ledgers(draw: st.DrawFn) -> list[Spent]:
    return [
        replace(
            ONE,
            tenant_id=draw(st.sampled_from(TENANTS)),
            attempt_id=uuid.UUID(int=100 + number),
            # Around midnight: the hour and the day are those of UTC, whatever the session or the machine thinks.
            started_at=MIDNIGHT + timedelta(minutes=draw(st.integers(-90, 90))),
            user_id=draw(st.sampled_from(USERS)),
            key_id=draw(st.sampled_from(["a", "b", None])),
            provider=draw(st.sampled_from(["anthropic", "openai"])),
            model=draw(st.sampled_from(["m", "n"])),
            outcome=draw(st.sampled_from(["completed", "failed", "cancelled"])),
            usage_source=draw(st.sampled_from(["provider", "partial", "estimated"])),
            cost_micro_usd=draw(st.one_of(st.none(), st.integers(1, 2**40))),
            **{bucket: draw(st.integers(0, 2**40)) for bucket in BUCKETS},
        )
        for number in range(draw(st.integers(0, 6)))
    ]


@pytest.mark.stack
@settings(max_examples=40)
@given(ledger=ledgers(), data=st.data())
def test_any_order_and_repetition_ends_at_the_recount(
    connection: Connection, ledger: list[Spent], data: st.DataObject
) -> None:
    connection.rollback()
    repeated = data.draw(st.lists(st.sampled_from(ledger), max_size=4)) if ledger else []
    gone = data.draw(st.lists(st.sampled_from(ledger), max_size=2, unique=True)) if ledger else []
    events = [written(spent) for spent in data.draw(st.permutations(ledger + repeated))]
    events += [erased(spent) for spent in gone]
    connection.execute("set local timezone = 'Pacific/Kiritimati'")
    while events:
        size = data.draw(st.integers(1, 5))
        step(connection, events[:size])
        del events[:size]
    connection.execute("set local timezone = 'UTC'")
    left = [spent for spent in ledger if spent not in gone]
    for view in GROUPS:
        assert shown(connection, view) == recounted(left, view), view


@pytest.mark.stack
def test_a_replay_writes_nothing(connection: Connection) -> None:
    ledger = [replace(ONE, attempt_id=uuid.UUID(int=number)) for number in range(1, 4)]
    step(connection, [written(spent) for spent in ledger])
    connection.commit()

    def writers() -> list[Any]:
        tables = ("usage_ledger", *GROUPS)
        return [connection.execute(f"select xmin::text from mv.{table} order by 1").fetchall() for table in tables]

    before = writers()
    assert all(before)
    step(connection, [written(spent) for spent in ledger])
    step(connection, [written(ledger[0], "u")])
    connection.commit()
    assert writers() == before


@pytest.mark.stack
def test_a_price_that_is_not_known_is_counted_and_is_not_free(connection: Connection) -> None:
    free_looking = replace(ONE, attempt_id=uuid.UUID(int=1), cost_micro_usd=None)
    step(connection, [written(ONE), written(free_looking)])
    (day,) = shown(connection, "usage_by_day")
    assert (day["attempts"], day["cost_micro_usd"], day["unpriced"]) == (2, 7, 1)


@pytest.mark.stack
def test_a_tenant_sees_its_own_rows_and_the_api_writes_none(fresh_database: Settings, connection: Connection) -> None:
    step(connection, [written(replace(ONE, tenant_id=tenant)) for tenant in TENANTS])
    connection.commit()
    with psycopg.connect(fresh_database.postgres.dsn("api")) as api:
        for view in GROUPS:
            assert api.execute(f"select count(*) from mv.{view}").fetchone() == (0,)
        api.execute("select set_config('app.tenant_id', %s, true)", [str(TENANTS[1])])
        for view in GROUPS:
            assert api.execute(f"select tenant_id, attempts from mv.{view}").fetchall() == [(TENANTS[1], 1)]
        # What was counted is compared with the ledger (`adriatic spend explain`), of one's own tenant.
        assert api.execute("select tenant_id from mv.usage_ledger").fetchall() == [(TENANTS[1],)]
        api.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("delete from mv.usage_by_day")


@pytest.mark.stack
def test_a_running_flow_counts_what_capture_brings_and_says_how_far_each_view_is(world: World) -> None:
    tenant = uuid.uuid4()
    world.insert([Version(tenant, uuid.uuid4(), 1)])
    world.attempts([replace(ONE, tenant_id=tenant, attempt_id=uuid.uuid4(), user_id=tenant) for _ in range(5)])
    world.run_until_done(world.usage)
    assert world.rows("select attempts, cost_micro_usd from mv.usage_by_day") == [(5, 35)]
    # Nothing was said of jobs: a busy partition moves the watermarks of what is made from its topic, and no others.
    moved = world.rows("select distinct view from mv.watermarks where lsn > '0/0' order by 1")
    assert moved == [(view,) for view in sorted(GROUPS)]


@pytest.mark.stack
def test_an_idle_flow_says_of_each_view_how_far_its_own_topic_is(world: World) -> None:
    world.rows("insert into ops.cdc_progress values ('adriatic', '1', '0/500', %s) returning 1", EPOCH)
    flow = world.usage
    expected = sorted((view, world.topics[topic], PARTITIONS) for topic in flow.topics for view in flow.views_of(topic))
    reached = "select view, topic, count(*) from mv.watermarks where lsn >= '0/500' group by 1, 2 order by 1, 2"
    with Running(world, flow):
        until(lambda: world.rows(reached) == expected)
