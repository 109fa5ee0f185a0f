"""The job `reindex`: asks for the vectors that a tenant's passages lack, in case the requests for them were lost.

Owns the walk over the tenant's ADRs and documents. Refuses to embed, and to ask for a vector that is there: what to
ask, and when a text is findable by meaning at once, is what `dataflows/index.py` does for a new version. Repeating it
changes nothing.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from connectors.postgres.sink import Connection
from dataflows.chunker import Chunk, text_hash, text_to_embed
from dataflows.index import Adr, Version, active_space, lacking_meaning, make_findable_by_meaning, without_vector
from schemas.jobs import REINDEX

ADRS_MAX = 50
"""ADRs of one step: some thousand passages at most, about a second."""


class Reindex(JobKind):
    name = REINDEX

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Any) -> JobProgress:
        del prepared
        after = job.position.get("after")
        total = job.total if after else _count(connection, job.tenant_id)
        space = active_space(connection)
        versions = _page(connection, job.tenant_id, UUID(after) if after else None)
        wanting = {version.adr for version in lacking_meaning(connection, versions)}
        wanting |= without_vector(connection, space, versions).keys()
        make_findable_by_meaning(connection, space, [version for version in versions if version.adr in wanting])
        done = job.done + len(versions)
        if len(versions) < ADRS_MAX:
            return JobProgress("done", done, done, "ADRs", finished=True)
        return JobProgress("asking for vectors", done, total, "ADRs", {"after": str(versions[-1].adr.adr_id)})


def _count(connection: Connection, tenant_id: UUID) -> int:
    row = connection.execute(
        "select count(*) from mv.search_state where tenant_id = %s and not deleted", [tenant_id]
    ).fetchone()
    assert row is not None
    return int(row[0])


def _page(connection: Connection, tenant_id: UUID, after: UUID | None) -> list[Version]:
    """The next ADRs as they are found by words now, with their passages. Locks their rows, in the order of all
    flows."""
    states = connection.execute(
        "select adr_id, words_version, title, status, effective_at, recorded_at, kind, source_version "
        "from mv.search_state where tenant_id = %s and not deleted and (%s::uuid is null or adr_id > %s) "
        "order by adr_id limit %s for update",
        [tenant_id, after, after, ADRS_MAX],
    ).fetchall()
    titles = {state[0]: state[2] for state in states}
    passages: dict[UUID, list[Chunk]] = {adr_id: [] for adr_id in titles}
    rows = connection.execute(
        "select c.adr_id, c.ordinal, c.heading_path, c.body, c.char_start, c.char_end from mv.chunks c "
        "join mv.search_state s on s.tenant_id = c.tenant_id and s.adr_id = c.adr_id and s.words_version = c.version "
        "where c.tenant_id = %s and c.adr_id = any(%s) order by c.adr_id, c.ordinal",
        [tenant_id, list(titles)],
    )
    for adr_id, ordinal, heading_path, body, start, end in rows:
        text = text_to_embed(titles[adr_id], heading_path, body)
        passages[adr_id].append(Chunk(ordinal, heading_path, body, start, end, text, text_hash(text)))
    return [
        Version(
            adr=Adr(tenant_id, adr_id),
            version=version,
            deleted=False,
            title=title,
            status=status,
            effective_at=effective_at,
            recorded_at=recorded_at,
            traceparent=None,
            chunks=tuple(passages[adr_id]),
            kind=kind,
            source_version=source_version,
        )
        for adr_id, version, title, status, effective_at, recorded_at, kind, source_version in states
    ]
