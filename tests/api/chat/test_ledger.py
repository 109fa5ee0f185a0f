"""What one attempt used, and who says so."""

from __future__ import annotations

from datetime import date

import pytest

from api.chat.ledger import INPUT_TOKENS_ADDED_MAX, Attempt, Meter
from connectors.llm import Tokens, TokenUsage
from connectors.llm.prices import Price, Rates
from runtime.clock import ManualClock
from runtime.ids import new_id

ATTEMPT = Attempt(new_id(), new_id(), new_id(), new_id(), "request", "/v1/chat/stream")
READ = Tokens(input_uncached=25, cache_read=1000, output_visible=1)


def meter(clock: ManualClock | None = None) -> Meter:
    made = Meter("test", "model", clock or ManualClock(), prompt_bytes=401, output_tokens_max=100)
    made.ask()
    return made


def test_the_providers_count_stands_as_it_is_also_when_it_is_zero() -> None:
    measured = meter()
    measured.text("some text")
    measured.usage(TokenUsage(Tokens(), complete=True))
    assert measured.measure() == (Tokens(), "provider", 0)


def test_the_input_of_a_cut_answer_is_the_providers_and_the_output_is_ours() -> None:
    measured = meter()
    measured.usage(TokenUsage(READ, complete=False))
    measured.text("x" * 41)
    assert measured.measure() == (Tokens(input_uncached=25, cache_read=1000, output_visible=11), "partial", 89)


def test_what_nobody_counted_is_estimated_by_the_bytes() -> None:
    measured = meter()
    measured.text("ü" * 4)
    assert measured.measure() == (Tokens(input_uncached=101, output_visible=2), "estimated", 300 + 98)


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (Tokens(output_visible=10**9), Tokens(output_visible=100)),
        (Tokens(output_visible=90, reasoning=90), Tokens(output_visible=90, reasoning=10)),
        (Tokens(input_uncached=10**9), Tokens(input_uncached=401 + INPUT_TOKENS_ADDED_MAX)),
        (Tokens(401, 10**6, 5, 5), Tokens(401, INPUT_TOKENS_ADDED_MAX)),
    ],
)
@pytest.mark.parametrize("complete", [True, False])
def test_what_a_provider_cannot_have_used_moves_no_budget_and_is_said(
    told: Tokens, believed: Tokens, complete: bool
) -> None:
    measured = priced()
    measured.usage(TokenUsage(told, complete=complete))
    spent = measured.measure()
    assert (spent.tokens, spent.source) == (believed, "partial")
    charge = measured.charge(spent)
    assert charge.cost_micro_usd == PRICE.cost(believed)
    if complete:
        assert spent.unseen_tokens_max == told.total - believed.total
        assert charge.unseen_cost_max_micro_usd is not None
        assert PRICE.cost(believed) + charge.unseen_cost_max_micro_usd >= PRICE.cost(told)


def test_what_was_written_beyond_the_bound_is_believed() -> None:
    measured = priced()
    measured.text("x" * 4 * 150)
    measured.usage(TokenUsage(Tokens(output_visible=150), complete=True))
    assert measured.measure() == (Tokens(output_visible=150), "provider", 0)


def test_what_was_never_asked_used_nothing() -> None:
    never = Meter("test", "model", ManualClock(), prompt_bytes=401, output_tokens_max=100)
    assert never.measure() == (Tokens(), "estimated", 0)


def test_the_first_token_is_timed_once() -> None:
    clock = ManualClock()
    measured = meter(clock)
    assert measured.first_token_ms is None
    clock.sleep(0.25)
    measured.text("a")
    clock.sleep(1)
    measured.text("b")
    entry = measured.entry(ATTEMPT, "completed", "")
    assert entry.first_token_ms == 250
    assert (entry.finished_at - entry.started_at).total_seconds() == 1.25
    assert entry.charge == (None, None, None), "without a price nothing is said, and not zero"


DAY = date(2026, 1, 1)
PRICE = Price(
    "test", "model", DAY, "made up", DAY, Rates(1_000_000, 100_000, 1_000_000, 3_000_000, 5_000_000, 7_000_000)
)


def priced(*, asked: bool = True) -> Meter:
    made = Meter("test", "model", ManualClock(), prompt_bytes=401, output_tokens_max=100, price=PRICE)
    if asked:
        made.ask()
    return made


def test_a_cost_is_of_the_tokens_and_what_nobody_saw_is_as_dear_as_it_can_be() -> None:
    measured = priced()
    assert measured.charge(measured.measure()) == (PRICE.price_id, 101, 401 * 3 + 100 * 7 - 101)
    measured.usage(TokenUsage(READ, complete=False))
    measured.text("x" * 41)
    # Its input is counted: only what it may have written beside the 11 tokens is not known.
    assert measured.charge(measured.measure()) == (PRICE.price_id, 25 + 100 + 11 * 5, 89 * 7)
    measured.usage(TokenUsage(READ, complete=True))
    assert measured.charge(measured.measure()) == (PRICE.price_id, 25 + 100 + 5, 0)


def test_what_was_never_asked_costs_nothing() -> None:
    never = priced(asked=False)
    assert never.entry(ATTEMPT, "failed", "budget-exceeded").charge == (PRICE.price_id, 0, 0)


def test_the_price_is_that_of_the_model_asked_for() -> None:
    measured = priced()
    measured.model = "another-name"
    assert measured.entry(ATTEMPT, "completed", "").charge.price_id == PRICE.price_id
