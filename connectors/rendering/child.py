"""The process of a browser: it starts one, and renders one page after the other in it.

Owns the start of Chromium, with what it must not do, and the loop: a page comes in, what the page asks for goes out and
comes in, and its tree goes out. Has no network before anything of the browser is loaded (`confine`), and ends with
whoever started it. `python -m connectors.rendering.child PATH sandbox|no-sandbox`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from connectors.rendering import NotRendered, RenderRequest, ResourceGiven, ResourceWanted, ToChild, pack, read_frame
from connectors.rendering.confine import Unconfined, confine
from runtime.clock import SYSTEM_CLOCK

START_S_MAX = 60.0
"""How long the browser may take to come up, in seconds. It takes two; a machine may be busy."""
ORPHAN_POLL_S = 1.0
SCRATCH = "adriatic-browser-"
"""How the folder of a browser begins, in which it has all that it writes."""
HEAP_MIB_MAX = 256
"""Memory of the scripts of one page. Pages of applications have a fifth of it."""

ARGUMENTS = (
    # What would be asked for past `visit` has nowhere to go: names lead nowhere, and everything, this machine too, is
    # behind a proxy that is such a name. The kernel refuses the rest.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://nowhere.invalid:9",
    "--proxy-bypass-list=<-loopback>",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-gpu",
    "--disable-remote-fonts",
    "--disable-crash-reporter",
    "--disk-cache-size=1",
    "--blink-settings=imagesEnabled=false",
    f"--js-flags=--max-old-space-size={HEAP_MIB_MAX}",
)
UNWANTED = ("--disable-popup-blocking", "--disable-ipc-flooding-protection")
"""What whoever tests pages wants, and we do not."""


class Pipe:
    """The other process, seen from here: one question at a time, so that neither waits for the other to read."""

    def __init__(self, asked: BinaryIO, answers: BinaryIO) -> None:
        self._asked = asked
        self._answers = answers
        self._turn = asyncio.Lock()

    async def read(self) -> RenderRequest | ResourceGiven | None:
        frame = await asyncio.to_thread(read_frame, self._asked)
        return None if frame is None else msgspec.msgpack.decode(frame, type=ToChild)

    def write(self, message: Any) -> None:
        self._answers.write(pack(message))
        self._answers.flush()

    async def ask(self, wanted: ResourceWanted) -> ResourceGiven:
        async with self._turn:
            self.write(wanted)
            given = await self.read()
        return given if isinstance(given, ResourceGiven) else ResourceGiven()


async def serve(pipe: Pipe, executable: str, *, sandbox: bool) -> None:
    try:
        from playwright.async_api import Error, async_playwright
    except ImportError:
        pipe.write(NotRendered("no-browser", "playwright is not installed (adriatic[browser])"))
        return
    from connectors.rendering.visit import render

    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(
                executable_path=executable,
                args=list(ARGUMENTS),
                ignore_default_args=list(UNWANTED),
                chromium_sandbox=sandbox,
                timeout=START_S_MAX * 1_000,
            )
        except Error as error:
            pipe.write(NotRendered("no-browser", _explain(error)))
            return
        while isinstance(request := await pipe.read(), RenderRequest):
            answer = await render(browser, request, pipe.ask)
            pipe.write(answer)
            if isinstance(answer, NotRendered):
                return  # what is wrong with a browser is not taken to the next page


def _explain(error: Exception) -> str:
    said = str(error)
    if "sandbox" in said.lower() and ("No usable sandbox" in said or "as root without" in said):
        return "it does not start with its sandbox as this user on this system (crawler.browser_sandbox)"
    return f"it does not start: {said.strip().splitlines()[0][:200] if said.strip() else type(error).__name__}"


def _end_with(parent: int) -> None:
    """Nobody reads the answer of a process whose parent was killed."""
    while os.getppid() == parent:
        SYSTEM_CLOCK.sleep(ORPHAN_POLL_S)
    scratch = Path(os.environ.get("TMPDIR", ""))
    if scratch.name.startswith(SCRATCH):  # nobody else is there to do it
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def main() -> None:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # what libraries print
    executable, sandbox = sys.argv[1:3]
    try:
        confine()
    except Unconfined as refusal:
        answers.write(pack(NotRendered("no-browser", str(refusal))))
        answers.flush()
        return
    asyncio.run(serve(Pipe(asked, answers), executable, sandbox=sandbox == "sandbox"))
    os._exit(0)  # a thread may still wait for the next page


if __name__ == "__main__":
    main()
