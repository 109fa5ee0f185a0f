"""Schedules: what happens to the simulated world, step by step.

Owns the kinds of steps, how often each comes, and the text of a schedule. A step carries every number that it needs, so
that leaving out another one changes as little as can be: that is what makes schedules small (`shrink.py`). Refuses to
do anything (`world.py`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

LAWFUL: dict[str, int] = {
    "commit": 30,
    "burst": 8,
    "wait": 10,
    "note": 3,
    "others": 3,
    "storm": 5,
    "receive": 2,
    "hold": 8,
    "latency": 3,
    "room": 2,
    "batch": 3,
    "freeze": 4,
    "down": 3,
    "network": 4,
    "stall": 8,
    "kill": 12,
    "start": 10,
    "stop": 3,
    "crowd": 4,
    "usurp": 6,
    "cut": 4,
    "crash": 3,
    "checkpoint": 2,
    "deaf": 1,
    "skew": 1,
    "partitions": 1,
    "unplaced": 1,
    "reset": 2,
}
"""Everything that a system must bear without halting: weights."""
COPIES: dict[str, int] = {"copy": 3, "copy-log": 2}
ACCIDENTS: dict[str, int] = {
    "restore": 6,
    "dump": 1,
    "standby": 1,
    "log-back": 3,
    "log-lost": 1,
    "forge": 6,
    "drop-slot": 1,
    "move-slot": 1,
}
"""What may halt capture: a database that goes back, a log that does, and records of somebody else."""
STEPS_MIN, STEPS_MAX = 4, 28
ACCIDENTS_SHARE = 0.45
"""How many of the schedules have accidents."""
EARLY_SHARE = 0.1
PLOTS_SHARE = 0.25
FORESEEN = 5
"""The kind of forgery that is ahead of the database."""
PAUSES_S = (0.0, 0.004, 0.03, 0.3, 1.1, 1.1, 3.0, 12.0, 35.0, 65.0)
"""Pauses before a step: within a request, within a beat, longer than each time-out."""
LASTS_S = (0.05, 0.4, 2.0, 9.0, 18.0, 25.0, 29.0, 31.0, 45.0, 70.0)
"""How long something holds: shorter and longer than each time-out."""
CALLS = (1, 2, 3, 5, 8, 13, 21, 40, 80)


class Step(NamedTuple):
    """`pause_s`, `calls`: how long the world goes on before, or how many of its calls if that is not 0. `lasts_s`, `a`,
    `b`: what the kind makes of them."""

    kind: str
    pause_s: float = 0.0
    calls: int = 0
    lasts_s: float = 0.0
    a: int = 0
    b: int = 0

    def __str__(self) -> str:
        before = f"after {self.calls} calls" if self.calls else f"after {self.pause_s:g} s"
        return f"{self.kind} {before}, lasts {self.lasts_s:g} s, {self.a} {self.b}"


def generate(seed: int) -> list[Step]:
    """The same for the same seed."""
    rng = random.Random(seed)
    has_accidents = rng.random() < ACCIDENTS_SHARE
    weights = dict(LAWFUL)
    # Each schedule has kinds that it likes, and kinds that it leaves out: coincidences of few things, often.
    for kind in weights:
        weights[kind] *= rng.choice((0, 1, 1, 2, 4))
    weights["commit"] = max(weights["commit"], 30)
    if has_accidents:
        weights |= COPIES
    steps = [_step(rng, _pick(rng, weights)) for _ in range(rng.randint(STEPS_MIN, STEPS_MAX))]
    if has_accidents and rng.random() < EARLY_SHARE:
        # A copy from before capture had come to anything.
        steps.insert(0, _step(rng, rng.choice(tuple(COPIES)))._replace(pause_s=0.0, calls=rng.randint(1, 60)))
    if has_accidents:
        for _ in range(rng.choice((1, 1, 1, 2))):
            steps.insert(rng.randint(len(steps) // 3, len(steps)), _step(rng, _pick(rng, ACCIDENTS)))
    if rng.random() < PLOTS_SHARE:
        plot = rng.choice(PLOTS if has_accidents else PLOTS[:LAWFUL_PLOTS])
        at = 0 if plot is _die_in_a_snapshot else rng.randint(0, len(steps))
        steps[at:at] = plot(rng)
    return steps


def _overtake(rng: random.Random) -> list[Step]:
    """A broker that is away, two commits, and a process that stands still until the first is too old, and the second
    is not: the younger record goes out alone."""
    down = _step(rng, "down")._replace(lasts_s=rng.choice((18.0, 25.0, 29.0)))
    first = _step(rng, "commit")._replace(pause_s=0.03, calls=0)
    second = first._replace(pause_s=12.0, b=rng.choice((first.b, rng.randrange(1000))))
    stall = _step(rng, "stall")._replace(
        pause_s=rng.choice((0.03, 1.1, 3.0)), calls=0, lasts_s=rng.choice((18.0, 25.0))
    )
    kill = _step(rng, "kill")._replace(pause_s=rng.choice((18.0, 25.0, 25.1)), calls=0)
    return [down, first, second, stall, *([kill, _step(rng, "start")] if rng.random() < 0.5 else [])]


def _foresee(rng: random.Random) -> list[Step]:
    """A forged record at the position that the next commit will have."""
    kill = _step(rng, "kill")
    forge = _step(rng, "forge")._replace(a=FORESEEN, pause_s=3.0, calls=0)
    return [kill, forge, _step(rng, "burst")._replace(pause_s=0.0, calls=0), _step(rng, "start")]


def _go_back(rng: random.Random) -> list[Step]:
    """A copy, a life after it, and another life from it at the same positions."""
    copy, back = rng.choice((("copy", "restore"), ("copy-log", "log-back")))
    steps = [_step(rng, copy), _step(rng, "commit"), _step(rng, back)._replace(lasts_s=0.05), _step(rng, "commit")]
    return [*steps, _step(rng, rng.choice(("kill", "cut", "wait"))), _step(rng, "start")]


def _die_in_a_snapshot(rng: random.Random) -> list[Step]:
    """The snapshot is in the log, and that is not written down; then the slot is gone."""
    kill = _step(rng, "kill")._replace(pause_s=1.1, calls=rng.randint(30, 60))
    commit = _step(rng, "commit")._replace(pause_s=0.3, calls=0)
    return [kill, commit, _step(rng, rng.choice(("drop-slot", "drop-slot", "dump")))._replace(calls=0)]


def _stand_still(rng: random.Random) -> list[Step]:
    """Stopped in the middle of a batch, until its place is another one's."""
    burst = _step(rng, "burst")._replace(pause_s=1.1, calls=0)
    usurp = _step(rng, "usurp")._replace(pause_s=1.1, calls=rng.randint(15, 60), lasts_s=rng.choice((31.0, 45.0, 70.0)))
    return [burst, usurp]


def _lose_a_snapshot(rng: random.Random) -> list[Step]:
    """The log is what it was before the first snapshot, and capture is killed about then."""
    copy = _step(rng, "copy-log")._replace(pause_s=0.0, calls=0)
    kill = _step(rng, "kill")._replace(pause_s=1.1, calls=rng.randint(36, 60))
    return [copy, kill, _step(rng, "log-back")._replace(pause_s=1.1, calls=0), _step(rng, "start")]


def _move_a_slot(rng: random.Random) -> list[Step]:
    """The slot is read by somebody else between the snapshot and its account."""
    crowd = _step(rng, "crowd")._replace(pause_s=1.1, calls=rng.randint(36, 60))
    burst, crash = (_step(rng, kind)._replace(pause_s=0.0, calls=0) for kind in ("burst", "crash"))
    return [crowd, burst, crash, _step(rng, "move-slot")._replace(pause_s=1.1, calls=0)]


LAWFUL_PLOTS = 2
PLOTS = (_overtake, _stand_still, _foresee, _go_back, _die_in_a_snapshot, _lose_a_snapshot, _move_a_slot)
"""Short stories that chance alone would seldom tell: the lawful ones first."""


def _pick(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _step(rng: random.Random, kind: str) -> Step:
    calls = rng.choice(CALLS) if rng.random() < 0.45 else 0
    lasts_s = rng.choice(LASTS_S)
    return Step(kind, rng.choice(PAUSES_S), calls, lasts_s, rng.randrange(1000), rng.randrange(1000))


def show(steps: Sequence[Step]) -> str:
    return "\n".join(f"  {number:2} {step}" for number, step in enumerate(steps, 1))
