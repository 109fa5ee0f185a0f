"""Identifiers sort by the time they were made at."""

from __future__ import annotations

from runtime.ids import new_id


def test_ids_are_version_7_unique_and_in_order() -> None:
    made = [new_id() for _ in range(1000)]
    assert {one.version for one in made} == {7}
    assert len(set(made)) == len(made)
    assert [one.int >> 80 for one in made] == sorted(one.int >> 80 for one in made)
