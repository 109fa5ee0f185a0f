"""The jobs of uploaded documents: `parse_document` makes text of one or says why not; `erase_original` removes bytes.

Owns what a document's row says on the way from stored to processed, partial or refused, and the version that the index
reads. Refuses to parse: a process of `connectors.parsers` does, within its bounds, and whatever it dies of, this worker
goes on. Pages that are pictures are recognised by `streams/document_scans.py`. What an older parser read,
`streams/reread_documents.py` has read again.

The text, the row's state and the event `document.processed` are one transaction, that of the job's step. A refusal is
an end like any other: the job has done its work. A document that is found already stays as it is until there is more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from connectors.objects import Objects, key_of
from connectors.parsers import VERSION, Parsed, Refused, Unread
from connectors.parsers.pool import Parsers
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import NotFound
from schemas.jobs import ERASE_ORIGINAL, PARSE_DOCUMENT
from streams.document_scans import (
    Reading,
    RecognisedPages,
    StoredUpload,
    erase_scans,
    forget_faults,
    go_on,
    read_further,
)
from streams.originals import Originals

UNIT, PAGES = "documents", "pages"


class ParseDocument(JobKind):
    """Say that it is at it, then do it: in one step, or page by page where pages are pictures. A document that was
    deleted or processed meanwhile is left alone. Pages that failed in an earlier job are read once more."""

    name = PARSE_DOCUMENT

    def __init__(self, objects: Objects, parsers: Parsers) -> None:
        self._originals = Originals(objects, SYSTEM_CLOCK)
        self._parsers = parsers

    def prepare(self, connection: Connection, job: ClaimedJob) -> Reading | None:
        document = _document(connection, job)
        if document is None or not job.position:
            return None
        return read_further(self._originals, self._parsers, connection, document, job.position)

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Reading | None) -> JobProgress:
        if not _lock(connection, job):
            return JobProgress("nothing to do", 1, 1, UNIT, finished=True)
        key = (job.tenant_id, job.params["document_id"])
        if prepared is None:
            connection.execute(_BEGIN, [job.job_id, *key])
            forget_faults(connection, *key)
            return JobProgress("parsing", 0, 1, UNIT, {"stage": "parsing"})
        if isinstance(prepared, Unread | RecognisedPages):
            return _go_on(connection, job, prepared)
        done, total, unit = (job.done, job.total, PAGES) if "unread" in job.position else (1, 1, UNIT)
        if isinstance(prepared, Refused):
            phase = "refused" if refuse(connection, job, prepared.reason(), prepared.media_type) else "left as it was"
            return JobProgress(phase, done, total, unit, finished=True)
        store(connection, key, prepared)
        return JobProgress("indexing", done, total, unit, finished=True)


def _go_on(connection: Connection, job: ClaimedJob, reading: Unread | RecognisedPages) -> JobProgress:
    """The pages that are left, counted from the first that had to be recognised."""
    document = _document(connection, job)
    assert document is not None
    position = go_on(connection, document, job.position, reading)
    done = job.done if "unread" in job.position else 0
    done += len(reading.pages) if isinstance(reading, RecognisedPages) else 0
    return JobProgress("recognising", done, done + len(position["unread"]), PAGES, position)


class EraseOriginal(JobKind):
    """One step, under the lock that an upload of the same bytes takes: whoever comes first, the bytes that a document
    refers to are there."""

    name = ERASE_ORIGINAL

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Any) -> JobProgress:
        del prepared
        content_hash = bytes.fromhex(job.params["content_hash"])
        connection.execute(
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))", [key_of(job.tenant_id, content_hash)]
        )
        wanted = connection.execute(
            "select from app.documents where tenant_id = %s and content_hash = %s and deleted_at is null",
            [job.tenant_id, content_hash],
        ).fetchone()
        erase_scans(connection, job.tenant_id, content_hash)
        if wanted is None:
            self._objects.delete(key_of(job.tenant_id, content_hash))
        return JobProgress("erased" if wanted is None else "kept", 1, 1, "objects", finished=True)


_BEGIN = """
  update app.documents
  set
    state = case version when 0 then 'processing' else state end,
    reason = case version when 0 then null else reason end,
    gaps = case version when 0 then '[]' else gaps end,
    job_id = %s,
    updated_at = clock_timestamp()
  where tenant_id = %s and document_id = %s
"""

_READ_DOCUMENT = """
  select document_id, content_hash, file_name, state = 'processed' or deleted_at is not null
  from app.documents
  where tenant_id = %s and document_id = %s
"""


def _document(connection: Connection, job: ClaimedJob) -> StoredUpload | None:
    """None when there is nothing to do any more. Raises `NotFound` for one that never was."""
    row = connection.execute(_READ_DOCUMENT, [job.tenant_id, job.params["document_id"]]).fetchone()
    if row is None:
        raise NotFound("there is no such document", hint="GET /v1/documents lists them")
    document_id, content_hash, file_name, over = row
    return None if over else StoredUpload(job.tenant_id, document_id, content_hash, file_name)


_LOCK_DOCUMENT = """
  select state = 'processed' or deleted_at is not null
  from app.documents
  where tenant_id = %s and document_id = %s
  for update
"""


def _lock(connection: Connection, job: ClaimedJob) -> bool:
    """Whether it still waits for this. Locks the row: a delete comes before this step or after it."""
    row = connection.execute(_LOCK_DOCUMENT, [job.tenant_id, job.params["document_id"]]).fetchone()
    return row is not None and not row[0]


_REFUSE = """
  update app.documents
  set state = 'refused', reason = %s, media_type = %s, parser = %s, updated_at = clock_timestamp()
  where tenant_id = %s and document_id = %s and version = 0
"""


def refuse(connection: Connection, job: ClaimedJob, reason: Mapping[str, str], media_type: str) -> bool:
    """Say why it cannot be read. False where there is a text of it from before, which stays."""
    key = (job.tenant_id, job.params["document_id"])
    done = connection.execute(_REFUSE, [Jsonb(dict(reason)), media_type, VERSION, *key])
    if done.rowcount:
        _emit(connection, key)
    return done.rowcount > 0


_INSERT_VERSION = """
  insert into app.document_versions (
    tenant_id, document_id, version, kind, origin, title, media_type, body, effective_at, traceparent
  )
  select
    tenant_id, document_id, version + 1, case version when 0 then 'create' else 'update' end, 'upload', %s,
    %s, %s, created_at, traceparent
  from app.documents
  where tenant_id = %s and document_id = %s
"""


_ACCEPT = """
  update app.documents
  set
    state = case when %(reason)s::jsonb is null then 'processed' else 'partial' end,
    reason = %(reason)s,
    gaps = %(gaps)s,
    characters = %(characters)s,
    media_type = %(media_type)s,
    title = %(title)s,
    pages = %(pages)s,
    parser = %(parser)s,
    version = version + %(versions)s,
    updated_at = clock_timestamp()
  where tenant_id = %(tenant_id)s and document_id = %(document_id)s
"""


Key = tuple[UUID, UUID | str]
"""Tenant and document."""


_HAS_TEXT = """
  select exists (
    select
    from app.documents d
    join app.document_versions v on v.tenant_id = d.tenant_id
      and v.document_id = d.document_id
      and v.version = d.version
    where d.tenant_id = %s and d.document_id = %s and v.title = %s and v.body = %s
  )
"""
_INSERT_PAGES = """
  insert into app.document_pages (tenant_id, document_id, version, starts)
  select tenant_id, document_id, version, %s::int[]
  from app.documents
  where tenant_id = %s and document_id = %s
  on conflict do nothing
"""


def store(connection: Connection, key: Key, parsed: Parsed) -> bool:
    """What is known of a document's text, and a new version of it, unless it is the same as before: then False."""
    row = connection.execute(_HAS_TEXT, [*key, parsed.title, parsed.text]).fetchone()
    is_new = row is None or not row[0]
    if is_new:
        connection.execute(_INSERT_VERSION, [parsed.title, parsed.media_type, parsed.text, *key])
    _describe(connection, key, parsed, versions=int(is_new))
    if parsed.starts:
        connection.execute(_INSERT_PAGES, [list(parsed.starts), *key])
    return is_new


def _describe(connection: Connection, key: Key, parsed: Parsed, *, versions: int) -> None:
    """What is known of a document's text, with `versions` more of them than before, and the event that says so."""
    reason = parsed.reason()
    accepted = {
        "reason": Jsonb(reason) if reason else None,
        "gaps": Jsonb(msgspec.to_builtins(parsed.gaps)),
        "characters": Jsonb(msgspec.to_builtins(parsed.counts)),
        "media_type": parsed.media_type,
        "title": parsed.title,
        "pages": parsed.pages,
        "parser": VERSION,
        "versions": versions,
        "tenant_id": key[0],
        "document_id": key[1],
    }
    connection.execute(_ACCEPT, accepted)
    _emit(connection, key)


_EMIT_PROCESSED = """
  select app.emit(
    'document.processed', jsonb_build_object('tenant_id', tenant_id, 'id', document_id), tenant_id,
    jsonb_build_object(
      'event_id', gen_random_uuid(), 'tenant_id', tenant_id,
      'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'document_id', document_id,
      'state', state, 'version', version, 'media_type', media_type, 'code', coalesce(reason ->> 'code', ''),
      'detail', coalesce(reason ->> 'detail', '')
    ),
    case when traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', traceparent) end
  )
  from app.documents
  where tenant_id = %s and document_id = %s
"""


def _emit(connection: Connection, key: Key) -> None:
    connection.execute(_EMIT_PROCESSED, [*key])
