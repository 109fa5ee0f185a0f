"""Copies of originals on this machine, for steps that read a document page by page.

Owns how many there are and for how long: the steps of one document follow each other, each asked for two pages, and
fetching the whole of a long scan for each would take as long as reading it. A copy is one step's at a time.
Refuses to know what is read from it, and who may: whoever asks has looked that the document is still there.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import UUID

from connectors.objects import Objects, key_of
from runtime.clock import Clock

COPIES_MAX = 4
"""Copies that wait for their next step: a worker has as many places for jobs. Each is as large as an upload may be."""
KEPT_S = 60.0
"""How long a copy waits, in seconds. The next step begins within one, unless the job was cancelled or went to another
worker."""

Key = tuple[UUID, bytes]
"""The tenant, and the hash of the content, which never changes."""


@dataclass(slots=True)
class OpenedOriginal:
    """A copy in use. Whoever has a further step sets `wanted_again`."""

    path: Path
    wanted_again: bool = False


class Originals:
    """The copies of one process. Called by many threads, and blocks as the object storage does."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Key, tuple[float, IO[bytes]]] = {}
        self._reaper: threading.Timer | None = None

    @contextmanager
    def open(self, tenant_id: UUID, content_hash: bytes) -> Iterator[OpenedOriginal]:
        """A copy, which waits for the next step where this one says so. Raises what object storage raises."""
        key = tenant_id, content_hash
        copy = self._take(key) or self._fetch(key)
        opened = OpenedOriginal(Path(copy.name))
        try:
            yield opened
        except BaseException:
            copy.close()
            raise
        if opened.wanted_again:
            self._keep(key, copy)
        else:
            copy.close()

    def _fetch(self, key: Key) -> IO[bytes]:
        copy = tempfile.NamedTemporaryFile(prefix="adriatic-")  # noqa: SIM115 - it outlives the step
        try:
            for part in self._objects.read(key_of(*key)):
                copy.write(part)
            copy.flush()
        except BaseException:
            copy.close()
            raise
        return copy

    def _take(self, key: Key) -> IO[bytes] | None:
        with self._lock:
            found = self._waiting.pop(key, None)
        return found[1] if found else None

    def _keep(self, key: Key, copy: IO[bytes]) -> None:
        with self._lock:
            # A second document of the same content has made one of its own.
            replaced = self._waiting.pop(key, None)
            self._waiting[key] = (self._clock.monotonic(), copy)
            oldest = [self._waiting.pop(next(iter(self._waiting)))] if len(self._waiting) > COPIES_MAX else []
            self._reap_later()
        for each in filter(None, (replaced, *oldest)):
            each[1].close()

    def _reap_later(self) -> None:
        """Called with the lock."""
        if self._reaper is None and self._waiting:
            self._reaper = threading.Timer(KEPT_S, self.reap)
            self._reaper.daemon = True
            self._reaper.start()

    def reap(self) -> None:
        """Delete copies that waited for too long."""
        now = self._clock.monotonic()
        with self._lock:
            self._reaper = None
            late = [key for key, (since, _) in self._waiting.items() if now - since >= KEPT_S]
            copies = [self._waiting.pop(key) for key in late]
            self._reap_later()
        for _, copy in copies:
            copy.close()
