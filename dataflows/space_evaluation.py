"""The job `evaluate_space`: does a search by meaning find a tenant's own texts by their titles, in each of two spaces?

Owns which texts are asked for, and the two ranks of each. A text is asked for by its title, and stands in the
comparison with vectors of its passages without that title, while all others stand as they are: so the answer is never
in the question, nobody has to judge anything, and nothing that is searched is changed. Refuses to say which space is
better (`api/spaces/figures.py`), and to read titles: whoever puts the worker together brings a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from connectors.embedders import Embedder, Vector
from connectors.embedders.spaces import SpaceEmbedders
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from connectors.postgres.vectors import send
from dataflows.chunker import chunk
from dataflows.space_jobs import require_embedder
from runtime.errors import Conflict
from schemas.jobs import EVALUATE_SPACE

QUESTIONS_MAX = 200
"""Texts asked for: their mean is known to about 0.04."""
STEP_QUESTIONS = 4
"""Questions of one step: some thirty texts in two models."""
PASSAGES_MAX = 16
"""Passages of a text that are embedded without its title: the first, two pages."""
DEPTH = 10
"""Places that count, as in `adriatic eval known-item`."""
CANDIDATES_MAX = 100
"""Nearest passages of each kind, as a search takes them."""

AS_NEAR = 1e-6
"""Similarities that differ by less are equal: single precision. A model to which all texts are one finds nothing."""

AskAbout = Callable[[str], tuple[str, str] | None]
"""The question for a text, and the text without its title; None for a text that is not asked for."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question in both spaces: its vector, and how near the right source is to it."""

    kind: str
    source_id: UUID
    vectors: Mapping[str, tuple[Vector, float]]


class EvaluateSpace(JobKind):
    """See the module."""

    name = EVALUATE_SPACE

    def __init__(self, embedders: SpaceEmbedders, ask_about: AskAbout) -> None:
        self._embedders = embedders
        self._ask_about = ask_about

    def prepare(self, connection: Connection, job: ClaimedJob) -> Sequence[_Asked] | None:
        """The next questions and their answers, embedded. None before the sources are drawn."""
        drawn = job.position.get("drawn")
        if drawn is None:
            return None
        some = drawn[job.done : job.done + STEP_QUESTIONS]
        rows = connection.execute(TEXTS, [job.tenant_id, [UUID(each) for each in some]]).fetchall()
        embedders = {space: require_embedder(self._embedders, space) for space in _spaces(job)}
        asked = []
        for kind, source_id, body in rows:
            if (question := self._ask_about(body)) is not None:
                vectors = {space: _measure(embedder, *question) for space, embedder in embedders.items()}
                asked.append(_Asked(kind, source_id, vectors))
        return asked

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Sequence[_Asked] | None) -> JobProgress:
        require_complete(connection, job.tenant_id, _spaces(job))
        if prepared is None:
            rows = connection.execute(DRAW, [job.tenant_id, QUESTIONS_MAX])
            drawn = [str(row[0]) for row in rows]
            return JobProgress("asking", 0, len(drawn), "questions", {"drawn": drawn, "ranks": []})
        # What a search of the tenant sees: this transaction writes nothing that is not the tenant's own.
        connection.execute("select set_config('app.tenant_id', %s, true)", [str(job.tenant_id)])
        found = [[_rank(connection, each, space) for space in _spaces(job)] for each in prepared]
        ranks = [*job.position["ranks"], *found]
        drawn = job.position["drawn"]
        done = min(job.done + STEP_QUESTIONS, len(drawn))
        if done < len(drawn):
            return JobProgress("asking", done, len(drawn), "questions", {"drawn": drawn, "ranks": ranks})
        first, second = _spaces(job)
        own, others = [pair[0] for pair in ranks], [pair[1] for pair in ranks]
        connection.execute(KEEP_EVALUATION, [job.tenant_id, first, second, own, others])
        result = {"space": first, "against": second, "questions": len(ranks)}
        return JobProgress("done", done, done, "questions", finished=True, result=result)


def _spaces(job: ClaimedJob) -> tuple[str, str]:
    return job.params["space"], job.params["against"]


def require_complete(connection: Connection, tenant_id: UUID, wanted: Sequence[str]) -> None:
    """Raise `Conflict` unless all that is findable by meaning is so in each of these spaces."""
    complete = {row[0] for row in connection.execute(COMPLETE_SPACES, [tenant_id])}
    if missing := [space for space in wanted if space not in complete]:
        raise Conflict(f"the space {missing[0]} is not complete", hint="build it, and evaluate then")


def _measure(embedder: Embedder, question: str, text: str) -> tuple[Vector, float]:
    """The question's vector, and how near the nearest passage of the text without its title is to it."""
    passages = [f"{part.heading_path}\n{part.body}" for part in chunk("", text)[:PASSAGES_MAX]]
    asked, *answers = embedder.embed([question, *passages])
    return asked, max(float(np.dot(asked, each)) for each in answers)


def _rank(connection: Connection, asked: _Asked, space: str) -> int:
    """The place of the right source, behind all that are as near; 0 when it is not among the first."""
    vector, score = asked.vectors[space]
    of = [space, send(vector), CANDIDATES_MAX, asked.kind, asked.source_id, score - AS_NEAR]
    row: Any = connection.execute(NEARER, of).fetchone()
    return 1 + int(row[0]) if row[0] < DEPTH else 0


COMPLETE_SPACES = "select space from mv.kept_spaces(%s) where complete"
DRAW = """
  select source_id
  from mv.search_state
  where tenant_id = %s and not deleted and meaning_version is not null
  order by md5(source_id::text)
  limit %s
"""
TEXTS = """
  select s.kind, s.source_id, v.body
  from mv.search_state s
  join app.source_versions v on v.tenant_id = s.tenant_id
    and v.kind = s.kind
    and v.source_id = s.source_id
    and v.version = s.meaning_version
  where s.tenant_id = %s and s.source_id = any(%s) and not s.deleted
  order by s.kind, s.source_id
"""
NEARER = """
  select count(*)
  from mv.search_meaning(%s, %s::vector, null, null, null, %s) m
  where (m.kind, m.source_id) <> (%s, %s) and m.score >= %s
"""
KEEP_EVALUATION = """
  insert into app.space_evaluations as e (tenant_id, space, against, ranks, against_ranks)
  values (%s, %s, %s, %s, %s)
  on conflict (tenant_id, space, against)
  do update set
    ranks = excluded.ranks,
    against_ranks = excluded.against_ranks,
    evaluated_at = clock_timestamp()
"""
