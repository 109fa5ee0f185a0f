"""Dead letters decided by a person: once each, in one transaction, with the account."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection, connect
from connectors.postgres.sink import DeadLetter, write_dead_letters
from dataflows import redrive
from dataflows.flow import Event, Flow
from dataflows.index import Index
from dataflows.redrive import (
    ATTEMPTS_MAX,
    Coordinates,
    LetterFilter,
    Redriver,
    RedriveSummary,
    Result,
    each,
    find,
    read,
)
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable, NotFound, Undecodable
from tests import databases
from tests.dataflows.world import VERSIONS_TOPIC, Outbox, Running, Version, World, envelope, until

AT = Coordinates("index", "topic", 0, 1)


def test_letters_are_decided_at_the_rate_that_was_asked_for() -> None:
    clock = ManualClock()
    account = RedriveSummary(scanned=9, matched=5, left=5)
    letters = [AT._replace(offset=offset) for offset in range(3)]
    outcomes = iter(["done", "failed", "skipped"])
    results = list(each(account, letters, lambda at: Result(at, next(outcomes), "c", ""), 2.0, clock))  # type: ignore[arg-type]
    assert clock.monotonic() == 1.0, "the first at once, then every half second"
    assert account.results == results
    assert (account.done, account.failed, account.skipped, account.left) == (1, 1, 1, 2)
    assert not account.complete


def test_what_does_not_answer_leaves_the_rest() -> None:
    def away(at: Coordinates) -> Result:
        if at.offset == 1:
            raise DependencyUnavailable("gone")
        return Result(at, "done", "", "")

    account = RedriveSummary(matched=3, left=3)
    with pytest.raises(DependencyUnavailable):
        list(each(account, [AT._replace(offset=offset) for offset in range(3)], away))
    assert (account.done, account.left) == (1, 2)


# --- with real components -------------------------------------------------------------------------------------------


class Broken(Index):
    """A release with a bug: titles with a B cannot be processed."""

    def transform(self, events: Sequence[Event]) -> Any:
        if any(event.value["after"]["title"].startswith("B") for event in events):
            raise ValueError("a bug")
        return super().transform(events)


@pytest.fixture
def connection(world: World) -> Iterator[Connection]:
    with world.admin() as admin:
        world.embed.start(admin)
    with closing(connect(world.settings.postgres)) as opened:
        opened.autocommit = True
        yield opened


def redriver(world: World, connection: Connection, flow: Flow[Any] | None = None) -> Redriver:
    def build(name: str) -> Flow[Any]:
        if name != "index":
            raise NotFound(f"there is no flow {name}")
        return flow or world.index

    contracts = {topic: contract for contract, topic in world.topics.items()}
    return Redriver(connection, build, world.registry, contracts)


def letters_of_a_bug(world: World, titles: Sequence[str]) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """A record for each title through the broken release."""
    tenant, adrs = uuid.uuid4(), [uuid.uuid4() for _ in titles]
    world.versions([Version(tenant, adr, 1, title=title) for adr, title in zip(adrs, titles, strict=True)])
    world.run_until_done(Broken())
    return tenant, adrs


class Looking(Index):
    """Notes whether a transaction is open while it prepares."""

    def __init__(self) -> None:
        self.seen: list[TransactionStatus] = []

    def prepare(self, connection: Connection, effects: Any) -> Any:
        self.seen.append(connection.info.transaction_status)
        return super().prepare(connection, effects)


def selected(connection: Connection, **selection: Any) -> list[Coordinates]:
    return find(connection, LetterFilter(**selection), 1000)[1]


def state(world: World) -> list[tuple[Any, ...]]:
    return world.rows("select state, attempts, code from ops.dlq order by flow, topic, partition, record_offset")


def audited(world: World) -> list[tuple[Any, ...]]:
    return world.rows("select actor, action, target, result from ops.audit order by audit_id")


@pytest.mark.stack
def test_a_mended_release_processes_what_it_could_not_once(
    world: World, connection: Connection, outbox: Outbox
) -> None:
    tenant, adrs = letters_of_a_bug(world, ["B1", "fine", "B2"])
    outbox.messages()
    letters = selected(connection, flow="index", code="unprocessable")
    assert len(letters) == 2
    again = redriver(world, connection)
    assert {again.plan(letter).outcome for at in letters if (letter := read(connection, at))} == {"would"}
    assert state(world) == [("new", 1, "unprocessable")] * 2, "a plan writes nothing"
    assert [again.redrive(at, "ada@desk").outcome for at in letters] == ["done", "done"]
    assert state(world) == [("redriven", 2, "unprocessable")] * 2
    found = world.rows("select source_id from mv.search_state where tenant_id = %s", tenant)
    assert {row[0] for row in found} == set(adrs)
    assert audited(world) == [("ada@desk", "dlq.redrive", str(at), "done") for at in letters]
    requests = [message for message in outbox.messages() if message["topic"] == "embeddings.requested"]
    assert len(requests) == 2, "the follow-up events go out with the rows"

    assert [again.redrive(at, "ada@desk").outcome for at in letters] == ["skipped", "skipped"]
    account, left = find(connection, LetterFilter(flow="index"), 1000)
    assert (account.scanned, account.matched, left) == (2, 0, [])
    assert len(audited(world)) == 2
    assert outbox.messages() == []


@pytest.mark.stack
def test_what_fails_again_stays_with_the_new_reason_and_not_for_ever(world: World, connection: Connection) -> None:
    tenant = uuid.uuid4()
    encode = world.encoder(VERSIONS_TOPIC).encode
    world.produce(VERSIONS_TOPIC, tenant, encode(envelope(Version(tenant, uuid.uuid4(), 1, title="a \x00 in it"))))
    world.flush()
    world.run_until_done(world.index)
    (at,) = selected(connection, topic=world.topics[VERSIONS_TOPIC])
    world.rows("update ops.dlq set code = 'undecodable', detail = 'old' returning 1")
    again = redriver(world, connection)
    for attempt in range(2, ATTEMPTS_MAX + 1):
        result = again.redrive(at, "ada@desk")
        assert (result.outcome, result.code) == ("failed", "unprocessable")
        assert state(world) == [("new", attempt, "unprocessable")]
    assert world.rows("select detail <> 'old' from ops.dlq") == [(True,)]
    refused = again.redrive(at, "ada@desk")
    assert (refused.outcome, refused.detail) == ("skipped", "tried 5 times: mend what fails, or drop it")
    assert state(world) == [("new", ATTEMPTS_MAX, "unprocessable")]
    assert [row[3] for row in audited(world)] == ["failed"] * (ATTEMPTS_MAX - 1)
    assert world.rows("select count(*) from mv.search_state where tenant_id = %s", tenant) == [(0,)]
    detail = world.rows("select detail from ops.audit order by audit_id limit 1")[0][0]
    assert detail["attempt"] == 2


@pytest.mark.stack
def test_a_plan_says_what_would_fail_again(world: World, connection: Connection) -> None:
    tenant = uuid.uuid4()
    world.produce(VERSIONS_TOPIC, tenant, b"garbage")
    world.flush()
    world.run_until_done(world.index)
    (at,) = selected(connection, code="undecodable")
    letter = read(connection, at)
    assert letter is not None
    assert letter.record.value == b"garbage"
    assert letter.record.tenant_id == tenant, "the headers come back as they were"
    plan = redriver(world, connection).plan(letter)
    assert (plan.outcome, plan.code) == ("would", "undecodable")
    assert "fail again" in plan.detail


@pytest.mark.stack
def test_an_old_version_never_replaces_a_newer_one(world: World, connection: Connection) -> None:
    tenant, (adr,) = letters_of_a_bug(world, ["B old"])
    world.versions([Version(tenant, adr, 2, title="new")])
    world.run_until_done(world.index)
    (at,) = selected(connection, flow="index")
    assert redriver(world, connection).redrive(at, "ada@desk").outcome == "done"
    assert world.rows("select words_version, title from mv.search_state where source_id = %s", adr) == [(2, "new")]


@pytest.mark.stack
def test_killed_half_way_nothing_is_done_and_nothing_is_marked(world: World, connection: Connection) -> None:
    tenant, _ = letters_of_a_bug(world, ["B"])
    (at,) = selected(connection, flow="index")

    class Killed(Index):
        def apply(self, connection: Connection, effects: Any) -> None:
            super().apply(connection, effects)
            world.rows("select pg_terminate_backend(%s)", connection.info.backend_pid)
            connection.execute("select 1")

    with pytest.raises(DependencyUnavailable):
        redriver(world, connection, Killed()).redrive(at, "ada@desk")
    assert state(world) == [("new", 1, "unprocessable")]
    assert audited(world) == []
    assert world.rows("select count(*) from mv.search_state where tenant_id = %s", tenant) == [(0,)]
    with closing(connect(world.settings.postgres)) as fresh:
        fresh.autocommit = True
        assert redriver(world, fresh).redrive(at, "ada@desk").outcome == "done"
    assert world.rows("select count(*) from mv.search_state where tenant_id = %s", tenant) == [(1,)]


@pytest.mark.stack
def test_two_people_redrive_the_same_letter_and_one_of_them_does(world: World, connection: Connection) -> None:
    letters_of_a_bug(world, ["B1", "B2", "B3", "B4"])
    letters = selected(connection, flow="index")
    outcomes: list[str] = []

    def person() -> None:
        with closing(connect(world.settings.postgres)) as own:
            own.autocommit = True
            mine = redriver(world, own)
            outcomes.extend(mine.redrive(at, "somebody").outcome for at in letters)

    people = [threading.Thread(target=person) for _ in range(2)]
    for each_ in people:
        each_.start()
    for each_ in people:
        each_.join(60)
    assert sorted(outcomes) == ["done"] * 4 + ["skipped"] * 4
    assert len(audited(world)) == 4


@pytest.mark.stack
def test_a_flow_that_runs_takes_turns_with_it(world: World, connection: Connection) -> None:
    tenant, adrs = letters_of_a_bug(world, ["B"] * 5)
    more = [uuid.uuid4() for _ in range(50)]
    with Running(world, world.index) as running:
        world.versions([Version(tenant, adr, 1) for adr in more])
        again = redriver(world, connection)
        outcomes = [again.redrive(at, "ada@desk").outcome for at in selected(connection, flow="index")]
        until(lambda: running.error is not None or world.done(world.index))
    assert running.error is None
    assert outcomes == ["done"] * 5
    found = world.rows("select source_id from mv.search_state where tenant_id = %s", tenant)
    assert {row[0] for row in found} == {*adrs, *more}


@pytest.mark.stack
def test_what_no_flow_can_process_is_skipped_with_the_reason(world: World, connection: Connection) -> None:
    databases.let_emit(world.settings, "nobody.reads.this.dlq")
    for flow in ("cdc", "retired", "index"):
        record = Record("nobody.reads.this", -1, 7, None, None, b"{}")
        write_dead_letters(connection, flow, [DeadLetter.of(record, "encode", Undecodable("no"))])
    again = redriver(world, connection)
    why = {at.flow: again.redrive(at, "ada@desk").detail for at in selected(connection)}
    assert "never was a record" in why["cdc"]
    assert why["retired"] == "there is no flow retired"
    assert why["index"] == "index does not read nobody.reads.this"
    assert audited(world) == []


@pytest.mark.stack
def test_dropping_keeps_the_bytes_and_says_why(world: World, connection: Connection) -> None:
    letters_of_a_bug(world, ["B"])
    (at,) = selected(connection, flow="index")
    assert redrive.drop(connection, at, "ada@desk", "a test import").outcome == "done"
    assert redrive.drop(connection, at, "ada@desk", "again").outcome == "skipped"
    assert redriver(world, connection).redrive(at, "ada@desk").outcome == "skipped"
    assert world.rows("select state, attempts, value is not null from ops.dlq") == [("dropped", 1, True)]
    assert world.rows("select actor, action, target, reason from ops.audit") == [
        ("ada@desk", "dlq.drop", str(at), "a test import")
    ]


@pytest.mark.stack
def test_a_selection_is_all_that_was_given(world: World, connection: Connection) -> None:
    databases.let_emit(world.settings, "x.dlq", "y.dlq")
    for flow, topic, offset in (("a", "x", 1), ("a", "x", 2), ("a", "y", 1), ("b", "x", 1)):
        record = Record(topic, 0, offset, None, None, b"")
        write_dead_letters(connection, flow, [DeadLetter.of(record, "decode", Undecodable("no"))])
    assert len(selected(connection)) == 4
    assert selected(connection, flow="a", topic="x") == [Coordinates("a", "x", 0, 1), Coordinates("a", "x", 0, 2)]
    assert selected(connection, code="unprocessable") == []
    one = Coordinates("a", "y", 0, 1)
    assert selected(connection, letters=(one, one._replace(offset=9))) == [one]
    account, first = find(connection, LetterFilter(flow="a"), 2)
    assert (account.scanned, account.matched, len(first)) == (3, 3, 2)


@pytest.mark.stack
def test_the_audit_is_append_only(connection: Connection) -> None:
    redrive.audit(connection, "ada@desk", "dlq.drop", AT, "done", "a \x00 in it", {})
    for statement in ("update ops.audit set actor = 'eve'", "delete from ops.audit", "truncate ops.audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
    assert json.dumps(connection.execute("select reason from ops.audit").fetchall()[0][0]) == '"a \\\\0 in it"'


@pytest.mark.stack
def test_nothing_is_prepared_while_the_flows_turn_is_held(world: World, connection: Connection) -> None:
    letters_of_a_bug(world, ["B 1"])
    looking = Looking()
    (letter,) = selected(connection)
    assert redriver(world, connection, looking).redrive(letter, "ada").outcome == "done"
    assert looking.seen == [TransactionStatus.IDLE]
