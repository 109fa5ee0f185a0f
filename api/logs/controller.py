"""`/v1/logs`: list them, make one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller
from msgspec import Meta

from api import paging
from api.db import tenant_transaction
from api.logs import service
from api.routes import By, Db, body, get, post
from schemas import text

_LOG = {
    "log_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "slug": "payments",
    "name": "Payments",
    "next_number": 13,
    "adrs": 12,
    "created_at": "2026-01-15T09:00:00Z",
}


class NewLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    slug: Annotated[str, Meta(pattern=text.SLUG, description="Its name in addresses and filters.")]
    name: Annotated[
        str, Meta(pattern=text.LINE, max_length=service.NAME_CHARS_MAX, description="Its name for people.")
    ] = ""


class LogController(Controller):
    """A log is where numbers like ADR-12 come from."""

    path = "/v1/logs"
    tags = ("logs",)

    @get("/", "List logs", {"items": [_LOG], "next_cursor": None}, "Logs, by slug.")
    async def list_logs(
        self, database: Db, principal: By, limit: paging.Limit = paging.LIMIT_DEFAULT, cursor: paging.Cursor = None
    ) -> service.LogPage:
        """The logs of the tenant, by slug, with how many ADRs each has."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.page(connection, principal.tenant_id, limit, cursor)

    @post("/", "Make a log", _LOG, "The new log.", status=201, errors=(409, 413, 415))
    async def create_log(
        self,
        database: Db,
        principal: By,
        data: Annotated[NewLog, body("New log", {"slug": "payments", "name": "Payments"})],
    ) -> service.Log:
        """Numbers begin at 1. 409 when the tenant has a log with this slug."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await service.create(connection, principal.tenant_id, data.slug, data.name)
