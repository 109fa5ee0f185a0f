"""A memory that stays small: what was used longest ago is forgotten first.

Owns the bound, and the age from which on a value is none. Refuses to make values, and to be used by several threads at
once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from runtime.clock import SYSTEM_CLOCK, Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedMemory(Generic[Key, Value]):
    """Values by their keys, `entries_max` of them at most. `age_s_max`: for how many seconds one is good after it was
    put; None: for as long as there is room."""

    def __init__(self, entries_max: int, *, age_s_max: float | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        assert entries_max > 0, "it would remember nothing"
        self._entries_max = entries_max
        self._age_s_max = age_s_max
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[Value, float]] = OrderedDict()
        """Each with when it was put; what was used last is at the end."""

    def __len__(self) -> int:
        """How many are kept, those that are too old among them."""
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The value, which is used by that; None where there is none, or no good one any more."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, put_s = found
        if self._age_s_max is not None and self._clock.monotonic() - put_s >= self._age_s_max:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Remember a value in the place of what the key had. Its age begins anew."""
        self._kept[key] = (value, 0.0 if self._age_s_max is None else self._clock.monotonic())
        self._kept.move_to_end(key)
        if len(self._kept) > self._entries_max:
            self._kept.popitem(last=False)
