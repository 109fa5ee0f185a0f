"""An answer as one text, for whoever reads it whole: jobs, which show nobody its pieces.

Owns what of its events counts, and that a text which a model took back is gone. Refuses to ask (`supervisor`).
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from api.chat.answers import Answer
from api.chat.schemas import (
    DoneEvent,
    Reset,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageSpent,
)

READ_S: Final = 60.0
"""One wait for the next event of an answer, in seconds; then it is waited again."""


async def hear(answer: Answer) -> dict[str, Any]:
    """An answer, read to its end: `text`, `calls`, `model`, `finish`, `tokens` and `micro_usd`. Raises what went wrong.
    Whoever cancels this leaves the answer, which stops."""
    heard = _HeardAnswer()
    with closing(answer.open()) as cursor:
        while not cursor.at_end:
            for _, event in await cursor.read(READ_S):
                heard.hear(event)
    if answer.failure is not None:
        raise answer.failure
    return heard.tell()


class _HeardAnswer:
    """What an answer says: its words, its calls, and what it cost."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._calls: list[dict[str, str]] = []
        self._more: dict[str, Any] = {"model": "", "finish": "", "tokens": 0, "micro_usd": None}

    def hear(self, event: Any) -> None:
        """Take one event."""
        if isinstance(event, TextDelta):
            self._text.append(event.text)
        elif isinstance(event, ToolCallStart):
            self._calls.append({"call_id": event.call_id, "name": event.name, "arguments": ""})
        elif isinstance(event, ToolCallDelta):
            self._calls[event.index]["arguments"] += event.arguments
        elif isinstance(event, Start):
            self._more |= {"model": event.model}
        elif isinstance(event, Reset):
            self._text.clear()
            self._calls.clear()
        elif isinstance(event, UsageSpent):
            self._more |= {"tokens": event.tokens.total, "micro_usd": event.cost_micro_usd}
        elif isinstance(event, DoneEvent):
            self._more |= {"finish": event.finish}

    def tell(self) -> dict[str, Any]:
        """All of it."""
        return {"text": "".join(self._text), "calls": self._calls, **self._more}
