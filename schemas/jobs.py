"""What kinds of job there are, and what each is asked with.

Owns the names and the parameters, which the API checks before it records a job. Refuses to know how a job is done:
that is a `JobKind` (`connectors/postgres/jobs.py`), put together with the worker by the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec


class ReindexParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose: all of the tenant's ADRs and documents."""


class ParseDocumentParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`document_id`: an uploaded document that is not processed yet, or was refused."""

    document_id: UUID


REINDEX = "reindex"
PARSE_DOCUMENT = "parse_document"
ERASE_ORIGINAL = "erase_original"
"""Recorded with a delete, never asked for by itself: `content_hash`, in hex."""

KINDS: Mapping[str, type[msgspec.Struct]] = {REINDEX: ReindexParams, PARSE_DOCUMENT: ParseDocumentParams}
"""What can be asked for, by the name that is for ever in app.jobs and in `job.progress`."""
