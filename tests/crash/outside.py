"""More drivers: documents that are uploaded, items that a feed's producer sends, and readers of live views.

Read first: `drivers.py`, whose rule holds here too.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec

from adriatic.cli.demo.live import LiveReader
from adriatic.cli.live import Picture, Row
from connectors.llm.sse import ServerEvent
from runtime.deadline import Deadline
from tests.crash.drivers import WORDS, text_of
from tests.crash.load import HEALED_S_MAX, PAUSE_S, Driver
from tests.crash.schedule import Hit


class Uploads(Driver):
    """Uploads documents, good ones and broken ones, and some twice. `stored`: of each id, how it must end."""

    name = "uploads"
    pause_s = 0.6
    broken: ClassVar[float] = 0.2

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stored: dict[str, str] = {}
        self._numbers = itertools.count()

    def step(self) -> None:
        number = next(self._numbers)
        if self.dice.random() < self.broken:
            expected, file = "refused", (f"{number}.pdf", f"%PDF-1.7 broken {number}".encode(), "application/pdf")
        else:
            text = text_of(self.dice, f"Document {number}")
            expected, file = "processed", (f"{number}.md", text.encode(), "text/markdown")
        first = self._upload(file)
        assert first not in self.stored, f"document {number} has the id of another one"
        self.stored[first] = expected
        if number % 3 == 0:
            assert self._upload(file) == first, f"document {number} was stored twice"

    def _upload(self, file: tuple[str, bytes, str]) -> str:
        answer = self.patiently(lambda: self.ask("POST", "/v1/documents", files={"file": file}))
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        deadline = Deadline.after(HEALED_S_MAX)
        for document, expected in self.stored.items():
            state = ""
            while state not in ("processed", "refused") and not deadline.passed:
                state = self.patiently(lambda d=document: self.ask("GET", f"/v1/documents/{d}")).json()["state"]  # type: ignore[misc]
                time.sleep(0 if state in ("processed", "refused") else PAUSE_S)
            if state != expected:
                yield f"{document} is {state}, and should be {expected}"


class Feeds(Driver):
    """Sends items of a feed: again, in disorder, taken back. `newest`: of each id, the highest version and its text."""

    name = "feeds"
    pause_s = 0.4
    items: ClassVar[int] = 40
    batch: ClassVar[int] = 8

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.newest: dict[str, tuple[int, str | None]] = {}
        self.sent = 0
        self._made = False

    def step(self) -> None:
        if not self._made:
            made = self.patiently(lambda: self.ask("POST", "/v1/feeds", json={"slug": "ring", "name": "Ring"}))
            assert made.status_code in (201, 409), made.text  # 409: an earlier try made it
            self._made = True
        items = [self._item() for _ in range(self.batch)]
        self.dice.shuffle(items)
        answer = self.patiently(lambda: self.ask("POST", "/v1/feeds/ring", json={"items": items}))
        assert answer.status_code == 202, answer.text
        self.sent += len(items)

    def _item(self) -> dict[str, Any]:
        name = f"item-{self.dice.randrange(self.items):02}"
        version, kept = self.newest.get(name, (0, None))
        if version > 1 and self.dice.random() < 0.2:  # an older one, late
            return {"id": name, "version": version - 1, "title": name, "text": "Late.", "deleted": False}
        if kept is not None and self.dice.random() < 0.1:
            self.newest[name] = version + 2, None
            return {"id": name, "version": version + 2, "deleted": True}
        text = f"The {self.dice.choice(WORDS)} of {name} moved to version {version + 2}.\n"
        self.newest[name] = version + 2, text
        return {"id": name, "version": version + 2, "title": name, "text": text, "deleted": False}

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        rows = self.world.rows(
            "select distinct on (external_id) external_id, version, kind, body from app.document_versions "
            "where tenant_id = %s and origin = 'feed' order by external_id, version desc",
            self.tenant.tenant_id,
        )
        found = {name: (version, None if kind == "delete" else body) for name, version, kind, body in rows}
        for name in sorted(found.keys() | self.newest.keys()):
            if found.get(name) != self.newest.get(name):
                have, want = found.get(name, (None,))[0], self.newest.get(name, (None,))[0]
                yield f"{name} is at version {have}, and {want} was sent"
        feed = self.patiently(lambda: self.ask("GET", "/v1/feeds/ring")).json()["feed"]
        ((versions,),) = self.world.rows(
            "select count(*) from app.document_versions where tenant_id = %s and origin = 'feed'", self.tenant.tenant_id
        )
        if feed["accepted"] != versions:
            yield f"{feed['accepted']} items were accepted, and {versions} versions are there"
        counted = feed["accepted"] + feed["duplicates"] + feed["superseded"] + sum(feed["rejected"].values())
        if not self.sent <= feed["received"] == counted or feed["rejected"]:
            yield f"{self.sent} items were sent, and the counts are {json.dumps(feed)}"


class Strict(Picture):
    """A picture that does not take a change twice: the same row again, without anything in between, is one."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, Row] = {}

    def take(self, event: ServerEvent) -> None:
        if event.name == "delta":
            data = msgspec.json.decode(event.data)
            key = json.dumps(data["key"], sort_keys=True)
            if data["op"] == "upsert" and self._last.get(key) == data["row"]:
                raise ValueError(f"a change of {key} came twice")
            self._last[key] = data["row"]
        elif event.name == "reset":
            self._last.clear()
        super().take(event)


class Readers(Driver):
    """Reads live views all the time, and is cut again and again. In the end each picture is the table."""

    name = "live"
    pause_s = 1.0
    views: ClassVar[tuple[str, ...]] = ("activity", "entity_counts")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        url = str(self.tenant.http.base_url)
        self.readers = [LiveReader(url, self.tenant.token, view) for view in self.views]
        for reader in self.readers:
            if reader.view == "entity_counts":
                reader.picture = Strict()
            reader.start()

    def step(self) -> None:
        """Cut one, and see that all are there again."""
        self.dice.choice(self.readers).cut()

    def check(self, hits: Sequence[Hit]) -> Iterator[str]:
        for reader in self.readers:
            yield from reader.faults
            deadline = Deadline.after(HEALED_S_MAX)
            while (table := self._table(reader.view)) != (shown := _set(reader.picture.rows)) and not deadline.passed:
                if reader.faults:
                    break
                time.sleep(PAUSE_S)
            if table != shown:
                yield f"the picture of {reader.view}: {len(shown - table)} rows too many, {len(table - shown)} too few"

    def _table(self, view: str) -> set[str]:
        """What a reader sees that begins now."""
        fresh = LiveReader(str(self.tenant.http.base_url), self.tenant.token, view)
        fresh.start()
        try:
            deadline = Deadline.after(HEALED_S_MAX)
            while not fresh.picture.complete and not deadline.passed:
                time.sleep(PAUSE_S / 5)
            return _set(fresh.picture.rows)
        finally:
            fresh.close()

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        super().close()


def _set(rows: Sequence[Row]) -> set[str]:
    return {json.dumps(row, sort_keys=True) for row in rows}
