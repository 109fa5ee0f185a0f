"""A process that runs the real core of change capture in the simulated world.

Owns the process: its ports, its connections, its producers, and what becomes of them when it is stopped, killed or
goes on. Between two sessions it waits as `connectors/capture/source.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from connectors.capture.config import CaptureConfig
from connectors.capture.ports import Told
from connectors.capture.session import Around, CaptureSession, Ports
from connectors.capture.shown import Shown
from connectors.capture.source import HEALTHY_S, RECHECK_S
from connectors.capture.tables import Contracts
from connectors.capture.tracker import Confirmed
from connectors.kafka.producer import Headers
from runtime.deadline import BACKOFF_FIRST_S, BACKOFF_MAX_S
from runtime.errors import AdriaticError, DependencyUnavailable
from schemas import capture as capture_schemas
from schemas.headers import TENANT_HEADER
from tests.connectors.capture.simulation.clockwork import Process, ProcessClock
from tests.connectors.capture.simulation.database import PUBLICATION, SLOT, Database
from tests.connectors.capture.simulation.log_port import SimulatedLog, SimulatedProducer
from tests.connectors.capture.simulation.state_port import SimulatedDatabase, SimulatedState
from tests.connectors.capture.simulation.wal import EVENTS_TOPIC, ITEMS_TOPIC, PARTITIONS, PREFIX, RELATION_ITEM
from tests.connectors.capture.simulation.wal_port import SimulatedWal, SimulatedWalSession
from topics.catalog import Dlq, Kind, Topic

if TYPE_CHECKING:
    from connectors.capture.outbox import OutboxEvent
    from tests.connectors.capture.simulation.world import World

CONFIG = CaptureConfig(SLOT, PUBLICATION, heartbeat_s=1.0, kafka_down_max_s=60.0)
KEY_SCHEMA: Any = {
    "type": "record",
    "name": "Key",
    "fields": [{"name": "tenant_id", "type": "string"}, {"name": "id", "type": "int"}],
}


def pauses_s() -> Iterator[float]:
    """As `runtime/deadline.py` has them, without chance."""
    pause_s = BACKOFF_FIRST_S
    while True:
        yield pause_s
        pause_s = min(BACKOFF_MAX_S, pause_s * 2)


class Lookup:
    """A registry that always answers."""

    def id_of(self, subject: str, schema: Any) -> int:
        return 1 if subject.endswith("-key") else 2

    def schema(self, schema_id: int) -> Any:
        raise NotImplementedError


class Router:
    """The partition is the tenant's number, so that the oracle needs no hash."""

    def topic_of(self, table: str) -> str:
        return f"{PREFIX}.{table}"

    def route(self, topic: Topic, key: Any) -> tuple[int, Headers]:
        tenant = str(key["tenant_id"])
        return int(tenant[-4:]) % topic.partitions, [(TENANT_HEADER, tenant.encode())]

    def route_event(self, topic: Topic, event: OutboxEvent) -> tuple[int, Headers]:
        return self.route(topic, {"tenant_id": event.tenant_id})


class Unseen(Shown):
    """Nobody looks."""

    def __init__(self) -> None:
        """Nothing is registered anywhere."""

    def wait_for(self, what: str, why: str) -> None: ...

    def clear(self, what: str) -> None: ...

    def show_streaming(self, since: Confirmed) -> None: ...

    def show_stopped(self, names: Iterable[str]) -> None: ...

    def streams(self, table: str) -> None: ...

    def tend(self, work: Callable[[], None]) -> None: ...

    def hear(self, told: Told) -> None: ...


@cache
def contracts() -> Contracts:
    columns = [capture_schemas.Column(c.name, c.type_oid, c.is_key, c.type_modifier) for c in RELATION_ITEM.columns]
    schemas = {
        f"{ITEMS_TOPIC}-key": capture_schemas.key_schema(PREFIX, "app", "item", columns),
        f"{ITEMS_TOPIC}-value": capture_schemas.envelope_schema(PREFIX, "app", "item", columns),
        f"{EVENTS_TOPIC}-key": KEY_SCHEMA,
        f"{EVENTS_TOPIC}-value": KEY_SCHEMA,
    }
    topics = {ITEMS_TOPIC: _topic(ITEMS_TOPIC, "capture"), EVENTS_TOPIC: _topic(EVENTS_TOPIC, "event")}
    return Contracts(topics, Lookup(), schemas.__getitem__)


def _topic(name: str, kind: Kind) -> Topic:
    return Topic(
        name=name, kind=kind, description="", owner="tests", partitions=PARTITIONS, key=("tenant_id", "id"),
        partition_by="tenant_id", cleanup="delete", retention_ms=-1, producers=(), pii=(),
        freshness_target_s=None, dlq=Dlq(""), extra={},
    )  # fmt: skip


class Running:
    """One process of change capture."""

    def __init__(self, world: World, name: str, machine: int) -> None:
        self.world = world
        self.machine = machine
        self.name = name
        self.process = Process(world.clockwork, name, self._main)
        self.clock = ProcessClock(self.process)
        self.connections: list[SimulatedWalSession | SimulatedState] = []
        self.producers: list[SimulatedProducer] = []
        self.requests_land = True
        """Whether what is in the network when it is killed, or cut off, arrives."""
        self.late_s = 0.0
        self.asked_to_stop = False
        self.halted: AdriaticError | None = None
        self.ended: AdriaticError | None = None
        """Why its last session ended."""
        self.sessions = 0
        self.ports = Ports(
            *(SimulatedWal(self), SimulatedLog(self), SimulatedDatabase(self), contracts(), Router()),
            *(name, lambda other: world.has_ended(other, machine)),
        )

    @property
    def alive(self) -> bool:
        return self.process.alive

    @property
    def stalled(self) -> bool:
        return self.process.stalled

    # called by the ports

    def call(self) -> None:
        self.process.call()

    def nap(self, seconds: float, *, until_due: bool = False) -> None:
        """Let time pass. `until_due`: no longer than until something happens that may concern this process."""
        if until_due:
            seconds = min(seconds, max(0.0005, self.world.clockwork.quiet_until_s - self.world.clockwork.now_s))
        self.process.sleep(max(seconds, 0.0))

    def database(self) -> Database:
        if not self.world.database.up:
            self.nap(0.1)
        if not self.world.database.up:
            raise DependencyUnavailable("the database refuses connections")
        return self.world.database

    # called by the world

    def stop(self) -> None:
        """SIGTERM."""
        self.asked_to_stop = True

    def kill(self, *, requests_land: bool, late_s: float, linger_s: float) -> None:
        """SIGKILL. `late_s`: how much later than otherwise its requests arrive. `linger_s`: how late the server sees
        that its connections are gone."""
        self.requests_land, self.late_s = requests_land, late_s
        for connection in self.connections:
            connection.gone_at_s = self.world.clockwork.now_s + linger_s
        self.process.kill()

    def stall(self, seconds: float, *, old_first: bool) -> None:
        """SIGSTOP and SIGCONT."""
        self.process.stall(seconds)
        self.world.clockwork.after(seconds, lambda: self._resume(old_first))

    def _resume(self, old_first: bool) -> None:
        if self.alive and not self.stalled:
            for producer in self.producers:
                producer.resume(old_first)

    def cut(self) -> None:
        """The server ends its connections; it does not know yet."""
        for connection in self.connections:
            connection.cut()

    # the process

    def _main(self, process: Process) -> None:
        pauses = pauses_s()
        numbers = iter(range(1, 2**16))
        around = Around(Unseen(), self.clock, lambda: self._new_id(next(numbers)), lambda: self.asked_to_stop)
        while not self.asked_to_stop:
            started_s = self.world.clockwork.now_s
            self.sessions += 1
            try:
                with self.ports.database.open() as state:
                    CaptureSession(CONFIG, self.ports, state, around).run()
            except AdriaticError as error:
                self.ended = error
                outage = isinstance(error, DependencyUnavailable)
                self.halted = None if outage else error
                if not outage:
                    self.world.oracle.halted(self, error)
                if self.world.clockwork.now_s - started_s > HEALTHY_S:
                    pauses = pauses_s()
                self.nap(next(pauses) if outage else RECHECK_S)
        process.alive = False

    def _new_id(self, number: int) -> UUID:
        return UUID(int=self.world.id_of(self.name) << 32 | number, version=4)
