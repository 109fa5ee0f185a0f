"""One small processor behind both drivers: it writes a row for each event, so that what is done twice is seen.

`DRIVERS` are the ways to run it. An event's `input` says what goes wrong with it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.pq import TransactionStatus

from connectors.consumer.contract import Event
from connectors.postgres.connections import Connection
from dataflows.flow import Flow
from dataflows.runner import Runner
from runtime.errors import AdriaticError, Unprocessable
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from streams.agent import Agent, AgentRunner
from streams.announcements import TOPIC
from tests.dataflows.world import WAIT_S, World

Driver = Literal["bytewax", "faust"]
DRIVERS: tuple[Driver, ...] = ("bytewax", "faust")
NAME = "probe"

TABLE = """
    create table public.probe (
      partition integer not null,
      record_offset bigint not null,
      owner text not null,
      at timestamptz not null default clock_timestamp()
    );
    grant select, insert on public.probe to adriatic_flows
"""


@dataclass
class Log:
    """What the processors of a test saw, whichever thread they were in."""

    prepared: int = 0
    in_transaction: int = 0
    on_prepare: Callable[[Connection], None] = field(default=lambda _connection: None)


def check(event: Event) -> None:
    if json.loads(event.value["input"]).get("fails") == "apply":
        raise Unprocessable("it must fail")


class _Steps:
    """The steps that both kinds share."""

    log: Log
    owner: str

    def look(self, connection: Connection) -> None:
        """Whether a transaction is open in the session that prepares, which is the one that writes."""
        self.log.prepared += 1
        self.log.in_transaction += connection.info.transaction_status != TransactionStatus.IDLE
        self.log.on_prepare(connection)

    def write(self, connection: Connection, event: Event) -> None:
        check(event)
        connection.execute(
            "insert into public.probe (partition, record_offset, owner) values (%s, %s, %s)",
            [event.record.partition, event.record.offset, self.owner],
        )


class ProbeFlow(_Steps, Flow[tuple[Event, ...]]):
    name = NAME
    topics = (TOPIC,)

    def __init__(self, log: Log, owner: str) -> None:
        self.log, self.owner = log, owner

    def transform(self, events: Sequence[Event]) -> tuple[Event, ...]:
        return tuple(events)

    def prepare(self, connection: Connection, effects: tuple[Event, ...]) -> tuple[Event, ...]:
        self.look(connection)
        return effects

    def apply(self, connection: Connection, effects: tuple[Event, ...]) -> None:
        for event in effects:
            self.write(connection, event)


class ProbeAgent(_Steps, Agent):
    name = NAME
    topics = (TOPIC,)

    def __init__(self, log: Log, owner: str) -> None:
        self.log, self.owner = log, owner

    def prepare(self, connection: Connection, effects: tuple[Event, ...]) -> tuple[Event, ...]:
        self.look(connection)
        return effects

    def process(self, connection: Connection, event: Event) -> None:
        self.write(connection, event)


class Member:
    """One process of the processor, in a thread of this one."""

    def __init__(self, world: World, driver: Driver, log: Log, owner: str = "one") -> None:
        self.health = Health()
        self.life = Lifecycle(self.health)
        self.error: AdriaticError | None = None
        how: Any = {"topics": world.topics, "lookup": world.registry}
        self._runner: Runner[Any] | AgentRunner = (
            Runner(ProbeFlow(log, owner), world.settings, self.life, **how)
            if driver == "bytewax"
            else AgentRunner(ProbeAgent(log, owner), world.settings, self.life, **how)
        )
        self._thread = threading.Thread(target=self._run, name=f"member-{owner}", daemon=True)

    def _run(self) -> None:
        try:
            self._runner.run()
        except AdriaticError as error:
            self.error = error

    def __enter__(self) -> Member:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.life.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "it did not stop"


def announce(
    world: World, tenant: UUID, count: int = 1, headers: Sequence[tuple[str, bytes]] = (), **what: Any
) -> None:
    """`count` events in the tenant's partition."""
    for _ in range(count):
        event = {
            "event_id": str(uuid4()),
            "tenant_id": str(tenant),
            "occurred_at": 0,
            "task_id": str(uuid4()),
            "agent": "count",
            "input": json.dumps(what),
        }
        world.produce(TOPIC, tenant, world.encoder(TOPIC).encode_json(event), headers)
    world.flush()


def rows(world: World) -> list[tuple[int, int]]:
    return [(partition, at) for partition, at in world.rows("select partition, record_offset from public.probe")]


def committed(world: World) -> int:
    """Records up to which the offsets are, of all partitions."""
    (row,) = world.rows("select coalesce(sum(next_offset), 0) from ops.consumer_offsets where flow = %s", NAME)
    return int(row[0])
