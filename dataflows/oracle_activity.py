"""The plain recomputation of feed, counts and active users, for `adriatic verify`: SQL over app.adr_versions, without
ledger or deltas.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/activity.py`, which keeps the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple
from uuid import UUID

from connectors.postgres.connections import Connection
from dataflows.activity import COLUMNS, EVENTS_MAX, NEWEST_FIRST

COUNTS = "tenant_id, kind, label, count"
DAYS = "tenant_id, day, users"

Right = Mapping[str, tuple[str, str]]
"""Of each table: its columns, and the query that says what is right."""


class Unlike(NamedTuple):
    """A row that is in the table and should not be (`extra`), or the other way round (`missing`)."""

    kind: Literal["missing", "extra"]
    table: str
    where: str


RIGHT: Right = {
    "mv.activity_ledger": (COLUMNS, f"select {COLUMNS} from app.adr_versions where tenant_id = %(tenant_id)s"),  # noqa: S608 - constants
    "mv.activity": (
        COLUMNS,
        f"select * from (select {COLUMNS} from app.adr_versions where tenant_id = %(tenant_id)s "  # noqa: S608 - constants
        f"order by {NEWEST_FIRST} limit {EVENTS_MAX}) newest",
    ),
    "mv.entity_counts": (
        COUNTS,
        "select tenant_id, 'versions', change, count(*) from app.adr_versions where tenant_id = %(tenant_id)s "
        "group by tenant_id, change union all select tenant_id, kind, status, count(*) from ("
        "select tenant_id, status, case when change = 'delete' then 'deleted_adrs' else 'adrs' end as kind "
        "from app.adr_versions v where tenant_id = %(tenant_id)s and version = ("
        "select max(version) from app.adr_versions w where w.tenant_id = v.tenant_id and w.adr_id = v.adr_id)"
        ") newest group by tenant_id, kind, status",
    ),
    "mv.daily_active_users": (
        DAYS,
        "select tenant_id, (effective_at at time zone 'UTC')::date, count(distinct author) from app.adr_versions "
        "where tenant_id = %(tenant_id)s and author <> '' group by 1, 2",
    ),
}
"""Of each table: what to compare, and the query that says what is right."""
SHOWN_MAX = 50
"""Rows of one kind, table and tenant that are named; ids and labels alone, never a title or a name."""


def unlike(connection: Connection, tenant_id: UUID, tables: Right = RIGHT) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind. A row with a wrong value is both kinds."""
    return [
        Unlike(kind, table, " ".join(map(str, row[1:3])))
        for table, (columns, right) in tables.items()
        for kind, query in _queries(table, columns, right)
        for row in connection.execute(query, {"tenant_id": tenant_id, "max": SHOWN_MAX})
    ]


def _queries(table: str, columns: str, right: str) -> tuple[tuple[Literal["missing", "extra"], Any], ...]:
    have = f"select {columns} from {table} where tenant_id = %(tenant_id)s"  # noqa: S608 - constants
    return (
        ("missing", f"({right}) except all ({have}) order by 1, 2, 3 limit %(max)s"),
        ("extra", f"({have}) except all ({right}) order by 1, 2, 3 limit %(max)s"),
    )
