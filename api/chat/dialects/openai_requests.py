"""What a client of OpenAI's Chat Completions API asks, as a prompt. Pure.

Owns the request's shape. What it does not know of a request it leaves out, as every server of this protocol does; what
it cannot do it refuses by name: several answers at once, and pictures that would have to be fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.chat.dialects.conversations import (
    MESSAGES_MAX,
    PARTS_MAX,
    STOPS_MAX,
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
from connectors.llm.prompts import Choosing, Form, Part, Prompt, Role, Sampling, Tool, ToolCall, ToolResult


class TextContent(msgspec.Struct, frozen=True, tag="text"):
    """Words."""

    text: str


class PictureReference(msgspec.Struct, frozen=True):
    """Where a picture is: in the address itself."""

    url: PictureUrl


class PictureContent(msgspec.Struct, frozen=True, tag="image_url"):
    """A picture."""

    image_url: PictureReference


Texts = str | Annotated[list[TextContent], Meta(max_length=PARTS_MAX)]
Contents = str | Annotated[list[TextContent | PictureContent], Meta(max_length=PARTS_MAX)]


class SystemTurn(msgspec.Struct, frozen=True, tag_field="role", tag="system"):
    """What the model is told before all else, wherever it stands in the list."""

    content: Texts


class DeveloperTurn(msgspec.Struct, frozen=True, tag_field="role", tag="developer"):
    """The newer name of the system's words."""

    content: Texts


class UserTurn(msgspec.Struct, frozen=True, tag_field="role", tag="user"):
    """What the user says."""

    content: Contents


class CalledFunction(msgspec.Struct, frozen=True):
    """Which function, with which arguments: JSON, as text."""

    name: ToolName
    arguments: str


class FunctionCall(msgspec.Struct, frozen=True):
    """A call that the model made."""

    id: CallId
    function: CalledFunction
    type: Literal["function"] = "function"


class AssistantTurn(msgspec.Struct, frozen=True, tag_field="role", tag="assistant"):
    """What the model said, and called, before."""

    content: Texts | None = None
    tool_calls: Annotated[list[FunctionCall], Meta(max_length=TOOLS_MAX)] | None = None


class ToolTurn(msgspec.Struct, frozen=True, tag_field="role", tag="tool"):
    """What came of a call."""

    tool_call_id: CallId
    content: Texts


CompletionTurn = SystemTurn | DeveloperTurn | UserTurn | AssistantTurn | ToolTurn


class OfferedFunction(msgspec.Struct, frozen=True):
    """A function, and the JSON schema of its arguments."""

    name: ToolName
    description: str | None = None
    parameters: JsonObject | None = None


class CompletionTool(msgspec.Struct, frozen=True):
    """What the model may ask to be called."""

    function: OfferedFunction
    type: Literal["function"] = "function"


class ChosenFunction(msgspec.Struct, frozen=True):
    """The name of the function that is to be called."""

    name: ToolName


class ChosenTool(msgspec.Struct, frozen=True):
    """The one that is to be called."""

    function: ChosenFunction
    type: Literal["function"] = "function"


class TextFormat(msgspec.Struct, frozen=True, tag="text"):
    """Words, as the model likes."""


class JsonFormat(msgspec.Struct, frozen=True, tag="json_object"):
    """Any JSON."""


class NamedSchema(msgspec.Struct, frozen=True):
    """A JSON schema, and its name."""

    name: ToolName
    schema: JsonObject | None = None


class SchemaFormat(msgspec.Struct, frozen=True, tag="json_schema"):
    """JSON of this schema."""

    json_schema: NamedSchema


class StreamOptions(msgspec.Struct, frozen=True):
    """`include_usage`: a last chunk with the tokens, and without choices."""

    include_usage: bool | None = None


class CompletionRequest(msgspec.Struct, frozen=True):
    """A conversation. Fields that are not here are read over: this server does what it says, and clients send more."""

    model: ModelName
    messages: Annotated[list[CompletionTurn], Meta(min_length=1, max_length=MESSAGES_MAX)]
    stream: Annotated[bool | None, Meta(description="Chunks as server-sent events.")] = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: (
        Annotated[int, Meta(ge=1, description="Longest answer, in tokens; at most llm.output_tokens_max.")] | None
    ) = None
    max_tokens: Annotated[int, Meta(ge=1, description="The older name of `max_completion_tokens`.")] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=STOPS_MAX)] | None = None
    n: Annotated[int, Meta(ge=1, le=1, description="One answer.")] | None = None
    tools: Annotated[list[CompletionTool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    response_format: TextFormat | JsonFormat | SchemaFormat | None = None


def make_prompt(request: CompletionRequest, output_tokens_max: int) -> Prompt:
    """The conversation. Never longer than `output_tokens_max`, whatever the request says."""
    wanted = request.max_completion_tokens or request.max_tokens or output_tokens_max
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    rules = (turn.content for turn in request.messages if isinstance(turn, SystemTurn | DeveloperTurn))
    return Prompt(
        system="\n\n".join(filter(None, map(_join, rules))),
        messages=gather(_read_turns(request.messages)),
        passages=(),
        output_tokens_max=min(wanted, output_tokens_max),
        tools=tuple(_read_tool(tool.function) for tool in request.tools or ()),
        choosing=_read_choice(request.tool_choice),
        form=_read_form(request.response_format),
        sampling=Sampling(request.temperature, request.top_p, tuple(filter(None, stop))),
    )


def _read_turns(turns: Iterable[CompletionTurn]) -> Iterator[tuple[Role, tuple[Part, ...]]]:
    for turn in turns:
        if isinstance(turn, UserTurn):
            yield "user", tuple(_read_contents(turn.content))
        elif isinstance(turn, ToolTurn):
            yield "user", (ToolResult(turn.tool_call_id, _join(turn.content)),)
        elif isinstance(turn, AssistantTurn):
            calls = (ToolCall(call.id, call.function.name, call.function.arguments) for call in turn.tool_calls or ())
            yield "assistant", (*read_text(_join(turn.content or "")), *calls)


def _read_contents(content: Contents) -> Iterator[Part]:
    if isinstance(content, str):
        yield from read_text(content)
        return
    for part in content:
        if isinstance(part, PictureContent):
            yield read_picture(part.image_url.url)
        else:
            yield from read_text(part.text)


def _join(content: Texts) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def _read_tool(function: OfferedFunction) -> Tool:
    parameters = {"type": "object", "properties": {}} if function.parameters is None else function.parameters
    return Tool(function.name, function.description or "", dump(parameters))


def _read_choice(choice: Literal["none", "auto", "required"] | ChosenTool | None) -> Choosing:
    return Choosing("named", choice.function.name) if isinstance(choice, ChosenTool) else Choosing(choice or "auto")


def _read_form(wanted: TextFormat | JsonFormat | SchemaFormat | None) -> Form | None:
    if isinstance(wanted, SchemaFormat):
        schema = wanted.json_schema.schema
        return Form(wanted.json_schema.name, "" if schema is None else dump(schema))
    return Form() if isinstance(wanted, JsonFormat) else None
