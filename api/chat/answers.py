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

from api.chat.event_log import EventLog
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
        self._events = EventLog()
        self._size_bytes = 0
        self._readers = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def begun(self) -> bool:
        """Whether there is something to show."""
        return len(self._events) > 0

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
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def hand_over(self, cursors: Iterable[Cursor]) -> Answer:
        """A second log that goes on from here, for the readers that have these cursors. Whoever writes turns to it, and
        ends this one, which has the others."""
        rest = Answer(self.answer_id)
        rest._events, rest._size_bytes = self._events.copy(), self._size_bytes
        for cursor in cursors:
            cursor.move(rest)
            self._readers -= 1
            rest._readers += 1
        return rest

    # --- for who reads --------------------------------------------------------------------------------------------

    async def first(self) -> None:
        """Wait until there is something to show. Raises what went wrong, if nothing was shown by then."""
        while not (self.begun or self.ended):
            await self.wait()
        if self.failure and not self.begun:
            raise self.failure

    def open(self, after: int = -1) -> Cursor:
        """A reader's place, behind the event numbered `after`."""
        self._readers += 1
        return Cursor(self, after + 1)

    def since(self, number: int) -> Sequence[ChatEvent]:
        """The events from `number` on that are there, at most `BATCH_MAX`."""
        return self._events.read(number, BATCH_MAX)

    def all_since(self, number: int) -> Sequence[ChatEvent]:
        """All events from `number` on."""
        return self._events.read(number)

    def wait(self) -> asyncio.Future[None]:
        """The next event, or the end: awaited, it returns when there is one."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def leave(self) -> None:
        """One reader less."""
        self._readers -= 1
        if not self._readers and not self.ended:
            self.on_unread()


class Cursor:
    """One reader's place in an answer. Whoever opened it closes it; closing twice is closing once."""

    __slots__ = ("_answer", "_closed", "_number", "_silent_since_s", "_timer", "_waiter")

    def __init__(self, answer: Answer, number: int) -> None:
        self._answer = answer
        self._number = number
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None
        self._silent_since_s = 0.0
        # One for all waits, set anew only when it goes off: a timer for each event would cost more than the event.
        self._timer: asyncio.TimerHandle | None = None

    @property
    def answer_id(self) -> UUID:
        return self._answer.answer_id

    @property
    def at_end(self) -> bool:
        """Everything was read, and there will be no more; or the reader has left."""
        return self._closed or (self._answer.ended and not self._answer.since(self._number))

    @property
    def failure(self) -> AdriaticError | None:
        """What went wrong, when it has ended."""
        return self._answer.failure

    def move(self, answer: Answer) -> None:
        """Read on in another log, which begins like this one. Whoever waits here is woken when this one ends."""
        self._answer = answer

    async def read(self, wait_s: float) -> list[tuple[int, ChatEvent]]:
        """The next events, each with its number. Empty: nothing came for `wait_s` seconds, or there is no more for this
        reader. `wait_s` is the same each time."""
        answer = self._answer
        events = answer.since(self._number)
        if not (events or answer.ended or self._closed):
            await self._wait(wait_s)
            events = self._answer.since(self._number)
        if self._closed:
            return []
        numbered = [*enumerate(events, self._number)]
        self._number += len(numbered)
        return numbered

    async def _wait(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = self._answer.wait()
        self._silent_since_s = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(wait_s, self._look, wait_s)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look(self, wait_s: float) -> None:
        """Whoever has waited for long enough waits no more."""
        loop, self._timer = asyncio.get_running_loop(), None
        if self._waiter is None or self._waiter.done():
            return
        left_s = self._silent_since_s + wait_s - loop.time()
        if left_s > 0:
            self._timer = loop.call_later(left_s, self._look, wait_s)
        else:
            self._waiter.set_result(None)

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        self._closed = True
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)
        self._answer.leave()
