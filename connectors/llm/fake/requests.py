"""What somebody asks the fake provider, read from the dialects' requests. Pure.

Owns the paths of the dialects, and how large a request is in tokens. Refuses what does not stream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from connectors.llm import BYTES_PER_TOKEN
from runtime.errors import InvalidInput, NotFound

DialectName = Literal["openai", "anthropic", "gemini"]
OUTPUT_TOKENS_MAX = 1_000_000
"""Longest answer where a request does not say one, in tokens: the script ends it before."""

_GEMINI_PATH = re.compile(r"/v1beta/models/([^/:]+):streamGenerateContent")


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool that the request offers: its name, and the schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


class ReceivedRequest(msgspec.Struct, frozen=True):
    """One HTTP request: its headers' names are in small letters, its path is without a query."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class FakeQuestion(msgspec.Struct, frozen=True):
    """What is asked, whatever the dialect. `form` is the schema that the answer is to have; `after_tool`: a result of a
    tool is the last that was said."""

    dialect: DialectName
    model: str
    input_tokens: int
    output_tokens_max: int = OUTPUT_TOKENS_MAX
    tools: tuple[OfferedTool, ...] = ()
    form: Mapping[str, Any] | None = None
    after_tool: bool = False


def name_dialect(path: str) -> DialectName:
    """The dialect that has this path. Raises `NotFound`."""
    if path == "/v1/chat/completions":
        return "openai"
    if path == "/v1/messages":
        return "anthropic"
    if _GEMINI_PATH.fullmatch(path):
        return "gemini"
    raise NotFound(f"no dialect has the path {path}")


def read_question(request: ReceivedRequest) -> FakeQuestion:
    """Raises `NotFound` for the path of no dialect, `InvalidInput` for a request that no provider would take."""
    dialect = name_dialect(request.path)
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
        input_tokens = -(-len(request.body) // BYTES_PER_TOKEN)
        if dialect == "openai":
            return _read_openai(body, input_tokens)
        if dialect == "anthropic":
            return _read_anthropic(body, input_tokens)
        return _read_gemini(body, input_tokens, request.path)
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise InvalidInput(f"the request is not in the dialect of {dialect}: {type(error).__name__} {error}") from error


def _read_openai(body: dict[str, Any], input_tokens: int) -> FakeQuestion:
    _demand_stream(body)
    wanted = body.get("response_format") or {}
    schema = wanted.get("json_schema", {}).get("schema", {})
    functions = [tool["function"] for tool in body.get("tools") or ()]
    return FakeQuestion(
        *("openai", body["model"], input_tokens),
        output_tokens_max=int(body.get("max_completion_tokens") or body.get("max_tokens") or OUTPUT_TOKENS_MAX),
        tools=tuple(OfferedTool(each["name"], each.get("parameters") or {}) for each in functions),
        form=schema if wanted.get("type", "text") != "text" else None,
        after_tool=body["messages"][-1]["role"] == "tool",
    )


def _read_anthropic(body: dict[str, Any], input_tokens: int) -> FakeQuestion:
    _demand_stream(body)
    wanted = (body.get("output_config") or {}).get("format") or {}
    last = body["messages"][-1]["content"]
    parts = last if isinstance(last, list) else []
    return FakeQuestion(
        *("anthropic", body["model"], input_tokens),
        output_tokens_max=int(body["max_tokens"]),
        tools=tuple(OfferedTool(each["name"], each.get("input_schema") or {}) for each in body.get("tools") or ()),
        form=wanted.get("schema"),
        after_tool=any(part["type"] == "tool_result" for part in parts),
    )


def _read_gemini(body: dict[str, Any], input_tokens: int, path: str) -> FakeQuestion:
    found = _GEMINI_PATH.fullmatch(path)
    assert found, "the path has named the dialect"
    config = body.get("generationConfig") or {}
    declared = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
    schemas = [each.get("parametersJsonSchema") or each.get("parameters") or {} for each in declared]
    as_json = config.get("responseMimeType") == "application/json"
    return FakeQuestion(
        *("gemini", found[1], input_tokens),
        output_tokens_max=int(config.get("maxOutputTokens") or OUTPUT_TOKENS_MAX),
        tools=tuple(OfferedTool(each["name"], schema) for each, schema in zip(declared, schemas, strict=True)),
        form=(config.get("responseJsonSchema") or config.get("responseSchema") or {}) if as_json else None,
        after_tool=any("functionResponse" in part for part in body["contents"][-1]["parts"]),
    )


def _demand_stream(body: dict[str, Any]) -> None:
    if body.get("stream") is not True:
        raise InvalidInput("the fake provider only streams", hint='ask with "stream": true')


def sample(schema: Mapping[str, Any]) -> Any:
    """A value that fits a simple JSON schema: all that it demands, and no more."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type", "object"):
        case "string":
            return "fake"
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "array":
            return []
        case "null":
            return None
    properties = schema.get("properties", {})
    return {name: sample(properties.get(name, {"type": "string"})) for name in schema.get("required", properties)}
