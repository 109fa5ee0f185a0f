"""Serves the application with Granian, in this process, until it is told to stop.

Owns the server's bounds and the way down: stop accepting, let what runs end, close the pool. Refuses to know of other
processes: with `api.workers` above 1 several of these listen on one address, and `adriatic/workers.py` keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Sequence

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from api.app import create_app
from runtime import ops
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.settings import Settings
from schemas.flows import KeptView

BACKLOG_CONNECTIONS = 16_384
"""Connections that the kernel queues, and requests that are accepted at once, by each process. Granian's own
default stops at 512 requests a process, which a few hundred open streams reach; beyond this bound callers wait in the
kernel."""
HEADER_MS_MAX = 10_000
"""Longest wait for a request's headers to arrive: a client that trickles them holds a connection and nothing else."""
COLLECT_AFTER = (10_000, 20, 50)
"""When the collector of garbage looks, in objects and rounds. Python's own (700, 10, 10) is for small programs: it took
half of the processor with ten thousand streams, and held all of them up for seconds."""

log = get_logger("api")


async def serve(
    settings: Settings, views: Sequence[KeptView], clock: Clock = SYSTEM_CLOCK, worker: int | None = None
) -> None:
    """Listen on `settings.api` until SIGTERM or SIGINT. `views`: what the flows keep. `worker`: the number of this
    process, when others listen too.

    Raises `Misconfigured` when it is alone and the address cannot be had.
    """
    health = ops.Health()
    if worker is None:
        require_free(settings.api.host, settings.api.port)
    else:
        health.set_fact("worker", worker)
    app = create_app(settings, views, clock=clock, health=health)
    _make_room()
    server = Server(
        app,
        address=settings.api.host,
        port=settings.api.port,
        interface=Interfaces.ASGI,
        backlog=BACKLOG_CONNECTIONS,
        backpressure=BACKLOG_CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS_MAX),
        websockets=False,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()

    def stop() -> None:
        app.end_streams()
        server.stop()  # type: ignore[no-untyped-call]  # the library has no annotations

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop)
    telemetry = settings.telemetry
    with contextlib.ExitStack() as stack:
        if telemetry.ops_port:
            stack.callback(ops.serve(telemetry.ops_host, telemetry.ops_port, health).shutdown)
        log.info("listening", host=settings.api.host, port=settings.api.port)
        await server.serve()
    log.info("stopped")


def _make_room() -> None:
    """Let the process have as many descriptors as it may, two for each stream, and have the collector leave alone what
    stays as long as the process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def require_free(host: str, port: int) -> None:
    """Raises `Misconfigured` when somebody listens there: Granian binds with SO_REUSEPORT, and two servers would share
    the requests in silence."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="set api.port (ADRIATIC_API__PORT) to a free one, or stop what listens there",
        ) from error
