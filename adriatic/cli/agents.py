"""`adriatic agents`: give an agent a goal and see its steps as they come; answer what it proposes.

Owns the wording and the exit code. Ctrl-C leaves a task running, and says how to come back to it. Refuses to do a step
by itself: a task is a job of the installation, and goes on when nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, get_args
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import hide_controls, json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable
from runtime.ids import new_id

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.agents.schemas import AgentStep, AgentTask, AgentTaskPage, Proposal, ProposalPage

PATH: Final = "/v1/agents/tasks"
PROPOSALS: Final = "/v1/agents/proposals"
POLL_S: Final = 0.3
"""Pause between two looks: short enough for a person, and nothing to the API."""
WAIT_S_MAX: Final = 4_000.0
"""Longest wait, in seconds: longer than any task may take, with time for a worker to take it up."""
NOT_DONE: Final = 1
"""The exit code of a task that failed, was cancelled, or reached a bound."""
STATES: Final = ("open", "accepted", "dismissed")
SHOWN_CHARS: Final = 160
"""What is shown of the arguments or the words of a step; `--json` has all of them."""


@click.group("agents")
def agents() -> None:
    """Goals that an agent pursues in steps, and what it proposes to write."""


@agents.command("run")
@click.argument("goal", nargs=-1, required=True)
@click.option("--tool", "tools", multiple=True, metavar="NAME", help="A tool it may use; repeat it for several.")
@click.option("--propose", is_flag=True, help="It may use all tools that read or propose records, links and tags.")
@click.option("--model", metavar="NAME", help="A model, as the settings name it.")
@click.option("--steps", type=click.IntRange(min=1), help="Calls of models and tools at most.")
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens at most.")
@click.option("--usd", type=click.FloatRange(min=0), help="US dollars that it may cost.")
@click.option("--seconds", type=click.IntRange(min=1), help="Seconds at most.")
@click.option("--no-wait", is_flag=True, help="Print its id, and leave it to the worker.")
@where_options
@json_option("Print the task as JSON at its end, with its steps.")
def run(
    goal: tuple[str, ...],
    tools: tuple[str, ...],
    propose: bool,
    model: str | None,
    steps: int | None,
    tokens: int | None,
    usd: float | None,
    seconds: int | None,
    no_wait: bool,
    where: Where,
    as_json: bool,
) -> None:
    """Give an agent a goal, and see each step as it is done.

    Exits with 0 when the task is done, with 1 when it failed, was cancelled or reached a bound, and with 3 when that
    cannot be told because something does not answer.

    \b
    adriatic agents run "Which decisions speak against a second broker?"
    adriatic agents run --propose --usd 0.20 "Find decisions that supersede each other, and propose the links"
    """
    from api.agents.schemas import ASKED_FOR_ALONE, AgentTask, ToolName

    if tools and propose:
        raise click.UsageError("--propose allows all tools that read or propose: leave out --tool")
    proposing = [name for name in get_args(ToolName) if name not in ASKED_FOR_ALONE]
    allowed = proposing if propose else list(tools) or None
    micro_usd = None if usd is None else round(usd * 1_000_000)
    bounds = {"steps": steps, "tokens": tokens, "micro_usd": micro_usd, "seconds": seconds}
    asked = {"goal": " ".join(goal), "tools": allowed, "model": model, **bounds}
    given = {name: value for name, value in asked.items() if value is not None}
    with where.connect(PATIENCE_S_MAX) as remote:
        # With a key of its own: repeated while the API is away, it is asked once.
        task = remote.ask_again(PATH, given, AgentTask, {"idempotency-key": str(new_id())})
        _end(remote, task, as_json, waits=not no_wait)


@agents.command("show")
@click.argument("task", type=click.UUID)
@where_options
@json_option("Print the task as JSON, with its steps.")
def show_task(task: UUID, where: Where, as_json: bool) -> None:
    """Come back to a task: its steps so far, those to come, and what came of it."""
    from api.agents.schemas import AgentTask

    with where.connect(PATIENCE_S_MAX) as remote:
        _end(remote, remote.request("GET", f"{PATH}/{task}", AgentTask), as_json, waits=True)


@agents.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many at most.")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_(limit: int, where: Where, as_json: bool) -> None:
    """List your tasks, the newest first."""
    from api.agents.schemas import AgentTaskPage

    with where.connect(PATIENCE_S_MAX) as remote:
        page = remote.request("GET", PATH, AgentTaskPage, limit=limit)
    show(as_json, msgspec.json.encode(page), list_lines(page))


@agents.command("cancel")
@click.argument("task", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def cancel(task: UUID, where: Where, as_json: bool) -> None:
    """End a task within a second. What it proposed stays."""
    from api.agents.schemas import AgentTask

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("POST", f"{PATH}/{task}/cancel", AgentTask)
    show(as_json, msgspec.json.encode(found), [f"{found.state}: it ends" if found.cancel_requested else found.state])


@agents.command("proposals")
@click.option("--state", type=click.Choice(STATES), default="open", show_default=True, help="Only these.")
@click.option("--task", type=click.UUID, help="Only those of this task.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@where_options
@json_option("Print the answer of the API as JSON.")
def proposals(state: str, task: UUID | None, limit: int, where: Where, as_json: bool) -> None:
    """Show what agents propose to write."""
    from api.agents.schemas import ProposalPage

    with where.connect(PATIENCE_S_MAX) as remote:
        page = remote.request("GET", PROPOSALS, ProposalPage, state=state, task_id=task, limit=limit)
    show(as_json, msgspec.json.encode(page), proposal_lines(page))


@agents.command("accept")
@click.argument("proposal", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def accept(proposal: UUID, where: Where, as_json: bool) -> None:
    """Write what is proposed, as a change of your own. Accepting again changes nothing."""
    _answer(proposal, "accept", where, as_json)


@agents.command("dismiss")
@click.argument("proposal", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def dismiss(proposal: UUID, where: Where, as_json: bool) -> None:
    """Say no to a proposal. Nothing is written."""
    _answer(proposal, "dismiss", where, as_json)


def _answer(proposal: UUID, verb: str, where: Where, as_json: bool) -> None:
    from api.agents.schemas import Proposal

    with where.connect(PATIENCE_S_MAX) as remote:
        found = remote.request("POST", f"{PROPOSALS}/{proposal}/{verb}", Proposal)
    show(as_json, msgspec.json.encode(found), of_proposal(found))


def _end(remote: Remote, task: AgentTask, as_json: bool, *, waits: bool) -> None:
    """Show a task and its steps, to its end if somebody waits for it."""
    if not waits:
        show(as_json, msgspec.json.encode(task), [f"given: adriatic agents show {task.task_id}"])
        return
    steps: list[AgentStep] = []
    try:
        for step in _follow(remote, task.task_id):
            steps.append(step)
            click.echo(step_line(step), err=True)
    except KeyboardInterrupt:
        click.echo(f"it goes on: adriatic agents show {task.task_id}", err=True)
        raise
    task = remote.request("GET", f"{PATH}/{task.task_id}", type(task))
    told = msgspec.to_builtins(task) | {"transcript": msgspec.to_builtins(steps)}
    show(as_json, msgspec.json.encode(told), task_lines(task))
    if task.state != "succeeded":
        click.get_current_context().exit(NOT_DONE)


def _follow(remote: Remote, task_id: UUID) -> Iterator[AgentStep]:
    """The steps that are over, as they come, until the task is. Raises `DependencyUnavailable` when that takes too
    long."""
    from api.agents.schemas import AgentStepPage, AgentTask

    deadline = Deadline.after(WAIT_S_MAX)
    seen = 0
    while True:
        # Looked at before its steps, so that none of them is missed at the end.
        ended = remote.request("GET", f"{PATH}/{task_id}", AgentTask).finished_at is not None
        more = True
        while more:
            page = remote.request("GET", f"{PATH}/{task_id}/steps", AgentStepPage, after=seen)
            for step in page.items:
                if step.output is not None:
                    seen = step.number
                    yield step
            more = page.more
        if ended:
            return
        if deadline.passed:
            raise DependencyUnavailable(
                f"it is not done after {WAIT_S_MAX:g} s",
                hint=f"`adriatic status` shows whether `jobs` runs; then `adriatic agents show {task_id}`",
            )
        SYSTEM_CLOCK.sleep(POLL_S)


# --- what is shown --------------------------------------------------------------------------------------------------


def step_line(step: AgentStep) -> str:
    """One line a step: what was called, and what came of it."""
    output = step.output or {}
    if step.withdrawn:
        said = "withheld: it stands on what was deleted since"
    elif step.kind == "model":
        calls = ", ".join(call["name"] for call in output.get("calls", ()))
        said = f"calls {calls}" if calls else output.get("text", "")
    elif step.state == "failed":
        said = f"refused: {output['error']['detail']}"
    else:
        said = str(step.input.get("arguments", ""))
    return f"{step.number:>3}  {step.kind:<5}  {step.name}  {_cut(said)}"


def task_lines(task: AgentTask) -> Iterator[str]:
    """What came of a task, and what it cost."""
    if task.withdrawn:
        yield f"withheld: it had read {task.withdrawn} source(s) deleted since"
    elif task.result is not None:
        yield hide_controls(task.result.text.rstrip("\n"), keep_lines=True)
        if task.result.consulted:
            yield ""
            for number, name in enumerate(task.result.consulted, 1):
                yield f"[{number}] {hide_controls(name, keep_lines=True)}"
        if task.result.proposals:
            count = len(task.result.proposals)
            yield f"\n{count} proposed: adriatic agents proposals --task {task.task_id}"
    elif task.last_error is not None:
        yield f"{task.state}: {task.last_error.detail}"
        yield f"hint: {task.last_error.hint}"
    else:
        yield task.state
    if task.spent is not None:
        cost = "at a price that is not known" if task.spent.micro_usd is None else f"${task.spent.micro_usd / 1e6:.4f}"
        yield f"\n{task.steps} steps, {task.spent.tokens} tokens, {cost}"


def list_lines(page: AgentTaskPage) -> Iterator[str]:
    """A line a task."""
    if not page.items:
        yield "no tasks"
    for each in page.items:
        yield f"{each.task_id}  {each.state:<9}  {each.steps:>3} steps  {_cut(each.goal)}"


def proposal_lines(page: ProposalPage) -> Iterator[str]:
    """What is proposed, why, and the id to answer with."""
    if not page.items:
        yield "nothing is proposed"
    for each in page.items:
        yield from of_proposal(each)


def of_proposal(each: Proposal) -> Iterator[str]:
    """One proposal."""
    if each.withdrawn:
        what = f"withheld: it stands on {each.withdrawn} source(s) deleted since"
    elif each.kind == "adr":
        what = f"a new ADR in {each.content['log']}: {each.content['title']}"
    elif each.kind == "link":
        what = f"a link {each.content['kind']} from {each.adr_id} to {each.content['target_id']}"
    else:
        what = f"the tag {each.content['tag']} for {each.adr_id}"
    yield click.style(hide_controls(what, keep_lines=True), bold=True)
    yield f"  {_cut(each.reason)}"
    by = f" by {each.answered_by}" if each.answered_by else ""
    yield click.style(f"  {each.state}{by}  {each.proposal_id}", dim=True)


def _cut(said: str) -> str:
    line = hide_controls(" ".join(said.split()), keep_lines=True)
    return line if len(line) <= SHOWN_CHARS else f"{line[:SHOWN_CHARS]} …"
