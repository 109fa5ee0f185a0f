"""Tasks whose reading was taken away since: what of their transcripts and proposals is still shown.

Owns what a task stands on, as its steps note it, and from which step on its transcript is withheld: a model that has
read something may repeat it in whatever it says, asks of a tool, or has a sub-task do. Kinds of steps, names of tools,
states, times and costs stay. Works in the caller's transaction. See `api/withdrawn.py` for the rule. Refuses to end a
task that is at work (`acting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from api.agents.schemas import AgentResult, AgentStep, AgentTask, Proposal
from api.db import Connection
from api.withdrawn import NamedSource, SourceName, find_gone

_KINDS: Final = {"adr_id": "adr", "page_id": "page"}
"""What tools call the ids of sources that have no field for their kind beside them."""


class LostReading(NamedTuple):
    """What a task has read and that is gone. `step`: the first of its own that is withheld; 0 where it was gone from
    what its parent had read before it began."""

    sources: int
    step: int


def find_sources(given: Any) -> Iterator[SourceName]:
    """The sources that a tool's result is made of, as often as it names them. Pure."""
    if isinstance(given, dict):
        if given.get("source_id") and given.get("kind"):
            yield given["kind"], UUID(given["source_id"])
        yield from ((kind, UUID(given[field])) for field, kind in _KINDS.items() if given.get(field))
        given = list(given.values())
    if isinstance(given, list):
        for each in given:
            yield from find_sources(each)


def note(sources: Iterable[SourceName]) -> str:
    """Sources as they are noted, each once."""
    return msgspec.json.encode(msgspec.convert(_name(sources), list[NamedSource])).decode()


def _name(sources: Iterable[SourceName]) -> list[dict[str, Any]]:
    return [{"kind": kind, "source_id": source_id} for kind, source_id in dict.fromkeys(sources)]


def read_note(noted: str | None) -> list[SourceName]:
    """What was noted."""
    return [each.name for each in msgspec.json.decode(noted or "[]", type=list[NamedSource])]


_READ_LINE: Final = """
  with recursive line as (
    select task_id, parent_id, created_at, 'infinity'::timestamptz as before
    from app.agent_tasks
    where tenant_id = $1 and task_id = $2
    union all
    select t.task_id, t.parent_id, t.created_at, line.created_at
    from app.agent_tasks t
    join line on t.task_id = line.parent_id
    where t.tenant_id = $1
  )
  select case when line.task_id = $2 then s.number else 0 end as number, s.sources
  from line
  join app.agent_steps s on s.tenant_id = $1 and s.task_id = line.task_id
  where s.kind = 'tool' and s.state = 'done' and s.finished_at <= line.before
  order by 1
"""
"""What the tasks above it had read when they wrote the goal of the one below counts too."""


async def look(connection: Connection, tenant_id: UUID, task_id: UUID) -> LostReading | None:
    """What is gone of what a task stands on; None where all of it is there. A step that does not say what it gave
    counts as one that is gone."""
    rows = await connection.fetch(_READ_LINE, tenant_id, task_id)
    read = [(row["number"], None if row["sources"] is None else read_note(row["sources"])) for row in rows]
    gone = await find_gone(connection, (name for _, names in read for name in names or ()))
    lost = [number for number, names in read if names is None or not gone.isdisjoint(names)]
    unsaid = sum(names is None for _, names in read)
    return LostReading(len(gone) + unsaid, lost[0]) if lost else None


def withhold_task(task: AgentTask, lost: LostReading) -> AgentTask:
    """The task without what was written. The goal of a person stays; that of a sub-task is a model's. Pure."""
    result = task.result and AgentResult("", [], task.result.proposals, task.result.model, task.result.finish)
    goal = "" if task.parent_id is not None and not lost.step else task.goal
    return msgspec.structs.replace(task, goal=goal, result=result, withdrawn=lost.sources)


def withhold_step(step: AgentStep, lost: LostReading | None) -> AgentStep:
    """A step without what was asked and what came of it, from the first on that read what is gone. Pure."""
    if lost is None or step.number < lost.step:
        return step
    output: dict[str, Any] | None = None if step.output is None else {}
    return msgspec.structs.replace(step, input={}, output=output, withdrawn=True)


async def withhold_proposals(
    connection: Connection, found: Iterable[tuple[Proposal, list[SourceName]]]
) -> list[Proposal]:
    """Proposals, each with what it stands on, without the texts of those that stand on what is gone."""
    named = [(each, [*sources, *_about(each)]) for each, sources in found]
    gone = await find_gone(connection, (name for _, names in named for name in names))
    return [_withhold_proposal(each, len(gone.intersection(names))) for each, names in named]


def _about(proposal: Proposal) -> Iterator[SourceName]:
    """The records that it is about."""
    if proposal.adr_id is not None:
        yield "adr", proposal.adr_id
    if "target_id" in proposal.content:
        yield "adr", UUID(proposal.content["target_id"])


def _withhold_proposal(proposal: Proposal, lost: int) -> Proposal:
    return msgspec.structs.replace(proposal, content={}, reason="", withdrawn=lost) if lost else proposal
