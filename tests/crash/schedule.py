"""Which process is hit when, and how: a schedule is data, and a function of its seed alone.

Owns drawing one, and the text that it is printed and replayed by. Refuses to hit anything: `running.py` does.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

Kind = Literal["kill", "hang"]
"""kill: `kill -9`, and the supervisor starts it again. hang: stopped by signal with all its children, and let go on
after `lasts_s`: what an outage looks like to those who wait for it."""

FAULTS_PER_S = 0.35
"""One every three seconds: the next one often meets a system that has not healed from the one before."""
HANG_S = (0.5, 8.0)
"""Shorter and longer than the time-outs of those who wait (requests 5 s, brokers' sessions 10 s)."""
KILL_SHARE = 0.7
SUPERVISOR = "supervisor"
"""Ends everything below it, and is started anew."""


class Fault(NamedTuple):
    """`at_s` after the beginning. `lasts_s` is 0 for what is killed."""

    at_s: float
    target: str
    kind: Kind
    lasts_s: float = 0.0

    @property
    def over_s(self) -> float:
        return self.at_s + self.lasts_s

    def __str__(self) -> str:
        return f"{self.at_s:g} {self.kind} {self.target}" + (f" {self.lasts_s:g}" if self.lasts_s else "")


class Hit(NamedTuple):
    """A fault that happened, and when: seconds since 1970."""

    at: float
    fault: Fault


def schedule(seed: int, duration_s: float, targets: Sequence[str]) -> list[Fault]:
    """Faults in the order of time. Every target is hit once, as long as there is room; then any, as it comes.

    The supervisor is only ever killed, and at most once: a system whose supervisor hangs is not one that heals.
    """
    dice = random.Random(seed)
    count = max(1, round(duration_s * FAULTS_PER_S))
    ordinary = [target for target in targets if target != SUPERVISOR]
    chosen = dice.sample(list(targets), min(count, len(targets)))
    chosen += [dice.choice(ordinary) for _ in range(count - len(chosen))] if ordinary else []
    times = sorted(round(dice.uniform(0.0, duration_s), 1) for _ in chosen)
    return sorted(_draw(dice, at_s, target, duration_s) for at_s, target in zip(times, chosen, strict=True))


def _draw(dice: random.Random, at_s: float, target: str, duration_s: float) -> Fault:
    if target == SUPERVISOR or dice.random() < KILL_SHARE:
        return Fault(at_s, target, "kill")
    shortest, longest = HANG_S
    return Fault(at_s, target, "hang", round(dice.uniform(shortest, min(longest, max(shortest, duration_s / 3))), 1))


def show(faults: Iterable[Fault]) -> str:
    """One line; `parse` reads it back."""
    return ", ".join(map(str, faults))


def parse(text: str) -> list[Fault]:
    """From the text of `show`. Raises `ValueError` that says which word is wrong."""
    faults = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        words = part.split()
        if not 3 <= len(words) <= 4 or words[1] not in get_args(Kind) or (len(words) == 4) != (words[1] == "hang"):
            raise ValueError(f"{part!r} is not 'SECONDS kill TARGET' or 'SECONDS hang TARGET SECONDS'")
        kind: Kind = "hang" if words[1] == "hang" else "kill"
        faults.append(Fault(float(words[0]), words[2], kind, float(words[3]) if kind == "hang" else 0.0))
    return sorted(faults)


class Action(NamedTuple):
    """What to do at a time: begin a fault, or let what hangs go on."""

    at_s: float
    begins: bool
    fault: Fault


def actions(faults: Iterable[Fault]) -> list[Action]:
    """Both ends of every fault, in the order of time; at the same time what ends comes first."""
    both = [Action(fault.at_s, True, fault) for fault in faults]
    both += [Action(fault.over_s, False, fault) for fault in faults if fault.kind == "hang"]
    return sorted(both, key=lambda action: (action.at_s, action.begins, action.fault))
