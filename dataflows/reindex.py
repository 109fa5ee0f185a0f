"""The job `reindex`: asks for the vectors that a tenant's passages lack, in case the requests for them were lost.

Owns the walk over the tenant's sources. Refuses to embed, and to ask for a vector that is there: what to
ask, and when a text is findable by meaning at once, is what `dataflows/index.py` does for a new version. Repeating it
changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from dataflows import spaces
from dataflows.chunker import Chunk, text_hash, text_to_embed
from dataflows.index import find_lacking, find_unembedded, make_findable_by_meaning
from dataflows.source_version import SourceVersion
from schemas.jobs import REINDEX
from schemas.sources import SourceKey, columns_of

SOURCES_MAX = 50
"""Most sources of one step: some thousand passages at most, about a second."""
FIRST = ("", str(UUID(int=0)))
"""Below every kind and id."""


class Reindex(JobKind):
    name = REINDEX

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Any) -> JobProgress:
        del prepared
        after = job.position.get("after", FIRST)
        total = job.total if job.position else _count(connection, job.tenant_id)
        spaces.hold(connection)
        versions = _page(connection, job.tenant_id, after)
        wanting = {version.source for version in find_unembedded(connection, versions)}
        wanting |= {source for missing in find_lacking(connection, versions).values() for source in missing}
        make_findable_by_meaning(connection, [version for version in versions if version.source in wanting])
        done = job.done + len(versions)
        if len(versions) < SOURCES_MAX:
            return JobProgress("done", done, done, "sources", finished=True)
        last = versions[-1].source
        return JobProgress("asking for vectors", done, total, "sources", {"after": [last.kind, str(last.source_id)]})


COUNT = "select count(*) from mv.search_state where tenant_id = %s and not deleted"


def _count(connection: Connection, tenant_id: UUID) -> int:
    row = connection.execute(COUNT, [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


PAGE = """
  select tenant_id, kind, source_id, words_version, reading, title, status, effective_at, recorded_at
  from mv.search_state
  where tenant_id = %s and not deleted and (kind, source_id) > (%s, %s::uuid)
  order by kind, source_id
  limit %s
  for update
"""
PASSAGES = """
  select c.tenant_id, c.kind, c.source_id, c.ordinal, c.heading_path, c.body, c.char_start, c.char_end
  from mv.chunks c
  join mv.search_state s on s.tenant_id = c.tenant_id
    and s.kind = c.kind
    and s.source_id = c.source_id
    and s.words_version = c.version
  join unnest(
    %s::uuid[], %s::text[], %s::uuid[]
  ) as a (tenant_id, kind, source_id) on a.tenant_id = c.tenant_id
    and a.kind = c.kind
    and a.source_id = c.source_id
  order by c.kind, c.source_id, c.ordinal
"""


def _page(connection: Connection, tenant_id: UUID, after: Sequence[str]) -> list[SourceVersion]:
    """The next sources as they are found by words now, with their passages. Locks their rows, in the order of all
    flows."""
    states = connection.execute(PAGE, [tenant_id, *after, SOURCES_MAX]).fetchall()
    titles = {SourceKey(*state[:3]): state[5] for state in states}
    passages: dict[SourceKey, list[Chunk]] = {source: [] for source in titles}
    for *key, ordinal, heading_path, body, start, end in connection.execute(PASSAGES, columns_of(list(titles))):
        source = SourceKey(*key)
        text = text_to_embed(titles[source], heading_path, body)
        passages[source].append(Chunk(ordinal, heading_path, body, start, end, text, text_hash(text)))
    return [
        SourceVersion(
            *(source, version, reading, False, title, status, effective_at, recorded_at, None),
            chunks=tuple(passages[source]),
            is_one_of_many=True,
        )
        for source, (_, _, _, version, reading, *said) in zip(titles, states, strict=True)
        for title, status, effective_at, recorded_at in [said]
    ]
