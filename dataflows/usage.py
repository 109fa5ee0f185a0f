"""The flow `usage`: what was asked of language models and what that cost, by hour, day, model, user and credential.

Reads `adriatic.app.usage_events`; keeps the five `mv.usage_by_*`. Reads `job.progress`
too, and keeps `mv.job_status` (`dataflows/job_status.py`): two light topics share one process. Refuses prices: what an
attempt cost is in its row, or not known, and then it is counted as unpriced and never as free.

Ledger, then aggregates, in one statement. `mv.usage_ledger` has a row for each attempt that was counted; only what is
new in it, or gone from it, moves the aggregates. So order and repetition are indifferent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import sql

from connectors.postgres.connections import Connection
from dataflows import job_status, oracle_usage
from dataflows.flow import Event, Flow, take_latest
from dataflows.job_status import JobStatus
from schemas.arrays import arrays_of
from schemas.flows import KeptTable, KeptView

EVENTS_TOPIC = "adriatic.app.usage_events"

_DAY = "(started_at at time zone 'UTC')::date"
GROUPS: Mapping[str, Mapping[str, LiteralString]] = {
    "usage_by_hour": {"hour": "date_trunc('hour', started_at, 'UTC')"},
    "usage_by_day": {"day": _DAY},
    "usage_by_model": {"day": _DAY, "provider": "provider", "model": "model"},
    "usage_by_user": {"day": _DAY, "user_id": "user_id"},
    "usage_by_key": {"day": _DAY, "key_id": "coalesce(key_id, '')"},
}
"""Columns that each view is by, and what an attempt has there. An attempt counts when it began."""
MEASURES: Mapping[str, LiteralString] = {
    "attempts": "1",
    "completed": "(outcome = 'completed')::int",
    "failed": "(outcome = 'failed')::int",
    "cancelled": "(outcome = 'cancelled')::int",
    "input_uncached": "input_uncached",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "output_visible": "output_visible",
    "reasoning": "reasoning",
    "cost_micro_usd": "coalesce(cost_micro_usd, 0)",
    "unpriced": "(cost_micro_usd is null)::int",
    "partial": "(usage_source = 'partial')::int",
    "estimated": "(usage_source = 'estimated')::int",
}
"""What one attempt adds to each count."""


class AttemptKey(NamedTuple):
    """Which attempt. Sorts in lock order."""

    tenant_id: UUID
    attempt_id: UUID


@dataclass(frozen=True, slots=True)
class Spent:
    """One attempt, as far as the aggregates need it."""

    tenant_id: UUID
    attempt_id: UUID
    started_at: datetime
    user_id: UUID
    key_id: str | None
    provider: str
    model: str
    outcome: str
    usage_source: str
    input_uncached: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output_visible: int
    reasoning: int
    cost_micro_usd: int | None


_TYPES: Mapping[str, LiteralString] = {"UUID": "uuid", "datetime": "timestamptz", "str": "text", "int": "bigint"}
LEDGER: Mapping[str, LiteralString] = {
    each.name: _TYPES[str(each.type).removesuffix(" | None")] for each in fields(Spent)
}
"""Columns of `mv.usage_ledger`, in the order of `Spent`."""


@dataclass(frozen=True, slots=True)
class UsageEffects:
    """What the batch leaves of each attempt that it names, a row or none, and the newest of each job. All sorted by
    key."""

    spent: tuple[Spent, ...]
    erased: tuple[AttemptKey, ...]
    jobs: tuple[JobStatus, ...]


COMPARED = "a plain query over what the flow read, row by row"


class Usage(Flow[UsageEffects]):
    name = "usage"
    about = "what models were asked → tokens and money by hour, day, model, user, key; what jobs are at"
    topics = (EVENTS_TOPIC, job_status.TOPIC)
    tables = (
        KeptTable("mv.usage_ledger", COMPARED, columns=", ".join(LEDGER), right=oracle_usage.LEDGER),
        *(
            KeptTable(
                f"mv.{view}",
                COMPARED,
                columns=", ".join(("tenant_id", *by)),
                right=oracle_usage.ATTEMPTS,
                summed=", ".join(MEASURES),
            )
            for view, by in GROUPS.items()
        ),
        KeptTable(
            "mv.job_status",
            COMPARED,
            columns=job_status.COMPARED_COLUMNS,
            right=oracle_usage.JOBS,
            rows_max=job_status.FINISHED_MAX,
        ),
    )
    views = (
        *(
            KeptView(
                view,
                f"Attempts, tokens and money in millionths of a dollar by {view.removeprefix('usage_by_')}.",
                made_from=(EVENTS_TOPIC,),
                table=f"mv.{view}",
                key=tuple(by),
                columns=tuple(MEASURES),
            )
            for view, by in GROUPS.items()
        ),
        job_status.VIEW,
    )

    def transform(self, events: Sequence[Event]) -> UsageEffects:
        captured = [event for event in events if event.contract == EVENTS_TOPIC]
        told = [event.value for event in events if event.contract == job_status.TOPIC]
        spent, erased = take_latest(captured, _key, _attempt)
        return UsageEffects(spent, erased, job_status.newest(told))

    def apply(self, connection: Connection, effects: UsageEffects) -> None:
        if effects.spent or effects.erased:
            _count(connection, effects.spent, effects.erased)
        if effects.jobs:
            job_status.apply(connection, effects.jobs)


def _key(row: Any) -> AttemptKey:
    return AttemptKey(UUID(row["tenant_id"]), UUID(row["attempt_id"]))


def _attempt(row: Any) -> Spent:
    same = {name: row[name] for name in LEDGER}
    return Spent(
        **same
        | {name: UUID(row[name]) for name in ("tenant_id", "attempt_id", "user_id")}
        | {"started_at": datetime.fromisoformat(row["started_at"])}
    )


# --- SQL ------------------------------------------------------------------------------------------------------------


def _count(connection: Connection, spent: Sequence[Spent], erased: Sequence[AttemptKey]) -> None:
    """One statement. A row that counts nothing any more is deleted by a second one."""
    columns = dict(zip(LEDGER, arrays_of(map(astuple, spent), len(LEDGER)), strict=True))
    gone = dict(zip(("gone_tenants", "gone_attempts"), arrays_of(erased, 2), strict=True))
    connection.execute(_STATEMENT, gone | columns)
    tenants = sorted({key.tenant_id for key in erased})
    for statement in _DELETE_EMPTY if tenants else ():
        connection.execute(statement, [tenants])


_MOVE = sql.SQL("""
  with gone as (
    delete from mv.usage_ledger l
    using unnest(%(gone_tenants)s::uuid[], %(gone_attempts)s::uuid[]) as e (tenant_id, attempt_id)
    where l.tenant_id = e.tenant_id and l.attempt_id = e.attempt_id
    returning l.*
  ),
  new as (
    insert into mv.usage_ledger ({columns})
    select *
    from unnest({values})
    on conflict (tenant_id, attempt_id) do nothing
    returning *
  ),
  moved as (select 1 as by, {columns} from new union all select -1, {columns} from gone),
  {aggregates}
  select count(*)
  from moved
""")
"""The ledger, and what is new in it or gone from it into every aggregate. Rows are locked in the order of keys."""


_AGGREGATE = sql.SQL("""
  insert into {table} as a ({key}, {measures})
  select {values}, {sums}
  from moved
  group by {places}
  order by {places}
  on conflict ({key})
  do update set {moves}
""")


def _statement() -> sql.Composed:
    """Make the statement of the declared groups and measures, which are columns: those are no parameters."""
    aggregates = (
        sql.SQL("{} as ({})").format(sql.Identifier(view), _aggregate(view, by)) for view, by in GROUPS.items()
    )
    return _MOVE.format(
        columns=_names(LEDGER),
        values=_join(sql.SQL("{}::{}[]").format(sql.Placeholder(name), sql.SQL(kind)) for name, kind in LEDGER.items()),
        aggregates=_join(aggregates),
    )


def _aggregate(view: str, by: Mapping[str, LiteralString]) -> sql.Composed:
    return _AGGREGATE.format(
        table=sql.Identifier("mv", view),
        key=_names(("tenant_id", *by)),
        measures=_names(MEASURES),
        values=_join((sql.Identifier("tenant_id"), *map(sql.SQL, by.values()))),
        sums=_join(sql.SQL("sum(by * {})::bigint").format(sql.SQL(added)) for added in MEASURES.values()),
        places=_join(sql.Literal(place) for place in range(1, len(by) + 2)),
        moves=_join(sql.SQL("{0} = a.{0} + excluded.{0}").format(sql.Identifier(name)) for name in MEASURES),
    )


def _names(names: Iterable[str]) -> sql.Composed:
    return _join(map(sql.Identifier, names))


def _join(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


_STATEMENT = _statement().as_bytes(None)
_DELETE_EMPTY = [
    sql.SQL("delete from {} where tenant_id = any(%s) and attempts = 0")
    .format(sql.Identifier("mv", view))
    .as_bytes(None)
    for view in GROUPS
]
"""Rows that count nothing any more."""
