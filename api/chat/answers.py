"""An answer: what a caller gets, as a log of numbered events with any number of readers.

Owns the log, its bound, the places of its readers, and what happens when the last of them leaves. Refuses providers,
money and bytes: whoever writes appends (`writing`), whoever reads encodes at the edge (`encoding`). Nobody waits for a
slow reader, and no reader holds up another: what was written stays until the answer is forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Literal
from uuid import UUID

from api.chat.limits import LimitStanding
from api.chat.schemas import ChatEvent, size_of
from runtime.errors import AdriaticError, TooLarge

ANSWER_BYTES_MAX = 4_194_304
"""Text of one answer. The longest that a model writes (128 000 tokens) has about half a megabyte."""
EVENT_BYTES = 64
"""What an event of a few words counts for beside them: its object, and its place in the log."""
BATCH_MAX = 256
"""Events that a reader who is behind gets at once."""

CacheOutcome = Literal["hit", "follow", "miss", "bypass"]
"""How an answer came about that could be an earlier one: it is an earlier one; it is read along with one that is being
written; it was asked for; it was asked for because the caller wanted that."""


class Answer:
    """One answer. Written by one task, read by any number of `Cursor`s in the same loop."""

    def __init__(self, answer_id: UUID) -> None:
        self.answer_id = answer_id
        self.failure: AdriaticError | None = None
        self.ended = False
        self.standings: Sequence[LimitStanding] = ()
        """How the limits of whoever asked stood when it began."""
        self.cache: CacheOutcome | None = None
        """None: it could not be an earlier one."""
        self.on_unread: Callable[[], object] = lambda: None
        """Called when the last reader leaves before the end."""
        self._events: list[ChatEvent] = []
        self._size_bytes = 0
        self._readers = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def begun(self) -> bool:
        """Whether there is something to show."""
        return bool(self._events)

    # --- for who writes -------------------------------------------------------------------------------------------

    def append(self, event: ChatEvent) -> None:
        """Never waits. Raises `TooLarge` for what a model writes beyond the bound; what ends an answer is always
        taken."""
        assert not self.ended, "an event after the last one"
        if written_bytes := size_of(event):
            self._size_bytes += EVENT_BYTES + written_bytes
            if self._size_bytes > ANSWER_BYTES_MAX:
                raise TooLarge(f"the answer is longer than {ANSWER_BYTES_MAX} bytes", hint="ask for less")
        self._events.append(event)
        self._wake()

    def end(self, failure: AdriaticError | None = None) -> None:
        """There will be no more. Idempotent: the first end stands."""
        if not self.ended:
            self.ended = True
            self.failure = failure
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def hand_over(self, cursors: Iterable[Cursor]) -> Answer:
        """A second log that goes on from here, for the readers that have these cursors. Whoever writes turns to it, and
        ends this one, which has the others."""
        rest = Answer(self.answer_id)
        rest._events, rest._size_bytes = [*self._events], self._size_bytes
        for cursor in cursors:
            cursor.move(rest)
            self._readers -= 1
            rest._readers += 1
        return rest

    # --- for who reads --------------------------------------------------------------------------------------------

    async def first(self) -> None:
        """Wait until there is something to show. Raises what went wrong, if nothing was shown by then."""
        while not (self._events or self.ended):
            await self._news()
        if self.failure and not self._events:
            raise self.failure

    def open(self, after: int = -1) -> Cursor:
        """A reader's place, behind the event numbered `after`."""
        self._readers += 1
        return Cursor(self, after + 1)

    def since(self, number: int) -> Sequence[ChatEvent]:
        """The events from `number` on that are there, at most `BATCH_MAX`."""
        return self._events[number : number + BATCH_MAX]

    def all_since(self, number: int) -> Sequence[ChatEvent]:
        """All events from `number` on."""
        return self._events[number:]

    async def _news(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    async def more(self, number: int, wait_s: float) -> None:
        """Wait until there is an event `number` or an end, for `wait_s` seconds at most."""
        if number < len(self._events) or self.ended:
            return
        try:
            async with asyncio.timeout(wait_s):
                await self._news()
        except TimeoutError:
            return

    def leave(self) -> None:
        """One reader less."""
        self._readers -= 1
        if not self._readers and not self.ended:
            self.on_unread()


class Cursor:
    """One reader's place in an answer. Whoever opened it closes it; closing twice is closing once."""

    def __init__(self, answer: Answer, number: int) -> None:
        self._answer = answer
        self._number = number
        self._closed = False

    @property
    def answer_id(self) -> UUID:
        return self._answer.answer_id

    @property
    def at_end(self) -> bool:
        """Everything was read, and there will be no more."""
        return self._answer.ended and not self._answer.since(self._number)

    @property
    def failure(self) -> AdriaticError | None:
        """What went wrong, when it has ended."""
        return self._answer.failure

    def move(self, answer: Answer) -> None:
        """Read on in another log, which begins like this one. Whoever waits here is woken when this one ends."""
        self._answer = answer

    async def read(self, wait_s: float) -> list[tuple[int, ChatEvent]]:
        """The next events, each with its number. Empty: nothing came for `wait_s` seconds, or there is no more."""
        await self._answer.more(self._number, wait_s)
        events = [*enumerate(self._answer.since(self._number), self._number)]
        self._number += len(events)
        return events

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._answer.leave()
