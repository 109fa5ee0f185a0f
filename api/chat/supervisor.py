"""Answers in flight: who may begin one, the task that asks the provider, and the books at the end.

A response generator may never start, and is not closed when the caller leaves (measured), so it owns nothing here. The
supervisor does: a slot is taken when an answer is begun, and given back when its task ends, however it ends; in the
same moment the attempt is settled, once. Whoever reads has a cursor, and the answer is stopped when nobody reads it.

An answer can have several attempts, one after the other: when a provider fails before its first content, the next one
is asked; afterwards only for a caller who wants the answer anew. Where its model says so, two can race for the first
content (`AnswerRace`); where it looks things up, each round is an attempt as well (`rounds`). Each attempt has its own
row, settled by itself.

No connection to the database is held while an answer is written. An attempt is settled by a task of its own, which
tries again while the database is away. Read next: `answers`, `attempts`, `writing`, `ledger`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

import msgspec

from api.chat import caching, ledger
from api.chat.answers import Answer
from api.chat.attempts import RunningAttempt
from api.chat.books import UNSETTLED_MAX, AttemptBooks
from api.chat.caching import CachePolicy
from api.chat.calls import ModelCalls
from api.chat.grounding import Question
from api.chat.keeping import AnswerKeeper, Kept
from api.chat.ledger import Attempt, Meter, Outcome
from api.chat.limits import UseLimits
from api.chat.presence import Presence
from api.chat.racing import AnswerRace
from api.chat.rounds import ToolRounds
from api.chat.schemas import OnDisconnect, OnFailure
from api.chat.sharing import AnswerSharing, SharedQuestion
from api.chat.starting import StartPacer
from api.chat.tools import Toolbox
from api.chat.traces import SAVES, AnswerTraces
from api.chat.writing import AnswerWriter
from api.db import Database
from api.spend.purse import Purse
from api.spend.watch import StopOrder, SwitchWatch
from connectors.llm import prices
from connectors.llm.extractive import ExtractiveProvider
from connectors.llm.failures import Failure
from connectors.llm.prompts import Prompt
from connectors.llm.routing.router import Candidates, EndpointCall, LlmRouter
from runtime import metrics, stages
from runtime.clock import Clock
from runtime.errors import AdriaticError, DependencyUnavailable, OperatingError, RateLimited, Stopped
from runtime.ids import new_id
from runtime.logs import get_logger
from runtime.settings import LimitSettings, LlmSettings

CLOSE_S_MAX = 10.0
"""How long the end of the process waits for attempts that are not settled yet."""

log = get_logger("chat")


class Wishes(msgspec.Struct, frozen=True):
    """How a caller wants an answer: from which model, what is to be done when its provider breaks off, or when nobody
    reads it any more, and which answers of before will do; `cache` None: none, and nobody else gets this one."""

    model: str | None = None
    on_failure: OnFailure = "error"
    on_disconnect: OnDisconnect = "stop"
    cache: CachePolicy | None = None


class _Run:
    """One answer being written. `attempt` names the first of its attempts."""

    def __init__(
        self, writer: AnswerWriter, candidates: Candidates, prompt: Prompt, attempt: Attempt, wishes: Wishes
    ) -> None:
        self.writer = writer
        self.candidates = candidates
        self.prompt = prompt
        self.attempt = attempt
        self.current: RunningAttempt | None = None
        """The attempt that is not settled yet."""
        self.second: RunningAttempt | None = None
        """One that races with it."""
        self.kept: Kept | None = None
        self.shared: SharedQuestion | None = None
        self.admitted = False
        """The question was counted against the limits."""
        self.spends = True
        """It asks a provider, or is about to; not while it looks for an answer of before."""
        self.asked = False
        """Its first attempt was begun."""
        self.model = wishes.model
        self._on_failure = wishes.on_failure

    def write_prompt(self, call: EndpointCall) -> Prompt:
        """What is asked now: the question, and what tools have found since."""
        rounds = self.writer.rounds
        return rounds.extend(self.prompt, call.target.key) if rounds else self.prompt

    def may_go_on(self, failure: Failure, after: EndpointCall) -> bool:
        """Whether the next one is to be asked: freely before the first content, then for who wants it anew."""
        return (not after.began or self._on_failure == "restart") and self.candidates.may_go_on(failure, after)


class AnswerSupervisor:
    """One per process."""

    def __init__(
        self, database: Database, settings: LlmSettings, limits: LimitSettings, router: LlmRouter, clock: Clock
    ) -> None:
        self._limits = UseLimits(limits)
        self._prices = prices.load(settings.prices)
        self._database = database
        self._settings = settings
        self._router = router
        self._clock = clock
        self._presence = Presence(database)
        self._books = AttemptBooks(database, self._presence.process_id, clock)
        self.calls = ModelCalls(self._books, self._prices, self._limits, clock, lambda: self._switch.wake())
        self._sharing = AnswerSharing(database, settings.cache_s, stores=settings.kept_days > 0)
        self.keeper = AnswerKeeper(database, self._presence.process_id, clock)
        self.traces = AnswerTraces()
        self.starts = StartPacer(settings, clock, lambda: len(self._running), database.connections_max)
        self._of_tenant: Counter[UUID] = Counter()
        self._running: dict[asyncio.Task[None], _Run] = {}
        self._settling: dict[asyncio.Task[None], RunningAttempt] = {}
        self._switch = SwitchWatch(database, self._list_spenders, self._stop_spending)
        self._closing = False

    @property
    def process_id(self) -> UUID:
        """The id that this process's attempts have."""
        return self._presence.process_id

    def open(self) -> None:
        """Begin to say that this process lives."""
        self._presence.open()

    def admit(self, tenant_id: UUID, model: str | None = None) -> None:
        """Raises `RateLimited` when the tenant has its share, `DependencyUnavailable` when the process is full, and
        `NotFound` when there is no such model."""
        self._router.check(model)
        if self._closing:
            raise DependencyUnavailable("this process is about to end", hint="ask again")
        if self._of_tenant[tenant_id] >= self._settings.streams_per_tenant_max:
            raise RateLimited(
                f"{self._settings.streams_per_tenant_max} answers of this tenant are being written",
                hint="wait until one ends (llm.streams_per_tenant_max)",
            )
        if len(self._running) >= self._settings.streams_max:
            raise DependencyUnavailable(
                f"{self._settings.streams_max} answers are being written", hint="ask again (llm.streams_max)"
            )
        if len(self._settling) >= UNSETTLED_MAX:
            raise DependencyUnavailable(
                "what answers cost cannot be recorded now: the database does not take it", hint="ask again later"
            )

    def start(self, attempt: Attempt, question: Question, wishes: Wishes, toolbox: Toolbox | None = None) -> Answer:
        """Takes a slot and begins to ask. `toolbox` runs the tools that the prompt offers; without it they are the
        caller's. Raises as `admit` does, and `InvalidInput` when the model does not take such
        a question; then nothing has begun."""
        self.admit(attempt.tenant_id, wishes.model)
        prompt, router = question.prompt, self._router
        # Where nothing was found there is nothing to ask a model about.
        quotes = question.has_nothing_to_ask
        candidates = router.choose_quoting(prompt) if quotes else router.choose(wishes.model, prompt)
        answer = Answer(new_id())
        rounds = ToolRounds(toolbox, question.sources) if toolbox else None
        writer = AnswerWriter(answer, attempt, question, self._clock, rounds)
        run = _Run(writer, candidates, prompt, attempt, wishes)
        task = asyncio.create_task(self._write(run), name=f"chat {attempt.attempt_id}")
        self.traces.keep(answer.answer_id, attempt)
        self._of_tenant[attempt.tenant_id] += 1
        self._running[task] = run
        metrics.CHATS_ACTIVE.set(len(self._running))
        self._switch.wake()
        # Of an answer that has not begun nobody knows the id yet: it cannot be read later.
        goes_on = wishes.on_disconnect == "keep"
        answer.on_unread = lambda: None if goes_on and answer.begun else self._leave(task, run)
        if self._settings.kept_days and question.kept_as is not None:
            run.kept = Kept(answer, attempt, question.kept_as, lambda: self._stop(task, run))
        run.shared = self._share(run, question, wishes)
        # Not a `finally` of the task: a task that is cancelled before it runs has none.
        task.add_done_callback(self._conclude)
        return answer

    def _share(self, run: _Run, question: Question, wishes: Wishes) -> SharedQuestion | None:
        """The question as one that others may ask too; None for one whose answer is for this caller alone."""
        if not self._settings.cache_s or wishes.cache is None:
            return None
        key = caching.make_key(run.attempt.tenant_id, self._router.identify(wishes.model), question)
        if key is None:
            return None
        answer_id = run.kept.answer.answer_id if run.kept else None
        return SharedQuestion(
            key, wishes.cache, wishes.on_failure, run.writer, answer_id, lambda: self._enter_unpaid(run)
        )

    def _leave(self, task: asyncio.Task[None], run: _Run) -> None:
        """Nobody reads any more. Who asks the same from now on asks anew: the task ends in a later turn of the loop."""
        if run.shared:
            self._sharing.leave(run.shared)
        seen_at_s = self._clock.monotonic()
        if run.current and run.current.hang_up():
            metrics.CHAT_LEAVING_SECONDS.observe(self._clock.monotonic() - seen_at_s)
        task.cancel()

    def _stop(self, task: asyncio.Task[None], run: _Run) -> None:
        """Stop an answer that is kept. While others follow it, it ends for whoever asked and goes on for them."""
        kept = run.kept
        if kept is None:  # it was stopped before, and is written for others
            return
        rest = self._sharing.hand_over(run.shared) if run.shared else None
        if rest is None:
            task.cancel()
            return
        run.writer.fail(_tell_stopped())
        run.writer.answer, run.kept = rest, None
        rest.on_unread = task.cancel
        self.keeper.end(kept)

    async def close(self) -> None:
        """End every answer, then settle every attempt."""
        self._closing = True
        self.starts.close()
        ending = DependencyUnavailable("the server is about to end", hint="ask again")
        running = dict(self._running)
        for task, run in running.items():
            run.writer.fail(ending)
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the callbacks of the tasks begin to settle
        for attempt in self._settling.values():
            attempt.stop()
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_S_MAX)
        for settling in self._settling:
            settling.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        await self.calls.close(CLOSE_S_MAX)
        await self._sharing.close()
        await self.keeper.close(CLOSE_S_MAX)
        await self._switch.close()
        await self._router.close()
        await self._books.close()
        await self._presence.close()

    # --- the switch -------------------------------------------------------------------------------------------------

    def _list_spenders(self) -> set[UUID]:
        """Tenants that have a provider asked, for an answer, for its bill, or for what is no answer."""
        draining = (each.attempt.tenant_id for each in self._settling.values() if each.draining)
        return {*self._of_tenant, *draining, *self.calls.spenders}

    def _stop_spending(self, order: StopOrder) -> None:
        """End what the order covers: each provider's connection is closed now, whatever its policy is."""
        for task, run in self._running.items():
            answer = run.writer.answer
            # What is given again costs nobody anything; what follows another answer ends as that one does.
            if (run.spends or answer.cache == "follow") and order.covers(run.attempt) and not answer.ended:
                run.writer.fail(order.error())
                for running in filter(None, (run.current, run.second)):
                    running.stop()
                task.cancel()
        for settling in self._settling.values():
            if order.covers(settling.attempt):
                settling.stop()
        self.calls.stop(order)

    # --- the task of an answer --------------------------------------------------------------------------------------

    async def _write(self, run: _Run) -> None:
        """Ends with the provider's last event, with a failure, or cancelled."""
        try:
            async with asyncio.timeout(self._settings.total_s):
                await self._ask(run)
        except TimeoutError:
            late = f"the answer took longer than {self._settings.total_s:g} s"
            run.writer.fail(DependencyUnavailable(late, hint="ask again"))
        except AdriaticError as error:
            run.writer.fail(error)
        except Exception as error:
            log.error("unexpected exception", exc_info=error, attempt_id=str(run.attempt.attempt_id))
            run.writer.fail(OperatingError("something went wrong on our side", hint="the log has the reason"))

    async def _ask(self, run: _Run) -> None:
        """One after the other, until one answers: put it into the books first, then ask. Nobody, where the answer is
        there already."""
        if run.shared:
            run.spends = False
            if await self._sharing.serve(run.shared):
                return
            run.spends = True
        failure: Failure | None = None
        while True:
            try:
                with stages.measure("wait_for_slot"):
                    call = await run.candidates.take(run.attempt.tenant_id)
            except AdriaticError as error:
                # Who cannot be asked says less than what went wrong with who was.
                raise run.writer.read_error(failure) if failure else error from None
            running = self._begin(run, call, failure)
            with stages.measure("validate_quota"):
                await self._enter(run, running, first=running.attempt is run.attempt)
            failure = await self._read(run, running)
            # Of two that raced, the one that answered, or failed last.
            last = run.current or running
            if failure is None:
                if not run.writer.waits_for_tools:
                    return
                await self._run_tools(run, last)
                continue
            if not run.may_go_on(failure, last.call):
                raise run.writer.read_error(failure)
            run.current = None
            self._end(last, "failed", failure.error().code)

    async def _read(self, run: _Run, running: RunningAttempt) -> Failure | None:
        """Read one attempt, or two that race. Afterwards `run.current` is the one that this is about."""
        prompt = run.write_prompt(running.call)
        # What tools have found is written down for the target that asked for them.
        wait_s = None if run.writer.rounds else run.candidates.find_hedge_wait(running.call)
        if wait_s is None:
            return await running.read(prompt)
        return await AnswerRace(running, prompt, wait_s, _Contest(self, run), self._clock).read()

    async def _run_tools(self, run: _Run, running: RunningAttempt) -> None:
        """The attempt has ended to have tools run: settle it, run them, and choose who goes on, the same one first.
        Raises `RateLimited` when no tokens are left for another round: those of this one are counted by then."""
        run.current = None
        settling = self._end(running, "completed", "")
        await run.writer.run_tools(running.call.target.key)
        await asyncio.wait({settling})
        await ledger.require_tokens(self._database, run.attempt, self._limits)
        run.candidates = self._router.choose(run.model, run.write_prompt(running.call), running.call.target)

    def _begin(self, run: _Run, call: EndpointCall, after: Failure | None) -> RunningAttempt:
        attempt = msgspec.structs.replace(run.attempt, attempt_id=new_id()) if run.asked else run.attempt
        run.asked = True
        run.current = self._make_attempt(run, call, attempt)
        run.writer.turn_to(attempt, run.current.meter, after)
        return run.current

    def _make_attempt(self, run: _Run, call: EndpointCall, attempt: Attempt) -> RunningAttempt:
        provider, prompt = call.provider, run.write_prompt(call)
        counts = provider.name != ExtractiveProvider.name
        meter = Meter(
            *(provider.name, provider.model, self._clock),
            prompt_bytes=prompt.size_bytes if counts else 0,
            output_tokens_max=prompt.output_tokens_max if counts else 0,
            price=self._prices.find(provider.name, provider.model, self._clock.now()),
        )
        purse = Purse(self._books.reserve, attempt.tenant_id, attempt.attempt_id, meter, self._clock)
        return RunningAttempt(attempt, meter, purse, call, run.writer)

    async def _enter(self, run: _Run, running: RunningAttempt, *, first: bool) -> None:
        """The attempt is in the books, with what it may spend; the question is counted once, however many attempts it
        takes."""
        # Passages as they stand cost nobody anything.
        counts = first and not run.admitted and running.call.provider.name != ExtractiveProvider.name
        limits = self._limits if counts else None
        noted = self._note(run) if first else None
        beginning = ledger.Beginning(running.attempt, running.meter, running.purse, limits, noted)
        running.beginning = self._books.begin(beginning)
        if noted and run.kept:
            self.keeper.begin(run.kept, running.beginning)
        standings = await asyncio.shield(running.beginning)
        if first:
            run.writer.answer.standings = standings or run.writer.answer.standings

    async def _enter_unpaid(self, run: _Run) -> None:
        """A question for which nobody is asked: it has no attempt, and counts against the limits all the same, once."""
        limits = None if run.admitted else self._limits
        counted = ledger.count(self._database, self._presence.process_id, run.attempt, limits, self._note(run))
        noting = asyncio.create_task(counted, name=f"count {run.attempt.attempt_id}")
        if run.kept:
            self.keeper.begin(run.kept, noting)
        standings = await asyncio.shield(noting)
        run.writer.answer.standings = standings or run.writer.answer.standings
        run.admitted = True

    @staticmethod
    def _note(run: _Run) -> ledger.Noted | None:
        return ledger.Noted(run.kept.answer.answer_id, run.kept.question) if run.kept else None

    # --- the end of it ----------------------------------------------------------------------------------------------

    def _conclude(self, task: asyncio.Task[None]) -> None:
        """Once for each task, whatever became of it."""
        run = self._running.pop(task)
        answer, tenant_id = run.writer.answer, run.attempt.tenant_id
        stopped = task.cancelled() and not answer.ended
        if stopped:
            run.writer.fail(_tell_stopped())
        answer.end(OperatingError("the answer has no end", hint="ask again"))  # where nothing else ended it
        if record := stages.find_record():
            record.whole.end(failed=answer.failure is not None)
        if run.kept:
            self.keeper.end(run.kept)
        if run.shared:
            self._sharing.end(run.shared, is_first_choice=run.writer.attempt is run.attempt)
        self._of_tenant[tenant_id] -= 1
        if not self._of_tenant[tenant_id]:
            del self._of_tenant[tenant_id]
        metrics.CHATS_ACTIVE.set(len(self._running))
        outcome: Outcome = "cancelled" if stopped else "failed" if answer.failure else "completed"
        code = answer.failure.code if answer.failure and outcome == "failed" else ""
        nobody = "cache" if answer.cache in ("hit", "follow") else ""
        provider, model = (run.current.meter.provider, run.current.meter.model) if run.current else (nobody, "")
        metrics.CHATS.labels(provider, outcome).inc()
        log.info("chat", outcome=outcome, code=code, provider=provider, model=model)
        if run.current:
            self._end(run.current, outcome, code)

    def _end(self, running: RunningAttempt, outcome: Outcome, code: str) -> asyncio.Task[None]:
        """The end of one attempt: its slot is free, and its row is written by the task."""
        if not running.draining:
            running.call.end()
        name = f"settle {running.attempt.attempt_id}"
        settling = asyncio.create_task(self._settle(running, outcome, code), name=name)
        self._settling[settling] = running
        settling.add_done_callback(self._settling.pop)
        return settling

    async def _settle(self, running: RunningAttempt, outcome: Outcome, code: str) -> None:
        try:
            await running.drain()
        finally:
            running.call.end()
            entry = running.meter.entry(running.attempt, outcome, code)
            with stages.measure(SAVES):
                await self._books.settle(entry, running.beginning)
            running.purse.release()


class _Contest:
    """See `RaceOwner`: what an answer's race asks of its supervisor."""

    def __init__(self, supervisor: AnswerSupervisor, run: _Run) -> None:
        self._supervisor = supervisor
        self._run = run

    def begin_second(self) -> RunningAttempt | None:
        run = self._run
        call = run.candidates.hedge()
        if call is None:
            return None
        attempt = msgspec.structs.replace(run.attempt, attempt_id=new_id())
        run.second = self._supervisor._make_attempt(run, call, attempt)
        return run.second

    async def enter(self, running: RunningAttempt) -> None:
        with stages.measure("validate_quota"):
            await self._supervisor._enter(self._run, running, first=False)

    def choose(self, running: RunningAttempt) -> None:
        run = self._run
        run.current, run.second = running, run.current
        run.writer.turn_to(running.attempt, running.meter, None)

    def drop(self, running: RunningAttempt, outcome: Outcome, code: str) -> None:
        self._run.second = None
        self._supervisor._end(running, outcome, code)


def _tell_stopped() -> Stopped:
    return Stopped("the answer was stopped", hint="what it used until then is counted")
