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
    """`document_id`: an uploaded document that is not processed yet, is partial, or was refused."""

    document_id: UUID


class RereadParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose: all of the tenant's ADRs."""


class RereadDocumentsParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose: all of the tenant's documents that an older parser read."""


REINDEX = "reindex"
REREAD = "reread"
PARSE_DOCUMENT = "parse_document"
REREAD_DOCUMENTS = "reread_documents"
ERASE_ORIGINAL = "erase_original"
"""Recorded with a delete, never asked for by itself: `content_hash`, in hex."""

BUILD_SPACE = "build_space"
EVALUATE_SPACE = "evaluate_space"
DROP_SPACE = "drop_space"
"""Recorded with what `/v1/spaces` changes, never asked for by itself: `space`, and for an evaluation `against`."""

RESEARCH = "research"
"""Recorded with a question of `/v1/research`, never asked for by itself; what it is asked is in `app.research`."""

AGENT_TASK = "agent_task"
"""Recorded with a task of `/v1/agents/tasks`, never asked for by itself; its goal is in `app.agent_tasks`."""

CRAWL = "crawl"
"""Recorded with a crawl, never asked for by itself: `crawl_id`."""
CRAWLS_OPEN_MAX = 20
"""Crawls of one tenant that are not over. The worker does two at a time; more is a list that nobody looks at."""

KINDS: Mapping[str, type[msgspec.Struct]] = {
    REINDEX: ReindexParams,
    REREAD: RereadParams,
    PARSE_DOCUMENT: ParseDocumentParams,
    REREAD_DOCUMENTS: RereadDocumentsParams,
}
"""What can be asked for, by the name that is for ever in app.jobs and in `job.progress`."""
