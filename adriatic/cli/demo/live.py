"""A live view as a client keeps it: a picture of its rows, and a thread that holds it up to date over HTTP.

Owns applying the events of `GET /v1/live/{view}`, and going on after a break with the last event's id. Refuses to ask
for anything else: what the picture has is what the stream said.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from connectors.llm.sse import ServerEvent, SseDecoder

READ_S_MAX = 10.0
"""A stream that is silent for so long is dead: it says something each second."""
PAUSE_S = 0.3
"""Pause before the stream is opened again."""
LAST_ID = "last-event-id"

Row = dict[str, Any]


class Picture:
    """Rows by key. Pure. `changes` counts deltas, `starts` snapshots; `complete`: the whole snapshot has come."""

    def __init__(self) -> None:
        self.changes = 0
        self.starts = 0
        self.complete = False
        self.as_of: Mapping[str, Any] = {}
        self.last_id: str | None = None
        self._loose: list[Row] = []
        self._names: tuple[str, ...] | None = None
        self._rows: dict[tuple[Any, ...], Row] = {}

    @property
    def rows(self) -> list[Row]:
        """The rows so far, in no order."""
        return [*self._loose, *self._rows.values()]

    def take(self, event: ServerEvent) -> None:
        """One event. Raises `ValueError` for one that no stream may send here."""
        data = msgspec.json.decode(event.data)
        match event.name:
            case "reset":
                self.complete = False
                self._loose, self._rows = [], {}
            case "snapshot":
                self._take_page(data)
            case "delta":
                self._change(data["op"], data["key"], data["row"])
            case "watermark":
                self.as_of = data["as_of"]
        self.last_id = event.id or self.last_id

    def _take_page(self, data: Mapping[str, Any]) -> None:
        if self.complete:
            raise ValueError("a second snapshot without a reset")
        self._loose.extend(data["rows"])
        self.complete = not data["more"]
        self.starts += self.complete
        self.as_of = data["as_of"]

    def _change(self, op: str, key: Row, row: Row | None) -> None:
        if not self.complete:
            raise ValueError("a change before the snapshot")
        self._index(tuple(key))
        self.changes += 1
        place = tuple(key.values())
        if op == "delete":
            self._rows.pop(place, None)
        else:
            self._rows[place] = self._rows.get(place, {}) | (row or {})

    def _index(self, names: tuple[str, ...]) -> None:
        """What the key is made of is known from the first change on."""
        self._names = self._names or names
        for row in self._loose:
            self._rows[tuple(row[name] for name in self._names)] = row
        self._loose = []


class LiveReader:
    """Keeps `picture` up to date until `close`. `cuts` counts breaks, `faults` what no stream may send."""

    def __init__(self, url: str, token: str, view: str) -> None:
        self.view = view
        self.picture = Picture()
        self.cuts = 0
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._cut = threading.Event()
        self._client = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=httpx.Timeout(READ_S_MAX)
        )
        self._thread = threading.Thread(target=self._read_on, name=f"live {view}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cut(self) -> None:
        """Break the stream at its next event; it goes on from there."""
        self._cut.set()

    def close(self) -> None:
        """Ends the stream at its next event, a second at most."""
        self._stop.set()
        self._thread.join(READ_S_MAX + PAUSE_S)
        self._client.close()

    def _read_on(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except httpx.HTTPError:
                self.cuts += 1
            except (ValueError, KeyError) as error:
                self.faults.append(f"{self.view}: {error}")
                return
            self._stop.wait(PAUSE_S)

    def _read(self) -> None:
        headers = {LAST_ID: self.picture.last_id} if self.picture.last_id else {}
        with self._client.stream("GET", f"/v1/live/{self.view}", headers=headers) as answer:
            if answer.status_code in (429, 502, 503, 504):
                self.cuts += 1
                return
            if answer.status_code != 200:
                raise ValueError(f"answered {answer.status_code}: {answer.read().decode()[:200]}")
            decoder = SseDecoder()
            for part in answer.iter_raw():
                for event in decoder.feed(part):
                    self.picture.take(event)
                if self._stop.is_set() or self._cut.is_set():
                    self.cuts += self._cut.is_set()
                    self._cut.clear()
                    return
