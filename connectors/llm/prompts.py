"""What a model is asked: messages with parts, whatever the provider.

Owns the shape of a conversation, and how large it is in bytes. Refuses the providers' own forms (each encoder is beside
its provider) and the words of any one prompt.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["user", "assistant"]
"""The system's words are no message: they are `Prompt.system`."""


class Passage(msgspec.Struct, frozen=True):
    """What an answer may stand on. `number` is what `[number]` in the answer points to."""

    number: int
    title: str
    heading: str
    text: str


class Text(msgspec.Struct, frozen=True):
    """Words, of a person or of a model."""

    text: str


class Image(msgspec.Struct, frozen=True):
    """A picture, as it is in its file. `media_type` is `image/png` or another that the model takes."""

    media_type: str
    content: bytes


class ToolCall(msgspec.Struct, frozen=True):
    """What a model wants to be called. `arguments` is a JSON object, as text; `call_id` is the model's."""

    call_id: str
    name: str
    arguments: str

    def read_arguments(self) -> dict[str, Any]:
        """The arguments as an object. A model that was cut off, or erred, wrote none: then what it wrote stands as
        `text` in one, since providers take nothing else back."""
        try:
            read = msgspec.json.decode(self.arguments or "{}")
        except msgspec.DecodeError:
            read = None
        return read if isinstance(read, dict) else {"text": self.arguments}


class ToolResult(msgspec.Struct, frozen=True):
    """What came of a call. A part of a user's message, however it came about."""

    call_id: str
    text: str
    failed: bool = False


class Reasoning(msgspec.Struct, frozen=True):
    """What a model thought before it spoke. Without its `signature` a provider does not take it back."""

    text: str
    signature: str


Part = Text | Image | ToolCall | ToolResult | Reasoning


class PromptMessage(msgspec.Struct, frozen=True):
    """One turn. A model's turn has text, calls and reasoning; a user's has text, pictures and results."""

    role: Role
    parts: tuple[Part, ...]


class Tool(msgspec.Struct, frozen=True):
    """What a model may ask to be called. `parameters` is a JSON schema, as text."""

    name: str
    description: str
    parameters: str


class Choosing(msgspec.Struct, frozen=True):
    """How the model is to choose among the tools: `auto` as it likes, `none`, `required` one of them, or the one that
    has this name."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""


class Form(msgspec.Struct, frozen=True):
    """The form that the answer is to have: JSON, of this schema (as text; empty is any JSON)."""

    name: str = "answer"
    schema: str = ""


class Sampling(msgspec.Struct, frozen=True):
    """How the model is to choose its words. None and empty: as the provider does by itself."""

    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()


class Prompt(msgspec.Struct, frozen=True):
    """One question, with what was said before it. A model reads `system` and `messages`; what needs no model reads
    `passages`, the best first, and says `quoting` before it quotes them. `needs_model`: quoting is no answer to it."""

    system: str
    messages: tuple[PromptMessage, ...]
    passages: tuple[Passage, ...]
    output_tokens_max: int
    tools: tuple[Tool, ...] = ()
    choosing: Choosing = Choosing()
    form: Form | None = None
    sampling: Sampling = Sampling()
    needs_model: bool = False
    quoting: str = ""
    user: str = ""
    """A pseudonym of who asks, for providers that have a field for it; empty is none."""

    @property
    def size_bytes(self) -> int:
        """What the provider reads, for an estimate of its tokens."""
        said = sum(size_of(part) for message in self.messages for part in message.parts)
        offered = sum(len(field.encode()) for tool in self.tools for field in msgspec.structs.astuple(tool))
        return len(self.system.encode()) + said + offered + len(self.form.schema.encode() if self.form else b"")


IMAGE_BYTES_COUNTED = 6_400
"""What a picture counts for in an estimate by the bytes: providers charge it by its area, at most some 1 600 tokens,
and not by the size of its file."""


def size_of(part: Part) -> int:
    """Bytes that an estimate of tokens counts."""
    if isinstance(part, Image):
        return IMAGE_BYTES_COUNTED
    return sum(len(value.encode()) for value in msgspec.structs.astuple(part) if isinstance(value, str))


def ask(
    system: str,
    question: str,
    passages: tuple[Passage, ...],
    output_tokens_max: int,
    before: tuple[PromptMessage, ...] = (),
) -> Prompt:
    """The prompt of one question, and of what was said before it."""
    return Prompt(system, (*before, PromptMessage("user", (Text(question),))), passages, output_tokens_max)
