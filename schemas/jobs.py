"""What kinds of job there are, and what each is asked with.

Owns the names and the parameters, which the API checks before it records a job. Refuses to know how a job is done:
that is a `JobKind` (`connectors/postgres/jobs.py`), put together with the worker by the command line.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class ReindexParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to choose: all of the tenant's ADRs and documents."""


REINDEX = "reindex"

KINDS: Mapping[str, type[msgspec.Struct]] = {REINDEX: ReindexParams}
"""By the name that is for ever in app.jobs and in `job.progress`."""
