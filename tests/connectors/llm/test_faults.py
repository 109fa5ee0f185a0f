"""Everything that can go wrong with an answer, in every dialect: the real clients against the fake provider, which is
told by the name of the model what to do. What is missing here would be taken for a whole answer by somebody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, get_args

import pytest

from connectors.llm import (
    CallBegun,
    CallPiece,
    Delta,
    Done,
    Event,
    Failed,
    Provider,
    Thought,
    Tokens,
    TokenUsage,
    build,
)
from connectors.llm.fake.bills import Bill
from connectors.llm.fake.requests import DialectName
from connectors.llm.fake.scripts import MODEL_PREFIX, MUCH_TOKENS, RETRY_AFTER_S, SCRIPTS, WAITS, FakePace
from connectors.llm.fake.server import FakeLlm, listen
from connectors.llm.prompts import Prompt, PromptMessage, Text, Tool
from runtime.settings import LlmSettings
from tests.patience import PATIENCE_S

CHUNKS = 6
TEXT = "This is what a provider that "
BEGUN = "This is what "
FIND = Tool("find", "Find.", '{"type":"object","properties":{"words":{"type":"string"}},"required":["words"]}')
PROMPT = Prompt("Be brief.", (PromptMessage("user", (Text("Why?"),)),), (), 100, tools=(FIND,))
NEVER_S = 600.0
"""Time-outs that are not what a test is about: the first request of an SDK loads half of it."""

pytestmark = pytest.mark.parametrize("dialect", get_args(DialectName))


@pytest.fixture
async def fake() -> AsyncIterator[FakeLlm]:
    async with listen(FakeLlm("whole", FakePace(chunks=CHUNKS))) as running:
        yield running


def provider(fake: FakeLlm, dialect: str, script: str, **times: float) -> Provider:
    base = f"{fake.url}/v1" if dialect == "openai" else fake.url
    patient = {"first_token_s": NEVER_S, "idle_s": NEVER_S, "total_s": NEVER_S}
    settings: dict[str, Any] = {"provider": dialect, "model": MODEL_PREFIX + script, "base_url": base, "api_key": "key"}
    return build(LlmSettings.model_validate({**settings, **patient, **times}))


async def events_of(asked: Provider) -> list[Event]:
    async with aclosing(asked.stream(PROMPT)) as events:
        found = [event async for event in events]
    await asked.close()
    assert sum(isinstance(event, Done | Failed) for event in found) == 1
    assert isinstance(found[-1], Done | Failed)
    return found


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def usages(events: list[Event]) -> list[TokenUsage]:
    return [event for event in events if isinstance(event, TokenUsage)]


def bill_of(fake: FakeLlm) -> Bill:
    (bill,) = fake.bills.since(0)
    return bill


async def until_asked(fake: FakeLlm) -> None:
    for _ in range(round(PATIENCE_S / 0.01)):
        if fake.bills.since(0):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody asked")


async def ended(fake: FakeLlm) -> Bill:
    """The bill, when the server has seen the end."""
    for _ in range(round(PATIENCE_S / 0.01)):
        if not fake.bills.stats.open:
            break
        await asyncio.sleep(0.01)
    assert not fake.bills.stats.open
    return bill_of(fake)


BROKEN = {
    "cut-first": ("unreachable", ""),
    "cut-headers": ("broken-stream", ""),
    "cut-event": ("broken-stream", "This is "),
    "cut": ("broken-stream", BEGUN),
    "cut-end": ("broken-stream", TEXT),
    "truncate": ("broken-stream", BEGUN),
    "error-first": ("overloaded", ""),
    "error-midway": ("overloaded", BEGUN),
    "garbage": ("not-understood", BEGUN),
}
"""What comes of each script that breaks: the kind of the failure, and the text until then."""
STALLED = {"hang": "", "stall": "", "stall-midway": BEGUN}
REFUSED = {
    "status-400": "refused",
    "status-401": "credential",
    "status-403": "credential",
    "status-404": "not-found",
    "status-413": "too-large",
    "status-429": "rate-limit",
    "status-500": "overloaded",
    "status-503": "overloaded",
    "status-504": "timeout",
    "status-529": "overloaded",
}
LYING = {"little-usage": 1, "much-usage": MUCH_TOKENS}
"""What is said of the tokens of each side."""
WHOLE = ("whole", "drip", "no-usage", "wrong-usage", "absurd-usage", "usage-twice", *LYING)
OTHERS = {"think", "tools", "tools-all", "tools-again", "tools-unknown", "refuse", "endless", "no-end"}
"""Scripts with a test of their own."""


def test_every_script_is_tried(dialect: str) -> None:
    assert set(SCRIPTS) == {*BROKEN, *STALLED, *WHOLE} | OTHERS


@pytest.mark.parametrize("script", BROKEN)
async def test_an_answer_that_breaks_is_no_answer(fake: FakeLlm, dialect: str, script: str) -> None:
    kind, text = BROKEN[script]
    events = await events_of(provider(fake, dialect, script))
    assert isinstance(events[-1], Failed)
    assert (events[-1].failure.kind, text_of(events)) == (kind, text)
    assert len(fake.bills.since(0)) == 1, "the caller tries again"


@pytest.mark.parametrize("script", STALLED)
async def test_silence_ends_and_closes_the_connection(fake: FakeLlm, dialect: str, script: str) -> None:
    waits = {"idle_s": 1.0} if STALLED[script] else {"first_token_s": 0.3 if script == "hang" else 2.0}
    events = await events_of(provider(fake, dialect, script, **waits))
    assert isinstance(events[-1], Failed)
    assert (events[-1].failure.kind, text_of(events)) == ("timeout", STALLED[script])
    if fake.bills.since(0):  # an SDK can take longer to begin than a short time-out has
        assert (await ended(fake)).outcome == "client-gone"


@pytest.mark.parametrize("script", REFUSED)
async def test_a_refusal_has_its_kind(fake: FakeLlm, dialect: str, script: str) -> None:
    events = await events_of(provider(fake, dialect, script))
    (last,) = events
    assert isinstance(last, Failed)
    assert (last.failure.kind, last.failure.status) == (REFUSED[script], int(script[-3:]))
    assert bill_of(fake).cost_micro_usd == 0


@pytest.mark.parametrize("script", WAITS)
async def test_what_a_refusal_asks_to_wait_is_read_wherever_it_is(fake: FakeLlm, dialect: str, script: str) -> None:
    (last,) = await events_of(provider(fake, dialect, script))
    assert isinstance(last, Failed)
    waits = None if script == "rate-limit" else RETRY_AFTER_S
    assert (last.failure.kind, last.failure.retry_after_s) == ("rate-limit", waits)


@pytest.mark.parametrize("script", WHOLE)
async def test_what_is_said_of_usage_breaks_no_answer(fake: FakeLlm, dialect: str, script: str) -> None:
    events = await events_of(provider(fake, dialect, script))
    assert (events[-1], text_of(events)) == (Done("stop"), TEXT)
    counted = [usage.tokens for usage in usages(events) if usage.complete]
    bill = bill_of(fake)
    if script in ("no-usage", "absurd-usage"):
        assert counted == [], "nobody has counted: the ledger estimates"
    elif script == "wrong-usage":
        read = {"anthropic": 2 * bill.input_tokens}.get(dialect, bill.input_tokens)
        assert [(each.input_uncached, each.cache_read) for each in counted] == [(0, read)]
        assert min(min(each.output_visible, each.reasoning) for each in counted) == 0
    elif script in LYING:
        assert counted[-1] == Tokens(input_uncached=LYING[script], output_visible=LYING[script]), "it is for the books"
    elif script == "usage-twice":
        assert {*counted} == {Tokens(input_uncached=bill.input_tokens, output_visible=CHUNKS)}
    else:
        assert counted == [Tokens(input_uncached=bill.input_tokens, output_visible=CHUNKS)]
        assert (bill.outcome, bill.output_tokens) == ("sent", CHUNKS)


async def test_the_end_is_an_event_but_for_gemini(fake: FakeLlm, dialect: str) -> None:
    """Gemini's last event is the one with the reason, so the same bytes are a whole answer there."""
    events = await events_of(provider(fake, dialect, "no-end"))
    assert text_of(events) == TEXT
    if dialect == "gemini":
        assert events[-1] == Done("stop")
    else:
        assert isinstance(events[-1], Failed)
        assert events[-1].failure.kind == "broken-stream"


async def test_thoughts_come_before_words(fake: FakeLlm, dialect: str) -> None:
    events = await events_of(provider(fake, dialect, "think"))
    content = [event for event in events if isinstance(event, Thought | Delta)]
    thoughts = [event for event in content if isinstance(event, Thought)]
    assert content[: len(thoughts)] == thoughts
    assert "".join(event.text for event in thoughts) == "Somebody asks. What do I say?"
    assert [event.signature for event in thoughts if event.signature] == (["ZmFrZQ=="] * (dialect == "anthropic"))
    assert (events[-1], text_of(events)) == (Done("stop"), TEXT)
    counted = usages(events)[-1].tokens
    assert counted.output_visible + counted.reasoning == bill_of(fake).output_tokens == CHUNKS + 2
    assert counted.reasoning == (0 if dialect == "anthropic" else 2)


async def test_a_call_comes_in_pieces(fake: FakeLlm, dialect: str) -> None:
    events = await events_of(provider(fake, dialect, "tools"))
    (begun,) = [event for event in events if isinstance(event, CallBegun)]
    assert (begun.index, begun.name, bool(begun.call_id)) == (0, "find", True)
    pieces = [event for event in events if isinstance(event, CallPiece)]
    assert {piece.index for piece in pieces} == {0}
    assert "".join(piece.arguments for piece in pieces) == '{"words":"fake"}'
    assert events[-1] == Done("tool-calls")


async def test_a_model_that_refuses_says_so(fake: FakeLlm, dialect: str) -> None:
    events = await events_of(provider(fake, dialect, "refuse"))
    assert (events[-1], text_of(events)) == (Done("refused"), BEGUN)


async def test_an_answer_without_an_end_is_ended(fake: FakeLlm, dialect: str) -> None:
    events = await events_of(provider(fake, dialect, "endless", total_s=2.0))
    assert isinstance(events[-1], Failed)
    assert events[-1].failure.kind == "timeout"
    if fake.bills.since(0):
        assert (await ended(fake)).outcome == "client-gone"


@pytest.mark.parametrize("script", ["stall", "stall-midway", "endless"])
async def test_closing_closes_the_connection_and_ends_the_bill(fake: FakeLlm, dialect: str, script: str) -> None:
    asked = provider(fake, dialect, script)
    events = asked.stream(PROMPT)

    async def read() -> Event:
        return await anext(events)

    reading = asyncio.create_task(read())
    if script == "stall":  # Gemini says nothing before the first text
        await until_asked(fake)
    else:
        await asyncio.wait_for(reading, PATIENCE_S)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await events.aclose()
    bill = await ended(fake)
    assert (bill.outcome, bill.client_gone_at) == ("client-gone", bill.ended_at)
    assert bill.input_tokens > 0
    await asked.close()
