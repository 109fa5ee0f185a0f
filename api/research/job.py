"""The job `research`: the steps of one question, each committed before the next begins.

Owns what a step keeps (the state of the rounds, and at the end the result and the event), and how far that is of how
much. A worker that dies costs the step that it was in: the next one goes on from the state that was kept, and there is
one result. Refuses the steps themselves (`api/research/researcher.py`). Whoever deleted the question meanwhile has
nothing done for it any more.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from api.jobs.wanted import WorkerHold
from api.research import passes
from api.research.asking import ResearchDesk
from api.research.passes import ResearchState
from api.research.researcher import Researcher
from api.research.schemas import ResearchRequest, ResearchResult
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from schemas.jobs import RESEARCH

UNIT: Final = "steps"
REST: Final = 2
"""Steps behind the rounds: ranking anew, and the answer."""


class _Step(NamedTuple):
    """What a step came to: the state after it, or the result."""

    phase: str
    state: ResearchState
    result: ResearchResult | None = None


class _Question(NamedTuple):
    """A question as its row has it. `state` None: nothing was done yet."""

    request: ResearchRequest
    state: ResearchState | None


class ResearchJob(JobKind):
    """Steps: one each round, one to rank anew, one for a model to write, one to answer."""

    name = RESEARCH

    def __init__(self, desk: ResearchDesk) -> None:
        self._desk = desk

    def prepare(self, connection: Connection, job: ClaimedJob) -> _Step | None:
        question = _read(connection, job)
        if question is None:
            return None
        request, state = question
        if state is None:
            state = Researcher.begin(request)
        tenant_id = job.tenant_id
        step = passes.choose_step(request, state)
        if step == "search":
            searched = self._desk.run(lambda researcher: researcher.search(tenant_id, request, state))
            return _Step("searching", searched)
        if step == "rerank":
            ranked = self._desk.run(lambda researcher: researcher.rerank(tenant_id, request, state))
            return _Step("ranking", ranked)
        if step == "write":
            hold = WorkerHold(tenant_id, job.job_id, job.owner)
            written = self._desk.run(lambda researcher: researcher.write(hold, request, state))
            return _Step("writing", written)
        result = self._desk.run(lambda researcher: researcher.answer(tenant_id, request, state))
        return _Step("answered" if result.answered else "not in the sources", state, result)

    def apply(self, connection: Connection, job: ClaimedJob, prepared: _Step | None) -> JobProgress:
        if prepared is None:
            return JobProgress("deleted", 1, 1, UNIT, finished=True)
        phase, state, result = prepared
        if result is not None:
            connection.execute(_FINISH, [_jsonb(result), job.tenant_id, job.job_id])
            connection.execute(_EMIT_COMPLETED, [job.tenant_id, job.job_id])
            done = job.done + 1
            return JobProgress(phase, done, done, UNIT, finished=True, result=_summary(result))
        connection.execute(_KEEP, [_jsonb(state), job.tenant_id, job.job_id])
        rounds_left = bool(state.planned)
        total = job.done + 1 + rounds_left + (REST if phase == "searching" else 1)
        return JobProgress(phase, job.done + 1, total, UNIT, {"step": job.done + 1})


def _summary(result: ResearchResult) -> dict[str, int]:
    """What the job's row says: counts, and none of the content."""
    return {
        "parts": len(result.parts),
        "parts_answered": sum(part.answered for part in result.parts),
        "sources": len(result.sources),
        "claims": sum(len(part.claims) for part in result.parts),
    }


_FIND = "select request, progress from app.research where tenant_id = %s and research_id = %s"


def _read(connection: Connection, job: ClaimedJob) -> _Question | None:
    """The question and where it stands; None where it was deleted."""
    row = connection.execute(_FIND, [job.tenant_id, job.job_id]).fetchone()
    if row is None:
        return None
    request, progress = row
    state = msgspec.convert(progress, ResearchState) if progress else None
    return _Question(msgspec.convert(request, ResearchRequest), state)


def _jsonb(value: msgspec.Struct) -> Jsonb:
    return Jsonb(msgspec.to_builtins(value))


_KEEP = "update app.research set progress = %s where tenant_id = %s and research_id = %s"

_FINISH = "update app.research set progress = '{}', result = %s where tenant_id = %s and research_id = %s"

_EMIT_COMPLETED = """
  select app.emit(
    'rag.search.completed', jsonb_build_object('tenant_id', r.tenant_id, 'id', r.research_id), r.tenant_id,
    jsonb_build_object(
      'event_id', gen_random_uuid(), 'tenant_id', r.tenant_id,
      'occurred_at', (extract(epoch from clock_timestamp()) * 1000000)::bigint, 'job_id', r.research_id,
      'answered', r.result -> 'answered', 'parts', jsonb_array_length(r.result -> 'parts'),
      'parts_answered', (
        select count(*)
        from jsonb_array_elements(r.result -> 'parts') as part
        where (part ->> 'answered')::boolean
      ),
      'sources', jsonb_array_length(r.result -> 'sources'),
      'claims', (
        select coalesce(sum(jsonb_array_length(part -> 'claims')), 0)
        from jsonb_array_elements(r.result -> 'parts') as part
      ),
      'dropped', (
        select coalesce(sum((part ->> 'dropped')::integer), 0)
        from jsonb_array_elements(r.result -> 'parts') as part
      ),
      'passes', jsonb_array_length(r.result -> 'passes')
    ),
    case when j.traceparent is null then '{}'::jsonb else jsonb_build_object('traceparent', j.traceparent) end
  )
  from app.research r
  join app.jobs j on j.tenant_id = r.tenant_id and j.job_id = r.research_id
  where r.tenant_id = %s and r.research_id = %s
"""
