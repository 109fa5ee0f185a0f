"""The states of one live read, and how it passes from one to another. Pure: no I/O, no clock.

Owns what is true in each state, what happens at each event, and whether a resume token is of use. Refuses to do
anything: `want` says what is to be done next, whoever drives (`reader`) does it and tells the result as an event.

    Resuming ──▶ Following ◀──▶ CatchingUp
       │             │ position lost │
       ▼             ▼               ▼
    Joining ◀──── Settling ◀─────────┘
       │  ▲
       │  └─ Settling, when a commit was hidden
       ▼
    Sending ──▶ Following            from each of them ──▶ Ended
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as replace_in
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from api.live.events import End, Reset
from api.live.join import TOKEN_S_MAX, PgSnapshot, ResumeToken, make_token

JOIN_TRIES_MAX = 5
"""Snapshots taken for one join; a second one is needed when a commit takes longer than usual to become visible."""
AWAY_OFFSETS_MAX = 100_000
"""A reader that was away for longer gets a snapshot, which is less to read."""
SETTLE_POLLS = 2
"""Polls of the hub after which a snapshot is certainly younger than what was met before them."""

Want = Literal["bounds", "poll", "snapshot", "page", "changes", "log", "end"]
"""What is to be done next. `bounds`: ask where the log begins and ends. `poll`: wait until the hub has polled.
`snapshot`: read the rows. `page`, `end`: send that. `changes`: show those that the ring has, or wait for some. `log`:
read the next ones from the broker."""


# --- what a reader has ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OffsetWatermark:
    """Whoever has read up to `offset` has everything that was committed before `wal`; the view was at `lsn` then."""

    offset: int
    wal: int
    lsn: str | None
    time: datetime | None
    complete: bool

    @property
    def order(self) -> float:
        return self.time.timestamp() if self.time else 0.0


@dataclass(frozen=True, slots=True)
class Position:
    """Every change before `offset` was shown, but for those that `seen` has: the snapshot, until it was passed."""

    topic_id: str = ""
    offset: int = 0
    seen: PgSnapshot | None = None
    base: OffsetWatermark | None = None
    """How far the rows of the snapshot were."""


# --- the states -------------------------------------------------------------------------------------------------------


class Resuming(Struct, frozen=True):
    """The token was accepted; does the log still have its offset?"""

    want: ClassVar[Want] = "bounds"
    position: Position


class Settling(Struct, frozen=True):
    """Waits for polls of the hub, so that the snapshot that follows is young enough."""

    want: ClassVar[Want] = "poll"
    position: Position
    polls: int
    tries: int = 0
    reset: Reset | None = None


class Joining(Struct, frozen=True):
    """Has no rows, or those of before: a snapshot is to be read."""

    want: ClassVar[Want] = "snapshot"
    position: Position = Position()
    tries: int = 0
    reset: Reset | None = None


class Sending(Struct, frozen=True):
    """Has joined; so many pages of the snapshot are not sent yet."""

    want: ClassVar[Want] = "page"
    position: Position
    pages: tuple[bytes, ...]
    reset: Reset | None = None


class Following(Struct, frozen=True):
    """Shows what arrives in the ring."""

    want: ClassVar[Want] = "changes"
    position: Position


class CatchingUp(Struct, frozen=True):
    """Reads from the log what the ring does not have any more."""

    want: ClassVar[Want] = "log"
    position: Position


class Ended(Struct, frozen=True):
    """Says why, and nothing more. `whole`: as it was before."""

    want: ClassVar[Want] = "end"
    position: Position
    reason: End
    whole: bool


ReaderState = Resuming | Settling | Joining | Sending | Following | CatchingUp | Ended


def is_whole(state: ReaderState) -> bool:
    """Whether the rows were sent completely, so that a token for this state can be resumed."""
    if isinstance(state, Ended):
        return state.whole
    return isinstance(state, Following | CatchingUp)


def find_reset(state: ReaderState) -> Reset | None:
    """Why the rows that were shown are void, where the reader was not told yet."""
    return state.reset if isinstance(state, Settling | Joining | Sending) else None


def count_bytes(state: ReaderState) -> int:
    """What the state keeps in memory beside its position."""
    return sum(map(len, state.pages)) if isinstance(state, Sending) else 0


# --- the events -------------------------------------------------------------------------------------------------------


class BoundsFound(Struct, frozen=True):
    """What the log has, and from where on the ring does. `may_catch_up`: there is room for one more who reads it."""

    first: int
    end: int
    ring_first: int
    may_catch_up: bool


class HubPolled(Struct, frozen=True):
    """A poll of database and broker is over."""


class CommitHidden(Struct, frozen=True):
    """The snapshot may lack a commit that is not in the ring any more."""


class SnapshotJoined(Struct, frozen=True):
    """The rows were read, and the log goes on at `position`."""

    position: Position
    pages: tuple[bytes, ...]


class ResetSaid(Struct, frozen=True):
    """The reader knows that its rows are void."""


class PageSent(Struct, frozen=True):
    """The first of the pages is with the reader."""


class OffsetReached(Struct, frozen=True):
    """Every change before `offset` was shown."""

    offset: int


class SnapshotPassed(Struct, frozen=True):
    """Everything that follows was committed after the snapshot."""


class RingReached(Struct, frozen=True):
    """The ring has everything that follows."""


class PositionLost(Struct, frozen=True):
    """What follows cannot be shown."""

    reason: Reset


class ReadOver(Struct, frozen=True):
    """Somebody or something ends it."""

    reason: End


ReaderEvent = (
    BoundsFound
    | HubPolled
    | CommitHidden
    | SnapshotJoined
    | ResetSaid
    | PageSent
    | OffsetReached
    | SnapshotPassed
    | RingReached
    | PositionLost
    | ReadOver
)


# --- the machine ------------------------------------------------------------------------------------------------------


def want(state: ReaderState) -> Want:
    """What is to be done in this state."""
    return state.want


def step(state: ReaderState, event: ReaderEvent) -> ReaderState:
    """The state after `event`. An event that cannot happen in a state is a fault of the driver, and asserted.

    An end is for ever: what was under way meanwhile changes nothing.
    """
    if isinstance(state, Ended):
        return state
    if isinstance(event, ReadOver):
        return Ended(state.position, event.reason, is_whole(state))
    new = _follow(state, event) if isinstance(state, Following | CatchingUp) else _begin(state, event)
    assert new is not None, f"{type(event).__name__} in the state {type(state).__name__}"
    return new


def _begin(state: Resuming | Settling | Joining | Sending, event: ReaderEvent) -> ReaderState | None:
    """The state after an event, until all rows are sent or the place of a token is found. None: it cannot happen."""
    match state, event:
        case Resuming(), BoundsFound():
            return _resume(state.position, event)
        case Settling(), HubPolled():
            left = state.polls - 1
            return replace(state, polls=left) if left else Joining(state.position, state.tries, state.reset)
        case Joining(), CommitHidden():
            tries = state.tries + 1
            if tries == JOIN_TRIES_MAX:
                return replace(state, tries=0)
            return Settling(state.position, 1, tries, state.reset)
        case Joining(), SnapshotJoined(position, pages) if pages:
            return Sending(position, pages, state.reset)
        case ((Settling() | Joining() | Sending()), ResetSaid()) if state.reset:
            return replace(state, reset=None)
        case Sending(reset=None), PageSent():
            rest = state.pages[1:]
            return replace(state, pages=rest) if rest else Following(state.position)
    return None


def _follow(state: Following | CatchingUp, event: ReaderEvent) -> ReaderState | None:
    """While changes are shown. None: it cannot happen."""
    at = state.position
    match state, event:
        case _, OffsetReached(offset):
            return replace(state, position=replace_in(at, offset=max(at.offset, offset)))
        case _, SnapshotPassed():
            return replace(state, position=replace_in(at, seen=None))
        case _, PositionLost(reason):
            return _start_anew(at, reason)
        case CatchingUp(), RingReached():
            return Following(at)
    return None


def _resume(position: Position, found: BoundsFound) -> ReaderState:
    if not found.first <= position.offset <= found.end:
        return Joining(reset="other-log")
    if position.offset >= found.ring_first:
        return Following(position)
    if found.end - position.offset > AWAY_OFFSETS_MAX or not found.may_catch_up:
        return Joining(reset="behind")
    return CatchingUp(position)


def _start_anew(position: Position, reason: Reset) -> ReaderState:
    fresh = replace_in(position, seen=None, base=None)
    if reason in ("unreadable", "other-log"):
        # The snapshot that follows must be known to be younger than what was met.
        return Settling(fresh, SETTLE_POLLS, reset=reason)
    return Joining(fresh, reset=reason)


def start(text: str | None, view: str, tenant_id: UUID, topic_id: str, now_s: float) -> ReaderState:
    """The first state of a reader that brings the token `text`. Raises `InvalidInput` for what is no token."""
    if not text:
        return Joining()
    token = ResumeToken.parse(text)
    if token is None:
        return Joining(reset="expired")
    if reason := _refuse(token, view, tenant_id, topic_id, now_s):
        return Joining(reset=reason)
    return Resuming(Position(topic_id, token.offset, token.seen))


def _refuse(token: ResumeToken, view: str, tenant_id: UUID, topic_id: str, now_s: float) -> Reset | None:
    if token.view != view:
        return "other-view"
    if token.tenant_id != tenant_id:
        return "other-tenant"
    if token.topic_id != topic_id:
        return "other-log"
    if not token.whole:
        return "snapshot-incomplete"
    if now_s - token.at_s > TOKEN_S_MAX:
        return "expired"
    return None


def write_token(state: ReaderState, view: str, tenant_id: UUID, now_s: float) -> str:
    """The token that resumes where the state is."""
    at = state.position
    return make_token(view, tenant_id, at.topic_id, at.offset, int(now_s), whole=is_whole(state), seen=at.seen).text()
