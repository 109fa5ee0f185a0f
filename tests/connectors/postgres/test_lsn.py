"""Positions as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.lsn import Lsn, Pos, parse, show
from runtime.errors import Undecodable

positions = st.builds(Pos, st.integers(0, 2**64 - 1).map(Lsn), st.integers(0, 99_999_999))


def test_postgres_own_text() -> None:
    assert parse("16/B374D848") == 0x16_B374D848
    assert show(0x16_B374D848) == "16/B374D848"
    with pytest.raises(ValueError, match="not a log sequence number"):
        parse("16")


@given(st.integers(0, 2**64 - 1))
def test_postgres_text_round_trips(lsn: int) -> None:
    assert parse(show(lsn)) == lsn


@given(positions)
def test_headers_round_trip(pos: Pos) -> None:
    assert Pos.parse(pos.header()) == pos


@given(positions, positions)
def test_headers_sort_like_positions(one: Pos, other: Pos) -> None:
    assert (one < other) == (one.header() < other.header())


def test_the_header_has_its_documented_form() -> None:
    assert Pos(Lsn(0x16B374D848), 12).header() == b"00000016B374D848/00000012"


@pytest.mark.parametrize("text", [b"", b"12", b"x/1", b"1/", b"\xff/1"])
def test_what_is_no_position_is_undecodable(text: bytes) -> None:
    with pytest.raises(Undecodable):
        Pos.parse(text)
