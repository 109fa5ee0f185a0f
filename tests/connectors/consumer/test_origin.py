"""Whether a log is the one that was read: the judgement alone."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from connectors.consumer import origin
from connectors.consumer.sessions import find_foreign, find_newest_beats, find_unknown
from connectors.kafka.logs import TopicState
from connectors.kafka.records import Headers, LastRead, Record, TopicPartition
from connectors.postgres.beats import Beat
from connectors.postgres.sink import Standing

HERE = TopicPartition("t", 0)
READ = Standing(10, "one", 8, LastRead(9, "f"))
SESSION = UUID("0192f0c0-0000-7000-8000-000000000001")


def record(**changed: object) -> Record:
    made = Record("t", 0, 9, 1_000, b"k", b"v", ((("adriatic.session"), f"{SESSION}/3".encode()),))
    return replace(made, **changed)  # type: ignore[arg-type]  # a test's own


def of_session(text: str | bytes) -> Record:
    headers: Headers = (("adriatic.session", text if isinstance(text, bytes) else text.encode()),)
    return record(headers=headers)


@pytest.mark.parametrize(
    ("standing", "now", "ordered", "says"),
    [
        (READ, TopicState("one", 8), True, ""),
        (READ, TopicState("two", 8), True, "made anew"),
        (READ, TopicState("two", 8), False, "made anew"),
        (READ, TopicState("one", 9), True, "has 9 partitions, and had 8"),
        (READ, TopicState("one", 9), False, ""),
        (Standing(10), TopicState("one", 9), True, ""),  # of an earlier release
        (READ, TopicState("", 8), True, ""),  # the broker has no ids any more, or gives none
        (replace(READ, topic_id=""), TopicState("one", 8), True, ""),
    ],
)
def test_a_topic_is_known_by_its_id_and_its_partitions(
    standing: Standing, now: TopicState, ordered: bool, says: str
) -> None:
    found = origin.find_other_topic(
        "t", now, {HERE: standing, TopicPartition("u", 0): Standing(1, "x", 1)}, ordered=ordered
    )
    assert says in found
    assert bool(says) == bool(found)


@pytest.mark.parametrize(("end", "is_other"), [(10, False), (11, False), (9, True), (0, True)])
def test_a_log_that_ends_before_what_was_read_went_back(end: int, is_other: bool) -> None:
    assert bool(origin.find_other_end(HERE, READ, end)) == is_other


def test_a_log_that_grew_past_the_old_offset_is_known_by_the_newest_record() -> None:
    last = LastRead.of(record())
    assert not origin.find_other_record(HERE, last, record())
    assert not origin.find_other_record(HERE, last, None), "a record that is gone tells nothing"
    others: tuple[dict[str, object], ...] = (
        {"value": b"w"},
        {"value": None},
        {"key": b"kv"},
        {"timestamp_ms": 1_001},
        {"headers": ()},
        {"key": b"", "value": b"kv"},
    )
    for other in others:
        assert "another record" in origin.find_other_record(HERE, last, record(**other))


def test_the_parts_of_a_record_do_not_run_into_one_another() -> None:
    """Nothing of one part can be taken for the beginning of the next."""
    pairs = [(b"a", b"bc"), (b"ab", b"c"), (b"", b"abc"), (None, b"abc"), (b"abc", b""), (b"abc", None), (b"-", b"")]
    assert len({record(key=key, value=value).fingerprint for key, value in pairs}) == len(pairs)


def test_a_session_is_read_from_its_header_or_not_at_all() -> None:
    assert of_session(f"{SESSION}/3").beat == Beat(SESSION, 3)
    wrong = (
        "",
        "x",
        f"{SESSION}",
        f"{SESSION}/",
        f"{SESSION}/-1",
        f"{SESSION}/0",
        f"{SESSION}/3/4",
        f"{SESSION}/٣",
        b"\xff/1",
    )
    huge = f"{SESSION}/{'9' * 19}"  # more than the database's type holds
    for text in (*wrong, b"\xff/1", huge, f" {SESSION}/3", f"{SESSION.hex}/3", f"{SESSION}/3\n"):
        assert of_session(text).beat is None
        assert find_foreign(of_session(text)) is not None
    assert find_foreign(record()) is None


def test_a_beat_is_known_when_the_session_has_come_to_it() -> None:
    other = uuid4()
    newest = find_newest_beats(
        [of_session(f"{SESSION}/3"), of_session(f"{SESSION}/2"), of_session(f"{other}/1"), record(headers=())]
    )
    assert {session: beat for session, (beat, _) in newest.items()} == {SESSION: 3, other: 1}
    assert set(find_unknown(newest, {})) == {SESSION, other}
    assert set(find_unknown(newest, {SESSION: 2, other: 1})) == {SESSION}
    assert not find_unknown(newest, {SESSION: 3, other: 7})
