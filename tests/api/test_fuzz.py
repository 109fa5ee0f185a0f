"""Nonsense of every kind, for every route: the answer is an explanation, never a 500 and never silence."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest

from connectors.llm.sse import SseDecoder
from tests.api.world import Caller, World

pytestmark = pytest.mark.stack

SEED = int(os.environ.get("ADRIATIC_TEST_SEED", "20260115"))
ROUNDS = 12
"""Requests for each route, with a good and a bad half; some 400 in all."""

STRANGE_TEXT = [
    *("", " ", "0", "-1", "1e400", "9" * 40, "null", "true", "[]", "{}", "'", '"', "\\", "%", "_", ";--", "../..", "*"),
    *("\x00", "\x7f", "\n", "\ufeff", "\u202e", "é", "\U0001f600", "a" * 3000),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00", "2026-01-01T00:00:00"),
    *("0001-01-01T00:00:00+12:00", "01a20ca0-df08-73f5-b18e-d3c1bb32b431", "NaN", "2026-13-45"),
]  # fmt: skip
RAW_QUERIES = [
    "%ff=%fe",
    "q=%ED%A0%80",
    "&&&===",
    "a" * 5000,
    "limit=1&limit=2",
    "q",
    "q=%00",
    "%00=1",
    "as_of=",
    "cursor=%ff",
]
STRANGE_JSON: list[Any] = [
    *(None, True, 0, -1, 2**31, 2**63, 2**64, 10**400, 1.5, -0.0, [], {}, [[]], {"": {}}),
    *STRANGE_TEXT,
]
STRANGE_HEADERS = ["", "*", '"', '"1"', "W/", '"99999999999999999999"', "\xff", "a" * 2000, "x, y", "\t"]


def operations(world: World) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in world.app.openapi_schema.to_schema()["paths"].items():
        for method, operation in item.items():
            if operation.get("operationId") == "readLive":
                continue  # never ends, and needs a broker; `tests/api/live` has its nonsense
            if method in ("get", "post", "put", "patch", "delete"):
                yield method.upper(), path, operation


def spoiled(rng: random.Random, value: Any) -> Any:
    """`value` with one thing in it replaced, wherever."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.2:
            return {name: item for name, item in value.items() if name != key}
        return value | {key: spoiled(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.5:
        return [spoiled(rng, value[0]), *value[1:]]
    return rng.choice(STRANGE_JSON)


def request(
    rng: random.Random, method: str, path: str, operation: dict[str, Any], ids: dict[str, str]
) -> dict[str, Any]:
    """A request that is good but for some of its parts."""
    values = {name: quote(rng.choice(STRANGE_TEXT), safe="") if rng.random() < 0.3 else ids[name] for name in ids}
    query: list[tuple[str, Any]] = []
    headers: dict[bytes, bytes] = {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query" and rng.random() < 0.5:
            query.append((parameter["name"], rng.choice(STRANGE_TEXT)))
        if parameter["in"] == "header" and rng.random() < 0.7:
            headers[parameter["name"].encode()] = rng.choice(STRANGE_HEADERS).encode("latin-1")
    made: dict[str, Any] = {"method": method, "url": path.format_map(values), "headers": headers, "params": query}
    if rng.random() < 0.15:
        made["url"] += f"?{rng.choice(RAW_QUERIES)}"
        del made["params"]
    if "multipart/form-data" in operation.get("requestBody", {}).get("content", ()):
        name = rng.choice(STRANGE_TEXT) if rng.random() < 0.5 else "file"
        made["files"] = {name: (rng.choice(STRANGE_TEXT), rng.choice(STRANGE_TEXT).encode())}
        if rng.random() < 0.3:
            headers[b"content-type"] = rng.choice([b"multipart/form-data; boundary=x", b"text/plain", b"\xff"])
    elif "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        body = json.dumps(spoiled(rng, content["schema"]["examples"][0])).encode()
        if rng.random() < 0.15:
            at = rng.randrange(len(body))
            body = body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]
        headers[b"content-type"] = b"application/json"
        made["content"] = body
    return made


async def furnished(tenant: Caller) -> dict[str, str]:
    adr = await tenant.create(tags=["x"])
    started = await tenant.post("/v1/imports", {"source": "x"})
    job = await tenant.post("/v1/jobs", {"kind": "reindex"})
    research = await tenant.post("/v1/research", {"question": "What is x?"})
    feed = await tenant.post("/v1/feeds", {"slug": "x"})
    budget = await tenant.put("/v1/budgets", {"level": "org", "period": "day", "limit_micro_usd": 10**9})
    api_key = await tenant.post("/v1/keys", {"name": "x", "scopes": ["read"]})
    override = await tenant.post(
        "/v1/spend/overrides",
        {
            "budget_id": budget.json()["budget_id"],
            "amount_micro_usd": 1,
            "reason": "x",
            "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        },
    )
    crawl = await tenant.post("/v1/crawls", {"start_urls": ["https://docs.example.org/"]})
    scheduled = {"crawl": {"start_urls": ["https://docs.example.org/"]}, "every_s": 3_600}
    schedule = await tenant.post("/v1/crawl-schedules", scheduled)
    document = await tenant.request("POST", "/v1/documents", files={"file": ("x.txt", b"x")})
    answer = await tenant.post("/v1/chat/stream", {"question": "What is x?"})
    start = json.loads(next(SseDecoder().feed(answer.content)).data)
    draft = await tenant.post("/v1/drafts", {"task": "summarise", "adr_id": adr["adr_id"]})
    task = await tenant.post("/v1/agents/tasks", {"goal": "What is x?"})
    return {
        "task_id": task.json()["task_id"],
        "proposal_id": str(uuid4()),
        "draft_id": draft.json()["draft_id"],
        "answer_id": start["answer_id"],
        "response_id": f"resp_{UUID(start['answer_id']).hex}",
        "session_id": start["session_id"],
        "request_id": start["attempt_id"],
        "override_id": override.json()["override_id"],
        "flag_id": str(uuid4()),
        "suggestion_id": str(uuid4()),
        "schedule_id": schedule.json()["schedule_id"],
        "crawl_id": crawl.json()["crawl_id"],
        "page_id": str(uuid4()),
        "adr_id": adr["adr_id"],
        "import_id": started.json()["import_id"],
        "job_id": job.json()["job_id"],
        "research_id": research.json()["research_id"],
        "document_id": document.json()["id"],
        "budget_id": budget.json()["budget_id"],
        "version": "1",
        "tag": "x",
        "feed": "x",
        "key_id": feed.json()["key"]["key_id"],
        "api_key_id": api_key.json()["api_key"]["key_id"],
        "model": "adriatic",
    }


async def test_every_answer_is_documented(world: World, tenant: Caller) -> None:
    rng = random.Random(SEED)
    ids = await furnished(tenant) | {"digest": world.app.state.assets.digest, "name": "page.css"}
    for method, path, operation in list(operations(world)):
        for _ in range(ROUNDS):
            asked = request(rng, method, path, operation, ids)
            asked["headers"][b"authorization"] = f"Bearer {tenant.token}".encode()
            response = await world.http.request(**asked)
            where = f"seed {SEED}: {asked} -> {response.status_code} {response.text[:500]}"
            routed = str(response.status_code) in operation["responses"]
            assert routed or response.status_code in (304, 404, 405), where
            # A value like `../..` leads to another address, where no route has its own words for errors.
            routed = routed and b'"no-such-route"' not in response.content
            if response.status_code >= 400 and "dialects" in operation["tags"] and routed:
                check_envelope(response, where)
            elif response.status_code >= 400 and path == "/mcp" and routed:
                check_fault(response, where)
            elif response.status_code >= 400 and method != "HEAD":
                check_problem(response, where)
    assert (await tenant.get("/v1/adrs")).status_code == 200


def check_problem(response: httpx.Response, where: str) -> None:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json", where
    assert problem["status"] == response.status_code, where
    assert problem["code"] not in ("internal", "dependency-unavailable"), where
    assert problem["detail"], where
    assert problem["hint"], where
    assert len(response.content) < 20_000, where


def check_envelope(response: httpx.Response, where: str) -> None:
    """An error in the words of another protocol."""
    error = response.json()["error"]
    assert response.headers["content-type"].startswith("application/json"), where
    assert response.status_code not in (500, 503), where
    assert error["type"], where
    assert error["message"], where
    assert len(response.content) < 20_000, where


def check_fault(response: httpx.Response, where: str) -> None:
    """An error in the words of JSON-RPC."""
    told = response.json()
    assert response.headers["content-type"] == "application/json", where
    assert response.status_code not in (500, 503), where
    assert told["jsonrpc"] == "2.0", where
    assert told["error"]["code"] < 0, where
    assert told["error"]["message"], where
    assert len(response.content) < 20_000, where
