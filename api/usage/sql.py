"""The SQL of the reads of usage: of each view the totals of a range, and its rows.

All take the first moment, the moment after the last, and how many rows at most, the total among them. The total comes
first. The transaction's tenant sees its own. A day is compared as the moment at which it begins in UTC, so that the
index serves the range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, LiteralString

from psycopg import sql

from connectors.llm import Tokens

COUNTS: Final = (
    *("attempts", "completed", "failed", "cancelled"),
    *Tokens.__struct_fields__,
    *("cost_micro_usd", "unpriced", "partial", "estimated"),
)
"""What each view counts."""

_QUERY = sql.SQL("""
  select {shown}, grouping({keys}) > 0 as is_total, {sums}
  from {view}
  where {time} >= coalesce($1::timestamptz {zone}, '-infinity')
    and {time} < coalesce($2::timestamptz {zone}, 'infinity')
  group by grouping sets ((), ({keys}))
  order by is_total desc, {order}
  limit $3
""")
_SUM = sql.SQL("sum({0})::bigint as {0}")


def _compose(
    by: str,
    keys: LiteralString,
    shown: LiteralString = "",
    order: LiteralString = "",
    time: LiteralString = "day",
    zone: LiteralString = "at time zone 'UTC'",
) -> str:
    """The query of one view. Rows come by what they cost, where no other `order` is said."""
    return _QUERY.format(
        shown=sql.SQL(shown or keys),
        keys=sql.SQL(keys),
        sums=sql.SQL(", ").join(_SUM.format(sql.Identifier(name)) for name in COUNTS),
        view=sql.Identifier("mv", f"usage_by_{by}"),
        time=sql.SQL(time),
        zone=sql.SQL(zone),
        order=sql.SQL(order) if order else sql.SQL("cost_micro_usd desc, attempts desc, {}").format(sql.SQL(keys)),
    ).as_string(None)


QUERIES: Final[Mapping[str, str]] = {
    "hour": _compose("hour", "hour", shown="hour as begins", order="hour desc", time="hour", zone=""),
    "day": _compose("day", "day", shown="day::timestamp at time zone 'UTC' as begins", order="day desc"),
    "model": _compose("model", "provider, model"),
    "user": _compose("user", "user_id"),
    "key": _compose("key", "key_id"),
}
"""One query for each thing that the rows can be by."""
