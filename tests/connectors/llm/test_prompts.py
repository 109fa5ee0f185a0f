"""One conversation with every kind of part, in the form of each provider, as bytes on the wire."""

from __future__ import annotations

from base64 import b64encode
from contextlib import aclosing
from typing import Any

import pytest

from connectors.llm import build
from connectors.llm.prompts import Image, Prompt, PromptMessage, Reasoning, Text, ToolCall, ToolResult, ask
from runtime.settings import LlmSettings
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import standing_in

PNG = b"\x89PNG\r\n\x1a\n"
TALK = Prompt(
    "Be brief.",
    (
        PromptMessage("user", (Text("What is this?"), Image("image/png", PNG))),
        PromptMessage(
            "assistant", (Reasoning("Hm.", "c2ln"), Text("I look."), ToolCall("call-1", "find", '{"words":"bus"}'))
        ),
        PromptMessage("user", (ToolResult("call-1", "nothing", failed=True), Text("And now?"))),
    ),
    (),
    100,
)


async def asked(prompt: Prompt, provider: str) -> dict[str, Any]:
    async with standing_in() as server:
        base, start, end = {
            "anthropic": (server.url, recorded.ANTHROPIC_START, recorded.ANTHROPIC_END),
            "openai": (f"{server.url}/v1", recorded.OPENAI_START, recorded.OPENAI_END),
        }[provider]
        server.script = [start, end]
        settings = {"provider": provider, "model": "m", "base_url": base, "api_key": "key"}
        one = build(LlmSettings.model_validate(settings))
        async with aclosing(one.stream(prompt)) as events:
            assert [event async for event in events]
        await one.close()
        (request,) = server.requests
        return request


async def test_anthropic_gets_every_part_in_its_own_form() -> None:
    request = await asked(TALK, "anthropic")
    assert request["system"] == "Be brief."
    assert request["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": b64encode(PNG).decode()},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call-1", "name": "find", "input": {"words": "bus"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call-1", "content": "nothing", "is_error": True},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]


async def test_openai_gets_results_as_messages_and_no_reasoning() -> None:
    request = await asked(TALK, "openai")
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64encode(PNG).decode()}"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "call-1", "type": "function", "function": {"name": "find", "arguments": '{"words":"bus"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call-1", "content": "nothing"},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_one_question_is_one_message(provider: str) -> None:
    request = await asked(ask("", "Why?", (), 100), provider)
    assert [message["role"] for message in request["messages"]] == ["user"]


def test_the_size_counts_words_and_not_the_files_of_pictures() -> None:
    small, large = (
        Prompt("", (PromptMessage("user", (Image("image/png", b"x" * size),)),), (), 1) for size in (1, 9_999_999)
    )
    assert small.size_bytes == large.size_bytes > 0
    assert ask("ab", "ü", (), 1).size_bytes == 4
