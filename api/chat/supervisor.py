"""Answers in flight: who may begin one, the task that asks the provider, and the books at the end.

A response generator may never start, and is not closed when the caller leaves (measured), so it owns nothing here. The
supervisor does: a slot is taken when an answer is begun, and given back when its task ends, however it ends; in the
same moment the attempt is settled, once. Whoever reads has a cursor, and the answer is stopped when nobody reads it.

No connection to the database is held while an answer is written. An attempt is settled by a task of its own, which
tries again while the database is away. Read next: `answers`, `writing`, `ledger`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from uuid import UUID

import msgspec

from api.chat import ledger
from api.chat.answers import Answer
from api.chat.grounding import Question
from api.chat.keeping import AnswerKeeper, Kept
from api.chat.ledger import Attempt, Meter, Outcome
from api.chat.limits import LimitStanding, UseLimits
from api.chat.presence import Presence
from api.chat.schemas import OnDisconnect
from api.chat.writing import AnswerWriter
from api.db import Database
from api.spend.purse import Purse
from connectors.llm import Provider, prices
from connectors.llm.extractive import ExtractiveProvider
from connectors.llm.prompts import Prompt
from runtime import metrics
from runtime.clock import Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import AdriaticError, DependencyUnavailable, OperatingError, RateLimited, Stopped
from runtime.ids import new_id
from runtime.logs import get_logger
from runtime.settings import LimitSettings, LlmSettings

UNSETTLED_MAX = 10_000
"""Attempts that wait for the database, 10 MB. Beyond it nobody may ask: what is spent could not be recorded."""
SETTLE_S_MAX = 600.0
"""How long one attempt is tried to be settled. An outage that is longer is an incident; the log then has what the row
would have, and the row of its beginning is settled by its bound."""
CLOSE_S_MAX = 10.0
"""How long the end of the process waits for attempts that are not settled yet."""

log = get_logger("chat")


class _Run:
    """One answer being written."""

    def __init__(self, writer: AnswerWriter, provider: Provider, prompt: Prompt) -> None:
        self.writer = writer
        self.provider = provider
        self.prompt = prompt
        self.kept: Kept | None = None
        self.beginning: asyncio.Task[Sequence[LimitStanding]] | None = None
        """Writes the attempt into the books. A task of its own, since a statement is not to be cancelled."""

    @property
    def attempt(self) -> Attempt:
        return self.writer.attempt


class AnswerSupervisor:
    """One per process."""

    def __init__(
        self, database: Database, settings: LlmSettings, limits: LimitSettings, provider: Provider, clock: Clock
    ) -> None:
        self._limits = UseLimits(limits)
        self._prices = prices.load(settings.prices)
        self._database = database
        self._settings = settings
        self._provider = provider
        self._extractive = ExtractiveProvider()
        self._clock = clock
        self._presence = Presence(database)
        self.keeper = AnswerKeeper(database, self._presence.process_id, clock)
        self._of_tenant: Counter[UUID] = Counter()
        self._running: dict[asyncio.Task[None], _Run] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._closing = False

    def open(self) -> None:
        """Begin to say that this process lives."""
        self._presence.open()

    def admit(self, tenant_id: UUID) -> None:
        """Raises `RateLimited` when the tenant has its share, `DependencyUnavailable` when the process is full."""
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

    def start(self, attempt: Attempt, question: Question, on_disconnect: OnDisconnect = "stop") -> Answer:
        """Takes a slot and begins to ask. Raises as `admit` does, and then nothing has begun."""
        self.admit(attempt.tenant_id)
        # Where nothing was found there is nothing to ask a model about.
        provider: Provider = self._extractive if question.has_nothing_to_ask else self._provider
        prompt = question.prompt
        answer, meter = Answer(new_id()), self._meter(provider, prompt)
        run = _Run(AnswerWriter(answer, attempt, question, meter, self._clock), provider, prompt)
        task = asyncio.create_task(self._write(run), name=f"chat {attempt.attempt_id}")
        self._of_tenant[attempt.tenant_id] += 1
        self._running[task] = run
        metrics.CHATS_ACTIVE.set(len(self._running))
        # Of an answer that has not begun nobody knows the id yet: it cannot be read later.
        answer.on_unread = lambda: task.cancel() if on_disconnect == "stop" or not answer.begun else None
        if self._settings.kept_days and question.kept_as is not None:
            run.kept = Kept(answer, attempt, question.kept_as, task.cancel)
        # Not a `finally` of the task: a task that is cancelled before it runs has none.
        task.add_done_callback(self._conclude)
        return answer

    async def close(self) -> None:
        """End every answer, then settle every attempt."""
        self._closing = True
        ending = DependencyUnavailable("the server is about to end", hint="ask again")
        running = dict(self._running)
        for task, run in running.items():
            run.writer.fail(ending)
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the callbacks of the tasks begin to settle
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_S_MAX)
        for settling in self._settling:
            settling.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        await self.keeper.close(CLOSE_S_MAX)
        await self._provider.close()
        await self._presence.close()

    # --- the task of an answer --------------------------------------------------------------------------------------

    def _meter(self, provider: Provider, prompt: Prompt) -> Meter:
        price = self._prices.find(provider.name, provider.model, self._clock.now())
        if provider.name == self._extractive.name:
            return Meter(provider.name, provider.model, self._clock, price=price)
        return Meter(
            *(provider.name, provider.model, self._clock),
            prompt_bytes=prompt.size_bytes,
            output_tokens_max=prompt.output_tokens_max,
            price=price,
        )

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
        """Put it into the books first, with what it may spend, then ask the provider."""
        writer, attempt = run.writer, run.attempt
        purse = Purse(self._database, attempt.tenant_id, attempt.attempt_id, writer.meter, self._clock)
        # Passages as they stand cost nobody anything.
        limits = self._limits if run.provider.name != self._extractive.name else None
        began = ledger.begin(self._database, self._presence.process_id, attempt, writer.meter, purse, limits)
        run.beginning = asyncio.create_task(began, name=f"begin {attempt.attempt_id}")
        writer.answer.standings = await asyncio.shield(run.beginning)
        if run.kept:
            await self.keeper.begin(run.kept)
        async with aclosing(run.provider.stream(run.prompt)) as events:
            writer.meter.ask()
            async for event in events:
                writer.hear(event)
                if purse.is_short and not writer.answer.ended:
                    await purse.top_up()

    # --- the end of it ----------------------------------------------------------------------------------------------

    def _conclude(self, task: asyncio.Task[None]) -> None:
        """Once for each task, whatever became of it."""
        run = self._running.pop(task)
        answer, attempt = run.writer.answer, run.attempt
        stopped = task.cancelled() and not answer.ended
        if stopped:
            run.writer.fail(Stopped("the answer was stopped", hint="what it used until then is counted"))
        answer.end(OperatingError("the answer has no end", hint="ask again"))  # where nothing else ended it
        if run.kept:
            self.keeper.end(run.kept)
        self._of_tenant[attempt.tenant_id] -= 1
        if not self._of_tenant[attempt.tenant_id]:
            del self._of_tenant[attempt.tenant_id]
        metrics.CHATS_ACTIVE.set(len(self._running))
        outcome: Outcome = "cancelled" if stopped else "failed" if answer.failure else "completed"
        code = answer.failure.code if answer.failure and outcome == "failed" else ""
        entry = run.writer.meter.entry(attempt, outcome, code)
        log.info("chat", outcome=outcome, code=code, provider=entry.provider, model=entry.model)
        settling = asyncio.create_task(self._settle(entry, run.beginning), name=f"settle {attempt.attempt_id}")
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    async def _settle(self, entry: ledger.Entry, beginning: asyncio.Task[Sequence[LimitStanding]] | None) -> None:
        deadline = Deadline.after(SETTLE_S_MAX, self._clock)
        recorded = False
        metrics.CHATS_UNSETTLED.inc()
        try:
            if beginning:  # or its row could come after it was settled
                await asyncio.gather(beginning, return_exceptions=True)
            for pause_s in backoff_s():
                try:
                    await ledger.settle(self._database, entry)
                    recorded = True
                    return
                except DependencyUnavailable:
                    if deadline.passed:
                        return
                await asyncio.sleep(pause_s)
        except Exception as error:
            log.error("unexpected exception", exc_info=error, attempt_id=str(entry.attempt.attempt_id))
        finally:
            metrics.CHATS_UNSETTLED.dec()
            if not recorded:
                metrics.CHATS_UNRECORDED.inc()
                log.error("usage is not in the ledger", entry=msgspec.to_builtins(entry))
