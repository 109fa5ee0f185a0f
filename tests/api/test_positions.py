"""Every write answers with a position, and every read of a view waits for one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.world import TEXT, Caller, World

pytestmark = pytest.mark.stack

NO_WRITES = ("search", "streamChat")
"""POST routes that only read. What a chat cost is written when it ends, after its answer has begun."""


def writes(world: World) -> set[str]:
    schema = world.app.openapi_schema.to_schema()
    return {
        operation["operationId"]
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if path.startswith("/v1") and method in ("post", "put", "patch", "delete")
    } - set(NO_WRITES)


async def test_every_write_answers_with_a_position(world: World, tenant: Caller) -> None:
    """A route that is new and not tried here fails."""
    adr = await tenant.create(TEXT)
    at = f"/v1/adrs/{adr['adr_id']}"
    job = (await tenant.post("/v1/jobs", {"kind": "reindex"})).json()
    started = (await tenant.post("/v1/imports", {"source": "x"})).json()
    link = {"kind": "relates-to", "target": "https://x.example"}
    change = {"path": "adr/1.md", "change": "added", "commit": "c", "committed_at": "2026-01-15T09:00:00Z"}
    tried: dict[str, tuple[str, str, Any]] = {
        "createLog": ("POST", "/v1/logs", {"slug": "more"}),
        "createJob": ("POST", "/v1/jobs", {"kind": "reindex"}),
        "cancelJob": ("POST", f"/v1/jobs/{job['job_id']}/cancel", None),
        "createAdr": ("POST", "/v1/adrs", {"body": TEXT}),
        "updateAdr": ("PATCH", at, {"expected_version": 1, "body": TEXT + "more\n"}),
        "rollbackAdr": ("POST", f"{at}/rollback", {"expected_version": 2, "to_version": 1}),
        "addTag": ("PUT", f"{at}/tags/x", None),
        "removeTag": ("DELETE", f"{at}/tags/x", None),
        "replaceTags": ("PUT", f"{at}/tags", {"tags": ["y"]}),
        "addLink": ("PUT", f"{at}/links", link),
        "removeLink": ("DELETE", f"{at}/links", None),
        "deleteAdr": ("DELETE", at, None),
        "restoreAdr": ("POST", f"{at}/restore", {"expected_version": 4}),
        "startImport": ("POST", "/v1/imports", {"source": "x"}),
        "importChanges": ("POST", f"/v1/imports/{started['import_id']}/changes", {"changes": [change]}),
        "finishImport": ("POST", f"/v1/imports/{started['import_id']}/finish", None),
    }
    print(writes(world))
    assert writes(world) == set(tried)
    for name, (method, path, body) in tried.items():
        more: dict[str, Any] = {"json": body} if body is not None else {}
        if name in ("deleteAdr",):
            more["headers"] = {"if-match": "*"}
        if name == "removeLink":
            more["params"] = link
        response = await tenant.request(method, path, **more)
        assert response.status_code < 300, f"{name}: {response.text}"
        assert response.headers.get("adriatic-position", "").count("/") == 1, name
