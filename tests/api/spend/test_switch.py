"""Alerts once for each threshold, the switch by hand and by a budget, and overrides, on books in a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec
import pytest

from api.auth.users import Principal
from api.db import Database
from api.spend import alerts, budgets, overrides, switch
from api.spend.budgets import BudgetState
from api.spend.overrides import BudgetOverride, NewOverride
from api.spend.switch import SwitchChange, SwitchPosition
from api.spend.watch import StopOrder, SwitchWatch
from runtime import metrics
from runtime.errors import BudgetExceeded, Conflict, InvalidInput, NotFound, SpendStopped
from runtime.ids import new_id
from runtime.settings import PostgresSettings, Settings
from tests.api.spend.books import Asking, Books, keeping
from tests.patience import soon

pytestmark = pytest.mark.stack

PROCESSES = 8
TABLES = ("app.spend_alerts", "app.alert_deliveries", "app.spend_stops", "app.budget_overrides")


@pytest.fixture
async def books(shared_database: Settings) -> AsyncIterator[Books]:
    async with keeping(shared_database, PROCESSES) as kept:
        yield kept


def acting(books: Books, user_id: UUID) -> Principal:
    return Principal(books.tenant_id, user_id, "ada", "ada")


async def spend(books: Books, user_id: UUID, tokens: int, process: int = 0) -> None:
    """One answer that costs as much: 100 tokens are read, the rest is written."""
    asking = await Asking(books, user_id, database=books.databases[process]).begin()
    asking.meter.text("x" * 4 * (tokens - 100))
    await asking.settle()


async def thresholds(books: Books) -> list[int]:
    found = (await alerts.read(books.database, books.tenant_id, 200, None)).items
    return sorted(alert.percent for alert in found)


async def told(books: Books) -> list[dict[str, object]]:
    """What change capture is given for the topic."""
    rows = await books.admin.fetch(
        "select value from app.outbox where topic = 'spend.alert' and tenant_id = $1 order by event_id", books.tenant_id
    )
    return [json.loads(row["value"]) for row in rows]


async def turn(books: Books, user_id: UUID, state: SwitchPosition, **where: str) -> switch.SwitchState:
    wanted = SwitchChange(state, "because", **where)  # type: ignore[arg-type]
    return await switch.change(books.database, acting(books, user_id), wanted)


async def raise_by(books: Books, user_id: UUID, budget: BudgetState, amount: int) -> BudgetOverride:
    now = datetime.now(UTC)
    wanted = NewOverride(budget.budget_id, amount, "a release", now + timedelta(hours=1))
    return await overrides.make(books.database, acting(books, user_id), wanted, now)


# --- alerts -----------------------------------------------------------------------------------------------------------


async def test_each_threshold_is_told_once_though_eight_processes_settle_at_once(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 100_000)
    asked = [await Asking(books, ada, database=books.databases[number % PROCESSES]).begin() for number in range(160)]
    for asking in asked:
        asking.meter.text("x" * 4 * 500)  # 600 each: 96 % together
    await asyncio.gather(*(asking.settle() for asking in asked))
    assert await books.states() == {"org ": (96_000, 0)}
    assert await thresholds(books) == [70, 85, 95]
    events = await told(books)
    assert [event["percent"] for event in events] == [70, 85, 95]
    assert {event["limit_micro_usd"] for event in events} == {100_000}
    found = (await alerts.read(books.database, books.tenant_id, 200, None)).items
    assert {str(alert.alert_id) for alert in found} == {event["alert_id"] for event in events}
    for alert in found:
        assert alert.spent_micro_usd * 100 >= alert.percent * alert.limit_micro_usd
        assert alert.spent_micro_usd * 100 < alert.percent * alert.limit_micro_usd + 600 * 100, "at the first that did"
    await spend(books, ada, 600)
    assert await thresholds(books) == [70, 85, 95]


async def test_a_higher_threshold_is_never_listed_before_a_lower_one(books: Books) -> None:
    """A transaction that begins first may settle last: it has waited for the counter."""
    ada = await books.user()
    await books.budget(ada, "org", 1_000)
    first, last = [await Asking(books, ada, output_tokens_max=300).begin() for _ in range(2)]
    last.meter.text("x" * 4 * 50)
    rows = msgspec.json.encode([last.meter.entry(last.attempt, "completed", "").columns]).decode()
    async with books.admin.transaction():
        await books.admin.execute("select now()")
        first.meter.text("x" * 4 * 600)
        await first.settle()
        await books.admin.execute("select app.settle_attempts($1, $2)", books.tenant_id, rows)
    found = (await alerts.read(books.database, books.tenant_id, 200, None)).items
    assert [(alert.percent, alert.spent_micro_usd) for alert in found] == [(85, 850), (70, 700)]


async def test_each_budget_and_each_window_has_alerts_of_its_own(books: Books) -> None:
    ada = await books.user()
    await books.budget(ada, "org", 1_000)
    await books.budget(ada, "user", 1_000, str(ada), "day")
    yesterday = await Asking(books, ada).begin()
    yesterday.meter.text("x" * 4 * 600)
    await books.move(yesterday.attempt.attempt_id, datetime.now(UTC) - timedelta(days=1))
    today = await Asking(books, ada, output_tokens_max=100).begin()
    await yesterday.settle()
    today.meter.text("x" * 4 * 610)
    await today.settle()
    found = (await alerts.read(books.database, books.tenant_id, 200, None)).items
    days = sorted((alert.percent, alert.begins) for alert in found if alert.period == "day")
    assert [percent for percent, _ in days] == [70, 70]
    assert days[0][1] < days[1][1]


async def test_what_a_process_that_died_left_is_told_too(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await books.user()
    dying = await books.budget(ada, "org", 700)
    await Asking(books, ada, dies=True).begin()
    assert books.reap(monkeypatch) == 1
    assert await thresholds(books) == [70, 85]
    assert {event["budget_id"] for event in await told(books)} == {str(dying.budget_id)}


async def test_a_new_budget_and_a_lower_limit_are_judged_by_what_is_spent_already(books: Books) -> None:
    ada = await books.user()
    await spend(books, ada, 800)
    await books.budget(ada, "org", 1_000)
    assert await thresholds(books) == [70]
    await books.budget(ada, "org", 900)
    assert await thresholds(books) == [70, 85]
    await books.budget(ada, "org", 10_000)
    await books.budget(ada, "org", 900)
    assert await thresholds(books) == [70, 85], "once for the window, whatever the limit was meanwhile"


# --- the switch -------------------------------------------------------------------------------------------------------


async def test_a_budget_that_is_far_over_its_limit_stops_what_it_covers_and_nothing_else(books: Books) -> None:
    ada, bob = await books.user(), await books.user()
    budget = await books.budget(ada, "user", 1_000, str(ada))
    asking = await Asking(books, ada).begin()
    asking.meter.text("x" * 4 * 1_000)
    await asking.settle()  # 1 100, more than it had reserved
    with pytest.raises(SpendStopped, match="1100 micro-USD are spent of 1000") as refused:
        await Asking(books, ada).begin()
    assert "spend resume" in refused.value.hint
    assert await books.count("app.attempts") == 0, "what is refused is not in the books"
    await Asking(books, bob).begin()
    state = await switch.read(books.database, books.tenant_id)
    (stop,) = state.stops
    assert (state.state, stop.level, stop.budget_id, stop.stopped_by) == ("running", "user", budget.budget_id, None)
    assert stop.ends_at == budget.resets_at
    assert await thresholds(books) == [70, 85, 95, 110]
    with pytest.raises(Conflict, match="would stop again"):
        await turn(books, ada, "running", level="user", subject=str(ada))


async def test_a_stop_of_a_budget_ends_with_its_window_its_limit_or_the_budget(books: Books) -> None:
    ada = await books.user()
    budget = await books.budget(ada, "org", 1_000)
    await books.budget(ada, "org", 10_000)
    await spend(books, ada, 1_200)
    await books.budget(ada, "org", 1_000)
    with pytest.raises(SpendStopped):
        await Asking(books, ada).begin()
    await books.admin.execute(
        "update app.spend_stops set ends_at = now() - interval '1 second' where tenant_id = $1", books.tenant_id
    )
    with pytest.raises(BudgetExceeded):
        await Asking(books, ada).begin()
    await books.admin.execute(
        "update app.spend_stops set ends_at = now() + interval '1 day' where tenant_id = $1", books.tenant_id
    )
    await books.budget(ada, "org", 10_000)
    await (await Asking(books, ada).begin()).settle()
    await books.budget(ada, "org", 1_000)
    assert (await switch.read(books.database, books.tenant_id)).state == "stopped"
    await books.remove(ada, budget)
    await Asking(books, ada).begin()
    state = await switch.read(books.database, books.tenant_id)
    assert (state.stops, {stop.resume_reason for stop in state.ended}) == (
        [],
        {"the budget has another limit", "the budget was removed"},
    )


async def test_stopping_by_hand_holds_until_somebody_resumes_it(books: Books) -> None:
    ada, bob = await books.user(), await books.user()
    await turn(books, ada, "stopped", level="key", subject="web")
    await turn(books, ada, "stopped", level="user", subject=str(bob))
    assert len((await turn(books, ada, "stopped", level="user", subject=str(bob))).stops) == 2, "again is the same"
    for user, key in ((ada, "web"), (bob, None), (bob, "web")):
        with pytest.raises(SpendStopped, match="because"):
            await Asking(books, user, key_id=key).begin()
    await Asking(books, ada, key_id="batch").begin()
    await turn(books, ada, "stopped")
    with pytest.raises(SpendStopped):
        await Asking(books, ada, key_id="batch").begin()
    await turn(books, bob, "running", level="key", subject="web")
    await turn(books, bob, "running", level="user", subject=str(bob))
    state = await turn(books, bob, "running")
    assert (state.state, state.stops) == ("running", [])
    assert {(stop.stopped_by, stop.resumed_by, stop.resume_reason) for stop in state.ended} == {(ada, bob, "because")}
    await Asking(books, bob, key_id="web").begin()


async def test_what_costs_nothing_stops_too(books: Books) -> None:
    ada = await books.user()
    await turn(books, ada, "stopped")
    with pytest.raises(SpendStopped):
        await Asking(books, ada, price=None).begin()


async def test_a_user_who_is_none_cannot_be_stopped(books: Books) -> None:
    ada = await books.user()
    with pytest.raises(NotFound, match="no user"):
        await turn(books, ada, "stopped", level="user", subject=str(new_id()))
    with pytest.raises(InvalidInput, match="no subject"):
        await turn(books, ada, "stopped", level="org", subject="x")


# --- overrides --------------------------------------------------------------------------------------------------------


async def test_an_override_raises_a_budget_until_it_expires_and_stays_on_record(books: Books) -> None:
    ada = await books.user()
    budget = await books.budget(ada, "org", 1_000)
    await books.budget(ada, "org", 10_000)
    await spend(books, ada, 1_200)
    await books.budget(ada, "org", 1_000)
    with pytest.raises(SpendStopped):
        await Asking(books, ada).begin()
    small = await raise_by(books, ada, budget, 50)
    with pytest.raises(SpendStopped):
        await Asking(books, ada).begin()  # 1 200 of 1 050 are more than 110 %
    made = await raise_by(books, ada, budget, 5_000)
    (shown,) = [each for each in await _states(books) if each.budget_id == budget.budget_id]
    assert (shown.limit_micro_usd, shown.raised_micro_usd, shown.remaining_micro_usd) == (1_000, 5_050, 4_850)
    await spend(books, ada, 600)
    assert await thresholds(books) == [70, 85, 95, 110]
    await books.admin.execute(
        "update app.budget_overrides set created_at = now() - interval '2 hours', expires_at = now() - interval "
        "'1 hour' where tenant_id = $1 and override_id = $2",
        *(books.tenant_id, made.override_id),
    )
    with pytest.raises(BudgetExceeded, match="of 1050 micro-USD left"):
        await Asking(books, ada).begin()
    ended = await overrides.end(books.database, acting(books, ada), small.override_id)
    assert (ended.ended_by, ended.in_force) == (ada, False)
    again = await overrides.end(books.database, acting(books, ada), made.override_id)
    assert (again.ended_by, again.in_force) == (None, False), "what has expired nobody ended"
    with pytest.raises(SpendStopped):
        await Asking(books, ada).begin()
    page = await overrides.read(books.database, books.tenant_id, 1, None)
    assert page.next_cursor is not None
    rest = await overrides.read(books.database, books.tenant_id, 1, page.next_cursor)
    assert {each.override_id for each in (*page.items, *rest.items)} == {small.override_id, made.override_id}
    assert {each.reason for each in rest.items} == {"a release"}
    for statement in ("delete from app.budget_overrides", "update app.budget_overrides set reason = 'x'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with books.database.begin(books.tenant_id, read_only=False) as connection:
                await connection.execute(statement)


async def _states(books: Books) -> list[BudgetState]:
    return await budgets.read(books.database, books.tenant_id)


@pytest.mark.parametrize("hours", [-1, 24 * 32])
async def test_an_override_has_an_end_that_is_not_far_away(books: Books, hours: int) -> None:
    ada = await books.user()
    budget = await books.budget(ada, "org", 1_000)
    now = datetime.now(UTC)
    wanted = NewOverride(budget.budget_id, 1, "x", now + timedelta(hours=hours))
    with pytest.raises(InvalidInput, match="days away"):
        await overrides.make(books.database, acting(books, ada), wanted, now)
    wanted = NewOverride(new_id(), 1, "x", now + timedelta(hours=1))
    with pytest.raises(NotFound, match="no budget"):
        await overrides.make(books.database, acting(books, ada), wanted, now)


async def test_so_many_overrides_are_in_force_and_no_more(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overrides, "IN_FORCE_MAX", 2)
    ada = await books.user()
    budget = await books.budget(ada, "org", 1_000)
    for _ in range(2):
        await raise_by(books, ada, budget, 1)
    with pytest.raises(Conflict, match="2 overrides are in force"):
        await raise_by(books, ada, budget, 1)


# --- the edges --------------------------------------------------------------------------------------------------------


async def test_another_tenant_sees_none_of_it(books: Books, shared_database: Settings) -> None:
    ada = await books.user()
    budget = await books.budget(ada, "org", 850)
    await raise_by(books, ada, budget, 1)
    await spend(books, ada, 600)
    await turn(books, ada, "stopped")
    await books.admin.execute(
        "insert into app.alert_deliveries (tenant_id, alert_id, channel) "
        "select tenant_id, alert_id, 'log' from app.spend_alerts where tenant_id = $1",
        books.tenant_id,
    )
    async with keeping(shared_database) as others:
        eve = await others.user()
        await Asking(others, eve).begin()
        async with others.database.begin(others.tenant_id, read_only=False) as connection:
            for table in TABLES:
                assert await books.count(table) > 0, "there is something to see"
                assert await connection.fetchval(f"select count(*) from {table}") == 0, table
            assert await connection.execute("update app.spend_stops set resumed_at = null") == "UPDATE 0"
            assert await connection.fetch("select * from ops.tell_stops($1)", [others.tenant_id]) == []


async def test_a_watch_ends_what_an_order_covers_until_it_is_resumed(books: Books) -> None:
    ada = await books.user()
    spenders = {books.tenant_id, new_id()}
    ended: list[StopOrder] = []
    watch = SwitchWatch(books.database, lambda: spenders, ended.append)
    watch.wake()
    try:
        await turn(books, ada, "stopped", level="key", subject="web")
        await soon(lambda: ended, "the order")
        covers = {key: ended[0].covers(Asking(books, ada, key_id=key).attempt) for key in ("web", "batch", None)}
        assert covers == {"web": True, "batch": False, None: False}
        assert "because" in ended[0].error().detail
        assert ended[0].stopped_at.tzinfo is not None
    finally:
        await watch.close()


async def test_where_nobody_can_say_whether_spending_is_stopped_answers_go_on_and_a_metric_says_so() -> None:
    database = Database(PostgresSettings(host="127.0.0.1", port=1))
    spenders = {new_id()}
    ended: list[StopOrder] = []
    watch = SwitchWatch(database, lambda: spenders, ended.append)
    watch.wake()
    try:
        await soon(lambda: metrics.SPEND_SWITCH_UNREAD._value.get() == 1, "the metric")
        assert ended == []
        spenders.clear()
        await soon(lambda: metrics.SPEND_SWITCH_UNREAD._value.get() == 0, "the end of it")
    finally:
        await watch.close()
