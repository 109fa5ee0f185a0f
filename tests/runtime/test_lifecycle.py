"""Waiting, retrying, stopping, giving up."""

from __future__ import annotations

import threading

import pytest

from runtime.errors import DependencyUnavailable, Fenced, Halted, Undecodable
from runtime.lifecycle import Lifecycle, StopRequested
from runtime.ops import Health
from tests.patience import PATIENCE_S


def test_an_outage_is_waited_out_and_told() -> None:
    life = Lifecycle(Health())
    seen: list[object] = []

    def attempt() -> str:
        seen.append(life.health.report()["reasons"].get("postgres"))
        if len(seen) < 3:
            raise DependencyUnavailable("away", hint="start it")
        return "done"

    retries: list[int] = []
    assert life.retry("postgres", attempt, lambda: retries.append(1)) == "done"
    assert seen == [None, "away (start it)", "away (start it)"]
    assert "postgres" not in life.health.report()["reasons"]
    assert (len(retries), life.retries) == (2, 2)


def test_other_errors_go_up_at_once() -> None:
    def attempt() -> None:
        raise Undecodable("this record")

    with pytest.raises(Undecodable):
        Lifecycle(Health()).retry("registry", attempt)


def test_a_stop_ends_the_wait() -> None:
    life = Lifecycle(Health())

    def attempt() -> None:
        raise DependencyUnavailable("away")

    threading.Timer(0.05, life.stop).start()
    with pytest.raises(StopRequested):
        life.retry("postgres", attempt)
    assert life.failure is None


def test_isolating_faults_of_records_cannot_catch_a_stop() -> None:
    assert not issubclass(StopRequested, Exception)


def test_the_first_failure_counts_and_stops_everything() -> None:
    life = Lifecycle(Health())
    first = Halted("first", coordinates={"code": "x", "topic": "t"})
    life.fail(first)
    life.fail(Fenced("second"))
    assert life.failure is first
    assert life.stopping


def test_a_failure_is_not_a_request_to_end_the_process() -> None:
    life = Lifecycle(Health())
    life.fail(Halted("no"))
    waited = threading.Thread(target=life.wait_for_stop)
    waited.start()
    waited.join(0.05)
    assert waited.is_alive()
    life.stop()
    waited.join(PATIENCE_S)
    assert not waited.is_alive()
