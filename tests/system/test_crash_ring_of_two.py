"""The crash ring with two processes of each flow and agent, short.

`make crash ARGS="--processes 2"` is the long one.
"""

from __future__ import annotations

import os

import pytest

from dataflows.catalog import flows
from streams.catalog import agents
from tests.copies import running_copy
from tests.crash.ring import run
from tests.crash.running import Hits
from tests.crash.schedule import schedule

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

SEED = 20261125
DURATION_S = 25.0
"""Room for nine faults."""


def test_with_two_of_each_flow_and_agent_nothing_is_lost_doubled_or_dead() -> None:
    """They share partitions; every fault moves some of these between them."""
    seed = int(os.environ.get("ADRIATIC_CRASH_SEED", SEED))
    with running_copy("[stack]\nprocesses = 2\n") as copy:
        targets = [target for target in Hits(copy).targets() if target.partition("-")[0] in (*flows(), *agents())]
        assert len(targets) == 2 * (len(flows()) + len(agents()))
        outcome = run(copy, seed, DURATION_S, schedule(seed, DURATION_S, targets))
        print(outcome)
    assert outcome.problems == [], f"\n{outcome}"
    assert all(outcome.acts.values()), "every driver did something"
