"""From what clients send to a prompt: what the SDKs put on the wire, and what has no place in a prompt."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel

from api.chat.dialects import anthropic_requests, openai_requests, responses_requests
from api.chat.dialects.conversations import gather, read_base64
from api.chat.grounding import SYSTEM, Grounding, read_question
from api.requests import decode
from api.search.query import QUERY_CHARS_MAX
from api.search.schemas import SearchFreshness
from api.watermarks import UNKNOWN
from connectors.llm.prompts import (
    Choosing,
    Form,
    Image,
    Passage,
    Prompt,
    PromptMessage,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from runtime.errors import InvalidInput

PNG = b"\x89PNG and so on"
DATA = b64encode(PNG).decode()
CAP = 500


class City(BaseModel):
    """What is asked for in a form."""

    name: str


class Recorder:
    """Keeps what an SDK sends, and answers nothing that it could use."""

    def __init__(self) -> None:
        self.sent = b""

    def reply(self, request: httpx2.Request) -> httpx2.Response:
        self.sent = request.content
        return httpx2.Response(418)


def openai_prompt(ask: Any, output_tokens_max: int = CAP) -> Prompt:
    """The prompt of what the SDK sends."""
    recorder = Recorder()
    http = httpx2.Client(transport=httpx2.MockTransport(recorder.reply))
    with pytest.raises(openai.APIStatusError):
        ask(openai.OpenAI(api_key="k", http_client=http).chat.completions)
    request = decode(recorder.sent, openai_requests.CompletionRequest)
    return openai_requests.make_prompt(request, output_tokens_max)


def anthropic_prompt(ask: Any, output_tokens_max: int = CAP) -> Prompt:
    """The prompt of what the SDK sends."""
    recorder = Recorder()
    http = httpx2.Client(transport=httpx2.MockTransport(recorder.reply))
    with pytest.raises(anthropic.APIStatusError):
        ask(anthropic.Anthropic(api_key="k", http_client=http).messages)
    request = decode(recorder.sent, anthropic_requests.MessageRequest)
    return anthropic_requests.make_prompt(request, output_tokens_max)


def response_prompt(ask: Any, output_tokens_max: int = CAP) -> Prompt:
    """The prompt of what the SDK sends."""
    recorder = Recorder()
    http = httpx2.Client(transport=httpx2.MockTransport(recorder.reply))
    with pytest.raises(openai.APIStatusError):
        ask(openai.OpenAI(api_key="k", http_client=http).responses)
    request = decode(recorder.sent, responses_requests.ResponseRequest)
    return responses_requests.make_prompt(request, output_tokens_max)


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
CONVERSATION = (
    PromptMessage("user", (Text("Look."), Image("image/png", PNG))),
    PromptMessage("assistant", (Text("I call."), ToolCall("c1", "weather", '{"city":"Split"}'))),
    PromptMessage("user", (ToolResult("c1", "Sunny."), Text("And now?"))),
)


def test_a_conversation_with_everything_in_openais_words() -> None:
    function: Any = {"name": "weather", "arguments": '{"city":"Split"}'}
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Look."}, picture(f"data:image/png;base64,{DATA}")]},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "assistant",
            "content": "I call.",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny."},
        {"role": "user", "content": "And now?"},
    ]
    tools: Any = [{"type": "function", "function": {"name": "weather", "description": "Of a city", "strict": True}}]
    tools[0]["function"]["parameters"] = PARAMETERS
    prompt = openai_prompt(
        lambda completions: completions.parse(
            model="m",
            messages=messages,
            tools=tools,
            tool_choice={"type": "function", "function": {"name": "weather"}},
            response_format=City,
            temperature=0.5,
            top_p=1,
            stop="\n",
            max_completion_tokens=100,
            seed=7,
            extra_body={"not": {"known": "here"}},
        )
    )
    assert prompt.form
    assert prompt.form.name == "City"
    assert json.loads(prompt.form.schema)["properties"]["name"]["type"] == "string"
    assert prompt == Prompt(
        system="Be brief.\n\nBe kind.",
        messages=CONVERSATION,
        passages=(),
        output_tokens_max=100,
        tools=(Tool("weather", "Of a city", json.dumps(PARAMETERS, separators=(",", ":"))),),
        choosing=Choosing("named", "weather"),
        form=prompt.form,
        sampling=Sampling(0.5, 1, ("\n",)),
    )


def picture(url: str) -> Any:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def test_a_conversation_with_everything_in_anthropics_words() -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": DATA}
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "Look."}, {"type": "image", "source": source}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "eA=="},
                {"type": "thinking", "thinking": "Of another model.", "signature": ""},
                {"type": "text", "text": "I call."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Split"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral"}},
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "Sunny."}]},
            ],
        },
    ]
    prompt = anthropic_prompt(
        lambda resource: resource.create(
            model="m",
            max_tokens=100,
            system=[{"type": "text", "text": "Be brief."}],
            messages=messages,
            tools=[{"name": "weather", "description": "Of a city", "input_schema": PARAMETERS}],
            tool_choice={"type": "any"},
            output_config={"format": {"type": "json_schema", "schema": PARAMETERS}},
            extra_body={"temperature": 0.5},
            stop_sequences=["\n"],
            thinking={"type": "enabled", "budget_tokens": 1024},
        )
    )
    user, assistant, result = CONVERSATION
    thought = PromptMessage("assistant", (Reasoning("Hm.", "c2ln"), *assistant.parts))
    assert prompt == Prompt(
        system="Be brief.",
        messages=(user, thought, result),
        passages=(),
        output_tokens_max=100,
        tools=(Tool("weather", "Of a city", json.dumps(PARAMETERS, separators=(",", ":"))),),
        choosing=Choosing("required"),
        form=Form(schema=json.dumps(PARAMETERS, separators=(",", ":"))),
        sampling=Sampling(0.5, None, ("\n",)),
    )


def test_a_conversation_with_everything_in_the_items_of_responses() -> None:
    picture: Any = {"type": "input_image", "image_url": f"data:image/png;base64,{DATA}", "detail": "auto"}
    items: Any = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "input_text", "text": "Look."}, picture]},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
            "encrypted_content": "c2ln",
        },
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I call.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Split"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "Sunny."},
        {"type": "message", "role": "user", "content": "And now?"},
    ]
    tool: Any = {"type": "function", "name": "weather", "description": "Of a city", "parameters": PARAMETERS}
    prompt = response_prompt(
        lambda resource: resource.parse(
            model="m",
            instructions="Be brief.",
            input=items,
            tools=[{**tool, "strict": False}],
            tool_choice={"type": "function", "name": "weather"},
            text_format=City,
            temperature=0.5,
            max_output_tokens=100,
            store=False,
            reasoning={"effort": "low"},
        )
    )
    user, assistant, result = CONVERSATION
    assert prompt.form
    assert prompt.form.name == "City"
    assert prompt == Prompt(
        system="Be brief.\n\nBe kind.",
        messages=(user, PromptMessage("assistant", (Reasoning("Hm.", "c2ln"), *assistant.parts)), result),
        passages=(),
        output_tokens_max=100,
        tools=(Tool("weather", "Of a city", json.dumps(PARAMETERS, separators=(",", ":"))),),
        choosing=Choosing("named", "weather"),
        form=prompt.form,
        sampling=Sampling(0.5),
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"input": [{"role": "user"}]}, "content"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "name, arguments"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
    ],
)
def test_what_a_response_cannot_be_is_refused_by_name(more: dict[str, Any], says: str) -> None:
    body = {"model": "m", "input": "x", **more}
    with pytest.raises(InvalidInput) as refused:
        responses_requests.make_prompt(decode(json.dumps(body).encode(), responses_requests.ResponseRequest), CAP)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("more", "kept_days", "keeps"),
    [
        ({}, 30, True),
        ({"store": None}, 30, True),
        ({"store": False}, 30, False),
        ({}, 0, False),
        ({"background": True, "stream": True}, 30, True),
    ],
)
def test_a_response_is_kept_unless_somebody_says_otherwise(more: dict[str, Any], kept_days: int, keeps: bool) -> None:
    request = decode(json.dumps({"model": "m", "input": "x", **more}).encode(), responses_requests.ResponseRequest)
    assert responses_requests.read_keeping(request, kept_days) == keeps


@pytest.mark.parametrize(
    ("more", "kept_days", "says"),
    [
        ({}, 30, "needs stream"),
        ({"stream": True, "store": False}, 30, "needs store"),
        ({"stream": True}, 0, "llm.kept_days"),
    ],
)
def test_what_could_never_be_read_is_not_written_in_the_background(
    more: dict[str, Any], kept_days: int, says: str
) -> None:
    body = {"model": "m", "input": "x", "background": True, **more}
    request = decode(json.dumps(body).encode(), responses_requests.ResponseRequest)
    with pytest.raises(InvalidInput, match=says):
        responses_requests.read_keeping(request, kept_days)


def test_a_result_that_failed_and_has_a_picture() -> None:
    source: Any = {"type": "base64", "media_type": "image/png", "data": DATA}
    content: Any = [{"type": "text", "text": "No."}, {"type": "image", "source": source}]
    blocks: Any = [
        {"type": "tool_result", "tool_use_id": "c1", "content": content, "is_error": True},
        {"type": "tool_result", "tool_use_id": "c2"},
    ]
    prompt = anthropic_prompt(
        lambda resource: resource.create(model="m", max_tokens=9, messages=[{"role": "user", "content": blocks}])
    )
    (message,) = prompt.messages
    assert message.parts == (ToolResult("c1", "No.", failed=True), ToolResult("c2", ""), Image("image/png", PNG))


@pytest.mark.parametrize(
    ("choice", "choosing"),
    [("auto", "auto"), ("none", "none"), ("required", "required")],
)
def test_the_choice_among_tools(choice: Any, choosing: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "tool_choice": choice}
    request = decode(json.dumps(body).encode(), openai_requests.CompletionRequest)
    assert openai_requests.make_prompt(request, CAP).choosing == Choosing(choosing)


def test_an_answer_is_never_longer_than_the_server_allows() -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    for more in ({}, {"max_tokens": 9_999}, {"max_completion_tokens": 9_999}):
        assert (
            openai_prompt(
                lambda completions, more=more: completions.create(model="m", messages=messages, **more)
            ).output_tokens_max
            == CAP
        )
    assert (
        anthropic_prompt(
            lambda resource: resource.create(model="m", max_tokens=9_999, messages=messages)
        ).output_tokens_max
        == CAP
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [picture("https://example.com/a.png")]}]}, "url"),
        ({"messages": [{"role": "function", "content": "x"}]}, "function"),
        ({"tools": [{"type": "retrieval"}]}, "tools"),
        ({"messages": [{"role": "user", "content": "x\0"}]}, "U+0000"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(more: dict[str, Any], says: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
    with pytest.raises(InvalidInput) as refused:
        decode(json.dumps(body).encode(), openai_requests.CompletionRequest)
    assert says in str(refused.value)


def test_turns_of_one_role_are_gathered_and_empty_ones_left_out() -> None:
    turns = gather([("assistant", ()), ("user", (Text("a"),)), ("assistant", ()), ("user", (Text("b"),))])
    assert turns == (PromptMessage("user", (Text("a"), Text("b"))),)


@pytest.mark.parametrize("cut", range(len(DATA)))
def test_base64_that_was_cut_gives_what_is_left(cut: int) -> None:
    assert PNG.startswith(read_base64(DATA[:cut]))


def test_a_conversation_is_grounded_in_its_last_question() -> None:
    conversation = Prompt(
        "Answer in Croatian.", (*CONVERSATION, PromptMessage("user", (ToolResult("c2", "x"),))), (), CAP
    )
    assert read_question(conversation) == "And now?"
    passage = Passage(1, "Nobody writes twice", "Context", "A dual write fails.")
    found = Grounding("And now?", [], (passage,), SearchFreshness(UNKNOWN), [])
    woven = found.weave(conversation)
    assert woven.system == f"{SYSTEM}\nAnswer in Croatian."
    assert woven.passages == (passage,)
    first, second, third, fourth = woven.messages
    assert (first, second) == CONVERSATION[:2]
    assert fourth == conversation.messages[3]
    result, text = third.parts
    assert result == ToolResult("c1", "Sunny.")
    assert isinstance(text, Text)
    assert "A dual write fails." in text.text
    assert text.text.endswith("Question:\nAnd now?")


def test_a_long_question_is_searched_for_by_its_beginning() -> None:
    asked = Prompt("", (PromptMessage("user", (Text("x" * 5_000),)),), (), CAP)
    assert read_question(asked) == "x" * QUERY_CHARS_MAX
    assert read_question(Prompt("", (), (), CAP)) == ""
