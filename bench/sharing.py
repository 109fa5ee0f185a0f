"""What a second process of a flow brings, and what it costs when it comes and goes.

Owns the load (versions of records in many tenants, so that all partitions have some), the second process, and the
reading of `mv.search_state`, which says of each record when it was committed and when it was findable. The machine is
shared with the rest of the system: with two cores, a second process has little to work with.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from bench.path import new_tenant
from connectors.kafka.groups import Broker
from runtime.deadline import Deadline
from runtime.ids import new_id
from runtime.settings import Settings

GROUP = "adriatic.index"
TENANTS = 12
"""Twice the partitions of the topic, so that none is likely to be empty."""
RECORDS = 3_000
"""Of the load that is as fast as it can be: about ten seconds of work for one process."""
STEADY_EVERY_S = 0.05
SETTLED_S = 6.0
"""How long the steady load goes on before and after each change of members."""
SETTLE_MAX_S = 180.0
REST_S_MAX = 600.0
BODY = "# {title}\n\n## Context\n\nOne of many, number {number}.\n\n## Decision\n\nGo on with {number}.\n"


@dataclass(frozen=True, slots=True)
class Rate:
    processes: int
    records: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """`lag_s_max`: the oldest record that waited to be findable, of those that were written around the change."""

    change: str
    lag_s_max: float
    lag_s_before: float


def rates(settings: Settings) -> list[Rate]:
    """Records a second of the flow `index`, with the process that runs already and with one more."""
    _await_members(settings, 1)
    found = [_rate(settings, 1)]
    with _second(settings):
        _await_members(settings, 2)
        _await_rest(settings)
        found.append(_rate(settings, 2))
    return found


def pauses(settings: Settings) -> list[Pause]:
    """The lag of a steady load while a second process joins, leaves when it is asked to, and is killed."""
    tenants = [new_tenant(settings)[1] for _ in range(TENANTS)]
    found: list[Pause] = []
    with _steady(settings, tenants) as written:
        time.sleep(SETTLED_S)
        for change in ("join", "leave", "join again", "kill -9"):
            before_s = _lag_s(settings, tenants, written, SETTLED_S)
            if change.startswith("join"):
                second = _start(settings)
                _await_members(settings, 2)
            else:
                second.send_signal(signal.SIGTERM if change == "leave" else signal.SIGKILL)
                second.wait(30)
            time.sleep(2 * SETTLED_S)
            found.append(Pause(change, _lag_s(settings, tenants, written, 3 * SETTLED_S), before_s))
    return found


def _await_members(settings: Settings, count: int) -> None:
    """Until the group has so many, and a rebalance is over."""
    broker = Broker(settings.kafka)
    deadline = Deadline.after(SETTLE_MAX_S)
    while [group.members for group in broker.poll({}).groups if group.name == GROUP] != [count]:
        if deadline.passed:
            raise TimeoutError(f"the flow does not have {count} processes")
        time.sleep(STEADY_EVERY_S)
    broker.close()
    time.sleep(SETTLED_S)


def _await_rest(settings: Settings) -> None:
    """Until the embedder has what the load before left for it: it would take the cores of the next one."""
    deadline = Deadline.after(REST_S_MAX)
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as connection:
        while connection.execute(_WAITING).fetchone() != (0,):
            if deadline.passed:
                raise TimeoutError("the embedder does not come to rest")
            time.sleep(1)
    time.sleep(SETTLED_S)


_WAITING = "select count(*) from mv.search_state where not deleted and meaning_version is distinct from words_version"
_COUNT = "select count(*) from mv.search_state where tenant_id = any(%s)"


def _rate(settings: Settings, processes: int) -> Rate:
    tenants = [new_tenant(settings)[1] for _ in range(TENANTS)]
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as connection:
        logs = {tenant_id: _log(connection, tenant_id) for tenant_id in tenants}
        began_s = time.monotonic()
        for number in range(0, RECORDS, TENANTS):
            with connection.transaction():
                for tenant_id in tenants:
                    _write(connection, tenant_id, logs[tenant_id], number)
        deadline = Deadline.after(SETTLE_MAX_S)
        while connection.execute(_COUNT, [tenants]).fetchone() != (RECORDS,):
            if deadline.passed:
                raise TimeoutError("the records are not findable in time")
            time.sleep(STEADY_EVERY_S)
        return Rate(processes, RECORDS, RECORDS / (time.monotonic() - began_s))


@contextmanager
def _steady(settings: Settings, tenants: list[UUID]) -> Iterator[dict[UUID, float]]:
    """Keep writing, one record of one tenant after the other; when each was committed."""
    written: dict[UUID, float] = {}
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as connection:
            logs = {tenant_id: _log(connection, tenant_id) for tenant_id in tenants}
            number = 0
            while not stop.wait(STEADY_EVERY_S):
                tenant_id = tenants[number % len(tenants)]
                with connection.transaction():
                    adr_id = _write(connection, tenant_id, logs[tenant_id], number)
                written[adr_id] = time.time()
                number += 1

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield written
    finally:
        stop.set()
        thread.join()


def _lag_s(settings: Settings, tenants: list[UUID], written: dict[UUID, float], last_s: float) -> float:
    """The longest way of a record to be findable, of those of the last seconds; one that is not counts until now."""
    now_s = time.time()
    recent = {adr_id: at_s for adr_id, at_s in written.copy().items() if at_s > now_s - last_s}
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as connection:
        found = connection.execute(
            "select source_id, extract(epoch from words_at)::float8 from mv.search_state where tenant_id = any(%s)",
            [tenants],
        )
        findable_s: dict[UUID, float] = dict(found.fetchall())
    return max((findable_s.get(adr_id, now_s) - at_s for adr_id, at_s in recent.items()), default=0.0)


@contextmanager
def _second(settings: Settings) -> Iterator[None]:
    process = _start(settings)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "ADRIATIC_HOME": str(settings.home.resolve())}
    command = [sys.executable, "-m", "adriatic", "flow", "run", "index"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _log(connection: psycopg.Connection[Any], tenant_id: UUID) -> UUID:
    log_id = new_id()
    connection.execute(
        "insert into app.logs (tenant_id, log_id, slug, name) values (%s, %s, 'sharing', 'l')", [tenant_id, log_id]
    )
    return log_id


_INSERT_ADR = """
  insert into app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at)
  values (%s, %s, %s, %s, 'accepted', 1, now(), now())
"""

_INSERT_VERSION = """
  insert into app.adr_versions (
    tenant_id, adr_id, version, change, title, status, body, author, effective_at, recorded_at
  )
  values (%s, %s, 1, 'create', %s, 'accepted', %s, 'bench', now(), now())
"""


def _write(connection: psycopg.Connection[Any], tenant_id: UUID, log_id: UUID, number: int) -> UUID:
    adr_id, title = new_id(), f"Decision {number}"
    connection.execute(_INSERT_ADR, [tenant_id, adr_id, log_id, title])
    connection.execute(_INSERT_VERSION, [tenant_id, adr_id, title, BODY.format(title=title, number=number)])
    return adr_id
