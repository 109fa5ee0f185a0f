"""The crash ring with two processes of each flow, each agent and the API, short, in a sample of the runs: it takes as
much of a machine as a tenth of all other tests.

`make crash ARGS="--processes 2"` is the long one. `ADRIATIC_CRASH_SEED=n` runs it for sure.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from dataflows.catalog import flows
from streams.catalog import agents
from tests.copies import running_copy
from tests.crash.ring import run
from tests.crash.running import Hits
from tests.crash.schedule import schedule
from tests.docs.markdown import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

DURATION_S = 25.0
"""Room for nine faults."""
SAMPLE = 4
"""One run in so many, by the commit: the same commit always does the same."""


def test_with_two_of_each_nothing_is_lost_doubled_or_dead() -> None:
    """They share partitions; every fault moves some of these between them."""
    named = os.environ.get("ADRIATIC_CRASH_SEED")
    seed = int(named) if named is not None else _seed_of_commit()
    if named is None and seed % SAMPLE:
        pytest.skip(f"one commit in {SAMPLE}: `make crash ARGS='--processes 2'` is the whole")
    with running_copy("[stack]\nprocesses = 2\n[api]\nworkers = 2\n") as copy:
        shared = (*flows(), *agents())
        targets = [one for one in Hits(copy).targets() if one.partition("-")[0] in shared or one.startswith("api/")]
        assert len(targets) == 2 * (len(shared) + 1)
        outcome = run(copy, seed, DURATION_S, schedule(seed, DURATION_S, targets))
        print(outcome)
    assert outcome.problems == [], f"\n{outcome}"
    assert all(outcome.acts.values()), "every driver did something"


def _seed_of_commit() -> int:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(commit.stdout.strip()[:8] or "0", 16)
