"""The simulated world, and what each step of a schedule does to it.

Owns database, broker, processes and weather, and the end of every schedule: whatever broke is mended, capture comes to
rest, is killed, comes to rest again, and the oracle judges. One seed is one schedule is one run, to the last call.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from connectors.kafka.producer import Headers
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import Lsn, Pos
from schemas.headers import COMMITTED_AT_HEADER, POSITION_HEADER, SESSION_HEADER, TENANT_HEADER, TRANSACTION_HEADER
from tests.connectors.capture.simulation import schedule
from tests.connectors.capture.simulation.broker import Broker, BrokerTopic, Partition, logged
from tests.connectors.capture.simulation.capture import Running
from tests.connectors.capture.simulation.clockwork import Clockwork, Livelock
from tests.connectors.capture.simulation.database import SLOT, Database
from tests.connectors.capture.simulation.oracle import SOURCES, Oracle
from tests.connectors.capture.simulation.schedule import Step
from tests.connectors.capture.simulation.wal import PARTITIONS, TENANTS, TOPICS, Change, tenant_text

REST_S_MAX = 240
"""Time to come to rest: longer than every time-out and back-off together."""
CALM_S = 3
LATE_S_MAX = 0.15
"""How late a request of a dead process may arrive: the ends of a log must stand still for longer than that."""
MACHINES = 3
"""Where processes run: of those of another machine nobody sees whether they have ended."""
HELD_S_MAX = 25.0
"""Shorter than the delivery time-out."""
LINGERS_S = (0.0, 0.001, 0.3, 2.0)
OTHERS_BYTES = 2_097_152
"""WAL of other databases, more than a keepalive needs to be worth a note."""


@dataclass
class Weather:
    """How everything behaves."""

    latency_s: float = 0.002
    linger_s: float = 0.005
    room: int = 64
    batch_max: int = 8
    receive_max: int = 50
    keepalive_storm: int = 0
    keepalives_ask: bool = True
    statuses_lost: bool = False
    doubles_unplaced: bool = False
    held_until_s: dict[TopicPartition, float] = field(default_factory=dict)


class World:
    def __init__(self) -> None:
        self.clockwork = Clockwork()
        self.oracle = Oracle(self)
        self.database = Database()
        self.broker = Broker()
        self.weather = Weather()
        self.processes: list[Running] = []
        self._numbers = 0
        self._texts = 0
        self._copy: Database | None = None
        self._log_copy: dict[str, BrokerTopic] | None = None

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def id_of(self, name: str) -> int:
        return next(number for number, each in enumerate(self.processes, 1) if each.name == name)

    def run(self, steps: Sequence[Step]) -> str | None:
        """Returns what was wrong."""
        try:
            self._commit(random.Random(1), 2)
            self._start()
            for step in steps:
                self.clockwork.run(step.pause_s, step.calls)
                getattr(self, "do_" + step.kind.replace("-", "_"))(step)
                if self.oracle.fault is not None:
                    return self.oracle.fault
            self._end()
        except Livelock as error:
            self.oracle.blame(f"turns in circles: {error}")
        finally:
            for running in self.processes:
                running.process.kill()
        return self.oracle.fault

    # --- the end ----------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Mend everything, and let capture come to rest twice."""
        held_until_s = self.weather.held_until_s
        self.weather = Weather(held_until_s=held_until_s)
        self.database.up = True
        broken_until_s = max(self.broker.down_until_s, self.broker.frozen_until_s, *held_until_s.values(), 0.0)
        self.clockwork.run(max(0.0, broken_until_s - self.clockwork.now_s))
        last = self._keep_one()
        self._rest(last)
        self._kill(last, 0)
        self.clockwork.run(1.0)
        self._commit(random.Random(2), 1)
        last = self._start()
        self._rest(last)
        self.oracle.judge(last)

    def _keep_one(self) -> Running:
        """Others go on for a while first, who sleeps wakes up, and what is on its way arrives."""
        living = [running for running in self.processes if running.alive]
        awake_s = max((running.process.stalled_until_s for running in living), default=0.0)
        self.clockwork.run(max(0.0, awake_s - self.clockwork.now_s) + 1.0)
        living = [running for running in living if running.alive]
        awake = [running for running in living if not running.stalled and not running.asked_to_stop]
        for running in living:
            if not awake or running is not awake[-1]:
                self._kill(running, 0)
        return awake[-1] if awake else self._start()

    def _rest(self, last: Running) -> None:
        calm = 0
        for _ in range(REST_S_MAX):
            self.clockwork.run(1.0)
            calm = calm + 1 if last.halted is not None or self.oracle.is_complete() else 0
            if calm >= CALM_S or self.oracle.fault is not None or not last.alive:
                return

    # --- processes --------------------------------------------------------------------------------------------------

    def has_ended(self, name: str, machine: int) -> bool:
        """What a process of that machine can see of another one."""
        other = self.processes[self.id_of(name) - 1]
        return other.machine == machine and not other.alive

    def _start(self, machine: int = 0) -> Running:
        running = Running(self, f"p{len(self.processes) + 1}", machine)
        self.processes.append(running)
        return running

    def _living(self) -> list[Running]:
        return [running for running in self.processes if running.alive]

    def _one(self, step: Step) -> Running | None:
        living = self._living()
        return living[step.a % len(living)] if living else None

    def _kill(self, running: Running, choice: int) -> None:
        lands, late_s = bool(choice % 2), LATE_S_MAX * (choice % 5) / 5
        running.kill(requests_land=lands, late_s=late_s, linger_s=LINGERS_S[choice % 4])

    def do_kill(self, step: Step) -> None:
        if (running := self._one(step)) is not None:
            self._kill(running, step.b)

    def do_start(self, step: Step) -> None:
        if not self._living():
            self._start(step.a % MACHINES)

    def do_crowd(self, step: Step) -> None:
        if len(self._living()) < 3:
            self._start(step.a % MACHINES)

    def do_stop(self, step: Step) -> None:
        if (running := self._one(step)) is not None:
            running.stop()

    def do_stall(self, step: Step) -> None:
        if (running := self._one(step)) is not None:
            old_first = bool(step.b % 2)
            running.stall(step.lasts_s, old_first=old_first)

    def do_usurp(self, step: Step) -> None:
        """Stopped, and its connections end meanwhile: another one takes over, and then the old one goes on."""
        if (running := self._one(step)) is not None:
            running.cut()
            self.do_stall(step)
            self.do_crowd(step)

    def do_cut(self, step: Step) -> None:
        if (running := self._one(step)) is not None:
            running.cut()

    def do_network(self, step: Step) -> None:
        """Its connections to the broker break."""
        if (running := self._one(step)) is not None:
            running.requests_land = bool(step.b % 2)
            for producer in running.producers:
                producer.break_connection()

    # --- the weather ------------------------------------------------------------------------------------------------

    def do_wait(self, step: Step) -> None:
        self.clockwork.run(step.lasts_s)

    def do_storm(self, step: Step) -> None:
        self.weather.keepalive_storm = 1 + step.a % 40
        self.weather.keepalives_ask = bool(step.b % 2)

    def do_receive(self, step: Step) -> None:
        self.weather.receive_max = (1, 2, 5, 500)[step.a % 4]

    def do_hold(self, step: Step) -> None:
        """One partition takes nothing for a while. Brokers bound that: a replica that lags is put out."""
        source = TopicPartition(TOPICS[step.a % 2], step.b % PARTITIONS)
        if max(self.weather.held_until_s.get(source, 0.0), self.broker.frozen_until_s) <= self.clockwork.now_s:
            self.weather.held_until_s[source] = self.clockwork.now_s + min(step.lasts_s, HELD_S_MAX)

    def do_latency(self, step: Step) -> None:
        self.weather.latency_s = (0.0005, 0.01, 0.05, 0.09)[step.a % 4]

    def do_room(self, step: Step) -> None:
        self.weather.room = (1, 2, 5, 64)[step.a % 4]

    def do_batch(self, step: Step) -> None:
        self.weather.batch_max = (1, 1, 2, 50)[step.a % 4]

    def do_deaf(self, step: Step) -> None:
        """The server does not take acknowledgements into the slot."""
        self.weather.statuses_lost = not self.weather.statuses_lost

    def do_unplaced(self, step: Step) -> None:
        """The broker does not say where a batch is that came twice."""
        self.weather.doubles_unplaced = True

    # --- the broker -------------------------------------------------------------------------------------------------

    def do_freeze(self, step: Step) -> None:
        self.broker.frozen_until_s = max(self.broker.frozen_until_s, self.clockwork.now_s + step.lasts_s)

    def do_down(self, step: Step) -> None:
        """Killed, and started again."""
        self.broker.lives += 1
        self.broker.down_until_s = max(self.broker.down_until_s, self.clockwork.now_s + step.lasts_s)
        self._break_connections()

    def _break_connections(self) -> None:
        for running in self.processes:
            for producer in running.producers:
                producer.break_connection()

    def do_partitions(self, step: Step) -> None:
        """A topic gets one more. Of one that is new to capture all are used, and the oracle knows only as many as there
        are at first."""
        name = TOPICS[step.a % 2]
        filled = self.database.account.topics.get(name)
        if filled is not None and not filled.may_differ:
            self.broker.topics[name].partitions.append(Partition())

    def do_copy_log(self, step: Step) -> None:
        self._log_copy = self.broker.copy_topics()

    def do_log_back(self, step: Step) -> None:
        if self._log_copy is not None:
            self.oracle.tampered.append("the log went back")
            self.do_down(step._replace(lasts_s=min(step.lasts_s, 2.0)))
            self.broker.go_back(self._log_copy)

    def do_log_lost(self, step: Step) -> None:
        """Everything of the broker is gone, and somebody applies the topics again."""
        self.oracle.tampered.append("the log was lost")
        self.do_down(step._replace(lasts_s=min(step.lasts_s, 2.0)))
        self.broker.create(TOPICS, PARTITIONS)

    def do_forge(self, step: Step) -> None:
        """Somebody else writes a record, as like one of ours as can be."""
        rng = random.Random(step.b)
        source = rng.choice(SOURCES)
        partition = self.broker.partition(source)
        assert partition is not None
        account, end = self.database.account, self.database.end
        ours = [record for _, record in partition.visible() if record.says is not None]
        like = ours[-1].says if ours else None
        pos = Pos(Lsn(like.commit), like.ordinal) if like is not None else Pos(Lsn(end), 0)
        xid, at_us = (like.xid, like.at_us) if like is not None else (1, 1)
        session, (number, _) = next(reversed(account.sessions.items()), (UUID(int=9), (1, 0)))
        match step.a % 7:
            case 0:
                pos = Pos(Lsn(2**40), 0)
            case 1:
                pos = Pos(pos.commit, pos.ordinal + 1000)
            case 2:
                session = UUID(int=4711)
            case 3:
                xid += 1
            case 4:
                number += 1000
            case schedule.FORESEEN:
                pos = Pos(Lsn(end), rng.choice((0, 2)))
        headers: Headers = [
            (POSITION_HEADER, pos.header()),
            (TENANT_HEADER, tenant_text(source.partition).encode()),
            (COMMITTED_AT_HEADER, b"%d" % at_us),
            (TRANSACTION_HEADER, b"%d" % xid),
            (SESSION_HEADER, Beat(session, number).header()),
        ]
        self.oracle.tampered.append(f"a record was forged in {source}")
        carried = [] if step.a % 7 == 6 else headers
        forged = logged(source, b"key", b"value", carried, "")
        partition.records.append(forged._replace(obvious=step.a % 7 in (0, 2, 4)))

    # --- the database -----------------------------------------------------------------------------------------------

    def _commit(self, rng: random.Random, count: int, *, touching: bool = False) -> None:
        for _ in range(count):
            changes = [self._change(rng) for _ in range(rng.choice((1, 1, 1, 2, 3, 6)))]
            wanted = self._fit(changes)
            if wanted:
                lags = rng.choice((1, 8, 40))
                self.database.commit(wanted, self.clockwork.now_us, touching=touching, lags=lags)

    def _change(self, rng: random.Random) -> Change:
        self._texts += 1
        kind = rng.choice(("insert", "update", "update", "delete", "rekey", "event", "event", "note"))
        text = f"<{self._texts}>"
        row, tenant = rng.randint(1, 5), rng.randrange(TENANTS)
        return Change(kind, tenant, row, text, rng.randint(6, 9))  # type: ignore[arg-type]

    def _fit(self, changes: list[Change]) -> list[Change]:
        """What the rows that there are allow: an insert of one that is there is an update, and so on."""
        rows, fitting = set(self.database.rows), []
        for change in changes:
            at, to = (change.tenant, change.row), (change.tenant, change.new_row)
            if change.kind == "event":
                change = change._replace(row=self.database.next_event)
                self.database.next_event += 1
            elif change.kind in ("insert", "update"):
                change = change._replace(kind="update" if at in rows else "insert")
                rows.add(at)
            elif change.kind == "delete" and at in rows:
                rows.remove(at)
            elif change.kind == "rekey" and at in rows and to not in rows:
                rows.remove(at)
                rows.add(to)
            elif change.kind != "note":
                continue
            fitting.append(change)
        return fitting

    def do_commit(self, step: Step) -> None:
        if self.database.up:
            self._commit(random.Random(step.b), 1 + step.a % 3)

    def do_burst(self, step: Step) -> None:
        """Commits at equal positions: each ends where the next one is."""
        if self.database.up:
            self._commit(random.Random(step.b), 2 + step.a % 8, touching=True)

    def do_note(self, step: Step) -> None:
        """A stranger's message, which may look like a heartbeat."""
        self.database.note("heartbeat" if step.a % 2 else "x", b"%d" % (step.b * 10**12))

    def do_others(self, step: Step) -> None:
        self.database.end += OTHERS_BYTES

    def do_checkpoint(self, step: Step) -> None:
        for slot in self.database.slots.values():
            slot.saved = slot.confirmed

    def do_crash(self, step: Step) -> None:
        """The server is killed, and goes on from its WAL: slots are where the last checkpoint left them."""
        self._disconnect()
        for slot in self.database.slots.values():
            slot.confirmed, slot.holder = slot.saved, None
        self.database.locked_by = None
        self._be_down(step)

    def _be_down(self, step: Step) -> None:
        database = self.database
        database.up = False

        def come_up() -> None:
            database.up = True

        self.clockwork.after(min(step.lasts_s, 3.0), come_up)

    def _disconnect(self) -> None:
        for running in self.processes:
            running.cut()

    def do_skew(self, step: Step) -> None:
        """Its clock steps."""
        self.database.clock_skew_us = (step.a - 500) * 1_000_000

    def do_copy(self, step: Step) -> None:
        self._copy = self.database.copy()

    def _replace(self, twin: Database, step: Step, what: str) -> None:
        if any(topic.may_differ for topic in twin.account.topics.values()):
            return  # a reset that nobody has taken up: somebody decided that the log is right, whatever it is
        self._disconnect()
        if twin.end != self.database.end or twin.system_id != self.database.system_id:
            self.oracle.tampered.append(what)
        self.database = twin
        self._be_down(step)

    def do_restore(self, step: Step) -> None:
        """A copied directory, as it was."""
        if self._copy is not None:
            self._replace(self._copy.copy(), step, "the database went back")

    def do_standby(self, step: Step) -> None:
        """A standby that was behind takes over: it has no slot, or one that is as old as itself."""
        if self._copy is not None:
            twin = self._copy.copy()
            if step.a % 2:
                twin.slots.clear()
            self.oracle.tampered.append("a standby took over")
            self._replace(twin, step, "a standby took over")

    def do_dump(self, step: Step) -> None:
        """`pg_dump` into a new cluster: rows, those of the account too, and no slot."""
        twin = (self._copy or self.database).copy()
        twin.slots.clear()
        twin.system_id = "7000000000000000002"
        twin.end = max(16, twin.end + (step.a - 500) * 16)
        twin.load(self.clockwork.now_us)
        self.oracle.tampered.append("the database is a dump of another one")
        self._replace(twin, step, "the database is a dump of another one")

    def do_reset(self, step: Step) -> None:
        """Somebody lets all tables be copied again, with the slot or with a new one."""
        if self.oracle.tampered or not self.database.up:
            return
        keep_slot = bool(step.b % 2) and SLOT in self.database.slots
        self.database.reset(UUID(int=2**80 + self.next_number(), version=4), keep_slot=keep_slot)
        self._disconnect()
        if not keep_slot:
            self.database.slots.pop(SLOT, None)

    def do_drop_slot(self, step: Step) -> None:
        self._disconnect()
        if self.database.slots.pop(SLOT, None) is not None:
            self.oracle.tampered.append("the slot was dropped")

    def do_move_slot(self, step: Step) -> None:
        """Somebody reads from it, or makes it anew."""
        self._disconnect()
        if (slot := self.database.slots.get(SLOT)) is not None and self.database.end > slot.confirmed:
            slot.confirmed = slot.saved = self.database.end
            slot.holder = None
            self.oracle.tampered.append("the slot was moved")


def run(steps: Sequence[Step]) -> str | None:
    """One schedule in a new world. Returns what was wrong."""
    return World().run(steps)
