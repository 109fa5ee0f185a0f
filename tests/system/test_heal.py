"""One process is killed and one is stopped while somebody writes: status is true, and all is well soon. A sample, by
the commit: `make heal` is the whole, of every process and for a minute each, on a machine that does nothing else; there
it is the promised time that counts.

`ADRIATIC_CRASH_SEED=n` chooses others.
"""

from __future__ import annotations

import os
import random
import subprocess

import pytest

from tests.copies import Copy
from tests.crash.heal import heal
from tests.crash.healing import PATIENCE_S, Kind, Trial
from tests.crash.running import Hits
from tests.crash.schedule import SUPERVISOR
from tests.docs.markdown import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

STOPPED_S = 8.0
"""Longer than it may take to be seen, and than a request waits."""


def test_status_is_true_while_a_process_is_away_and_well_soon_afterwards(system_copy: Copy) -> None:
    dice = random.Random(int(os.environ.get("ADRIATIC_CRASH_SEED", _seed_of_commit())))
    killed, stopped = dice.sample([part for part in Hits(system_copy).targets() if part != SUPERVISOR], 2)
    trials: list[tuple[str, Kind]] = [(killed, "kill"), (stopped, "stop")]
    done: list[Trial] = []
    problems = list(heal(system_copy, trials, STOPPED_S, done.append, PATIENCE_S))
    assert problems == [], f"{done}"
    assert all(trial.writes and trial.asked for trial in done)


def _seed_of_commit() -> int:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return int(commit.stdout.strip()[:8] or "0", 16)
