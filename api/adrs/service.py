"""The writes: create, update, roll back, delete, restore.

Owns the rule that a version row is the event (docs/decisions/0014): each function locks the head, checks the version
that the caller worked from, adds one row to app.adr_versions and makes the head agree, in the caller's transaction.
Refuses to open one, and to read what it can be told. Next: `queries`, for everything that only reads.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

import asyncpg
import msgspec

from api.adrs import links, readings, tags
from api.adrs.document import ParsedAdr, Status
from api.adrs.schemas import Change, NewAdr
from api.db import Connection, to_struct
from api.logs import service as logs
from api.requests import hash_request, require_usable_key
from runtime.errors import Conflict, Gone, NotFound, PreconditionRequired, TooLarge
from runtime.ids import new_id

ANY_VERSION = 0
"""Expected version of a caller that takes whatever is there (`If-Match: *`)."""
KEY_AGE_MAX = timedelta(hours=24)
"""How long an Idempotency-Key is remembered: longer than any client retries."""
KEYS_PURGED_MAX = 200
"""Expired keys that one create removes: more than it adds, so that they do not pile up."""


class Actor(msgspec.Struct, frozen=True):
    """Who writes, and the trace it belongs to."""

    name: str
    user_id: UUID
    traceparent: str | None = None


class Content(msgspec.Struct, frozen=True):
    """What a version says. `original` are the bytes where `body` could not hold them. `title_given`, `status_given`:
    somebody gave it, and the text says another or none."""

    title: str
    status: Status
    body: str
    original: bytes | None = None
    title_given: bool = False
    status_given: bool = False


class AdrHead(msgspec.Struct, frozen=True):
    """The head of an ADR, locked until the transaction ends."""

    adr_id: UUID
    log_id: UUID
    version: int
    title: str
    status: Status
    source_key: str | None
    deleted_at: datetime | None


def content_of(
    body: str,
    document: ParsedAdr,
    *,
    title: str | None = None,
    status: Status | None = None,
    before: AdrHead | None = None,
) -> Content:
    """What a text says, unless the caller says otherwise; what neither says stays as it was `before`."""
    silent_title = "no-title" in document.oddities
    silent_status = not document.raw_status
    return Content(
        title=title or (before.title if before and silent_title else document.title),
        status=status or (before.status if before and silent_status else document.status),
        body=body,
        title_given=title is not None and (silent_title or title != document.title),
        status_given=status is not None and (silent_status or status != document.status),
    )


def give_title(before: Content, title: str | None, status: Status | None) -> Content:
    """The same text, with what somebody gives it."""
    return msgspec.structs.replace(
        before,
        title=title or before.title,
        status=status or before.status,
        title_given=before.title_given or (title is not None and title != before.title),
        status_given=before.status_given or (status is not None and status != before.status),
    )


def require_fitting(body: str, bytes_max: int) -> None:
    """Raise `TooLarge` for a text over the limit."""
    size_bytes = len(body.encode())
    if size_bytes > bytes_max:
        raise TooLarge(
            f"the text has {size_bytes} bytes, and one ADR may have {bytes_max}",
            hint="split it, or link to the long part; the limit is the setting api.adr_bytes_max",
        )


_INSERT_ADR = """
  insert into app.adrs (tenant_id, adr_id, log_id, number, title, status, version, created_at, updated_at)
  values ($1, $2, $3, $4, $5, $6, 1, $7, $7)
"""


async def create(
    connection: Connection, tenant_id: UUID, content: Content, document: ParsedAdr, wanted: NewAdr, by: Actor
) -> UUID:
    """A new ADR with the next number of its log."""
    if wanted.log == logs.DEFAULT:
        log_id = await logs.ensure(connection, tenant_id, logs.DEFAULT, logs.DEFAULT_NAME)
    else:
        log_id = await logs.by_slug(connection, tenant_id, wanted.log)
    # One clock for all versions, read after a lock was taken: a later version is never effective earlier.
    number, now = await logs.take_number(connection, tenant_id, log_id)
    adr_id = new_id()
    await connection.execute(_INSERT_ADR, tenant_id, adr_id, log_id, number, content.title, content.status, now)
    await _append(connection, tenant_id, adr_id, 1, "create", content, wanted.message, by, now, None)
    if wanted.tags:
        await tags.replace(connection, tenant_id, adr_id, wanted.tags)
    if document.links:
        await links.replace_from_text(connection, tenant_id, adr_id, log_id, document.links)
    await readings.keep(connection, tenant_id, [(adr_id, document)])
    return adr_id


_FORGET_OLD_KEYS = """
  delete from app.idempotency_keys
  where tenant_id = $1
    and created_at < now() - $2::interval
    and (
      key = $3
      or key in (
        select key
        from app.idempotency_keys
        where tenant_id = $1 and created_at < now() - $2::interval
        order by created_at
        limit $4
      )
    )
"""


async def find_created(connection: Connection, tenant_id: UUID, key: str, wanted: NewAdr) -> UUID | None:
    """The ADR that an earlier create with this Idempotency-Key made, or None when this is the first.

    For a first one call `remember` in the same transaction: then key and ADR are there together or not at all. A second
    request with the same key waits here until the first has committed or failed.
    """
    require_usable_key(key)
    await connection.execute(_FORGET_OLD_KEYS, tenant_id, KEY_AGE_MAX, key, KEYS_PURGED_MAX)
    # The lock lives as long as the transaction. The row itself can only be written when the ADR has its id.
    await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant_id}/{key}")
    row = await connection.fetchrow(
        "select adr_id, request_hash from app.idempotency_keys where tenant_id = $1 and key = $2", tenant_id, key
    )
    if row is None:
        return None
    if row["request_hash"] != hash_request(wanted):
        raise Conflict(
            "this Idempotency-Key was used for another request",
            hint="a new request needs a new key; keys live 24 hours",
        )
    adr_id: UUID = row["adr_id"]
    return adr_id


async def remember(connection: Connection, tenant_id: UUID, key: str, wanted: NewAdr, adr_id: UUID) -> None:
    await connection.execute(
        "insert into app.idempotency_keys (tenant_id, key, request_hash, adr_id) values ($1, $2, $3, $4)",
        *(tenant_id, key, hash_request(wanted), adr_id),
    )


_LOCK_ADR = """
  select adr_id, log_id, version, title, status, source_key, deleted_at
  from app.adrs
  where tenant_id = $1 and adr_id = $2
  for update
"""


async def lock(connection: Connection, tenant_id: UUID, adr_id: UUID, expected_version: int | None) -> AdrHead:
    """The head, locked, at the version that the caller worked from. Raises `NotFound`, `Conflict`, or 428."""
    row = await connection.fetchrow(_LOCK_ADR, tenant_id, adr_id)
    if row is None:
        no_such_adr(adr_id)
    head = to_struct(row, AdrHead)
    current = {"current_version": head.version}
    if expected_version is None:
        raise PreconditionRequired(
            "the change does not say which version it was made from",
            hint="send the ETag that you read as If-Match, or expected_version in the body; If-Match: * takes any",
            coordinates=current,
        )
    if expected_version not in (ANY_VERSION, head.version):
        raise Conflict(
            f"the ADR is at version {head.version}, the change was made from {expected_version}",
            hint="read it again, apply the change to what it says now, and repeat",
            coordinates=current,
        )
    return head


def require_alive(head: AdrHead) -> None:
    if head.deleted_at is not None:
        raise Gone(
            f"the ADR was deleted at {head.deleted_at.isoformat()}",
            hint=f"POST /v1/adrs/{head.adr_id}/restore brings it back",
            coordinates={"current_version": head.version},
        )


async def update(
    connection: Connection,
    tenant_id: UUID,
    head: AdrHead,
    content: Content,
    document: ParsedAdr | None,
    message: str,
    by: Actor,
) -> None:
    """A new version, unless `content` is what the newest one says already. `document` is None for the old text."""
    require_alive(head)
    if content != await content_at(connection, tenant_id, head.adr_id, head.version):
        await _advance(connection, tenant_id, head, "update", content, message, by, document)


async def rollback(
    connection: Connection,
    tenant_id: UUID,
    head: AdrHead,
    content: Content,
    document: ParsedAdr,
    message: str,
    by: Actor,
) -> None:
    """A new version that says what `content`, an older one, said."""
    require_alive(head)
    await _advance(connection, tenant_id, head, "rollback", content, message, by, document)


async def delete(connection: Connection, tenant_id: UUID, head: AdrHead, message: str, by: Actor) -> None:
    """Soft: a version that says so. The number stays taken and the history readable."""
    require_alive(head)
    content = await content_at(connection, tenant_id, head.adr_id, head.version)
    await _advance(connection, tenant_id, head, "delete", content, message, by)


async def restore(connection: Connection, tenant_id: UUID, head: AdrHead, message: str, by: Actor) -> None:
    """Bring a deleted ADR back as it was."""
    if head.deleted_at is None:
        raise Conflict(
            "the ADR is not deleted", hint="nothing is to be done", coordinates={"current_version": head.version}
        )
    content = await content_at(connection, tenant_id, head.adr_id, head.version)
    try:
        await _advance(connection, tenant_id, head, "restore", content, message, by)
    except asyncpg.UniqueViolationError:
        raise Conflict(
            f"another ADR was imported from {head.source_key} since",
            hint="delete that one first, or keep it and leave this one deleted",
        ) from None


_READ_TEXT = """
  select title, status, body, original, title_given, status_given
  from app.adr_versions
  where tenant_id = $1 and adr_id = $2 and version = $3
"""


async def content_at(connection: Connection, tenant_id: UUID, adr_id: UUID, version: int) -> Content:
    """What a version says. Raises `NotFound`."""
    row = await connection.fetchrow(_READ_TEXT, tenant_id, adr_id, version)
    if row is None:
        no_such_version(adr_id, version)
    return to_struct(row, Content)


def no_such_adr(adr_id: UUID) -> NoReturn:
    raise NotFound(f"there is no ADR {adr_id}", hint="GET /v1/adrs lists them")


def no_such_version(adr_id: UUID, version: int) -> NoReturn:
    raise NotFound(f"the ADR has no version {version}", hint=f"GET /v1/adrs/{adr_id}/versions lists them")


_UPDATE_ADR = """
  update app.adrs
  set title = $3, status = $4, version = $5, updated_at = $6, deleted_at = $7
  where tenant_id = $1 and adr_id = $2
"""


async def _advance(
    connection: Connection,
    tenant_id: UUID,
    head: AdrHead,
    change: Change,
    content: Content,
    message: str,
    by: Actor,
    document: ParsedAdr | None = None,
) -> None:
    """The next version. `document`: its text, read, where that may have other links than before."""
    version = head.version + 1
    now = await connection.fetchval("select clock_timestamp()")
    await _append(connection, tenant_id, head.adr_id, version, change, content, message, by, now, head.source_key)
    await connection.execute(
        _UPDATE_ADR,
        *(tenant_id, head.adr_id, content.title, content.status, version, now, now if change == "delete" else None),
    )
    if document is not None:
        await links.replace_from_text(connection, tenant_id, head.adr_id, head.log_id, document.links)
        await readings.keep(connection, tenant_id, [(head.adr_id, document)])


_INSERT_VERSION = """
  insert into app.adr_versions (
    tenant_id, adr_id, version, change, title, status, body, original, message, author, author_id, source_key,
    traceparent, effective_at, title_given, status_given
  )
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""


async def _append(
    connection: Connection,
    tenant_id: UUID,
    adr_id: UUID,
    version: int,
    change: Change,
    content: Content,
    message: str,
    by: Actor,
    effective_at: datetime,
    source_key: str | None,
) -> None:
    await connection.execute(
        _INSERT_VERSION,
        *(tenant_id, adr_id, version, change, content.title, content.status, content.body, content.original),
        *(message, by.name, by.user_id, source_key, by.traceparent, effective_at),
        *(content.title_given, content.status_given),
    )
