"""The rounds of an answer whose model looks things up: it asks for tools, they are run, and it goes on.

Owns what a model said in each round, as it has to be given back, the numbers of the sources that tools found, and how
many rounds there are. A round is an attempt like any other: it has its row in the books (`ledger`), and a slot while it
writes; while tools run there is none. Refuses the tools themselves (`tools`), and to show anything (`writing`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from api.chat.schemas import ChatEvent, Source, Sources, ToolRun
from api.chat.tools import Toolbox, tell_failure
from connectors.llm import CallBegun, CallPiece, Delta, Done, Event, Quoted, Thought
from connectors.llm.prompts import (
    Choosing,
    Part,
    Passage,
    Prompt,
    PromptMessage,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from connectors.llm.routing.routes import EndpointKey
from runtime.errors import AdriaticError, InvalidInput

ROUNDS_MAX: Final = 4
"""Rounds of tools in one answer. In the attempt after the last of them a model has to answer with what it has."""
CALLS_MAX: Final = 8
"""Calls of one round that are run; the rest is refused. Models ask for one to three."""
RESULT_BYTES_MAX: Final = 32_768
"""Longest result of a tool, as JSON: 8 000 tokens, and at most a quarter of a million in all rounds."""
SOURCES_FOUND_MAX: Final = 60
"""Sources of one answer, with those that it began with."""


class _Turn(NamedTuple):
    """One round: what the model of this endpoint said, and what its calls came to."""

    endpoint: EndpointKey
    said: tuple[Part, ...]
    results: tuple[ToolResult, ...]


class ToolRounds:
    """The rounds of one answer. `sources` are those that it begins with."""

    def __init__(self, toolbox: Toolbox, sources: Sequence[Source]) -> None:
        self._toolbox = toolbox
        self._first = tuple(sources)
        self.sources = [*sources]
        self._turns: list[_Turn] = []
        self._ran = 0
        self._said: list[Part] = []
        self._calls: dict[int, int] = {}
        """The place in `_said` of each call, by the model's number for it."""
        self._calls_before = 0
        self._call_ids: set[str] = set()
        self.pending = False
        """The model waits for what its calls come to."""

    @property
    def goes_on(self) -> bool:
        """Whether a round has been run, so that the next attempt goes on with what was shown."""
        return bool(self._turns)

    def begin_turn(self) -> None:
        """Another attempt writes from here on."""
        self._calls_before += len(self._calls)
        self._said, self._calls, self.pending = [], {}, False

    def void(self) -> None:
        """Everything so far is void. How many rounds there were still counts."""
        self._turns, self.sources = [], [*self._first]

    def hear(self, event: Event) -> Event:
        """Note one event of the model. Gives it back as the answer has it: calls are numbered through all rounds, and
        no two have one id."""
        if isinstance(event, Delta | Quoted):
            self._hear_text(event.text)
        elif isinstance(event, Thought):
            self._hear_thought(event)
        elif isinstance(event, CallBegun):
            call_id = event.call_id
            if call_id in self._call_ids:
                call_id = f"{call_id}-{self._calls_before + len(self._calls)}"
            self._call_ids.add(call_id)
            self._calls[event.index] = len(self._said)
            self._said.append(ToolCall(call_id, event.name, ""))
            return CallBegun(self._calls_before + event.index, call_id, event.name)
        elif isinstance(event, CallPiece):
            at = self._calls[event.index]
            call = self._said[at]
            assert isinstance(call, ToolCall)
            self._said[at] = msgspec.structs.replace(call, arguments=call.arguments + event.arguments)
            return CallPiece(self._calls_before + event.index, event.arguments)
        elif isinstance(event, Done):
            return self._hear_end(event)
        return event

    def _hear_text(self, said: str) -> None:
        last = self._said[-1] if self._said else None
        if isinstance(last, Text):
            self._said[-1] = Text(last.text + said)
        elif said:
            self._said.append(Text(said))

    def _hear_thought(self, event: Thought) -> None:
        last = self._said[-1] if self._said else None
        if isinstance(last, Reasoning) and not last.signature:
            self._said[-1] = Reasoning(last.text + event.text, event.signature)
        else:
            self._said.append(Reasoning(event.text, event.signature))

    def _hear_end(self, event: Done) -> Done:
        # Some endpoints say that a model stopped by itself when it called a tool.
        if not self._calls or event.finish not in ("tool-calls", "stop"):
            return event
        if self._ran >= ROUNDS_MAX:
            return Done("length")
        self.pending = True
        return event

    async def run(self, endpoint: EndpointKey) -> AsyncIterator[ChatEvent]:
        """Run what the model of `endpoint` asked for, one after the other, and say so."""
        self._ran += 1
        results: list[ToolResult] = []
        known = len(self.sources)
        calls = [part for part in self._said if isinstance(part, ToolCall)]
        for number, call in enumerate(calls):
            named = (call.call_id, call.name)
            yield ToolRun(*named, "begun", call.arguments)
            try:
                if number >= CALLS_MAX:
                    raise InvalidInput(f"at most {CALLS_MAX} calls of one turn are run", hint="ask again")
                found = await self._toolbox.run(call.name, call.arguments)
            except AdriaticError as error:
                results.append(ToolResult(call.call_id, tell_failure(error), failed=True))
                yield ToolRun(*named, "failed", call.arguments, error=tell_failure(error))
            else:
                numbered = self._number(found.sources)
                results.append(ToolResult(call.call_id, _tell(numbered, found.passages)))
                shown = [source.number for source in numbered if source is not None]
                yield ToolRun(*named, "done", call.arguments, found=shown)
        if len(self.sources) > known:
            yield Sources([*self.sources])
        said = tuple(_complete(part) for part in self._said)
        self._turns.append(_Turn(endpoint, said, tuple(results)))
        self.begin_turn()

    def _number(self, found: Sequence[Source]) -> list[Source | None]:
        """The sources with their numbers in this answer; None beyond the bound."""
        numbered: list[Source | None] = []
        for each in found:
            known = next((source for source in self.sources if _place(source) == _place(each)), None)
            if known is None and len(self.sources) < SOURCES_FOUND_MAX:
                number = max((source.number for source in self.sources), default=0) + 1
                known = msgspec.structs.replace(each, number=number)
                self.sources.append(known)
            numbered.append(known)
        return numbered

    def extend(self, prompt: Prompt, endpoint: EndpointKey | None = None) -> Prompt:
        """The prompt with all rounds so far, for this endpoint. Thoughts are signed for whoever had them: nobody else
        gets them back."""
        messages = [*prompt.messages]
        for turn in self._turns:
            said = [part for part in turn.said if not isinstance(part, Reasoning) or turn.endpoint == endpoint]
            messages += [PromptMessage("assistant", tuple(said)), PromptMessage("user", turn.results)]
        choosing = Choosing("none") if self._ran >= ROUNDS_MAX else prompt.choosing
        return msgspec.structs.replace(prompt, messages=tuple(messages), choosing=choosing)


def _complete(part: Part) -> Part:
    """A call without a word of arguments as providers take it back."""
    wrote_nothing = isinstance(part, ToolCall) and not part.arguments
    return msgspec.structs.replace(part, arguments="{}") if wrote_nothing else part


def _place(source: Source) -> tuple[str, UUID, int, int, int]:
    return (source.kind, source.source_id, source.version, source.char_start, source.char_end)


def _tell(sources: Sequence[Source | None], passages: Sequence[Passage]) -> str:
    """What a model reads of a result: JSON, because a text cannot break out of a string of it."""
    both = [(source, passage) for source, passage in zip(sources, passages, strict=True) if source is not None]
    texts = [passage.text for _, passage in both]
    while True:
        told = [
            {
                "source": source.number,
                "title": passage.title,
                "log": source.log,
                "version": source.version,
                "heading": passage.heading,
                "text": said,
                "cut": len(said) < source.char_end - source.char_start,
            }
            for (source, passage), said in zip(both, texts, strict=True)
        ]
        result = msgspec.json.encode(told)
        if len(result) <= RESULT_BYTES_MAX or not any(texts):
            return result.decode()
        texts = [said[: len(said) * RESULT_BYTES_MAX // len(result)] for said in texts]
