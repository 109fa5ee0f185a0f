"""`/v1/jobs`: record one, list them, read one, cancel one.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response
from litestar.params import PathParameter, QueryParameter

from api import paging
from api.auth import roles
from api.db import tenant_transaction
from api.edge import traceparent
from api.jobs import service
from api.jobs.service import Job, JobPage, NewJob, State
from api.routes import By, Db, body, get, key_header, locate, post
from schemas.jobs import PARSE_DOCUMENT

_JOB = {
    "job_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "kind": "reindex",
    "params": {},
    "state": "running",
    "phase": "asking for vectors",
    "done": 150,
    "total": 1200,
    "unit": "sources",
    "result": {},
    "attempts": 0,
    "cancel_requested": False,
    "last_error": None,
    "created_at": "2026-01-15T09:00:00Z",
    "started_at": "2026-01-15T09:00:01Z",
    "heartbeat_at": "2026-01-15T09:00:04Z",
    "finished_at": None,
}

JobId = Annotated[UUID, PathParameter(description="The job's id.")]


class JobController(Controller):
    """A job is work that outlives the request: a row that a worker takes up, step by step."""

    path = "/v1/jobs"
    tags = ("jobs",)

    @post(
        "/",
        "Record a job",
        _JOB | {"state": "queued", "phase": "", "done": 0, "total": None, "started_at": None, "heartbeat_at": None},
        "The job, waiting for a worker.",
        status=201,
        errors=(409, 413, 415),
    )
    async def create_job(
        self,
        database: Db,
        principal: By,
        data: Annotated[NewJob, body("New job", {"kind": "reindex", "params": {}})],
        idempotency_key: Annotated[
            str | None, key_header("Repeating a request with the same key answers with the job that it made.")
        ] = None,
    ) -> Response[Job]:
        """`reindex` asks again for the vectors that the tenant's ADRs lack; it changes nothing where none is
        missing. `reread` reads the texts of its ADRs again, with the reader and the words of today, and says what
        changed; it makes no versions. Whoever writes may ask for `parse_document`, which is about one document; the
        others are about the whole tenant, and for admins."""
        service.require_valid(data)
        if data.kind != PARSE_DOCUMENT:
            roles.require(principal.scopes, "admin")
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            job_id, replayed = await service.create(connection, principal, data, idempotency_key, trace)
            job = await service.read(connection, principal.tenant_id, job_id)
        headers = locate(f"/v1/jobs/{job.job_id}", replayed=replayed)
        return Response(job, headers=headers, status_code=201)

    @get("/", "List jobs", {"items": [_JOB], "next_cursor": None}, "Jobs, newest first.")
    async def list_jobs(
        self,
        database: Db,
        principal: By,
        in_state: Annotated[State | None, QueryParameter(name="state", description="Only those in this state.")] = None,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> JobPage:
        """The tenant's jobs. Take `next_cursor` of a page to get the next one."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal.tenant_id, in_state, limit, cursor)

    @get("/{job_id:uuid}", "Read a job", _JOB, "The job as it is now.", errors=(404,))
    async def get_job(self, database: Db, principal: By, job_id: JobId) -> Job:
        """How far it is, and why it failed when it did. The steps to it are on the topic `job.progress`."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id, job_id)

    @post(
        "/{job_id:uuid}/cancel",
        "Cancel a job",
        _JOB | {"cancel_requested": True},
        "The job.",
        errors=(404,),
        opt=roles.NEEDS_ADMIN,
    )
    async def cancel_job(self, database: Db, principal: By, job_id: JobId) -> Job:
        """It ends after the step that it is in; what is done stays done. One that is over stays as it ended."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.cancel(connection, principal.tenant_id, job_id)
