"""The crash ring, short: one seeded schedule of kills and hangs under a mixed load. `make crash` is the long one.

`ADRIATIC_CRASH_SEED=n` runs another schedule.
"""

from __future__ import annotations

import os

import pytest

from tests.copies import Copy
from tests.crash.ring import run
from tests.crash.running import Hits
from tests.crash.schedule import SUPERVISOR, schedule

pytestmark = [pytest.mark.stack, pytest.mark.crash, pytest.mark.timeout(600)]

SEED = 20261124
DURATION_S = 25.0
"""Room for nine faults: one for nearly every process."""


def test_whatever_dies_nothing_is_lost_doubled_or_dead(system_copy: Copy) -> None:
    seed = int(os.environ.get("ADRIATIC_CRASH_SEED", SEED))
    # A supervisor that dies takes everything along and starts it anew, half a minute: that is for the long ring.
    targets = [target for target in Hits(system_copy).targets() if target != SUPERVISOR]
    outcome = run(system_copy, seed, DURATION_S, schedule(seed, DURATION_S, targets))
    print(outcome)
    assert outcome.problems == [], f"\n{outcome}"
    assert len(outcome.hits) == len(outcome.faults), "every fault happened"
    assert all(outcome.acts.values()), "every driver did something"
