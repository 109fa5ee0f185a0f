"""One live read at a time, in this process, on real change capture, broker and registry."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, Message, Producer

from api.db import Database
from api.live import admission, partitions, polling, ring, rows, states
from api.live import reader as readers
from api.live.hub import Hub
from api.live.join import ResumeToken
from api.live.reader import Reader
from connectors.consumer import stall
from connectors.kafka import clients, tail
from connectors.kafka.offsets import Offsets
from connectors.kafka.partitioner import partition_for
from connectors.llm.sse import SseDecoder
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import DependencyUnavailable, InvalidInput, RateLimited, TooLarge
from schemas.codec import Encoder
from schemas.flows import KeptView
from tests.api.live import world as worlds
from tests.api.live.world import LIVE, Picture, World, view_named
from tests.dataflows.world import know_session
from tests.patience import soon

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SEED = int(os.environ.get("ADRIATIC_TEST_SEED", "20261124"))
COUNTS = view_named("entity_counts")
A, B = uuid.uuid4(), uuid.uuid4()
"""Two tenants, new for each test."""
PATIENCE_S = 240.0
POLLS = 3
"""Of the hub, a second each."""


@pytest.fixture(autouse=True)
def new_tenants() -> None:
    """Both in one partition, so that each reader meets the other's records."""
    global A, B
    A = uuid.uuid4()
    others = (uuid.uuid4() for _ in range(1_000))
    B = next(other for other in others if partition_for(str(other), 8) == partition_for(str(A), 8))


@asynccontextmanager
async def hub_of(world: World, **limits: int) -> AsyncIterator[Hub]:
    settings = world.settings.model_copy(update={"api": world.settings.api.model_copy(update=limits)})
    database = Database(settings.postgres)
    await database.open()
    hub = Hub(settings, database, SYSTEM_CLOCK, LIVE)
    try:
        yield hub
    finally:
        await hub.close()
        await database.close()
        assert not hub.admission.readers
        assert hub.admission.held_bytes == 0
        assert hub.admission.catch_ups == 0


@pytest.fixture
async def hub(world: World) -> AsyncIterator[Hub]:
    async with hub_of(world) as opened:
        yield opened


async def read(
    hub: Hub,
    until: Callable[[Picture], Any],
    picture: Picture | None = None,
    *,
    view: KeptView = COUNTS,
    tenant_id: uuid.UUID | None = None,
    ends_at: datetime | None = None,
) -> Picture:
    """One stream, from where `picture` is, until it is as wanted or the stream ends."""
    picture = picture or Picture()
    reader = Reader(hub, view, tenant_id or A, ends_at)
    await reader.begin(picture.last_id or None)
    frames = reader.frames()
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for part in frames:
                for event in SseDecoder().feed(part):
                    picture.take(view, event)
                if until(picture):
                    break
    finally:
        await frames.aclose()  # type: ignore[attr-defined]  # it is a generator
    return picture


def labels(picture: Picture) -> list[str]:
    return [each["key"]["label"] for each in picture.deltas]


# --- the join ---------------------------------------------------------------------------------------------------------


@contextmanager
def held_commit(world: World) -> Iterator[threading.Thread]:
    """A transaction whose commit is in the WAL, and in the topic, and which no snapshot sees yet: it waits for a
    standby that does not exist. It ends with the block."""

    def commit() -> None:
        with psycopg.connect(world.settings.postgres.dsn("admin"), autocommit=True) as connection:
            connection.execute("set application_name = 'held'; set synchronous_commit = on")
            connection.execute(worlds.COUNT, [A, "adrs", "held", 1])

    thread = threading.Thread(target=commit)
    world.sql("alter system set synchronous_commit = local")
    world.sql("alter system set synchronous_standby_names = 'nobody'")
    world.sql("select pg_reload_conf()")
    try:
        world.until(lambda: world.sql("show synchronous_standby_names") == [("nobody",)])
        thread.start()
        world.until(lambda: world.sql("select 1 from pg_stat_activity where wait_event = 'SyncRep'"))
        world.until(lambda: any(each["after"]["tenant_id"] == str(A) for each in world.read(COUNTS) if each["after"]))
        yield thread
    finally:
        world.sql("alter system reset synchronous_standby_names")
        world.sql("alter system reset synchronous_commit")
        world.sql("select pg_reload_conf()")
        world.sql("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'held'")
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


async def test_a_commit_that_is_in_the_log_before_snapshots_see_it_is_not_lost(world: World, hub: Hub) -> None:
    with held_commit(world):
        picture = await read(hub, lambda picture: picture.deltas)
        assert worlds.table(world, COUNTS, A) == {}, "the test needs a commit that is not visible"
        assert picture.snapshots == 1
        assert labels(picture) == ["held"]
    world.count(A, "next", 2)
    picture = await read(hub, lambda picture: len(picture.deltas) > 1, picture)
    assert labels(picture) == ["held", "next"]
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


async def test_a_commit_that_falls_out_of_the_ring_before_snapshots_see_it_keeps_readers_from_beginning(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "Ring", lambda start: ring.Ring(start, records_max=2))
    await read(hub, lambda picture: picture.whole)
    with held_commit(world):
        # A reader decodes it, so that what falls out is known.
        await read(hub, lambda picture: picture.deltas)
        for number in range(3):
            world.count(B, f"later-{number}", number)
        world.caught_up()
        await asyncio.sleep(2 * polling.POLL_S)
        with pytest.raises(DependencyUnavailable, match="not visible yet"):
            await read(hub, lambda picture: picture.whole)
        assert not hub.admission.readers
    picture = await read(hub, lambda picture: picture.whole)
    assert list(picture.rows) == ['{"kind":"adrs","label":"held"}']


# --- every view -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", LIVE, ids=lambda view: view.name)
async def test_every_view_is_its_table_then_its_topic_and_of_its_tenant_alone(
    world: World, hub: Hub, view: KeptView
) -> None:
    chance = random.Random(SEED)
    with world.connect() as connection:
        for tenant_id in (A, B):
            for number in range(5):
                worlds.write(connection, view, worlds.invented(world, view, chance, tenant_id, number))
        world.caught_up()
        before = worlds.table(world, view, A)
        picture = await read(hub, lambda picture: picture.whole, view=view)
        assert len(before) == 5
        assert worlds.same(picture.rows, before)
        for _ in range(40):
            tenant_id, number = chance.choice([A, B]), chance.randrange(8)
            row = worlds.invented(world, view, chance, tenant_id, number)
            worlds.erase(connection, view, row) if chance.random() < 0.3 else worlds.write(connection, view, row)
    last = worlds.table(world, view, A)
    world.caught_up()
    logged = [each for each in world.read(view) if (each["after"] or each["before"])["tenant_id"] == str(A)][5:]
    picture = await read(hub, lambda picture: len(picture.deltas) >= len(logged), picture, view=view)
    assert worlds.same(picture.rows, last)
    assert [each["op"] for each in picture.deltas] == ["delete" if each["op"] == "d" else "upsert" for each in logged]
    shown = worlds.keys(view, (each["key"] for each in picture.deltas))
    assert shown == worlds.keys(view, (each["after"] or each["before"] for each in logged))
    assert str(B) not in msgspec.json.encode([picture.rows, picture.deltas]).decode()


@pytest.fixture
def open_log(world: World) -> Iterator[World]:
    """A log that a test writes to, which capture would halt for: it has ended before. One runs in a database at a
    time."""
    world.stop_capture()
    try:
        with worlds.made(world.settings) as made:
            made.stop_capture()
            yield made
    finally:
        world.start_capture()


def write_record(world: World, value: bytes, tenant: str, session: str = "", xid: int = 1 << 30) -> None:
    headers: Any = [("adriatic.tenant", tenant.encode()), ("adriatic.xid", str(xid).encode())]
    headers.append(("adriatic.pos", b"7FFFFFFFFFFFFFFF/00000000" if session else b"0000000000000001/00000000"))
    if session:
        headers.append(("adriatic.session", session.encode()))
    producer = Producer({**world.settings.kafka.client_config()})
    producer.produce(COUNTS.topic(world.name), value, b"key", partition=partition_for(str(A), 8), headers=headers)
    assert producer.flush(30) == 0


def encode_change(world: World, label: str, tenant_id: uuid.UUID) -> bytes:
    subject = f"{COUNTS.topic(world.name)}-value"
    source = {"version": "1", "connector": "postgresql", "name": "x", "ts_ms": 0, "db": "d", "schema": "mv"}
    row = {"tenant_id": str(tenant_id), "kind": "adrs", "label": label, "count": 1}
    source |= {"table": "entity_counts", "txId": 1 << 30}
    envelope = {"before": None, "after": row, "op": "c", "source": source}
    return Encoder(world.registry, subject, world.schema(subject)).encode(envelope)


def begin_session(world: World, beat: int = 1) -> uuid.UUID:
    session = uuid.uuid4()
    know_session(world.settings, session, beat)
    return session


async def test_a_record_whose_header_names_another_tenant_than_its_row_is_shown_to_nobody(open_log: World) -> None:
    session = begin_session(open_log)
    async with hub_of(open_log) as hub:
        picture = await read(hub, lambda picture: picture.whole)
        for header in (str(A), "nobody", ""):
            write_record(open_log, encode_change(open_log, "secret", B), header)
        write_record(open_log, encode_change(open_log, "mine", A), str(A), f"{session}/1")
        picture = await read(hub, lambda picture: "mine" in labels(picture), picture)
    assert labels(picture) == ["mine"]
    assert picture.resets == []


async def test_a_record_that_cannot_be_read_makes_its_tenants_readers_start_anew(open_log: World) -> None:
    session = begin_session(open_log)
    open_log.count(A, "mine", 1)
    async with hub_of(open_log) as hub:
        picture = await read(hub, lambda picture: picture.whole)
        ((xid,),) = open_log.sql(f"{worlds.COUNT} returning pg_current_xact_id()::text", A, "adrs", "unreadable", 1)
        write_record(open_log, b"no avro", str(A), xid=int(xid))
        picture = await read(hub, lambda picture: picture.snapshots > 1, picture)
        open_log.count(A, "more", 1)
        write_record(open_log, encode_change(open_log, "more", A), str(A), f"{session}/1")
        picture = await read(hub, lambda picture: "more" in labels(picture), picture)
    assert picture.resets == ["unreadable"]
    assert worlds.same(picture.rows, worlds.table(open_log, COUNTS, A))


@pytest.mark.parametrize("known", [0, 5])
async def test_a_change_of_another_future_is_not_shown_and_ends_the_read(open_log: World, known: int) -> None:
    """The database was set back: it does not know the session, or not as far as this."""
    session = begin_session(open_log, known) if known else uuid.uuid4()
    beats = [known, known + 1] if known else [1]
    async with hub_of(open_log) as hub:
        picture = await read(hub, lambda picture: picture.whole)
        for beat in beats:
            write_record(open_log, encode_change(open_log, f"n{beat}", A), str(A), f"{session}/{beat}")
        picture = await read(hub, lambda picture: picture.ends, picture)
        assert picture.ends == ["other-log"]
        assert labels(picture) == [f"n{beat}" for beat in beats[:-1]], "what came before is shown"
        know_session(open_log.settings, session, beats[-1])
        picture = await read(hub, lambda picture: f"n{beats[-1]}" in labels(picture), picture)
    assert picture.resets == []


async def test_a_log_that_went_back_makes_readers_start_anew(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.count(A, "mine", 1)
    world.caught_up()  # a log that is empty cannot have gone back
    picture = await read(hub, lambda picture: picture.whole and picture.watermarks)
    with monkeypatch.context() as back:
        end = Offsets.end
        back.setattr(Offsets, "end", lambda *asked: {source: at - 1 for source, at in end(*asked).items()})
        picture = await read(hub, lambda picture: picture.resets, picture)
    assert picture.resets == ["other-log"]
    picture = await read(hub, lambda picture: picture.whole, picture)
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


async def test_a_consumer_that_came_out_of_an_outage_deaf_is_replaced(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises nothing and fetches nothing; only the end of the log shows it."""
    monkeypatch.setattr(stall, "STALLED_S", 2.0)
    fetch, deaf = clients.fetch, set[int]()

    def fetch_unless_deaf(consumer: Consumer, wait_s: float, records_max: int) -> list[Message]:
        return [] if id(consumer) in deaf else fetch(consumer, wait_s, records_max)

    def go_deaf(consumer: Consumer, *_: Any) -> list[Message]:
        deaf.add(id(consumer))
        heard.append(consumer)  # its id is not given to another
        monkeypatch.setattr(tail, "fetch", fetch_unless_deaf)
        return []

    heard: list[Consumer] = []
    world.count(A, "before", 1)
    picture = await read(hub, lambda picture: picture.whole and picture.watermarks)
    monkeypatch.setattr(tail, "fetch", go_deaf)
    await soon(lambda: heard)
    world.count(A, "after", 1)
    world.caught_up()
    picture = await read(hub, lambda picture: "after" in labels(picture), picture)
    assert picture.resets == []
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


# --- resuming ---------------------------------------------------------------------------------------------------------


async def test_a_reader_that_was_away_reads_what_the_ring_lost_from_the_log(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "Ring", lambda start: ring.Ring(start, records_max=20))
    picture = await read(hub, lambda picture: picture.whole)
    with world.connect() as connection:
        for number in range(600):
            connection.execute(worlds.COUNT, [A, "adrs", f"n{number}", number])
    world.caught_up()
    # Another reader keeps the ring going, past what this one has seen.
    await read(hub, lambda picture: picture.watermarks, tenant_id=B)
    picture = await read(hub, lambda picture: len(picture.deltas) >= 600, picture=picture)
    world.count(A, "last", 1)
    picture = await read(hub, lambda picture: len(picture.deltas) >= 601, picture=picture)
    assert picture.resets == []
    assert labels(picture) == [*(f"n{number}" for number in range(600)), "last"]
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


async def test_a_reader_that_was_away_for_too_long_starts_anew(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "Ring", lambda start: ring.Ring(start, records_max=2))
    monkeypatch.setattr(states, "AWAY_OFFSETS_MAX", 3)
    picture = await read(hub, lambda picture: picture.whole)
    for number in range(8):
        world.count(A, f"n{number}", number)
    world.caught_up()
    picture = await read(hub, lambda picture: picture.snapshots > 1, picture=picture)
    assert picture.resets == ["behind"]
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


async def test_a_reader_that_is_too_slow_starts_anew(world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "Ring", lambda start: ring.Ring(start, records_max=5))
    picture, reader = Picture(), Reader(hub, COUNTS, A)
    await reader.begin(None)
    frames = reader.frames()
    async for part in frames:
        for event in SseDecoder().feed(part):
            picture.take(COUNTS, event)
        if picture.snapshots == 1 and not picture.resets:
            with world.connect() as connection:
                for number in range(20):
                    connection.execute(worlds.COUNT, [A, "adrs", f"n{number}", number])
            await asyncio.to_thread(world.caught_up)
            await asyncio.sleep(1)
        if picture.snapshots == 2:
            break
    await frames.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert picture.resets == ["behind"]
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"view": "activity"}, "other-view"),
        ({"tenant_id": uuid.uuid4()}, "other-tenant"),
        ({"topic_id": "another"}, "other-log"),
        ({"offset": 1 << 40}, "other-log"),
        ({"whole": False}, "snapshot-incomplete"),
        ({"at_s": 1}, "expired"),
        ({"form": 99}, "expired"),
    ],
)
async def test_a_token_that_cannot_be_resumed_starts_anew_and_says_why(
    world: World, hub: Hub, change: dict[str, Any], reason: str
) -> None:
    world.count(A, "one", 1)
    picture = await read(hub, lambda picture: picture.whole)
    token = ResumeToken.parse(picture.last_id)
    assert token is not None
    picture.last_id = msgspec.structs.replace(token, **change).text()
    picture = await read(hub, lambda picture: picture.snapshots > 1, picture)
    assert picture.resets == [reason]
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


async def test_a_topic_that_was_made_anew_starts_readers_anew(world: World, hub: Hub) -> None:
    world.count(A, "one", 1)
    world.caught_up()
    picture = await read(hub, lambda picture: picture.watermarks)
    world.stop_capture()
    world.delete_topics()
    world.until(lambda: not set(world.topics) & set(world.topics_there()))
    world.make_topics()
    world.take_topics_as_they_are()
    world.start_capture()
    world.count(A, "two", 2)
    world.caught_up()
    async with asyncio.timeout(PATIENCE_S):
        while "two" not in str(picture.rows):
            with suppress(DependencyUnavailable):  # the broker does not lead the new partitions yet
                picture = await read(hub, lambda picture: "two" in str(picture.rows), picture)
    assert picture.resets == ["other-log"]
    assert worlds.same(picture.rows, worlds.table(world, COUNTS, A))


@pytest.mark.parametrize("text", ["x", "!!", "W10", "WzFd", "é", "a" * 5000, "bnVsbA", "WzEsMiwzLDQsNSw2XQ"])
async def test_what_is_no_token_is_refused(world: World, hub: Hub, text: str) -> None:
    picture = Picture()
    picture.last_id = text
    with pytest.raises(InvalidInput, match="no resume token"):
        await read(hub, lambda _: True, picture)
    assert not hub.admission.readers


# --- bounds and ends --------------------------------------------------------------------------------------------------


async def test_readers_are_bounded_by_tenant_and_by_process(world: World) -> None:
    async with hub_of(world, live_readers_per_tenant_max=2, live_readers_max=3) as hub:
        opened = [Reader(hub, COUNTS, tenant_id) for tenant_id in (A, A, B)]
        for reader in opened[:2]:
            await reader.begin(None)
        with pytest.raises(RateLimited, match="2 live reads of this tenant"):
            await read(hub, lambda _: True)
        await opened[2].begin(None)
        with pytest.raises(DependencyUnavailable, match="3 live reads"):
            await read(hub, lambda _: True, tenant_id=B)
        opened[0].close()
        assert (await read(hub, lambda picture: picture.whole)).whole
        for reader in opened:
            reader.close()


async def test_a_view_with_too_many_rows_is_refused(world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows.read, "__defaults__", (3,))
    for number in range(4):
        world.count(A, f"n{number}", number)
    with pytest.raises(TooLarge, match="more than 3 rows"):
        await read(hub, lambda _: True)
    assert not hub.admission.readers


async def test_snapshots_that_nobody_takes_are_bounded(world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    world.count(A, "one", 1)
    monkeypatch.setattr(admission, "HELD_BYTES_MAX", 60)
    first = Reader(hub, COUNTS, A)
    await first.begin(None)
    with pytest.raises(DependencyUnavailable, match="begin at once"):
        await read(hub, lambda _: True)
    first.close()
    assert (await read(hub, lambda picture: picture.whole)).whole


async def test_a_reader_that_takes_nothing_is_cut_and_goes_on_where_it_was(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = await read(hub, lambda picture: picture.watermarks)
    monkeypatch.setattr(readers, "STALL_S_MAX", 0.1)
    reader = Reader(hub, COUNTS, A)
    await reader.begin(picture.last_id)
    frames = reader.frames()
    first = await anext(frames)
    world.count(A, "one", 1)
    await soon(lambda: not hub.admission.readers, "the cut")
    last = await anext(frames)
    for part in (first, last):
        for event in SseDecoder().feed(part):
            picture.take(COUNTS, event)
    assert picture.ends == ["slow"]
    picture = await read(hub, lambda picture: picture.deltas, picture)
    assert labels(picture) == ["one"]
    assert picture.resets == []


async def test_a_stream_ends_with_its_token_and_with_the_process(world: World) -> None:
    async with hub_of(world) as hub:
        end = datetime.now(UTC) + timedelta(seconds=1)
        picture = await read(hub, lambda _: False, ends_at=end)
        assert picture.ends == ["token-expired"]
        going = asyncio.create_task(read(hub, lambda _: False, picture))
        await soon(lambda: hub.admission.readers, "the read")
        await hub.close()
        assert (await going).ends == ["token-expired", "closing"]
        with pytest.raises(DependencyUnavailable, match="about to end"):
            await read(hub, lambda _: True)


# --- how far it is ----------------------------------------------------------------------------------------------------


async def test_a_watermark_says_what_the_picture_has(world: World, hub: Hub) -> None:
    """The flow's watermark is shown once everything that it speaks of was shown."""
    picture = await read(hub, lambda picture: picture.watermarks)
    assert picture.watermarks[-1]["as_of"]["state"] == "unknown", "the view never reported"
    world.count(A, "one", 1)
    at = report(world, datetime.now(UTC))
    picture = await read(hub, lambda picture: reached(picture, at), picture)
    assert labels(picture) == ["one"]
    assert picture.watermarks[-1]["as_of"]["state"] == "fresh"
    assert picture.watermarks[-1]["waits_for"] == []
    old = await read(hub, lambda picture: picture.watermarks)
    assert old.watermarks[-1]["as_of"]["state"] == "fresh", "a new snapshot says it at once"


async def test_a_capture_that_stands_still_makes_the_picture_old_and_a_stopped_table_unknown(
    world: World, hub: Hub
) -> None:
    at = report(world, datetime.now(UTC) - timedelta(seconds=8))
    # Not only by the snapshot: whoever resumes knows what the polls of the hub have told.
    picture = await read(hub, lambda picture: reached(picture, at) and len(picture.watermarks) > POLLS)
    world.stop_capture()
    later = report(world, datetime.now(UTC))
    world.count(A, "one", 1)
    picture = await read(hub, lambda picture: state(picture) == "stale", picture)
    assert not reached(picture, later)
    assert picture.deltas == []
    world.start_capture()
    picture = await read(hub, lambda picture: reached(picture, later), picture)
    assert labels(picture) == ["one"]
    world.sql("update ops.cdc_tables set state = 'stopped' where table_name = 'mv.entity_counts'")
    try:
        picture = await read(hub, lambda picture: state(picture) == "unknown", picture)
    finally:
        world.sql("update ops.cdc_tables set state = 'streaming'")


def report(world: World, at: datetime) -> datetime:
    """As a flow does that has applied everything up to now."""
    world.sql("delete from mv.watermarks")
    world.sql(
        "insert into mv.watermarks (view, topic, partition, lsn, source_at) "
        "select 'entity_counts', 't', n, pg_current_wal_insert_lsn(), %s from generate_series(0, 7) n",
        at,
    )
    return at


def state(picture: Picture) -> str:
    return str(picture.watermarks[-1]["as_of"]["state"]) if picture.watermarks else ""


def reached(picture: Picture, at: datetime) -> bool:
    time = picture.watermarks[-1]["as_of"].get("time") if picture.watermarks else None
    return time is not None and datetime.fromisoformat(time) >= at
