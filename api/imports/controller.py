"""`/v1/imports`: start one, send changes, finish it, read its report. `/v1/freshness`: how soon a write is findable."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import FromPath, Parameter

from api.auth.roles import NEEDS_INGEST
from api.imports import freshness, service
from api.imports.schemas import BatchResult, Events, FinishedImport, Import, ImportEvent, StartImport
from api.requests import require_zone
from api.routes import By, Db, body, get, post
from runtime.settings import Settings

_REMARK = {"path": "docs/adr/0007-a.md", "ref": "9f2c1e…", "code": "number-taken", "detail": "7 is the number of 'B'"}
_IMPORT = {
    "import_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "log": "main",
    "source": "docs/adr",
    "state": "running",
    "events": 120,
    "applied": 118,
    "skipped": 0,
    "versions": 118,
    "refused": {"too-large": {"count": 2, "examples": [{**_REMARK, "code": "too-large", "detail": "52428800 bytes"}]}},
    "odd": {"number-taken": {"count": 1, "examples": [_REMARK]}},
    "started_at": "2026-01-15T09:00:00Z",
    "finished_at": None,
}
_FINISHED = {
    "report": {**_IMPORT, "state": "finished", "finished_at": "2026-01-15T09:00:03Z"},
    "totals": {"live": 40, "deleted": 2, "versions": 118, "numbered": 38, "links": 61, "links_resolved": 57},
}
_BATCH = {"received": 2, "applied": 1, "skipped": 1, "versions": 1, "refused": [], "odd": [_REMARK]}
_EVENT = {
    "ref": "9f2c1e7a",
    "committed_at": "2025-03-04T10:00:00Z",
    "change": "A",
    "path": "docs/adr/0007-a.md",
    "author": "Ada",
    "subject": "Decide on A",
    "content": "# 7. A\n\n## Status\n\nAccepted\n",
}
_ARM = {
    "counted": 40,
    "waiting": 0,
    "p50_s": 0.8,
    "p95_s": 1.4,
    "p99_s": 1.6,
    "max_s": 1.7,
    "last_at": "2026-01-15T09:00:04Z",
}
_FRESHNESS = {
    "since": "2026-01-15T09:00:00Z",
    "words": _ARM,
    "meaning": {**_ARM, "p50_s": 2.1, "p95_s": 4.0, "p99_s": 4.4, "max_s": 4.5},
    "embeddings": {"edits": 78, "edit_chunks": 512, "edit_chunks_known": 431, "avoided": 0.8418, "embedded": 312},
    "as_of": {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:04Z", "age_s": 0.9},
}


class ImportController(Controller):
    """Histories come in here. Send changes in order; sending them again is safe, and skips what is here already."""

    path = "/v1/imports"
    tags = ("imports",)
    opt = NEEDS_INGEST

    @post("/", "Start an import", _IMPORT | {"events": 0}, "The import.", status=201, errors=(413, 415))
    async def start_import(
        self,
        database: Db,
        principal: By,
        data: Annotated[StartImport, body("A folder", {"source": "docs/adr", "log": "main"})],
    ) -> Import:
        """Makes the log when it is missing. An import that was interrupted is resumed by sending everything again."""
        return await service.start(database, principal, data)

    @post(
        "/{import_id:uuid}/events",
        "Send changes",
        _BATCH,
        "What became of each.",
        errors=(404, 409, 413, 415),
        operation_id="sendImportEvents",
        opt={"items": ImportEvent},
    )
    async def events(
        self,
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        import_id: FromPath[UUID],
        data: Annotated[Events, body("One change", {"events": [_EVENT]})],
    ) -> BatchResult:
        """One transaction. A change that is refused is reported and leaves the others alone."""
        return await service.receive(
            database, principal, import_id, data.events, adr_bytes_max=settings.api.adr_bytes_max
        )

    @post("/{import_id:uuid}/finish", "Finish an import", _FINISHED, "The report.", errors=(404, 409))
    async def finish_import(self, database: Db, principal: By, import_id: FromPath[UUID]) -> FinishedImport:
        """Gives out numbers that became free, resolves links between ADRs, and reports. Safe to repeat."""
        return await service.finish(database, principal, import_id)

    @get("/{import_id:uuid}", "Read an import", _IMPORT, "The import so far.", errors=(404,))
    async def get_import(self, database: Db, principal: By, import_id: FromPath[UUID]) -> Import:
        """What came in, what was refused, what was odd."""
        return await service.read(database, principal, import_id)


class FreshnessController(Controller):
    """How soon what was written could be found."""

    path = "/v1/freshness"
    tags = ("search",)

    @get("/", "From written to findable", _FRESHNESS, "Percentiles by words and by meaning.")
    async def get_freshness(
        self,
        database: Db,
        principal: By,
        since: Annotated[
            datetime | None, Parameter(description="Count what was written at or after this time.")
        ] = None,
    ) -> Response[freshness.Freshness]:
        """Counts the newest version of each ADR; what cannot be found yet is `waiting`, and has no time."""
        require_zone("since", since)
        report = await freshness.read(database, principal.tenant_id, since)
        return Response(report, headers=report.as_of.headers())
