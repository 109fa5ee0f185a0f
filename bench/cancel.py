"""How soon a task of an agent ends that is cancelled, with a sub-task and one below that, which is at a slow tool or a
slow model.

    python -m bench.cancel --rounds 20

A database of its own on an embedded Postgres, a worker and a scripted model in this process; the times are the
database's own, from the cancel to the end of the last of the three.
"""

from __future__ import annotations

import argparse
import asyncio

from bench.path import Spread
from runtime.settings import Settings
from tests import databases
from tests.api.agents.slow import TURNS, Slow, cancel_while, sleeping_tool
from tests.api.agents.world import agency
from tests.api.search.corpus import writing
from tests.copies import running_copy

KINDS: tuple[Slow, ...] = ("tool", "model")


async def measure(settings: Settings, rounds: int) -> list[Spread]:
    """Ask for each thing that is slow."""
    took: dict[Slow, list[float]] = {kind: [] for kind in KINDS}
    with writing(settings) as corpus, sleeping_tool("list_adrs"):
        async with agency(settings, corpus, TURNS) as made:
            for number in range(rounds * len(KINDS)):
                slow = KINDS[number % len(KINDS)]
                took[slow].append(max(await cancel_while(made, slow)))
                await made.rows("delete from app.agent_tasks")
                await made.rows("delete from app.jobs where kind = 'agent_task'")
    return [Spread.of(f"cancelled → the last of three has ended, a slow {kind}", took[kind]) for kind in KINDS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with (
        running_copy("", ("postgres",)) as copy,
        databases.fresh(copy.settings, databases.template(copy.settings)) as settings,
    ):
        for spread in asyncio.run(measure(settings, rounds)):
            figures = f"p50 {spread.p50_ms:.0f} ms, p95 {spread.p95_ms:.0f} ms, p99 {spread.p99_ms:.0f} ms"
            print(f"{spread.what}: {figures} ({spread.count} times)")


if __name__ == "__main__":
    main()
