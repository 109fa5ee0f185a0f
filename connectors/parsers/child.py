"""The parser process: one document after the other, within bounds that the kernel holds.

Owns the limits of this process and the loop: a line with a request comes in, a line with an answer goes out. Refuses
the network and large files, and ends with whoever started it. `python -m connectors.parsers.child`.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from connectors.parsers import (
    PagesWanted,
    Parsed,
    ParseRequest,
    Refusal,
    Refused,
    Scan,
    ScanRequest,
    Unread,
    formats,
    sniff,
)
from runtime.clock import SYSTEM_CLOCK

WRITTEN_BYTES_MAX = 67_108_864
"""Largest file: what a library may put into a temporary one."""
ORPHAN_POLL_S = 1.0


Asked = ParseRequest | ScanRequest
Answered = Parsed | Refused | Unread | Scan


def answer(request: Asked) -> Answered:
    """One document, or one page of it that is a picture. Raises nothing but what ends the process."""
    media_type = request.media_type if isinstance(request, ScanRequest) else ""
    path = Path(request.path)
    try:
        if isinstance(request, ScanRequest):
            return _scan(path, request)
        media_type = sniff.media_type(path, request.file_name, request.limits)
        return formats.parse(path, media_type, request)
    except Refusal as refusal:
        return Refused(refusal.code, refusal.detail, media_type)
    except PagesWanted as wanted:
        return Unread(media_type, wanted.pages)
    except MemoryError:
        return Refused("memory", f"it needs more than {request.limits.memory_bytes_max} bytes of memory", media_type)
    except Exception as error:  # whatever a library raises on bytes that it cannot read
        return Refused("broken", f"the parser stopped at it: {type(error).__name__}", media_type)


def _scan(path: Path, request: ScanRequest) -> Scan:
    from connectors.parsers import pictures, pictures_within, scanning

    asked = (path, request.media_type, request.page, request.limits)
    if request.media_type in (sniff.DOCX, sniff.PPTX):
        return scanning.recognise_all(pictures_within.draw_pictures(*asked), request.page)
    return scanning.recognise(pictures.draw_page(*asked), request.page)


def set_bounds(request: Asked) -> None:
    """Set what this process may use from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + request.limits.cpu_s_max
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))
    memory = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (request.limits.memory_bytes_max, memory))


def _confine() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES_MAX, WRITTEN_BYTES_MAX))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("the parser has no network")

    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, refuse)


def _end_with(parent: int) -> None:
    """Nobody reads the answer of a process whose parent was killed."""
    while os.getppid() == parent:
        SYSTEM_CLOCK.sleep(ORPHAN_POLL_S)
    os._exit(1)


def main(work: Callable[[Asked], Answered] = answer) -> None:
    """Requests on standard input, answers on what standard output was; what libraries print goes to standard error."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _confine()
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Asked)
        set_bounds(request)
        answers.write(msgspec.json.encode(work(request)) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
