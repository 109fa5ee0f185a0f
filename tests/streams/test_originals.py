"""Copies of originals: fetched once for the steps of a document, and gone when nobody asks any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from runtime.clock import ManualClock
from streams.originals import COPIES_MAX, KEPT_S, Originals

TENANT, OTHER = UUID(int=1), UUID(int=2)


class CountedStore:
    """What is asked of object storage. A key that it is told to lose breaks off."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False

    def read(self, key: str) -> Iterator[bytes]:
        self.asked.append(key)
        yield b"first "
        if self.broken:
            raise OSError("the storage went away")
        yield key.encode()


@pytest.fixture
def store() -> CountedStore:
    return CountedStore()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def originals(store: CountedStore, clock: ManualClock) -> Originals:
    return Originals(store, clock)  # type: ignore[arg-type]


def take_step(
    originals: Originals, tenant_id: UUID, content_hash: bytes, *, further: bool, begins: bytes = b"first "
) -> Path:
    with originals.open(tenant_id, content_hash) as copy:
        copy.wanted_again = further
        assert copy.path.read_bytes().startswith(begins)
    return copy.path


def test_the_steps_of_a_document_fetch_it_once(originals: Originals, store: CountedStore) -> None:
    paths = {take_step(originals, TENANT, b"a", further=number < 9) for number in range(10)}
    assert len(store.asked) == 1
    assert len(paths) == 1
    assert not paths.pop().exists()


def test_another_tenant_gets_its_own_copy_of_the_same_content(originals: Originals, store: CountedStore) -> None:
    mine = take_step(originals, TENANT, b"a", further=True)
    theirs = take_step(originals, OTHER, b"a", further=True)
    assert mine != theirs
    assert len(set(store.asked)) == 2


def test_two_steps_at_once_never_share_a_copy(originals: Originals, store: CountedStore) -> None:
    with originals.open(TENANT, b"a") as one, originals.open(TENANT, b"a") as other:
        assert one.path != other.path
        one.wanted_again = other.wanted_again = True
    assert sum(path.exists() for path in (one.path, other.path)) == 1
    assert len(store.asked) == 2


def test_a_copy_that_is_incomplete_or_whose_step_failed_is_no_copy(originals: Originals, store: CountedStore) -> None:
    store.broken = True
    with pytest.raises(OSError, match="went away"):
        take_step(originals, TENANT, b"a", further=True)
    store.broken = False
    with pytest.raises(AssertionError):
        take_step(originals, TENANT, b"a", further=True, begins=b"second ")
    take_step(originals, TENANT, b"a", further=True)
    assert len(store.asked) == 3


def test_the_oldest_copy_makes_room(originals: Originals) -> None:
    paths = [take_step(originals, TENANT, bytes([number]), further=True) for number in range(COPIES_MAX + 2)]
    assert [path.exists() for path in paths] == [False, False, *[True] * COPIES_MAX]


def test_a_copy_that_nobody_asks_for_again_is_deleted(originals: Originals, clock: ManualClock) -> None:
    early = take_step(originals, TENANT, b"a", further=True)
    clock.sleep(KEPT_S - 1)
    late = take_step(originals, TENANT, b"b", further=True)
    originals.reap()
    assert early.exists()
    clock.sleep(1)
    originals.reap()
    assert not early.exists()
    assert late.exists()
