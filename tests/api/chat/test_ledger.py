"""What one attempt used, and who says so."""

from __future__ import annotations

from api.chat.ledger import Attempt, Meter
from connectors.llm import Tokens, TokenUsage
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
    assert entry.cost_micro_usd is None
