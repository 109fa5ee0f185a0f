"""Explains what was spent: the counters of budgets, the ledger, and the aggregates, each beside what it is made from.

Owns the comparison, in one snapshot, of a day or a month and of a single attempt. Counter and ledger move in one
transaction, so they may never differ. The aggregates come behind by change capture: what the flow has not counted yet
is said apart, and is no drift; a drift is what nothing accounts for. Refuses to mend anything: `adriatic verify` does,
for the aggregates.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api import watermarks
from api.db import Connection, Database, tenant_transaction, to_struct
from api.spend.subjects import Level
from connectors.llm import Tokens
from connectors.llm.prices import PriceList
from runtime.errors import NotFound

ATTEMPTS_MAX = 100
"""Attempts of one conversation that are explained, the newest: a page for people."""
WINDOWS_MAX = 3_000
"""Counters of one month that are compared: a hundred daily budgets have as many."""
ExplainedPeriod = Literal["day", "month"]
Drift = Annotated[int, Meta(description="Millionths of a US dollar; anything but 0 is a fault.")]


class SpentSum(msgspec.Struct, frozen=True):
    """What a number of attempts came to; those without a known price are `unpriced`, and not in the cost."""

    attempts: int
    unpriced: int
    cost_micro_usd: int


class CounterExplanation(msgspec.Struct, frozen=True):
    """One counter of a budget, beside the ledger's sum over the attempts that began in its window, and the leases."""

    budget_id: UUID
    level: Level
    subject: str
    period: str
    begins: datetime
    spent_micro_usd: int
    ledger_micro_usd: int
    drift_micro_usd: Drift
    reserved_micro_usd: int
    leases_micro_usd: int
    reserved_drift_micro_usd: Drift


class SpendExplanation(msgspec.Struct, frozen=True):
    """`aggregate` and `not_counted` together are the `ledger`, unless there is a drift."""

    period: ExplainedPeriod
    begins: datetime
    ends: datetime
    ledger: SpentSum
    aggregate: SpentSum
    not_counted: Annotated[SpentSum, Meta(description="In the ledger, and not yet read by the flow `usage`.")]
    aggregate_drift_micro_usd: Drift
    counters: Annotated[list[CounterExplanation], Meta(description="Of the budgets whose windows began in the period.")]
    counter_drift_micro_usd: Annotated[int, Meta(description="The sum over the counters, each without its sign.")]
    as_of: watermarks.AsOf


class CoveringBudget(msgspec.Struct, frozen=True):
    """A budget in whose counter the attempt is."""

    budget_id: UUID
    level: Level
    subject: str
    period: str
    begins: datetime


class AttemptExplanation(msgspec.Struct, frozen=True):
    """One attempt. In flight it has no cost yet, and what it has reserved; settled it has no lease any more."""

    attempt_id: UUID
    session_id: UUID
    user_id: UUID
    key_id: str | None
    provider: str
    model: str
    state: Literal["in-flight", "settled"]
    outcome: str | None
    code: str | None
    usage_source: str | None
    tokens: Tokens | None
    price_id: str | None
    cost_micro_usd: int | None
    unseen_cost_max_micro_usd: Annotated[int | None, Meta(description="At most so much more was charged.")]
    repriced_micro_usd: Annotated[
        int | None,
        Meta(description="The tokens by the price list of now; null where the row is not in it, or nobody counted."),
    ]
    counted_micro_usd: Annotated[int | None, Meta(description="What the flow `usage` has of it; null: not yet.")]
    drift_micro_usd: Annotated[Drift | None, Meta(description="Null where nothing can be compared.")]
    reserved_micro_usd: int
    started_at: datetime
    finished_at: datetime | None
    budgets: list[CoveringBudget]


class AttemptExplanations(msgspec.Struct, frozen=True):
    """The newest first."""

    items: list[AttemptExplanation]


_TOTALS = """
  select
    count(*) as attempts, count(*) filter (where u.cost_micro_usd is null) as unpriced,
    coalesce(sum(u.cost_micro_usd), 0)::bigint as cost_micro_usd,
    count(*) filter (where l.attempt_id is null) as late_attempts,
    count(*) filter (where l.attempt_id is null and u.cost_micro_usd is null) as late_unpriced,
    coalesce(sum(u.cost_micro_usd) filter (where l.attempt_id is null), 0)::bigint as late_micro_usd
  from app.usage_events u
  left join mv.usage_ledger l on l.tenant_id = u.tenant_id and l.attempt_id = u.attempt_id
  where u.tenant_id = $1 and u.started_at >= $2 and u.started_at < $3
"""

_AGGREGATE = """
  select
    coalesce(sum(attempts), 0)::bigint as attempts, coalesce(sum(unpriced), 0)::bigint as unpriced,
    coalesce(sum(cost_micro_usd), 0)::bigint as cost_micro_usd
  from mv.usage_by_day
  where tenant_id = $1
    and day >= ($2::timestamptz at time zone 'UTC')::date
    and day < ($3::timestamptz at time zone 'UTC')::date
"""

_COUNTERS = """
  select
    b.budget_id, b.level, b.subject, b.period, w.begins, w.spent_micro_usd, w.reserved_micro_usd,
    ledger.micro_usd as ledger_micro_usd, leases.micro_usd as leases_micro_usd,
    w.spent_micro_usd - ledger.micro_usd as drift_micro_usd,
    w.reserved_micro_usd - leases.micro_usd as reserved_drift_micro_usd
  from app.budget_windows w
  join app.budgets b on b.tenant_id = w.tenant_id and b.budget_id = w.budget_id
  cross join lateral (
    select coalesce(sum(u.cost_micro_usd), 0)::bigint as micro_usd
    from app.usage_events u
    where u.tenant_id = w.tenant_id
      and u.started_at >= w.begins
      and u.started_at < coalesce(app.window_end(b.period, w.begins), 'infinity')
      and app.budget_covers(b.level, b.subject, u.user_id, u.key_id)
  ) ledger
  cross join lateral (
    select coalesce(sum(l.reserved_micro_usd), 0)::bigint as micro_usd
    from app.leases l
    where l.tenant_id = w.tenant_id and l.budget_id = w.budget_id and l.begins = w.begins
  ) leases
  where w.tenant_id = $1 and w.begins >= $2 and w.begins < $3
  order by b.level, b.subject, b.period, w.begins
  limit $4
"""

_SETTLED = """
  select
    u.attempt_id, u.session_id, u.user_id, u.key_id, u.provider, u.model, u.outcome, u.code, u.usage_source,
    u.input_uncached, u.cache_read, u.cache_write_5m, u.cache_write_1h, u.output_visible, u.reasoning,
    u.price_id, u.cost_micro_usd, u.unseen_cost_max_micro_usd, u.started_at, u.finished_at,
    l.attempt_id is not null as is_counted, l.cost_micro_usd as counted_micro_usd
  from app.usage_events u
  left join mv.usage_ledger l on l.tenant_id = u.tenant_id and l.attempt_id = u.attempt_id
  where u.tenant_id = $1 and (u.attempt_id = $2 or u.session_id = $2)
  order by u.started_at desc, u.attempt_id
  limit $3
"""

_IN_FLIGHT = """
  select
    a.attempt_id, a.session_id, a.user_id, a.key_id, a.provider, a.model, a.price_id,
    a.begun_at as started_at,
    coalesce(
      (
        select max(l.reserved_micro_usd)
        from app.leases l
        where l.tenant_id = a.tenant_id and l.attempt_id = a.attempt_id
      ), 0
    ) as reserved_micro_usd
  from app.attempts a
  where a.tenant_id = $1 and (a.attempt_id = $2 or a.session_id = $2)
  order by a.begun_at desc, a.attempt_id
  limit $3
"""

_COVERING = """
  select b.budget_id, b.level, b.subject, b.period, app.window_begin(b.period, b.created_at, $4) as begins
  from app.budgets b
  where b.tenant_id = $1
    and app.budget_covers(b.level, b.subject, $2, $3)
    and app.window_begin(b.period, b.created_at, $4) is not null
  order by b.level, b.period
"""


def read_range(period: ExplainedPeriod, of: date) -> tuple[datetime, datetime]:
    """The day or the month in UTC that a day is in: its beginning, and that of the next one."""
    first = of.replace(day=1) if period == "month" else of
    days = monthrange(first.year, first.month)[1] if period == "month" else 1
    begins = datetime.combine(first, time.min, UTC)
    try:
        return begins, begins + timedelta(days=days)
    except OverflowError:  # behind the last day of the calendar
        return begins, datetime.max.replace(tzinfo=UTC)


async def explain(database: Database, tenant_id: UUID, period: ExplainedPeriod, of: date) -> SpendExplanation:
    """What the three say of a day or a month, in one snapshot."""
    begins, ends = read_range(period, of)
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        totals = await connection.fetchrow(_TOTALS, tenant_id, begins, ends)
        aggregate = to_struct(await connection.fetchrow(_AGGREGATE, tenant_id, begins, ends), SpentSum)
        rows = await connection.fetch(_COUNTERS, tenant_id, begins, ends, WINDOWS_MAX)
        as_of = await watermarks.read(connection, "usage_by_day")
    ledger = SpentSum(totals["attempts"], totals["unpriced"], totals["cost_micro_usd"])
    late = SpentSum(totals["late_attempts"], totals["late_unpriced"], totals["late_micro_usd"])
    counters = [to_struct(row, CounterExplanation) for row in rows]
    return SpendExplanation(
        *(period, begins, ends, ledger, aggregate, late),
        aggregate_drift_micro_usd=aggregate.cost_micro_usd + late.cost_micro_usd - ledger.cost_micro_usd,
        counters=counters,
        counter_drift_micro_usd=sum(abs(each.drift_micro_usd) for each in counters),
        as_of=as_of,
    )


async def explain_request(
    database: Database, tenant_id: UUID, request_id: UUID, prices: PriceList
) -> AttemptExplanations:
    """The attempt with this id, or those of the conversation with it. Raises `NotFound`."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        flying = await connection.fetch(_IN_FLIGHT, tenant_id, request_id, ATTEMPTS_MAX)
        settled = await connection.fetch(_SETTLED, tenant_id, request_id, ATTEMPTS_MAX - len(flying))
        found = [_explain_flying(row, await _cover(connection, tenant_id, row)) for row in flying]
        found += [_explain_settled(row, await _cover(connection, tenant_id, row), prices) for row in settled]
    if not found:
        raise NotFound(
            f"there is no attempt, and no conversation, {request_id} here",
            hint="the event `start` of an answer has both ids, and GET /v1/chat/sessions lists conversations",
        )
    return AttemptExplanations(found)


async def _cover(connection: Connection, tenant_id: UUID, row: Any) -> list[CoveringBudget]:
    rows = await connection.fetch(_COVERING, tenant_id, row["user_id"], row["key_id"], row["started_at"])
    return [to_struct(each, CoveringBudget) for each in rows]


_SAID = ("attempt_id", "session_id", "user_id", "key_id", "provider", "model", "price_id", "started_at")
"""What is known of an attempt from its beginning on."""
_SETTLED_SAID = (
    *("outcome", "code", "usage_source", "cost_micro_usd", "unseen_cost_max_micro_usd", "finished_at"),
    "counted_micro_usd",
)
"""What is known when it is settled, and read as it is."""


def _explain_flying(row: Any, budgets: list[CoveringBudget]) -> AttemptExplanation:
    unknown: dict[str, Any] = dict.fromkeys((*_SETTLED_SAID, "tokens", "repriced_micro_usd", "drift_micro_usd"))
    return AttemptExplanation(
        **{name: row[name] for name in _SAID},
        **unknown,
        state="in-flight",
        reserved_micro_usd=row["reserved_micro_usd"],
        budgets=budgets,
    )


def _explain_settled(row: Any, budgets: list[CoveringBudget], prices: PriceList) -> AttemptExplanation:
    tokens = Tokens(**{name: row[name] for name in Tokens.__struct_fields__})
    return AttemptExplanation(
        **{name: row[name] for name in (*_SAID, *_SETTLED_SAID)},
        state="settled",
        tokens=tokens,
        repriced_micro_usd=_reprice(row, tokens, prices),
        drift_micro_usd=(row["counted_micro_usd"] or 0) - (row["cost_micro_usd"] or 0) if row["is_counted"] else None,
        reserved_micro_usd=0,
        budgets=budgets,
    )


def _reprice(row: Any, tokens: Tokens, prices: PriceList) -> int | None:
    """What the tokens cost by the row of the price list that the attempt names. What a dead process left was settled by
    what it had reserved, and not by tokens."""
    if row["price_id"] is None or row["code"] == "lost":
        return None
    price = prices.find_row(row["price_id"])
    return None if price is None else price.cost(tokens)
