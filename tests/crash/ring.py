"""One run of the ring: a load, faults in their time, healing, and everything that must be so afterwards.

Owns the order of these. Each run has a tenant of its own, so runs on one system do not see each other's data.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.copies import Copy
from tests.crash import checks, drivers, outside
from tests.crash.load import REQUEST_S_MAX, Driver, Load
from tests.crash.running import Hits
from tests.crash.schedule import Fault, Hit, schedule, show
from tests.system.conftest import Tenant, World, clients

TAIL_S = 3.0
"""The load goes on so long after the last fault: what is broken then must not depend on being left alone."""

DRIVERS: tuple[type[Driver], ...] = (
    *(drivers.Edits, drivers.Imports, drivers.Chats, drivers.Jobs),
    *(outside.Uploads, outside.Feeds, outside.Readers),
)


@dataclass
class Outcome:
    """What a run found. `acts`: what was acknowledged, by driver."""

    seed: int
    faults: list[Fault]
    processes: int = 1
    problems: list[str] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    acts: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    healed_s: float = 0.0

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {len(self.faults)} faults: {show(self.faults)}"]
        lines += [f"  missed: {show(self.missed)}"] if self.missed else []
        lines += [f"  acknowledged: {', '.join(f'{count} {name}' for name, count in self.acts.items())}"]
        lines += [f"  healed and checked in {self.healed_s:.1f} s"]
        lines += [f"  PROBLEM {problem}" for problem in self.problems]
        return "\n".join([*lines, f"  again: {self.command}"])

    @property
    def command(self) -> str:
        of = f" --processes {self.processes}" if self.processes > 1 else ""
        return f"make crash ARGS=\"--seed {self.seed}{of} --schedule '{show(self.faults)}'\""


@contextmanager
def made_tenant(world: World) -> Iterator[Tenant]:
    with clients(world) as make:
        tenant = make()
        tenant.http.timeout = httpx.Timeout(REQUEST_S_MAX)
        yield tenant


def run(
    copy: Copy, seed: int, duration_s: float, faults: Sequence[Fault] | None = None, only: Sequence[str] = ()
) -> Outcome:
    """One run. `faults` None: those of the seed. `only`: names of drivers, none for all."""
    world = World(copy.settings, copy.environment)
    hits = Hits(copy)
    if faults is None:
        faults = schedule(seed, duration_s, hits.targets())
    outcome = Outcome(seed, list(faults))
    began_s = time.monotonic()
    with made_tenant(world) as tenant:
        letters = world.dead_letters()
        load = Load([kind(tenant, world, seed) for kind in DRIVERS if not only or kind.name in only])
        with load:
            hits.run(faults, max((fault.over_s for fault in faults), default=0.0) + TAIL_S)
        over_s = time.monotonic()
        outcome.hits, outcome.missed = hits.done, hits.missed
        outcome.acts = {driver.name: driver.acts for driver in load.drivers}
        outcome.problems = [*load.problems, *_checked(world, tenant, load, hits.done, letters)]
        load.close()
        outcome.healed_s = time.monotonic() - over_s
    outcome.took_s = time.monotonic() - began_s
    return outcome


def _checked(world: World, tenant: Tenant, load: Load, hits: Sequence[Hit], letters: int) -> Iterator[str]:
    yield from checks.guarded(checks.healed(world), "health")
    yield from checks.guarded(checks.verified(world, tenant), "verify")
    yield from checks.guarded(load.check(hits), "the record")
    yield from checks.guarded(checks.counted_once(world, tenant), "the count of embeddings")
    yield from checks.guarded(checks.topics(world, tenant), "topics")
    yield from checks.guarded(checks.nothing_died(world, letters), "dead letters")
