"""Ports of the embedded stack: chosen free once, kept as long as nobody else takes them.

Owns the choice. Refuses ports of the kernel's ephemeral range: an outgoing connection of any program could take one
between two starts, and then the stack would move for no reason anybody can see.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from runtime.errors import Misconfigured

LOOPBACK = "127.0.0.1"
NOT_LISTENING = "does not listen yet"
PORT_FIRST = 20_000
"""Above the ports that well-known servers use."""
PORT_LAST = 31_999
"""Below 32 768, where Linux's ephemeral ports begin."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port whose last connections are still in TIME_WAIT is free for a server, which sets the same option.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(
    home: Path, names: Iterable[str], recorded: Mapping[str, int], free: Callable[[int], bool] = is_free
) -> dict[str, int]:
    """A port for each name: the recorded one while it is free, else the next free one.

    The search starts at a place that follows from `home`, so that two copies which start at the same moment, before
    either listens, do not choose the same ports.
    """
    span = PORT_LAST - PORT_FIRST + 1
    start = int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:4]) % span
    candidates = (PORT_FIRST + (start + step) % span for step in range(span))
    chosen: dict[str, int] = {}
    taken = set(recorded.values())
    for name in names:
        if name in recorded and free(recorded[name]):
            chosen[name] = recorded[name]
            continue
        port = next((port for port in candidates if port not in taken and free(port)), None)
        if port is None:
            raise Misconfigured(
                f"no free port between {PORT_FIRST} and {PORT_LAST} for {name}",
                hint="something on this machine listens on all of them",
            )
        chosen[name] = port
    return chosen
