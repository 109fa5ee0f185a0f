"""What one attempt may spend: reserved before the provider is asked, and more while it writes.

Owns how much is reserved and when, and the refusal. At first that is the input by its bytes and a piece of output; then
a further piece whenever what was counted comes near to what is reserved, so that an answer never runs ahead of its
purse by more than one event. Refuses the counters: `schemas/sql/0027_budgets.sql` moves all levels or none, and settles
with the ledger's row, whoever writes that. A provider that costs nothing has no purse to ask. Where the price is not
known and a budget covers the attempt, nobody is asked.

How far a budget can be passed is in `docs/decisions/0038-budgets-are-reserved-before-they-are-spent.md`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import msgspec

from api.db import Database, to_struct
from connectors.llm import BYTES_PER_TOKEN
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError, BudgetExceeded, DependencyUnavailable, Forbidden

if TYPE_CHECKING:
    from api.chat.ledger import Meter

PIECE_TOKENS = 512
"""Output that is reserved at first. Each further piece is twice the one before, up to `PIECE_TOKENS_MAX`: a long answer
takes few statements, and a short one holds back little from others."""
PIECE_TOKENS_MAX = 8_192
"""Most output that an answer in flight holds back from others; some 32 KB of text."""
MARGIN_TOKENS = 128
"""A further piece is reserved when less than this is left: twice what passes between two looks."""
LOOK_BYTES = MARGIN_TOKENS * BYTES_PER_TOKEN // 2
"""Fewest bytes of an answer between two looks at what it costs."""
PREPAID_RETRY_S = 86_400
"""What a caller is told to wait for a budget that resets by nothing but somebody's decision: a day."""

_RESERVE = """
  select budget_id, level, period, limit_micro_usd, unspent_micro_usd, left_micro_usd, resets_at, is_refused
  from app.reserve_more($1, $2, $3)
"""
_RESERVE_ALL = "select attempt, is_bound from app.reserve_more_all($1, $2)"


class Reservation(msgspec.Struct, frozen=True):
    """What `app.reserve` says: the budget that leaves least, as it was before; without one, the attempt was settled
    already."""

    budget_id: UUID | None
    level: str | None
    period: str | None
    limit_micro_usd: int | None
    unspent_micro_usd: int | None
    left_micro_usd: int | None
    resets_at: datetime | None
    is_refused: bool


_RESERVED = Reservation(None, None, None, None, None, None, None, is_refused=False)


class MoreAsked(NamedTuple):
    """A further `amount` for one attempt, in micro-USD."""

    tenant_id: UUID
    attempt_id: UUID
    amount: int


Reserve = Callable[[MoreAsked], Awaitable[Reservation | None]]
"""Reserves more. None: no budget covers the attempt any more."""


async def reserve(database: Database, asked: MoreAsked) -> Reservation | None:
    """See `Reserve`. It comes twice where its connection dies: then more is held back, until the attempt is settled."""
    row = await database.call(_RESERVE, *asked)
    return None if row is None else to_struct(row, Reservation)


async def reserve_all(
    database: Database, tenant_id: UUID, several: Sequence[MoreAsked]
) -> Sequence[Reservation | None]:
    """The same for several attempts of one tenant: for all of them or none, with `CallRefused`."""
    entries = [{"attempt": each.attempt_id, "amount": each.amount} for each in several]
    rows = await database.call_all(_RESERVE_ALL, tenant_id, msgspec.json.encode(entries).decode())
    bound = {row["attempt"] for row in rows if row["is_bound"]}
    return [_RESERVED if each.attempt_id in bound else None for each in several]


class Purse:
    """The purse of one attempt. `open` it when the attempt is in the books, with what it takes at first; then `top_up`
    after each event after which it `is_short`. There is nothing to close: settling the attempt gives back what is left.
    """

    def __init__(self, ask: Reserve, tenant_id: UUID, attempt_id: UUID, meter: Meter, clock: Clock) -> None:
        self._ask = ask
        self._tenant_id = tenant_id
        self._attempt_id = attempt_id
        self._meter = meter
        self._clock = clock
        self._is_bound = False
        self._look_at_bytes = 0
        self._counted = False
        """The provider counts while it writes: then the bytes do not tell when to look."""
        self._piece_tokens = PIECE_TOKENS
        self.reserved_micro_usd = 0

    @property
    def is_free(self) -> bool:
        """Whether the attempt costs nothing, so that no budget is asked."""
        return self._meter.price is not None and self._meter.price.is_free

    @property
    def first_micro_usd(self) -> int | None:
        """What the attempt takes at first; None when its price is not known."""
        price, meter = self._meter.price, self._meter
        if price is None:
            return None
        return price.estimate(meter.prompt_bytes, min(meter.output_tokens_max, PIECE_TOKENS))

    def open(self, *, is_bound: bool) -> None:
        """`first_micro_usd` is reserved; `is_bound`: a budget covers the attempt."""
        self._is_bound = is_bound
        if is_bound:
            self.reserved_micro_usd = self.first_micro_usd or 0
            self._look_again(min(PIECE_TOKENS, self._meter.output_tokens_max))
            metrics.BUDGET_LEASES.inc()

    def release(self) -> None:
        """The attempt is settled, and its leases ended with it. Idempotent."""
        if self._is_bound:
            self._is_bound = False
            metrics.BUDGET_LEASES.dec()

    @property
    def is_short(self) -> bool:
        """Time to look. Costs nothing, so that it can be asked after every event."""
        if not self._is_bound:
            return False
        written_bytes = self._meter.written_bytes
        if self._meter.has_usage and not self._counted:
            self._counted = True
            self._look_at_bytes = min(self._look_at_bytes, written_bytes + LOOK_BYTES)
        return written_bytes >= self._look_at_bytes

    def _look_again(self, room_tokens: int = 0) -> None:
        """Look when `room_tokens` of output are used up but for the margin, as far as the bytes tell."""
        room_bytes = 0 if self._counted else (room_tokens - MARGIN_TOKENS) * BYTES_PER_TOKEN
        self._look_at_bytes = self._meter.written_bytes + max(LOOK_BYTES, room_bytes)

    async def top_up(self) -> None:
        """Reserve a further piece, where little is left: twice the one before, or the smallest where a budget has less.
        Raises `BudgetExceeded` when a budget has no more, and `DependencyUnavailable` when nobody can say: then the
        answer must end."""
        meter, price = self._meter, self._meter.price
        assert price is not None, "a purse without a price is not opened"
        self._look_again()
        used = meter.measure().tokens
        left = max(0, meter.output_tokens_max - used.output_visible - used.reasoning)

        def cost_with(more_tokens: int) -> int:
            written = used.output_visible + min(more_tokens, left)
            return price.cost(msgspec.structs.replace(used, output_visible=written))

        if cost_with(MARGIN_TOKENS) <= self.reserved_micro_usd:
            return
        piece_tokens = min(2 * self._piece_tokens, PIECE_TOKENS_MAX)
        amount = cost_with(piece_tokens) - self.reserved_micro_usd
        refused = await self._reserve(amount)
        smallest = cost_with(PIECE_TOKENS) - self.reserved_micro_usd
        if refused and refused.budget_id and smallest < amount:  # of little a little can be had
            piece_tokens, amount = PIECE_TOKENS, smallest
            refused = await self._reserve(amount)
        if refused:
            raise self.refuse(refused, amount)
        self._piece_tokens = piece_tokens
        self._look_again(min(piece_tokens, left))  # it is looked at more often where it writes beyond its bound

    async def _reserve(self, amount: int) -> Reservation | None:
        """The refusal; None when it is reserved."""
        reservation = await self._ask(MoreAsked(self._tenant_id, self._attempt_id, amount))
        if reservation is None:  # the budget was removed
            return None
        if not reservation.is_refused:
            self.reserved_micro_usd += amount
        return reservation if reservation.is_refused else None

    def refuse(self, reservation: Reservation, amount: int | None) -> AdriaticError:
        """The error of a reservation that is refused."""
        if reservation.budget_id is None:
            return DependencyUnavailable("this attempt was settled already, as one of a dead process", hint="ask again")
        level, name = reservation.level or "", _name(reservation.level or "", reservation.period or "")
        if amount is None:
            metrics.BUDGET_REFUSALS.labels(level, "unpriced").inc()
            return Forbidden(
                f"the price of {self._meter.provider} {self._meter.model} is not known, and {name} covers this",
                hint="an operator adds the price (llm.prices), or another model is chosen",
            )
        metrics.BUDGET_REFUSALS.labels(level, "exceeded").inc()
        return _refuse(reservation, amount, name, self._clock.now())


def _refuse(row: Reservation, amount: int, name: str, now: datetime) -> BudgetExceeded:
    """What the caller is told: which budget, how much is left of it, and when that changes."""
    resets_at = row.resets_at
    told: dict[str, Any] = {"budget_id": row.budget_id, "limit_micro_usd": row.limit_micro_usd}
    left = max(0, row.left_micro_usd or 0)
    detail = f"{name} has {left} of {row.limit_micro_usd} micro-USD left, and {amount} are needed"
    if (row.unspent_micro_usd or 0) >= amount:
        # The rest is held by answers in flight, which give back what they do not spend: soon is the right time.
        return BudgetExceeded(detail, hint="ask again when other answers have ended", coordinates=told)
    if resets_at is None:
        hint, told["retry_after_s"] = "somebody has to raise it", PREPAID_RETRY_S
    else:
        hint = f"it begins anew at {resets_at:%Y-%m-%dT%H:%MZ}, or somebody raises it"
        told |= {"resets_at": resets_at, "retry_after_s": max(1, round((resets_at - now).total_seconds()))}
    return BudgetExceeded(detail, hint=hint, coordinates=told)


def _name(level: str, period: str) -> str:
    of = {"org": "the organisation", "user": "the user", "key": "the key"}[level]
    return f"the prepaid budget of {of}" if period == "prepaid" else f"the budget of {of} for the {period}"
