"""An answer as the AI SDK's UI message stream has it, which its hooks for chats read. Pure.

Owns the chunks, and which part is open. An answer that broke ends with the chunk `error`, and has neither `finish` nor
`[DONE]`. What of an answer the protocol has no word for is in parts of ours: `data-citations` and `data-usage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any
from uuid import UUID

import msgspec

from api import sse
from api.chat.schemas import (
    ChatEvent,
    Citations,
    DoneEvent,
    ReasoningDelta,
    Source,
    Sources,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolRun,
    UsageSpent,
)
from api.problems import Problem
from connectors.llm import Finish

HEADERS = {**sse.HEADERS, "x-vercel-ai-ui-message-stream": "v1"}
"""Clients know the version of the protocol by the last."""
_FINISH: dict[Finish, str] = {
    "stop": "stop",
    "length": "length",
    "tool-calls": "tool-calls",
    "refused": "content-filter",
    "other": "other",
}
_ENCODER = msgspec.json.Encoder()
_DONE = b"data: [DONE]\n\n"

Chunk = dict[str, Any]


class UiMessageEncoder:
    """Makes the chunks of one answer for one reader."""

    def __init__(self, answer_id: UUID) -> None:
        self._id = str(answer_id)
        self._parts = 0
        self._open = ""
        """`text` or `reasoning`: the kind of the part that goes on."""
        self._calls: dict[int, tuple[ToolCallStart, list[str]]] = {}
        self._told = 0
        """Sources that were told."""
        self._ran = False
        """A tool was run, and the model has not gone on yet."""

    def encode(self, number: int, event: ChatEvent) -> bytes:
        """See `Encode`."""
        made = chain(self._step(event), self._encode(event))
        chunks = b"".join(b"data: " + _ENCODER.encode(chunk) + b"\n\n" for chunk in made)
        return chunks + _DONE if isinstance(event, DoneEvent) else chunks

    def _step(self, event: ChatEvent) -> Iterator[Chunk]:
        """What the model writes behind a tool that was run is another step of it."""
        if self._ran and isinstance(event, TextDelta | ReasoningDelta | ToolCallStart):
            self._ran = False
            yield {"type": "finish-step"}
            yield {"type": "start-step"}

    def _encode(self, event: ChatEvent) -> Iterator[Chunk]:
        if isinstance(event, TextDelta):
            yield from self._go_on("text", event.text)
        elif isinstance(event, Start):
            metadata = {"session_id": event.session_id, "provider": event.provider, "model": event.model}
            yield {"type": "start", "messageId": self._id, "messageMetadata": metadata}
            yield {"type": "start-step"}
        elif isinstance(event, Sources):
            yield from map(_shape_source, event.sources[self._told :])
            self._told = len(event.sources)
        elif isinstance(event, ReasoningDelta):
            yield from self._go_on("reasoning", event.text)
        elif isinstance(event, ToolCallStart):
            yield from self._leave()
            self._calls[event.index] = (event, [])
            yield {"type": "tool-input-start", "toolCallId": event.call_id, "toolName": event.name}
        elif isinstance(event, ToolCallDelta):
            begun, pieces = self._calls[event.index]
            pieces.append(event.arguments)
            yield {"type": "tool-input-delta", "toolCallId": begun.call_id, "inputTextDelta": event.arguments}
        elif isinstance(event, ToolRun):
            yield from self._run(event)
        elif isinstance(event, Citations):
            yield from self._leave()
            yield {"type": "data-citations", "data": event}
        elif isinstance(event, UsageSpent):
            yield from self._leave()
            yield {"type": "data-usage", "data": event}
        elif isinstance(event, DoneEvent):
            yield from self._finish(event.finish)
        elif isinstance(event, Problem):
            yield {"type": "error", "errorText": f"{event.detail} ({event.hint})" if event.hint else event.detail}

    def _go_on(self, kind: str, text: str) -> Iterator[Chunk]:
        if self._open != kind:
            yield from self._leave()
            self._parts += 1
            self._open = kind
            yield {"type": f"{kind}-start", "id": str(self._parts)}
        if text:
            yield {"type": f"{kind}-delta", "id": str(self._parts), "delta": text}

    def _leave(self) -> Iterator[Chunk]:
        if self._open:
            yield {"type": f"{self._open}-end", "id": str(self._parts)}
            self._open = ""

    def _run(self, run: ToolRun) -> Iterator[Chunk]:
        """A call that was run here, so that the client does not run it. The sources that it found are parts of their
        own."""
        done: Chunk = {"toolCallId": run.call_id, "providerExecuted": True}
        if run.state == "begun":
            yield from self._leave()
            begun = next(begun for begun, _ in self._calls.values() if begun.call_id == run.call_id)
            yield {**_shape_call(begun, run.arguments), "providerExecuted": True}
            del self._calls[begun.index]
            self._ran = True
        elif run.state == "done":
            yield {"type": "tool-output-available", **done, "output": {"sources": run.found}}
        else:
            yield {"type": "tool-output-error", **done, "errorText": run.error}

    def _finish(self, finish: Finish) -> Iterator[Chunk]:
        yield from self._leave()
        for begun, pieces in self._calls.values():
            yield _shape_call(begun, "".join(pieces))
        yield {"type": "finish-step"}
        yield {"type": "finish", "finishReason": _FINISH[finish]}


def _shape_source(source: Source) -> Chunk:
    """A source as a document, with all that we know of it where the protocol has a place for the provider's own."""
    title = source.title if source.label is None else f"{source.label} {source.title}"
    return {
        "type": "source-document",
        "sourceId": str(source.number),
        "mediaType": "text/markdown",
        "title": title,
        "providerMetadata": {"adriatic": source},
    }


def _shape_call(begun: ToolCallStart, arguments: str) -> Chunk:
    named = {"toolCallId": begun.call_id, "toolName": begun.name}
    try:
        return {"type": "tool-input-available", **named, "input": msgspec.json.decode(arguments or "{}")}
    except msgspec.DecodeError as error:
        return {"type": "tool-input-error", **named, "input": arguments, "errorText": f"no JSON: {error}"}
