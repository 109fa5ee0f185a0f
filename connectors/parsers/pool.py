"""Parser processes: started on demand, given one document at a time, ended at their bounds and after a number of them.

Owns how many there are and whose turn it is: a tenant has one at a time, so a slow document holds up none of another
tenant's. Refuses to know what is parsed. Whatever a document does to its process, this one goes on.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import msgspec

from connectors.parsers import Limits, PageFault, Parsed, ParseRequest, Refused, Scan, ScanRequest, Scans, Unread
from connectors.process_pool import ProcessPool
from runtime.lifecycle import StopRequested

PROCESSES_MAX = 2
"""Most processes at once. Each takes a core."""
DOCUMENTS_MAX = 100
"""A process is replaced after so many: libraries leak."""
IDLE_S = 60.0
"""Unused for so long, a process gives its memory back. The next one begins in a tenth of a second."""
TRIES = 2
"""A process that dies with a document may have had its own reasons; one that dies with it again has not."""

Answer = Parsed | Refused | Unread | Scan
COMMAND = (sys.executable, "-m", "connectors.parsers.child")


class Parsers:
    """The processes of one worker. `parse` and `recognise` are called by many threads, and block. Both raise
    `StopRequested` when this is closed meanwhile."""

    def __init__(self, limits: Limits | None = None, command: Sequence[str] = COMMAND) -> None:
        self._limits = limits or Limits()
        self._command = command
        self._pool: ProcessPool[_Process] = ProcessPool(PROCESSES_MAX, IDLE_S)

    def parse(self, tenant_id: UUID, path: Path, file_name: str, scans: Scans = None) -> Parsed | Refused | Unread:
        """What is in the file at `path`, or why not. `Unread` names pages that are not among the `scans`; without
        any, it never comes. Raises `StopRequested` when this is closed meanwhile."""
        answer = self._serve(tenant_id, ParseRequest(str(path), file_name, self._limits, scans))
        assert not isinstance(answer, Scan)
        return answer

    def recognise(self, tenant_id: UUID, path: Path, media_type: str, page: int) -> Scan | PageFault:
        """What stands on one page that is a picture, or why that is not known."""
        limits = msgspec.structs.replace(self._limits, seconds_max=self._limits.scan_seconds_max)
        answer = self._serve(tenant_id, ScanRequest(str(path), media_type, page, limits))
        if isinstance(answer, Scan):
            return answer
        assert isinstance(answer, Refused)
        return PageFault(page, answer.code, answer.detail)

    def parse_page(self, tenant_id: UUID, path: Path, file_name: str, url: str) -> Parsed | Refused:
        """The main part and the links of a page that came from `url`, or why not."""
        answer = self._serve(tenant_id, ParseRequest(str(path), file_name, self._limits, url=url))
        assert isinstance(answer, Parsed | Refused)
        return answer

    def read(self, tenant_id: UUID, path: Path, file_name: str) -> Parsed | Refused:
        """All of a file at once, pages that are pictures too: for whoever has the time."""
        scans: list[Scan | PageFault] = []
        while True:
            answer = self.parse(tenant_id, path, file_name, tuple(scans))
            if not isinstance(answer, Unread):
                return answer
            scans += [self.recognise(tenant_id, path, answer.media_type, page) for page in answer.pages]

    def _serve(self, tenant_id: UUID, request: ParseRequest | ScanRequest) -> Answer:
        answer: Answer | None = None
        with self._pool.turn(tenant_id):
            for number in range(TRIES):
                answer, was_fresh = self._ask(request, fresh=number > 0)
                # What a process holds of the libraries of other documents may have been in the way.
                lacked = isinstance(answer, Refused) and answer.code == "memory" and not was_fresh
                if answer is not None and not lacked:
                    return answer
                if self._pool.closed:
                    raise StopRequested
        return answer or Refused("crashed", "the parser process died of it, twice")

    def close(self) -> None:
        """End every process, also those at work."""
        self._pool.close()

    def _ask(self, request: ParseRequest | ScanRequest, *, fresh: bool) -> tuple[Answer | None, bool]:
        """None when the process died without an answer, and not at a bound; and whether it was a new one."""
        process = self._pool.take(lambda: _Process(self._command), lambda _: not fresh)
        was_fresh = process.is_fresh
        try:
            return process.ask(request), was_fresh
        finally:
            self._pool.put_back(process)


class _Process:
    """One parser process, used by one thread at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._popen = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, close_fds=True
        )
        self._documents = 0

    @property
    def is_fresh(self) -> bool:
        """Whether it was given nothing yet."""
        return self._documents == 0

    @property
    def spent(self) -> bool:
        return self._documents >= DOCUMENTS_MAX or self._popen.poll() is not None

    def ask(self, request: ParseRequest | ScanRequest) -> Answer | None:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._documents += 1
        late = threading.Event()

        def kill() -> None:
            late.set()
            self._popen.kill()

        timer = threading.Timer(request.limits.seconds_max, kill)
        timer.daemon = True
        timer.start()
        try:
            self._popen.stdin.write(msgspec.json.encode(request) + b"\n")
            self._popen.stdin.flush()
            line = self._popen.stdout.readline()
        except OSError:
            line = b""
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            answer: Answer = msgspec.json.decode(line, type=Answer)
            if isinstance(answer, Refused) and answer.code == "memory":
                self.end()  # what it holds may not come back
            return answer
        self.end()
        if late.is_set() or self._popen.returncode == -signal.SIGXCPU:
            return Refused("timeout", f"it took longer than {request.limits.seconds_max:g} s")
        return None

    def kill(self) -> None:
        """Called from any thread; whoever waits for its answer gets none."""
        self._popen.kill()

    def end(self) -> None:
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
