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

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

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


@dataclass(frozen=True, slots=True)
class Resuming:
    """The token was accepted; does the log still have its offset?"""

    position: Position


@dataclass(frozen=True, slots=True)
class Settling:
    """Waits for polls of the hub, so that the snapshot that follows is young enough."""

    position: Position
    polls: int
    tries: int = 0
    reset: Reset | None = None


@dataclass(frozen=True, slots=True)
class Joining:
    """Has no rows, or those of before: a snapshot is to be read."""

    position: Position = Position()
    tries: int = 0
    reset: Reset | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """Has joined; so many pages of the snapshot are not sent yet."""

    position: Position
    pages: tuple[bytes, ...]
    reset: Reset | None = None


@dataclass(frozen=True, slots=True)
class Following:
    """Shows what arrives in the ring."""

    position: Position


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """Reads from the log what the ring does not have any more."""

    position: Position


@dataclass(frozen=True, slots=True)
class Ended:
    """Says why, and nothing more. `whole`: as it was before."""

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


@dataclass(frozen=True, slots=True)
class BoundsFound:
    """What the log has, and from where on the ring does. `may_catch_up`: there is room for one more who reads it."""

    first: int
    end: int
    ring_first: int
    may_catch_up: bool


@dataclass(frozen=True, slots=True)
class HubPolled:
    """A poll of database and broker is over."""


@dataclass(frozen=True, slots=True)
class CommitHidden:
    """The snapshot may lack a commit that is not in the ring any more."""


@dataclass(frozen=True, slots=True)
class SnapshotJoined:
    """The rows were read, and the log goes on at `position`."""

    position: Position
    pages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ResetSaid:
    """The reader knows that its rows are void."""


@dataclass(frozen=True, slots=True)
class PageSent:
    """The first of the pages is with the reader."""


@dataclass(frozen=True, slots=True)
class OffsetReached:
    """Every change before `offset` was shown."""

    offset: int


@dataclass(frozen=True, slots=True)
class SnapshotPassed:
    """Everything that follows was committed after the snapshot."""


@dataclass(frozen=True, slots=True)
class RingReached:
    """The ring has everything that follows."""


@dataclass(frozen=True, slots=True)
class PositionLost:
    """What follows cannot be shown."""

    reason: Reset


@dataclass(frozen=True, slots=True)
class ReadOver:
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
    match state:
        case Resuming():
            return "bounds"
        case Settling():
            return "poll"
        case Joining():
            return "snapshot"
        case Sending():
            return "page"
        case Following():
            return "changes"
        case CatchingUp():
            return "log"
        case Ended():
            return "end"


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
            return replace(state, position=replace(at, offset=max(at.offset, offset)))
        case _, SnapshotPassed():
            return replace(state, position=replace(at, seen=None))
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
    fresh = replace(position, seen=None, base=None)
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
