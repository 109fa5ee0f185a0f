"""The breaker on a clock that the test moves: hours in milliseconds, and any order of events."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.llm.failures import Failure, Kind
from connectors.llm.routing.breaker import (
    CONSECUTIVE_MAX,
    COOLDOWN_S,
    COOLDOWN_S_MAX,
    FAILING,
    OF_ACCOUNT,
    PROBES_MAX,
    QUOTA_S,
    RATE_LIMIT_S_MAX,
    SAMPLES_MIN,
    STANDING,
    WINDOW_S,
    Breaker,
    Permit,
)
from runtime.clock import ManualClock

OVERLOADED = Failure("overloaded", "test")


def made(jitter: float = 0.0) -> tuple[Breaker, ManualClock]:
    clock = ManualClock()
    return Breaker(clock, lambda: jitter), clock


def state(breaker: Breaker) -> str:
    """What it is now; a property would be taken for what it was."""
    return breaker.state


def admit(breaker: Breaker) -> Permit:
    permit = breaker.admit()
    assert permit
    return permit


def fail(breaker: Breaker, kind: Kind = "overloaded", retry_after_s: float | None = None) -> None:
    admit(breaker).fail(Failure(kind, "test", retry_after_s=retry_after_s))


def open_up(breaker: Breaker) -> None:
    for _ in range(CONSECUTIVE_MAX):
        fail(breaker)
    assert state(breaker) == "open"


def test_failures_in_a_row_open_it_however_slowly_they_come() -> None:
    breaker, clock = made()
    for _ in range(CONSECUTIVE_MAX):
        assert state(breaker) == "closed"
        fail(breaker)
        clock.sleep(WINDOW_S * 10)
    assert breaker.failed_at_s == WINDOW_S * 10 * (CONSECUTIVE_MAX - 1)


def test_a_share_of_failures_opens_it_once_there_are_samples() -> None:
    breaker, _ = made()
    for number in range(SAMPLES_MIN):
        assert state(breaker) == "closed", f"{number} samples say nothing"
        if number % 2:
            fail(breaker)
        else:
            admit(breaker).note_content()
    assert state(breaker) == "open"


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker, clock = made()
    for _ in range(CONSECUTIVE_MAX - 1):
        fail(breaker)
    clock.sleep(WINDOW_S + 1)
    for _ in range(SAMPLES_MIN):
        admit(breaker).note_content()
    fail(breaker)
    assert state(breaker) == "closed"


def test_an_open_one_asks_nobody_until_its_cooldown_is_over() -> None:
    breaker, clock = made()
    open_up(breaker)
    assert breaker.admit() is None
    assert breaker.wait_s == COOLDOWN_S
    clock.sleep(COOLDOWN_S - 0.001)
    assert breaker.admit() is None
    clock.sleep(0.001)
    assert state(breaker) == "half-open"


def test_only_the_probes_are_asked_and_all_of_them_must_get_content() -> None:
    breaker, clock = made()
    open_up(breaker)
    clock.sleep(COOLDOWN_S)
    probes = [admit(breaker) for _ in range(PROBES_MAX)]
    assert breaker.admit() is None
    for probe in probes[:-1]:
        probe.note_content()
        assert state(breaker) == "half-open"
        assert breaker.admit() is None, "a probe that succeeded is not asked again"
    probes[-1].note_content()
    assert state(breaker) == "closed"
    fail(breaker)
    assert state(breaker) == "closed", "what was before is forgotten"


def test_a_probe_that_says_nothing_gives_its_place_to_another() -> None:
    breaker, clock = made()
    open_up(breaker)
    clock.sleep(COOLDOWN_S)
    probes = [admit(breaker) for _ in range(PROBES_MAX)]
    probes[0].release()
    probes[0].release()
    admit(breaker)
    assert breaker.admit() is None


def test_cooldowns_double_up_to_their_bound_and_begin_anew_when_it_is_well() -> None:
    breaker, clock = made()
    open_up(breaker)
    waits = []
    for _ in range(8):
        waits.append(breaker.wait_s)
        clock.sleep(breaker.wait_s)
        fail(breaker)
    assert waits == [min(COOLDOWN_S_MAX, COOLDOWN_S * 2**number) for number in range(8)]
    clock.sleep(breaker.wait_s)
    for _ in range(PROBES_MAX):
        admit(breaker).note_content()
    open_up(breaker)
    assert breaker.wait_s == COOLDOWN_S


def test_processes_do_not_return_together() -> None:
    early, _ = made(jitter=0.999)
    late, _ = made(jitter=0.0)
    open_up(early)
    open_up(late)
    assert COOLDOWN_S * 0.75 < early.wait_s < late.wait_s == COOLDOWN_S


def test_a_rate_limit_is_no_failure_and_blocks_for_as_long_as_it_says() -> None:
    breaker, clock = made()
    for _ in range(SAMPLES_MIN * 2):
        fail(breaker, "rate-limit", retry_after_s=7.0)
        assert state(breaker) == "closed"
        assert breaker.admit() is None
        assert breaker.force() is None, "not even when nobody else is left"
        assert breaker.wait_s == 7.0
        clock.sleep(7.0)
    fail(breaker, "rate-limit", retry_after_s=1e9)
    assert breaker.wait_s == RATE_LIMIT_S_MAX


@pytest.mark.parametrize("kind", sorted(STANDING))
def test_what_does_not_pass_stays_open(kind: Kind) -> None:
    breaker, clock = made()
    fail(breaker, kind)
    clock.sleep(86_400.0)
    assert state(breaker) == "open"
    assert breaker.admit() is None
    forced = breaker.force()
    assert forced, "somebody may have mended it, and nobody else is left"
    assert state(breaker) == "half-open"
    forced.fail(Failure(kind, "test"))
    clock.sleep(86_400.0)
    assert state(breaker) == "open"


def test_an_account_without_money_is_left_alone_for_longer() -> None:
    breaker, _ = made()
    fail(breaker, "quota")
    assert breaker.wait_s == QUOTA_S


def test_what_another_endpoint_of_the_account_met_counts_here() -> None:
    breaker, clock = made()
    breaker.share(Failure("credential", "test"))
    clock.sleep(86_400.0)
    assert state(breaker) == "open"


def test_what_was_asked_before_it_opened_changes_nothing_afterwards() -> None:
    breaker, clock = made()
    early = [admit(breaker) for _ in range(4)]
    open_up(breaker)
    early[0].note_content()
    assert state(breaker) == "open"
    clock.sleep(COOLDOWN_S)
    probe = admit(breaker)
    early[1].fail(OVERLOADED)
    early[2].note_content()
    early[3].release()
    assert state(breaker) == "half-open"
    assert breaker.admit(), "the places of probes are those of probes"
    assert breaker.admit() is None
    probe.fail(OVERLOADED)
    assert state(breaker) == "open"


def test_an_answer_that_breaks_off_counts_after_its_content() -> None:
    breaker, _ = made()
    for _ in range(SAMPLES_MIN):
        permit = breaker.admit()
        if permit:
            permit.note_content()
            permit.fail(Failure("broken-stream", "test"))
    assert state(breaker) == "open"


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_has_a_meaning(kind: Kind) -> None:
    """Exactly the kinds of the caller and of the request count as nothing."""
    breaker, _ = made()
    for _ in range(SAMPLES_MIN * 2):
        if permit := breaker.admit():
            permit.fail(Failure(kind, "test"))
    nothing = state(breaker) == "closed" and not breaker.blocked_s
    assert nothing == (kind in {"refused", "too-large", "ours"})
    assert (state(breaker) == "open") == (kind in FAILING | STANDING | OF_ACCOUNT)


@given(st.integers(0, 2**32), st.lists(st.sampled_from(["ask", "good", "bad", "gone", "limit", "wait", "force"])))
def test_in_any_order_probes_are_bounded_and_it_always_heals(seed: int, steps: list[str]) -> None:
    chance = random.Random(seed)
    clock = ManualClock()
    breaker = Breaker(clock, chance.random)
    held: list[Permit] = []
    for step in steps:
        before = state(breaker)
        if step == "wait":
            clock.sleep(chance.random() * 20)
        elif step in ("ask", "force"):
            permit = breaker.admit() if step == "ask" else breaker.force()
            if before == "open" and step == "ask":
                assert permit is None
            held += [permit] if permit else []
        elif held:
            permit = held.pop(chance.randrange(len(held)))
            if step == "good":
                permit.note_content()
            elif step == "gone":
                permit.release()
            else:
                permit.fail(Failure("rate-limit" if step == "limit" else "overloaded", "test"))
    for permit in held:
        permit.release()
    clock.sleep(COOLDOWN_S_MAX + RATE_LIMIT_S_MAX)
    for _ in range(PROBES_MAX):
        admit(breaker).note_content()
    assert state(breaker) == "closed"
