"""Every write answers with a position."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.postgres.lsn import parse
from tests.api.world import TEXT, Caller, World

pytestmark = pytest.mark.stack


async def test_every_write_answers_with_a_position(world: World, tenant: Caller) -> None:
    """It is noted where a transaction ends, so no route has to think of it."""
    adr = await tenant.create(TEXT)
    at = f"/v1/adrs/{adr['adr_id']}"
    job = (await tenant.post("/v1/jobs", {"kind": "reindex"})).json()
    started = (await tenant.post("/v1/imports", {"source": "x"})).json()
    link = {"kind": "relates-to", "target": "https://x.example"}
    event = {"ref": "c", "committed_at": "2026-01-15T09:00:00Z", "change": "A", "path": "1.md", "content": TEXT}
    tried: dict[str, tuple[str, str, Any]] = {
        "createLog": ("POST", "/v1/logs", {"slug": "more"}),
        "createJob": ("POST", "/v1/jobs", {"kind": "reindex"}),
        "cancelJob": ("POST", f"/v1/jobs/{job['job_id']}/cancel", None),
        "createAdr": ("POST", "/v1/adrs", {"body": TEXT}),
        "updateAdr": ("PATCH", at, {"body": TEXT + "more\n"}),
        "rollbackAdr": ("POST", f"{at}/rollback", {"to_version": 1}),
        "addTag": ("PUT", f"{at}/tags/x", None),
        "removeTag": ("DELETE", f"{at}/tags/x", None),
        "replaceTags": ("PUT", f"{at}/tags", {"tags": ["y"]}),
        "putLink": ("PUT", f"{at}/links", link),
        "removeLink": ("DELETE", f"{at}/links", None),
        "deleteAdr": ("DELETE", at, None),
        "restoreAdr": ("POST", f"{at}/restore", {}),
        "startImport": ("POST", "/v1/imports", {"source": "x"}),
        "sendImportEvents": ("POST", f"/v1/imports/{started['import_id']}/events", {"events": [event]}),
        "finishImport": ("POST", f"/v1/imports/{started['import_id']}/finish", None),
    }
    last = 0
    for name, (method, path, body) in tried.items():
        more: dict[str, Any] = {"json": body} if body is not None else {}
        if name == "removeLink":
            more["params"] = link
        response = await tenant.request(method, path, headers={"if-match": "*"}, **more)
        assert response.status_code < 300, f"{name}: {response.text}"
        position = parse(response.headers["adriatic-position"])
        assert position > last, name
        last = position
    refused = await tenant.post("/v1/logs", {"slug": "more"})
    assert refused.status_code == 409
    assert "adriatic-position" not in refused.headers
    assert "adriatic-position" not in (await tenant.get("/v1/adrs")).headers
