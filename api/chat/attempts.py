"""One attempt while it runs: the provider's events go to the answer and to the meter.

Owns who reads the provider. Mostly the answer's own task does, so that cancelling it closes the connection at once.
Where a target's policy is to drain, a task of its own does: when nobody wants the answer any more it reads on, within
bounds, for the bill alone. Refuses the books (`ledger`) and the choice of a provider (`connectors/llm/routing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from api.chat.ledger import Attempt, Meter
from api.chat.limits import LimitStanding
from api.chat.traces import CALLS
from api.chat.writing import AnswerWriter
from api.spend.purse import Purse
from connectors.llm import BYTES_PER_TOKEN, CONTENT, Done, Event, Failed, hangup
from connectors.llm.failures import Failure
from connectors.llm.prompts import Prompt
from connectors.llm.routing.router import EndpointCall
from runtime import stages

DRAIN_S_MAX = 30.0
"""Longest time for which an answer that nobody wants is read on, in seconds; its slot is taken for as long."""
DRAIN_BYTES_MAX = 1_048_576
"""Most text of it that is read. The longest answers have half of that."""
DRAIN_BYTES_PER_TOKEN = 2 * BYTES_PER_TOKEN
"""Most text of an attempt, in bytes for each token that it may write, for which it is read on. Who writes more keeps to
no bound: what it can still cost is not more than it was allowed, and its count would not be believed beyond that."""


class RunningAttempt:
    """One attempt, from its call of the provider to its end."""

    def __init__(self, attempt: Attempt, meter: Meter, purse: Purse, call: EndpointCall, writer: AnswerWriter) -> None:
        self.attempt = attempt
        self.meter = meter
        self.purse = purse
        self.call = call
        self.beginning: asyncio.Task[Sequence[LimitStanding]] | None = None
        """Writes the attempt into the books. A task of its own, since a statement is not to be cancelled."""
        self._writer = writer
        self._reading: asyncio.Task[Failure | None] | None = None
        self._hangup: hangup.HangUp | None = None
        self.claim: Callable[[], bool] | None = None
        """Asked with the first content of two that race: whether the answer is this one's."""
        self._abandoned = False
        self._drained_bytes = 0

    @property
    def draining(self) -> bool:
        """Whether the provider is still being read, for the bill."""
        return self._reading is not None and not self._reading.done()

    async def read(self, prompt: Prompt) -> Failure | None:
        """Ask, and write until the last event: None, or what went wrong. Cancelled, it closes the connection, or leaves
        it to `drain`. Raises `TooLarge` when the answer is longer than its bound, and as `Purse.top_up` does."""
        if not self.call.drains:
            return await self._read(prompt)
        self._reading = asyncio.create_task(self._read(prompt), name=f"read {self.attempt.attempt_id}")
        try:
            return await asyncio.shield(self._reading)
        except asyncio.CancelledError:
            self._abandoned = True
            raise

    def hang_up(self) -> bool:
        """Close the provider's connection now, unless there is none, or it is read on for the bill: then False. Whoever
        reads is to be cancelled beside."""
        return self._hangup is not None and not self.call.drains and self._hangup.use()

    async def drain(self) -> None:
        """Wait until a provider that is still being read has said all, or a bound is reached."""
        if self._reading:
            await asyncio.wait({self._reading}, timeout=DRAIN_S_MAX)
            self.stop()
            await asyncio.gather(self._reading, return_exceptions=True)

    def stop(self) -> None:
        """Drain no longer. Once is enough: a second time would break into closing the connection."""
        if self._reading and not self._reading.cancelling():
            self._reading.cancel()

    async def _read(self, prompt: Prompt) -> Failure | None:
        self._hangup = hangup.listen()
        with stages.measure(f"{CALLS}{self.call.provider.name}_api"):
            return await self._hear_all(prompt)

    async def _hear_all(self, prompt: Prompt) -> Failure | None:
        async with aclosing(self.call.stream(prompt, self.attempt.tenant_id, self.attempt.user_id)) as events:
            self.meter.ask()
            async for event in events:
                self.call.hear(event)
                if isinstance(event, Failed):
                    return event.failure
                if self._may_show(event):
                    self._writer.hear(event)
                    if self.purse.is_short and not self._writer.answer.ended:
                        await self.purse.top_up()
                elif not self._count(event):
                    break
        return None

    def _may_show(self, event: Event) -> bool:
        """Whether the event is for the answer, and not for the bill alone."""
        if self._abandoned or self._writer.answer.ended:
            return False
        if self.claim is None:
            return True
        if not isinstance(event, (*CONTENT, Done)):
            return False
        self._abandoned = not self.claim()
        return not self._abandoned

    def _count(self, event: Event) -> bool:
        """What is for the bill alone; False beyond the bound."""
        before = self.meter.written_bytes
        self.meter.hear(event)
        self._drained_bytes += self.meter.written_bytes - before
        allowed_bytes = self.meter.output_tokens_max * DRAIN_BYTES_PER_TOKEN
        return self._drained_bytes <= DRAIN_BYTES_MAX and self.meter.written_bytes <= allowed_bytes
