"""`adriatic watch`: the process that looks at the whole pipeline, and writes down how it is."""

from __future__ import annotations

import click

from adriatic.cli import process
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
    life = process.start("watch", settings)
    Watcher(settings, life).run()
