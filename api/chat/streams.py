"""Answers in flight: who may begin one, the task that reads the provider, and the row at the end.

A response generator may never start, and is not closed when the caller leaves (measured), so it owns nothing here. The
supervisor does: a slot is taken when a stream is made, and given back when the stream's task ends, however it ends; in
the same moment the ledger's row is made, once. The generator only takes from a bounded queue, and says when it stops.

No connection to the database is held while an answer streams. The row is written by a task of its own, and repeated
while the database is away. Read next: `ledger`, `citations`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import UUID

import msgspec

from api import problems
from api.chat import ledger, schemas
from api.chat.citations import CitationCheck
from api.chat.grounding import Grounding
from api.chat.ledger import Attempt, Meter, Outcome
from api.db import Database
from connectors.llm import Delta, Done, Event, Prompt, Provider, Quoted, Started, TokenUsage
from connectors.llm.extractive import ExtractiveProvider
from runtime import metrics
from runtime.clock import Clock
from runtime.deadline import Deadline, backoff_s
from runtime.errors import AdriaticError, DependencyUnavailable, OperatingError, RateLimited
from runtime.logs import get_logger
from runtime.settings import LlmSettings

FRAMES_MAX = 256
"""Events that wait for a slow reader. A full queue stops the reading of the provider: back-pressure."""
KEEP_ALIVE_S = 15.0
"""Silence after which a comment is sent. Proxies close what is silent for 30 to 60 s."""
LAST_WORDS_S_MAX = 1.0
"""How long a broken answer waits for room in the queue of a reader who may be gone."""
UNSETTLED_MAX = 10_000
"""Rows that wait for the database, 10 MB. Beyond it nobody may ask: what is spent could not be recorded."""
SETTLE_S_MAX = 600.0
"""How long one row is tried. An outage that is longer is an incident; the log then has what the row would have."""
CLOSE_S_MAX = 10.0
"""How long the end of the process waits for rows that are not written yet."""

log = get_logger("chat")


class ChatStream:
    """One answer: a task of the supervisor writes it, one response reads it."""

    def __init__(self, attempt: Attempt, grounding: Grounding, meter: Meter, clock: Clock) -> None:
        self.attempt = attempt
        self.meter = meter
        self.failure: AdriaticError | None = None
        self._grounding = grounding
        self._clock = clock
        self._check = CitationCheck([source.number for source in grounding.sources])
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(FRAMES_MAX)
        self._sequence = 0
        self._decided = asyncio.Event()
        self._committed = False
        self._task: asyncio.Task[None] | None = None
        self.ended_well = False

    # --- for the response -----------------------------------------------------------------------------------------

    async def first(self) -> None:
        """Wait until there is something to show. Raises what went wrong, if nothing was shown by then."""
        await self._decided.wait()
        if self.failure and not self._committed:
            raise self.failure

    async def frames(self) -> AsyncIterator[bytes]:
        """The bytes of the response. When it stops, for whatever reason, the provider's connection is closed."""
        try:
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        frame = await self._frames.get()
                except TimeoutError:
                    yield schemas.KEEP_ALIVE
                    continue
                if frame is None:
                    return
                yield frame
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Nobody reads any more. Ends the task if it runs; idempotent, and never waits."""
        if self._task is not None:
            self._task.cancel()

    # --- for the supervisor's task --------------------------------------------------------------------------------

    def begin(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def take(self, event: Event) -> None:
        """One event of the provider. Waits while the reader is behind."""
        if isinstance(event, Started):
            self.meter.model = event.model or self.meter.model
        elif isinstance(event, Delta):
            self.meter.text(event.text)
            await self._show(self._check.feed(event.text))
        elif isinstance(event, Quoted):
            self.meter.text(event.text)
            self._check.quote(event.number)
            await self._show(self._check.finish() + event.text)
        elif isinstance(event, TokenUsage):
            self.meter.usage(event)
        elif isinstance(event, Done):
            await self._end(event)
        else:
            await self.fail(event.error)

    async def fail(self, error: AdriaticError) -> None:
        """The answer breaks: as a response of its own while nothing was shown, as the last event afterwards."""
        self.failure = error
        if self._committed:
            problem = problems.problem_of(error, self.attempt.path, self.attempt.request_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S_MAX):
                    await self._put(self._usage())
                    await self._put(problem)
                    await self._frames.put(None)
        self._decided.set()

    async def _show(self, text: str) -> None:
        await self._commit()
        if text:
            await self._put(schemas.TextDelta(text))

    async def _commit(self) -> None:
        """The first content: from here on the response has begun."""
        if self._committed:
            return
        self._committed = True
        found, attempt = self._grounding, self.attempt
        await self._put(
            schemas.Start(
                *(attempt.session_id, attempt.attempt_id, self.meter.provider, self.meter.model),
                *(found.as_of, found.degraded),
            )
        )
        await self._put(schemas.Sources(found.sources))
        self._decided.set()

    async def _end(self, done: Done) -> None:
        await self._show(self._check.finish())
        metrics.CHAT_CITATIONS.labels("verified").inc(len(self._check.cited))
        metrics.CHAT_CITATIONS.labels("unsupported").inc(len(self._check.unsupported))
        # From here on the answer is whole, even if the reader leaves before the last frames.
        self.ended_well = True
        await self._put(schemas.Citations(self._check.cited, self._check.unsupported))
        await self._put(self._usage())
        await self._put(schemas.DoneEvent(done.finish, self._clock.now()))
        await self._frames.put(None)

    def _usage(self) -> schemas.UsageSpent:
        tokens, source = self.meter.measure()
        return schemas.UsageSpent(tokens, source, None, self.meter.first_token_ms)

    async def _put(self, event: schemas.ChatEvent) -> None:
        frame = schemas.encode(self.attempt.attempt_id, self._sequence, event)
        self._sequence += 1
        await self._frames.put(frame)


class Streams:
    """The supervisor of a process's answers. One per process."""

    def __init__(self, database: Database, settings: LlmSettings, provider: Provider, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._provider = provider
        self._extractive = ExtractiveProvider()
        self._clock = clock
        self._of_tenant: Counter[UUID] = Counter()
        self._running: dict[asyncio.Task[None], ChatStream] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._closing = False

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

    def start(self, attempt: Attempt, grounding: Grounding) -> ChatStream:
        """Takes a slot and begins to ask. Raises as `admit` does, and then nothing has begun."""
        self.admit(attempt.tenant_id)
        # Where nothing was found there is nothing to ask a model about.
        provider: Provider = self._provider if grounding.passages else self._extractive
        prompt = grounding.prompt(self._settings.output_tokens_max)
        size_bytes = 0 if provider.name == "extractive" else prompt.size_bytes
        stream = ChatStream(
            attempt, grounding, Meter(provider.name, provider.model, size_bytes, self._clock), self._clock
        )
        task = asyncio.create_task(self._pump(stream, provider, prompt), name=f"chat {attempt.attempt_id}")
        self._of_tenant[attempt.tenant_id] += 1
        self._running[task] = stream
        metrics.CHATS_ACTIVE.set(len(self._running))
        stream.begin(task)
        # Not a `finally` of the task: a task that is cancelled before it runs has none.
        task.add_done_callback(self._conclude)
        return stream

    async def close(self) -> None:
        """End every answer, then wait for the rows."""
        self._closing = True
        ending = DependencyUnavailable("the server is about to end", hint="ask again")
        running = dict(self._running)
        await asyncio.gather(*(stream.fail(ending) for stream in running.values()))
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the callbacks of the tasks make the rows
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_S_MAX)
        for settling in self._settling:
            settling.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        await self._provider.close()

    async def _pump(self, stream: ChatStream, provider: Provider, prompt: Prompt) -> None:
        """Ends with the provider's last event, with the total time-out (a reader who never reads), or cancelled."""
        try:
            async with asyncio.timeout(self._settings.total_s), aclosing(provider.stream(prompt)) as events:
                stream.meter.ask()
                async for event in events:
                    await stream.take(event)
        except TimeoutError:
            await stream.fail(
                DependencyUnavailable(f"the answer took longer than {self._settings.total_s:g} s", hint="ask again")
            )
        except Exception as error:
            log.error("unexpected exception", exc_info=error, attempt_id=str(stream.attempt.attempt_id))
            await stream.fail(OperatingError("something went wrong on our side", hint="the log has the reason"))

    def _conclude(self, task: asyncio.Task[None]) -> None:
        """Once for each task, whatever became of it."""
        stream = self._running.pop(task)
        tenant_id = stream.attempt.tenant_id
        self._of_tenant[tenant_id] -= 1
        if not self._of_tenant[tenant_id]:
            del self._of_tenant[tenant_id]
        metrics.CHATS_ACTIVE.set(len(self._running))
        outcome: Outcome = "completed" if stream.ended_well else "failed" if stream.failure else "cancelled"
        code = stream.failure.code if stream.failure else ""
        entry = stream.meter.entry(stream.attempt, outcome, code)
        log.info("chat", outcome=outcome, code=code, provider=entry.provider, model=entry.model)
        settling = asyncio.create_task(self._settle(entry), name=f"settle {stream.attempt.attempt_id}")
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    async def _settle(self, entry: ledger.Entry) -> None:
        deadline = Deadline.after(SETTLE_S_MAX, self._clock)
        recorded = False
        metrics.CHATS_UNSETTLED.inc()
        try:
            for pause_s in backoff_s():
                try:
                    await ledger.record(self._database, entry)
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
