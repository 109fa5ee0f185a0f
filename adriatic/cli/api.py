"""`adriatic api`: the HTTP API as a process, or as several that serve one port."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import NoReturn

import click

from runtime import exposition, logs, telemetry
from runtime.settings import load


@click.group()
def api() -> None:
    """The HTTP API."""


@api.command()
@click.option("--host", help="Address to listen on.  [default: setting api.host]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: setting api.port]")
@click.option("--worker", type=int, hidden=True, help="Be this one of several workers.")
def run(host: str | None, port: int | None, worker: int | None) -> None:
    """Serve the API until SIGTERM. Starts without a database, and says at /health/ready what it waits for.

    With api.workers above 1, so many processes serve the port; one that ends is started again.
    """
    if worker is not None:
        exposition.become_worker(worker)

    settings = load()
    named = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=named)})
    fields = {"worker": worker} if worker is not None else {}
    logs.configure("api", settings.telemetry, **fields)
    telemetry.configure("api", settings.telemetry)
    if worker is None and settings.api.workers > 1:
        from adriatic import workers

        options = [word for name, value in named.items() for word in (f"--{name}", str(value))]
        asyncio.run(workers.serve(settings, options))
    else:
        import uvloop

        from api import server
        from dataflows.catalog import views

        uvloop.run(server.serve(settings, views(), worker=worker))
        _leave()


def _leave() -> NoReturn:
    """End the process at once. The server's own threads live as long as it does, and one that turns to an interpreter
    which is being taken down aborts all of it (PyO3 before Python 3.13): a clean stop ended with SIGABRT."""
    telemetry.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
