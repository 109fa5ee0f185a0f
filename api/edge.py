"""The outermost layer of the API: what is true of every request, also of those that match no route.

Owns the request id, the access log line, the metrics, the span, and HEAD for every GET. Refuses to look into bodies.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from api.db import LAST_WRITE, LastWrite
from runtime import metrics
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import TooSlow
from runtime.ids import new_id
from runtime.logs import get_logger
from runtime.telemetry import tracer

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
"""A caller's own request id, taken over when it cannot break a log line or fill a disk."""
UNMATCHED = "unmatched"
"""One label for all paths without a route: a scanner must not make a metric per path."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})
POSITION_HEADER = b"adriatic-position"
"""Header of the answer to each write: an LSN at or after its commit, to be sent with a read that must show it."""
CLIENT_GONE = 499
"""The status that the log and the metrics show when the caller hung up first; nobody receives it."""
HEAD_STATE = "adriatic_head"
"""Marks the state of a request that came as HEAD: an answer without end must not begin."""
DRAIN_BYTES_MAX = 128 * 1024 * 1024
"""Most bytes that are read of a body that was refused. The largest mistakes that people make (a video, a dump) still
get their answer."""
DRAIN_S_MAX = 10.0
"""Longest time for the same: a caller on a line this slow gets a broken connection."""
BODY_S_MAX = 30.0
"""Longest wait for a body to arrive whole, however small it is (`api.body_s_max`). Callers that drip hold a connection
and memory, and nothing else ends them."""
BODY_BYTES_PER_S_MIN = 16_384
"""What a slow line carries: each of these buys one more second, so that large uploads are bounded by their pace."""
SAFE_HEADERS = ((b"x-content-type-options", b"nosniff"),)
"""Headers of every answer: a browser must not guess what a text of a tenant could be."""
JSON_HEADERS = ((b"cache-control", b"no-store"),)
"""Headers of every answer in JSON: it is one tenant's, and no cache between here and there may keep it."""
QUIET = ("/health", "/metrics")

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_NO_PARENT = Context()

log = get_logger("api")


def traceparent() -> str | None:
    """The W3C `traceparent` of the request in hand, to be stored with what it writes; None when nobody traces."""
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier)
    return carrier.get("traceparent")


class Edge:
    """Wraps the routed application. One instance per process."""

    def __init__(
        self,
        app: ASGIApp,
        methods: Mapping[str, frozenset[str]] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        body_s_max: float = BODY_S_MAX,
    ) -> None:
        self._app = app
        self._body_s_max = body_s_max
        self._methods = methods or {}
        self._clock = clock
        self._tracer = tracer("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        body = _Body(receive, headers, self._clock, self._body_s_max)
        answer = _CountedSend(send, request_id, body, head=scope["method"] == "HEAD")
        if scope["method"] == "OPTIONS":
            answer.allow = lambda: self._methods.get(str(scope.get("path_template")), frozenset())
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        if answer.head:
            scope["method"] = "GET"
            scope["state"][HEAD_STATE] = True
        answer.last_write = None if method in READS else LastWrite()
        began_s = self._clock.monotonic()
        context = LAST_WRITE.set(answer.last_write)
        parent = _parent(headers)
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id, tenant_id=None, user_id=None),
            self._tracer.start_as_current_span(method, context=parent, kind=SpanKind.SERVER) as span,
        ):
            try:
                await self._app(scope, body, answer)
            except asyncio.CancelledError:
                answer.status = answer.status or CLIENT_GONE
                raise
            finally:
                LAST_WRITE.reset(context)
                self._record(scope, method, answer, self._clock.monotonic() - began_s, span)

    def _record(self, scope: Scope, method: str, answer: _CountedSend, took_s: float, span: trace.Span) -> None:
        route = str(scope.get("path_template") or UNMATCHED)
        status = answer.status or 500
        metrics.HTTP_REQUESTS.labels(method, route, str(status)).inc()
        metrics.HTTP_SECONDS.labels(method, route).observe(took_s)
        principal: Any = scope.get("user")
        if span.is_recording():
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {"http.request.method": method, "http.route": route, "http.response.status_code": status}
            )
            if principal:
                span.set_attribute("adriatic.tenant_id", str(principal.tenant_id))
            if status >= 500:
                span.set_status(trace.StatusCode.ERROR)
        write = log.debug if route.startswith(QUIET) and status < 500 else log.info
        write(
            "request",
            method=method,
            route=route,
            path=scope["path"][:256],
            status=status,
            duration_ms=round(took_s * 1000, 3),
            size_bytes=answer.size_bytes,
        )


class _Body:
    """The `receive` of one request: knows whether all of the body was read, and ends the wait for one that drips.

    A server that answers and closes while the caller still sends makes most callers see a broken connection instead of
    the answer. So what is refused unread is read and thrown away first, within bounds.
    """

    def __init__(self, receive: Receive, headers: dict[bytes, bytes], clock: Clock, wait_s_max: float) -> None:
        self._receive = receive
        self._clock = clock
        self._until_s = clock.monotonic() + wait_s_max
        self.too_slow = False
        length = headers.get(b"content-length", b"0")
        # A caller that waits for "100 Continue" has sent nothing, and asking for the body would make it.
        self._left = (length != b"0" or b"transfer-encoding" in headers) and b"expect" not in headers

    async def __call__(self) -> Any:
        message: Any
        if not self._left:
            return await self._receive()
        try:
            async with asyncio.timeout(max(0.0, self._until_s - self._clock.monotonic())):
                message = await self._receive()
        except TimeoutError:
            self._left, self.too_slow = False, True
            raise TooSlow(
                "the body did not arrive in time", hint=f"send at least {BODY_BYTES_PER_S_MIN} bytes a second"
            ) from None
        self._until_s += len(message.get("body", b"")) / BODY_BYTES_PER_S_MIN
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._left = False
        return message

    async def drain(self) -> None:
        size_bytes = 0
        with suppress(TimeoutError, TooSlow):
            async with asyncio.timeout(DRAIN_S_MAX):
                while self._left and size_bytes < DRAIN_BYTES_MAX:
                    size_bytes += len((await self()).get("body", b""))


class _CountedSend:
    """The `send` of one request: adds the request id, counts, and leaves out the body of a HEAD."""

    def __init__(self, send: Send, request_id: str, body: _Body, *, head: bool) -> None:
        self._send = send
        self._body = body
        self._request_id = request_id.encode()
        self.head = head
        self.last_write: LastWrite | None = None
        self.allow: Callable[[], frozenset[str]] = frozenset
        self.status = 0
        self.size_bytes = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.status >= 400:
                await self._body.drain()
            message["headers"] = [*self._complete(message["headers"]), (b"x-request-id", self._request_id)]
            if self._body.too_slow:
                # What still comes is the rest of this body, and no next request.
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if self.last_write is not None and self.last_write.lsn is not None and self.status < 400:
                message["headers"] = [*message["headers"], (POSITION_HEADER, self.last_write.lsn.encode())]
        elif message["type"] == "http.response.body":
            self.size_bytes += len(message["body"])
            if self.head:
                if message["more_body"]:
                    return
                message["body"] = b""
        await self._send(message)

    def _complete(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Add what every answer has. Litestar's own answer to OPTIONS knows the first handler of a path only, and
        nothing knows HEAD."""
        headers = list(headers)
        given = dict(headers)
        media_type = given.get(b"content-type", b"").partition(b";")[0].strip()
        is_json = media_type == b"application/json" or media_type.endswith(b"+json")
        wanted = (*SAFE_HEADERS, *(JSON_HEADERS if is_json else ()))
        yield from (each for each in wanted if each[0] not in given)
        for name, value in headers:
            if name == b"allow":
                methods = self.allow() | set(value.decode().split(", "))
                value = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))).encode()
            yield name, value


def _request_id(headers: dict[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if REQUEST_ID.fullmatch(given) else new_id().hex


def _parent(headers: dict[bytes, bytes]) -> Context:
    if b"traceparent" not in headers:
        return _NO_PARENT
    carrier = {
        name: headers[name.encode()].decode("latin-1") for name in _TRACE_CONTEXT.fields if name.encode() in headers
    }
    return _TRACE_CONTEXT.extract(carrier, context=Context())
