"""The operators' port of a process that serves nobody else: health with reasons, and metrics.

Owns `/health/live`, `/health/ready` (503 with the reasons), `/metrics`. Refuses to guess: a process says itself what it
waits for, with `Health.wait_for`, and clears it. Starts as not ready.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from runtime import exposition
from runtime.clock import SYSTEM_CLOCK, Clock


class Health:
    """What this process waits for, and free-form facts for `adriatic status`. Thread-safe."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waits: dict[str, str] = {"start": "starting"}
        self._facts: dict[str, _Fact] = {}
        self._since = clock.now()

    def wait_for(self, what: str, why: str) -> None:
        """Not ready, because of `what` (a dependency's name). Repeating it changes the reason only."""
        with self._lock:
            if not self._waits:
                self._since = self._clock.now()
            self._waits[what] = why

    def clear(self, what: str) -> None:
        """No longer waiting for `what`. Clearing what was not waited for is fine."""
        with self._lock:
            if self._waits.pop(what, None) is not None and not self._waits:
                self._since = self._clock.now()

    def ready(self) -> None:
        """Start-up is over."""
        self.clear("start")

    def set_fact(
        self, name: str, value: Any, fresh_s: float | None = None, on_stale: Callable[[], None] = lambda: None
    ) -> None:
        """A JSON value that `adriatic status` shows, or a function that gives it, asked at each report.

        `fresh_s`: how many seconds it is good for. If it is not set again by then, whoever measures it has stopped or
        hangs: it is reported as `unknown`, the process as waiting, and `on_stale` is called at each report.
        """
        with self._lock:
            self._facts[name] = _Fact(value, self._clock.monotonic(), fresh_s, on_stale)

    def report(self) -> dict[str, Any]:
        now_s = self._clock.monotonic()
        with self._lock:
            waits, facts, since = dict(self._waits), dict(self._facts), self._since
        stale = {name: now_s - fact.set_at_s for name, fact in facts.items() if fact.is_stale(now_s)}
        for name in stale:
            facts[name].on_stale()
        reasons = {name: f"not measured for {age_s:.0f} s: whoever does it hangs" for name, age_s in stale.items()}
        reasons |= waits
        return {
            "status": "waiting" if reasons else "ready",
            "since": since.isoformat(),
            "reasons": reasons,
            "facts": {name: "unknown" if name in stale else fact.now() for name, fact in facts.items()},
        }


@dataclass(frozen=True, slots=True)
class _Fact:
    value: Any
    set_at_s: float
    fresh_s: float | None
    on_stale: Callable[[], None]

    def is_stale(self, now_s: float) -> bool:
        return self.fresh_s is not None and now_s - self.set_at_s > self.fresh_s

    def now(self) -> Any:
        return self.value() if callable(self.value) else self.value


def serve(
    host: str,
    port: int,
    health: Health,
    before_scrape: Callable[[], None] | None = None,
    render: Callable[[], bytes] = exposition.render,
) -> ThreadingHTTPServer:
    """Serve `health` and the metrics on a thread of its own until `.shutdown()`. `port` 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/health/live":
                    self._reply(200, "application/json", b'{"status":"live"}')
                case "/health/ready":
                    report = health.report()
                    status = 200 if report["status"] == "ready" else 503
                    self._reply(status, "application/json", json.dumps(report, default=str).encode())
                case "/metrics":
                    health.report()  # what went stale says so in the metrics too
                    if before_scrape:
                        before_scrape()
                    self._reply(200, CONTENT_TYPE_LATEST, render())
                case _:
                    self._reply(404, "text/plain", b"/health/live /health/ready /metrics\n")

        def _reply(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Scrapes are not news."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="ops-http", daemon=True).start()
    return server
