"""`/v1/numbers`: reserve the next number of a log, list what is reserved, give one back."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller
from litestar.params import QueryParameter
from msgspec import Meta

from api.db import tenant_transaction
from api.logs import numbers, service
from api.routes import By, Db, body, get, post
from schemas import text

_RESERVED = {
    "log": "main",
    "number": 13,
    "holder": "feature/outbox",
    "reserved_by": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "reserved_at": "2026-01-15T09:00:00Z",
    "expires_at": "2026-01-29T09:00:00Z",
}
_SLUG = Annotated[str, Meta(pattern=text.SLUG, description="Slug of the log.")]


class NumberRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    holder: numbers.Holder
    log: _SLUG = service.DEFAULT
    days: Annotated[int, Meta(ge=1, le=numbers.DAYS_MAX, description="How long it is held.")] = numbers.DAYS_DEFAULT


class NumberRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    holder: numbers.Holder
    log: _SLUG = service.DEFAULT


class NumberController(Controller):
    """Numbers of ADRs that are written on a branch."""

    path = "/v1/numbers"
    tags = ("logs",)

    @get("/", "List reserved numbers", {"items": [_RESERVED]}, "What is reserved, by number.")
    async def list_numbers(
        self,
        database: Db,
        principal: By,
        log: Annotated[str, QueryParameter(pattern=text.SLUG, description="Slug of the log.")] = service.DEFAULT,
    ) -> numbers.ReservedNumbers:
        """What nobody else gets now. A number whose ADR came, or whose time is over, is not listed."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            return await numbers.list_reserved(connection, principal.tenant_id, log)

    @post("/", "Reserve a number", _RESERVED, "The number.", status=201, errors=(404, 409, 413, 415))
    async def reserve_number(
        self,
        database: Db,
        principal: By,
        data: Annotated[NumberRequest, body("For a branch", {"holder": "feature/outbox"})],
    ) -> numbers.ReservedNumber:
        """The next number of the log, for whoever names themselves. A holder who has one keeps it, and has it for
        longer. No ADR that is made by the API gets it; one that is imported with it takes it up."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            return await numbers.reserve(
                connection, principal.tenant_id, principal.user_id, data.log, data.holder, data.days
            )

    @post("/releases", "Release a number", None, "It is free.", status=204, errors=(404, 413, 415))
    async def release_number(
        self,
        database: Db,
        principal: By,
        data: Annotated[NumberRelease, body("Of a branch", {"holder": "feature/outbox"})],
    ) -> None:
        """The next who reserves one gets it. Who holds none has given it back. 404 for a log that is not there."""
        async with tenant_transaction(database, principal.tenant_id) as connection:
            await numbers.release(connection, principal.tenant_id, data.log, data.holder)
