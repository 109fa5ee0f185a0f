"""What is sent to a provider is what its own SDK would send: the address, the proof, the version, the body.

The product makes its requests by itself; the SDKs, which the lock keeps new, say here what is right.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import anthropic
import msgspec
import openai
import pytest

from connectors.llm import build
from connectors.llm.prompts import (
    Choosing,
    Form,
    Image,
    Prompt,
    PromptMessage,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    ask,
)
from runtime.settings import LlmSettings
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import standing_in

KEY = "key-1"
PROOF = ("authorization", "x-api-key", "anthropic-version", "content-type")
SCHEMA = '{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}'
TOOL = Tool("search", "Searches.", SCHEMA)
IMAGE = Image("image/png", b"\x89PNG")
LONG = Prompt(
    system="Be brief.",
    messages=(
        PromptMessage("user", (Text("What is this?"), IMAGE)),
        PromptMessage("assistant", (Text("I look."), ToolCall("call-1", "search", '{"a":"x"}'))),
        PromptMessage("user", (ToolResult("call-1", "found"), Text("Well?"))),
    ),
    passages=(),
    output_tokens_max=77,
    tools=(TOOL,),
    choosing=Choosing("named", "search"),
    sampling=Sampling(temperature=0.5, top_p=0.9, stop=("END",)),
    user="pseudonym-1",
)
PROMPTS = {
    "a question": ask("", "Why?", (), 5),
    "a conversation with tools": LONG,
    "an answer in a form": msgspec.structs.replace(LONG, form=Form("shape", SCHEMA), tools=(), choosing=Choosing()),
}


def _parse(body: Any) -> Any:
    """The arguments of an SDK's method from a body: what it has no name for goes beside."""
    unnamed = {name: body.pop(name) for name in ("temperature", "top_p") if name in body}
    return {**body, "extra_body": unnamed}


async def ask_openai(url: str, body: dict[str, Any]) -> None:
    sdk = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    async with sdk.chat.completions.with_streaming_response.create(**body) as response:
        await response.read()
    await sdk.close()


async def ask_anthropic(url: str, body: dict[str, Any]) -> None:
    sdk = anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0)
    async with sdk.messages.with_streaming_response.create(**_parse(body)) as response:
        await response.read()
    await sdk.close()


SDKS = {
    "openai": (ask_openai, [recorded.OPENAI_START, recorded.openai_text("x"), recorded.OPENAI_END]),
    "anthropic": (ask_anthropic, [recorded.ANTHROPIC_START, recorded.anthropic_text("x"), recorded.ANTHROPIC_END]),
}


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("provider", SDKS)
async def test_a_request_is_the_one_that_the_sdk_makes(provider: str, name: str) -> None:
    """The body is taken by the SDK's own method, so a field that it does not know would be refused there."""
    ask, script = SDKS[provider]
    async with standing_in() as server:
        server.script = script
        base = f"{server.url}/v1" if provider == "openai" else server.url
        ours = build(LlmSettings.model_validate({"provider": provider, "model": "m", "base_url": base, "api_key": KEY}))
        async with aclosing(ours.stream(PROMPTS[name])) as events:
            assert [event async for event in events]
        await ours.close()
        (sent,) = server.requests
        await ask(server.url, {key: value for key, value in sent.items() if key != "path"})
        _, theirs = server.requests
        seen, wanted = ({key: each.get(key) for key in PROOF} for each in server.seen_headers)
    assert sent == theirs
    assert seen == wanted
