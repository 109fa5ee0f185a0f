"""Transaction ids: the half that the WAL has, and what a snapshot sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres.xid import XID_MASK, TransactionSnapshot, whole_xid


@given(st.integers(1 << 31, 1 << 62), st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_half_an_id_and_a_neighbour_make_the_whole(near: int, distance: int) -> None:
    whole = near + distance
    assert whole_xid(whole & XID_MASK, near) == whole


def test_a_snapshot_sees_what_had_ended_before_it() -> None:
    seen = TransactionSnapshot.parse("10:20:12,15")
    assert [xid for xid in range(8, 23) if not seen.sees(xid)] == [12, 15, 20, 21, 22]


@pytest.mark.parametrize("text", ["10:10:", "4294967296:4294967296:"])
def test_a_snapshot_while_nothing_runs_is_read(text: str) -> None:
    seen = TransactionSnapshot.parse(text)
    assert (seen.sees(seen.xmax - 1), seen.sees(seen.xmax)) == (True, False)
