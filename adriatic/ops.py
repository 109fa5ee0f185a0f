"""The operators' port of a process that serves nobody else: health with reasons, and metrics.

Owns `/health/live`, `/health/ready` (503 with the reasons), `/metrics`. Refuses to guess: a process says itself what it
waits for, with `Health.wait_for`, and clears it. Starts as not ready.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest


class Health:
    """What this process waits for, and free-form facts for `adriatic status`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: dict[str, str] = {"start": "starting"}
        self._facts: dict[str, Any] = {}
        self._since = datetime.now(UTC)

    def wait_for(self, what: str, why: str) -> None:
        """Not ready, because of `what` (a dependency's name). Repeating it changes the reason only."""
        with self._lock:
            if not self._waits:
                self._since = datetime.now(UTC)
            self._waits[what] = why

    def clear(self, what: str) -> None:
        """No longer waiting for `what`. Clearing what was not waited for is fine."""
        with self._lock:
            if self._waits.pop(what, None) is not None and not self._waits:
                self._since = datetime.now(UTC)

    def ready(self) -> None:
        """Start-up is over."""
        self.clear("start")

    def set_fact(self, name: str, value: Any) -> None:
        """A JSON value that `adriatic status` shows."""
        with self._lock:
            self._facts[name] = value

    def report(self) -> dict[str, Any]:
        with self._lock:
            return {
                "status": "waiting" if self._waits else "ready",
                "since": self._since.isoformat(),
                "reasons": dict(self._waits),
                "facts": dict(self._facts),
            }


def serve(host: str, port: int, health: Health, before_scrape: Callable[[], None] | None = None) -> ThreadingHTTPServer:
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
                    if before_scrape:
                        before_scrape()
                    self._reply(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
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
