"""What a memory keeps: never more than its bound, never what is too old, and what was used last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.clock import ManualClock
from runtime.memory import BoundedMemory

AGE_S = 10.0


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 7))))
def test_it_is_a_list_of_what_was_used_last(entries_max: int, steps: list[tuple[bool, int, int]]) -> None:
    """Beside a plain list, in which each step searches: keys with when they were put, the one used last at the end."""
    clock = ManualClock()
    memory = BoundedMemory[int, int](entries_max, age_s_max=AGE_S, clock=clock)
    plain: list[tuple[int, int, float]] = []
    for number, (puts, key, wait_s) in enumerate(steps):
        clock.sleep(wait_s)
        found = next((each for each in plain if each[0] == key), None)
        if puts:
            memory.put(key, number)
            plain = [*(each for each in plain if each[0] != key), (key, number, clock.monotonic())][-entries_max:]
        elif found and clock.monotonic() - found[2] < AGE_S:
            assert memory.get(key) == found[1]
            plain = [*(each for each in plain if each != found), found]
        else:
            assert memory.get(key) is None
            plain = [each for each in plain if each != found]
        assert len(memory) == len(plain) <= entries_max


def test_without_an_age_it_keeps_what_there_is_room_for() -> None:
    clock = ManualClock()
    memory = BoundedMemory[str, str](2, clock=clock)
    memory.put("a", "first")
    clock.sleep(10**9)
    assert memory.get("a") == "first"


def test_what_was_looked_at_outlives_what_was_not() -> None:
    memory = BoundedMemory[str, int](2)
    memory.put("a", 1)
    memory.put("b", 2)
    assert memory.get("a") == 1
    memory.put("c", 3)
    assert [memory.get(each) for each in "abc"] == [1, None, 3]
