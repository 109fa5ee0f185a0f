"""Writers that remember what they committed, and the comparison of that with what is in the topics."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.connectors.capture.world import Read, World

PAUSE_S = 0.02
"""Longest pause between transactions: load, on a machine that also runs the capture."""
ROWS = 20
"""Per tenant: few, so that each row sees many changes."""

Change = tuple[str, str]
"""Operation and title; a title is used once."""


class Writer(threading.Thread):
    """One tenant's writer. `changes` holds what it committed: by key, in order."""

    def __init__(self, world: World, number: int, seed: int) -> None:
        super().__init__(name=f"writer-{number}", daemon=True)
        self.tenant = str(uuid.UUID(int=number + 1))
        self.changes: dict[int, list[Change]] = defaultdict(list)
        self.events: list[int] = []
        self.emitting = threading.Event()
        self.error: BaseException | None = None
        self._world = world
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._alive: set[int] = set()
        self._count = 0

    def finish(self) -> None:
        self._ended.set()
        self.join(60)
        assert self.error is None, self.error

    def run(self) -> None:
        try:
            with self._world.connect() as connection:
                while not self._ended.is_set():
                    self._transaction(connection)
                    time.sleep(self._random.random() * PAUSE_S)
        except BaseException as error:
            self.error = error

    def _transaction(self, connection: Any) -> None:
        alive = set(self._alive)
        done: list[tuple[int, Change]] = []
        events: list[int] = []
        aborted = self._random.random() < 0.1
        with connection.transaction(force_rollback=aborted):
            for _ in range(self._random.choice((1, 1, 2, 5, 30))):
                if self.emitting.is_set() and self._random.random() < 0.3:
                    self._count += 1
                    self._world.emit(connection, self.tenant, self._count, "x" * self._random.randrange(200))
                    events.append(self._count)
                else:
                    done.append(self._change(connection, alive))
        if not aborted:
            self._alive = alive
            self.events += events
            for key, change in done:
                self.changes[key].append(change)

    def _change(self, connection: Any, alive: set[int]) -> tuple[int, Change]:
        self._count += 1
        title = str(self._count)
        key = self._random.randrange(ROWS)
        row = [self.tenant, key]
        if key not in alive:
            body = "x" * self._random.randrange(3_000)
            connection.execute(
                "insert into app.item (tenant_id, id, title, body) values (%s, %s, %s, %s)", [*row, title, body]
            )
            alive.add(key)
            return key, ("c", title)
        if self._random.random() < 0.15:
            connection.execute("delete from app.item where tenant_id = %s and id = %s", row)
            alive.discard(key)
            return key, ("d", "")
        connection.execute("update app.item set title = %s where tenant_id = %s and id = %s", [title, *row])
        return key, ("u", title)


@contextmanager
def writing(world: World, seed: int, writers: int = 3) -> Iterator[list[Writer]]:
    threads = [Writer(world, number, seed * 100 + number) for number in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.finish()


def check(world: World, writers: list[Writer]) -> dict[str, int]:
    """Every committed change is there once, in the order of its key; positions only grow. Returns what was counted."""
    items, events = world.read("app.item"), world.read("events")
    for records in (items, events):
        _require_growing(records)
    by_key: dict[tuple[str, int], list[Change]] = defaultdict(list)
    for record in items:
        _require_tombstones(record)
        if record.value is not None:
            after = record.value["after"]
            change = (record.value["op"], after["title"] if after else "")
            by_key[record.key["tenant_id"], record.key["id"]].append(change)
    for writer in writers:
        for key in range(ROWS):
            _compare(by_key.pop((writer.tenant, key), []), writer.changes[key], f"{writer.tenant} {key}")
        got = [record.value["id"] for record in events if str(record.key["tenant_id"]) == writer.tenant]
        assert got == writer.events
    assert not by_key
    deletes = sum(record.value is not None and record.value["op"] == "d" for record in items)
    assert deletes == sum(record.value is None for record in items)
    return {
        "items": len(items),
        "events": len(events),
        "read": sum(record.value is not None and record.value["op"] == "r" for record in items),
    }


def _require_growing(records: list[Read]) -> None:
    last: dict[int, Any] = {}
    for record in records:
        before = last.get(record.partition)
        assert before is None or before < record.pos, f"{before} then {record.pos} in {record.partition}"
        last[record.partition] = record.pos


def _require_tombstones(record: Read) -> None:
    assert record.headers["adriatic.tenant"] == record.key["tenant_id"].encode()


def _compare(got: list[Change], committed: list[Change], what: str) -> None:
    """Without a snapshot all of it; with one, the row as it was then and everything after."""
    if got and got[0][0] == "r":
        at = [title for _, title in committed].index(got[0][1])
        assert got[1:] == committed[at + 1 :], what
        return
    start = len(committed) - len(got)
    assert start >= 0, what
    assert got == committed[start:], what
    assert start == 0 or committed[start - 1][0] == "d", f"{what}: the snapshot left it out"
