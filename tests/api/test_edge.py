"""What is true of every request, whatever it is for, and although no database answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY
from structlog.testing import LogCapture

from api import requests as request_rules
from api.auth import middleware
from api.edge import Edge, traceparent
from api.requests import refuse_repeated_headers
from runtime.settings import ApiSettings, PostgresSettings, Settings
from tests.api.world import Caller, World, running


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The log, as the fields of each line."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture], cache_logger_on_first_use=False)
    yield capture.entries
    structlog.configure(**before)


def requests(**labels: str) -> float:
    return REGISTRY.get_sample_value("adriatic_http_requests_total", labels) or 0.0


async def test_a_request_id_is_made_or_taken_over(lonely: World) -> None:
    first, second = [(await lonely.http.get("/health/live")).headers["x-request-id"] for _ in range(2)]
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    given = await lonely.http.get("/nowhere", headers={"x-request-id": "from-me_1.2"})
    assert given.headers["x-request-id"] == "from-me_1.2"
    assert given.json()["request_id"] == "from-me_1.2"
    for bad in ("", "a b", "x" * 129, "ü", '"'):
        answer = await lonely.http.get("/nowhere", headers=[(b"x-request-id", bad.encode())])
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/health/live", "/openapi.json", "/nowhere", "/.well-known/jwks.json"])
async def test_head_is_get_without_the_body(lonely: World, path: str) -> None:
    got, head = await lonely.http.get(path), await lonely.http.head(path)
    assert head.content == b""
    assert head.status_code == got.status_code
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_options_and_other_methods(lonely: World) -> None:
    assert (await lonely.http.options("/v1/adrs")).headers["allow"] == "GET, HEAD, OPTIONS, POST"
    answer = await lonely.http.request("PROPFIND", "/v1/adrs")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_headers_are_looked_through_once_for_a_request(tenant: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token and without, and where nobody is asked who it is; a second value is refused everywhere."""
    looks: list[str] = []

    def look(connection: Any) -> None:
        looks.append(connection.scope["path"])
        refuse_repeated_headers(connection)

    for module in (middleware, request_rules):
        monkeypatch.setattr(module, "refuse_repeated_headers", look)
    assert (await tenant.get("/v1/adrs")).status_code == 200
    assert (await tenant.http.get("/v1/adrs")).status_code == 401
    assert (await tenant.http.get("/health/live")).status_code == 200
    assert (await tenant.http.options("/v1/adrs")).status_code == 204
    assert looks == ["/v1/adrs", "/v1/adrs", "/health/live", "/v1/adrs"]
    proof = ("authorization", f"Bearer {tenant.token}")
    for path, twice in (("/v1/adrs", [proof, proof]), ("/health/live", [("if-match", "1"), ("if-match", "2")])):
        refused = await tenant.http.get(path, headers=twice)
        assert (refused.status_code, refused.json()["errors"][0]["detail"]) == (400, "given more than once")


async def test_metrics_are_by_route_and_never_by_path(lonely: World) -> None:
    before = (
        requests(method="GET", route="unmatched", status="404"),
        requests(method="GET", route="/v1/adrs/{adr_id}", status="401"),
    )
    for index in range(5):
        await lonely.http.get(f"/wp-admin/{index}")
        await lonely.http.get(f"/v1/adrs/01a20ca0-df08-73f5-b18e-d3c1bb32b43{index}")
    await lonely.http.request("BREW", "/pot")
    assert requests(method="GET", route="unmatched", status="404") == before[0] + 5
    assert requests(method="GET", route="/v1/adrs/{adr_id}", status="401") == before[1] + 5
    text = (await lonely.http.get("/metrics")).text
    assert "wp-admin" not in text
    assert "BREW" not in text
    assert 'method="OTHER"' in text
    assert "adriatic_http_request_seconds_bucket" in text


async def test_the_access_line_has_the_fields_and_no_query(lonely: World, lines: list[Any]) -> None:
    answer = await lonely.http.get("/v1/search?q=secret", headers={"x-request-id": "r1"})
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["status"] == answer.status_code == 401
    assert (line["method"], line["route"], line["path"]) == ("GET", "/v1/search", "/v1/search")
    assert (line["request_id"], line["tenant_id"], line["user_id"]) == ("r1", None, None)
    assert line["duration_ms"] > 0
    assert line["size_bytes"] == len(answer.content)
    assert "secret" not in str(line)


async def test_requests_at_once_keep_their_ids_apart(lonely: World, lines: list[Any]) -> None:
    await asyncio.gather(
        *(lonely.http.get("/health/ready", headers={"x-request-id": f"r{index}"}) for index in range(20))
    )
    seen = [line["request_id"] for line in lines if line["event"] == "request"]
    assert sorted(seen) == sorted(f"r{index}" for index in range(20))


async def test_an_unexpected_exception_is_logged_and_not_shown(
    lonely: World, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(lonely.app.state.readiness, "check", broken)
    answer = await lonely.http.get("/health/ready")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text
    (line,) = [line for line in lines if line["event"] == "unexpected exception"]
    assert line["request_id"] == answer.json()["request_id"]
    assert "the secret reason" in str(line["exc_info"])


async def test_a_caller_that_hangs_up_is_counted_as_such() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/slow"
        await asyncio.sleep(60)

    async def nothing(*_: Any) -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Any = {"type": "http", "method": "GET", "path": "/slow", "headers": []}
    task = asyncio.create_task(Edge(app)(scope, nothing, nothing))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert requests(method="GET", route="/slow", status="499") == 1


async def test_a_span_follows_the_callers_trace(lonely: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    await lonely.http.get("/health/live")
    monkeypatch.setattr(lonely.app._edge, "_tracer", provider.get_tracer("test"))
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    await lonely.http.get("/nowhere", headers={"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
    await lonely.http.get("/health/live", headers={"traceparent": "rubbish"})
    followed, own = exporter.get_finished_spans()
    assert format(followed.context.trace_id, "032x") == trace_id
    assert (followed.name, own.name) == ("GET unmatched", "GET /health/live")
    assert own.parent is None
    assert dict(own.attributes or {})["http.response.status_code"] == 200
    provider.shutdown()


def test_a_trace_is_passed_on_and_never_made_up() -> None:
    assert traceparent() is None
    context = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert traceparent() == f"00-{1:032x}-{2:016x}-01"


async def test_pages_of_other_origins_are_let_in_only_when_named(tmp_path: Path) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    for origins, allowed in (((), None), (("https://app.example",), "https://app.example")):
        settings = Settings(home=tmp_path, postgres=PostgresSettings(port=1), api=ApiSettings(cors_origins=origins))
        async with running(settings) as world:
            preflight = await world.http.options("/v1/adrs", headers=asked)
            assert preflight.headers.get("access-control-allow-origin") == allowed
            other = await world.http.options("/v1/adrs", headers=asked | {"origin": "https://evil.example"})
            assert "access-control-allow-origin" not in other.headers
