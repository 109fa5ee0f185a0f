"""Processes of browsers: started when a page needs one, given one page at a time, ended at their bounds.

Owns how many there are, whose turn it is, how long and how large a page may be, and what happens to a process that is
too slow, too large or dead: it and all that it started are ended, and the page is told to be without. A process serves
one tenant, who has one at a time. Refuses to ask for anything: the `Door` of the page does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil

from connectors.process_pool import ProcessPool
from connectors.rendering import (
    Code,
    Door,
    FromChild,
    NotRendered,
    Rendered,
    RenderRequest,
    ResourceGiven,
    ResourceWanted,
    pack,
    read_frame,
)
from connectors.rendering.child import SCRATCH, START_S_MAX
from connectors.rendering.standing import RenderStanding
from runtime.clock import SYSTEM_CLOCK
from runtime.lifecycle import StopRequested
from runtime.processes import resident_bytes
from runtime.settings import CrawlerSettings

PROCESSES_MAX = 2
"""Most browsers at once, as many as parsers."""
MEMORY_BYTES_MAX = 1_073_741_824
"""Memory of a browser with its page and its driver. It takes half of it with an empty page."""
LOOK_S = 0.2
"""Time between two looks at its memory."""
SCRATCH_TRIES = 10
"""Times that its folder is removed before it is left."""
PAGES_MAX = 50
"""A browser is replaced after so many pages: it leaks."""
IDLE_S = 60.0
"""Unused for so long, it gives its memory back. The next one begins in a second or two."""
TURN_S_MAX = 60.0
"""Longest wait for a browser. Then the page does without, so that its crawl goes on."""
GRACE_S = 5.0
"""How much longer than its page may take a process is waited for, in seconds: it says itself that it was too long."""
LOOK_AGAIN_S = 300.0
"""Time between two looks whether a browser starts by now."""
NOBODY = UUID(int=0)
"""The tenant for whom we look ourselves."""
MISSING = NotRendered("no-browser", "there is no browser where the worker is (crawler.browser)")
EMPTY = RenderRequest("http://nowhere.invalid/", "text/html", b"<!doctype html><p>.</p>")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What is looked for when settings say `auto`."""
COMMAND = (sys.executable, "-m", "connectors.rendering.child")


def find_browser(setting: str) -> str | None:
    """The program, or None where there is none."""
    if setting == "auto":
        return next((found for name in NAMES if (found := shutil.which(name))), None)
    return shutil.which(setting)


class _ShutDoor:
    """Gives nothing."""

    def ask(self, wanted: ResourceWanted) -> ResourceGiven:
        del wanted
        return ResourceGiven()


class Browsers:
    """The browsers of one worker. `render` is called by many threads, and blocks."""

    def __init__(self, settings: CrawlerSettings, command: Sequence[str] = COMMAND) -> None:
        self.enabled = settings.browser != "off"
        self._setting = settings.browser
        self._sandbox = "sandbox" if settings.browser_sandbox else "no-sandbox"
        self._command = command
        self._pool: ProcessPool[_BrowserProcess] = ProcessPool(PROCESSES_MAX, IDLE_S)
        self.standing = RenderStanding(settings.browser)
        self._ending = threading.Event()
        self._watch: threading.Thread | None = None

    def watch(self) -> None:
        """See now whether a browser starts, and again while none does, on a thread of its own: operators hear of it
        before a crawl does."""
        if self.enabled and self._watch is None:
            self._watch = threading.Thread(target=self._look_again, name="browser-look", daemon=True)
            self._watch.start()

    def _look_again(self) -> None:
        try:
            while not self._ending.is_set():
                if self.standing.state != "ready":
                    self.standing.see(self._render(NOBODY, EMPTY, _ShutDoor(), keep=False))
                self._ending.wait(LOOK_AGAIN_S)
        except StopRequested:
            return

    def render(self, tenant_id: UUID, request: RenderRequest, door: Door) -> Rendered | NotRendered:
        """The tree of a page after its scripts, or why there is none. Raises `StopRequested` when this is closed
        meanwhile."""
        answer = self._render(tenant_id, request, door)
        self.standing.note(answer)
        return answer

    def _render(
        self, tenant_id: UUID, request: RenderRequest, door: Door, *, keep: bool = True
    ) -> Rendered | NotRendered:
        executable = find_browser(self._setting) if self.enabled else None
        if executable is None:
            return MISSING
        with self._pool.turn(tenant_id, TURN_S_MAX) as mine:
            if not mine:
                return NotRendered("busy", f"no browser was free for {TURN_S_MAX:g} s")
            try:
                process = self._take(tenant_id, executable)
            except OSError as error:
                return NotRendered("no-browser", f"no process can be started: {type(error).__name__}")
            try:
                answer = process.render(request, door)
            finally:
                if not keep:
                    process.retire()
                self._pool.put_back(process)
            if self._pool.closed:
                raise StopRequested
            return answer

    def report(self) -> Mapping[str, Any]:
        """How rendering stands, for operators. One that started and was taken away since is seen here."""
        if self.enabled and find_browser(self._setting) is None:
            self.standing.see(MISSING)
        return self.standing.report()

    def close(self) -> None:
        """End every browser, also those at work."""
        self._ending.set()
        self._pool.close()
        if self._watch is not None:
            self._watch.join(GRACE_S)

    def _take(self, tenant_id: UUID, executable: str) -> _BrowserProcess:
        """One that served this tenant, or a new one: none goes from one tenant to another."""
        command = [*self._command, executable, self._sandbox]
        return self._pool.take(lambda: _BrowserProcess(command, tenant_id), lambda each: each.tenant_id == tenant_id)


class _BrowserProcess:
    """One browser with its driver, used by one thread at a time."""

    def __init__(self, command: Sequence[str], tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self._scratch = tempfile.mkdtemp(prefix=SCRATCH)
        # What of our environment it gets: the rest may be secrets.
        kept = {"PATH": os.environ.get("PATH", ""), "LANG": os.environ.get("LANG", "C.UTF-8")}
        kept["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
        places = dict.fromkeys(
            ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"), self._scratch
        )
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, **places},
            close_fds=True,
        )
        self._pages = 0
        self._ended: NotRendered | None = None

    @property
    def spent(self) -> bool:
        return self._pages >= PAGES_MAX or self._ended is not None or self._popen.poll() is not None

    def render(self, request: RenderRequest, door: Door) -> Rendered | NotRendered:
        """One page. What goes wrong ends the process."""
        over = threading.Event()
        seconds_max = request.seconds_max + GRACE_S + (0 if self._pages else START_S_MAX)
        watch = threading.Thread(target=self._watch, args=(over, seconds_max), name="browser-watch", daemon=True)
        watch.start()
        self._pages += 1
        try:
            answer = self._converse(request, door)
        except BaseException:  # the door is shut: the process waits for what nobody will give it
            self._ended = NotRendered("crashed", "its page was given up")
            raise
        finally:
            over.set()
            watch.join()
        if isinstance(answer, Rendered):
            return answer
        answer = self._ended or answer or NotRendered("crashed", "the browser, or its driver, died of the page")
        self._ended = answer
        return answer

    def _converse(self, request: RenderRequest, door: Door) -> Rendered | NotRendered | None:
        """None when the process is gone."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        message: bytes = pack(request)
        try:
            while True:
                self._popen.stdin.write(message)
                self._popen.stdin.flush()
                frame = read_frame(self._popen.stdout)  # type: ignore[arg-type]
                if frame is None:
                    return None
                said: FromChild = msgspec.msgpack.decode(frame, type=FromChild)
                if not isinstance(said, ResourceWanted):
                    return said
                message = pack(door.ask(said))
        except (OSError, ValueError, msgspec.DecodeError):
            return None

    def _watch(self, over: threading.Event, seconds_max: float) -> None:
        """End the process at its bounds, until the page is over."""
        until = SYSTEM_CLOCK.monotonic() + seconds_max
        while not over.wait(LOOK_S):
            if SYSTEM_CLOCK.monotonic() > until:
                self._end_at("too-slow", f"the browser did not answer for {seconds_max:g} s")
            elif (resident_bytes(self._popen.pid) or 0) > MEMORY_BYTES_MAX:
                self._end_at("memory", f"the browser took more than {MEMORY_BYTES_MAX >> 20} MiB of memory")

    def _end_at(self, code: Code, detail: str) -> None:
        self._ended = self._ended or NotRendered(code, detail)
        self.kill()

    def retire(self) -> None:
        """It is not used again."""
        self._ended = self._ended or NotRendered("crashed", "it was not to be used again")

    def kill(self) -> None:
        """Called from any thread; whoever waits for its answer gets none."""
        for process in _tree(self._popen.pid):
            with suppress(psutil.Error):
                process.kill()

    def end(self) -> None:
        self.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        for _ in range(SCRATCH_TRIES):  # a browser whose driver died first still writes for a moment
            shutil.rmtree(self._scratch, ignore_errors=True)
            if not Path(self._scratch).exists():
                return
            SYSTEM_CLOCK.sleep(LOOK_S)


def _tree(pid: int) -> list[psutil.Process]:
    """A process and all that it started, those it started last first."""
    try:
        root = psutil.Process(pid)
        return [*reversed(root.children(recursive=True)), root]
    except psutil.Error:
        return []
