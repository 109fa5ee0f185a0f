"""Looks at the whole pipeline every two seconds, and writes down how it is.

Owns the order of a poll, the bounded windows that trends come from, the minutes of freshness, and every metric of
`runtime/metrics.py` that speaks of all groups. One process does it: `adriatic watch run`. Refuses to judge
(`adriatic/watch`), and to change anything that it looks at. What cannot be asked is written down as unknown, with the
reason; when nothing can be written, its readers see how old the last picture is (law 5).

Committed offsets and the marks of freshness are read first, then the broker is asked for ends. Both are asked on
threads of their own: a broker that hangs must not keep quiet what the database knows, and a session that hangs must not
keep this process from saying so. A client that fails or is late is replaced (`connectors/replaceable.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
from prometheus_client import Gauge

from adriatic.watch import freshness, lag
from adriatic.watch.freshness import Minutes
from adriatic.watch.lag import Sample
from connectors.kafka.groups import Broker, BrokerPoll, Group, Range
from connectors.kafka.records import TopicPartition
from connectors.postgres.watch import Facts, Watch
from connectors.replaceable import ReplaceableClient
from dataflows import catalog
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import DependencyUnavailable
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.pipeline import STAGES, STATUSES, GroupLag, Percentiles, Pipeline, ViewFreshness, unknown_group

log = get_logger("watcher")

INTERVAL_S = 2.0
"""Time between two looks. Each costs a dozen small statements and as many requests to the broker."""
BROKER_S_MAX = 4.0
"""Longest wait of a poll for the broker. A later answer is dropped: its offsets are old."""
DATABASE_S_MAX = 8.0
"""Longest wait of a poll for what the database knows, or for the picture to be written: a dozen statements, each of
which the server itself ends at the bounds of a session that watches. Less than the age at which a picture is not
believed any more."""
SAMPLES_MAX = 240
"""Most samples of one partition's window. More than `lag.WINDOW_S` holds at this pace."""
NAME = "adriatic-watch"
PREFIX = "adriatic."

Say = Callable[..., None]
"""Sets a gauge: its value (None: not known) and its labels."""
Windows = dict[str, dict[TopicPartition, deque[Sample]]]


class Watcher:
    """One process. `run` blocks until asked to stop."""

    def __init__(self, settings: Settings, life: Lifecycle, clock: Clock = SYSTEM_CLOCK) -> None:
        self._life = life
        self._flows = catalog.flows()
        self._windows: Windows = {}
        self._minutes = Minutes()
        self._last_hour: dict[str, Percentiles] | None = None
        self._database = ReplaceableClient(
            "postgres", lambda: Watch(settings, NAME, catalog.views()), DATABASE_S_MAX, close=Watch.close, clock=clock
        )
        self._broker = ReplaceableClient(
            "kafka",
            lambda: Broker(settings.kafka),
            BROKER_S_MAX,
            close=Broker.close,
            fit=lambda broker: broker.fit,
            clock=clock,
        )
        self._exported: set[tuple[Gauge, tuple[str, ...]]] = set()

    def run(self) -> None:
        try:
            while True:
                self._turn()
                self._life.sleep(INTERVAL_S)
        except StopRequested:
            self.close()

    def _turn(self) -> None:
        """One poll, and what becomes of it. Raises nothing: a watcher that ended would see nothing any more."""
        try:
            self.publish(self.poll())
            self._life.health.clear("postgres")
            self._life.health.ready()
        except DependencyUnavailable as error:
            self.forget(str(error))
        except Exception as error:
            log.exception("poll failed")
            self.forget(f"{type(error).__name__}: {error}")

    def forget(self, why: str) -> None:
        """No database: nothing can be known or written, and nothing old is exported as if it were of now."""
        self._life.health.wait_for("postgres", why)
        self._forget_metrics(set())

    def close(self) -> None:
        """Write what is left of the minute, and let go of everything."""
        if minute := self._minutes.end():
            try:
                self._database.ask_apart(lambda watch: watch.write_minute(*minute))
            except DependencyUnavailable as error:
                log.warning("the last minute is not written", detail=error.detail)
        self._database.close()
        self._broker.close()

    # --- a poll -----------------------------------------------------------------------------------------------------

    def poll(self) -> Pipeline:
        """Raises `DependencyUnavailable` when the database does not answer."""
        if self._last_hour is None:
            self._last_hour = self._database.ask_apart(Watch.last_hour)
        facts = self._database.ask_apart(Watch.facts)
        poll, reason = self._ask_broker(facts)
        views = self._views(facts)
        if minute := self._minutes.add(facts.now_s, views):
            self._database.ask_apart(lambda watch: watch.write_minute(*minute))
            self._last_hour = self._database.ask_apart(Watch.last_hour)
        return Pipeline(
            sampled_at_s=facts.now_s,
            reason=reason,
            groups=self._groups(facts, poll, reason),
            views=views,
            dead_letters=facts.dead_letters,
            slot=facts.slot,
            groups_left_out=poll.left_out if poll else 0,
        )

    def _ask_broker(self, facts: Facts) -> tuple[BrokerPoll | None, str]:
        """What the broker says, or why it does not."""
        try:
            poll = self._broker.ask_apart(lambda broker: broker.poll(facts.committed))
        except DependencyUnavailable as error:
            self._life.health.wait_for("kafka", error.detail)
            return None, error.detail
        self._life.health.clear("kafka")
        return poll, ""

    # --- groups -----------------------------------------------------------------------------------------------------

    def _groups(self, facts: Facts, poll: BrokerPoll | None, reason: str) -> list[GroupLag]:
        """Ours, whether or not they ever ran, then what else the broker knows; worst first."""
        ours = {f"{PREFIX}{name}" for name in {*self._flows, *facts.committed}}
        if poll is None:
            known = {*ours, *self._windows}
            return sorted((unknown_group(name, reason, ours=name in ours) for name in known), key=_rank)
        told = {group.name: group for group in poll.groups}
        for name in {*self._windows} - ours - {*told}:
            del self._windows[name]  # the broker forgot it
        found = []
        for name in {*ours, *told}:
            group = told.get(name, Group(name, None, {}))
            if name in ours:
                group = self._ours(name.removeprefix(PREFIX), facts, group)
            if name not in ours and group.committed is None:
                found.append(unknown_group(name, "the broker does not tell its offsets", ours=False))
            elif name in ours or group.committed:
                windows = self._note(group, poll, facts.now_s, _beats(name, facts))
                found.append(lag.judge(name, windows, facts.now_s, ours=name in ours))
        return sorted(found, key=_rank)

    @staticmethod
    def _ours(flow: str, facts: Facts, told: Group) -> Group:
        """Our offsets are in Postgres. A process that ended is missed there at once, by its session; the broker says
        how many there are, and misses one that was killed only after a while."""
        sessions = facts.sessions.get(flow, 0)
        members = (told.members or sessions) if sessions else 0
        return Group(told.name, members, facts.committed.get(flow, {}))

    def _note(
        self, group: Group, poll: BrokerPoll, now_s: float, beats: Mapping[TopicPartition, float]
    ) -> Mapping[TopicPartition, Sequence[Sample]]:
        """Add one sample a partition, and forget what is older than the window."""
        windows = self._windows.setdefault(group.name, {})
        committed = _list_partitions(group, poll, ours=group.name.removeprefix(PREFIX) != group.name)
        for gone in set(windows) - set(committed):
            del windows[gone]
        for source, at in committed.items():
            window = windows.setdefault(source, deque(maxlen=SAMPLES_MAX))
            window.append(_sample(source, at, poll, now_s, group.members, beats.get(source)))
            while window[0].at_s < now_s - lag.WINDOW_S:
                window.popleft()
        return windows

    # --- views ------------------------------------------------------------------------------------------------------

    def _views(self, facts: Facts) -> list[ViewFreshness]:
        """Every view that a flow of this release keeps, and every other one that has a watermark; worst first."""
        keeper = {view.name: name for name, flow in self._flows.items() for view in flow.views}
        found = [self._view(view, keeper.get(view, ""), facts) for view in {*keeper, *facts.watermarks}]
        order = ("unknown", "stale", "fresh")
        return sorted(found, key=lambda view: (order.index(view.state), -(view.age_s or 0.0), view.view))

    def _view(self, view: str, flow: str, facts: Facts) -> ViewFreshness:
        shown, progress = facts.watermarks.get(view), facts.progress.get(flow)
        marks = (
            facts.read_at_s,
            facts.in_kafka_at_s,
            progress.seen_at_s if progress else None,
            shown.source_at_s if shown else None,
        )
        complete = shown is not None and shown.complete
        found = freshness.judge(view, flow, facts.now_s, marks, complete=complete)
        return msgspec.structs.replace(found, last_hour=(self._last_hour or {}).get(view))

    # --- what is said -----------------------------------------------------------------------------------------------

    def publish(self, found: Pipeline) -> None:
        """Write the picture to the table that everybody reads, and as metrics."""
        self._database.ask_apart(lambda watch: watch.write(found))
        metrics.WATCH_SAMPLED_SECONDS.set(found.sampled_at_s)
        exported: set[tuple[Gauge, tuple[str, ...]]] = set()

        def say(gauge: Gauge, value: float | None, *labels: str) -> None:
            gauge.labels(*labels).set(float("nan") if value is None else value)
            exported.add((gauge, labels))

        for group in found.groups:
            _say_group(say, group)
        for view in found.views:
            say(metrics.VIEW_AGE_SECONDS, view.age_s, view.view)
            for stage in STAGES:
                say(metrics.VIEW_STAGE_SECONDS, view.stages.get(stage), view.view, stage)
        for letters in found.dead_letters:
            say(metrics.DEAD_LETTERS_OPEN, letters.open, letters.flow, letters.topic, letters.code)
        if found.slot is not None:
            say(metrics.SLOT_ACTIVE, float(found.slot.active), found.slot.name)
            say(metrics.SLOT_RETAINED_BYTES, found.slot.retained_bytes, found.slot.name)
            say(metrics.SLOT_SAFE_BYTES, found.slot.safe_bytes, found.slot.name)
        self._forget_metrics(exported)

    def _forget_metrics(self, said: set[tuple[Gauge, tuple[str, ...]]]) -> None:
        """A series that was not said this time is of something that is gone, or not known: it ends."""
        for gauge, labels in self._exported - said:
            gauge.remove(*labels)
        self._exported = said


def _say_group(say: Say, group: GroupLag) -> None:
    for status in STATUSES:
        say(metrics.GROUP_STATUS, float(group.status == status), group.group, status)
    say(metrics.GROUP_TREND, group.trend, group.group)
    say(metrics.GROUP_ETA_SECONDS, group.eta_s, group.group)
    say(metrics.GROUP_RETENTION_SHARE, group.retention_share, group.group)
    say(metrics.GROUP_SUM_LAG, group.lag_records, group.group)
    say(metrics.GROUP_MAX_LAG_SECONDS, group.lag_s, group.group)
    worst = max((each.lag_records or 0 for each in group.partitions), default=None)
    say(metrics.GROUP_MAX_LAG, None if group.lag_records is None else worst, group.group)
    of_topic: dict[str, int] = {}
    for each in group.partitions:
        labels = (group.group, each.topic, str(each.partition))
        say(metrics.GROUP_OFFSET, each.committed, *labels)
        say(metrics.GROUP_LAG, each.lag_records, *labels)
        say(metrics.GROUP_LAG_SECONDS, each.lag_s, *labels)
        of_topic[each.topic] = of_topic.get(each.topic, 0) + (each.lag_records or 0)
    for topic, records in of_topic.items():
        say(metrics.GROUP_TOPIC_SUM_LAG, records, group.group, topic)


def _list_partitions(group: Group, poll: BrokerPoll, *, ours: bool) -> dict[TopicPartition, int | None]:
    """Where a group stands in each partition. None: one of ours reads the topic, and not this partition of it."""
    committed = group.committed or {}
    found: dict[TopicPartition, int | None] = {source: at for source, at in committed.items() if source in poll.ranges}
    if ours:
        topics = {source.topic for source in found}
        found |= {source: None for source in poll.ranges if source.topic in topics and source not in found}
    return found


def _sample(
    source: TopicPartition,
    committed: int | None,
    poll: BrokerPoll,
    now_s: float,
    members: int | None,
    beat_at_s: float | None,
) -> Sample:
    held: Range = poll.ranges[source]
    if committed is None:
        return Sample(now_s, None, held.low, held.end, None, members, beat_at_s)
    place = (source, max(committed, held.low))
    end = held.end
    if place in poll.timestamps_s and poll.timestamps_s[place] is None:
        end = max(held.low, committed)  # what is left are markers of transactions, which nobody reads
    return Sample(now_s, committed, held.low, end, poll.timestamps_s.get(place), members, beat_at_s)


def _beats(group: str, facts: Facts) -> Mapping[TopicPartition, float]:
    progress = facts.progress.get(group.removeprefix(PREFIX)) if group.startswith(PREFIX) else None
    return progress.sampled_at_s if progress else {}


def _rank(group: GroupLag) -> tuple[int, int, str]:
    return (lag.RANK[group.status], -(group.lag_records or 0), group.group)
