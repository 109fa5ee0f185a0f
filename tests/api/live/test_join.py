"""What a snapshot saw, and the tokens."""

from __future__ import annotations

import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live.join import TOKEN_CHARS_MAX, XIP_MAX, PgSnapshot, ResumeToken, make_token
from runtime.errors import InvalidInput

TENANT = uuid.UUID(int=1)
EPOCH = 1 << 32


def test_a_snapshot_sees_what_ended_before_it() -> None:
    seen = PgSnapshot.parse("90:100:93,97", lsn=1_000)
    assert [xid for xid in range(88, 103) if seen.has(xid, 0)] == [88, 89, 90, 91, 92, 94, 95, 96, 98, 99]
    assert PgSnapshot.parse("90:90:", lsn=1).xip == frozenset()


def test_a_copy_of_the_table_is_seen_when_the_snapshot_is_younger() -> None:
    seen = PgSnapshot.parse("90:100:", lsn=1_000, since=900)
    assert seen.has(None, 899)
    assert not seen.has(None, 900)
    assert not PgSnapshot.parse("90:100:", lsn=1_000).has(None, 1)


@given(
    xmax=st.integers(3, 20 * EPOCH),
    before=st.integers(1, 1 << 30),
    after=st.integers(0, 1 << 30),
)
def test_the_half_of_an_id_in_the_wal_is_enough_also_around_an_epoch(xmax: int, before: int, after: int) -> None:
    seen = PgSnapshot(max(0, xmax - 2), xmax, frozenset({max(0, xmax - 2)}), 0)
    assert not seen.has((xmax + after) % EPOCH, 0)
    if xmax - before > 0:
        assert seen.has((xmax - before) % EPOCH, 0) == (before != 2)


@given(
    offset=st.integers(0, 1 << 62),
    whole=st.booleans(),
    seen=st.none()
    | st.builds(
        PgSnapshot, st.integers(1, 1 << 50), st.integers(1, 1 << 50), st.frozensets(st.integers(1, 1 << 50)),
        st.integers(0, 1 << 62),
    ),
)  # fmt: skip
def test_a_token_comes_back_as_it_was(offset: int, whole: bool, seen: PgSnapshot | None) -> None:
    made = make_token("activity", TENANT, "topic id", offset, 1_800_000_000, whole=whole, seen=seen)
    assert ResumeToken.parse(made.text()) == made
    assert (made.offset, made.seen, made.whole) == (offset, seen, whole)
    assert "\n" not in made.text()


def test_a_token_does_not_grow_with_the_connections_of_the_database() -> None:
    seen = PgSnapshot(1 << 40, 1 << 41, frozenset(range(1 << 40, (1 << 40) + XIP_MAX)), 1)
    assert (
        len(make_token("v" * 60, TENANT, "i" * 22, 1 << 60, 1 << 40, whole=True, seen=seen).text()) <= TOKEN_CHARS_MAX
    )
    more = PgSnapshot(1, 1 << 41, frozenset(range(XIP_MAX + 1)), 1)
    assert not make_token("v", TENANT, "", 1, 1, whole=True, seen=more).whole, "such a one starts anew"


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda each: each.hex()))
def test_what_is_no_token_is_never_more_than_an_error(text: str) -> None:
    with suppress(InvalidInput):
        found = ResumeToken.parse(text)
        assert found is None or ResumeToken.parse(found.text()) == found


@pytest.mark.parametrize("text", ["", "x", "!!", "W10", "WzFd", "é", "a" * 5000, "bnVsbA", "WzEsMiwzLDQsNSw2XQ"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no resume token"):
        ResumeToken.parse(text)


def test_a_token_of_another_release_is_told_from_nonsense() -> None:
    assert ResumeToken.parse("Wzk5LCJhIl0") is None  # [99,"a"]
