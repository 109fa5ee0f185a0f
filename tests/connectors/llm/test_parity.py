"""What we make of a provider's bytes is what its own SDK makes of them: text, thoughts, calls, end and usage.

The streams in `fixtures` have the documented forms, odd ones included. Where the bytes are cut does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import anthropic
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.llm import CallBegun, CallPiece, Delta, Done, Event, Thought, Tokens, TokenUsage, build
from connectors.llm.anthropic import AnthropicDecoder
from connectors.llm.openai import OpenAIDecoder
from connectors.llm.prompts import ask
from connectors.llm.remote import AnswerDecoder
from connectors.llm.sse import SseDecoder
from runtime.settings import LlmSettings
from tests.connectors.llm.stand_in import StandIn, standing_in

FIXTURES = {path.stem: path.read_bytes() for path in sorted((Path(__file__).parent / "fixtures").glob("*.sse"))}
CUTS_MAX = 12


class Read(msgspec.Struct):
    """What a stream comes to."""

    model: str
    finish: str
    tokens: Tokens
    text: str = ""
    thoughts: list[tuple[str, str]] = []
    calls: list[tuple[str, str, str]] = []


def of(provider: str) -> list[str]:
    return [name for name in FIXTURES if name.startswith(provider)]


def read_events(events: Sequence[Event]) -> Read:
    done = events[-1]
    assert isinstance(done, Done)
    usage = [event for event in events if isinstance(event, TokenUsage)][-1]
    assert usage.complete
    pieces = [event for event in events if isinstance(event, CallPiece)]
    thoughts = [event for event in events if isinstance(event, Thought)]
    joined = ("".join(event.text for event in thoughts), "".join(event.signature for event in thoughts))
    return Read(
        model=getattr(events[0], "model", ""),
        finish=done.finish,
        tokens=usage.tokens,
        text="".join(event.text for event in events if isinstance(event, Delta)),
        thoughts=[joined] if thoughts else [],
        calls=[
            (begun.call_id, begun.name, "".join(piece.arguments for piece in pieces if piece.index == begun.index))
            for begun in events
            if isinstance(begun, CallBegun)
        ],
    )


async def read_by_us(server: StandIn, provider: str) -> Read:
    base = f"{server.url}/v1" if provider == "openai" else server.url
    settings = {"provider": provider, "model": "m", "base_url": base, "api_key": "key"}
    ours = build(LlmSettings.model_validate(settings))
    async with aclosing(ours.stream(ask("", "Why?", (), 100))) as events:
        found = [event async for event in events]
    await ours.close()
    return read_events(found)


@pytest.mark.parametrize("name", of("openai"))
async def test_openai(name: str) -> None:
    async with standing_in() as server:
        server.script = [FIXTURES[name]]
        async with (
            openai.AsyncOpenAI(api_key="key", base_url=f"{server.url}/v1", max_retries=0) as client,
            client.chat.completions.stream(
                model="m", messages=[{"role": "user", "content": "Why?"}], stream_options={"include_usage": True}
            ) as stream,
        ):
            async for _ in stream:
                pass
            final = stream.current_completion_snapshot
        ours = await read_by_us(server, "openai")
    (choice,) = final.choices
    usage = final.usage
    assert usage
    assert usage.prompt_tokens_details
    assert usage.completion_tokens_details
    cached = usage.prompt_tokens_details.cached_tokens or 0
    reasoning = usage.completion_tokens_details.reasoning_tokens or 0
    said = choice.message
    finish = {"tool_calls": "tool-calls"}.get(choice.finish_reason, choice.finish_reason)
    assert ours == Read(
        model=final.model,
        finish="refused" if said.refusal else finish,
        tokens=Tokens(
            input_uncached=usage.prompt_tokens - cached,
            cache_read=cached,
            output_visible=usage.completion_tokens - reasoning,
            reasoning=reasoning,
        ),
        text=said.content or said.refusal or "",
        calls=[(call.id, call.function.name, call.function.arguments) for call in said.tool_calls or ()],
    )
    assert ours.tokens.total == usage.total_tokens


@pytest.mark.parametrize("name", of("anthropic"))
async def test_anthropic(name: str) -> None:
    async with standing_in() as server:
        server.script = [FIXTURES[name]]
        async with (
            anthropic.AsyncAnthropic(api_key="key", base_url=server.url, max_retries=0) as client,
            client.messages.stream(model="m", messages=[{"role": "user", "content": "Why?"}], max_tokens=100) as stream,
        ):
            final = await stream.get_final_message()
        ours = await read_by_us(server, "anthropic")
    usage = final.usage
    written = usage.cache_creation
    assert written
    calls = [block for block in final.content if block.type == "tool_use"]
    assert [msgspec.json.decode(call[2]) for call in ours.calls] == [block.input for block in calls]
    finish = {"tool_use": "tool-calls", "max_tokens": "length", "refusal": "refused"}
    assert ours == Read(
        model=final.model,
        finish=finish.get(final.stop_reason or "", "stop"),
        tokens=Tokens(
            input_uncached=usage.input_tokens,
            cache_read=usage.cache_read_input_tokens or 0,
            cache_write_5m=written.ephemeral_5m_input_tokens,
            cache_write_1h=written.ephemeral_1h_input_tokens,
            output_visible=usage.output_tokens,
        ),
        text="".join(block.text for block in final.content if block.type == "text"),
        thoughts=[(block.thinking, block.signature) for block in final.content if block.type == "thinking"],
        calls=[(block.id, block.name, call[2]) for block, call in zip(calls, ours.calls, strict=True)],
    )


@given(st.sampled_from([*FIXTURES]), st.lists(st.integers(0, 4_000), max_size=CUTS_MAX))
def test_where_the_bytes_are_cut_does_not_matter(name: str, cuts: list[int]) -> None:
    whole = FIXTURES[name]

    def decode(parts: list[bytes]) -> list[Event]:
        decoder: AnswerDecoder = OpenAIDecoder() if name.startswith("openai") else AnthropicDecoder()
        lines = SseDecoder()
        return [event for part in parts for line in lines.feed(part) for event in decoder.decode(line)]

    bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    cut = [whole[start:end] for start, end in pairwise(bounds)]
    assert decode(cut) == decode([whole])
