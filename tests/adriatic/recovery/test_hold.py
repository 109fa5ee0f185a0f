"""A process waits for its turn when it starts in the middle of a recovery, and ends when one begins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from adriatic.recovery import hold
from adriatic.recovery.hold import Hold
from adriatic.recovery.steps import FLOWS_HOLD, Recovery, Step
from runtime.errors import DependencyUnavailable
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.settings import Settings
from tests.patience import PATIENCE_S


class World:
    """What `ops.recovery` says, or that nobody answers."""

    def __init__(self) -> None:
        self.step: Step | None = None
        self.away = False
        self.looks = 0

    def look(self) -> Recovery | None:
        self.looks += 1
        if self.away:
            raise DependencyUnavailable("away")
        return None if self.step is None else Recovery(1, "ada@host", self.step, datetime.now(UTC), 0, None)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(Hold, "_look", lambda _: made.look())
    monkeypatch.setattr(Hold, "_say_that_it_runs", lambda _: None)
    monkeypatch.setattr(hold, "LOOK_S", 0.02)
    return made


@pytest.fixture
def life() -> Lifecycle:
    return Lifecycle(Health())


def make(life: Lifecycle) -> Hold:
    return Hold(Settings(), "flow-index", "flows", FLOWS_HOLD, life)


def on_a_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_nothing_is_waited_for_without_a_recovery(world: World, life: Lifecycle) -> None:
    make(life).wait()
    assert world.looks == 1


def test_a_process_waits_for_its_turn_and_says_why(world: World, life: Lifecycle) -> None:
    world.step = "copy"
    waiting = on_a_thread(make(life).wait)
    while "recovery" not in life.health.report()["reasons"]:
        assert waiting.is_alive()
    assert "step copy" in life.health.report()["reasons"]["recovery"]
    world.step = "catch-up"
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
    assert "recovery" not in life.health.report()["reasons"]


def test_a_database_that_is_away_is_waited_for(world: World, life: Lifecycle) -> None:
    """Nobody knows whether it may begin."""
    world.away = True
    waiting = on_a_thread(make(life).wait)
    while "postgres" not in life.health.report()["reasons"]:
        assert waiting.is_alive()
    world.away = False
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


@pytest.mark.parametrize("halted", [False, True])
def test_a_process_ends_when_a_recovery_begins_and_fails(world: World, life: Lifecycle, halted: bool) -> None:
    def work() -> None:
        with hold.hold_flow(Settings(), "flow-index", life) as free:
            assert free
            world.away = True  # which changes nothing
            world.step = "hold"
            world.away = False
            if halted:
                life.wait_for_stop()
            while not life.stopping:
                life.health.report()

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 1
    assert life.failure is not None


def test_who_is_asked_to_stop_while_it_waits_does_nothing(world: World, life: Lifecycle) -> None:
    world.step = "topics"
    threading.Timer(0.05, life.stop).start()
    with hold.hold_flow(Settings(), "flow-index", life) as free:
        assert not free


def test_a_recovery_that_is_past_its_turn_ends_nobody(world: World, life: Lifecycle) -> None:
    world.step = "verify"
    with hold.hold_flow(Settings(), "flow-index", life) as free:
        assert free
        before = world.looks
        while world.looks < before + 5:
            assert not life.stopping
