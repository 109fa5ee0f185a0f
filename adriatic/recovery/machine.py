"""Makes topics and views equal to the database, step by step, from whatever state they are in.

The simple way, which is the certain one: everything that is derived is made anew. Owns the steps, each of which may be
killed at any instant and done again: `ops.recovery` says which one is next. Refuses to touch what a user wrote, and to
judge what it made: `verify` does, at the end.

    hold ─▶ forget ─▶ empty ─▶ topics ─▶ copy ─▶ catch-up ─▶ verify
    └──────── capture holds ──────────┘
    └──────────── flows hold ─────────────────┘
    └───────────── views say nothing of how far they are ───────┘
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from adriatic.recovery import accounts, emptying
from adriatic.recovery.ledger import NAME, RecoveryRow
from adriatic.recovery.steps import (
    CAPTURE_HOLDS,
    STEPS,
    Log,
    Recovery,
    Step,
    judge_log,
    list_outside_topics,
    list_remade_topics,
)
from connectors.capture import checks, identity
from connectors.capture.log import KafkaLog
from connectors.capture.store import Store
from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.logs import Logs
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition
from connectors.kafka.removal import delete_topics
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from connectors.postgres.wal import read_position
from dataflows.catalog import flows
from dataflows.oracle import order
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import Settings
from schemas import feeds
from schemas.flows import KeptView
from topics import catalog
from topics.plan import plan

OUR_PUBLICATION: Final = "adriatic"
"""The one that our migrations make. Another one is somebody else's to mend."""
ATTEMPTS_MAX: Final = 20
"""Sessions of change capture that may begin while it copies. A machine that is killed again and again needs a few."""
POLL_S: Final = 0.5
SHORT_S_MAX: Final = 120.0
"""How long a step that takes seconds may wait for somebody: a process that ends, a broker that comes up."""

T = TypeVar("T")
Show = Callable[[Step, int, int | None], None]
"""Told how far a step is: done, and of how many."""


@dataclass(slots=True)
class Took:
    """How long a step took, in seconds."""

    step: Step
    seconds: float


@dataclass(slots=True)
class Machine:
    """One run of the command. `patience_s`: how long a step may stand still before it is given up for now."""

    settings: Settings
    ledger: RecoveryRow
    show: Show
    say: Callable[[str], None]
    patience_s: float
    clock: Clock = SYSTEM_CLOCK
    took: list[Took] = field(default_factory=list)

    def run(self, recovery: Recovery) -> None:
        """All steps from the one that the recovery is at up to the last one, which the caller does. Raises
        `DependencyUnavailable` when something does not answer or does not move; the next run goes on from there."""
        with ExitStack() as held:
            if recovery.step in CAPTURE_HOLDS:
                store = held.enter_context(Store(self.settings.postgres, self.settings.cdc.slot))
                self._retry(store.lock)  # no capture runs from here on until this is let go
                for step in (each for each in STEPS if each in CAPTURE_HOLDS):
                    self._do(recovery, step, store)
                self.ledger.enter("copy")
        self._do(recovery, "copy", None)
        self._do(recovery, "catch-up", None)

    def _do(self, recovery: Recovery, step: Step, store: Store | None) -> None:
        """A step that is not done yet, and the mark that the next one is next."""
        if STEPS.index(step) < STEPS.index(recovery.step):
            return
        began_s = self.clock.monotonic()
        self.ledger.enter(step)
        self.show(step, 0, None)
        match step:
            case "hold":
                self._hold()
            case "forget":
                assert store is not None
                self._forget(store)
            case "empty":
                self._empty(recovery.number)
            case "topics":
                self._topics()
            case "copy":
                self._copy()
            case _:
                self._catch_up()
        self.took.append(Took(step, self.clock.monotonic() - began_s))

    def _note(self, step: Step, done: int, total: int | None) -> None:
        self.ledger.note(done, total)
        self.show(step, done, total)

    def _retry(self, call: Callable[[], T]) -> T:
        deadline = Deadline.after(SHORT_S_MAX, self.clock)
        for pause_s in backoff_s(max_s=1.0):
            try:
                return call()
            except DependencyUnavailable:
                if deadline.left_s <= pause_s:
                    raise
            self.clock.sleep(pause_s)
        raise AssertionError("back-off never ends")

    # --- while everybody holds --------------------------------------------------------------------------------------

    def _hold(self) -> None:
        """A process that does not let go would write what it read of the old log, when it wakes."""
        deadline = Deadline.after(SHORT_S_MAX, self.clock)
        while running := self.ledger.find_running():
            if deadline.passed:
                raise DependencyUnavailable(
                    f"still at work: {', '.join(running)}",
                    hint="end these processes (do they hang? are they of an earlier release?), then run it again",
                )
            self.clock.sleep(POLL_S)

    def _forget(self, store: Store) -> None:
        def drop() -> None:
            store.terminate_reader()
            store.drop_slot()

        self._retry(drop)
        if self.settings.cdc.publication == OUR_PUBLICATION:
            self.ledger.make_publication()
        store.reset(keep_slot=False)

    def _empty(self, number: int) -> None:
        logs = self._retry(self._judge_logs)
        said: set[str] = set()

        def empty() -> None:
            try:
                emptying.empty(self.settings, number, logs)
            except emptying.Held as error:
                if error.detail not in said:
                    self.say(error.detail)
                    said.add(error.detail)
                raise

        self._retry(empty)

    def _judge_logs(self) -> dict[str, Log]:
        """What became of the logs that outsiders write to."""
        return judge_outside(self.settings)

    def _topics(self) -> None:
        """Deleted again, when this was killed after it had made some: nothing is in them yet."""
        desired = catalog.load()
        names = list_remade_topics(desired)
        self._retry(lambda: delete_topics(self.settings.kafka, names, self.clock))
        admin = KafkaAdmin(self.settings.kafka, clock=self.clock)

        def apply() -> None:
            found = plan(
                list(desired.values()),
                admin.topics(desired),
                replication_factor=self.settings.kafka.replication_factor,
                allow_partition_growth=False,
            )
            admin.apply(found, desired, lambda _: None)

        self._retry(apply)

    # --- while capture copies, and flows read -----------------------------------------------------------------------

    def _copy(self) -> None:
        accounts.say_jobs_again(self.settings)
        offsets = Offsets(self.settings.kafka)
        sources = offsets.partitions(list_remade_topics(catalog.load()))
        moved = _Patience(self)
        before = self.ledger.count_sessions()
        with Store(self.settings.postgres, self.settings.cdc.slot) as store:
            total = self._estimate_rows()
            while (progress := store.progress()) is None or progress.snapshot_lsn is None:
                done = sum(offsets.end(sources).values())
                self._note("copy", done, max(done, total) if total else None)
                moved.check(done, "change capture copies nothing", "is the process `cdc` there? `adriatic status`")
                if self.ledger.count_sessions() - before > ATTEMPTS_MAX:
                    raise DependencyUnavailable(
                        f"change capture began to copy {ATTEMPTS_MAX} times and did not end",
                        hint="`adriatic logs cdc` says what it meets; mend that, then run it again",
                    )
                self.clock.sleep(POLL_S)
        accounts.count_feeds_from_here(self.settings, [feeds.RECEIVED_TOPIC])
        self.ledger.enter("catch-up")

    def _estimate_rows(self) -> int:
        """Ask the statistics, which have nothing right after a restart."""
        with translate("count rows"), connect(self.settings.postgres, name=NAME, autocommit=True) as connection:
            row = connection.execute(ESTIMATE_ROWS, [self.settings.cdc.publication]).fetchone()
        return int(row[0]) if row else 0

    def _catch_up(self) -> None:
        """A flow reads what another one wrote: as many rounds as there are flows behind each other."""
        offsets = Offsets(self.settings.kafka)
        with translate("wait for the flows"), connect(self.settings.postgres, name=NAME, autocommit=True) as connection:
            for names in order():
                self._await_flows(connection, offsets, names, read_position(connection))
        emptying.show_views(self.settings)

    def _await_flows(self, connection: Connection, offsets: Offsets, names: Sequence[str], lsn: str) -> None:
        views = [view for name in names for view in flows()[name].views]
        wanted = sorted({view.follows or view.name for view in views})
        moved = _Patience(self)
        (began_at,) = connection.execute("select clock_timestamp()").fetchone() or (None,)
        while True:
            done, total = self._count_read(connection, offsets)
            self._note("catch-up", done, total)
            behind = [view for (view,) in connection.execute(READ_BEHIND, [wanted, emptying.NO_TOPIC, lsn])]
            waiting = [view.name for view in views if view.waiting and _is_waiting(connection, view, began_at)]
            if not behind and not waiting:
                return
            lacking = ", ".join([*behind, *waiting])
            moved.check(done, f"the views {lacking} do not move", "`adriatic status` says which process does not read")
            self.clock.sleep(POLL_S)

    def _count_read(self, connection: Connection, offsets: Offsets) -> tuple[int, int]:
        """Records that all flows together have taken, and that there are."""
        known = {
            (flow, TopicPartition(topic, partition)): at
            for flow, topic, partition, at in connection.execute(
                "select flow, topic, partition, next_offset from ops.consumer_offsets"
            )
        }
        ends = offsets.end(sorted({source for _, source in known}))
        done = sum(min(at, ends[source]) for (_, source), at in known.items())
        return done, sum(ends[source] for _, source in known)


ESTIMATE_ROWS = """
  select coalesce(sum(s.n_live_tup), 0)::bigint
  from pg_publication_tables p
  join pg_stat_user_tables s on s.schemaname = p.schemaname and s.relname = p.tablename
  where p.pubname = %s
"""
READ_BEHIND = """
  select wanted.view
  from unnest(%s::text[]) as wanted (view)
  left join mv.watermarks w on w.view = wanted.view and w.topic <> %s
  group by wanted.view
  having coalesce(min(w.lsn), '0/0') < %s::pg_lsn
  order by 1
"""


def _is_waiting(connection: Connection, view: KeptView, since: Any) -> bool:
    """Whether the view does not show yet what was written before `since`. Who writes meanwhile must not hold it up."""
    row = connection.execute(view.waiting.encode()).fetchone()
    return row is not None and row[0] is not None and row[0] < since


class _Patience:
    """Gives up when a number stands still for too long."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._last: int | None = None
        self._deadline = Deadline.after(machine.patience_s, machine.clock)

    def check(self, done: int, what: str, hint: str) -> None:
        """Raises `DependencyUnavailable`."""
        if done != self._last:
            self._last = done
            self._deadline = Deadline.after(self._machine.patience_s, self._machine.clock)
        elif self._deadline.passed:
            raise DependencyUnavailable(
                f"{what} for {self._machine.patience_s:.0f} s", hint=f"{hint}; then run it again"
            )


# --- what is wrong --------------------------------------------------------------------------------------------------


def judge_outside(settings: Settings) -> dict[str, Log]:
    """What became of each log that outsiders write to: of several flows' opinions the worst. One that nobody has read
    is the same."""
    topics = list_outside_topics(catalog.load())
    verdicts: dict[str, Log] = dict.fromkeys(topics, "same")
    there = Offsets(settings.kafka).topics()
    for (_, topic), (committed, known_id) in accounts.read_committed(settings, topics).items():
        found_id = Logs(settings.kafka).describe([topic])[topic].topic_id if topic in there else ""
        log = judge_log(committed, known_id, found_id, accounts.read_ends(settings, topic))
        verdicts[topic] = max(verdicts[topic], log, key=("same", "unknown", "other").index)
    return verdicts


def find_faults(settings: Settings) -> list[str]:
    """What can be told without comparing rows: of capture, of topics, of offsets. Each is a sentence."""
    questions: Mapping[str, Callable[[Settings], list[str]]] = {
        "change capture": _find_capture_faults,
        "topics": find_topic_faults,
        "offsets": _find_offset_faults,
    }
    faults = []
    for what, ask in questions.items():
        try:
            faults += ask(settings)
        except AdriaticError as error:
            faults.append(f"{what} cannot be told: {error.detail}")
    return faults


def find_capture_halt(settings: Settings) -> str:
    """Why change capture would not go on from where it was; empty: it would."""
    with Store(settings.postgres, settings.cdc.slot) as store:
        try:
            checks.resume(settings.cdc.slot, store.slot(), store.progress(), store.server(settings.cdc.publication))
        except DependencyUnavailable:
            return ""  # somebody reads the slot, as it should be
        except AdriaticError as error:
            return error.detail
    return ""


def _find_capture_faults(settings: Settings) -> list[str]:
    if halt := find_capture_halt(settings):
        return [halt]
    with Store(settings.postgres, settings.cdc.slot) as store:
        return [f"capture has stopped {table}: {why}" for table, why in store.read_stopped().items()]


def find_topic_faults(settings: Settings) -> list[str]:
    """Topics that are gone, that are not those that were filled, or that have more partitions than are used."""
    log = KafkaLog(settings.kafka, SYSTEM_CLOCK)
    found = log.topics(catalog.load())
    missing = sorted(set(catalog.load()) - set(found))
    faults = [f"the broker lacks {len(missing)} topics: {', '.join(missing)}"] if missing else []
    with Store(settings.postgres, settings.cdc.slot) as store:
        filled = store.read_topics()
    try:
        used = identity.compare_topics(filled, found)
    except identity.LogLost as error:
        return [*faults, error.detail]
    grown = (
        f"{name} has {found[name].partitions} partitions, and {filled[name].partitions} are used: the others were added"
        for name in used.more
    )
    return [*faults, *grown]


def _find_offset_faults(settings: Settings) -> list[str]:
    offsets = Offsets(settings.kafka)
    with translate("read offsets"), connect(settings.postgres, name=NAME, autocommit=True) as connection:
        rows = connection.execute("select flow, topic, partition, next_offset from ops.consumer_offsets").fetchall()
    there = offsets.topics()
    known = {TopicPartition(topic, partition) for _, topic, partition, _ in rows}
    present = sorted(source for source in known if source.partition in there.get(source.topic, []))
    first, end = offsets.first(present), offsets.end(present)
    return sorted(
        f"{flow} stands at {at} of {topic}-{partition}, which the log does not have"
        for flow, topic, partition, at in rows
        if (source := TopicPartition(topic, partition)) in first and not first[source] <= at <= end[source]
    )
