"""Does the steps of tasks, one after the other: writes each down, does it, and writes down what it came to.

Owns one step from its row to its output, whatever becomes of the process meanwhile. What was begun and is not over is
done again under its own id: a tool that proposes finds its proposal there, and a model is asked anew only if its answer
was not written down. A model is asked through the gateway, as for any question: its slots, limits, budgets, stop and
books are the same, with the task as the session. While a step is done it is looked whether somebody cancelled the task.
Refuses to choose what is next (`plan`), and jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from api.agents import bounds, transcript, withholding
from api.agents.planning import Asking, Calling, count_steps, plan
from api.agents.schemas import AgentResult
from api.agents.toolset import AgentTools, ToolCaller
from api.agents.transcript import StepRow, TaskRow
from api.chat.grounding import Question
from api.chat.hearing import hear
from api.chat.ledger import Attempt
from api.chat.supervisor import AnswerSupervisor, Wishes
from api.db import Database, tenant_transaction
from api.jobs.wanted import WorkerHold, do_while_wanted
from api.mcp.tools import INSTEAD
from api.withdrawn import SourceName, tell_withheld
from connectors.llm.prices import PriceList
from connectors.llm.prompts import Prompt
from connectors.llm.routing.router import LlmRouter
from runtime.clock import Clock
from runtime.errors import (
    BudgetExceeded,
    CallerError,
    DependencyUnavailable,
    RateLimited,
)
from runtime.ids import new_id

WAIT_S: Final = 1.0
"""How long a task whose step waits for other work gives its place to others, in seconds; then it looks again."""

StepEnd = Literal["over", "waiting", "unwanted"]
"""What became of a step: it is written down what it came to; it waits for work that others do; nobody wants it."""


class WorkerClaim(NamedTuple):
    """A job that this worker has a lease of."""

    tenant_id: UUID
    task_id: UUID
    owner: str
    steps: int
    """Steps that the job knows to be over."""


class Taken(NamedTuple):
    """What a step came to. `phase` is for people; `result`: the task is over."""

    phase: str
    steps: int
    result: AgentResult | None = None
    pause_s: float = 0.0
    """A step waits for other work: the place is given to others for so long."""


class AgentActor:
    """Does steps for one process, in one event loop."""

    def __init__(
        self,
        database: Database,
        tools: AgentTools,
        supervisor: AnswerSupervisor,
        router: LlmRouter,
        prices: PriceList,
        output_tokens_max: int,
        clock: Clock,
    ) -> None:
        self._database = database
        self._tools = tools
        self._supervisor = supervisor
        self._router = router
        self._prices = prices
        self._output_tokens_max = output_tokens_max
        self._clock = clock

    async def take_step(self, claim: WorkerClaim) -> Taken:
        """Do the next step of a task, or say what came of it. Raises `BoundReached`, `Gone` for one that has read what
        was deleted since, `DependencyUnavailable` to be tried again, `Fenced` where another worker has it, and what the
        gateway refuses."""
        async with tenant_transaction(self._database, claim.tenant_id, read_only=True) as connection:
            found = await transcript.read(connection, *claim[:3])
            lost = await withholding.look(connection, *claim[:2])
        if found is None:
            return Taken("deleted", 0)
        task, steps = found
        over = [step for step in steps if step.is_over]
        if not task.wanted:
            return Taken("cancelled", len(over))
        if claim.steps < len(over):  # a worker was lost between a step and its job
            return Taken("going on", len(over))
        if task.seconds_left <= 0:
            raise bounds.reach_time(task.request.bounds)
        if lost is not None:
            raise tell_withheld("the task", lost.sources)
        following = plan(task, over, self._output_tokens_max)
        if isinstance(following, AgentResult):
            return Taken("done", len(over), following)
        begun = next((step for step in steps if not step.is_over), None)
        step = begun or await self._begin(claim, task, over, following)
        end = await self._do(claim, task, step, following)
        if end == "unwanted":
            return Taken("cancelled", len(over))
        if end == "waiting":
            return Taken(f"waiting: {step.name}", len(over), pause_s=min(WAIT_S, task.seconds_left))
        return Taken(f"{step.kind} {step.name}", len(over) + 1)

    async def _begin(
        self, claim: WorkerClaim, task: TaskRow, over: list[StepRow], following: Calling | Asking
    ) -> StepRow:
        """Write the next step down."""
        bounds.require_step(task.request.bounds, count_steps(over))
        number, step_id = len(over) + 1, new_id()
        if isinstance(following, Calling):
            said = {"arguments": following.arguments, "call_id": following.call_id}
            step = StepRow(number, step_id, "tool", following.name[:200] or "unnamed", said)
        else:
            asked = {"messages": len(following.prompt.messages), "bytes": following.prompt.size_bytes}
            step = StepRow(number, step_id, "model", task.request.model or "default", asked)
        async with tenant_transaction(self._database, claim.tenant_id) as connection:
            await transcript.begin(connection, *claim[:3], step)
        return step

    async def _do(self, claim: WorkerClaim, task: TaskRow, step: StepRow, following: Calling | Asking) -> StepEnd:
        """Do a step that is written down, within what is left of the time."""
        if isinstance(following, Calling):
            work: Awaitable[StepEnd] = self._call(claim, task, step, following)
        else:
            work = self._ask(claim, task, step, following.prompt)
        try:
            async with asyncio.timeout(task.seconds_left):
                return await do_while_wanted(self._database, WorkerHold(*claim[:3]), work) or "unwanted"
        except TimeoutError:
            raise bounds.reach_time(task.request.bounds) from None

    # --- tools ----------------------------------------------------------------------------------------------------

    async def _call(self, claim: WorkerClaim, task: TaskRow, step: StepRow, calling: Calling) -> StepEnd:
        """Call a tool as the user. What it cannot do is told to the model, which may ask otherwise."""
        caller = ToolCaller(claim.tenant_id, task.asked_by, claim.task_id, step.step_id, step.begun_s_ago)
        try:
            reading = await self._tools.run(caller, calling.name, calling.arguments, task.request.tools)
        except CallerError as error:
            # Routes are nothing that a model can ask.
            hint = INSTEAD if "/v1/" in error.hint else error.hint
            told = {"code": error.code, "detail": error.detail, "hint": hint}
            await self._record(claim, step, {"error": told}, failed=True)
        else:
            if reading is None:
                return "waiting"
            await self._record(claim, step, {"result": reading.result}, reading.sources)
        return "over"

    # --- models ---------------------------------------------------------------------------------------------------

    async def _ask(self, claim: WorkerClaim, task: TaskRow, step: StepRow, prompt: Prompt) -> StepEnd:
        """Ask a model, by an attempt that is noted in the step before it begins."""
        order = task.request
        user_id, process_id = task.asked_by, self._supervisor.process_id
        async with tenant_transaction(self._database, claim.tenant_id, read_only=True) as connection:
            spent = await bounds.read_spent(connection, claim.tenant_id, user_id, claim.task_id)
        if order.plan == "model":
            prices = self._find_prices(order.model)
            prompt = bounds.fit(prompt, order.bounds, spent, prices, prices_known=order.prices_known)
        attempt = Attempt(
            tenant_id=claim.tenant_id,
            user_id=user_id,
            session_id=claim.task_id,
            attempt_id=new_id(),
            request_id=str(step.step_id),
            path=f"/v1/agents/tasks/{claim.task_id}",
            key_id=task.key_id,
        )
        async with tenant_transaction(self._database, claim.tenant_id) as connection:
            await transcript.note_attempt(connection, claim.tenant_id, claim.task_id, step.number, attempt.attempt_id)
        try:
            said = await hear(self._supervisor.start(attempt, Question(prompt), Wishes(order.model)))
        except BudgetExceeded:
            raise
        except RateLimited as error:
            # Whoever asks too fast waits, for as long as the task has time.
            wait_s = error.coordinates.get("retry_after_s", 0)
            if wait_s > task.seconds_left:
                raise
            raise DependencyUnavailable(error.detail, hint=error.hint) from error
        # What is over is in the ledger: a process that dies behind this leaves nothing to be guessed.
        await bounds.wait_until_settled(self._database, claim.tenant_id, user_id, claim.task_id, process_id)
        await self._record(claim, step, said)
        return "over"

    def _find_prices(self, model: str | None) -> list[Any]:
        """The price of each model that may be asked; None for one that is not known."""
        now = self._clock.now()
        targets = self._router.identify(model).targets
        return [self._prices.find(provider, named, now) for provider, _, named in targets]

    async def _record(
        self,
        claim: WorkerClaim,
        step: StepRow,
        output: dict[str, Any],
        sources: Sequence[SourceName] = (),
        *,
        failed: bool = False,
    ) -> None:
        """Write down what a step came to."""
        state: Any = "failed" if failed else "done"
        async with tenant_transaction(self._database, claim.tenant_id) as connection:
            await transcript.record(connection, claim.tenant_id, claim.task_id, step.number, output, state, sources)
