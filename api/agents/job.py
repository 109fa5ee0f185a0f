"""The job `agent_task`: each step of the job is one step of the task.

Owns how far a task is, as its job says it, and the result in the transaction that ends the job; that a task is over is
then told by the database itself. The steps' own rows are written by whoever does them, before and after
(`api/agents/acting.py`): a worker that dies costs the step that it was in, and what is over is not done again.
"""

from __future__ import annotations

from typing import Final

import msgspec
from psycopg.types.json import Jsonb

from api.agents.acting import Taken, WorkerClaim
from api.agents.desk import AgentDesk
from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from schemas.jobs import AGENT_TASK

UNIT: Final = "steps"

_FINISH: Final = "update app.agent_tasks set result = %s where tenant_id = %s and task_id = %s"


class AgentTaskJob(JobKind):
    """A task of an agent."""

    name = AGENT_TASK

    def __init__(self, desk: AgentDesk) -> None:
        self._desk = desk

    def prepare(self, connection: Connection, job: ClaimedJob) -> Taken:
        claim = WorkerClaim(job.tenant_id, job.job_id, job.owner, job.position.get("steps", 0))
        return self._desk.run(lambda actor: actor.take_step(claim))

    def apply(self, connection: Connection, job: ClaimedJob, prepared: Taken) -> JobProgress:
        phase, steps, result, pause_s = prepared
        position = {"steps": steps}
        if result is None:
            return JobProgress(phase, steps, None, UNIT, position, pause_s=pause_s)
        connection.execute(_FINISH, [Jsonb(msgspec.to_builtins(result)), job.tenant_id, job.job_id])
        told = {"steps": steps, "proposals": len(result.proposals), "consulted": len(result.consulted)}
        return JobProgress(phase, steps, steps, UNIT, position, finished=True, result=told)
