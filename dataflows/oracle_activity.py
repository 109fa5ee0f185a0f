"""The plain recomputation of feed, counts and active users, for `adriatic verify`: SQL over app.adr_versions, without
ledger or deltas.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/activity.py`, which keeps the tables.
"""

from __future__ import annotations

from dataflows.activity import COLUMNS, EVENTS_MAX, NEWEST_FIRST
from dataflows.comparison import Right

COUNTS = "tenant_id, kind, label, count"
DAYS = "tenant_id, day, users"

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
