"""What a client of Anthropic's Messages API asks, as a prompt. Pure.

Owns the request's shape. What it does not know of a request it leaves out; what it cannot do it refuses by name: blocks
and tools of kinds that are not here, and pictures that would have to be fetched.
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
    Base64,
    CallId,
    JsonObject,
    ModelName,
    ToolName,
    dump,
    gather,
    read_base64,
    read_text,
)
from connectors.llm.prompts import (
    Choosing,
    Form,
    Image,
    Part,
    Prompt,
    Reasoning,
    Role,
    Sampling,
    Tool,
    ToolCall,
    ToolResult,
)


class TextBlockParam(msgspec.Struct, frozen=True, tag="text"):
    """Words."""

    text: str


class PictureSource(msgspec.Struct, frozen=True):
    """The picture itself. No address is opened."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: Base64
    type: Literal["base64"]


class PictureBlockParam(msgspec.Struct, frozen=True, tag="image"):
    """A picture."""

    source: PictureSource


class ToolUseBlockParam(msgspec.Struct, frozen=True, tag="tool_use"):
    """A call that the model made."""

    id: CallId
    name: ToolName
    input: JsonObject


ResultBlocks = Annotated[list[TextBlockParam | PictureBlockParam], Meta(max_length=PARTS_MAX)]


class ToolResultBlockParam(msgspec.Struct, frozen=True, tag="tool_result"):
    """What came of a call."""

    tool_use_id: CallId
    content: str | ResultBlocks | None = None
    is_error: bool | None = None


class ThinkingBlockParam(msgspec.Struct, frozen=True, tag="thinking"):
    """What the model thought. Without the signature that it was given with, it is left out."""

    thinking: str
    signature: str


class RedactedBlockParam(msgspec.Struct, frozen=True, tag="redacted_thinking"):
    """What the model thought and nobody may read. It is left out."""

    data: str


MessageBlock = (
    TextBlockParam
    | PictureBlockParam
    | ToolUseBlockParam
    | ToolResultBlockParam
    | ThinkingBlockParam
    | RedactedBlockParam
)


class MessageTurn(msgspec.Struct, frozen=True):
    """One turn."""

    role: Role
    content: str | Annotated[list[MessageBlock], Meta(max_length=PARTS_MAX)]


class MessageTool(msgspec.Struct, frozen=True):
    """What the model may ask to be called, and the JSON schema of its arguments."""

    name: ToolName
    input_schema: JsonObject
    description: str | None = None
    type: Literal["custom"] | None = None


class AutoChoice(msgspec.Struct, frozen=True, tag="auto"):
    """A tool, or none, as the model likes."""


class AnyChoice(msgspec.Struct, frozen=True, tag="any"):
    """One of the tools."""


class NoChoice(msgspec.Struct, frozen=True, tag="none"):
    """No tool."""


class NamedChoice(msgspec.Struct, frozen=True, tag="tool"):
    """The tool of this name."""

    name: ToolName


MessageChoice = AutoChoice | AnyChoice | NoChoice | NamedChoice


class OutputFormat(msgspec.Struct, frozen=True):
    """JSON of this schema."""

    schema: JsonObject
    type: Literal["json_schema"]


class OutputConfig(msgspec.Struct, frozen=True):
    """The form that the answer is to have."""

    format: OutputFormat | None = None


class MessageRequest(msgspec.Struct, frozen=True):
    """A conversation. Fields that are not here are read over: this server does what it says, and clients send more."""

    model: ModelName
    max_tokens: Annotated[int, Meta(ge=1, description="Longest answer, in tokens; at most llm.output_tokens_max.")]
    messages: Annotated[list[MessageTurn], Meta(min_length=1, max_length=MESSAGES_MAX)]
    system: str | Annotated[list[TextBlockParam], Meta(max_length=PARTS_MAX)] | None = None
    stream: Annotated[bool | None, Meta(description="Server-sent events.")] = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=STOPS_MAX)] | None = None
    tools: Annotated[list[MessageTool], Meta(max_length=TOOLS_MAX)] | None = None
    tool_choice: MessageChoice | None = None
    output_config: OutputConfig | None = None


def make_prompt(request: MessageRequest, output_tokens_max: int) -> Prompt:
    """The conversation. Never longer than `output_tokens_max`, whatever the request says."""
    system = request.system or ""
    wanted = request.output_config and request.output_config.format
    return Prompt(
        system=system if isinstance(system, str) else "\n\n".join(block.text for block in system),
        messages=gather((turn.role, tuple(_read_blocks(turn.content))) for turn in request.messages),
        passages=(),
        output_tokens_max=min(request.max_tokens, output_tokens_max),
        tools=tuple(Tool(tool.name, tool.description or "", dump(tool.input_schema)) for tool in request.tools or ()),
        choosing=_read_choice(request.tool_choice),
        form=Form(schema=dump(wanted.schema)) if wanted else None,
        sampling=Sampling(request.temperature, request.top_p, tuple(filter(None, request.stop_sequences or ()))),
    )


def _read_blocks(content: str | Iterable[MessageBlock]) -> Iterator[Part]:
    if isinstance(content, str):
        yield from read_text(content)
        return
    for block in content:
        if isinstance(block, TextBlockParam):
            yield from read_text(block.text)
        elif isinstance(block, PictureBlockParam):
            yield _read_picture(block)
        elif isinstance(block, ToolUseBlockParam):
            yield ToolCall(block.id, block.name, dump(block.input))
        elif isinstance(block, ToolResultBlockParam):
            yield from _read_result(block)
        elif isinstance(block, ThinkingBlockParam) and block.signature:
            yield Reasoning(block.thinking, block.signature)


def _read_result(block: ToolResultBlockParam) -> Iterator[Part]:
    """A result is text; pictures of it stand behind it."""
    content = block.content or ""
    blocks: ResultBlocks = [TextBlockParam(content)] if isinstance(content, str) else content
    said = "\n".join(each.text for each in blocks if isinstance(each, TextBlockParam))
    yield ToolResult(block.tool_use_id, said, bool(block.is_error))
    yield from (_read_picture(each) for each in blocks if isinstance(each, PictureBlockParam))


def _read_picture(block: PictureBlockParam) -> Image:
    return Image(block.source.media_type, read_base64(block.source.data))


def _read_choice(choice: MessageChoice | None) -> Choosing:
    if isinstance(choice, NamedChoice):
        return Choosing("named", choice.name)
    if isinstance(choice, AnyChoice):
        return Choosing("required")
    return Choosing("none" if isinstance(choice, NoChoice) else "auto")
