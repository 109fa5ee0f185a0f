"""`/v1/spaces`: list, build, evaluate, activate, drop.

Owns the HTTP of it. Refuses SQL and rules: `service` has them.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from msgspec import Meta

from api.auth.roles import NEEDS_ADMIN, NEEDS_READ
from api.auth.users import Principal
from api.db import Database, tenant_transaction
from api.edge import traceparent
from api.jobs import service as jobs
from api.jobs.service import Job
from api.routes import By, Db, body, get, post, put
from api.spaces import service
from api.spaces.service import SpaceList
from connectors.embedders.spaces import name_spaces
from runtime.settings import Settings
from schemas.text import BODY

NAME_CHARS_MAX = 300
"""Longest name of a space: provider, model, revision and dimension."""
_SPACE = "openai:embeddings.example/bge-small@unversioned/384"
_OLD = "minilm/all-MiniLM-L6-v2-int8@bb8c5045854c/384"
_JOB = {
    "job_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "kind": "build_space",
    "params": {"space": _SPACE},
    "state": "queued",
    "phase": "",
    "done": 0,
    "total": None,
    "unit": "",
    "result": {},
    "attempts": 0,
    "cancel_requested": False,
    "last_error": None,
    "created_at": "2026-01-15T09:00:00Z",
    "started_at": None,
    "heartbeat_at": None,
    "finished_at": None,
}
_QUALITY = {"ndcg": 0.91, "low": 0.88, "high": 0.94}
_SPACES = {
    "items": [
        {
            "space": _OLD,
            "names": ["adriatic", "all-MiniLM-L6-v2-int8"],
            "state": "active",
            "related": True,
            "job": None,
            "changed_at": "2026-01-15T09:00:00Z",
        },
        {
            "space": _SPACE,
            "names": ["bge"],
            "state": "ready",
            "related": False,
            "job": None,
            "changed_at": "2026-01-15T09:10:00Z",
        },
    ],
    "evaluations": [
        {
            "space": _SPACE,
            "against": _OLD,
            "questions": 180,
            "quality": _QUALITY,
            "quality_against": _QUALITY | {"ndcg": 0.9},
            "difference": {"ndcg": 0.01, "low": -0.01, "high": 0.03},
            "verdict": "no difference",
            "evaluated_at": "2026-01-15T09:12:00Z",
        }
    ],
    "indexing": {},
}
Conf = NamedDependency[Settings]


class NamedSpace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=NAME_CHARS_MAX,
            pattern=BODY,
            description="A name of `embedder.models`, `adriatic`, or that of the space itself.",
        ),
    ]


class ActiveSpace(NamedSpace, frozen=True, forbid_unknown_fields=True):
    force: Annotated[
        bool, Meta(description="Take it without an evaluation, though it finds less, and before its indexes are built.")
    ] = False


class SpaceController(Controller):
    """Embedding spaces: another model is built beside the one that searches read, measured, and taken instead of it."""

    path = "/v1/spaces"
    tags = ("search",)

    @get("/", "List embedding spaces", _SPACES, "The spaces of the tenant and of the settings.", opt=NEEDS_READ)
    async def list_spaces(self, database: Db, settings: Conf, principal: By) -> SpaceList:
        """How each is, how far the job is that builds it, and what was measured of it."""
        return await _list(database, settings, principal)

    @post("/", "Build an embedding space", _JOB, "The job.", status=201, errors=(404, 409, 413, 415), opt=NEEDS_ADMIN)
    async def build_space(
        self,
        database: Db,
        settings: Conf,
        principal: By,
        data: Annotated[NamedSpace, body("Space", {"name": "bge"})],
    ) -> Job:
        """All passages of the tenant get vectors in it, in the background; edits do from now on. Searches go on as
        before. Asked again, it is the job that is at it, or one that goes on where it stopped."""
        return await _begin_job(database, settings, principal, data.name, service.build)

    @post(
        "/evaluations",
        "Evaluate an embedding space",
        _JOB | {"kind": "evaluate_space", "params": {"space": _SPACE, "against": _OLD}},
        "The job.",
        status=201,
        errors=(404, 409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def evaluate_space(
        self,
        database: Db,
        settings: Conf,
        principal: By,
        data: Annotated[NamedSpace, body("Space", {"name": "bge"})],
    ) -> Job:
        """A job asks for up to 200 of the tenant's texts by their titles, in it and in the space that is searched. The
        figures are in the list of spaces when it is done."""
        return await _begin_job(database, settings, principal, data.name, service.evaluate)

    @put(
        "/active",
        "Choose the embedding space that is searched",
        _SPACES,
        "The spaces as they are now.",
        errors=(404, 409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def activate_space(
        self,
        database: Db,
        settings: Conf,
        principal: By,
        data: Annotated[ActiveSpace, body("Space", {"name": "bge"})],
    ) -> SpaceList:
        """Every search that begins after the answer reads it; none compares vectors of two. The one before it is kept,
        and can be chosen again at any time, until it is dropped."""
        named = name_spaces(settings.embedder)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await service.activate(connection, principal, named, data.name, force=data.force)
        return await _list(database, settings, principal)

    @post(
        "/drops",
        "Drop an embedding space",
        _JOB | {"kind": "drop_space"},
        "The job.",
        status=201,
        errors=(404, 409, 413, 415),
        opt=NEEDS_ADMIN,
    )
    async def drop_space(
        self,
        database: Db,
        settings: Conf,
        principal: By,
        data: Annotated[NamedSpace, body("Space", {"name": "bge"})],
    ) -> Job:
        """Its vectors and indexes are deleted, in the background. The one that is searched cannot be dropped."""
        return await _begin_job(database, settings, principal, data.name, service.drop)


async def _begin_job(
    database: Database, settings: Settings, principal: Principal, name: str, begin: service.BeginJob
) -> Job:
    trace, named = traceparent(), name_spaces(settings.embedder)
    async with tenant_transaction(database, principal.tenant_id) as connection:
        job_id = await begin(connection, principal, named, name, trace)
        return await jobs.read(connection, principal.tenant_id, job_id)


async def _list(database: Database, settings: Settings, principal: Principal) -> SpaceList:
    async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
        spaces, ranks = await service.read(connection, principal.tenant_id, name_spaces(settings.embedder))
        indexing = await service.read_indexing(connection, principal.tenant_id)
    return SpaceList(spaces, await asyncio.to_thread(service.evaluate_ranks, ranks), indexing)
