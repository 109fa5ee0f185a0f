"""Lag, and the watermark of partitions that are at their end: a thread that back-pressure cannot stop.

Owns the figures that `adriatic status` and the lag metrics show, and the idle half of watermarks (the busy half is in
the sink's transaction). Refuses to touch the consumer's position. When it cannot tell, it says so: the facts become
`unknown`, never the last good number (law 5).

Order matters twice. How far capture is, is read before the ends of the partitions, so everything it speaks of lies
below those ends; committed offsets are read after, in the statement that writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from connectors.consumer.origin import LOOK_S, LogGuard
from connectors.consumer.stall import StallWatch
from connectors.kafka.membership import Membership
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition
from connectors.kafka.source import GroupConsumer, age_s
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from connectors.postgres.sink import advance_idle_watermarks, expect_watermarks
from connectors.postgres.watch import write_progress
from connectors.replaceable import ReplaceableClient
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, Fenced, Halted
from runtime.lifecycle import Lifecycle
from runtime.logs import get_logger
from runtime.settings import Settings

log = get_logger("sampler")

INTERVAL_S = 0.5
"""Half the heartbeat of capture, so that an idle view is at most about 1.5 s behind."""
ANSWER_S_MAX = 5.0
"""One statement, in seconds; after a slower one the session is a new one."""
STOP_TIMEOUT_S = 5.0
FRESH_S = 10.0
"""How long a sample is good for. A database or broker that hangs, hangs this thread too: then the figures expire by
themselves. Twenty intervals, so that a busy machine is not taken for one that hangs."""


_READ_WATERMARKS = """
  select view, min(lsn)::text, min(source_at)
  from mv.watermarks
  where view = any(%s)
  group by view
  having min(lsn) > '0/0'
"""


class Sampler:
    """Samples until stopped. One per flow process: it speaks for the partitions that the process has,
    and for no others. `views` says which are made from each topic that is read; `guard` knows whether the topics are as
    they were."""

    def __init__(
        self,
        settings: Settings,
        flow: str,
        views: Mapping[str, Sequence[str]],
        offsets: Offsets,
        consumer: GroupConsumer,
        life: Lifecycle,
        guard: LogGuard | None = None,
    ) -> None:
        self._settings = settings
        self._flow = flow
        self._guard = guard
        self._watched_s = float("-inf")
        self._expected: set[TopicPartition] = set()
        self._views = views
        self._offsets = offsets
        self._consumer = consumer
        self._life = life
        self._database = ReplaceableClient("postgres", self._connect, ANSWER_S_MAX, close=Connection.close)
        self._membership = Membership(settings.kafka, consumer.group, consumer.instance)
        self._stall = StallWatch()
        self._unknown_because = ""
        self._behind_since: dict[TopicPartition, float] = {}
        self._seen_at: dict[TopicPartition, datetime] = {}
        self._shown: set[TopicPartition] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self.sample()
                self._life.health.clear("lag")
                self._unknown_because = ""
            except DependencyUnavailable as error:
                self._stall.reset()
                self._unknown(str(error))
            except Halted as error:
                self._unknown(str(error))
                self._life.fail(error)
            except Exception as error:  # a thread that dies silently would freeze the figures
                log.exception("sample failed")
                self._unknown(f"{type(error).__name__}: {error}")
        self._database.close()

    def sample(self) -> None:
        """One look. Raises `DependencyUnavailable`, and `Halted` when the topics are others."""
        if self._guard is not None and SYSTEM_CLOCK.monotonic() - self._watched_s >= LOOK_S:
            self._watch(self._guard)
        slot = self._settings.cdc.slot
        progress = self._ask("select lsn::text, committed_at from ops.cdc_progress where slot = %s", slot)
        assigned = self._read_assigned()
        if not assigned:
            self._offsets.topics()  # a broker that does not answer takes the partitions away too: then nothing is known
        ends = self._offsets.end(assigned)
        for topic, views in self._views.items():
            if progress and views:
                of_topic = {source: end for source, end in ends.items() if source.topic == topic}
                self._advance(views, of_topic, *progress[0])
        self._publish_progress(ends, progress[0][1] if progress else None)
        rows = self._ask("select topic, partition, next_offset from ops.consumer_offsets where flow = %s", self._flow)
        committed = {TopicPartition(topic, partition): at for topic, partition, at in rows}
        self._publish_lag(ends, committed)
        self._publish_watermarks()
        self._end_when_stalled(ends, committed)

    def _watch(self, guard: LogGuard) -> None:
        """Halt when the topics are not as they were. A view is not known before all partitions have reported, those
        that are new too: until somebody reads them nobody can say how far it is, and that is written down first."""
        topics = guard.describe(self._views)
        now = {TopicPartition(topic, each) for topic, state in topics.items() for each in range(state.partitions)}
        if new := now - self._expected:
            if self._expected:
                log.warning("partitions were added", flow=self._flow, partitions=[str(each) for each in sorted(new)])
            self._tell(partial(expect_watermarks, views={source: self._views[source.topic] for source in new}))
            self._expected = now
        guard.compare(topics)
        self._watched_s = SYSTEM_CLOCK.monotonic()

    def _end_when_stalled(self, ends: Mapping[TopicPartition, int], committed: Mapping[TopicPartition, int]) -> None:
        """A consumer that takes nothing, though there is something and the broker answers, begins anew in a new
        process."""
        if not ends:
            try:
                reason = self._stall.find_unowned(self._membership.state)
            except DependencyUnavailable:  # nobody knows the group yet, or its coordinator is moving
                self._stall.reset()
                return
        elif any(self._consumer.oldest_ms(source) is not None for source in ends):
            self._stall.reset()
            return
        else:
            behind = [source for source, end in ends.items() if end > committed.get(source, 0)]
            readable = self._offsets.end_of_committed(behind)
            reason = self._stall.find_stalled(readable, committed)
        if reason:
            self._life.fail(Fenced(f"the consumer takes nothing, though the broker answers: {reason}"))

    def _read_assigned(self) -> tuple[TopicPartition, ...]:
        """The partitions that are ours now. What was said about others is taken back: somebody else speaks for them."""
        assignment = self._consumer.assignment
        for source in self._shown.difference(assignment):
            self._behind_since.pop(source, None)
            self._seen_at.pop(source, None)
            for gauge in (metrics.CONSUMER_LAG, metrics.CONSUMER_LAG_SECONDS):
                with suppress(KeyError):
                    gauge.remove(*self._labels(source))
        self._shown = set(assignment)
        return assignment

    def _labels(self, source: TopicPartition) -> tuple[str, str, str]:
        return f"adriatic.{self._flow}", source.topic, str(source.partition)

    def _advance(
        self, views: Sequence[str], ends: Mapping[TopicPartition, int], lsn: str, committed_at: datetime
    ) -> None:
        self._tell(lambda connection: advance_idle_watermarks(connection, self._flow, views, ends, lsn, committed_at))

    def _publish_progress(self, ends: Mapping[TopicPartition, int], in_kafka_at: datetime | None) -> None:
        """Publish up to which commit everything was taken, by partition. One that was fetched to its end has all that
        was in Kafka before the end was asked for."""
        for source, end in ends.items():
            fetched, newest = self._consumer.last_fetched(source)
            at = in_kafka_at if fetched >= end else newest.committed_at if newest else None
            if at is not None:
                self._seen_at[source] = at  # not the latest ever seen: a clock may have been wrong for a moment
        seen_at = {source: self._seen_at.get(source) for source in ends}
        self._tell(lambda connection: write_progress(connection, self._flow, seen_at))

    def _publish_lag(self, ends: Mapping[TopicPartition, int], committed: Mapping[TopicPartition, int]) -> None:
        facts: dict[str, dict[str, float]] = {}
        for source, end in ends.items():
            records = max(0, end - committed.get(source, 0))
            seconds = self._seconds_behind(source, records)
            labels = self._labels(source)
            metrics.CONSUMER_LAG.labels(*labels).set(records)
            metrics.CONSUMER_LAG_SECONDS.labels(*labels).set(seconds)
            of_topic = facts.setdefault(source.topic, {"records": 0, "seconds": 0.0})
            of_topic["records"] += records
            of_topic["seconds"] = round(max(of_topic["seconds"], seconds), 3)
        self._life.health.set_fact("lag", facts, FRESH_S, self._forget)

    def _seconds_behind(self, source: TopicPartition, records: int) -> float:
        """Age of the oldest record not yet committed; while none of them was fetched, for how long we know of it."""
        if not records:
            self._behind_since.pop(source, None)
            return 0.0
        known_for_s = SYSTEM_CLOCK.monotonic() - self._behind_since.setdefault(source, SYSTEM_CLOCK.monotonic())
        fetched = age_s(self._consumer.oldest_ms(source))
        return known_for_s if fetched is None else max(fetched, known_for_s)

    def _publish_watermarks(self) -> None:
        facts: dict[str, Any] = {}
        for view, lsn, at in self._ask(_READ_WATERMARKS, [view for views in self._views.values() for view in views]):
            metrics.FLOW_WATERMARK_SECONDS.labels(view).set(at.timestamp())
            facts[view] = {"lsn": lsn, "source_at": at.isoformat()}
        self._life.health.set_fact("watermarks", facts, FRESH_S)
        # What a flow rejected is its producer's to mend, and is in the counts of the feed.
        letters = self._ask(
            "select count(*) from ops.dlq where flow = %s and state = 'new' and stage <> 'reject'", self._flow
        )
        self._life.health.set_fact("dead_letters", letters[0][0], FRESH_S)
        self._life.health.set_fact("retries", self._life.retries)

    def _unknown(self, why: str) -> None:
        if why != self._unknown_because:
            log.warning("lag is unknown", because=why)
        self._unknown_because = why
        self._life.health.set_fact("lag", "unknown")
        self._life.health.set_fact("watermarks", "unknown")
        self._life.health.wait_for("lag", why)
        self._forget()

    def _forget(self) -> None:
        """The last good figures are not shown as if they were of now."""
        for gauge in (metrics.CONSUMER_LAG, metrics.CONSUMER_LAG_SECONDS):
            for source in self._shown:
                gauge.labels(*self._labels(source)).set(float("nan"))

    def _ask(self, query: Any, *arguments: Any) -> list[Any]:
        with translate():
            return self._database.ask(lambda connection: connection.execute(query, arguments).fetchall())

    def _tell(self, write: Callable[[Connection], None]) -> None:
        with translate():
            self._database.ask(write)

    def _connect(self) -> Connection:
        return connect(self._settings.postgres, name=f"adriatic-flow-{self._flow}-sampler", autocommit=True)
