"""The jobs `build_space` and `drop_space`: the vectors of all that a tenant has, in another space, and their end.

Owns the walk over the tenant's sources, and when a space is ready. Refuses to keep up with edits, which the flows do
from the moment that the space has a row, and to decide what is searched (`api/spaces/service.py`). Passages are
embedded here and not asked for over the lane of requests: there an import of another tenant would wait behind them.

Both go on where they were after a kill, and done again they change nothing: a text that has its vector is read over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from connectors.embedders import Embedder, Vector
from connectors.embedders.spaces import SpaceEmbedders
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from dataflows import related, spaces, vectors
from dataflows.chunker import text_hash, text_to_embed
from dataflows.embed import ADD_STATS, complete, store
from dataflows.related_features import KIND, refresh
from dataflows.related_lists import update_lists
from dataflows.suggested import keep_suggestions
from runtime import metrics
from runtime.errors import Conflict, DependencyUnavailable, Unprocessable
from schemas.jobs import BUILD_SPACE, DROP_SPACE
from schemas.sources import SourceKey, columns_of

SOURCES_MAX = 200
"""Most sources of one step: what is looked through for texts that lack their vectors."""
TEXTS_MAX = 64
"""Most texts of one step: a second or two of the model in the process."""
PASSES_MAX = 5
"""Walks over all sources. A second one finds what was read anew while the first went by; after five something else is
wrong."""
VECTORS_MAX = 5_000
"""Vectors deleted in one step: a tenth of a second."""
RELATED_MAX = 50
"""ADRs compared anew in one step of a drop."""
FIRST = ("", str(UUID(int=0)))
"""Below every kind and id."""
PROBE = "Is anybody there?"
"""What an embedder is asked that was away, before flows wait for it again."""


def read_state(connection: Connection, tenant_id: UUID, space: str) -> str | None:
    """How a space of a tenant is; None where it has none of this name."""
    row = connection.execute(STATE, [tenant_id, space]).fetchone()
    return None if row is None else str(row[0])


def require_embedder(embedders: SpaceEmbedders, space: str) -> Embedder:
    """The embedder that fills a space. Raises `DependencyUnavailable` while this process has none."""
    found = embedders.find(space)
    if found is None:
        raise DependencyUnavailable(
            f"no embedder of this process fills the space {space}", hint="start the agent `jobs` with the same settings"
        )
    return found


@dataclass(frozen=True, slots=True)
class _Page:
    """The next sources, and vectors that they lacked. `after`: the last source that lacks none with these."""

    after: tuple[str, str]
    done: int
    sources: tuple[SourceKey, ...]
    vectors: Mapping[bytes, Vector] = field(default_factory=dict)


class BuildSpace(JobKind):
    """See the module. `embedders` are those of the settings."""

    name = BUILD_SPACE

    def __init__(self, embedders: SpaceEmbedders) -> None:
        self._embedders = embedders

    def prepare(self, connection: Connection, job: ClaimedJob) -> _Page | None:
        """The next texts, embedded. None when there is nothing left, or flows do not wait for the space any more."""
        space = job.params["space"]
        state = read_state(connection, job.tenant_id, space)
        embedder = require_embedder(self._embedders, space)
        if state == "behind":
            embedder.embed([PROBE])
            return None
        after = job.position.get("after", FIRST)
        keys = [SourceKey(*row) for row in connection.execute(PAGE, [job.tenant_id, *after, SOURCES_MAX])]
        if not keys or state != "building":
            return None
        rows = connection.execute(LACKING, [*columns_of(keys), space, TEXTS_MAX]).fetchall()
        texts = {row[2]: text_to_embed(row[3], row[4], row[5]) for row in rows}
        # A text of another hash was read anew meanwhile: the flow that cuts it asks for it.
        wanted = {key: text for key, text in texts.items() if text_hash(text) == key}
        made = dict(zip(wanted, embedder.embed(list(wanted.values())), strict=True))
        if len(rows) == TEXTS_MAX and wanted:
            last = SourceKey(job.tenant_id, rows[-1][0], rows[-1][1])
            touched = tuple(key for key in keys if key <= last)
            finished = [key for key in touched if key < last]
            at = (finished[-1].kind, str(finished[-1].source_id)) if finished else (str(after[0]), str(after[1]))
            return _Page(at, len(finished), touched, made)
        return _Page((keys[-1].kind, str(keys[-1].source_id)), len(keys), tuple(keys), made)

    def apply(self, connection: Connection, job: ClaimedJob, prepared: _Page | None) -> JobProgress:
        total = job.total if job.position else _count(connection, job.tenant_id)
        passes, embedded = job.position.get("passes", 1), job.position.get("embedded", 0)
        if prepared is None:
            return self._end(connection, job, passes, embedded)
        spaces.hold(connection)
        space = job.params["space"]
        store(connection, space, {(job.tenant_id, key): vector for key, vector in prepared.vectors.items()})
        complete(connection, prepared.sources)
        vectors.keep(connection, prepared.sources)
        if prepared.vectors:
            connection.execute(ADD_STATS, [job.tenant_id, len(prepared.vectors), 0])
            metrics.EMBED_TEXTS.labels("embedded").inc(len(prepared.vectors))
        embedded += len(prepared.vectors)
        done = job.done + prepared.done
        position = {"after": prepared.after, "passes": passes, "embedded": embedded}
        result = {"space": space, "embedded": embedded}
        # Sources may come while it walks: what is done is never more than all.
        return JobProgress("embedding", done, max(done, total or 0), "sources", position, result=result)

    def _end(self, connection: Connection, job: ClaimedJob, passes: int, embedded: int) -> JobProgress:
        """The space is ready when no passage lacks its vector there; else all sources are walked over again."""
        space = job.params["space"]
        state = read_state(connection, job.tenant_id, space)
        result = {"space": space, "embedded": embedded}
        if state is None or state == "dropping":
            raise Conflict(f"the space {space} is being dropped", hint="build it again when it is gone")
        if state == "behind":
            # Alone: a flow that did not wait for it, and has not committed yet, is waited for.
            connection.execute("select pg_advisory_xact_lock(mv.spaces_lock())")
            connection.execute(SET_STATE, ["building", job.tenant_id, space, "behind"])
        elif state != "building" or connection.execute(LACKS, [space, job.tenant_id]).fetchone() is None:
            connection.execute(SET_STATE, ["ready", job.tenant_id, space, "building"])
            return JobProgress("done", job.done, job.done, "sources", finished=True, result=result)
        if passes >= PASSES_MAX:
            raise Unprocessable(f"after {passes} walks passages lack vectors in {space}", hint="see the dead letters")
        again = {"after": FIRST, "passes": passes + 1, "embedded": embedded}
        return JobProgress("looking again", 0, _count(connection, job.tenant_id), "sources", again, result=result)


class DropSpace(JobKind):
    """Deletes what a tenant has in a space that it does not search in: indexes, vectors, and the row at last. Related
    decisions that were compared there are compared anew in the space that is searched."""

    name = DROP_SPACE

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Any) -> JobProgress:
        del prepared
        space, phase = job.params["space"], job.position.get("phase", "indexes")
        if read_state(connection, job.tenant_id, space) not in ("dropping", None):
            raise Conflict(f"the space {space} is kept", hint="ask for the drop again")
        if phase == "indexes":
            moved = self._move_related(connection, job.tenant_id, space)
            connection.execute(LEAVE_INDEXES, [job.tenant_id, space])
            return JobProgress("leaving it", job.done, None, "vectors", {"phase": "related" if moved else "vectors"})
        if phase == "related":
            after = self._relate(connection, job.tenant_id, job.position.get("after", FIRST[1]))
            if after is not None:
                return JobProgress("comparing ADRs", job.done, None, "vectors", {"phase": phase, "after": after})
            return JobProgress("deleting vectors", job.done, None, "vectors", {"phase": "vectors"})
        if phase == "vectors":
            of = {"tenant": job.tenant_id, "space": space, "vectors": VECTORS_MAX}
            gone = connection.execute(DELETE_VECTORS, of).rowcount
            phase = "vectors" if gone else "waiting"
            return JobProgress("deleting vectors", job.done + gone, None, "vectors", {"phase": phase})
        spaces.hold(connection)
        waiting = [SourceKey(*row) for row in connection.execute(WAITING, [job.tenant_id, *_after(job), SOURCES_MAX])]
        complete(connection, waiting)
        if waiting:
            last = (waiting[-1].kind, str(waiting[-1].source_id))
            return JobProgress("deleting vectors", job.done, None, "vectors", {"phase": phase, "after": last})
        connection.execute("delete from app.tenant_spaces where tenant_id = %s and space = %s", [job.tenant_id, space])
        return JobProgress("done", job.done, job.done, "vectors", finished=True, result={"space": space})

    def _move_related(self, connection: Connection, tenant_id: UUID, space: str) -> bool:
        """Have related decisions compared in the space that is searched, from nothing, for vectors of two spaces are
        never compared. False when they were not compared in this one."""
        connection.execute(related.LOCK_TENANT, [tenant_id])
        if not connection.execute(LEAVE_RELATED, [tenant_id, space]).rowcount:
            return False
        connection.execute(TAKE_RELATED, [tenant_id])
        connection.execute("delete from mv.related where tenant_id = %s", [tenant_id])
        connection.execute("delete from mv.related_features where tenant_id = %s", [tenant_id])
        return True

    def _relate(self, connection: Connection, tenant_id: UUID, after: str) -> str | None:
        """Compare the next ADRs; the last of them, None when there are no more."""
        connection.execute(related.LOCK_TENANT, [tenant_id])
        ids = [row[0] for row in connection.execute(NEXT_ADRS, [tenant_id, KIND, after, RELATED_MAX])]
        if not ids:
            return None
        space = related.space_of(connection, tenant_id)
        moved = update_lists(connection, space, tenant_id, refresh(connection, space, tenant_id, ids))
        keep_suggestions(connection, tenant_id, ids, moved)
        return str(ids[-1])


def _after(job: ClaimedJob) -> Sequence[str]:
    after: Sequence[str] = job.position.get("after", FIRST)
    return after


def _count(connection: Connection, tenant_id: UUID) -> int:
    row = connection.execute("select count(*) from mv.search_state where tenant_id = %s", [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


# --- SQL ------------------------------------------------------------------------------------------------------------

STATE = "select state from app.tenant_spaces where tenant_id = %s and space = %s"
SET_STATE = """
  update app.tenant_spaces
  set state = %s, changed_at = clock_timestamp(), changed_by = null
  where tenant_id = %s and space = %s and state = %s
"""
PAGE = """
  select tenant_id, kind, source_id
  from mv.search_state
  where tenant_id = %s and (kind, source_id) > (%s, %s::uuid)
  order by kind, source_id
  limit %s
"""
LACKING = """
  select c.kind, c.source_id, c.text_hash, v.title, c.heading_path, c.body
  from unnest(%s::uuid[], %s::text[], %s::uuid[]) as a (tenant_id, kind, source_id)
  join mv.chunks c using (tenant_id, kind, source_id)
  join app.source_versions v on v.tenant_id = c.tenant_id
    and v.kind = c.kind
    and v.source_id = c.source_id
    and v.version = c.version
  left join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash
  where e.text_hash is null
  order by c.kind, c.source_id, c.version, c.ordinal
  limit %s
"""
LACKS = """
  select
  from mv.search_state s
  join mv.chunks c on c.tenant_id = s.tenant_id
    and c.kind = s.kind
    and c.source_id = s.source_id
    and c.version = s.meaning_version
  left join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = %s and e.text_hash = c.text_hash
  where s.tenant_id = %s and not s.deleted and e.text_hash is null
  limit 1
"""
LEAVE_INDEXES = """
  select mv.leave_vectors(tenant_id, slot)
  from mv.vector_indexes
  where tenant_id = %s and space = %s
  order by slot
"""
LEAVE_RELATED = """
  update app.tenant_spaces
  set related = false
  where tenant_id = %s and space = %s and related
"""
TAKE_RELATED = """
  update app.tenant_spaces
  set related = true
  where tenant_id = %s and state = 'active'
"""
NEXT_ADRS = """
  select source_id
  from mv.search_state
  where tenant_id = %s and kind = %s and not deleted and source_id > %s::uuid
  order by source_id
  limit %s
"""
DELETE_VECTORS = """
  delete from mv.embeddings
  where tenant_id = %(tenant)s
    and space = %(space)s
    and text_hash = any(
      array(
        select text_hash
        from mv.embeddings
        where tenant_id = %(tenant)s and space = %(space)s
        limit %(vectors)s
      )
    )
"""
WAITING = """
  select tenant_id, kind, source_id
  from mv.search_state
  where tenant_id = %s
    and not deleted
    and meaning_version is distinct from words_version
    and (kind, source_id) > (%s, %s::uuid)
  order by kind, source_id
  limit %s
"""
