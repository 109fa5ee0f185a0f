"""Whose log it is (R12): each way in which it is not ours halts, by its name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.capture import identity, tails
from connectors.capture.ends import Ends
from connectors.capture.identity import ForeignLog, LogLost, label_of
from connectors.capture.ports import Bounds, FilledTopic, LogRecord, TopicFacts
from connectors.capture.tails import EVERYTHING, read_tails
from connectors.kafka.records import TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.lsn import Lsn, Pos
from runtime.clock import ManualClock
from runtime.errors import DependencyUnavailable, Halted, Undecodable

SESSION = uuid.UUID(int=7)
SOURCE = TopicPartition("t", 0)
POS = Pos(Lsn(0x100), 2)
HEADERS: dict[str, bytes | None] = {
    "adriatic.pos": POS.header(),
    "adriatic.committed_at": b"55",
    "adriatic.xid": b"9",
    "adriatic.session": Beat(SESSION, 3).header(),
}
FILLED = {"t": FilledTopic("id", 2, (10, 0))}


def record(**changes: bytes | None) -> LogRecord:
    return LogRecord(SOURCE, 4, {**HEADERS, **{f"adriatic.{name}": value for name, value in changes.items()}})


def test_a_record_says_where_it_comes_from() -> None:
    label = label_of(record())
    assert label == (POS, 9, 55, Beat(SESSION, 3), None, None)
    of_snapshot = label_of(record(snapshot=b"%016X" % 0x101, snapshot_id=str(SESSION).encode()))
    assert of_snapshot is not None
    assert (of_snapshot.xid, of_snapshot.snapshot_at, of_snapshot.snapshot_id) == (None, 0x101, SESSION)


@pytest.mark.parametrize(
    "changes",
    [
        {"pos": None},
        {"pos": b"nonsense"},
        {"pos": b"0000000000000100/+0000002"},
        {"pos": b"1" * 17 + b"/00000002"},
        {"xid": b"9" * 5_000},
        {"xid": b"-1x"},
        {"committed_at": b"0x10"},
        {"committed_at": None},
        {"session": b"not one"},
        {"session": f"{SESSION}/0".encode()},
        {"session": f"{SESSION}/".encode() + b"9" * 30},
        {"session": f"{SESSION}/1_0".encode()},
        {"snapshot": b"xyz"},
        {"snapshot": b"1", "snapshot_id": b"\xff"},
    ],
)
def test_a_record_that_capture_did_not_write_says_nothing(changes: dict[str, bytes | None]) -> None:
    assert label_of(record(**changes)) is None
    assert label_of(LogRecord(SOURCE, 4, {})) is None


@given(
    st.dictionaries(
        st.sampled_from([*HEADERS, "adriatic.snapshot", "adriatic.snapshot_id"]),
        st.none() | st.binary(max_size=60) | st.from_regex(rb"[0-9A-F]{16}/[0-9]{8}", fullmatch=True),
    )
)
def test_whatever_headers_hold_is_ours_or_a_stranger_s(headers: dict[str, bytes | None]) -> None:
    with suppress(ForeignLog):
        label_of(LogRecord(SOURCE, 4, {**HEADERS, **headers}))


@given(st.binary(max_size=80))
def test_a_beat_is_written_in_one_way(text: bytes) -> None:
    with suppress(Undecodable):
        assert Beat.parse(text).header() == text


# --- topics -----------------------------------------------------------------------------------------------------------


def facts(topic_id: str = "id", partitions: int = 2) -> dict[str, TopicFacts]:
    return {"t": TopicFacts(topic_id, partitions, 1_000)}


def test_a_topic_that_is_the_one_that_was_filled_is_used_as_it_was() -> None:
    assert identity.compare_topics(FILLED, facts()) == ({"t": 2}, {}, ())
    assert identity.compare_topics({}, facts()) == ({"t": 2}, {"t": FilledTopic("id", 2)}, ())


def test_keys_stay_in_their_partition_when_there_are_more() -> None:
    assert identity.compare_topics(FILLED, facts(partitions=5)) == ({"t": 2}, {}, ("t",))
    # Also after a reset: old records of a key would stay behind in its old partition.
    may_differ = {"t": replace(FILLED["t"], may_differ=True, ends=())}
    assert identity.compare_topics(may_differ, facts(partitions=5)) == ({"t": 2}, {"t": FilledTopic("id", 2)}, ("t",))


@pytest.mark.parametrize("found", [facts("other"), facts("other", 5), facts(partitions=1), facts("", 1)])
def test_another_topic_halts_unless_somebody_decided(found: dict[str, TopicFacts]) -> None:
    with pytest.raises(LogLost, match="made anew"):
        identity.compare_topics(FILLED, found)
    may_differ = {"t": replace(FILLED["t"], may_differ=True)}
    used = identity.compare_topics(may_differ, found)
    assert used.learnt == {"t": FilledTopic(found["t"].topic_id, found["t"].partitions)}


def test_a_broker_without_ids_is_believed_by_its_ends() -> None:
    assert identity.compare_topics({"t": FilledTopic("", 2)}, facts()).learnt == {"t": FilledTopic("id", 2)}
    assert identity.compare_topics(FILLED, facts("")).learnt == {"t": FILLED["t"]}


def test_a_topic_that_is_gone_halts() -> None:
    identity.require_topics({}, ["t"])
    identity.require_topics({"t": replace(FILLED["t"], may_differ=True)}, ["t"])
    with pytest.raises(LogLost, match="lost the topic t"):
        identity.require_topics(FILLED, ["t"])


def test_an_end_before_what_was_acknowledged_halts() -> None:
    other = TopicPartition("t", 1)
    identity.require_ends(FILLED, {SOURCE: Bounds(5, 9, 10), other: Bounds(0, 0, 0)})
    with pytest.raises(LogLost, match="partition 0, ends at offset 9, and 10"):
        identity.require_ends(FILLED, {SOURCE: Bounds(0, 9, 9), other: Bounds(0, 0, 0)})


def test_acknowledgements_follow_the_end() -> None:
    ends = Ends(FILLED)
    assert ends.reach(SOURCE, 10, POS)
    assert ends.reach(SOURCE, -1, POS)  # had already, and the broker does not say where
    assert ends.reach(SOURCE, 12, POS)
    moved, lasts = ends.take_moved()
    assert (moved, lasts) == ({"t": (13, 0)}, {"t": ("12@0000000000000100/00000002", "")})
    assert ends.take_moved() == ({}, {})
    ends.require_growth()
    again = Ends({"t": FilledTopic("id", 2, tuple(moved["t"]), lasts=tuple(lasts["t"]))})
    assert again.lasts == {SOURCE: (12, POS)}


def test_what_was_found_in_the_log_counts_as_filled() -> None:
    ends = Ends(FILLED)
    ends.find({SOURCE: Bounds(0, 15, 17)})
    assert ends.take_moved()[0] == {"t": (17, 0)}
    assert not ends.reach(SOURCE, 16, POS)


@pytest.mark.parametrize(("offset", "error"), [(9, LogLost), (0, LogLost), (11, DependencyUnavailable)])
def test_an_acknowledgement_that_does_not_follow_ends_the_session(offset: int, error: type[Exception]) -> None:
    ends = Ends(FILLED)
    assert not ends.reach(SOURCE, offset, POS)
    with pytest.raises(error):
        ends.require_growth()
    assert ends.take_moved() == ({}, {})


# --- sessions and positions -------------------------------------------------------------------------------------------


def test_a_beat_that_the_database_does_not_know_halts() -> None:
    identity.require_known(Beat(SESSION, 3), {SESSION: 3}, SOURCE, POS)
    for known in ({}, {SESSION: 2}, {uuid.UUID(int=8): 9}):
        with pytest.raises(ForeignLog, match="which this database does not know"):
            identity.require_known(Beat(SESSION, 3), known, SOURCE, POS)


def test_a_record_without_a_session_is_of_an_earlier_release_or_foreign() -> None:
    label = label_of(record(session=None))
    assert label is not None
    assert label.beat is None
    identity.require_earlier_release(POS, SOURCE, None)
    identity.require_earlier_release(POS, SOURCE, 0x101)
    with pytest.raises(ForeignLog, match="without the header"):
        identity.require_earlier_release(POS, SOURCE, 0x100)


def test_a_position_that_the_wal_has_not_reached_halts() -> None:
    identity.require_reached(POS, SOURCE, 0x101)
    with pytest.raises(ForeignLog, match="is only at 0/100"):
        identity.require_reached(POS, SOURCE, 0x100)


def test_every_way_out_is_named() -> None:
    for halt in (ForeignLog, LogLost):
        assert issubclass(halt, Halted)
    with pytest.raises(ForeignLog) as caught:
        identity.require_reached(POS, SOURCE, 0)
    assert "adriatic recover" in caught.value.hint


# --- tails ------------------------------------------------------------------------------------------------------------


class Log:
    """Partitions of records; None is an offset without one."""

    def __init__(self, partitions: Mapping[TopicPartition, list[Pos | None]]) -> None:
        self.partitions = partitions
        self.asked = 0

    def bounds(self) -> dict[TopicPartition, Bounds]:
        return {source: Bounds(0, len(log), len(log)) for source, log in self.partitions.items()}

    def read(self, ranges: Mapping[TopicPartition, tuple[int, int]], meanwhile: Any) -> Iterator[LogRecord]:
        for source, (begin, end) in ranges.items():
            self.asked += end - begin
            for offset in range(begin, end):
                if (pos := self.partitions[source][offset]) is not None:
                    at = b"%d" % pos.commit
                    headers: dict[str, bytes | None] = {
                        "adriatic.pos": pos.header(),
                        "adriatic.xid": at,
                        "adriatic.committed_at": at,
                        "adriatic.session": Beat(SESSION, pos.commit).header(),
                    }
                    yield LogRecord(source, offset, headers)


def read(log: Log, since: int, lasts: Mapping[TopicPartition, tuple[int, Pos]] | None = None) -> tails.Tails:
    anything: Any = log
    return read_tails(anything, log.bounds(), since, lasts or {}, ManualClock(), lambda: None)


def position(commit: int, ordinal: int = 0) -> Pos:
    return Pos(Lsn(commit), ordinal)


@given(
    st.lists(st.none() | st.tuples(st.integers(1, 30), st.integers(0, 2)), max_size=200),
    st.integers(1, 31),
    st.integers(1, 9),
)
def test_a_tail_is_all_that_lies_behind_the_progress(log: list[Any], since: int, step: int) -> None:
    """In order of positions, and with gaps of offsets; whatever the steps are."""
    ordered = iter(sorted(pos for pos in log if pos))
    filled = [position(*next(ordered)) if pos else None for pos in log]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "STEP_RECORDS", step)
        found = read(Log({SOURCE: filled}), since)
    wanted = {pos for pos in filled if pos and pos.commit >= since}
    run = found.runs.get(SOURCE)
    there = set()
    while run is not None and run.next is not None:
        there.add(run.next)
        run.skip()
    assert there == wanted
    assert set(found.identities) == {pos.commit for pos in wanted}
    highest = max((pos for pos in filled if pos), default=None)
    assert (found.highest and found.highest.pos) == highest


def test_a_log_that_went_back_and_grew_again_has_another_last_record() -> None:
    log: Any = Log({SOURCE: [position(1), position(5), None, position(9)]})
    for fine in ({}, {SOURCE: (1, position(5))}, {SOURCE: (2, position(5))}, {SOURCE: (70, position(5))}):
        tails.require_lasts(log, log.bounds(), fine, lambda: None)
    with pytest.raises(LogLost, match="at offset 1, where one of 0/6 was"):
        tails.require_lasts(log, log.bounds(), {SOURCE: (1, position(6))}, lambda: None)


def test_the_newest_record_is_enough_where_nothing_else_is_asked() -> None:
    log = Log({SOURCE: [position(commit) for commit in range(1, 10_000)] + [None] * 3})
    found = read(log, EVERYTHING)
    assert found.highest is not None
    assert found.highest.pos == position(9_999)
    assert found.beats[SESSION][0].number == 9_999
    assert found.newest == {SOURCE: (9_998, position(9_999))}
    assert log.asked <= tails.STEP_RECORDS
    assert not found.ledger().highest


def test_what_came_behind_the_last_record_and_is_older_was_late() -> None:
    """A capture that had lost its place wrote it: what it hides is not known from the log alone."""
    log = Log({SOURCE: [position(1), position(5), position(9), position(3), position(12)]})
    lasts = {SOURCE: (2, position(9))}
    with pytest.raises(ForeignLog, match="behind younger ones, at offset 3"):
        read(log, 10, lasts)
    for since, fine in ((10, {}), (10, {SOURCE: (3, position(3))}), (3, lasts), (EVERYTHING, lasts)):
        assert read(log, since, fine).highest is not None


def test_a_stranger_s_records_are_passed_over() -> None:
    """Wherever they lie: the record of ours before them is found."""

    class Foreign(Log):
        def read(self, ranges: Mapping[TopicPartition, tuple[int, int]], meanwhile: Any) -> Iterator[LogRecord]:
            for found in super().read(ranges, meanwhile):
                yield found._replace(headers={"x": b"y"}) if found.offset > 3 or found.offset == 1 else found

    log = Foreign({SOURCE: [position(commit) for commit in range(1, 100)]})
    found = read(log, EVERYTHING)
    assert found.newest == {SOURCE: (3, position(4))}
    assert found.highest is not None
    assert found.highest.pos == position(4)
    ledger = read(log, 1).ledger()
    for commit in (1, 3, 4):
        ledger.begin(commit, commit, commit)
    assert [ledger.has(SOURCE, position(commit)) for commit in (1, 3, 4)] == [True, True, True]


def test_at_the_bound_everything_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "TAIL_RECORDS_MAX", 20)
    long, short = SOURCE, TopicPartition("t", 1)
    log = Log({long: [position(commit) for commit in range(1, 1_000)], short: [position(990)]})
    ledger = read(log, 1).ledger()
    for commit in range(1, 991):
        ledger.begin(commit, commit, commit)
    assert ledger.has(short, position(990))
    assert not ledger.has(long, position(990))
    assert log.asked < 200


def test_two_transactions_at_one_position_are_foreign() -> None:
    class Forged(Log):
        def read(self, ranges: Mapping[TopicPartition, tuple[int, int]], meanwhile: Any) -> Iterator[LogRecord]:
            for number, found in enumerate(super().read(ranges, meanwhile)):
                yield found._replace(headers={**found.headers, "adriatic.xid": b"%d" % number})

    with pytest.raises(ForeignLog, match="two transactions"):
        read(Forged({SOURCE: [position(5, 0), position(5, 3)]}), 1)
