"""Pages that are pictures, on their way to text: some at each step, each kept as soon as it is there.

Owns the rows of what was recognised (`app.document_scans`), and what a step does next: parse, or recognise the next
pages. Refuses to recognise (`connectors/parsers`), and to know what job it is in: that has `unread` and `media_type` in
its position between two steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from connectors.parsers import SCANNER, PageFault, Parsed, Refused, Scan, Unread
from connectors.parsers.pool import Parsers
from connectors.postgres.connections import Connection
from schemas.arrays import arrays_of
from streams.originals import Originals

PAGES_AT_ONCE = 2
"""Pages of a step: some ten seconds, after which a job can be cancelled or make room, and what is done is kept."""


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """What parsing one needs of its row."""

    tenant_id: UUID
    document_id: UUID
    content_hash: bytes
    file_name: str


@dataclass(frozen=True, slots=True)
class RecognisedPages:
    """What a step recognised."""

    pages: tuple[Scan | PageFault, ...]


Reading = Parsed | Refused | Unread | RecognisedPages


def read_further(
    originals: Originals, parsers: Parsers, connection: Connection, document: StoredUpload, position: Mapping[str, Any]
) -> Reading:
    """The next pages that `position` names as unread; without any, all of the document with the pages that are known.
    Raises what object storage raises, and `StopRequested`."""
    tenant_id = document.tenant_id
    with originals.open(tenant_id, document.content_hash) as copy:
        if unread := position.get("unread"):
            kind = position["media_type"]
            some = [parsers.recognise(tenant_id, copy.path, kind, page) for page in unread[:PAGES_AT_ONCE]]
            copy.wanted_again = True
            return RecognisedPages(tuple(some))
        answer = parsers.parse(tenant_id, copy.path, document.file_name, read_scans(connection, document))
        copy.wanted_again = isinstance(answer, Unread)
        return answer


def go_on(
    connection: Connection, document: StoredUpload, position: Mapping[str, Any], reading: Unread | RecognisedPages
) -> dict[str, Any]:
    """Keep what was recognised. Returns what of the job's position names the pages that are left."""
    if isinstance(reading, Unread):
        return {"media_type": reading.media_type, "unread": list(reading.pages)}
    keep_scans(connection, document, reading.pages)
    return {"media_type": position["media_type"], "unread": position["unread"][len(reading.pages) :]}


_READ_SCANS = """
  select page, text, lines, left_out, unsure, confidence, script, fault ->> 'code', fault ->> 'detail'
  from app.document_scans
  where tenant_id = %s and document_id = %s and scanner = %s
  order by page
"""


def read_scans(connection: Connection, document: StoredUpload) -> tuple[Scan | PageFault, ...]:
    """What is known of a document's pages that are pictures. What an older scanner recognised is not."""
    rows = connection.execute(_READ_SCANS, [document.tenant_id, document.document_id, SCANNER])
    return tuple(
        Scan(page, *scan) if code is None else PageFault(page, code, detail) for page, *scan, code, detail in rows
    )


_KEEP_SCANS = """
  insert into app.document_scans (
    tenant_id, document_id, page, scanner, text, lines, left_out, unsure, confidence, script, fault
  )
  select %s, %s, s.page, %s, s.text, s.lines, s.left_out, s.unsure, s.confidence, s.script, s.fault
  from unnest(
    %s::int[], %s::text[], %s::int[], %s::int[], %s::int[], %s::double precision[], %s::text[], %s::jsonb[]
  ) as s (page, text, lines, left_out, unsure, confidence, script, fault)
  on conflict (tenant_id, document_id, page)
  do update set
    scanner = excluded.scanner,
    text = excluded.text,
    lines = excluded.lines,
    left_out = excluded.left_out,
    unsure = excluded.unsure,
    confidence = excluded.confidence,
    script = excluded.script,
    fault = excluded.fault
"""


def keep_scans(connection: Connection, document: StoredUpload, pages: Sequence[Scan | PageFault]) -> None:
    columns = arrays_of(list(map(_row, pages)), 8)
    connection.execute(_KEEP_SCANS, [document.tenant_id, document.document_id, SCANNER, *columns])


def _row(page: Scan | PageFault) -> tuple[Any, ...]:
    if isinstance(page, PageFault):
        return page.page, "", 0, 0, 0, 0.0, "", Jsonb({"code": page.code, "detail": page.detail})
    # A database keeps no zero byte in a text.
    text = page.text.replace("\0", " ")
    return page.page, text, page.lines, page.left_out, page.unsure, page.confidence, page.script, None


_FORGET_FAULTS = """
  delete from app.document_scans
  where tenant_id = %s and document_id = %s and fault is not null
"""


def forget_faults(connection: Connection, tenant_id: UUID, document_id: UUID | str) -> None:
    """Have pages that failed read once more. Those that were read stay."""
    connection.execute(_FORGET_FAULTS, [tenant_id, document_id])


_ERASE_SCANS = """
  delete from app.document_scans s
  using app.documents d
  where d.tenant_id = %s
    and d.content_hash = %s
    and d.deleted_at is not null
    and s.tenant_id = d.tenant_id
    and s.document_id = d.document_id
"""


def erase_scans(connection: Connection, tenant_id: UUID, content_hash: bytes) -> None:
    """Erase what was recognised in deleted documents of this content."""
    connection.execute(_ERASE_SCANS, [tenant_id, content_hash])
