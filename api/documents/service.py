"""The rows of uploaded documents as a tenant sees them, and the order of storing bytes and rows.

Owns that the same bytes are one document, and that a document's original is there as long as the document is. Bytes are
stored before the row that refers to them and erased after it, under one lock for each content; what a crash leaves
behind is an object that nobody refers to, never a reference to nothing. Refuses to parse, and to know HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from api import paging
from api.auth.users import Principal
from api.db import Connection, to_struct
from api.jobs import service as jobs
from api.jobs.service import NewJob
from connectors.objects import Objects, key_of
from runtime.errors import Conflict, NotFound
from runtime.ids import new_id
from schemas.jobs import ERASE_ORIGINAL, PARSE_DOCUMENT

State = Literal["stored", "processing", "processed", "partial", "refused"]
FILE_NAME_CHARS_MAX = 255


class RefusalReason(msgspec.Struct, frozen=True):
    code: str
    detail: str
    hint: str


class TextCount(msgspec.Struct, frozen=True):
    """Characters that are no white space: what the file holds, and what is in the text."""

    held: int
    kept: int


class TextGap(msgspec.Struct, frozen=True):
    code: str
    detail: str
    pages: Annotated[list[tuple[int, int]], Meta(description="First and last page of each range; empty: not by page.")]


class RecognisedText(msgspec.Struct, frozen=True):
    """What was recognised on pages that are pictures. `lines` are in the text; those of too little confidence are
    counted in `left_out`, and are not."""

    pages: Annotated[int, Meta(description="Pages that were read.")]
    failed: Annotated[int, Meta(description="Pages that could not be; `gaps` names them. A retry reads these alone.")]
    lines: int
    left_out: int
    confidence: Annotated[float | None, Meta(description="Mean of the lines, from 0 to 1; null without any.")]
    scripts: Annotated[list[str], Meta(description="Of most letters of a page, such as Latin; no language is told.")]


class Document(msgspec.Struct, frozen=True):
    """`state` ends as processed, partial or refused; `reason` says why it was refused, or what its text has not. `id`
    is what a search result names."""

    id: UUID
    job_id: Annotated[UUID, Meta(description="The job that parses it: GET /v1/jobs/{job_id}.")]
    state: State
    reason: RefusalReason | None
    file_name: str
    title: str
    media_type: Annotated[str, Meta(description="What the bytes are; empty until they were looked at.")]
    size_bytes: int
    sha256: str
    pages: int | None
    gaps: Annotated[list[TextGap], Meta(description="What the file shows and the text has not; empty: it is whole.")]
    characters: Annotated[
        dict[str, TextCount],
        Meta(description="By kind of text. Deleted, hidden and the like are counted and left out."),
    ]
    recognised: Annotated[RecognisedText | None, Meta(description="Null: none of its pages is a picture.")]
    parser: Annotated[
        int, Meta(description="Version of the parser that read it; 0: none, or one of before there were.")
    ]
    version: Annotated[int, Meta(description="Of its text; 0 while there is none.")]
    created_at: datetime
    updated_at: datetime


class DocumentPage(msgspec.Struct, frozen=True):
    items: list[Document]
    next_cursor: str | None


class Upload(msgspec.Struct, frozen=True):
    """A file that has arrived."""

    file: SpooledTemporaryFile[bytes]
    file_name: str
    size_bytes: int
    content_hash: bytes


# A job that failed or was cancelled leaves its document as it was: then the job's own reason is shown.
_READ_DOCUMENTS = """
  select *
  from (
    select
      d.document_id as id, d.job_id, d.file_name, d.title, d.media_type, d.size_bytes, d.pages, d.version,
      d.gaps, d.characters, d.parser, encode(d.content_hash, 'hex') as sha256, d.created_at, d.updated_at,
      r.recognised,
      case when open and j.state in ('failed', 'cancelled') then 'refused' else d.state end as state,
      case
        when open and j.state = 'failed' then j.last_error
        when open and j.state = 'cancelled' then
          jsonb_build_object(
            'code', 'cancelled', 'detail', 'its job was cancelled',
            'hint', 'POST /v1/jobs with the kind parse_document parses it'
          )
        else d.reason
      end as reason
    from app.documents d
    join app.jobs j on j.tenant_id = d.tenant_id and j.job_id = d.job_id
    cross join lateral (select d.state in ('stored', 'processing') as open) o
    left join lateral (
      select jsonb_build_object(
        'pages', count(*) filter (where s.fault is null), 'failed', count(s.fault), 'lines', sum(s.lines),
        'left_out', sum(s.left_out),
        'confidence', round((sum(s.confidence * s.lines) / nullif(sum(s.lines), 0))::numeric, 4),
        'scripts', coalesce(jsonb_agg(distinct s.script) filter (where s.script <> ''), '[]')
      ) as recognised
      from app.document_scans s
      where s.tenant_id = d.tenant_id and s.document_id = d.document_id
      having count(*) > 0
    ) r on true
    where d.tenant_id = $1
      and d.deleted_at is null
      and ($2::uuid is null or d.document_id = $2)
      and ($3::bytea is null or d.content_hash = $3)
  ) d
  where ($4::text is null or state = $4) and ($5::timestamptz is null or (created_at, id) < ($5, $6::uuid))
  order by created_at desc, id desc
  limit $7
"""
_JSON = ("reason", "gaps", "characters", "recognised")
_ANY = (None, None, None)
"""Whatever its state, from the beginning of the list."""


def receive(file: SpooledTemporaryFile[bytes], file_name: str) -> Upload:
    """Reads it once. Blocks."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()
    size = file.seek(0, os.SEEK_END)
    return Upload(file, _clean_name(file_name), size, digest)


def _clean_name(file_name: str) -> str:
    """The last part of a path, as browsers of old sent it, without what cannot be shown."""
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(filter(str.isprintable, name))[-FILE_NAME_CHARS_MAX:].strip() or "document"


async def find_by_hash(connection: Connection, tenant_id: UUID, content_hash: bytes) -> Document | None:
    row = await connection.fetchrow(_READ_DOCUMENTS, tenant_id, None, content_hash, *_ANY, 1)
    return to_struct(row, Document, *_JSON) if row else None


_INSERT_DOCUMENT = """
  insert into app.documents (
    tenant_id, document_id, job_id, content_hash, size_bytes, file_name, uploaded_by, traceparent
  )
  values ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def create(
    connection: Connection, principal: Principal, upload: Upload, objects: Objects, traceparent: str | None
) -> tuple[Document, bool]:
    """Row, job and events in the caller's transaction. False when these bytes were here already."""
    tenant_id = principal.tenant_id
    key = key_of(tenant_id, upload.content_hash)
    await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", key)
    if there := await find_by_hash(connection, tenant_id, upload.content_hash):
        return there, False
    if not await asyncio.to_thread(objects.exists, key):  # a delete of the same bytes was faster
        await asyncio.to_thread(put, objects, tenant_id, upload)
    document_id = new_id()
    wanted = NewJob(PARSE_DOCUMENT, {"document_id": str(document_id)})
    job_id, _ = await jobs.create(connection, principal, wanted, None, traceparent)
    await connection.execute(
        _INSERT_DOCUMENT,
        *(tenant_id, document_id, job_id, upload.content_hash, upload.size_bytes, upload.file_name),
        *(principal.user_id, traceparent),
    )
    await connection.execute(_EMIT_UPLOADED, tenant_id, document_id, key)
    return await read(connection, tenant_id, document_id), True


def put(objects: Objects, tenant_id: UUID, upload: Upload) -> None:
    """Store the bytes, before anything refers to them. Blocks."""
    upload.file.seek(0)
    objects.put(key_of(tenant_id, upload.content_hash), upload.file)


_EMIT_UPLOADED = """
  select app.emit(
    'document.uploaded', jsonb_build_object('tenant_id', tenant_id, 'id', document_id), tenant_id,
    jsonb_build_object(
      'event_id', gen_random_uuid(), 'tenant_id', tenant_id,
      'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'document_id', document_id,
      'version', 1, 'file_name', file_name, 'media_type', 'application/octet-stream',
      'size_bytes', size_bytes, 'sha256', encode(content_hash, 'base64'),
      'storage_uri', 'objects:' || $3::text, 'origin', 'upload', 'title', null, 'language', null,
      'uploaded_by', uploaded_by, 'attributes', '{}'::jsonb
    ),
    case when traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', traceparent) end
  )
  from app.documents
  where tenant_id = $1 and document_id = $2
"""


async def read(connection: Connection, tenant_id: UUID, document_id: UUID) -> Document:
    row = await connection.fetchrow(_READ_DOCUMENTS, tenant_id, document_id, None, *_ANY, 1)
    if row is None:
        raise _no_such_document(document_id)
    return to_struct(row, Document, *_JSON)


async def page(
    connection: Connection, tenant_id: UUID, state: State | None, limit: int, cursor: str | None
) -> DocumentPage:
    """Newest first."""
    part = paging.Slice(cursor, limit, tuple[datetime, UUID], "documents", state)
    rows = await connection.fetch(_READ_DOCUMENTS, tenant_id, None, None, state, *part.after, part.rows_max)
    items = [to_struct(row, Document, *_JSON) for row in rows]
    return DocumentPage(*part.cut(items, lambda document: (document.created_at, document.id)))


_LOCK_FOR_RETRY = """
  select j.state in ('queued', 'running')
  from app.documents d
  join app.jobs j on j.tenant_id = d.tenant_id and j.job_id = d.job_id
  where d.tenant_id = $1 and d.document_id = $2
  for update of d
"""
_RETRY = """
  update app.documents
  set
    job_id = $3,
    state = case version when 0 then 'stored' else state end,
    reason = case version when 0 then null else reason end,
    updated_at = now()
  where tenant_id = $1 and document_id = $2
"""


async def retry(connection: Connection, principal: Principal, document_id: UUID, traceparent: str | None) -> Document:
    """Have it read once more. What was recognised stays, and so does its text until there is another one. One that is
    being read already is left to that."""
    tenant_id = principal.tenant_id
    row = await connection.fetchrow(_LOCK_FOR_RETRY, tenant_id, document_id)
    document = await read(connection, tenant_id, document_id)
    if row is not None and row[0]:
        return document
    if document.state == "processed":
        raise Conflict("the document is processed", hint="only what is partial or refused can be read once more")
    wanted = NewJob(PARSE_DOCUMENT, {"document_id": str(document_id)})
    job_id, _ = await jobs.create(connection, principal, wanted, None, traceparent)
    await connection.execute(_RETRY, tenant_id, document_id, job_id)
    return await read(connection, tenant_id, document_id)


_DELETE_DOCUMENT = """
  update app.documents
  set deleted_at = now(), updated_at = now(), version = version + (version > 0)::int
  where tenant_id = $1 and document_id = $2 and deleted_at is null
  returning content_hash, version, media_type
"""

_INSERT_TOMBSTONE = """
  insert into app.document_versions (
    tenant_id, document_id, version, kind, origin, title, media_type, body, effective_at, traceparent
  )
  values ($1, $2, $3, 'delete', 'upload', '', $4, '', now(), $5)
"""


async def delete(connection: Connection, principal: Principal, document_id: UUID, traceparent: str | None) -> None:
    """The row is kept and hidden; its text gets a version that says so; a job erases the original."""
    tenant_id = principal.tenant_id
    row = await connection.fetchrow(_DELETE_DOCUMENT, tenant_id, document_id)
    if row is None:
        raise _no_such_document(document_id)
    if row["version"] > 0:
        await connection.execute(
            _INSERT_TOMBSTONE, tenant_id, document_id, row["version"], row["media_type"], traceparent
        )
    wanted = NewJob(ERASE_ORIGINAL, {"content_hash": row["content_hash"].hex()})
    await jobs.create(connection, principal, wanted, None, traceparent)


def _no_such_document(document_id: UUID) -> NotFound:
    return NotFound(f"there is no document {document_id}", hint="GET /v1/documents lists them")
