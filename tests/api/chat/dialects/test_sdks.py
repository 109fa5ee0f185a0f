"""The SDKs of OpenAI and Anthropic, unchanged, against the server that runs in production: streams and whole answers,
tools and forms, errors as the exceptions that they are, and callers who leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from connectors.embedders.spaces import MODEL as EMBEDDER
from runtime.settings import Settings
from tests.api.chat.test_connections import furnished, outcomes
from tests.api.search.corpus import Corpus
from tests.api.test_server import client, serving
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import SILENT_S, StandIn, standing_in
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.stack

MODEL = "gpt-test-1"
QUESTION: Any = [{"role": "user", "content": "Why no dual write?"}]
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WHOLE = [recorded.OPENAI_START, recorded.openai_text("It "), recorded.openai_text("fails [1]."), recorded.OPENAI_END]
HALF = [recorded.OPENAI_START, recorded.openai_text("Half of it"), recorded.OPENAI_ERROR]


class City(BaseModel):
    """The form of an answer."""

    city: str


def call_piece(**more: Any) -> bytes:
    return recorded.openai_chunk({"tool_calls": [{"index": 0, **more}]})


CALLING = [
    recorded.OPENAI_START,
    call_piece(id="call_1", type="function", function={"name": "weather", "arguments": ""}),
    call_piece(function={"arguments": '{"city":'}),
    call_piece(function={"arguments": '"Split"}'}),
    recorded.OPENAI_END.replace(b'"finish_reason": "stop"', b'"finish_reason": "tool_calls"'),
]


@asynccontextmanager
async def server_of(
    settings: Settings, corpus: Corpus, folder: Path, *, questions_max: int
) -> AsyncIterator[tuple[StandIn, str, str]]:
    """The provider behind the server, the server's address, and a token that is good for as many questions."""
    tenant = await furnished(settings, corpus)
    async with standing_in() as provider:
        variables = {
            "ADRIATIC_LLM__PROVIDER": "openai",
            "ADRIATIC_LLM__MODEL": MODEL,
            "ADRIATIC_LLM__BASE_URL": f"{provider.url}/v1",
            "ADRIATIC_LIMITS__NEW_USER_REQUESTS": str(questions_max),
        }
        with serving(settings, folder, **variables) as server:
            async with client(server, settings, tenant) as caller:
                yield provider, server.url, caller.token
            assert server.stop() == 0
            assert not [line for line in server.lines() if line["message"] == "unexpected exception"]


def refuse(provider: StandIn, status: int, code: str, **headers: str) -> None:
    provider.status, provider.headers = status, headers
    provider.body = {"error": {"message": f"because of {code}", "type": code, "code": code}}


async def test_openais_sdk(fresh_database: Settings, corpus: Corpus, tmp_path: Path) -> None:
    async with server_of(fresh_database, corpus, tmp_path, questions_max=16) as (provider, url, token):
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=token, max_retries=0) as sdk:
            await read_openai(sdk, provider)
            await call_openai(sdk, provider)
            await respond_openai(sdk, provider)
            await fail_openai(sdk, provider)
            await leave(provider, await sdk.chat.completions.create(model=MODEL, messages=QUESTION, stream=True))
            with pytest.raises(openai.RateLimitError, match="24 hours") as used_up:
                await sdk.chat.completions.create(model="adriatic", messages=QUESTION)
            assert used_up.value.response.headers["retry-after"]
        told = await outcomes(fresh_database, 17)
        assert sorted(told) == ["cancelled", *["completed"] * 8, *["failed"] * 8]


async def read_openai(sdk: openai.AsyncOpenAI, provider: StandIn) -> None:
    assert [model.id async for model in sdk.models.list()] == ["adriatic", MODEL, EMBEDDER]
    assert (await sdk.models.retrieve(MODEL)).owned_by == "adriatic"
    provider.script = WHOLE
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "It fails [1]."
    assert (chunks[-1].choices[0].finish_reason, last.choices) == ("stop", [])
    assert last.usage
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (1325, 40)
    assert provider.requests[-1]["messages"] == QUESTION, "it went to the model as it stands"

    provider.script = [recorded.OPENAI_START, recorded.openai_text("It fails [1], [7]."), recorded.OPENAI_END]
    answer = await sdk.chat.completions.create(model="adriatic", messages=QUESTION)
    assert answer.choices[0].message.content == "It fails [1],."
    more = answer.to_dict()
    assert more["citations"] == {"cited": [1], "unsupported": [7]}
    assert more["sources"][0]["title"] == "Nobody writes twice"  # type: ignore[index]
    assert "A dual write fails." in provider.requests[-1]["messages"][1]["content"]


async def call_openai(sdk: openai.AsyncOpenAI, provider: StandIn) -> None:
    provider.script = CALLING
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS, "strict": True}}]
    async with sdk.chat.completions.stream(model=MODEL, messages=QUESTION, tools=tools) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.tool_calls
    (call,) = final.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.parsed_arguments) == ("call_1", "weather", {"city": "Split"})
    assert final.choices[0].finish_reason == "tool_calls"
    assert provider.requests[-1]["tools"][0]["function"]["parameters"] == PARAMETERS

    provider.script = WHOLE
    turns: Any = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [call.to_dict()]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."},
    ]
    await sdk.chat.completions.create(model=MODEL, messages=turns, tools=tools)
    assert [message["role"] for message in provider.requests[-1]["messages"]] == ["user", "assistant", "tool"]

    provider.script = [recorded.OPENAI_START, recorded.openai_text('{"city":"Split"}'), recorded.OPENAI_END]
    parsed = await sdk.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=City)
    assert parsed.choices[0].message.parsed == City(city="Split")
    assert provider.requests[-1]["response_format"]["json_schema"]["schema"]["required"] == ["city"]


async def respond_openai(sdk: openai.AsyncOpenAI, provider: StandIn) -> None:
    provider.script = CALLING
    tool: Any = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
    async with sdk.responses.stream(model=MODEL, input="Why no dual write?", tools=[tool]) as stream:
        final = await stream.get_final_response()
    (call,) = final.output
    assert call.type == "function_call"
    assert (call.call_id, call.name, call.parsed_arguments) == ("call_1", "weather", {"city": "Split"})

    provider.script = WHOLE
    result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "Sunny."}
    turns: Any = [*QUESTION, call.to_dict(exclude_none=True), result]
    answer = await sdk.responses.create(model=MODEL, input=turns, tools=[tool])
    assert (answer.output_text, answer.status) == ("It fails [1].", "completed")
    assert answer.usage
    assert (answer.usage.input_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (1325, 25)
    assert [message["role"] for message in provider.requests[-1]["messages"]] == ["user", "assistant", "tool"]
    grounded = await sdk.responses.create(model="adriatic", input="Why no dual write?")
    assert grounded.to_dict()["citations"] == {"cited": [1], "unsupported": []}

    provider.script = HALF
    read: list[Any] = []
    with pytest.raises(openai.APIError, match="had an error"):
        await read_into(read, await sdk.responses.create(model=MODEL, input="x", stream=True))
    assert read[-1].type == "response.output_text.delta"
    with pytest.raises(openai.InternalServerError):
        await sdk.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.BadRequestError) as kept:
        await sdk.responses.create(model=MODEL, input="x", previous_response_id="resp_1")
    assert kept.value.param == "previous_response_id"


async def fail_openai(sdk: openai.AsyncOpenAI, provider: StandIn) -> None:
    create = sdk.chat.completions.create
    asked = len(provider.requests)
    with pytest.raises(openai.NotFoundError) as unknown:
        await create(model="nope", messages=QUESTION)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        await create(model=MODEL, messages=QUESTION, n=2)
    assert wrong.value.param == "n"
    with pytest.raises(openai.AuthenticationError) as stranger:
        await sdk.with_options(api_key="x.y.z").chat.completions.create(model=MODEL, messages=QUESTION)
    assert stranger.value.code == "invalid_api_key"
    assert len(provider.requests) == asked

    refuse(provider, 429, "rate_limit_exceeded", **{"retry-after": "1"})
    with pytest.raises(openai.RateLimitError) as limited:
        await create(model=MODEL, messages=QUESTION, stream=True)
    assert limited.value.response.headers["retry-after"] == "1"
    await asyncio.sleep(1.1)  # nobody asks the provider before that
    refuse(provider, 400, "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="because of invalid_request_error"):
        await create(model=MODEL, messages=QUESTION)
    refuse(provider, 500, "server_error")
    with pytest.raises(openai.InternalServerError) as away:
        await create(model=MODEL, messages=QUESTION, stream=True)
    assert away.value.status_code == 503

    provider.status, provider.script = 200, HALF
    with pytest.raises(openai.InternalServerError):
        await create(model=MODEL, messages=QUESTION)
    read: list[Any] = []
    with pytest.raises(openai.APIError, match="had an error"):
        await read_into(read, await create(model=MODEL, messages=QUESTION, stream=True))
    assert [chunk.choices[0].delta.content for chunk in read] == ["", "Half of it"]
    assert {chunk.choices[0].finish_reason for chunk in read} == {None}
    provider.closed.clear()
    provider.script = [recorded.OPENAI_START, recorded.openai_text("Half of it"), SILENT_S]


async def read_into(read: list[Any], stream: Any) -> None:
    async for each in stream:
        read.append(each)


async def leave(provider: StandIn, stream: Any) -> None:
    """Read the beginning of an answer that has no end, and close it."""
    async for _ in stream:
        break
    await stream.close()
    await asyncio.wait_for(provider.closed.wait(), PATIENCE_S)


async def test_anthropics_sdk(fresh_database: Settings, corpus: Corpus, tmp_path: Path) -> None:
    async with server_of(fresh_database, corpus, tmp_path, questions_max=10) as (provider, url, token):
        async with anthropic.AsyncAnthropic(base_url=url, api_key=token, max_retries=0) as sdk:
            await read_anthropic(sdk, provider)
            await call_anthropic(sdk, provider)
            await fail_anthropic(sdk, provider)
            create = sdk.messages.create
            await leave(provider, await create(model=MODEL, max_tokens=99, messages=QUESTION, stream=True))
            with pytest.raises(anthropic.RateLimitError, match="24 hours"):
                await create(model="adriatic", max_tokens=99, messages=QUESTION)
        told = await outcomes(fresh_database, 11)
        assert sorted(told) == ["cancelled", *["completed"] * 5, *["failed"] * 5]


async def read_anthropic(sdk: anthropic.AsyncAnthropic, provider: StandIn) -> None:
    assert [model.id async for model in sdk.models.list()] == ["adriatic", MODEL, EMBEDDER]
    assert (await sdk.models.retrieve("adriatic")).display_name == "adriatic"
    provider.script = WHOLE
    async with sdk.messages.stream(model=MODEL, max_tokens=99, messages=QUESTION, system="Be brief.") as stream:
        assert "".join([text async for text in stream.text_stream]) == "It fails [1]."
        final = await stream.get_final_message()
    assert (final.stop_reason, final.usage.input_tokens) == ("end_turn", 325)
    assert (final.usage.cache_read_input_tokens, final.usage.output_tokens) == (1000, 40)
    asked = provider.requests[-1]
    assert asked["messages"] == [{"role": "system", "content": "Be brief."}, *QUESTION]
    assert asked["max_completion_tokens"] == 99

    answer = await sdk.beta.messages.create(model="adriatic", max_tokens=99, messages=QUESTION)
    (block,) = answer.content
    assert block.type == "text"
    assert block.text == "It fails [1]."
    assert answer.to_dict()["citations"] == {"cited": [1], "unsupported": []}


async def call_anthropic(sdk: anthropic.AsyncAnthropic, provider: StandIn) -> None:
    provider.script = CALLING
    tools: Any = [{"name": "weather", "input_schema": PARAMETERS}]
    async with sdk.messages.stream(model=MODEL, max_tokens=99, messages=QUESTION, tools=tools) as stream:
        final = await stream.get_final_message()
    (call,) = final.content
    assert call.type == "tool_use"
    assert (call.id, call.name, call.input, final.stop_reason) == ("call_1", "weather", {"city": "Split"}, "tool_use")

    provider.script = WHOLE
    result: Any = {"type": "tool_result", "tool_use_id": "call_1", "content": "Sunny."}
    turns: Any = [*QUESTION, {"role": "assistant", "content": final.content}, {"role": "user", "content": [result]}]
    await sdk.messages.create(model=MODEL, max_tokens=99, messages=turns, tools=tools)
    assert [message["role"] for message in provider.requests[-1]["messages"]] == ["user", "assistant", "tool"]

    provider.script = [recorded.OPENAI_START, recorded.openai_text('{"city":"Split"}'), recorded.OPENAI_END]
    parsed = await sdk.messages.parse(model=MODEL, max_tokens=99, messages=QUESTION, output_format=City)
    assert parsed.parsed_output == City(city="Split")


async def fail_anthropic(sdk: anthropic.AsyncAnthropic, provider: StandIn) -> None:
    create = sdk.messages.create
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await create(model="nope", max_tokens=99, messages=QUESTION)
    assert json.loads(unknown.value.response.content)["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.AuthenticationError):
        await sdk.with_options(api_key="x.y.z").messages.create(model=MODEL, max_tokens=99, messages=QUESTION)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await create(model=MODEL, max_tokens=0, messages=QUESTION)

    refuse(provider, 429, "rate_limit_exceeded", **{"retry-after": "1"})
    with pytest.raises(anthropic.RateLimitError) as limited:
        await create(model=MODEL, max_tokens=99, messages=QUESTION, stream=True)
    assert limited.value.response.headers["retry-after"] == "1"
    await asyncio.sleep(1.1)  # nobody asks the provider before that
    refuse(provider, 400, "context_length_exceeded")
    with pytest.raises(anthropic.APIStatusError) as long:
        await create(model=MODEL, max_tokens=99, messages=QUESTION)
    assert long.value.status_code == 413

    provider.status, provider.script = 200, HALF
    with pytest.raises(anthropic.APIStatusError):
        await create(model=MODEL, max_tokens=99, messages=QUESTION)
    read: list[Any] = []
    with pytest.raises(anthropic.APIStatusError, match="had an error"):
        await read_into(read, await create(model=MODEL, max_tokens=99, messages=QUESTION, stream=True))
    assert [event.type for event in read] == ["message_start", "content_block_start", "content_block_delta"]
    provider.closed.clear()
    provider.script = [recorded.OPENAI_START, recorded.openai_text("Half of it"), SILENT_S]
