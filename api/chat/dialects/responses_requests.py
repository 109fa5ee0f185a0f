"""What a client of OpenAI's Responses API asks, as a prompt. Pure.

Owns the request's shape. What it does not know of a request it leaves out; what it cannot do it refuses by name: to go
on from an answer that it does not keep, tools of its own kinds, and pictures that would have to be fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.chat.dialects.conversations import (
    ITEM_NEEDS,
    MESSAGES_MAX,
    PARTS_MAX,
    TOOLS_MAX,
    CallId,
    JsonObject,
    ModelName,
    PictureUrl,
    ToolName,
    dump,
    gather,
    read_picture,
    read_text,
)
from api.chat.dialects.openai_requests import JsonFormat, TextFormat
from api.requests import refuse
from connectors.llm.prompts import (
    Choosing,
    Form,
    Part,
    Prompt,
    Reasoning,
    Role,
    Sampling,
    Tool,
    ToolCall,
    ToolResult,
)
from runtime.errors import InvalidInput


class InputText(msgspec.Struct, frozen=True, tag="input_text"):
    """Words of the user, or of a result."""

    text: str


class OutputText(msgspec.Struct, frozen=True, tag="output_text"):
    """Words that the model said."""

    text: str


class ThoughtText(msgspec.Struct, frozen=True, tag="reasoning_text"):
    """Words that the model thought."""

    text: str


class InputPicture(msgspec.Struct, frozen=True, tag="input_image"):
    """A picture."""

    image_url: PictureUrl


InputParts = Annotated[list[InputText | OutputText | ThoughtText | InputPicture], Meta(max_length=PARTS_MAX)]


class InputItem(msgspec.Struct, frozen=True):
    """A message, a call, what came of a call, or a thought; what each needs is in the document."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"] = "message"
    role: Literal["user", "assistant", "system", "developer"] | UnsetType = UNSET
    content: str | InputParts | UnsetType = UNSET
    call_id: CallId | UnsetType = UNSET
    name: ToolName | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    output: str | InputParts | UnsetType = UNSET
    encrypted_content: str | None = None


class FlatTool(msgspec.Struct, frozen=True):
    """What the model may ask to be called, and the JSON schema of its arguments."""

    name: ToolName
    type: Literal["function"]
    description: str | None = None
    parameters: JsonObject | None = None


class FlatChoice(msgspec.Struct, frozen=True):
    """The one that is to be called."""

    name: ToolName
    type: Literal["function"]


class FlatSchemaFormat(msgspec.Struct, frozen=True, tag="json_schema"):
    """JSON of this schema."""

    name: ToolName
    schema: JsonObject


class TextConfig(msgspec.Struct, frozen=True):
    """The form that the answer is to have."""

    format: TextFormat | JsonFormat | FlatSchemaFormat | None = None


class ResponseRequest(msgspec.Struct, frozen=True):
    """A conversation. Fields that are not here are read over: this server does what it says, and clients send more."""

    model: ModelName
    input: str | Annotated[list[InputItem], Meta(max_length=MESSAGES_MAX)]
    instructions: str | None = None
    stream: Annotated[bool | None, Meta(description="Server-sent events.")] = None
    max_output_tokens: (
        Annotated[int, Meta(ge=1, description="Longest answer, in tokens; at most llm.output_tokens_max.")] | None
    ) = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    tools: Annotated[list[FlatTool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | None = None
    text: TextConfig | None = None
    previous_response_id: Annotated[None, Meta(description="Send the conversation whole.")] = None
    store: Annotated[
        bool | None,
        Meta(description="Whether the response can be read again, for llm.kept_days; `false` shares nothing either."),
    ] = None
    background: Annotated[bool | None, Meta(description="Go on when nobody reads. Only with `stream`.")] = None


def make_prompt(request: ResponseRequest, output_tokens_max: int) -> Prompt:
    """The conversation. Never longer than `output_tokens_max`, whatever the request says. Raises `InvalidInput` for an
    item that lacks what its type needs."""
    items = [InputItem(role="user", content=request.input)] if isinstance(request.input, str) else request.input
    for at, item in enumerate(items):
        if missing := [name for name in ITEM_NEEDS[item.type] if getattr(item, name) is UNSET]:
            raise _refuse_item(at, item.type, missing)
    rules = (_join(item.content) for item in items if item.role in ("system", "developer"))
    choice = request.tool_choice
    return Prompt(
        system="\n\n".join(filter(None, (request.instructions, *rules))),
        messages=gather(_read_items(items)),
        passages=(),
        output_tokens_max=min(request.max_output_tokens or output_tokens_max, output_tokens_max),
        tools=tuple(_read_tool(tool) for tool in request.tools or ()),
        choosing=Choosing("named", choice.name) if isinstance(choice, FlatChoice) else Choosing(choice or "auto"),
        form=_read_form(request.text),
        sampling=Sampling(request.temperature, request.top_p),
    )


def read_keeping(request: ResponseRequest, kept_days: int) -> bool:
    """Whether the response is kept, which it is unless somebody says otherwise. Raises `InvalidInput` for one that is
    to go on unread and could never be read."""
    keeps = request.store is not False and kept_days > 0
    if request.background and not (request.stream and keeps):
        reason = "needs stream" if not request.stream else "needs store, and llm.kept_days"
        hint = "send stream: true, leave store out, and go on with GET /v1/responses/{id}"
        raise refuse(f"background {reason}", hint, "body", ("background", reason))
    return keeps


def _refuse_item(at: int, kind: str, missing: list[str]) -> InvalidInput:
    text = f"input[{at}]: a {kind} needs {', '.join(missing)}"
    return refuse(text, "GET /openapi.json documents each item", "body", (f"input[{at}].{missing[0]}", "is missing"))


def _read_items(items: Iterable[InputItem]) -> Iterator[tuple[Role, tuple[Part, ...]]]:
    for item in items:
        if item.type == "function_call_output":
            yield "user", (ToolResult(item.call_id or "", _join(item.output)), *_find_pictures(item.output))
        elif item.type == "function_call":
            yield "assistant", (ToolCall(item.call_id or "", item.name or "", item.arguments or ""),)
        elif item.type == "reasoning":
            # Only with what it was signed with a provider takes a thought back.
            signed = item.encrypted_content
            yield "assistant", (Reasoning(_join(item.content), signed),) if signed else ()
        elif item.role == "user":
            yield "user", (*read_text(_join(item.content)), *_find_pictures(item.content))
        elif item.role == "assistant":
            yield "assistant", read_text(_join(item.content))


def _join(content: str | InputParts | UnsetType) -> str:
    if isinstance(content, str):
        return content
    return "" if content is UNSET else "".join(part.text for part in content if not isinstance(part, InputPicture))


def _find_pictures(content: str | InputParts | UnsetType) -> Iterator[Part]:
    if isinstance(content, list):
        yield from (read_picture(part.image_url) for part in content if isinstance(part, InputPicture))


def _read_tool(tool: FlatTool) -> Tool:
    parameters = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    return Tool(tool.name, tool.description or "", dump(parameters))


def _read_form(text: TextConfig | None) -> Form | None:
    wanted = text and text.format
    if isinstance(wanted, FlatSchemaFormat):
        return Form(wanted.name, dump(wanted.schema))
    return Form() if isinstance(wanted, JsonFormat) else None
