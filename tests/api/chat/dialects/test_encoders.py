"""What each dialect makes of an answer: byte for byte, and as the SDKs of those who speak it read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import anthropic
import httpx2
import msgspec
import openai
import pytest

from api.chat.dialects import anthropic_messages, openai_chat
from api.chat.dialects.ai_sdk import UiMessageEncoder
from api.chat.encoding import Encode
from api.chat.schemas import ChatEvent, TextDelta, ToolCallDelta, ToolCallStart
from connectors.llm import Finish
from connectors.llm.sse import SseDecoder
from tests.api.chat.dialects.answers import BROKEN, CREATED, GROUNDED, ID, TOOLS, USAGE, done, start
from tests.api.chat.dialects.golden import FOLDER, contents, encoders

HELLO: Any = [{"role": "user", "content": "hello"}]
Reply = Callable[[httpx2.Request], httpx2.Response]


@pytest.mark.parametrize(
    ("file", "content"), list(contents()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_byte_for_byte(file: str, content: bytes) -> None:
    assert content == (FOLDER / file).read_bytes()


def test_no_file_is_left_behind() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {file for file, _ in contents()}


def reply(file: str) -> Reply:
    """What a server would send."""
    media_type = "text/event-stream" if file.endswith(".sse") else "application/json"
    content = (FOLDER / file).read_bytes()
    return lambda _: httpx2.Response(200, content=content, headers={"content-type": media_type})


def ask_openai(file: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(reply(file))))


def ask_anthropic(file: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(reply(file))))


def test_openai_reads_a_stream_with_tools() -> None:
    with ask_openai("openai_chat-tools.sse").chat.completions.stream(model="m", messages=HELLO) as stream:
        final = stream.get_final_completion()
    (choice,) = final.choices
    calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
    assert calls == [("call_a", "get_weather", '{"city":"Split"}'), ("call_b", "get_time", "{}")]
    assert (choice.message.content, choice.finish_reason) == ("I look.", "tool_calls")
    assert final.usage
    assert (final.usage.prompt_tokens, final.usage.completion_tokens, final.usage.total_tokens) == (1325, 20, 1345)


def test_openai_reads_a_whole_answer() -> None:
    final = ask_openai("openai_chat-tools.json").chat.completions.create(model="m", messages=HELLO)
    assert [call.to_dict() for call in final.choices[0].message.tool_calls or ()] == [
        {"id": "call_a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Split"}'}},
        {"id": "call_b", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
    ]
    assert final.choices[0].message.to_dict()["reasoning_content"] == "They want the weather.Twice."
    grounded = ask_openai("openai_chat-grounded.json").chat.completions.create(model="m", messages=HELLO)
    assert grounded.to_dict()["citations"] == {"cited": [1], "unsupported": [9]}


def test_openai_raises_in_the_middle() -> None:
    stream = ask_openai("openai_chat-broken.sse").chat.completions.create(model="m", messages=HELLO, stream=True)
    read: list[Any] = []
    with pytest.raises(openai.APIError, match="openai broke off") as raised:
        read.extend(iter(stream))
    assert [chunk.choices[0].delta.content for chunk in read] == ["", "Half of"]
    assert all(chunk.choices[0].finish_reason is None for chunk in read)
    assert raised.value.code == "service_unavailable"


def test_anthropic_reads_a_stream_with_tools_and_thoughts() -> None:
    with ask_anthropic("anthropic_messages-tools.sse").messages.stream(
        model="m", max_tokens=9, messages=HELLO
    ) as stream:
        final = stream.get_final_message()
    whole = ask_anthropic("anthropic_messages-tools.json").messages.create(model="m", max_tokens=9, messages=HELLO)
    assert final.to_dict()["content"] == whole.to_dict()["content"]
    assert [block.type for block in final.content] == ["thinking", "thinking", "text", "tool_use", "tool_use"]
    assert final.stop_reason == "tool_use"
    assert final.usage.cache_read_input_tokens == 1000


def test_anthropic_raises_in_the_middle() -> None:
    client = ask_anthropic("anthropic_messages-broken.sse")
    stream = client.messages.create(model="m", max_tokens=9, messages=HELLO, stream=True)
    read: list[str] = []
    with pytest.raises(anthropic.APIStatusError, match="openai broke off"):
        read.extend(event.type for event in stream)
    assert read == ["message_start", "content_block_start", "content_block_delta"]


def test_openai_reads_the_events_of_a_response() -> None:
    with ask_openai("openai_responses-tools.sse").responses.stream(model="m", input="hello") as stream:
        final = stream.get_final_response()
    whole = ask_openai("openai_responses-tools.json").responses.create(model="m", input="hello")
    assert [item.type for item in final.output] == [
        *("reasoning", "reasoning", "message"),
        *("function_call", "function_call"),
    ]
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(call.call_id, call.name, call.arguments) for call in calls] == [
        ("call_a", "get_weather", '{"city":"Split"}'),
        ("call_b", "get_time", "{}"),
    ]
    assert (final.output_text, final.status) == (whole.output_text, whole.status) == ("I look.", "completed")
    assert final.usage
    assert final.usage == whole.usage
    assert (final.usage.input_tokens, final.usage.output_tokens) == (1325, 20)


def test_openai_raises_in_the_middle_of_a_response() -> None:
    read: list[Any] = []
    with pytest.raises(openai.APIError, match="openai broke off"):
        read.extend(ask_openai("openai_responses-broken.sse").responses.create(model="m", input="x", stream=True))
    assert read[-1].type == "response.output_text.delta"


def terminals(dialect: str, content: bytes) -> bool:
    """Whether a client of this dialect would take the answer for whole."""
    words = {
        "openai_chat": [b"[DONE]", b'"finish_reason":"'],
        "anthropic_messages": [b"message_stop", b'"stop_reason":"'],
        "openai_responses": [b"response.completed", b"response.incomplete"],
        "ai_sdk": [b"[DONE]", b'"type":"finish'],
    }
    return any(word in content for word in words[dialect])


@pytest.mark.parametrize("events", [GROUNDED, TOOLS, BROKEN], ids=["grounded", "tools", "broken"])
@pytest.mark.parametrize("dialect", list(encoders()))
def test_nothing_that_was_cut_looks_whole(dialect: str, events: list[ChatEvent]) -> None:
    for length in range(len(events) + 1):
        encode = encoders()[dialect]
        content = b"".join(encode(number, event) for number, event in enumerate(events[:length]))
        whole = length == len(events) and events is not BROKEN
        assert terminals(dialect, content) == whole, content


@pytest.mark.parametrize("finish", get_args(Finish))
@pytest.mark.parametrize("dialect", list(encoders()))
def test_every_reason_to_end_has_a_word(dialect: str, finish: Finish) -> None:
    events: list[ChatEvent] = [start(grounded=False), TextDelta("x"), USAGE, done(finish)]
    encode: Encode = encoders()[dialect]
    assert terminals(dialect, b"".join(encode(number, event) for number, event in enumerate(events)))


def test_usage_comes_only_when_it_was_asked_for() -> None:
    encode = openai_chat.CompletionEncoder(ID, CREATED, include_usage=False).encode
    content = b"".join(encode(number, event) for number, event in enumerate(GROUNDED))
    assert b"usage" not in content
    assert content.endswith(b"data: [DONE]\n\n")


NOT_JSON: list[ChatEvent] = [
    start(grounded=False),
    ToolCallStart(0, "call_a", "get_weather"),
    ToolCallDelta(0, '{"city": Spl'),
    USAGE,
    done("length"),
]


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    assert json.loads(anthropic_messages.render(NOT_JSON, ID))["content"][0]["input"] == {"text": '{"city": Spl'}
    message = json.loads(openai_chat.render(NOT_JSON, ID, CREATED))["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"][0]["function"]["arguments"] == '{"city": Spl'
    encode = UiMessageEncoder(ID).encode
    content = b"".join(encode(number, event) for number, event in enumerate(NOT_JSON))
    chunks = [msgspec.json.decode(event.data) for event in SseDecoder().feed(content) if event.data != b"[DONE]"]
    (failed,) = [chunk for chunk in chunks if chunk["type"] == "tool-input-error"]
    assert failed["input"] == '{"city": Spl'
