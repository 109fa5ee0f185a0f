"""Hedging: when a second target is asked, and whose content counts, on a clock that does not run by itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.llm import Delta, Failed
from connectors.llm.failures import Failure
from connectors.llm.routing.hedging import SAMPLES_MAX, SAMPLES_MIN, FirstTokenTimes, HedgePolicy, HedgeRace
from connectors.llm.routing.retries import RETRIES_SAVED_MAX
from connectors.llm.routing.router import EndpointCall, LlmRouter
from runtime.clock import ManualClock
from runtime.settings import LlmSettings
from tests.connectors.llm.routing.test_router import PROMPT, TENANT


def test_the_second_is_due_once_when_the_first_has_given_nothing_for_so_long() -> None:
    race = HedgeRace(0.3, began_s=10.0)
    assert race.find_wait(10.1) == pytest.approx(0.2)
    assert race.find_wait(10.3) == 0.0
    assert race.find_wait(11.0) == 0.0
    assert race.may_begin()
    race.begin_second()
    assert not race.may_begin(), "never a third"


def test_nobody_is_asked_beside_one_that_has_content_or_failed() -> None:
    answered, failed = HedgeRace(0.3, 0.0), HedgeRace(0.3, 0.0)
    assert answered.claim(0)
    assert not failed.fail(0), "nobody else runs"
    assert not answered.may_begin()
    assert not failed.may_begin()


@pytest.mark.parametrize("seed", range(200))
def test_at_most_one_answers_whatever_happens_in_which_order(seed: int) -> None:
    draw = random.Random(seed)
    race = HedgeRace(0.0, 0.0)
    race.begin_second()
    claims: list[int] = []
    failed: set[int] = set()
    for _ in range(8):
        runner = draw.randrange(2)
        if draw.random() < 0.3 and runner not in failed and race.winner != runner:
            failed.add(runner)
            assert race.fail(runner) == (len(failed) < 2)
        elif race.claim(runner):
            claims.append(runner)
            assert runner not in failed
    assert len(set(claims)) <= 1
    assert race.outcome == ("failed" if 1 in failed else {None: None, 0: "lost", 1: "won"}[race.winner])


def test_a_quantile_waits_longer_than_the_least_once_enough_is_known() -> None:
    times, policy = FirstTokenTimes(), HedgePolicy(0.2, 0.9)
    for number in range(SAMPLES_MIN - 1):
        times.note(1.0 + number)
    assert policy.find_wait(times) == 0.2
    times.note(0.1)
    assert policy.find_wait(times) == 17.0, "18 of 20 began within 17 s"
    for _ in range(SAMPLES_MAX):
        times.note(0.05)
    assert policy.find_wait(times) == 0.2, "never sooner than the least, and what is long ago is forgotten"
    assert HedgePolicy(0.2).find_wait(times) == 0.2


@pytest.mark.parametrize("more", [{"hedge_quantile": 0.9}, {"hedge_after_ms": 0}, {"hedge_quantile": 1.0}])
def test_settings_that_say_half_are_refused(more: dict[str, Any]) -> None:
    target = {"provider": "openai", "model": "a"}
    with pytest.raises(ValidationError):
        LlmSettings.model_validate({"models": [{"name": "m", "targets": [target], **more}]})


def route(*names: str, **more: Any) -> tuple[LlmRouter, ManualClock]:
    """A router of one model, `m`, that says when to ask twice."""
    targets = [{"name": name, "provider": "openai", "model": name, "in_flight_max": 2} for name in names]
    hedged = {"hedge_after_ms": 300, **more}
    settings = LlmSettings.model_validate({"models": [{"name": "m", "targets": targets, **hedged}]})
    clock = ManualClock()
    return LlmRouter(settings, clock, lambda: 0.0), clock


async def test_the_next_target_that_is_well_and_free_is_asked_once() -> None:
    router, _ = route("a", "b", "c")
    calls: list[EndpointCall] = []
    for _ in range(2):  # b has no free slot then
        candidates = router.choose("m", PROMPT)
        calls += [await candidates.take(TENANT), await candidates.take(TENANT)]
    for call in calls[::2]:
        call.end()
    candidates = router.choose("m", PROMPT)
    first = await candidates.take(TENANT)
    assert candidates.find_hedge_wait(first) == 0.3
    second = candidates.hedge()
    assert second is not None
    assert (first.target.title, second.target.title) == ("a", "c")
    assert candidates.find_hedge_wait(first) is None
    assert candidates.find_hedge_wait(second) is None
    for call in (*calls, first, second):
        call.end()
    assert {router.endpoint(call.target).slots.in_flight for call in (*calls, first, second)} == {0}
    await router.close()


async def test_no_second_is_asked_where_nobody_is_left_or_nothing_is_said() -> None:
    alone, _ = route("a")
    silent, _ = route("a", "b", hedge_after_ms=None)
    for router in (alone, silent):
        candidates = router.choose("m", PROMPT)
        call = await candidates.take(TENANT)
        assert candidates.find_hedge_wait(call) is None
        call.end()
        await router.close()


async def test_seconds_are_paid_from_the_retry_budget() -> None:
    router, _ = route("a", "b")
    asked = 0
    for _ in range(2 * round(RETRIES_SAVED_MAX)):
        candidates = router.choose("m", PROMPT)
        first = await candidates.take(TENANT)
        second = candidates.hedge()
        first.end()
        if second:
            asked += 1
            second.end()
    assert RETRIES_SAVED_MAX <= asked < 1.2 * RETRIES_SAVED_MAX
    await router.close()


async def test_one_that_lost_is_no_failure_and_its_time_is_known() -> None:
    router, clock = route("a", "b", hedge_quantile=0.5)
    for _ in range(SAMPLES_MIN):
        candidates = router.choose("m", PROMPT)
        first = await candidates.take(TENANT)
        stream = first.stream(PROMPT)
        clock.sleep(2.0)
        second = candidates.hedge()
        assert second is not None
        second.hear(Delta("content"))
        first.lose()
        first.end()
        second.end()
        await stream.aclose()
    candidates = router.choose("m", PROMPT)
    first = await candidates.take(TENANT)
    assert first.target.title == "a", "its breaker is closed"
    assert candidates.find_hedge_wait(first) == 2.0
    first.hear(Failed(Failure("overloaded", "test")))
    first.end()
    await router.close()
