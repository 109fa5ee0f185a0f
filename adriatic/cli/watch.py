"""`adriatic watch`: the process that looks at the whole pipeline, and writes down how it is."""

from __future__ import annotations

import signal
from types import FrameType

import click

from runtime import logs, ops, telemetry
from runtime.lifecycle import Lifecycle
from runtime.settings import load


@click.group()
def watch() -> None:
    """The watcher: lag of every consumer group, freshness of every view."""


@watch.command()
def run() -> None:
    """Look at everything every two seconds until SIGTERM.

    What it sees is in ops.pipeline and ops.freshness_minute, at GET /v1/pipeline, in `adriatic status`, and in its
    metrics. One such process is enough; without it these say unknown. Starts without its dependencies and says at
    /health/ready what it waits for.
    """
    from adriatic.watch.watcher import Watcher

    settings = load()
    logs.configure("watch", settings.telemetry)
    telemetry.configure("watch", settings.telemetry)
    health = ops.Health()
    life = Lifecycle(health)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        life.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if settings.telemetry.ops_port:
        ops.serve(settings.telemetry.ops_host, settings.telemetry.ops_port, health)
    Watcher(settings, life).run()
