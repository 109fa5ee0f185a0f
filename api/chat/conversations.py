"""What was asked and answered: conversations of a user, as they are kept.

Owns reading and deleting them, and what a model is told of the turns before. A conversation belongs to the user who
holds it: others of the tenant do not find it. Refuses streams (`resuming`) and writing (`keeping`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from api import paging
from api.auth.users import Principal
from api.chat.encoding import StoredEvent, decode_part
from api.chat.resuming import KeptAnswer
from api.chat.schemas import Citations, Source, Sources, TextDelta, UsageSpent
from api.chat.withholding import stands_on, withhold
from api.db import Connection, Database, tenant_transaction
from api.problems import Problem
from api.withdrawn import SourceName, find_gone
from connectors.llm.prompts import PromptMessage, Text
from runtime.errors import NotFound

TITLE_CHARS_MAX = 200
"""The title of a conversation is the beginning of its first question."""
TURNS_MAX = 100
"""Newest answers of a conversation that are shown at once."""
MEMORY_TURNS_MAX = 8
"""Turns that a model is told of: what a follow-up refers to is rarely further back."""
MEMORY_BYTES_MAX = 16_384
"""All these turns together have at most this, some 4 000 tokens. The oldest are left out first."""

State = Literal["running", "completed", "failed", "stopped"]
"""`stopped`: by a call, or because everybody who read it left."""

_CITED = re.compile(r"\s*\[\d{1,3}(?:,\s*\d{1,3})*\]")
"""Numbers of sources of another answer mean nothing in this one."""

_SESSIONS = """
  select session_id, left(question, $5) as title, answers, begun_at, last_at
  from (
    select distinct on (session_id)
      session_id, question, begun_at, count(*) over of_session as answers,
      max(begun_at) over of_session as last_at
    from app.answers
    where tenant_id = $1 and user_id = $2
    window of_session as (partition by session_id)
    order by session_id, begun_at
  ) found
  where $3::timestamptz is null or (last_at, session_id) < ($3, $4)
  order by last_at desc, session_id desc
  limit $6
"""

_TURNS = """
  select a.answer_id, a.user_id, a.session_id, a.process_id, a.question, a.begun_at, a.ended_at, p.events
  from (
    select *
    from app.answers
    where tenant_id = $1 and user_id = $2 and session_id = $3 and (not $5 or ended_at is not null)
    order by begun_at desc, answer_id desc
    limit $4
  ) a
  left join app.answer_parts p on p.tenant_id = a.tenant_id and p.answer_id = a.answer_id
  order by a.begun_at, a.answer_id, p.first_event
"""

_DELETE_ANSWER = """
  delete from app.answers
  where tenant_id = $1 and user_id = $2 and answer_id = $3
"""

_DELETE_SESSION = """
  delete from app.answers
  where tenant_id = $1 and user_id = $2 and session_id = $3
  returning answer_id
"""


class ChatAnswer(msgspec.Struct, frozen=True):
    """A question and what became of it. `text` is what was shown so far; `error` why there is no more, where something
    went wrong. `withdrawn`: sources that it stands on and that were deleted since; then `text` is withheld."""

    answer_id: UUID
    session_id: UUID
    question: str
    state: State
    text: str
    sources: list[Source]
    citations: Citations | None
    usage: UsageSpent | None
    error: Problem | None
    begun_at: datetime
    ended_at: datetime | None
    withdrawn: int = 0


class ChatSession(msgspec.Struct, frozen=True):
    """A conversation. `title` is the beginning of its first question."""

    session_id: UUID
    title: str
    answers: int
    begun_at: datetime
    last_at: datetime


class ChatSessionPage(msgspec.Struct, frozen=True):
    """The conversation of the newest answer first."""

    items: list[ChatSession]
    next_cursor: Annotated[str | None, Meta(description="For the next page; null on the last one.")]


class ChatTurns(msgspec.Struct, frozen=True):
    """The newest answers of a conversation, the oldest of them first."""

    session_id: UUID
    items: list[ChatAnswer]


class RememberedTurn(NamedTuple):
    """A turn that a model is told of, and what its answer stands on."""

    question: str
    text: str
    stands_on: tuple[SourceName, ...] = ()


class GatheredEvents(msgspec.Struct, frozen=True):
    """What the events of an answer come to: its text, and the last event of each other name. What came before a `reset`
    is void."""

    text: str
    last: dict[str, StoredEvent]

    def read(self, name: str, wanted: Any) -> Any:
        """The data of an event; None where there was none."""
        return msgspec.json.decode(self.last[name].data, type=wanted) if name in self.last else None

    def tell_state(self, *, ended: bool) -> State:
        error = self.read("error", Problem)
        if error and error.code == "stopped":
            return "stopped"
        return "running" if not ended else "completed" if "done" in self.last else "failed"


def gather(events: Iterable[StoredEvent]) -> GatheredEvents:
    """Pure."""
    last: dict[str, StoredEvent] = {}
    pieces: list[str] = []
    for event in events:
        if event.name == "delta":
            pieces.append(msgspec.json.decode(event.data, type=TextDelta).text)
        elif event.name == "reset":
            pieces.clear()
            last.clear()
        else:
            last[event.name] = event
    return GatheredEvents("".join(pieces), last)


def view(kept: KeptAnswer, events: Iterable[StoredEvent]) -> ChatAnswer:
    """An answer as a whole, from the events that are there. Pure."""
    found = gather(events)
    sources = found.read("sources", Sources)
    state = found.tell_state(ended=kept.ended_at is not None)
    return ChatAnswer(
        *(kept.answer_id, kept.session_id, kept.question, state, found.text),
        sources=sources.sources if sources else [],
        citations=found.read("citations", Citations),
        usage=found.read("usage", UsageSpent),
        error=found.read("error", Problem),
        begun_at=kept.begun_at,
        ended_at=kept.ended_at,
        withdrawn=sources.withdrawn if sources else 0,
    )


async def list_sessions(database: Database, principal: Principal, limit: int, cursor: str | None) -> ChatSessionPage:
    """Raises `InvalidInput` for a cursor that is none of this list."""
    part = paging.Slice(cursor, limit, tuple[datetime, UUID], "chat-sessions")
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        rows = await connection.fetch(
            _SESSIONS, principal.tenant_id, principal.user_id, *part.after, TITLE_CHARS_MAX, part.rows_max
        )
    sessions = [msgspec.convert(dict(row), ChatSession) for row in rows]
    return ChatSessionPage(*part.cut(sessions, lambda session: (session.last_at, session.session_id)))


async def read_turns(
    connection: Connection, principal: Principal, session_id: UUID, limit: int, *, ended: bool = False
) -> list[tuple[KeptAnswer, Sequence[StoredEvent]]]:
    """The newest `limit` answers of a conversation, the oldest of them first; none where there is no such one. What was
    written by those that stand on what was deleted since is left out."""
    rows = await connection.fetch(_TURNS, principal.tenant_id, principal.user_id, session_id, limit, ended)
    found: dict[UUID, tuple[KeptAnswer, list[StoredEvent]]] = {}
    for row in rows:
        values = dict(row)
        part = values.pop("events")
        _, events = found.setdefault(row["answer_id"], (msgspec.convert(values, KeptAnswer), []))
        events.extend(decode_part(part) if part else ())
    gone = await find_gone(connection, (name for _, events in found.values() for name in stands_on(events)))
    return [(kept, withhold(events, gone)) for kept, events in found.values()]


async def read_session(database: Database, principal: Principal, session_id: UUID) -> ChatTurns:
    """Raises `NotFound`."""
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        turns = await read_turns(connection, principal, session_id, TURNS_MAX)
    if not turns:
        raise _no_session(session_id)
    return ChatTurns(session_id, [view(*turn) for turn in turns])


async def delete_session(database: Database, principal: Principal, session_id: UUID) -> None:
    """Everything that was asked and answered in it goes with it. Raises `NotFound`."""
    async with tenant_transaction(database, principal.tenant_id) as connection:
        if not await connection.fetch(_DELETE_SESSION, principal.tenant_id, principal.user_id, session_id):
            raise _no_session(session_id)


async def delete_answer(database: Database, principal: Principal, answer_id: UUID) -> None:
    """Its question goes with it. What it cost stays in the books."""
    async with tenant_transaction(database, principal.tenant_id) as connection:
        await connection.execute(_DELETE_ANSWER, principal.tenant_id, principal.user_id, answer_id)


async def remember(database: Database, principal: Principal, session_id: UUID | None) -> Sequence[RememberedTurn]:
    """What was asked and answered before in a conversation, the oldest first; bounded, the newest win. An answer that
    stands on what was deleted since is no part of it: nothing is answered from that any more."""
    if session_id is None:
        return ()
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        turns = await read_turns(connection, principal, session_id, MEMORY_TURNS_MAX, ended=True)
    told = [RememberedTurn(kept.question, gather(events).text, stands_on(events)) for kept, events in turns]
    return choose_recent([turn for turn in told if turn.text])


def choose_recent(turns: Sequence[RememberedTurn]) -> Sequence[RememberedTurn]:
    """The newest turns that fit. Pure."""
    room = MEMORY_BYTES_MAX
    for count, turn in enumerate(reversed(turns)):
        room -= len(turn.question.encode()) + len(turn.text.encode())
        if room < 0:
            return turns[len(turns) - count :]
    return turns


def tell(turns: Iterable[RememberedTurn]) -> tuple[PromptMessage, ...]:
    """The turns before as a model reads them, without the numbers of their sources. Pure."""
    return tuple(
        message
        for turn in turns
        for message in (
            PromptMessage("user", (Text(turn.question),)),
            PromptMessage("assistant", (Text(_CITED.sub("", turn.text)),)),
        )
    )


def _no_session(session_id: UUID) -> NotFound:
    return NotFound(
        f"no conversation {session_id}", hint="GET /v1/chat/sessions lists yours; they are kept for llm.kept_days"
    )
