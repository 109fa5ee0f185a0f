"""Calls of models that write no answer, such as those for vectors: by the same limits, in the same books.

Owns one call from its entry to its settlement, however it ended: by itself, or by an order to stop, which its caller is
told at once. Refuses to know what is asked, and answers
(`supervisor`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

from api.chat.books import UNSETTLED_MAX, AttemptBooks
from api.chat.ledger import Attempt, Beginning, Meter, Outcome
from api.chat.limits import LimitStanding, UseLimits
from api.spend.purse import Purse
from api.spend.watch import StopOrder
from connectors.llm import Tokens, TokenUsage
from connectors.llm.prices import PriceList
from runtime.clock import Clock
from runtime.errors import AdriaticError, DependencyUnavailable


class CountedAnswer(Protocol):
    """What a call that writes no answer came to. `tokens` None: nobody has counted them."""

    @property
    def tokens(self) -> int | None: ...


Counted = TypeVar("Counted", bound=CountedAnswer)


class ModelCalls:
    """One per process. `wake` has the switch looked at, for as long as there are `spenders`."""

    def __init__(
        self, books: AttemptBooks, prices: PriceList, limits: UseLimits, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._books = books
        self._prices = prices
        self._limits = limits
        self._clock = clock
        self._wake = wake
        self._running: dict[asyncio.Future[None], Attempt] = {}
        """Those that ask a model now; the future gets the error of an order to stop."""
        self._settling: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def unsettled(self) -> int:
        """Calls that have ended, and are not in the ledger yet."""
        return len(self._settling)

    @property
    def spenders(self) -> set[UUID]:
        """Tenants for which a model is asked."""
        return {attempt.tenant_id for attempt in self._running.values()}

    def stop(self, order: StopOrder) -> None:
        """End what the order covers."""
        for stopped, attempt in self._running.items():
            if order.covers(attempt) and not stopped.done():
                stopped.set_exception(order.error())

    async def ask(
        self, attempt: Attempt, provider: str, model: str, prompt_bytes: int, call: Callable[[], Awaitable[Counted]]
    ) -> tuple[Counted, Meter, Sequence[LimitStanding]]:
        """Enter an attempt, then `call`, which is cancelled when it is stopped. Raises as `ledger.begin` and `call` do,
        and `SpendStopped`; it is settled all the same."""
        if self._closing or self.unsettled >= UNSETTLED_MAX:
            raise DependencyUnavailable("this process takes no more now", hint="ask again")
        price = self._prices.find(provider, model, self._clock.now())
        meter = Meter(provider, model, self._clock, prompt_bytes=prompt_bytes, price=price)
        purse = Purse(self._books.reserve, attempt.tenant_id, attempt.attempt_id, meter, self._clock)
        beginning = self._books.begin(Beginning(attempt, meter, purse, self._limits))
        outcome: Outcome = "cancelled"
        code = ""
        try:
            standings = await asyncio.shield(beginning)
            meter.ask()
            answer = await self._call(attempt, call)
            if answer.tokens is not None:
                meter.usage(TokenUsage(Tokens(input_uncached=answer.tokens), complete=True))
            outcome = "completed"
            return answer, meter, standings
        except AdriaticError as error:
            outcome, code = "failed", error.code
            raise
        finally:
            entry = meter.entry(attempt, outcome, code)
            settling = asyncio.create_task(self._books.settle(entry, beginning), name=f"settle {attempt.attempt_id}")
            settling.add_done_callback(lambda _: purse.release())
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)

    async def _call(self, attempt: Attempt, call: Callable[[], Awaitable[Counted]]) -> Counted:
        stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        calling = asyncio.ensure_future(call())
        calling.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever waited may have gone
        either: set[asyncio.Future[Any]] = {calling, stopped}
        self._running[stopped] = attempt
        self._wake()
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                stopped.result()
            return await calling
        finally:
            del self._running[stopped]
            calling.cancel()

    async def close(self, wait_s: float) -> None:
        """Take no more, and wait until those that have ended are settled, for at most `wait_s` seconds."""
        self._closing = True
        if self._settling:
            await asyncio.wait(self._settling, timeout=wait_s)
