"""Two attempts of one answer at a time: a second target is asked when the first has given nothing for a while.

Owns the tasks of the two, and who of them is ended when. Each has its own row in the books, with its own reservation;
the one that loses is stopped and settled like any that was cancelled. Refuses who is first (`HedgeRace`, which is
pure), who can be asked (`connectors/llm/routing`), and the books (`supervisor`, which it asks for both).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from api.chat.attempts import RunningAttempt
from api.chat.ledger import Outcome
from connectors.llm.failures import Failure
from connectors.llm.prompts import Prompt
from connectors.llm.routing.hedging import HedgeRace
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError

HEDGED = "hedged"
"""The code of an attempt that was stopped because another one answered first."""


class RaceOwner(Protocol):
    """Whoever owns the answer, and the attempts that are not settled."""

    def begin_second(self) -> RunningAttempt | None:
        """A second attempt, with its slot; None when nobody can be asked now."""

    async def enter(self, running: RunningAttempt) -> None:
        """Put it into the books. Raises what `ledger.begin` does; nobody may be asked then."""

    def choose(self, running: RunningAttempt) -> None:
        """The answer is that of `running` from here on."""

    def drop(self, running: RunningAttempt, outcome: Outcome, code: str) -> None:
        """An attempt is not the answer's: give back its slot, and settle it."""


class AnswerRace:
    """One answer's. `read` is what `RunningAttempt.read` is, for whichever of the two answers."""

    def __init__(self, first: RunningAttempt, prompt: Prompt, wait_s: float, owner: RaceOwner, clock: Clock) -> None:
        self._core = HedgeRace(wait_s, clock.monotonic())
        self._prompt = prompt
        self._owner = owner
        self._clock = clock
        self._runners = [first]
        self._tasks: list[asyncio.Task[Failure | None]] = []
        self._chosen = 0
        self._refused: AdriaticError | None = None
        first.claim = lambda: self._claim(0)

    async def read(self) -> Failure | None:
        """Ask until one has answered: None, or what went wrong with the last that could have. What is left of the other
        is stopped, however this ends."""
        first = self._runners[0].attempt.attempt_id
        self._tasks = [
            asyncio.create_task(self._runners[0].read(self._prompt), name=f"first {first}"),
            asyncio.create_task(self._ask_second(), name=f"second {first}"),
        ]
        # Not below: waiting can be interrupted, and what a loser holds must come back all the same.
        self._tasks[1].add_done_callback(lambda task: self._end(1, task))
        self._tasks[0].add_done_callback(lambda task: self._end(0, task))
        try:
            return await self._wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if outcome := self._core.outcome:
                metrics.LLM_HEDGES.labels(outcome).inc()

    async def _wait(self) -> Failure | None:
        waiting, failure = set(self._tasks), None
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for number in sorted(self._tasks.index(task) for task in done):
                task = self._tasks[number]
                if task.cancelled() or number >= len(self._runners):  # it lost; nobody was asked
                    continue
                if self._core.winner == number:
                    return task.result()
                failure = task.result() or failure
                if not self._core.fail(number):
                    return failure
                if number == self._chosen:
                    self._choose(1 - number)
                    self._end(number, task)
        return failure

    async def _ask_second(self) -> Failure | None:
        """Wait, then ask somebody else. None where nobody was asked, or all was well."""
        await asyncio.sleep(self._core.find_wait(self._clock.monotonic()))
        if not self._core.may_begin():
            return None
        second = self._owner.begin_second()
        if second is None:
            metrics.LLM_HEDGES.labels("unavailable").inc()
            return None
        second.claim = lambda: self._claim(1)
        self._runners.append(second)
        self._core.begin_second()
        try:
            await self._owner.enter(second)
        except AdriaticError as error:  # a budget has too little for two: the first goes on
            self._refused = error
            return None
        return await second.read(self._prompt)

    def _claim(self, number: int) -> bool:
        """Content came for a runner: whether it answers. Then the other one is stopped at once."""
        if self._core.winner is not None or not self._core.claim(number):
            return self._core.winner == number
        self._choose(number)
        self._tasks[1 - number].cancel()
        if len(self._runners) > 1:
            self._runners[1 - number].call.lose()
        return True

    def _choose(self, number: int) -> None:
        if number != self._chosen:
            self._chosen = number
            self._owner.choose(self._runners[number])

    def _end(self, number: int, task: asyncio.Task[Failure | None]) -> None:
        """A runner ended. The one that answers, or could, is its owner's to settle."""
        if number == self._chosen or number >= len(self._runners):
            return
        if task.cancelled() or task.exception():
            self._owner.drop(self._runners[number], "cancelled", HEDGED if self._core.winner is not None else "")
            return
        reason = self._refused or getattr(task.result(), "error", lambda: None)()
        self._owner.drop(self._runners[number], "failed", reason.code if reason else "")
