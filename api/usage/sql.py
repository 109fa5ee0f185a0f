"""The SQL of the reads of usage: of each view the totals of a range, and its rows.

All take the first moment, the moment after the last, and how many rows at most, the total among them. The total comes
first. The transaction's tenant sees its own. A day is compared as the moment at which it begins in UTC, so that the
index serves the range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_HOUR = """
  select
    hour as begins, grouping(hour) = 1 as is_total, sum(attempts)::bigint as attempts,
    sum(completed)::bigint as completed, sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled,
    sum(input_uncached)::bigint as input_uncached, sum(cache_read)::bigint as cache_read,
    sum(cache_write_5m)::bigint as cache_write_5m, sum(cache_write_1h)::bigint as cache_write_1h,
    sum(output_visible)::bigint as output_visible, sum(reasoning)::bigint as reasoning,
    sum(cost_micro_usd)::bigint as cost_micro_usd, sum(unpriced)::bigint as unpriced,
    sum(partial)::bigint as partial, sum(estimated)::bigint as estimated
  from mv.usage_by_hour
  where hour >= coalesce($1::timestamptz, '-infinity') and hour < coalesce($2::timestamptz, 'infinity')
  group by grouping sets ((), (hour))
  order by is_total desc, hour desc
  limit $3
"""

_DAY = """
  select
    day::timestamp at time zone 'UTC' as begins, grouping(day) = 1 as is_total,
    sum(attempts)::bigint as attempts, sum(completed)::bigint as completed, sum(failed)::bigint as failed,
    sum(cancelled)::bigint as cancelled, sum(input_uncached)::bigint as input_uncached,
    sum(cache_read)::bigint as cache_read, sum(cache_write_5m)::bigint as cache_write_5m,
    sum(cache_write_1h)::bigint as cache_write_1h, sum(output_visible)::bigint as output_visible,
    sum(reasoning)::bigint as reasoning, sum(cost_micro_usd)::bigint as cost_micro_usd,
    sum(unpriced)::bigint as unpriced, sum(partial)::bigint as partial, sum(estimated)::bigint as estimated
  from mv.usage_by_day
  where day >= coalesce($1::timestamptz at time zone 'UTC', '-infinity')
    and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity')
  group by grouping sets ((), (day))
  order by is_total desc, day desc
  limit $3
"""

_MODEL = """
  select
    provider, model, grouping(provider) = 1 as is_total, sum(attempts)::bigint as attempts,
    sum(completed)::bigint as completed, sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled,
    sum(input_uncached)::bigint as input_uncached, sum(cache_read)::bigint as cache_read,
    sum(cache_write_5m)::bigint as cache_write_5m, sum(cache_write_1h)::bigint as cache_write_1h,
    sum(output_visible)::bigint as output_visible, sum(reasoning)::bigint as reasoning,
    sum(cost_micro_usd)::bigint as cost_micro_usd, sum(unpriced)::bigint as unpriced,
    sum(partial)::bigint as partial, sum(estimated)::bigint as estimated
  from mv.usage_by_model
  where day >= coalesce($1::timestamptz at time zone 'UTC', '-infinity')
    and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity')
  group by grouping sets ((), (provider, model))
  order by is_total desc, cost_micro_usd desc, attempts desc, provider, model
  limit $3
"""

_USER = """
  select
    user_id, grouping(user_id) = 1 as is_total, sum(attempts)::bigint as attempts,
    sum(completed)::bigint as completed, sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled,
    sum(input_uncached)::bigint as input_uncached, sum(cache_read)::bigint as cache_read,
    sum(cache_write_5m)::bigint as cache_write_5m, sum(cache_write_1h)::bigint as cache_write_1h,
    sum(output_visible)::bigint as output_visible, sum(reasoning)::bigint as reasoning,
    sum(cost_micro_usd)::bigint as cost_micro_usd, sum(unpriced)::bigint as unpriced,
    sum(partial)::bigint as partial, sum(estimated)::bigint as estimated
  from mv.usage_by_user
  where day >= coalesce($1::timestamptz at time zone 'UTC', '-infinity')
    and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity')
  group by grouping sets ((), (user_id))
  order by is_total desc, cost_micro_usd desc, attempts desc, user_id
  limit $3
"""

_KEY = """
  select
    key_id, grouping(key_id) = 1 as is_total, sum(attempts)::bigint as attempts,
    sum(completed)::bigint as completed, sum(failed)::bigint as failed, sum(cancelled)::bigint as cancelled,
    sum(input_uncached)::bigint as input_uncached, sum(cache_read)::bigint as cache_read,
    sum(cache_write_5m)::bigint as cache_write_5m, sum(cache_write_1h)::bigint as cache_write_1h,
    sum(output_visible)::bigint as output_visible, sum(reasoning)::bigint as reasoning,
    sum(cost_micro_usd)::bigint as cost_micro_usd, sum(unpriced)::bigint as unpriced,
    sum(partial)::bigint as partial, sum(estimated)::bigint as estimated
  from mv.usage_by_key
  where day >= coalesce($1::timestamptz at time zone 'UTC', '-infinity')
    and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity')
  group by grouping sets ((), (key_id))
  order by is_total desc, cost_micro_usd desc, attempts desc, key_id
  limit $3
"""

QUERIES: Final[Mapping[str, str]] = {"hour": _HOUR, "day": _DAY, "model": _MODEL, "user": _USER, "key": _KEY}
"""One query for each thing that the rows can be by."""
