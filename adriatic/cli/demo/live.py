"""A live view as a client keeps it: a thread that holds a picture of its rows up to date over HTTP.

Owns going on after a break with the last event's id. Refuses to ask for anything else: what the picture has is what the
stream said.
"""

from __future__ import annotations

import threading

from adriatic.cli.live import Picture
from adriatic.cli.remote import connect
from runtime.errors import AdriaticError, DependencyUnavailable

READ_S_MAX = 10.0
"""Longest silence of a stream that lives: it says something each second."""
PAUSE_S = 0.3
"""Pause before the stream is opened again."""


class LiveReader:
    """Keeps `picture` up to date until `close`. `cuts` counts breaks, `faults` what no stream may send."""

    def __init__(self, url: str, token: str, view: str) -> None:
        self.view = view
        self.picture = Picture()
        self.cuts = 0
        self.faults: list[str] = []
        self._url = url
        self._token = token
        self._stop = threading.Event()
        self._cut = threading.Event()
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

    def _read_on(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except DependencyUnavailable:
                self.cuts += 1
            except (AdriaticError, ValueError, KeyError) as error:
                self.faults.append(f"{self.view}: {error}")
                return
            self._stop.wait(PAUSE_S)

    def _read(self) -> None:
        path = f"/v1/live/{self.view}"
        with (
            connect(self._url, self._token, request_s=READ_S_MAX) as remote,
            remote.follow(path, self.picture.last_id or "") as events,
        ):
            for event in events:
                self.picture.take(event)
                if self._stop.is_set() or self._cut.is_set():
                    self.cuts += self._cut.is_set()
                    self._cut.clear()
                    return
