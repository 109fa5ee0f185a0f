"""Keeps the processes that serve the API's port together: `adriatic api run` with `api.workers` above 1.

Owns their start, their restart when one ends or hangs, and what the operators' port says of all of them. The kernel
deals out the connections: each worker listens on the same address. Refuses to serve requests, and to know what a worker
does: `api/server.py` is the same as with one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from adriatic.stack.ports import LOOPBACK
from adriatic.stack.system import health_of, http_report, ops_url
from adriatic.supervisor.assessment import LOADED
from adriatic.supervisor.keeper import Keeper
from adriatic.supervisor.part import GOOD, Part, ProbeResult
from api.server import require_free
from runtime import exposition, ops
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import Misconfigured
from runtime.logs import get_logger
from runtime.private import make_private
from runtime.settings import Settings

GRACE_S = 18.0
"""Time that a worker gets to end its requests. Shorter than the 20 s that the supervisor of everything gives the
service."""
PORT_S_MAX = 10.0
"""How long the port is waited for: workers whose keeper was killed end what they have begun."""
PORT_EVERY_S = 0.2

log = get_logger("api")


class Workers:
    """The workers of one port. `await run()` returns when all of them have ended after `request_stop`."""

    def __init__(self, settings: Settings, arguments: Sequence[str], clock: Clock = SYSTEM_CLOCK) -> None:
        self.metrics = settings.home.resolve() / "run" / f"api-{settings.api.port}-metrics"
        self.health = ops.Health(clock)
        self._keys: dict[int, str] = {}
        self._reserved = [_reserve() for _ in range(settings.api.workers)]
        self._keepers = [
            Keeper(self._part(number, reserved, arguments), None, Path.cwd(), clock, self._show)
            for number, reserved in enumerate(self._reserved, 1)
        ]

    async def run(self) -> None:
        shutil.rmtree(self.metrics, ignore_errors=True)
        make_private(self.metrics)
        try:
            await asyncio.gather(*(keeper.run() for keeper in self._keepers))
        finally:
            for reserved in self._reserved:
                reserved.close()
            shutil.rmtree(self.metrics, ignore_errors=True)

    def request_stop(self) -> None:
        for keeper in self._keepers:
            keeper.request_stop()

    def render(self) -> bytes:
        return exposition.render(self.metrics)

    def _part(self, number: int, reserved: socket.socket, arguments: Sequence[str]) -> Part:
        host, port = reserved.getsockname()
        return Part(
            f"worker-{number}",
            command=[sys.executable, "-m", "adriatic", "api", "run", *arguments, "--worker", str(number)],
            environment=os.environ
            | {
                exposition.FOLDER_VARIABLE: str(self.metrics),
                "ADRIATIC_TELEMETRY__OPS_HOST": host,
                "ADRIATIC_TELEMETRY__OPS_PORT": str(port),
            },
            probe=lambda: self._probe(number, port),
            stop_grace_s=GRACE_S,
        )

    def _probe(self, number: int, port: int) -> ProbeResult:
        """A worker's health; what it says of its keys, beside."""
        report = http_report(ops_url(port))
        facts = report.get("facts") if isinstance(report, dict) else None
        if isinstance(facts, dict) and "keys" in facts:
            self._keys[number] = str(facts["keys"])
            # Of all of them the first that lacks something: one is enough to refuse some tokens.
            self.health.set_fact("keys", next((said for said in self._keys.values() if said != LOADED), LOADED))
        return health_of(report)

    def _show(self) -> None:
        for number, keeper in enumerate(self._keepers, 1):
            report = keeper.report
            if report.state == "broken":
                exposition.forget_worker(number, self.metrics)
            if report.state in GOOD:
                self.health.clear(report.name)
            else:
                why = report.reasons or (report.last_error if report.state == "broken" else "")
                self.health.wait_for(report.name, f"{report.state}: {why}" if why else report.state)
            fact = {"state": report.state, "pid": report.pid, "restarts": report.restarts}
            self.health.set_fact(report.name, fact | ({"last_error": report.last_error} if report.last_error else {}))
        self.health.ready()


def _reserve() -> socket.socket:
    """A loopback port for a worker's own health. Bound and not listening: nobody else gets it, the worker can."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, 0))
    return reserved


async def serve(settings: Settings, arguments: Sequence[str] = (), clock: Clock = SYSTEM_CLOCK) -> None:
    """Keep `settings.api.workers` workers until SIGTERM or SIGINT; `arguments` are of `adriatic api run`, for each.

    Raises `Misconfigured` when the address cannot be had.
    """
    await _wait_until_free(settings.api.host, settings.api.port, clock)
    workers = Workers(settings, arguments, clock)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, workers.request_stop)
    telemetry = settings.telemetry
    with contextlib.ExitStack() as stack:
        if telemetry.ops_port:
            server = ops.serve(telemetry.ops_host, telemetry.ops_port, workers.health, render=workers.render)
            stack.callback(server.shutdown)
        log.info("keeping workers", workers=settings.api.workers, host=settings.api.host, port=settings.api.port)
        await workers.run()
    log.info("stopped")


async def _wait_until_free(host: str, port: int, clock: Clock) -> None:
    until_s = clock.monotonic() + PORT_S_MAX
    while True:
        try:
            require_free(host, port)
            return
        except Misconfigured:
            if clock.monotonic() > until_s:
                raise
        await asyncio.sleep(PORT_EVERY_S)
