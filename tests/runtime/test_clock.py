"""The two clocks behave alike, but for who moves them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runtime.clock import Clock, ManualClock, SystemClock


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=["system", "manual"])
def test_every_clock_is_aware_and_sleeping_moves_it(clock: Clock) -> None:
    wall, elapsed = clock.now(), clock.monotonic()
    clock.sleep(0.002)
    assert wall.tzinfo is UTC
    assert clock.now() >= wall
    assert clock.monotonic() - elapsed >= 0.002


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic())
    clock.sleep(90)
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=90)
    assert clock.monotonic() == 90
