"""Answers that are kept, on the side of whoever reads them: the same events, whichever process a reader reaches.

Owns finding an answer of a user, reading it out of the table while another process writes it, and telling when that
process died. Refuses writing one (`keeping`). An answer belongs to the user who asked: others of the tenant do not
find it. Where it stands on what was deleted since, a reader gets it without what was written, and a stream ends with
the reason (`withholding`).

No connection is held between two looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Request

from api import problems
from api.auth.users import Principal
from api.chat.encoding import AnswerCursor, StoredEvent, decode_part, encode_part, store
from api.chat.keeping import AnswerKeeper
from api.chat.withholding import stands_on, withhold
from api.db import Connection, Database, tenant_transaction
from api.withdrawn import SourceName, find_gone, tell_withheld
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, DependencyUnavailable, Gone, InvalidInput, NotFound

POLL_S = 0.1
"""Pause between two looks at an answer that another process writes: as often as it is written down there, so that a
reader is a fifth of a second behind, and what the two transactions take."""
POLL_S_MAX = 1.0
"""Longest pause, which looks that find nothing come to. When a process dies, all its readers come to the others, and
find nothing before its lease has run out: looking must not be all that these do."""
POLL_GROWTH = 1.5
CALL_S = 2.0
"""How often that process is told that somebody reads: a word that it lost is said again."""
LOST_EVENTS = 1_000_000_000
"""What the end of an answer whose process died counts for: it stands for all that was shown and not written down, so a
reader who has seen more than there is comes to it too. More than any answer has, and a number that Postgres takes."""
PARTS_MAX = 50
"""Parts of one look. One is what a tenth of a second brought, or all of an answer."""

_FIND = """
  select answer_id, user_id, session_id, process_id, question, begun_at, ended_at
  from app.answers
  where tenant_id = $1 and answer_id = $2 and user_id = $3
"""

_LOOK = """
  select process_id, ended_at is not null as ended, ops.api_process_lives(process_id) as lives
  from app.answers
  where tenant_id = $1 and answer_id = $2
"""

_READ = """
  select first_event, event_count, events
  from app.answer_parts
  where tenant_id = $1 and answer_id = $2 and first_event + event_count > $3
  order by first_event
  limit $4
"""

_CALL = "select ops.call_answer($1, $2, $3)"

_LOSE = """
  with ended as (
    update app.answers
    set ended_at = now()
    where tenant_id = $1 and answer_id = $2 and ended_at is null
    returning tenant_id, answer_id
  )
  insert into app.answer_parts (tenant_id, answer_id, first_event, event_count, events)
  select ended.tenant_id, ended.answer_id, coalesce(max(p.first_event + p.event_count), 0), $4, $3
  from ended
  left join app.answer_parts p using (tenant_id, answer_id)
  group by ended.tenant_id, ended.answer_id
"""


class KeptAnswer(msgspec.Struct, frozen=True):
    """One row of `app.answers`."""

    answer_id: UUID
    user_id: UUID
    session_id: UUID
    process_id: UUID
    question: str
    begun_at: datetime
    ended_at: datetime | None


class ReadAnswer(NamedTuple):
    """An answer, and its events. `ended`: there will be no more; its row may say so a moment later."""

    kept: KeptAnswer
    events: Sequence[StoredEvent]
    ended: bool


async def find(database: Database, principal: Principal, answer_id: UUID) -> KeptAnswer:
    """An answer of this user. Raises `NotFound`."""
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        row = await connection.fetchrow(_FIND, principal.tenant_id, answer_id, principal.user_id)
    if row is None:
        raise NotFound(f"no answer {answer_id}", hint="answers are kept for llm.kept_days, for the user who asked")
    return msgspec.convert(dict(row), KeptAnswer)


async def read_events(connection: Connection, tenant_id: UUID, answer_id: UUID) -> list[StoredEvent]:
    """All events that are written down."""
    rows = await connection.fetch(_READ, tenant_id, answer_id, 0, None)
    return [event for row in rows for event in decode_part(row["events"])]


async def call(database: Database, kept: KeptAnswer, *, stop: bool) -> None:
    """Tell the process that writes an answer that somebody reads it, or that it is to stop."""
    async with database.connection() as connection:
        await connection.execute(_CALL, kept.process_id, kept.answer_id, stop)


async def read(database: Database, keeper: AnswerKeeper, principal: Principal, answer_id: UUID) -> ReadAnswer:
    """An answer of this user, and what there is of it, as far as this process knows and as far as it may be shown.
    Raises `NotFound`."""
    # Before its row is read: an answer is forgotten here when its row has all of it.
    here = keeper.find(principal.tenant_id, principal.user_id, answer_id)
    kept = await find(database, principal, answer_id)
    ended = kept.ended_at is not None or (here is not None and here.ended)
    events: Sequence[StoredEvent] | None = None
    if here is not None and (here.begun or not here.ended):
        events = [store(event) for event in here.all_since(0)]
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        if events is None:
            events = await read_events(connection, principal.tenant_id, answer_id)
        gone = await find_gone(connection, stands_on(events))
    return ReadAnswer(kept, withhold(events, gone), ended)


async def stop(database: Database, keeper: AnswerKeeper, principal: Principal, answer_id: UUID) -> None:
    """Stop an answer of this user, whichever process writes it. Raises `NotFound`."""
    kept = await find(database, principal, answer_id)
    if keeper.find(principal.tenant_id, principal.user_id, answer_id) is not None:
        keeper.stop(answer_id)
    elif kept.ended_at is None:
        await call(database, kept, stop=True)


async def open_cursor(
    request: Request[Any, Any, Any],
    database: Database,
    keeper: AnswerKeeper,
    principal: Principal,
    kept: KeptAnswer,
    after: int,
) -> AnswerCursor:
    """A reader's place behind the event numbered `after`: in memory where this process writes the answer, else in the
    table."""
    here = keeper.find(principal.tenant_id, principal.user_id, kept.answer_id)
    request_id = request.scope.get("state", {}).get("request_id", "")
    if here is not None and (here.begun or not here.ended):
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            gone = await find_gone(connection, stands_on(here.all_since(0)))
        if not gone:
            return here.open(after)
        problem = problems.problem_of(tell_withheld("the answer", len(gone)), request.scope["path"], request_id)
        return EndedCursor(kept.answer_id, after + 1, store(problem))
    return StoredCursor(
        *(database, principal.tenant_id, kept, after), path=request.scope["path"], request_id=request_id
    )


def read_place(answer_id: UUID, event_id: str | None) -> int:
    """The number of the last event that was seen; -1 for none. Raises `InvalidInput` for an id of something else."""
    if not event_id:
        return -1
    of, _, number = event_id.rpartition(".")
    if of != str(answer_id) or not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise InvalidInput(
            "the id of the last event is none of this answer", hint="send the id of an event as it came, or nothing"
        )
    return int(number)


class EndedCursor:
    """A reader's place in an answer of which there is nothing but an end. See `encoding.AnswerCursor`."""

    def __init__(self, answer_id: UUID, number: int, event: StoredEvent) -> None:
        self.answer_id = answer_id
        self.at_end = False
        self._events = [(number, event)]

    async def read(self, wait_s: float) -> list[tuple[int, StoredEvent]]:
        """The end."""
        self.at_end = True
        return self._events

    def close(self) -> None:
        """Nobody waits for it."""


class StoredCursor:
    """A reader's place in an answer that this process does not write. See `encoding.AnswerCursor`."""

    def __init__(
        self,
        database: Database,
        tenant_id: UUID,
        kept: KeptAnswer,
        after: int,
        *,
        path: str,
        request_id: str,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._kept = kept
        self._number = after + 1
        self._path = path
        self._request_id = request_id
        self._clock = clock
        self._next_call_s = clock.monotonic()
        self._pause_s = POLL_S
        self._stands_on: set[SourceName] | None = None
        """What the events so far stand on; None: nobody has looked."""
        self.at_end = False

    @property
    def answer_id(self) -> UUID:
        return self._kept.answer_id

    async def read(self, wait_s: float) -> list[tuple[int, StoredEvent]]:
        """The next events, each with its number. Empty: nothing came for `wait_s` seconds, or there is no more."""
        deadline = Deadline.after(wait_s, self._clock)
        while True:
            try:
                events = await self._look()
            except DependencyUnavailable:
                events = []  # an outage makes it late, and ends nothing
            if events:
                self._pause_s = POLL_S
            if events or self.at_end or deadline.passed:
                return events
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * POLL_GROWTH, POLL_S_MAX)

    def close(self) -> None:
        """Nobody is told: whoever writes the answer ends it by itself."""

    async def _look(self) -> list[tuple[int, StoredEvent]]:
        async with tenant_transaction(self._database, self._tenant_id, read_only=True) as connection:
            state = await connection.fetchrow(_LOOK, self._tenant_id, self.answer_id)
            rows = await connection.fetch(_READ, self._tenant_id, self.answer_id, self._number, PARTS_MAX)
            gone = await self._find_gone(connection, rows)
        if state is None:
            return self._end(Gone("the answer was deleted", hint="ask again"))
        if gone:
            return self._end(tell_withheld("the answer", gone))
        events = [each for row in rows for each in self._read_part(row)]
        self._number += len(events)
        self.at_end = state["ended"] and len(rows) < PARTS_MAX
        if not state["ended"]:
            await (self._call() if state["lives"] else self._lose())
        return events

    async def _find_gone(self, connection: Connection, rows: Sequence[Any]) -> int:
        """How many sources of the answer are gone. Nothing is asked where nothing came."""
        if self._stands_on is None:
            before = await read_events(connection, self._tenant_id, self.answer_id) if self._number else ()
            self._stands_on = set(stands_on(before))
        elif not rows:
            return 0
        self._stands_on.update(stands_on(event for row in rows for event in decode_part(row["events"])))
        return len(await find_gone(connection, self._stands_on))

    def _read_part(self, row: Any) -> list[tuple[int, StoredEvent]]:
        """The events of a part that this reader has not seen. The end of an answer that was lost comes next, wherever
        the reader is."""
        stored, first = decode_part(row["events"]), row["first_event"]
        if row["event_count"] > len(stored):
            first = max(first, self._number)
        return [(number, event) for number, event in enumerate(stored, first) if number >= self._number]

    async def _call(self) -> None:
        if self._clock.monotonic() >= self._next_call_s:
            await call(self._database, self._kept, stop=False)
            self._next_call_s = self._clock.monotonic() + CALL_S

    async def _lose(self) -> None:
        """The process that wrote it is dead: what it wrote down is all that there will be, and its last event says
        so."""
        died = DependencyUnavailable("the process that wrote the answer died", hint="ask again")
        async with tenant_transaction(self._database, self._tenant_id) as connection:
            part = encode_part([self._problem(died)])
            await connection.execute(_LOSE, self._tenant_id, self.answer_id, part, LOST_EVENTS)

    def _end(self, error: Gone) -> list[tuple[int, StoredEvent]]:
        """There is no more for this reader, and why."""
        self.at_end = True
        return [(self._number, store(self._problem(error)))]

    def _problem(self, error: AdriaticError) -> problems.Problem:
        return problems.problem_of(error, self._path, self._request_id)
