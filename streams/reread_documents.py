"""The job `reread_documents`: what an older parser made text of is read by the one that is here.

Owns which documents are due (the version of the parser stands beside each result), the order, one document a step or
some pages of one where they are pictures, and what is counted. A text that is the same gets no new version: only what
is known of it changes. A document that the parser cannot read any more stays as it is found today. Refuses to parse
(`connectors/parsers`) and to write a version (`streams/documents.py`). Going on after a crash and doing it twice are
the same: what is read is not due any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from connectors.objects import Objects
from connectors.parsers import VERSION, Parsed, Refused, Unread
from connectors.parsers.pool import Parsers
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from runtime.clock import SYSTEM_CLOCK
from schemas.jobs import REREAD_DOCUMENTS
from streams.document_scans import Reading, RecognisedPages, StoredUpload, go_on, read_further
from streams.documents import UNIT, store
from streams.originals import Originals

COUNTED = ("changed", "whole", "partial", "unreadable")
"""What the summary says: texts that changed, documents that became whole or partial, and those that could not be read
and stay as they were."""


@dataclass(frozen=True, slots=True)
class DocumentReadAgain:
    """A document, and what the parser makes of it today."""

    document: StoredUpload
    answer: Reading


class RereadDocuments(JobKind):
    """A step each document. The first one counts them."""

    name = REREAD_DOCUMENTS

    def __init__(self, objects: Objects, parsers: Parsers) -> None:
        self._originals = Originals(objects, SYSTEM_CLOCK)
        self._parsers = parsers

    def prepare(self, connection: Connection, job: ClaimedJob) -> DocumentReadAgain | None:
        if not job.position:
            return None
        row = connection.execute(_FIND_DUE, [job.tenant_id, VERSION, job.position["after"]]).fetchone()
        if row is None:
            return None
        document = StoredUpload(job.tenant_id, *row)
        # What is left of a document that is gone by now is not of this one.
        place = job.position if job.position.get("document") == str(document.document_id) else {}
        return DocumentReadAgain(document, read_further(self._originals, self._parsers, connection, document, place))

    def apply(self, connection: Connection, job: ClaimedJob, prepared: DocumentReadAgain | None) -> JobProgress:
        counts = {name: int(job.position.get(name, 0)) for name in COUNTED}
        if not job.position:
            (total,) = connection.execute(_COUNT_DUE, [job.tenant_id, VERSION]).fetchone() or (0,)
            return JobProgress("reading", 0, total, UNIT, {"after": str(UUID(int=0)), **counts})
        if prepared is None:
            return JobProgress(summary(job.done, counts), job.done, job.done, UNIT, job.position, finished=True)
        document, answer = prepared.document, prepared.answer
        if isinstance(answer, Unread | RecognisedPages):
            left = go_on(connection, document, job.position, answer)
            position = {"after": job.position["after"], "document": str(document.document_id), **left, **counts}
            return JobProgress("reading", job.done, job.total, UNIT, position)
        for name in _take(connection, document, answer):
            counts[name] += 1
        position = {"after": str(document.document_id), **counts}
        total = max(job.total or 0, job.done + 1)
        return JobProgress("reading", job.done + 1, total, UNIT, position)


def summary(done: int, counts: Mapping[str, int]) -> str:
    return f"{done} read again: " + ", ".join(f"{counts[name]} {name}" for name in COUNTED)


_COUNT_DUE = """
  select count(*)
  from app.documents
  where tenant_id = %s and parser < %s and state in ('processed', 'partial', 'refused') and deleted_at is null
"""

_FIND_DUE = """
  select document_id, content_hash, file_name
  from app.documents
  where tenant_id = %s
    and parser < %s
    and state in ('processed', 'partial', 'refused')
    and deleted_at is null
    and document_id > %s
  order by document_id
  limit 1
"""

_LOCK = """
  select state
  from app.documents
  where tenant_id = %s
    and document_id = %s
    and parser < %s
    and state in ('processed', 'partial', 'refused')
    and deleted_at is null
  for update
"""
_LEAVE = "update app.documents set parser = %s where tenant_id = %s and document_id = %s"


def _take(connection: Connection, document: StoredUpload, answer: Parsed | Refused) -> list[str]:
    """Write what was read, unless somebody deleted or read the document meanwhile. Returns what has changed."""
    key = (document.tenant_id, document.document_id)
    row = connection.execute(_LOCK, [*key, VERSION]).fetchone()
    if row is None:
        return []
    (state,) = row
    if isinstance(answer, Refused):
        connection.execute(_LEAVE, [VERSION, *key])
        return [] if state == "refused" else ["unreadable"]
    found = ["changed"] if store(connection, key, answer) else []
    if answer.partial != (state == "partial") or state == "refused":
        found.append("partial" if answer.partial else "whole")
    return found
