"""Who is asked, and who is asked next: by what endpoints did before, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from connectors.llm import Delta, Failed
from connectors.llm.failures import Failure, Kind
from connectors.llm.prompts import Prompt, ask
from connectors.llm.routing.breaker import CONSECUTIVE_MAX, COOLDOWN_S
from connectors.llm.routing.retries import RETRIES_SAVED_MAX
from connectors.llm.routing.router import EndpointCall, LlmRouter
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable, NotFound, RateLimited
from runtime.settings import LlmSettings

TENANT, OTHER = UUID(int=1), UUID(int=2)
PROMPT = ask("Be brief.", "Why?", (), 100)


class Desk:
    """A router of one model `m`, and its clock. Providers are built, and never asked."""

    def __init__(self, *targets: dict[str, Any], **more: Any) -> None:
        made = [{"provider": "openai", "model": target["name"], **target} for target in targets]
        settings = LlmSettings.model_validate({"models": [{"name": "m", "targets": made}], **more})
        self.clock = ManualClock()
        self.router = LlmRouter(settings, self.clock, lambda: 0.0)

    async def take(self, prompt: Prompt = PROMPT, tenant_id: UUID = TENANT) -> EndpointCall:
        """The first call of a new answer."""
        return await self.router.choose("m", prompt).take(tenant_id)

    async def asked(self) -> str:
        """Who would be asked first."""
        call = await self.take()
        call.end()
        return call.target.title

    async def fail(self, times: int = CONSECUTIVE_MAX, kind: Kind = "overloaded", **more: Any) -> None:
        """Fails the first call of so many answers."""
        for _ in range(times):
            call = await self.take()
            call.hear(Failed(Failure(kind, "test", **more)))
            call.end()


@pytest.fixture
async def desks() -> AsyncIterator[list[Desk]]:
    opened: list[Desk] = []
    yield opened
    for desk in opened:
        await desk.router.close()


async def test_who_is_open_is_passed_over_and_tried_again_after_its_cooldown(desks: list[Desk]) -> None:
    desk = Desk({"name": "a"}, {"name": "b"})
    desks.append(desk)
    assert await desk.asked() == "a"
    await desk.fail()
    assert await desk.asked() == "b"
    desk.clock.sleep(COOLDOWN_S)
    assert await desk.asked() == "a", "a probe"


async def test_when_all_are_open_the_one_that_failed_longest_ago_is_asked_one_at_a_time(desks: list[Desk]) -> None:
    desk = Desk({"name": "a"}, {"name": "b"})
    desks.append(desk)
    await desk.fail()
    desk.clock.sleep(1.0)
    await desk.fail()
    first = await desk.take()
    assert first.target.title == "a"
    second = await desk.take()
    assert second.target.title == "a", "the second of its probes"
    third = await desk.take()
    assert third.target.title == "b"
    fourth = await desk.take()
    assert fourth.target.title == "b"
    with pytest.raises(DependencyUnavailable, match="nobody"):
        await desk.take()
    for call in (first, second, third, fourth):
        call.end()


async def test_a_rate_limit_says_when_to_come_back(desks: list[Desk]) -> None:
    desk = Desk({"name": "a"})
    desks.append(desk)
    await desk.fail(1, "rate-limit", retry_after_s=16.2)
    with pytest.raises(DependencyUnavailable) as caught:
        await desk.take()
    assert caught.value.coordinates == {"retry_after_s": 17}
    desk.clock.sleep(16.2)
    assert await desk.asked() == "a"


async def test_a_key_that_is_not_taken_is_wrong_for_every_model(desks: list[Desk]) -> None:
    keys = {"bad": "1", "good": "2"}
    desk = Desk({"name": "a", "key": "bad"}, {"name": "b", "key": "bad"}, {"name": "c", "key": "good"}, keys=keys)
    desks.append(desk)
    await desk.fail(1, "credential")
    assert await desk.asked() == "c"


async def test_targets_that_ask_the_same_share_what_is_known_of_it(desks: list[Desk]) -> None:
    desk = Desk({"name": "a", "in_flight_max": 1}, {"name": "a", "in_flight_max": 1, "weight": 1}, {"name": "b"})
    desks.append(desk)
    call = await desk.take()
    assert await desk.asked() == "b"
    call.end()


async def test_a_free_slot_goes_before_the_order_and_a_full_queue_to_the_next(desks: list[Desk]) -> None:
    only = {"in_flight_max": 1, "waiting_max": 0}
    desk = Desk({"name": "a", **only}, {"name": "b", **only})
    desks.append(desk)
    first, second = await desk.take(), await desk.take()
    assert [first.target.title, second.target.title] == ["a", "b"]
    with pytest.raises((DependencyUnavailable, RateLimited)):
        await desk.take()
    second.end()
    second.end()
    assert await desk.asked() == "b"
    first.end()
    assert await desk.asked() == "a"


@pytest.mark.parametrize(
    ("kind", "goes_on"),
    [("overloaded", True), ("credential", True), ("rate-limit", True), ("timeout", True), ("refused", False)],
)
async def test_what_lies_with_the_request_is_not_asked_again(desks: list[Desk], kind: Kind, goes_on: bool) -> None:
    desk = Desk({"name": "a"}, {"name": "b"})
    desks.append(desk)
    candidates = desk.router.choose("m", PROMPT)
    call = await candidates.take(TENANT)
    assert candidates.may_go_on(Failure(kind, "test"), call) == goes_on
    call.end()


async def test_what_is_too_large_goes_to_who_takes_more(desks: list[Desk]) -> None:
    desk = Desk({"name": "a", "context_tokens": 200}, {"name": "b", "context_tokens": 200}, {"name": "c"})
    larger = Desk({"name": "a", "context_tokens": 200}, {"name": "b"}, {"name": "c", "context_tokens": 400})
    desks += [desk, larger]
    failure = Failure("too-large", "test")
    candidates = desk.router.choose("m", PROMPT)
    call = await candidates.take(TENANT)
    assert not candidates.may_go_on(failure, call), "nobody is known to take more"
    call.end()
    candidates = larger.router.choose("m", PROMPT)
    call = await candidates.take(TENANT)
    assert candidates.may_go_on(failure, call)
    call.end()
    call = await candidates.take(TENANT)
    assert call.target.title == "c"
    call.end()


async def test_nobody_else_is_asked_when_the_budget_is_spent(desks: list[Desk]) -> None:
    desk = Desk({"name": "a"}, {"name": "b"})
    desks.append(desk)
    went_on = 0
    for _ in range(2 * round(RETRIES_SAVED_MAX)):
        candidates = desk.router.choose("m", PROMPT)
        call = await candidates.take(TENANT)
        call.hear(Delta("content"))  # or the breaker would open first
        went_on += candidates.may_go_on(Failure("broken-stream", "test"), call)
        call.end()
    assert RETRIES_SAVED_MAX <= went_on < 1.2 * RETRIES_SAVED_MAX


async def test_nobody_is_asked_twice_for_one_answer(desks: list[Desk]) -> None:
    desk = Desk({"name": "a"}, {"name": "b"})
    desks.append(desk)
    candidates, failure = desk.router.choose("m", PROMPT), Failure("overloaded", "test")
    titles = []
    for expected in (True, False):
        call = await candidates.take(TENANT)
        titles.append(call.target.title)
        call.hear(Failed(failure))
        call.end()
        assert candidates.may_go_on(failure, call) == expected
    assert titles == ["a", "b"]


async def test_a_model_that_is_not_there_is_said_before_anything_is_done(desks: list[Desk]) -> None:
    desk = Desk({"name": "a"})
    desks.append(desk)
    desk.router.check(None)
    with pytest.raises(NotFound, match="no model other"):
        desk.router.check("other")
