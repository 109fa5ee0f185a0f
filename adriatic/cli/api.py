"""`adriatic api`: the HTTP API as a process."""

from __future__ import annotations

import asyncio

import click

from runtime import logs, telemetry
from runtime.settings import load


@click.group()
def api() -> None:
    """The HTTP API."""


@api.command()
@click.option("--host", help="Address to listen on.  [default: setting api.host]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: setting api.port]")
def run(host: str | None, port: int | None) -> None:
    """Serve the API until SIGTERM. Starts without a database, and says at /health/ready what it waits for."""
    from api.server import serve
    from dataflows.catalog import views

    settings = load()
    named = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=named)})
    logs.configure("api", settings.telemetry)
    telemetry.configure("api", settings.telemetry)
    asyncio.run(serve(settings, views()))
