"""What the dialects have in common on the way from a client's messages to a prompt. Pure.

Owns the bounds of a conversation, how turns are gathered, and pictures in a text. Refuses what would have to be
fetched: the server opens no address that a caller names.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from connectors.llm.prompts import Image, Part, PromptMessage, Role, Text, ToolResult
from schemas import text

CONVERSATION_BYTES_MAX: Final = 8_388_608
"""Largest body of a conversation. A million tokens of text have some 4 MB, and one picture has 5 MB at most."""
MESSAGES_MAX: Final = 2_000
"""Messages of one conversation. Agents send hundreds."""
PARTS_MAX: Final = 200
"""Parts of one message. A page of a document each, or a picture."""
TOOLS_MAX: Final = 128
"""Tools that a model may choose among: what OpenAI takes."""
STOPS_MAX: Final = 16
"""Texts at which an answer ends. Providers take four to sixteen."""
NAME_CHARS_MAX: Final = 256
"""Longest name of a model, and id of a call."""

ITEM_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "reasoning": (),
}
"""What an item of OpenAI's Responses has to have, by its type. Here, since the document says it too."""

_BASE64 = r"[A-Za-z0-9+/]*={0,2}"
"""No more than the letters: a pattern that counts them in fours would keep a place for each four of a picture."""

ModelName = Annotated[
    str,
    Meta(
        pattern=text.BODY,
        min_length=1,
        max_length=NAME_CHARS_MAX,
        description="One of those that GET /v1/models lists.",
    ),
]
CallId = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,128}" + text.END, description="The name of a tool.")]
JsonObject = dict[str, Any]
Base64 = Annotated[str, Meta(pattern=rf"^{_BASE64}{text.END}", description="Bytes, in base64.")]
PictureUrl = Annotated[
    str,
    Meta(
        pattern=rf"^data:image/(?:png|jpeg|gif|webp);base64,{_BASE64}{text.END}",
        description="The picture itself, as a data URL. No other address is opened.",
    ),
]


def read_picture(url: str) -> Image:
    """The picture of a data URL that fits `PictureUrl`."""
    head, _, content = url.partition(",")
    return Image(head.removeprefix("data:").removesuffix(";base64"), read_base64(content))


def read_base64(content: str) -> bytes:
    """The bytes of a text that fits `Base64`. One that was cut gives what is left: the provider says that it is no
    picture."""
    letters = content.rstrip("=")
    whole = letters[: len(letters) - (len(letters) % 4 == 1)]
    return b64decode(whole + "=" * (-len(whole) % 4))


def read_text(said: str) -> tuple[Text, ...]:
    """A text as parts. Providers refuse an empty one."""
    return (Text(said),) if said else ()


def dump(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def gather(turns: Iterable[tuple[Role, tuple[Part, ...]]]) -> tuple[PromptMessage, ...]:
    """Messages of which no two in a row are of the same role, and none is empty. In each, results of tools come first.
    Some providers take no others."""
    messages: list[tuple[Role, list[Part]]] = []
    for role, parts in turns:
        if messages and messages[-1][0] == role:
            messages[-1][1].extend(parts)
        elif parts:
            messages.append((role, [*parts]))
    return tuple(
        PromptMessage(role, tuple(sorted(parts, key=lambda part: not isinstance(part, ToolResult))))
        for role, parts in messages
    )
