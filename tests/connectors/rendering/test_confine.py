"""A process that gave its network up, and what it starts: none of it reaches a listener. The same without the filter
does, so that the listener is known to listen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.rendering.pool import find_browser
from tests.connectors.fetching.local_web import LocalWeb, html, serving_web

ROOT = Path(__file__).resolve().parents[3]

TRIES = """
import ctypes, json, os, socket, subprocess, sys
port, path, confined, again = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "confined", sys.argv[4:]
if confined and not again:
    from connectors.rendering.confine import confine
    confine()
done = {}
def attempt(name, work):
    try:
        done[name] = str(bool(work()))
    except OSError as error:
        done[name] = type(error).__name__
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", port), 5))
attempt("tcp6", lambda: socket.socket(socket.AF_INET6))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port)))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("vsock", lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM))
def connect():
    made = socket.socket(socket.AF_UNIX)
    made.connect(path)
    return made
attempt("file", connect)
attempt("pair", socket.socketpair)
libc = ctypes.CDLL(None, use_errno=True)
done["ring"] = "refused" if libc.syscall(425, 4, ctypes.create_string_buffer(256)) < 0 else "made"
done["other"] = "refused" if libc.syscall(0x40000000 + 41, 2, 1, 0) < 0 else "made"
done["thread"] = "True"
if not again:
    done["child"] = json.loads(subprocess.run([sys.executable, "-c", open("/proc/self/cmdline").read().split(chr(0))[2],
        *sys.argv[1:4], "again"], capture_output=True, check=True).stdout)
print(json.dumps(done))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes a network away")
def test_neither_a_confined_process_nor_what_it_starts_can_connect(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "service"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as service:
        service.bind(str(path))
        service.listen()
        tcp.settimeout(0.5)
        service.settimeout(0.5)
        port = tcp.getsockname()[1]
        found = {}
        for how in ("confined", "free"):
            run = [sys.executable, "-c", TRIES, str(port), str(path), how]
            found[how] = json.loads(subprocess.run(run, capture_output=True, check=True, cwd=ROOT).stdout)
            if how == "confined":
                for listener in (tcp, service):
                    with pytest.raises(TimeoutError):
                        listener.accept()
    refused = dict.fromkeys(("tcp", "tcp6", "udp", "netlink", "packet", "vsock", "file"), "PermissionError")
    refused |= {"pair": "True", "ring": "refused", "other": "refused", "thread": "True"}
    assert found["confined"].pop("child") == refused
    assert found["confined"] == refused
    assert (found["free"]["tcp"], found["free"]["file"], found["free"]["child"]["tcp"]) == ("True", "True", "True")


BROWSE = """
import sys
url, confined = sys.argv[1], sys.argv[2] == "confined"
if confined:
    from connectors.rendering.confine import confine
    confine()
from playwright.sync_api import Error, sync_playwright
from connectors.rendering.pool import find_browser
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=find_browser("auto"), args=["--no-sandbox"])
    page = browser.new_page()
    try:
        page.goto(url, timeout=20_000)
        print("came:", page.inner_text("body"))
    except Error as error:
        print("failed:", str(error).splitlines()[0])
    browser.close()
"""


@pytest.mark.skipif(find_browser("auto") is None, reason="no Chromium here (apt-get install chromium)")
@pytest.mark.timeout(180)
def test_a_browser_that_is_told_nothing_reaches_nothing(tmp_path: Path) -> None:
    """Without a proxy, without rules for names, without anybody who looks at its requests: the kernel alone."""

    async def say(_: object) -> object:
        return html("<p>Here I am.</p>")

    with serving_web() as local:
        local.fallback = say  # type: ignore[assignment]
        said = {}
        for how in ("confined", "free"):
            run = [sys.executable, "-c", BROWSE, f"http://127.0.0.1:{local.port}/", how]
            said[how] = subprocess.run(run, capture_output=True, check=True, cwd=ROOT, text=True).stdout
            if how == "confined":
                assert local.asked == []
        assert _last(local) == "/"
    assert said["confined"].startswith("failed:")
    assert said["free"].strip() == "came: Here I am."


def _last(local: LocalWeb) -> str:
    return next(path for _, path in local.asked)
