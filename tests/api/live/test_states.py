"""The states of a live read: every event in every state, and what holds on every way through them. No I/O."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import replace
from typing import Any, get_args

import pytest

from api.db import Database
from api.live import admission, states
from api.live import reader as readers
from api.live.decoding import ChangeDecoder
from api.live.hub import Hub
from api.live.join import PgSnapshot, ResumeToken
from api.live.partitions import WatchedPartition
from api.live.reader import STALL_S_MAX, Pace, Reader
from api.live.ring import Ring, RowChange
from api.live.states import (
    AWAY_OFFSETS_MAX,
    JOIN_TRIES_MAX,
    SETTLE_POLLS,
    BoundsFound,
    CatchingUp,
    CommitHidden,
    Ended,
    Following,
    HubPolled,
    Joining,
    OffsetReached,
    OffsetWatermark,
    PageSent,
    Position,
    PositionLost,
    ReaderEvent,
    ReaderState,
    ReadOver,
    ResetSaid,
    Resuming,
    RingReached,
    Sending,
    Settling,
    SnapshotJoined,
    SnapshotPassed,
)
from connectors.kafka.records import Record, TopicPartition
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, RateLimited
from runtime.settings import ApiSettings, Settings
from schemas.flows import KeptView

SEEN = PgSnapshot(90, 100, frozenset({95}), 1_000)
AT = Position("log", 50, SEEN, OffsetWatermark(0, 0, "0/1", None, complete=True))
NEW = Position("log", 80, SEEN)
VOID = Position("log", 50)
PAGES = (b"[1]", b"[2]")

VIEW = KeptView("counts", "Counts.", table="mv.counts", key=("tenant_id",), columns=("tenant_id",))

STATES: dict[str, ReaderState] = {
    "resuming": Resuming(AT),
    "settling": Settling(AT, 2),
    "settling, reset": Settling(AT, 1, 3, "other-log"),
    "joining": Joining(AT, 1),
    "joining, last try": Joining(AT, JOIN_TRIES_MAX - 1, "behind"),
    "sending": Sending(AT, PAGES),
    "sending, last page": Sending(AT, PAGES[1:]),
    "sending, reset": Sending(AT, PAGES, "expired"),
    "following": Following(AT),
    "catching up": CatchingUp(AT),
    "ended": Ended(AT, "slow", whole=True),
}
EVENTS: dict[str, ReaderEvent] = {
    "in the ring": BoundsFound(0, 90, 50, may_catch_up=True),
    "in the log": BoundsFound(0, 90, 51, may_catch_up=True),
    "no room": BoundsFound(0, 90, 51, may_catch_up=False),
    "too far": BoundsFound(0, 51 + AWAY_OFFSETS_MAX, 51, may_catch_up=True),
    "expired": BoundsFound(51, 90, 51, may_catch_up=True),
    "not yet there": BoundsFound(0, 49, 0, may_catch_up=True),
    "polled": HubPolled(),
    "hidden": CommitHidden(),
    "joined": SnapshotJoined(NEW, PAGES),
    "reset said": ResetSaid(),
    "page sent": PageSent(),
    "offset": OffsetReached(60),
    "offset before": OffsetReached(40),
    "passed": SnapshotPassed(),
    "ring": RingReached(),
    "behind": PositionLost("behind"),
    "other log": PositionLost("other-log"),
    "unreadable": PositionLost("unreadable"),
    "over": ReadOver("closing"),
}
AFTER: dict[tuple[str, str], ReaderState] = {
    ("resuming", "in the ring"): Following(AT),
    ("resuming", "in the log"): CatchingUp(AT),
    ("resuming", "no room"): Joining(reset="behind"),
    ("resuming", "too far"): Joining(reset="behind"),
    ("resuming", "expired"): Joining(reset="other-log"),
    ("resuming", "not yet there"): Joining(reset="other-log"),
    ("settling", "polled"): Settling(AT, 1),
    ("settling, reset", "polled"): Joining(AT, 3, "other-log"),
    ("settling, reset", "reset said"): Settling(AT, 1, 3),
    ("joining", "hidden"): Settling(AT, 1, 2),
    ("joining", "joined"): Sending(NEW, PAGES),
    ("joining, last try", "hidden"): Joining(AT, 0, "behind"),
    ("joining, last try", "joined"): Sending(NEW, PAGES, "behind"),
    ("joining, last try", "reset said"): Joining(AT, JOIN_TRIES_MAX - 1),
    ("sending", "page sent"): Sending(AT, PAGES[1:]),
    ("sending, last page", "page sent"): Following(AT),
    ("sending, reset", "reset said"): Sending(AT, PAGES),
    **{
        (name, event): after
        for name, kind in (("following", Following), ("catching up", CatchingUp))
        for event, after in (
            ("offset", kind(replace(AT, offset=60))),
            ("offset before", kind(AT)),
            ("passed", kind(replace(AT, seen=None))),
            ("behind", Joining(VOID, reset="behind")),
            ("other log", Settling(VOID, SETTLE_POLLS, reset="other-log")),
            ("unreadable", Settling(VOID, SETTLE_POLLS, reset="unreadable")),
        )
    },
    ("catching up", "ring"): Following(AT),
    **{
        (name, "over"): Ended(AT, "closing", whole=name in ("following", "catching up"))
        for name in STATES
        if name != "ended"
    },
    **{("ended", event): STATES["ended"] for event in EVENTS},
}
"""What may happen, and what comes of it. Everything else is a fault of the driver."""


def test_the_examples_are_of_every_state_and_of_every_event() -> None:
    assert {type(each) for each in STATES.values()} == set(get_args(ReaderState))
    assert {type(each) for each in EVENTS.values()} == set(get_args(ReaderEvent))


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_in_every_state(name: str, event: str) -> None:
    if (name, event) in AFTER:
        assert states.step(STATES[name], EVENTS[event]) == AFTER[name, event]
    else:
        with pytest.raises(AssertionError, match=type(EVENTS[event]).__name__):
            states.step(STATES[name], EVENTS[event])


def test_what_each_state_wants_and_holds_and_whether_it_can_be_resumed() -> None:
    wants = {name: states.want(state) for name, state in STATES.items()}
    assert wants == {
        "resuming": "bounds",
        **dict.fromkeys(("settling", "settling, reset"), "poll"),
        **dict.fromkeys(("joining", "joining, last try"), "snapshot"),
        **dict.fromkeys(("sending", "sending, last page", "sending, reset"), "page"),
        "following": "changes",
        "catching up": "log",
        "ended": "end",
    }
    whole = {name for name, state in STATES.items() if states.is_whole(state)}
    assert whole == {"following", "catching up", "ended"}
    assert states.count_bytes(STATES["sending"]) == 6
    assert not any(states.count_bytes(state) for name, state in STATES.items() if "sending" not in name)
    resets = {name: reset for name, state in STATES.items() if (reset := states.find_reset(state))}
    assert resets == {"settling, reset": "other-log", "joining, last try": "behind", "sending, reset": "expired"}


def test_on_every_way_rows_come_before_changes_resets_are_said_once_and_an_end_is_for_ever() -> None:
    for seed in range(2_000):
        chance = random.Random(seed)
        beginnings: list[ReaderState] = [Joining(), Joining(reset="expired"), Resuming(AT)]
        state = chance.choice(beginnings)
        has_rows, owed = isinstance(state, Resuming), bool(states.find_reset(state))
        for _ in range(40):
            possible = [event for event in EVENTS.values() if is_possible(state, event)]
            assert possible, state
            event = chance.choice(possible)
            before, state = state, states.step(state, event)
            if isinstance(before, Ended):
                assert state == before
                break
            if isinstance(event, SnapshotJoined):
                has_rows = True
            elif isinstance(state, Joining | Settling) and not isinstance(before, Joining | Settling):
                assert states.find_reset(state), "whoever had rows is told that they are void"
                has_rows, owed = False, True
            elif isinstance(event, ResetSaid):
                assert owed
                owed = False
            if isinstance(state, Following | CatchingUp):
                assert has_rows
                assert not owed
                if isinstance(before, Following | CatchingUp):
                    assert state.position.offset >= before.position.offset


def is_possible(state: ReaderState, event: ReaderEvent) -> bool:
    try:
        states.step(state, event)
    except AssertionError:
        return False
    return True


def test_a_token_resumes_where_the_state_was() -> None:
    tenant_id = uuid.UUID(int=7)
    for state in (Following(AT), CatchingUp(VOID)):
        text = states.write_token(state, "activity", tenant_id, 1_000.5)
        resumed = states.start(text, "activity", tenant_id, "log", 1_001)
        assert resumed == Resuming(Position("log", state.position.offset, state.position.seen))
    text = states.write_token(Sending(AT, PAGES), "activity", tenant_id, 1_000)
    assert states.start(text, "activity", tenant_id, "log", 1_001) == Joining(reset="snapshot-incomplete")
    assert states.start(None, "activity", tenant_id, "log", 1_001) == Joining()
    token = ResumeToken.parse(text)
    assert token is not None
    assert token.offset == AT.offset


def test_watermarks_and_changes_take_turns() -> None:
    pace = Pace()
    assert [pace.take_turn(now_s) for now_s in (0.5, 1.0, 5.0, 5.0, 5.5, 6.0)] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert pace.time_left_s(6.25) == 0.75
    assert not pace.is_stalled(1_000)
    pace.offered_s = 1_000
    assert not pace.is_stalled(1_000 + STALL_S_MAX)
    assert pace.is_stalled(1_001 + STALL_S_MAX)


class StubDecoder(ChangeDecoder):
    """Knows every record without asking for a schema."""

    def __init__(self) -> None:
        self.fault = None

    async def decode(self, change: RowChange) -> dict[str, Any]:
        change.decoded = {"op": "c", "before": None, "after": {"tenant_id": str(change.tenant_id)}}
        return {}


async def test_a_change_wakes_its_reader_whatever_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "POLL_S", 1_000.0)
    tenant_id = uuid.UUID(int=7)
    hub = Hub(Settings(), Database(Settings().postgres), SYSTEM_CLOCK, ())
    hub.decoder = StubDecoder()
    source = TopicPartition("t", 0)
    partition = WatchedPartition(VIEW, source, "log", Ring(0), 0.0)
    reader = Reader(hub, VIEW, tenant_id)
    reader.state = Following(Position("log", 0))
    reader._partition, reader._pace.watermark_s = partition, SYSTEM_CLOCK.monotonic()
    partition.news[tenant_id] = {reader._news}
    partition.ring.watch(tenant_id)
    frames = reader.frames()
    for offset in range(3):
        waiting = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        headers = (("adriatic.tenant", str(tenant_id).encode()), ("adriatic.pos", b"%016X/%08d" % (offset, 0)))
        partition.wake(partition.ring.extend([Record("t", 0, offset, 0, b"k", b"v", headers)], offset + 1))
        assert b"event: delta" in await asyncio.wait_for(waiting, 10)
    ending = asyncio.ensure_future(anext(frames))
    await asyncio.sleep(0.05)
    hub.admission.closing = True
    partition.wake()
    assert b'"closing"' in await asyncio.wait_for(ending, 10)
    assert [frame async for frame in frames] == []


class Nobody:
    """A reader that does nothing."""

    def cut_if_stalled(self) -> None: ...


def test_places_bytes_and_catch_ups_are_bounded_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "HELD_BYTES_MAX", 10)
    room = admission.Admission(ApiSettings(live_readers_max=3, live_readers_per_tenant_max=2))
    mine, other = uuid.UUID(int=1), uuid.UUID(int=2)
    first, second, third = Nobody(), Nobody(), Nobody()
    room.enter(mine, first)
    room.enter(mine, second)
    with pytest.raises(RateLimited):
        room.enter(mine, third)
    room.enter(other, third)
    with pytest.raises(DependencyUnavailable):
        room.enter(other, Nobody())
    for _ in range(2):
        room.leave(first)
    assert room.readers == (second, third)
    room.hold(10)
    with pytest.raises(DependencyUnavailable):
        room.hold(1)
    room.hold(-10)
    assert room.held_bytes == 0
    room.catch_ups = admission.CATCH_UPS_MAX
    assert not room.may_catch_up
    room.closing = True
    with pytest.raises(DependencyUnavailable, match="about to end"):
        room.enter(mine, first)
