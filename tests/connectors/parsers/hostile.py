"""A parser process that does what documents with certain words in them say: hang, burn, grow, die. For the rest it is
the real one. `python -m tests.connectors.parsers.hostile`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from connectors.parsers import Parsed, Refused, child

seen: list[str] = []
"""What this process was asked before."""


def answer(request: child.Asked) -> child.Answered:
    head = Path(request.path).read_bytes()[:64]
    if head.startswith(b"HANG"):
        time.sleep(600)
    if head.startswith(b"BURN"):
        while True:
            pass
    if head.startswith(b"DIE"):
        os.abort()
    if head.startswith(b"SLOW"):
        time.sleep(float(head.split()[1]))
    if head.startswith(b"GROW"):
        try:
            bytearray(request.limits.memory_bytes_max)
        except MemoryError:
            return Refused("memory", "it needs too much")
    if head.startswith(b"FRESH") and seen:
        return Refused("memory", "it needs too much")
    seen.append(request.path)
    if head.startswith((b"PID", b"FRESH")):
        return Parsed("text/plain", "pid", str(os.getpid()))
    return child.answer(request)


if __name__ == "__main__":
    child.main(answer)
