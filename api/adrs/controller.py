"""`/v1/adrs`: create, list, read, update, roll back, delete, restore.

Owns the HTTP of it: parameters, headers, documentation. Refuses SQL and rules: `service` and `queries` have them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, QueryParameter

from api import paging
from api.adrs import examples, preconditions, queries, schemas, service
from api.adrs.document import ParsedAdr, Status, parse
from api.auth.users import Principal
from api.db import Connection, Database, tenant_transaction
from api.edge import traceparent
from api.requests import require_zone
from api.routes import AdrId, By, Db, IfNoneMatch, body, delete, get, key_header, locate, patch, post
from api.words import service as words
from runtime import metrics
from runtime.settings import Settings

PARSE_HERE_CHARS_MAX = 65_536
"""A text up to this long is parsed in a few milliseconds; longer ones on a thread, so that other requests go on."""

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="ETag of the answer that the change was made from, or * for any. Only a request that says "
        "`expected_version` may leave it out; one that says neither is answered 428.",
    ),
]
WRITES = (404, 409, 410, 413, 415, 428)


class AdrController(Controller):
    """ADRs. Every write of one is a version; reads see it at once, search follows within seconds."""

    path = "/v1/adrs"
    tags = ("adrs",)

    @post(
        "/",
        "Create an ADR",
        examples.ADR | {"version": 1, "change": "create"},
        "The ADR.",
        status=201,
        errors=(404, 409, 413, 415),
    )
    async def create_adr(
        self,
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        data: Annotated[schemas.NewAdr, body("New ADR", examples.NEW_ADR)],
        idempotency_key: Annotated[
            str | None,
            key_header("Repeating a create with the same key within 24 hours answers with the ADR that it made."),
        ] = None,
    ) -> Response[schemas.Adr]:
        """It gets the next number of its log. The log `main` is made when it is missing, others are made first.

        The answer's header `Adriatic-Position` is at or after the commit: a search whose `as_of.lsn` has reached it
        shows the ADR, and a search that is sent the header waits for that.
        """
        service.require_fitting(data.body, settings.api.adr_bytes_max)
        document = await _parse(database, principal, data.body)
        content = service.content_of(data.body, document, title=data.title, status=data.status)
        tenant_id, known = principal.tenant_id, None
        async with tenant_transaction(database, tenant_id) as connection:
            if idempotency_key is not None:
                known = await service.find_created(connection, tenant_id, idempotency_key, data)
            adr_id = known or await service.create(connection, tenant_id, content, document, data, actor(principal))
            if idempotency_key is not None and known is None:
                await service.remember(connection, tenant_id, idempotency_key, data, adr_id)
            answer = await _read(connection, tenant_id, adr_id, status_code=201)
        if known is None:
            metrics.ADRS_CREATED.inc()
        answer.headers |= locate(f"/v1/adrs/{adr_id}", replayed=known is not None)
        return answer

    @get(
        "/",
        "List ADRs",
        {"items": [examples.SUMMARY], "next_cursor": None},
        "A page of ADRs, without their texts.",
    )
    async def list_adrs(
        self,
        database: Db,
        principal: By,
        status: Annotated[list[Status] | None, QueryParameter(description="One of these; repeat it.")] = None,
        tag: Annotated[list[str] | None, QueryParameter(max_items=10, description="All of these; repeat it.")] = None,
        log: Annotated[str | None, QueryParameter(max_length=63, description="Slug of the log.")] = None,
        author: Annotated[
            str | None,
            QueryParameter(max_length=200, description="Who wrote one of its versions, as the history says."),
        ] = None,
        updated_since: Annotated[
            datetime | None, QueryParameter(description="Updated then or later (RFC 3339).")
        ] = None,
        q: Annotated[
            str | None,
            QueryParameter(max_length=200, description="Part of the title. For more than titles use /v1/search."),
        ] = None,
        deleted: Annotated[queries.Which, QueryParameter(description="Which ones: live, deleted, or all.")] = "live",
        sort: Annotated[
            queries.Order,
            QueryParameter(
                description="Newest first, by last update or by creation; only `created` is stable under edits."
            ),
        ] = "updated",
        limit: paging.Limit = paging.LIMIT_DEFAULT,
        cursor: paging.Cursor = None,
    ) -> schemas.AdrPage:
        """All filters together narrow the list. Take `next_cursor` of a page to get the next one."""
        require_zone("updated_since", updated_since)
        filters = queries.Filters(tuple(status or ()), tuple(tag or ()), log, author, updated_since, q, deleted)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await queries.page(connection, principal.tenant_id, filters, sort, limit, cursor)

    @get("/{adr_id:uuid}", "Read an ADR", examples.ADR, "The ADR.", answer=schemas.Adr, errors=(404, 410))
    async def get_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        as_of: Annotated[
            datetime | None,
            QueryParameter(description="The version that was effective then (RFC 3339); now, when it is left out."),
        ] = None,
        include_deleted: Annotated[bool, QueryParameter(description="Show it although it was deleted.")] = False,
        if_none_match: IfNoneMatch = None,
    ) -> Response[schemas.Adr | None]:
        """Read an ADR as it is now, or as it was at a time. The ETag is what a later change is made from; 304 when you
        have it."""
        require_zone("as_of", as_of)
        tenant_id = principal.tenant_id
        async with tenant_transaction(database, tenant_id, read_only=True) as connection:
            if as_of is None:
                adr = await queries.read(connection, tenant_id, adr_id, include_deleted=include_deleted)
            else:
                adr = await queries.read_at(connection, tenant_id, adr_id, as_of, include_deleted=include_deleted)
        tag = preconditions.etag(adr)
        if preconditions.matches(if_none_match, tag):
            return Response(None, status_code=304, headers={"etag": tag})
        return Response(adr, headers={"etag": tag})

    @patch("/{adr_id:uuid}", "Update an ADR", examples.ADR, "The ADR with its new version.", errors=WRITES)
    async def update_adr(
        self,
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        adr_id: AdrId,
        data: Annotated[schemas.AdrChange, body("New text", examples.CHANGE)],
        if_match: IfMatch = None,
    ) -> Response[schemas.Adr]:
        """Makes a version, unless nothing differs. 409 with `current_version` when somebody else was faster."""
        expected = preconditions.read_expected(if_match, data.expected_version)
        document = None
        if data.body is not None:
            service.require_fitting(data.body, settings.api.adr_bytes_max)
            document = await _parse(database, principal, data.body)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            head = await service.lock(connection, principal.tenant_id, adr_id, expected)
            if data.body is not None and document is not None:
                content = service.content_of(data.body, document, title=data.title, status=data.status, before=head)
            else:
                before = await service.content_at(connection, principal.tenant_id, adr_id, head.version)
                content = service.give_title(before, data.title, data.status)
            by = actor(principal)
            await service.update(connection, principal.tenant_id, head, content, document, data.message, by)
            return await _read(connection, principal.tenant_id, adr_id)

    @post(
        "/{adr_id:uuid}/rollback",
        "Roll an ADR back",
        examples.ADR | {"version": 4, "change": "rollback"},
        "The ADR with its new version.",
        errors=WRITES,
    )
    async def rollback_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        data: Annotated[schemas.Rollback, body("To the first version", examples.ROLLBACK)],
        if_match: IfMatch = None,
    ) -> Response[schemas.Adr]:
        """Makes a new version that says what an older one said. The versions in between stay in the history."""
        expected = preconditions.read_expected(if_match, data.expected_version)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            # Versions never change, so this one can be read and parsed before the head is locked.
            await queries.require_adr(connection, principal.tenant_id, adr_id)
            content = await service.content_at(connection, principal.tenant_id, adr_id, data.to_version)
        document = await _parse(database, principal, content.body)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            head = await service.lock(connection, principal.tenant_id, adr_id, expected)
            by = actor(principal)
            await service.rollback(connection, principal.tenant_id, head, content, document, data.message, by)
            return await _read(connection, principal.tenant_id, adr_id)

    @delete(
        "/{adr_id:uuid}",
        "Delete an ADR",
        examples.ADR | {"version": 4, "change": "delete", "deleted_at": "2026-02-02T08:00:00Z"},
        "The ADR as it was deleted.",
        errors=(404, 409, 410, 428),
    )
    async def delete_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        expected_version: Annotated[
            int | None,
            QueryParameter(ge=1, le=schemas.VERSION_MAX, description="The version this change was made from."),
        ] = None,
        message: Annotated[
            str, QueryParameter(max_length=schemas.MESSAGE_CHARS_MAX, description="Why it is deleted.")
        ] = "",
        if_match: IfMatch = None,
    ) -> Response[schemas.Adr]:
        """Soft: a version that says so. It leaves lists and search, its number stays taken, its history readable."""
        expected = preconditions.read_expected(if_match, expected_version)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            head = await service.lock(connection, principal.tenant_id, adr_id, expected)
            await service.delete(connection, principal.tenant_id, head, message, actor(principal))
            return await _read(connection, principal.tenant_id, adr_id)

    @post(
        "/{adr_id:uuid}/restore",
        "Restore a deleted ADR",
        examples.ADR | {"version": 5, "change": "restore"},
        "The ADR as it is again.",
        errors=(404, 409, 413, 415, 428),
    )
    async def restore_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        data: Annotated[schemas.Restore, body("Undo a delete", examples.RESTORE)],
        if_match: IfMatch = None,
    ) -> Response[schemas.Adr]:
        """Makes a version that says what the deleted one said."""
        expected = preconditions.read_expected(if_match, data.expected_version)
        async with tenant_transaction(database, principal.tenant_id) as connection:
            head = await service.lock(connection, principal.tenant_id, adr_id, expected)
            await service.restore(connection, principal.tenant_id, head, data.message, actor(principal))
            return await _read(connection, principal.tenant_id, adr_id)


def actor(principal: Principal) -> service.Actor:
    """The caller, as the history names them."""
    return service.Actor(principal.shown, principal.user_id, traceparent())


async def _read(connection: Connection, tenant_id: UUID, adr_id: UUID, status_code: int = 200) -> Response[Any]:
    """The ADR as the transaction leaves it."""
    adr = await queries.read(connection, tenant_id, adr_id, include_deleted=True)
    return Response(adr, status_code=status_code, headers={"etag": preconditions.etag(adr)})


async def _parse(database: Database, principal: Principal, body: str) -> ParsedAdr:
    """What a text says, with the words of its tenant."""
    own = await words.load(database, principal.tenant_id)
    if len(body) <= PARSE_HERE_CHARS_MAX:
        return parse(body, words=own)
    return await asyncio.to_thread(parse, body, words=own)
