"""`python -m adriatic.stack.training`: make the start caches of the embedded servers that have none.

Owns being unimportant: it runs after a start, below the priority of everything else, and one at a time on a machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path

import click

from adriatic.stack import artifacts, jvm, kafka, registry
from runtime.settings import Settings, load

LOWEST_PRIORITY = 19


class _Silent:
    """Progress of downloads that happened before."""

    def total(self, size_bytes: int) -> None: ...

    def advance(self, size_bytes: int) -> None: ...


def main(settings: Settings) -> None:
    with (artifacts.cache_dir() / "training.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("another copy makes them")
            return
        # However it is told to end, it deletes what it began.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        for left in artifacts.cache_dir().glob(f"{jvm.TRAINING_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        _stand_back()
        if settings.stack.kafka == "embedded":
            jars = kafka.jars(_Silent)
            # Only the command line up to the main class decides about the cache, so any properties file will do.
            cache = kafka.launch(jars, settings.home / "kafka" / kafka.PROPERTIES).start_cache()
            click.echo(jvm.make_start_cache(cache, lambda folder: kafka.train(settings, jars, folder)))
        if settings.stack.registry == "embedded":
            unpacked = registry.unpack(_Silent)
            cache = registry.launch(unpacked).start_cache()
            click.echo(jvm.make_start_cache(cache, lambda folder: registry.train(unpacked, folder)))


def _stand_back() -> None:
    os.nice(LOWEST_PRIORITY)
    # Where the kernel groups processes by session, priorities count within a group only, and the group has its own.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(LOWEST_PRIORITY))


if __name__ == "__main__":
    main(load())
