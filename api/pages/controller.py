"""`/v1/pages`: read a crawled page, delete one.

Owns the HTTP of it. Refuses SQL: `service` has it.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller
from litestar.params import PathParameter

from api.db import tenant_transaction
from api.edge import traceparent
from api.pages import service
from api.pages.service import SitePage
from api.routes import By, Db, delete, get

_PAGE = {
    "id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "url": "https://docs.example.org/guide/",
    "title": "Guide",
    "media_type": "text/html",
    "version": 2,
    "body": "# Guide\n\nBegin here.\n",
    "gone": 0,
    "crawl_id": "0199f0c2-a1b3-7c3d-8e4f-5a6b7c8d9e0f",
    "fetched_at": "2026-01-16T09:00:12Z",
    "changed_at": "2026-01-15T09:00:12Z",
}

PageId = Annotated[UUID, PathParameter(description="The page's id.")]


class SitePageController(Controller):
    """Pages that crawls keep, searched beside decisions and documents."""

    path = "/v1/pages"
    tags = ("crawls",)

    @get("/{page_id:uuid}", "Read a page", _PAGE, "The page with its text.", errors=(404,))
    async def get_site_page(self, database: Db, principal: By, page_id: PageId) -> SitePage:
        """Its newest text, and where it came from."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await service.read(connection, principal.tenant_id, page_id)

    @delete("/{page_id:uuid}", "Delete a page", _PAGE, "The page as it was.", errors=(404,))
    async def delete_site_page(self, database: Db, principal: By, page_id: PageId) -> SitePage:
        """It is not found any more. A crawl that finds it again keeps it again: exclude its path there."""
        trace = traceparent()
        async with tenant_transaction(database, principal.tenant_id) as connection:
            page = await service.read(connection, principal.tenant_id, page_id)
            await service.delete(connection, principal.tenant_id, page_id, trace)
        return page
