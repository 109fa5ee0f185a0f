"""What the database knows of the pipeline, and the place where the watcher writes what it found.

Owns the SQL, for the watcher and for `adriatic status`. Each look is a handful of short statements as adriatic_flows,
which sees all tenants; what comes back are counts and positions. Refuses to judge (`adriatic/watch`) and to wait:
every statement is bounded (`connectors/postgres/connections.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from connectors.kafka.records import TopicPartition
from connectors.postgres.connections import Connection, Session, connect
from connectors.postgres.errors import translate
from connectors.postgres.vector_indexes import IndexHealth, read_health
from connectors.postgres.wal import read_slot
from connectors.postgres.word_segments import PackHealth, read_pack_health
from runtime.settings import Settings
from schemas.arrays import arrays_of
from schemas.flows import KeptView
from schemas.pipeline import SKEW_S_MAX, TOTAL, DeadLetters, Percentiles, Pipeline, Slot, decode

KEPT_DAYS = 3
"""Days that minutes of freshness are kept: ten views make 216 000 rows in that time."""
KINDS_MAX = 200
"""Kinds of dead letters in one picture. More than that is one fault with many names."""


PROGRESS = """
  select flow, topic, partition, extract(epoch from seen_at)::float8, extract(epoch from sampled_at)::float8
  from ops.flow_progress
"""
WRITE_PROGRESS = """
  insert into ops.flow_progress as p (flow, topic, partition, seen_at, sampled_at)
  select %s, topic, partition, seen_at, clock_timestamp()
  from unnest(%s::text[], %s::integer[], %s::timestamptz[]) as mine (topic, partition, seen_at)
  order by topic, partition
  on conflict (flow, topic, partition)
  do update set seen_at = coalesce(excluded.seen_at, p.seen_at), sampled_at = excluded.sampled_at
"""
SELECT_BEHIND = """
  select extract(epoch from clock_timestamp() - committed_at)::float8
  from ops.cdc_progress
  where slot = %s
"""


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """How far one flow's reading is. Times in seconds since 1970, by the source's clock."""

    seen_at_s: float | None
    """The time of its slowest partition."""
    sampled_at_s: Mapping[TopicPartition, float]
    """When the process that has a partition last said so. One that nobody has is not spoken for, whatever the others
    say of theirs."""

    @classmethod
    def of(cls, times: Mapping[TopicPartition, tuple[float | None, float]]) -> ReadProgress:
        """Take the two times of each partition."""
        seen = [seen_at_s for seen_at_s, _ in times.values() if seen_at_s is not None]
        return cls(
            min(seen) if len(seen) == len(times) else None,
            {source: sampled_at_s for source, (_, sampled_at_s) in times.items()},
        )


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The watermarks of one view: its slowest partition, and whether all of them have reported, and have everything: of
    a table that capture stopped the changes are missing, however far the rest is."""

    source_at_s: float
    complete: bool


NOTHING = Watermarks(0.0, complete=False)
"""The watermarks of a view that never reported."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One look. `now_s` is the database's clock, which stamps everything else."""

    now_s: float
    read_at_s: float | None
    in_kafka_at_s: float | None
    committed: Mapping[str, Mapping[TopicPartition, int]]
    progress: Mapping[str, ReadProgress]
    watermarks: Mapping[str, Watermarks]
    sessions: Mapping[str, int]
    dead_letters: Sequence[DeadLetters]
    slot: Slot


WATERMARKS = """
  select
    view, extract(epoch from min(source_at))::float8,
    bool_and(lsn > '0/0' and not topic like any (stopped.topics))
  from mv.watermarks
  cross join ops.stopped_topics() as stopped (topics)
  group by view
"""


_READ_SPACES = """
  select state, count(*)
  from app.tenant_spaces
  where state <> 'active'
  group by state
"""
_READ_CLOCKS = """
  select
    extract(epoch from clock_timestamp())::float8, extract(epoch from read_at)::float8,
    extract(epoch from committed_at)::float8
  from (select 1) as one
  left join ops.cdc_progress on slot = %s
"""

_READ_SESSIONS = r"""
  select regexp_replace(application_name, '^adriatic-flow-(.*?)(-sampler)?$', '\1'), count(*)
  from pg_stat_activity
  where datname = current_database() and application_name like 'adriatic-flow-%%'
  group by 1
"""

_COUNT_DEAD_LETTERS = """
  select flow, topic, code, count(*) filter (where state = 'new'), count(*) filter (where state <> 'new')
  from ops.dlq
  where stage <> 'reject'
  group by 1, 2, 3
  order by 4 desc, 1, 2, 3
  limit %s
"""


_READ_PICTURE = """
  select found::text, extract(epoch from clock_timestamp())::float8
  from (select 1) as one
  left join ops.pipeline on true
"""

_READ_SPEND_TODAY = """
  select count(*), coalesce(sum(cost_micro_usd), 0)::bigint, count(*) filter (where cost_micro_usd is null)
  from app.usage_events
  where started_at >= date_trunc('day', now(), 'UTC')
"""

_READ_GATEWAY = """
  select
    (select count(*) from app.attempts), (select count(distinct (tenant_id, attempt_id)) from app.leases),
    count(*) filter (where outcome = 'completed'), count(*) filter (where outcome = 'failed'),
    count(*) filter (where outcome = 'cancelled')
  from app.usage_events
  where started_at >= date_trunc('day', now(), 'UTC')
"""

_READ_GATEWAY_ERRORS = """
  select code, count(*)
  from app.usage_events
  where started_at >= now() - interval '1 hour' and outcome = 'failed'
  group by 1
  order by 2 desc, 1
  limit 5
"""

_WRITE_PICTURE = """
  insert into ops.pipeline (sampled_at, found)
  values (%s, %s::jsonb)
  on conflict (only_row)
  do update set sampled_at = excluded.sampled_at, found = excluded.found
"""

_WRITE_MINUTE = """
  insert into ops.freshness_minute as m (view, stage, minute, samples, p50_s, p95_s, p99_s, max_s)
  values (%s, %s, %s, %s, %s, %s, %s, %s)
  on conflict (view, stage, minute)
  do update set
    samples = excluded.samples,
    p50_s = excluded.p50_s,
    p95_s = excluded.p95_s,
    p99_s = excluded.p99_s,
    max_s = greatest(m.max_s, excluded.max_s)
  where m.samples <= excluded.samples
"""

_READ_LAST_HOUR = """
  select
    view, sum(samples)::int, percentile_disc(0.5) within group (order by p50_s), max(p95_s), max(p99_s),
    max(max_s)
  from ops.freshness_minute
  where stage = %s and minute >= now() - interval '1 hour'
  group by view
"""


class Watch(Session):
    """One session. Raises `DependencyUnavailable`; close it, or use it as a context manager. `views`: those whose
    declarations say more than their watermarks do."""

    def __init__(self, settings: Settings, name: str, views: Sequence[KeptView] = ()) -> None:
        self._slot = settings.cdc.slot
        self._views = [view for view in views if view.follows or view.source_view or view.waiting]
        super().__init__(connect(settings.postgres, "watch", name=name, autocommit=True))

    # --- looking ----------------------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        """Committed offsets, positions and counts. Whoever asks the broker for ends does so afterwards."""
        now_s, read_at_s, in_kafka_at_s = self._row(_READ_CLOCKS, self._slot)
        return Facts(
            *(now_s, read_at_s, in_kafka_at_s),
            self._read_committed(),
            self._progress(),
            self._watermarks(),
            self._sessions(),
            self.dead_letters(),
            self.slot(),
        )

    def _read_committed(self) -> dict[str, dict[TopicPartition, int]]:
        found: dict[str, dict[TopicPartition, int]] = {}
        for flow, topic, partition, at in self._rows(
            "select flow, topic, partition, next_offset from ops.consumer_offsets"
        ):
            found.setdefault(flow, {})[TopicPartition(topic, partition)] = at
        return found

    def _progress(self) -> dict[str, ReadProgress]:
        found: dict[str, dict[TopicPartition, tuple[float | None, float]]] = {}
        for flow, topic, partition, *times in self._rows(PROGRESS):
            found.setdefault(flow, {})[TopicPartition(topic, partition)] = (times[0], times[1])
        return {flow: ReadProgress.of(times) for flow, times in found.items()}

    def _watermarks(self) -> dict[str, Watermarks]:
        found = {view: Watermarks(at_s, complete) for view, at_s, complete in self._rows(WATERMARKS)}
        oldest_s = {query: self._oldest_s(query) for query in {view.waiting for view in self._views if view.waiting}}
        for view in self._views:
            if (mark := found.get(view.follows or view.name)) is not None:
                first = found.get(view.source_view, NOTHING) if view.source_view else mark
                found[view.name] = _at_most(_slower(mark, first), oldest_s.get(view.waiting))
        return found

    def _oldest_s(self, waiting: str) -> float | None:
        (oldest,) = self._row(waiting.encode())
        return None if oldest is None else oldest.timestamp()

    def _sessions(self) -> dict[str, int]:
        """Count the sessions of each flow or agent: who has one is there, even if it does nothing."""
        return dict(self._rows(_READ_SESSIONS))

    def dead_letters(self) -> list[DeadLetters]:
        """Count by kind, without what a flow rejected on purpose: that is its producer's to mend, and is counted by
        feed."""
        return [DeadLetters(*row) for row in self._rows(_COUNT_DEAD_LETTERS, KINDS_MAX)]

    def slot(self) -> Slot:
        with translate():
            found = read_slot(self._connection, self._slot)
        behind_s = next((seconds for (seconds,) in self._rows(SELECT_BEHIND, self._slot)), None)
        stopped = self._rows(
            "select table_name from ops.cdc_tables where slot = %s and state = 'stopped' order by 1", self._slot
        )
        return Slot(
            name=self._slot,
            active=found is not None and found.active_pid is not None,
            status=found.wal_status if found else "missing",
            retained_bytes=found.wal_bytes if found else None,
            safe_bytes=found.safe_bytes if found else None,
            # A commit far in the future: a clock is wrong, and nobody can say how far capture is.
            behind_s=None if behind_s is None or behind_s < -SKEW_S_MAX else round(max(0.0, behind_s), 3),
            stopped_tables=[name for (name,) in stopped],
        )

    def picture(self) -> tuple[Pipeline | None, float]:
        """What the watcher last wrote, and the time now by the same clock. None: nothing, or of another release."""
        text, now_s = self._row(_READ_PICTURE)
        try:
            return (None if text is None else decode(text.encode())), now_s
        except msgspec.DecodeError:
            return None, now_s

    def spend_today(self) -> tuple[int, int, int]:
        """Sum since midnight UTC: attempts, micro-USD of those whose price is known, and those whose price is not."""
        attempts, micro_usd, unpriced = self._row(_READ_SPEND_TODAY)
        return attempts, micro_usd, unpriced

    def gateway(self) -> tuple[tuple[int, int, int, int, int], Sequence[tuple[str, int]]]:
        """Attempts in flight, those that hold something of a budget, and how those since midnight UTC ended: completed,
        failed, cancelled; and the codes of failures of the last hour, the most frequent first."""
        return self._row(_READ_GATEWAY), self._rows(_READ_GATEWAY_ERRORS)

    def indexes(self) -> IndexHealth:
        """How the indexes of large tenants for the search by meaning are."""
        with translate(self.reading):
            return read_health(self._connection)

    def packs(self) -> PackHealth:
        """How the segments of large tenants for the search by words are."""
        with translate(self.reading):
            return read_pack_health(self._connection)

    def spaces(self) -> dict[str, int]:
        """How many embedding spaces of tenants are in each state, beside those that are searched in."""
        return dict(self._rows(_READ_SPACES))

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, found: Pipeline) -> None:
        """Replace the picture."""
        self._run(_WRITE_PICTURE, datetime.fromtimestamp(found.sampled_at_s, UTC), msgspec.json.encode(found).decode())

    def write_minute(self, minute_s: int, found: Mapping[tuple[str, str], Percentiles]) -> None:
        """Keep one minute of freshness, and forget what is too old. Of a minute that two wrote (a restart) the one with
        more looks is kept."""
        with translate(), self._connection.transaction():
            self._connection.cursor().executemany(
                _WRITE_MINUTE,
                [
                    (view, stage, datetime.fromtimestamp(minute_s, UTC), *msgspec.structs.astuple(each))
                    for (view, stage), each in sorted(found.items())
                ],
            )
            self._connection.execute(
                "delete from ops.freshness_minute where minute < now() - make_interval(days => %s)", [KEPT_DAYS]
            )

    def last_hour(self) -> dict[str, Percentiles]:
        """Sum up each view over the minutes of the last hour: the median of the medians, the worst of the other
        figures."""
        return {view: Percentiles(*figures) for view, *figures in self._rows(_READ_LAST_HOUR, TOTAL)}


def _slower(mark: Watermarks, first: Watermarks) -> Watermarks:
    return Watermarks(min(mark.source_at_s, first.source_at_s), mark.complete and first.complete)


def _at_most(mark: Watermarks, limit_s: float | None) -> Watermarks:
    return mark if limit_s is None else replace(mark, source_at_s=min(mark.source_at_s, limit_s))


def write_progress(connection: Connection, flow: str, seen_at: Mapping[TopicPartition, datetime | None]) -> None:
    """What a process says of the partitions that it has: that somebody reads them, and up to which commit everything
    was taken from each."""
    rows = [(*source, seen_at[source]) for source in sorted(seen_at)]
    connection.execute(WRITE_PROGRESS, [flow, *arrays_of(rows, 3)])
