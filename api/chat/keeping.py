"""Answers that are kept, on the side of the process that writes them: found while they run, written down at their end.

Owns the rows of `app.answers` and `app.answer_parts`, and hearing what others say to an answer of this process: that
somebody reads it through another process, so that it is written down as it comes, or that it is to stop. Refuses
readers (`resuming`), the question of who may read, and the books (`ledger`): what an answer costs does not depend on
whether it is kept.

An answer is written down once, at its end, unless somebody waits for it elsewhere. When its process dies before, what
nobody waited for is gone, and its readers are told so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from api import problems
from api.chat.answers import Answer
from api.chat.encoding import encode_part
from api.chat.ledger import Attempt
from api.chat.schemas import ChatEvent
from api.db import Database, tenant_transaction
from runtime.clock import Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import DependencyUnavailable
from runtime.logs import get_logger

LOOK_S = 0.1
"""How often calls are taken while answers run: how long a stop through another process takes to arrive, and how far
a reader there is behind."""
KEEP_S_MAX = 600.0
"""How long it is tried to write down an answer that ended. Its text is in memory until then."""
UNWRITTEN_MAX = 1_000
"""Answers that ended and are not written down. Beyond it, while the database is away, they are not kept: each may have
4 MB."""

_TAKE_CALLS = "select answer_id, stop from ops.take_answer_calls($1)"

_WRITE = """
  insert into app.answer_parts (tenant_id, answer_id, first_event, event_count, events)
  select tenant_id, answer_id, $3, $4, $5
  from app.answers
  where tenant_id = $1 and answer_id = $2 and ended_at is null
  on conflict (tenant_id, answer_id, first_event)
  do update set event_count = excluded.event_count, events = excluded.events
"""
"""A part may come twice, and longer the second time, when it was not known whether the first was committed."""

_END = """
  update app.answers
  set ended_at = now()
  where tenant_id = $1 and answer_id = $2 and ended_at is null
"""

log = get_logger("chat")


class Kept:
    """One answer of this process."""

    def __init__(self, answer: Answer, attempt: Attempt, question: str, stop: Callable[[], object]) -> None:
        self.answer = answer
        self.attempt = attempt
        self.question = question
        self.stop = stop
        self.wanted = False
        """Somebody reads it through another process."""
        self.written = 0
        """Events that are in the table."""
        self.noting: asyncio.Task[object] | None = None
        """Writes the row that says that there is an answer. Where it is refused, there is none."""
        self.writing = asyncio.Lock()
        """One part at a time: parts have no gap between them."""

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.attempt.tenant_id, self.answer.answer_id


class AnswerKeeper:
    """One per process."""

    def __init__(self, database: Database, process_id: UUID, clock: Clock) -> None:
        self._database = database
        self._process_id = process_id
        self._clock = clock
        self._kept: dict[UUID, Kept] = {}
        """Answers that run, and those that ended and are not written down yet."""
        self._hearing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, tenant_id: UUID, user_id: UUID, answer_id: UUID) -> Answer | None:
        """An answer of this user that this process has in memory."""
        kept = self._kept.get(answer_id)
        if kept is None or (kept.attempt.tenant_id, kept.attempt.user_id) != (tenant_id, user_id):
            return None
        return kept.answer

    def stop(self, answer_id: UUID) -> None:
        """Stop an answer of this process. One that ended stays as it is."""
        if kept := self._kept.get(answer_id):
            kept.stop()

    def begin(self, kept: Kept, noting: asyncio.Task[object]) -> None:
        """An answer runs. `noting` puts its row into the table, with its first attempt."""
        kept.noting = noting
        self._kept[kept.answer.answer_id] = kept
        if self._hearing is None or self._hearing.done():
            self._hearing = asyncio.create_task(self._hear(), name="calls of answers")

    async def await_note(self, answer_id: UUID) -> None:
        """Wait until the row of an answer is there, where it is being written."""
        kept = self._kept.get(answer_id)
        if kept and kept.noting:
            await asyncio.shield(kept.noting)

    def end(self, kept: Kept) -> None:
        """Write down an answer that ended. Never waits; does nothing for one that never began."""
        if kept.answer.answer_id not in self._kept:
            return
        if len(self._tasks) >= UNWRITTEN_MAX:
            self._forget(kept, "too many answers wait to be written down")
            return
        task = asyncio.create_task(self._finish(kept), name=f"keep {kept.answer.answer_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, wait_s: float) -> None:
        """Everything has ended: write down what is not, for at most `wait_s` seconds."""
        if self._hearing:
            self._hearing.cancel()
            await asyncio.gather(self._hearing, return_exceptions=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- while answers run ------------------------------------------------------------------------------------------

    async def _hear(self) -> None:
        """Take what others say, and write down what they wait for, as long as there is an answer."""
        while self._kept:
            try:
                await self._take_calls()
                for kept in [each for each in self._kept.values() if each.wanted and not each.answer.ended]:
                    await self._write(kept, ended=False)
            except DependencyUnavailable:
                log.info("nobody hears what others say to an answer: the database is away")
            await asyncio.sleep(LOOK_S)

    async def _take_calls(self) -> None:
        async with self._database.connection() as connection:
            calls = await connection.fetch(_TAKE_CALLS, self._process_id)
        for call in calls:
            kept = self._kept.get(call["answer_id"])
            if kept is None:
                continue
            if call["stop"]:
                kept.stop()
            else:
                kept.wanted = True

    async def _write(self, kept: Kept, *, ended: bool) -> None:
        """Write down the events that are not in the table, and with the last of them that there are no more."""
        async with kept.writing:
            events = kept.answer.all_since(kept.written) or (self._say_why(kept) if ended else ())
            if not events and not ended:
                return
            async with tenant_transaction(self._database, kept.attempt.tenant_id) as connection:
                if events:
                    await connection.execute(_WRITE, *kept.key, kept.written, len(events), encode_part(events))
                if ended:
                    await connection.execute(_END, *kept.key)
            kept.written += len(events)

    def _say_why(self, kept: Kept) -> Sequence[ChatEvent]:
        """Nobody was shown an event of an answer that failed before it began: its caller got a problem response."""
        if kept.answer.begun or kept.answer.failure is None:
            return ()
        return [problems.problem_of(kept.answer.failure, kept.attempt.path, kept.attempt.request_id)]

    # --- at their end -----------------------------------------------------------------------------------------------

    async def _finish(self, kept: Kept) -> None:
        deadline = Deadline.after(KEEP_S_MAX, self._clock)
        if kept.noting:  # or its row could come after it was ended
            (failed,) = await asyncio.gather(kept.noting, return_exceptions=True)
            if isinstance(failed, BaseException) and not isinstance(failed, DependencyUnavailable):
                self._kept.pop(kept.answer.answer_id, None)
                return
        for pause_s in backoff_s():
            try:
                await self._write(kept, ended=True)
                self._kept.pop(kept.answer.answer_id, None)
                return
            except DependencyUnavailable:
                if deadline.passed:
                    break
            except msgspec.MsgspecError:
                log.exception("an answer cannot be written down", answer_id=str(kept.answer.answer_id))
                break
            await asyncio.sleep(pause_s)
        self._forget(kept, "the database did not take it")

    def _forget(self, kept: Kept, reason: str) -> None:
        self._kept.pop(kept.answer.answer_id, None)
        log.warning("an answer is not kept", answer_id=str(kept.answer.answer_id), reason=reason)
