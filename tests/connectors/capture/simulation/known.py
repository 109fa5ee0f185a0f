"""Schedules worth keeping, as small as the search could make them.

Owns one for each mutant, which shows it, and which the core passes. Several of them are faults that the core had once:
the mutant is the core before. A schedule is data: when the steps of `world.py` come to mean something else, the command
finds new ones.
"""

from __future__ import annotations

from tests.connectors.capture.simulation.schedule import Step

OVERTAKEN = [
    Step("down", pause_s=1.1, lasts_s=29),
    Step("commit", pause_s=1.1),
    Step("commit", pause_s=12),
    Step("stall", pause_s=1.1, lasts_s=18),
]
"""The gap that R8 had. The broker is away, and two transactions wait. The process is stopped until the first of them is
older than the delivery time-out, and the second is not: the first is dropped, the second goes out. Killed before it
repairs that, it leaves a younger record as the last one of its partition."""

SHOWS: dict[str, list[Step]] = {
    "acknowledge-the-maximum": [Step("hold", pause_s=1.1, lasts_s=29, b=371), Step("commit", pause_s=1.1, b=636)],
    "skip-by-row": [
        Step("down", pause_s=1.1, lasts_s=18),
        Step("commit", pause_s=1.1, b=25),
        Step("commit", pause_s=12, b=736),
        Step("stall", pause_s=1.1, lasts_s=18),
        Step("crash", pause_s=35),
    ],
    "believe-a-header": [Step("forge", pause_s=1.1)],
    "no-nonce": [Step("forge", pause_s=1.1, a=4)],
    "snapshot-of-anybody": [Step("reset", pause_s=1.1)],
    "acknowledge-before-progress": [],
    "no-hole-check": [*OVERTAKEN, Step("commit", pause_s=65)],
    "keepalive-acknowledges-open-transaction": [
        Step("hold", pause_s=1.1, lasts_s=29, b=371),
        Step("commit", pause_s=1.1, b=636),
    ],
    "ends-not-checked": [
        Step("copy-log", pause_s=1.1),
        Step("commit", pause_s=1.1),
        Step("log-back", pause_s=1.1),
    ],
    "beat-before-it-is-written": [Step("commit", pause_s=1.1), Step("kill", pause_s=0.3, b=1)],
    "everything-again": [Step("commit", pause_s=1.1), Step("kill", pause_s=0.3, b=1)],
    "no-rehearsal": [Step("forge", pause_s=1.1, a=1), Step("kill", pause_s=1.1), Step("burst", pause_s=1.1)],
    "transactions-not-compared": [
        Step("kill", pause_s=1.1),
        Step("forge", pause_s=1.1, a=5, b=111),
        Step("burst", pause_s=1.1, b=545),
    ],
    "moved-slot-not-seen": [Step("move-slot", pause_s=1.1)],
    "ordinals-of-records-only": [Step("commit", pause_s=1.1, a=248, b=16)],
    "backwards-not-noticed": [
        Step("copy-log", pause_s=1.1),
        Step("commit", pause_s=1.1),
        Step("log-back", pause_s=1.1),
    ],
    "last-record-not-compared": [
        Step("copy-log", pause_s=1.1),
        Step("commit", pause_s=1.1, b=789),
        Step("log-back", pause_s=1.1),
        Step("commit", pause_s=1.1, b=244),
    ],
    "found-not-counted": [
        Step("copy-log", pause_s=1.1),
        Step("commit", pause_s=1.1),
        Step("log-back", pause_s=1.1),
    ],
    "snapshot-older-than-its-slot": [Step("kill", pause_s=1.1, calls=46), Step("drop-slot", pause_s=1.1)],
    "snapshot-before-the-slot": [
        Step("crowd", pause_s=1.1, calls=40),
        Step("burst"),
        Step("crash", lasts_s=0.05),
        Step("move-slot", pause_s=1.1),
    ],
    "ends-after-the-snapshot": [Step("copy-log"), Step("kill", pause_s=1.1, calls=44), Step("log-back", pause_s=1.1)],
    "no-wait-for-the-predecessor": [Step("burst", pause_s=1.1), Step("usurp", pause_s=3, calls=21, lasts_s=0.4)],
    "no-look-before-a-record": [
        Step("burst", pause_s=1.1, a=3, b=734),
        Step("usurp", pause_s=1.1, calls=31, lasts_s=70, a=3),
    ],
}
