"""Finding the record at fault."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.consumer.isolation import isolate
from runtime.errors import DependencyUnavailable


@given(st.lists(st.booleans(), max_size=60))
def test_exactly_the_bad_ones_fail(bad: list[bool]) -> None:
    def work(items: Sequence[int]) -> list[int]:
        if any(bad[item] for item in items):
            raise ValueError(items)
        return list(items)

    done, failed = isolate(range(len(bad)), work)
    assert [item for part in done for item in part] == [item for item, is_bad in enumerate(bad) if not is_bad]
    assert [item for item, _error in failed] == [item for item, is_bad in enumerate(bad) if is_bad]


def test_one_bad_record_among_many_costs_few_calls() -> None:
    calls = 0

    def work(items: Sequence[int]) -> None:
        nonlocal calls
        calls += 1
        if 317 in items:
            raise ValueError

    isolate(range(500), work)
    assert calls <= 19


def test_an_outage_is_nobodys_fault() -> None:
    def work(items: Sequence[int]) -> None:
        raise DependencyUnavailable("away")

    with pytest.raises(DependencyUnavailable):
        isolate([1, 2], work)
