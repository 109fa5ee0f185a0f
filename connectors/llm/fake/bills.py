"""What the fake provider would charge: a bill for each request.

Owns the prices, and what is charged: the input as soon as an answer begins, the output that was sent until the client
was seen to go. Refuses to charge for refusals. It keeps the newest bills, and the sums of all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Literal

import msgspec

from connectors.llm.fake.requests import DialectName

BILLS_MAX = 100_000
"""Bills that are kept, 50 MB: more than the longest load on one machine makes in an hour."""
BILLS_SHOWN_MAX = 1_000
"""Bills in one answer."""
INPUT_MICRO_USD = 3
OUTPUT_MICRO_USD = 15
"""What a token costs, in millionths of a US dollar: 3 and 15 dollars for a million, as large models do."""

Outcome = Literal["open", "sent", "cut", "refused", "client-gone"]


class Bill(msgspec.Struct):
    """One request. `outcome`: `sent` as the script wants it, `cut` by the script, `refused`, or `client-gone`: then
    `client_gone_at` is when that was seen."""

    number: int
    dialect: DialectName
    model: str
    script: str
    status: int
    begun_at: datetime
    input_tokens: int = 0
    output_tokens: int = 0
    outcome: Outcome = "open"
    ended_at: datetime | None = None
    client_gone_at: datetime | None = None
    cost_micro_usd: int = 0


class FakeStats(msgspec.Struct):
    """Sums over all requests since the start, of which `open` still run."""

    requests: int = 0
    open: int = 0
    client_gone: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int = 0
    scripts: dict[str, int] = msgspec.field(default_factory=dict)


class Bills:
    """The books of one fake provider."""

    def __init__(self) -> None:
        self.stats = FakeStats()
        self._kept: deque[Bill] = deque(maxlen=BILLS_MAX)

    def open(self, dialect: DialectName, model: str, script: str, status: int, at: datetime) -> Bill:
        """A request has come."""
        stats = self.stats
        bill = Bill(stats.requests, dialect, model, script, status, at)
        stats.requests += 1
        stats.open += 1
        stats.scripts[script] = stats.scripts.get(script, 0) + 1
        self._kept.append(bill)
        return bill

    def close(self, bill: Bill, outcome: Outcome, at: datetime) -> None:
        """A request has ended. The first end stands."""
        if bill.outcome != "open":
            return
        bill.outcome, bill.ended_at = outcome, at
        bill.cost_micro_usd = bill.input_tokens * INPUT_MICRO_USD + bill.output_tokens * OUTPUT_MICRO_USD
        stats = self.stats
        stats.open -= 1
        if outcome == "client-gone":
            bill.client_gone_at = at
            stats.client_gone += 1
        stats.input_tokens += bill.input_tokens
        stats.output_tokens += bill.output_tokens
        stats.cost_micro_usd += bill.cost_micro_usd

    def since(self, number: int) -> list[Bill]:
        """The kept bills from a number on, in their order, at most `BILLS_SHOWN_MAX`."""
        return [*islice(self._from(number), BILLS_SHOWN_MAX)]

    def _from(self, number: int) -> Iterator[Bill]:
        return (bill for bill in self._kept if bill.number >= number)
