"""`/v1/adrs/{adr_id}/versions` and `/diff`: what an ADR said, when, and by whom.

Owns the HTTP of it. Deleted ADRs keep their history, so these routes answer for them too.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from litestar import Controller, Response
from litestar.params import PathParameter, QueryParameter

from api import paging
from api.adrs import examples, queries
from api.adrs.diff import difference
from api.adrs.schemas import VERSION_MAX, Diff, FieldChange, Version, VersionPage
from api.db import tenant_transaction
from api.routes import AdrId, By, Db, get

Number = Annotated[int, PathParameter(ge=1, le=VERSION_MAX, description="Number of the version, from 1.")]
_FIELDS: tuple[Literal["title", "status"], ...] = ("title", "status")


class HistoryController(Controller):
    """The append-only history of one ADR."""

    path = "/v1/adrs/{adr_id:uuid}"
    tags = ("history",)

    @get(
        "/versions",
        "History of an ADR",
        {"items": [examples.VERSION_SUMMARY], "next_cursor": None},
        "A page of versions, newest first, without their texts.",
        errors=(404,),
    )
    async def list_versions(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> VersionPage:
        """Who changed what when. `effective_at` is when it was decided: for an import, the commit's time."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await queries.history(connection, principal.tenant_id, adr_id, limit, cursor)

    @get(
        "/versions/{version:int}",
        "One version of an ADR",
        examples.VERSION,
        "The version, with its text.",
        errors=(404,),
    )
    async def get_version(self, database: Db, principal: By, adr_id: AdrId, version: Number) -> Version:
        """Versions never change: the answer may be kept for ever."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await queries.version(connection, principal.tenant_id, adr_id, version)

    @get(
        "/versions/{version:int}/text",
        "The text of a version, byte for byte",
        examples.BODY,
        "The bytes as they came in; for some imports they are not UTF-8.",
        answer=str,
        errors=(404,),
        media_type="text/markdown",
        operation_id="getVersionText",
    )
    async def get_text(self, database: Db, principal: By, adr_id: AdrId, version: Number) -> Response[bytes]:
        """What was written or imported, unchanged, front matter and line ends included."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            text = await queries.text(connection, principal.tenant_id, adr_id, version)
        # Browsers must not guess a type for what tenants wrote, nor run it.
        headers = {"content-type": "text/markdown", "x-content-type-options": "nosniff"}
        return Response(text, headers=headers, media_type="text/markdown")

    @get("/diff", "Difference between two versions", examples.DIFF, "What changed.", errors=(404,))
    async def diff_versions(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        from_version: Annotated[
            int | None,
            QueryParameter(
                name="from", ge=1, le=VERSION_MAX, description="The old one; by default the one before `to`."
            ),
        ] = None,
        to_version: Annotated[
            int | None,
            QueryParameter(name="to", ge=1, le=VERSION_MAX, description="The new one; by default the newest."),
        ] = None,
    ) -> Diff:
        """Title, status and text, as a unified diff and as hunks. Texts that differ too much are compared coarsely."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            old, new = await queries.two_versions(connection, principal.tenant_id, adr_id, from_version, to_version)
        text = await asyncio.to_thread(
            difference, old.body, new.body, f"version {old.version}", f"version {new.version}"
        )
        fields = [
            FieldChange(field, getattr(old, field), getattr(new, field))
            for field in _FIELDS
            if getattr(old, field) != getattr(new, field)
        ]
        return Diff(adr_id, old.version, new.version, fields, text.unified, text.hunks, text.coarse, text.truncated)
