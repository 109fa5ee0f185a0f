"""`/v1/adrs`: create, list, read, update, roll back, delete, restore.

Owns the HTTP of it: parameters, headers, documentation. Refuses SQL and rules: `service` and `queries` have them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, HeaderParameter, PathParameter, QueryParameter

from api import paging
from api.adrs import examples, preconditions, queries, service
from api.adrs.document import ParsedAdr, Status, parse
from api.adrs.schemas import (
    MESSAGE_CHARS_MAX,
    VERSION_MAX,
    Adr,
    AdrChange,
    AdrPage,
    NewAdr,
    Restore,
    Rollback,
)
from api.auth.users import Principal
from api.db import Connection, Database, tenant_transaction
from api.edge import traceparent
from api.logs import service as logs
from api.openapi import answers
from api.requests import require_zone
from runtime import metrics
from runtime.settings import Settings

PARSE_HERE_CHARS_MAX = 65_536
"""A text up to this long is parsed in a few milliseconds; longer ones on a thread, so that other requests go on."""

IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="ETag of the answer that the change was made from, or * for any."),
]
IfNoneMatch = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="ETag of the answer that you have already.")
]
IncludeDeleted = Annotated[bool, QueryParameter(description="Show it although it was deleted.")]

Db = NamedDependency[Database]
By = NamedDependency[Principal]
AdrId = Annotated[UUID, PathParameter(description="The ADR's id.")]
WRITES = (404, 409, 410, 413, 415, 428)


class AdrController(Controller):
    """ADRs. Every write of one is a version; reads see it at once, search follows within seconds."""

    path = "/v1/adrs"
    tags = ("adrs",)

    @post(
        operation_id="createAdr",
        summary="Create an ADR",
        responses=answers(
            Adr,
            examples.ADR | {"version": 1, "change": "create"},
            status=201,
            description="The ADR.",
            errors=(404, 409, 413, 415),
        ),
    )
    async def create_adr(
        self,
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        data: Annotated[NewAdr, Body(examples=[Example("New ADR", value=examples.NEW_ADR)])],
        idempotency_key: Annotated[
            str | None,
            HeaderParameter(
                name="Idempotency-Key",
                max_length=service.KEY_CHARS_MAX,
                description="Repeating a create with the same key within 24 hours answers with the ADR that it made.",
            ),
        ] = None,
    ) -> Response[Adr]:
        """It gets the next number of its log. The log `main` is made when it is missing, others are made first.

        The answer's header `Adriatic-Position` is at or after the commit: a search whose `as_of.lsn` has reached it
        shows the ADR, and a search that is sent the header waits for that.
        """
        service.require_fitting(data.body, settings.api.adr_bytes_max)
        document = await _parse(data.body)
        content = service.content_of(data.body, document, title=data.title, status=data.status)
        tenant_id, by = principal.tenant_id, actor(principal)

        async def work(connection: Connection) -> tuple[Adr, bool]:
            if idempotency_key is not None:
                made = await service.create_once(connection, tenant_id, idempotency_key, data)
                if made is not None:
                    return await queries.read(connection, tenant_id, made, include_deleted=True), True
            if data.log == logs.DEFAULT:
                log_id = await logs.ensure(connection, tenant_id, logs.DEFAULT, logs.DEFAULT_NAME)
            else:
                log_id = await logs.by_slug(connection, tenant_id, data.log)
            written = await service.create(connection, tenant_id, log_id, content, document, data, by)
            if idempotency_key is not None:
                await service.remember(connection, tenant_id, idempotency_key, data, written.adr_id)
            return await queries.read(connection, tenant_id, written.adr_id), False

        async with tenant_transaction(database, tenant_id) as connection:
            adr, replayed = await work(connection)
        if not replayed:
            metrics.ADRS_CREATED.inc()
        headers = {"location": f"/v1/adrs/{adr.adr_id}"} | ({"idempotent-replay": "true"} if replayed else {})
        return _answer(adr, headers, status_code=201)

    @get(
        operation_id="listAdrs",
        summary="List ADRs",
        responses=answers(
            AdrPage,
            {"items": [examples.SUMMARY], "next_cursor": None},
            description="A page of ADRs, without their texts.",
        ),
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
    ) -> AdrPage:
        """All filters together narrow the list. Take `next_cursor` of a page to get the next one."""
        require_zone("updated_since", updated_since)
        filters = queries.Filters(tuple(status or ()), tuple(tag or ()), log, author, updated_since, q, deleted)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await queries.page(connection, principal.tenant_id, filters, sort, limit, cursor)

    @get(
        "/{adr_id:uuid}",
        operation_id="getAdr",
        summary="Read an ADR",
        responses=answers(Adr, examples.ADR, description="The ADR.", errors=(404, 410)),
    )
    async def get_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        as_of: Annotated[
            datetime | None,
            QueryParameter(description="The version that was effective then (RFC 3339); now, when it is left out."),
        ] = None,
        include_deleted: IncludeDeleted = False,
        if_none_match: IfNoneMatch = None,
    ) -> Response[Adr | None]:
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
        return Response(adr, headers={"etag": tag, "cache-control": "private, no-cache"})

    @patch(
        "/{adr_id:uuid}",
        operation_id="updateAdr",
        summary="Update an ADR",
        responses=answers(Adr, examples.ADR, description="The ADR with its new version.", errors=WRITES),
    )
    async def update_adr(
        self,
        database: Db,
        principal: By,
        settings: NamedDependency[Settings],
        adr_id: AdrId,
        data: Annotated[AdrChange, Body(examples=[Example("New text", value=examples.CHANGE)])],
        if_match: IfMatch = None,
    ) -> Response[Adr]:
        """Makes a version, unless nothing differs. 409 with `current_version` when somebody else was faster."""
        expected = preconditions.read_expected(if_match, data.expected_version)
        document = None
        if data.body is not None:
            service.require_fitting(data.body, settings.api.adr_bytes_max)
            document = await _parse(data.body)

        async def work(connection: Connection, tenant_id: UUID, by: service.Actor) -> service.WriteResult:
            head = await service.lock(connection, tenant_id, adr_id, expected)
            if data.body is not None and document is not None:
                content = service.content_of(data.body, document, title=data.title, status=data.status, before=head)
            else:
                before = await service.content_at(connection, tenant_id, adr_id, head.version)
                content = service.Content(
                    data.title or before.title, data.status or before.status, before.body, before.original
                )
            return await service.update(connection, tenant_id, head, content, document, data.message, by)

        return await _change(database, principal, work)

    @post(
        "/{adr_id:uuid}/rollback",
        status_code=200,
        operation_id="rollbackAdr",
        summary="Roll an ADR back",
        responses=answers(
            Adr,
            examples.ADR | {"version": 4, "change": "rollback"},
            description="The ADR with its new version.",
            errors=WRITES,
        ),
    )
    async def rollback_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        data: Annotated[Rollback, Body(examples=[Example("To the first version", value=examples.ROLLBACK)])],
        if_match: IfMatch = None,
    ) -> Response[Adr]:
        """Makes a new version that says what an older one said. The versions in between stay in the history."""
        expected = preconditions.read_expected(if_match, data.expected_version)
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            # Versions never change, so this one can be read and parsed before the head is locked.
            await queries.require_adr(connection, principal.tenant_id, adr_id)
            content = await service.content_at(connection, principal.tenant_id, adr_id, data.to_version)
        document = await _parse(content.body)

        async def work(connection: Connection, tenant_id: UUID, by: service.Actor) -> service.WriteResult:
            head = await service.lock(connection, tenant_id, adr_id, expected)
            return await service.rollback(connection, tenant_id, head, content, document, data.message, by)

        return await _change(database, principal, work)

    @delete(
        "/{adr_id:uuid}",
        status_code=200,
        operation_id="deleteAdr",
        summary="Delete an ADR",
        responses=answers(
            Adr,
            examples.ADR | {"version": 4, "change": "delete", "deleted_at": "2026-02-02T08:00:00Z"},
            description="The ADR as it was deleted.",
            errors=(404, 409, 410, 428),
        ),
    )
    async def delete_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        expected_version: Annotated[
            int | None,
            QueryParameter(ge=1, le=VERSION_MAX, description="The version this change was made from."),
        ] = None,
        message: Annotated[str, QueryParameter(max_length=MESSAGE_CHARS_MAX, description="Why it is deleted.")] = "",
        if_match: IfMatch = None,
    ) -> Response[Adr]:
        """Soft: a version that says so. It leaves lists and search, its number stays taken, its history readable."""
        expected = preconditions.read_expected(if_match, expected_version)

        async def work(connection: Connection, tenant_id: UUID, by: service.Actor) -> service.WriteResult:
            head = await service.lock(connection, tenant_id, adr_id, expected)
            return await service.delete(connection, tenant_id, head, message, by)

        return await _change(database, principal, work)

    @post(
        "/{adr_id:uuid}/restore",
        status_code=200,
        operation_id="restoreAdr",
        summary="Restore a deleted ADR",
        responses=answers(
            Adr,
            examples.ADR | {"version": 5, "change": "restore"},
            description="The ADR as it is again.",
            errors=(404, 409, 413, 415, 428),
        ),
    )
    async def restore_adr(
        self,
        database: Db,
        principal: By,
        adr_id: AdrId,
        data: Annotated[Restore, Body(examples=[Example("Undo a delete", value=examples.RESTORE)])],
        if_match: IfMatch = None,
    ) -> Response[Adr]:
        """Makes a version that says what the deleted one said."""
        expected = preconditions.read_expected(if_match, data.expected_version)

        async def work(connection: Connection, tenant_id: UUID, by: service.Actor) -> service.WriteResult:
            head = await service.lock(connection, tenant_id, adr_id, expected)
            return await service.restore(connection, tenant_id, head, data.message, by)

        return await _change(database, principal, work)


def actor(principal: Principal) -> service.Actor:
    """The caller, as the history names them."""
    return service.Actor(principal.shown, principal.user_id, traceparent())


async def _change(
    database: Database,
    principal: Principal,
    work: Callable[[Connection, UUID, service.Actor], Awaitable[service.WriteResult]],
) -> Response[Adr]:
    """Do `work` in one transaction, and answer with the ADR as it is then."""
    tenant_id, by = principal.tenant_id, actor(principal)
    async with tenant_transaction(database, tenant_id) as connection:
        written = await work(connection, tenant_id, by)
        adr = await queries.read(connection, tenant_id, written.adr_id, include_deleted=True)
    return _answer(adr, {})


def _answer(adr: Adr, headers: dict[str, str], status_code: int = 200) -> Response[Any]:
    return Response(adr, status_code=status_code, headers=headers | {"etag": preconditions.etag(adr)})


async def _parse(body: str) -> ParsedAdr:
    if len(body) <= PARSE_HERE_CHARS_MAX:
        return parse(body)
    return await asyncio.to_thread(parse, body)
