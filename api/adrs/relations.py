"""`/v1/adrs/{adr_id}/tags`, `/links` and `/related`: what stands beside an ADR. No version is made.

Owns the HTTP of it. Each write locks the head for its transaction, so that bounds hold and deleted ADRs stay so.
"""

from __future__ import annotations

from typing import Annotated

from litestar import Controller, Response
from litestar.params import PathParameter, QueryParameter

from api import watermarks
from api.adrs import examples, links, queries, related, service, tags
from api.adrs.mentions import TARGET_CHARS_MAX, LinkKind
from api.adrs.schemas import TAG_CHARS_MAX, Link, Links, NewLink, NewTags
from api.auth.users import Principal
from api.db import Connection, tenant_transaction
from api.routes import AdrId, By, Db, body, delete, get, put
from schemas import text

TagInPath = Annotated[
    str,
    PathParameter(pattern=text.TAG, min_length=1, max_length=TAG_CHARS_MAX, description="The tag, percent-encoded."),
]


async def _lock(connection: Connection, principal: Principal, adr_id: AdrId) -> service.AdrHead:
    head = await service.lock(connection, principal.tenant_id, adr_id, service.ANY_VERSION)
    service.require_alive(head)
    return head


class RelationController(Controller):
    """Tags, links and nearest others of one ADR."""

    path = "/v1/adrs/{adr_id:uuid}"
    tags = ("tags and links",)

    @get("/tags", "Tags of an ADR", ["database", "ledger"], "The tags, sorted.", errors=(404,))
    async def list_tags(self, database: Db, principal: By, adr_id: AdrId) -> list[str]:
        """The tags of an ADR."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            await queries.require_adr(connection, principal.tenant_id, adr_id)
            return await tags.read(connection, principal.tenant_id, adr_id)

    @put(
        "/tags",
        "Replace the tags of an ADR",
        ["database", "ledger"],
        "The tags as they are now.",
        errors=(404, 410, 413, 415),
    )
    async def replace_tags(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        data: Annotated[NewTags, body("Two tags", {"tags": ["database", "ledger"]})],
    ) -> list[str]:
        """The ADR has exactly these tags afterwards."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await _lock(connection, principal, adr_id)
            return await tags.replace(connection, principal.tenant_id, adr_id, data.tags)

    @put(
        "/tags/{tag:str}",
        "Add a tag to an ADR",
        ["database", "ledger"],
        "The tags as they are now.",
        errors=(404, 409, 410),
    )
    async def add_tag(self, database: Db, principal: By, adr_id: AdrId, tag: TagInPath) -> list[str]:
        """Adding a tag that is there is fine."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await _lock(connection, principal, adr_id)
            return await tags.add(connection, principal.tenant_id, adr_id, tag)

    @delete("/tags/{tag:str}", "Remove a tag from an ADR", ["database"], "The tags as they are now.", errors=(404, 410))
    async def remove_tag(self, database: Db, principal: By, adr_id: AdrId, tag: TagInPath) -> list[str]:
        """Removing a tag that is not there is fine."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await _lock(connection, principal, adr_id)
            return await tags.remove(connection, principal.tenant_id, adr_id, tag)

    @get("/links", "Links of an ADR, both directions", examples.LINKS, "The links.", errors=(404,))
    async def list_links(self, database: Db, principal: By, adr_id: AdrId) -> Links:
        """Where it leads, and who leads here. `origin` says whether the text has the link or a person set it."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            await queries.require_adr(connection, principal.tenant_id, adr_id)
            return await links.read(connection, principal.tenant_id, adr_id)

    @put("/links", "Set a link", examples.LINK, "The link.", errors=(404, 409, 410, 413, 415))
    async def put_link(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        data: Annotated[NewLink, body("A link", {"kind": "supersedes", "target": "ADR-7"})],
    ) -> Link:
        """Setting a link that is there is fine. It is resolved to an ADR where its target means one."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            head = await _lock(connection, principal, adr_id)
            return await links.put(connection, principal.tenant_id, adr_id, head.log_id, data)

    @delete(
        "/links",
        "Remove a link",
        examples.LINKS | {"outgoing": []},
        "The links as they are now.",
        errors=(404, 409, 410),
    )
    async def remove_link(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        kind: Annotated[LinkKind, QueryParameter(description="Its kind.")],
        target: Annotated[
            str, QueryParameter(min_length=1, max_length=TARGET_CHARS_MAX, description="Its target, as written.")
        ],
    ) -> Links:
        """Links that the text has are removed by changing the text."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await _lock(connection, principal, adr_id)
            await links.remove(connection, principal.tenant_id, adr_id, kind, target)
            return await links.read(connection, principal.tenant_id, adr_id)

    @get("/related", "The nearest other ADRs, and why", examples.RELATED, "Nearest first.", errors=(404,))
    async def list_related(
        self, database: Db, principal: By, adr_id: AdrId, position: watermarks.Position = None
    ) -> Response[related.RelatedAdrs]:
        """List at most ten: what links lead to or come from first, then by shared words and by meaning. Superseded ADRs
        are among them, with their status; deleted ones are not."""
        await watermarks.wait_until_related(database, principal.tenant_id, position)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            await queries.require_adr(connection, principal.tenant_id, adr_id)
            found = await related.read(connection, principal.tenant_id, adr_id)
        return Response(found, headers=found.as_of.headers())
