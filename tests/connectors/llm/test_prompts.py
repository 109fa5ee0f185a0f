"""One conversation with every kind of part, in the form of each provider, as bytes on the wire."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from connectors.llm import Failed, build
from connectors.llm.anthropic import JSON_ONLY
from connectors.llm.openai import is_strict
from connectors.llm.prompts import (
    Choosing,
    Form,
    Image,
    Prompt,
    PromptMessage,
    Reasoning,
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
            "gemini": (server.url, b"", recorded.GEMINI_END),
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
    assert "system" not in request
    assert [message["role"] for message in request["messages"]] == ["user"]


async def test_gemini_gets_results_by_name_and_signatures_where_they_were() -> None:
    request = await asked(TALK, "gemini")
    assert request["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert request["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "What is this?"},
                {"inlineData": {"mimeType": "image/png", "data": b64encode(PNG).decode()}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "I look.", "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "call-1", "name": "find", "args": {"words": "bus"}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "call-1", "name": "find", "response": {"error": "nothing"}}},
                {"text": "And now?"},
            ],
        },
    ]


# --- what is asked beside the words ---------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"words": {"type": "string"}},
    "required": ["words"],
    "additionalProperties": False,
}
FIND = Tool("find", "Find words.", json.dumps(SCHEMA))


def asking(**more: Any) -> Prompt:
    return msgspec.structs.replace(ask("Be brief.", "Why?", (), 100), **more)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_what_a_prompt_leaves_open_is_left_out(provider: str) -> None:
    request = await asked(asking(), provider)
    ours = {
        "openai": {"path", "model", "max_completion_tokens", "messages", "stream", "stream_options"},
        "anthropic": {"path", "model", "max_tokens", "messages", "stream", "system"},
        "gemini": {"path", "contents", "generationConfig", "systemInstruction"},
    }
    assert set(request) == ours[provider]
    assert request.get("generationConfig", {"maxOutputTokens": 100}) == {"maxOutputTokens": 100}


async def test_tools_and_sampling_of_openai() -> None:
    request = await asked(asking(tools=(FIND,), sampling=Sampling(0.0, 0.5, ("END",))), "openai")
    function = {"name": "find", "description": "Find words.", "parameters": SCHEMA}
    assert request["tools"] == [{"type": "function", "function": function}]
    assert request["tool_choice"] == "auto"
    assert (request["temperature"], request["top_p"], request["stop"]) == (0.0, 0.5, ["END"])


async def test_tools_and_sampling_of_anthropic() -> None:
    request = await asked(asking(tools=(FIND,), sampling=Sampling(0.0, 0.5, ("END",))), "anthropic")
    assert request["tools"] == [{"name": "find", "description": "Find words.", "input_schema": SCHEMA}]
    assert request["tool_choice"] == {"type": "auto"}
    assert (request["temperature"], request["top_p"], request["stop_sequences"]) == (0.0, 0.5, ["END"])


async def test_tools_and_sampling_of_gemini() -> None:
    request = await asked(asking(tools=(FIND,), sampling=Sampling(0.0, 0.5, ("END",))), "gemini")
    declared = {"name": "find", "description": "Find words.", "parametersJsonSchema": SCHEMA}
    assert request["tools"] == [{"functionDeclarations": [declared]}]
    assert request["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    config = {"maxOutputTokens": 100, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]}
    assert request["generationConfig"] == config


@pytest.mark.parametrize(
    ("choosing", "openai", "anthropic", "gemini"),
    [
        (Choosing("none"), "none", {"type": "none"}, {"mode": "NONE"}),
        (Choosing("required"), "required", {"type": "any"}, {"mode": "ANY"}),
        (
            Choosing("named", "find"),
            {"type": "function", "function": {"name": "find"}},
            {"type": "tool", "name": "find"},
            {"mode": "ANY", "allowedFunctionNames": ["find"]},
        ),
    ],
)
async def test_how_to_choose_a_tool(choosing: Choosing, openai: Any, anthropic: Any, gemini: Any) -> None:
    prompt = asking(tools=(FIND,), choosing=choosing)
    assert (await asked(prompt, "openai"))["tool_choice"] == openai
    assert (await asked(prompt, "anthropic"))["tool_choice"] == anthropic
    assert (await asked(prompt, "gemini"))["toolConfig"] == {"functionCallingConfig": gemini}


async def test_a_form_with_a_schema() -> None:
    prompt = asking(form=Form("words", json.dumps(SCHEMA)))
    named = {"name": "words", "schema": SCHEMA, "strict": True}
    assert (await asked(prompt, "openai"))["response_format"] == {"type": "json_schema", "json_schema": named}
    output = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert (await asked(prompt, "anthropic"))["output_config"] == output
    config = {"maxOutputTokens": 100, "responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    assert (await asked(prompt, "gemini"))["generationConfig"] == config


async def test_a_form_of_any_json() -> None:
    prompt = asking(form=Form())
    assert (await asked(prompt, "openai"))["response_format"] == {"type": "json_object"}
    request = await asked(prompt, "anthropic")
    assert "output_config" not in request
    assert request["system"] == f"Be brief.\n\n{JSON_ONLY}"
    config = {"maxOutputTokens": 100, "responseMimeType": "application/json"}
    assert (await asked(prompt, "gemini"))["generationConfig"] == config


@pytest.mark.parametrize(
    ("change", "strict"),
    [
        ({}, True),
        ({"additionalProperties": True}, False),
        ({"required": []}, False),
        ({"properties": {"words": {"type": "array", "items": SCHEMA}}}, True),
        ({"properties": {"words": {"type": "array", "items": {"type": "object"}}}}, False),
        ({"properties": {"words": {"anyOf": [{"type": "null"}, {"type": "object"}]}}}, False),
        ({"$defs": {"one": {"type": "object"}}}, False),
    ],
)
def test_openai_is_held_to_what_it_can_be_held_to(change: dict[str, Any], strict: bool) -> None:
    assert is_strict({**SCHEMA, **change}) == strict


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
async def test_a_schema_that_is_no_json_is_our_fault(provider: str) -> None:
    settings = {"provider": provider, "model": "m", "base_url": "http://127.0.0.1:1", "api_key": "key"}
    one = build(LlmSettings.model_validate(settings))
    for prompt in (asking(form=Form("x", "{")), asking(tools=(Tool("x", "", "{"),))):
        async with aclosing(one.stream(prompt)) as events:
            (failed,) = [event async for event in events]
        assert isinstance(failed, Failed)
        assert failed.failure.kind == "ours"
    await one.close()


@pytest.mark.parametrize(
    ("arguments", "read"),
    [('{"a":1}', {"a": 1}), ("", {}), ('{"a', {"text": '{"a'}), ("[1]", {"text": "[1]"})],
)
async def test_arguments_that_are_none_are_taken_back(arguments: str, read: dict[str, Any]) -> None:
    said = PromptMessage("assistant", (ToolCall("c", "find", arguments),))
    prompt = asking(messages=(said, PromptMessage("user", (ToolResult("c", "?"),))))
    assert (await asked(prompt, "anthropic"))["messages"][0]["content"][0]["input"] == read
    assert (await asked(prompt, "gemini"))["contents"][0]["parts"][0]["functionCall"]["args"] == read


async def test_a_thought_that_nobody_signed_is_not_given_back() -> None:
    said = PromptMessage("assistant", (Reasoning("Hm.", ""), Text("So.")))
    request = await asked(asking(messages=(said, PromptMessage("user", (Text("?"),)))), "anthropic")
    assert request["messages"][0]["content"] == [{"type": "text", "text": "So."}]


def test_the_size_counts_words_and_not_the_files_of_pictures() -> None:
    small, large = (
        Prompt("", (PromptMessage("user", (Image("image/png", b"x" * size),)),), (), 1) for size in (1, 9_999_999)
    )
    assert small.size_bytes == large.size_bytes > 0
    assert ask("ab", "ü", (), 1).size_bytes == 4
