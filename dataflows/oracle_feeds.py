"""The plain recomputation of what became of feeds' items, for `adriatic verify`: SQL over the ledger, without deltas.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/feeds.py`, which keeps the tables.
"""

from __future__ import annotations

from uuid import UUID

from connectors.postgres.sink import Connection
from dataflows.comparison import SHOWN_MAX, Unlike

LEDGER = "mv.feed_ledger where tenant_id = %(tenant_id)s"
VERSIONS = "app.document_versions where tenant_id = %(tenant_id)s and origin = 'feed'"
STATUS = "mv.feed_status where tenant_id = %(tenant_id)s"

ACCEPTED = f"select feed_id, external_id, version, deleted from {LEDGER} and outcome = 'accepted'"  # noqa: S608 - constants
WRITTEN = f"select feed_id, external_id, version, kind = 'delete' from {VERSIONS}"  # noqa: S608 - constants
COUNTED = (
    "select s.feed_id, count(l.outcome) filter (where l.outcome = 'accepted'), "
    "count(l.outcome) filter (where l.outcome = 'accepted' and l.deleted), "
    "count(l.outcome) filter (where l.outcome = 'superseded'), coalesce(sum(l.repeats), 0)::bigint "
    "from mv.feed_status s left join mv.feed_ledger l using (tenant_id, feed_id) "
    "where s.tenant_id = %(tenant_id)s group by s.feed_id"
)
KEPT = f"select feed_id, accepted, deleted, superseded, duplicates from {STATUS}"  # noqa: S608 - constants

QUERIES = (
    ("missing", "app.document_versions", f"({ACCEPTED}) except all ({WRITTEN})"),
    ("extra", "app.document_versions", f"({WRITTEN}) except all ({ACCEPTED})"),
    ("missing", "mv.feed_status", f"({COUNTED}) except all ({KEPT})"),
    # A ledger without counts.
    ("missing", "mv.feed_status", f"select distinct feed_id from {LEDGER} except select feed_id from {STATUS}"),  # noqa: S608 - constants
    # Every record became something, once.
    (
        "extra",
        "mv.feed_status",
        f"select feed_id from {STATUS} and (received + redriven <> accepted + duplicates + superseded + rejected "  # noqa: S608 - constants
        "or rejected <> (select coalesce(sum(value::bigint), 0) from jsonb_each_text(rejected_by)))",
    ),
    # The newest version of an item is never one that was passed over.
    (
        "extra",
        "mv.feed_ledger",
        "select feed_id, external_id, version from (select distinct on (feed_id, external_id) * from "  # noqa: S608 - constants
        f"{LEDGER} order by feed_id, external_id, version desc) newest where outcome <> 'accepted'",
    ),
    # What a producer sent and was refused is a dead letter, unless it was too many.
    (
        "missing",
        "ops.dlq",
        "select tenant_id from (select tenant_id, sum(not_kept) as not_kept, "
        "sum(rejected) - sum(coalesce((rejected_by ->> 'bad_signature')::bigint, 0)) as refused "
        "from mv.feed_status where tenant_id = %(tenant_id)s group by tenant_id) s "
        "where not_kept = 0 and refused <> (select count(*) from ops.dlq d "
        "where d.flow = 'feeds' and d.stage = 'reject' and d.tenant_id = s.tenant_id)",
    ),
)
"""What each row that a query gives is an instance of. All of them give nothing when all is right."""


def unlike(connection: Connection, tenant_id: UUID) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind."""
    return [
        Unlike("missing" if kind == "missing" else "extra", table, " ".join(map(str, row[:3])))
        for kind, table, query in QUERIES
        for row in connection.execute(
            f"{query} order by 1 limit %(max)s".encode(), {"tenant_id": tenant_id, "max": SHOWN_MAX}
        )
    ]
