"""The books: an attempt is in `app.attempts` before its provider is asked, and in `app.usage_events` when it ended.

Owns the two rows and the counting of one attempt. An attempt is settled at most once, so writing again after a lost
connection changes nothing; what a process that died left is settled by `streams/lost_attempts.py`. A row that comes
moves the counters of budgets and ends its leases in the same transaction (`schemas/sql/0027_budgets.sql`). Refuses to
know prices (`connectors/llm/prices.py`): a cost whose price is not known is null, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from api.chat.limits import Limit, LimitStanding, UseLimits, describe, encode, judge, refuse_streams
from api.chat.schemas import StartEstimate, UsageSource
from api.db import CallRefused, Database, tenant_transaction
from api.spend.purse import Purse, Reservation
from connectors.llm import (
    BYTES_PER_TOKEN,
    CallPiece,
    Delta,
    Event,
    Quoted,
    Started,
    Thought,
    Tokens,
    TokenUsage,
    count_bytes,
)
from connectors.llm.prices import Price
from runtime import metrics
from runtime.clock import Clock

Outcome = Literal["completed", "failed", "cancelled"]

_BEGIN = """
  select uses, is_bound
  from app.begin_attempt($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""
_BEGIN_ALL = "select attempt, uses, is_bound from app.begin_attempts($1, $2, $3)"
_READ_TOKENS = """
  select
    subject, unit, time_window, used,
    extract(
      epoch from window_start + case time_window
        when 'month' then interval '1 month'
        else interval '1 day'
      end - now()
    )::float8 as left_s
  from app.limit_uses
  where tenant_id = $1
    and unit = 'tokens'
    and subject = any($2)
    and window_start = date_trunc(time_window, now(), 'UTC')
"""
_SETTLE = "select app.settle_attempts($1, $2)"
INPUT_TOKENS_ADDED_MAX = 4_096
"""What a provider may say to have read beyond the bytes that it was sent: its own words about tools and forms, which
are some hundred tokens where they are documented."""
_READ_BUCKETS = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h")
_TEXTS = (Delta, Quoted, Thought)
_LIMIT, _STREAMS, _BUDGET = "AT001", "AT002", "AT003"
"""Why an attempt is refused (`schemas/sql/0028_books.sql`)."""


class Attempt(msgspec.Struct, frozen=True):
    """Who asks, and under which ids. `request_id` and `path` are for the problem that a broken answer ends with."""

    tenant_id: UUID
    user_id: UUID
    session_id: UUID
    attempt_id: UUID
    request_id: str
    path: str
    key_id: str | None = None


class SpentTokens(NamedTuple):
    """What an attempt used so far. At most `unseen_tokens_max` more were charged: what a provider may have read and
    written beyond our count, or says it has beyond what it can have. 0 where the provider counted."""

    tokens: Tokens
    source: UsageSource
    unseen_tokens_max: int


class Charge(NamedTuple):
    """What an attempt cost so far, in micro-USD, by the row of the price list that `price_id` names. At most
    `unseen_cost_max_micro_usd` more were charged. All three are None where the price is not known."""

    price_id: str | None = None
    cost_micro_usd: int | None = None
    unseen_cost_max_micro_usd: int | None = None


class Entry(msgspec.Struct, frozen=True):
    """One row."""

    attempt: Attempt
    provider: str
    model: str
    used: SpentTokens
    outcome: Outcome
    code: str
    first_token_ms: int | None
    started_at: datetime
    finished_at: datetime
    charge: Charge = Charge()

    @property
    def columns(self) -> dict[str, Any]:
        """The row, by the names of `app.settle_attempts`."""
        attempt, used = self.attempt, self.used
        return {
            "attempt_id": attempt.attempt_id,
            "session_id": attempt.session_id,
            "user_id": attempt.user_id,
            "key_id": attempt.key_id,
            "provider": self.provider,
            "model": self.model,
            **msgspec.structs.asdict(used.tokens),
            "price_id": self.charge.price_id,
            "cost_micro_usd": self.charge.cost_micro_usd,
            "unseen_cost_max_micro_usd": self.charge.unseen_cost_max_micro_usd,
            "usage_source": used.source,
            "unseen_tokens_max": used.unseen_tokens_max,
            "outcome": self.outcome,
            "code": self.code,
            "first_token_ms": self.first_token_ms,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
        }


class Meter:
    """Counts one attempt while it runs. `prompt_bytes` is what the provider reads, and `output_tokens_max` what it may
    write; both are 0 for one that counts none. `price` is that of the model asked for, when it is asked: a price that
    changes meanwhile, or another name that the provider has for itself, changes nothing."""

    def __init__(
        self,
        provider: str,
        model: str,
        clock: Clock,
        *,
        prompt_bytes: int = 0,
        output_tokens_max: int = 0,
        price: Price | None = None,
    ) -> None:
        self.provider = provider
        self.model = model
        self.price = price
        self.started_at = clock.now()
        self.first_token_s: float | None = None
        self._clock = clock
        self._began_s = clock.monotonic()
        self._last_s = 0.0
        self.prompt_bytes = prompt_bytes
        self.output_tokens_max = output_tokens_max
        self._answer_bytes = 0
        self._usage: TokenUsage | None = None
        self._asked = False
        # Found once: looking for the child of a metric costs more than counting in it.
        self._gaps = metrics.AI_INTER_TOKEN_MS.labels(provider, model)

    def ask(self) -> None:
        """Note that from here on the provider may charge."""
        self._asked = True

    def hear(self, event: Event) -> None:
        """Count one event of the provider."""
        if isinstance(event, _TEXTS):
            self.text(event.text)
        elif isinstance(event, Started):
            self._rename(event.model)
        elif isinstance(event, CallPiece):
            self.text(event.arguments)
        elif isinstance(event, TokenUsage):
            self.usage(event)

    def _rename(self, model: str) -> None:
        """The provider says which model answers."""
        if model and model != self.model:
            self.model = model
            self._gaps = metrics.AI_INTER_TOKEN_MS.labels(self.provider, model)

    def foretell(self) -> StartEstimate | None:
        """What the prompt takes, for readers who see the answer grow; None where no model reads."""
        if not self.prompt_bytes:
            return None
        read, price = -(-self.prompt_bytes // BYTES_PER_TOKEN), self.price
        if price is None:
            return StartEstimate(read, None, None)
        return StartEstimate(read, price.estimate(self.prompt_bytes, 0), price.rates_for(read).output_visible)

    def text(self, text: str) -> None:
        now_s = self._clock.monotonic()
        if self.first_token_s is None:
            self.first_token_s = now_s - self._began_s
            metrics.AI_FIRST_TOKEN_MS.labels(self.provider, self.model).observe(self.first_token_s * 1000)
        else:
            self._gaps.observe((now_s - self._last_s) * 1000)
        self._last_s = now_s
        self._answer_bytes += count_bytes(text)

    def usage(self, usage: TokenUsage) -> None:
        self._usage = usage

    @property
    def has_usage(self) -> bool:
        """Whether the provider has counted, be it in part."""
        return self._usage is not None

    @property
    def written_bytes(self) -> int:
        """What came of the answer, in bytes of its text."""
        return self._answer_bytes

    @property
    def first_token_ms(self) -> int | None:
        return None if self.first_token_s is None else round(self.first_token_s * 1000)

    def measure(self) -> SpentTokens:
        """The tokens so far. What the provider did not count is estimated by the bytes, and said to be. What it counts
        beyond all that it can have read and written moves no budget: the row says how much that is."""
        written = -(-self._answer_bytes // BYTES_PER_TOKEN)
        if self._usage and self._usage.complete:
            believed = self._believe(self._usage.tokens, written)
            beyond = self._usage.tokens.total - believed.total
            return SpentTokens(believed, "partial" if beyond else "provider", beyond)
        if self._usage:
            known = self._believe(self._usage.tokens, written)
            tokens = msgspec.structs.replace(known, output_visible=max(known.output_visible, written))
            return SpentTokens(tokens, "partial", self._unwritten(tokens))
        read = -(-self.prompt_bytes // BYTES_PER_TOKEN) if self._asked else 0
        tokens = Tokens(input_uncached=read, output_visible=written)
        # No token is less than a byte.
        return SpentTokens(
            tokens, "estimated", self.prompt_bytes - read + self._unwritten(tokens) if self._asked else 0
        )

    def _believe(self, told: Tokens, written: int) -> Tokens:
        """What a provider counted, without what is beyond the bounds of the attempt."""
        if not self.output_tokens_max:  # nobody has said what the bounds are
            return told
        left, bounded = self.prompt_bytes + INPUT_TOKENS_ADDED_MAX, {}
        for bucket in _READ_BUCKETS:
            bounded[bucket] = min(getattr(told, bucket), left)
            left -= bounded[bucket]
        left = max(self.output_tokens_max, written)
        bounded["output_visible"] = min(told.output_visible, left)
        bounded["reasoning"] = min(told.reasoning, left - bounded["output_visible"])
        return Tokens(**bounded)

    def _unwritten(self, tokens: Tokens) -> int:
        return max(0, self.output_tokens_max - tokens.output_visible - tokens.reasoning)

    def charge(self, used: SpentTokens) -> Charge:
        """What `used` costs, and how much more it can be: where nobody counted up to the bound of the attempt, where
        the input was counted by what may have been written beside it."""
        price = self.price
        if price is None:
            return Charge()
        cost = price.cost(used.tokens)
        if not used.unseen_tokens_max:
            return Charge(price.price_id, cost, 0)
        if used.source == "estimated":
            cost_max = price.cost_at_most(self.prompt_bytes, self.output_tokens_max)
        else:
            more = (
                msgspec.structs.replace(used.tokens, **{bucket: count + used.unseen_tokens_max})
                for bucket, count in (
                    ("output_visible", used.tokens.output_visible),
                    ("reasoning", used.tokens.reasoning),
                )
            )
            cost_max = max(map(price.cost, more))
        return Charge(price.price_id, cost, max(0, cost_max - cost))

    def entry(self, attempt: Attempt, outcome: Outcome, code: str) -> Entry:
        used = self.measure()
        for bucket, count in msgspec.structs.asdict(used.tokens).items():
            metrics.AI_TOKENS.labels(self.provider, self.model, bucket).inc(count)
        charge = self.charge(used)
        self._show_pace(used.tokens, charge)
        return Entry(
            *(attempt, self.provider, self.model, used, outcome, code, self.first_token_ms),
            started_at=self.started_at,
            # A clock that was set back must not make an answer end before it began.
            finished_at=max(self.started_at, self._clock.now()),
            charge=charge,
        )

    def _show_pace(self, tokens: Tokens, charge: Charge) -> None:
        """How fast it was written, and what it cost."""
        if charge.cost_micro_usd:
            metrics.AI_COST.labels(self.provider, self.model, "USD").inc(charge.cost_micro_usd / 1_000_000)
        took_s = 0.0 if self.first_token_s is None else self._last_s - self._began_s - self.first_token_s
        if took_s > 0:
            written = tokens.output_visible + tokens.reasoning
            metrics.AI_TOKENS_PER_SECOND.labels(self.provider, self.model).observe(written / took_s)


class Noted(NamedTuple):
    """An answer that is kept: its id, and the question as its user finds it again."""

    answer_id: UUID
    question: str


class Beginning(NamedTuple):
    """An attempt that comes into the books: what it takes at first is the purse's. `limits` None: its question was
    counted before. `noted` None: its answer is not kept."""

    attempt: Attempt
    meter: Meter
    purse: Purse
    limits: UseLimits | None = None
    noted: Noted | None = None

    @property
    def wanted(self) -> Sequence[Limit]:
        """The limits against which it counts."""
        return self.limits.find(self.attempt.user_id, self.attempt.key_id) if self.limits else ()

    @property
    def asked(self) -> dict[str, Any]:
        """Who is asked, at which price, by the names and in the order of `app.begin_attempt`."""
        meter, price = self.meter, self.meter.price
        bytes_max, tokens_max = meter.prompt_bytes, meter.output_tokens_max
        return {
            "provider": meter.provider,
            "model": meter.model,
            "input_bytes": bytes_max,
            "output_tokens_max": tokens_max,
            "price": price and price.price_id,
            "cost_read": price and price.estimate(bytes_max, 0),
            "cost_max": price and price.cost_at_most(bytes_max, tokens_max),
            "is_free": self.purse.is_free,
            "amount": self.purse.first_micro_usd,
        }


async def begin(database: Database, process_id: UUID, beginning: Beginning) -> Sequence[LimitStanding]:
    """Put an attempt into the books, reserve what it takes at first, and count it against the limits that are given,
    before its provider is asked. Nobody may be asked when it raises, and nothing was used: `RateLimited` when a limit
    is used up, `BudgetExceeded` when a budget has too little, `Forbidden` when one covers an attempt whose price is not
    known, `DependencyUnavailable` when the database does not take it."""
    attempt, _, purse, limits, noted = beginning
    try:
        row, standings = await _enter(
            *(database, attempt, attempt.attempt_id, process_id, limits, noted), *beginning.asked.values()
        )
    except CallRefused as refused:
        if refused.code == _BUDGET:
            reservation = msgspec.json.decode(refused.detail, type=Reservation)
            raise purse.refuse(reservation, purse.first_micro_usd) from None
        raise
    purse.open(is_bound=row["is_bound"])
    return standings


async def begin_all(
    database: Database, process_id: UUID, tenant_id: UUID, beginnings: Sequence[Beginning]
) -> Sequence[Sequence[LimitStanding]]:
    """Put attempts of one tenant into the books, as `begin` does each: all of them, or none, with `CallRefused`."""
    wanted = [each.wanted for each in beginnings]
    entries = [
        {
            "attempt": each.attempt.attempt_id,
            "session": each.attempt.session_id,
            "asker": each.attempt.user_id,
            "credential": each.attempt.key_id,
            **each.asked,
            "limits": describe(limits) if each.limits else None,
            "streams_max": each.limits.streams_max if each.limits else 0,
            "answer": each.noted and each.noted.answer_id,
            "question": each.noted and each.noted.question,
        }
        for each, limits in zip(beginnings, wanted, strict=True)
    ]
    rows = await database.call_all(_BEGIN_ALL, tenant_id, process_id, msgspec.json.encode(entries).decode())
    told = {row["attempt"]: row for row in rows}
    standings: list[Sequence[LimitStanding]] = []
    later: Counter[tuple[UUID, str | None]] = Counter()
    for each, limits in zip(reversed(beginnings), reversed(wanted), strict=True):
        row = told[each.attempt.attempt_id]
        each.purse.open(is_bound=row["is_bound"])
        caller = each.attempt.user_id, each.attempt.key_id
        standings.append(judge(limits, _leave_out(row["uses"], later[caller])) if each.limits else ())
        later[caller] += each.limits is not None
    return standings[::-1]


def _leave_out(uses: str, later: int) -> list[dict[str, Any]]:
    """What is used, as JSON, without the questions that came later in the same statement: each caller is told how it
    stands after its own."""
    rows: list[dict[str, Any]] = msgspec.json.decode(uses)
    for row in rows:
        if row["unit"] == "requests":
            row["used"] -= later
    return rows


async def count(
    database: Database, process_id: UUID, attempt: Attempt, limits: UseLimits | None, noted: Noted | None
) -> Sequence[LimitStanding]:
    """Count a question for which nobody is asked, and note its answer; `limits` None: it was counted before. Raises as
    `begin` does, but for budgets."""
    nobody = ("", "", 0, 0, None, None, None, True, None)
    _, standings = await _enter(database, attempt, None, process_id, limits, noted, *nobody)
    return standings


async def _enter(
    database: Database,
    attempt: Attempt,
    attempt_id: UUID | None,
    process_id: UUID,
    limits: UseLimits | None,
    noted: Noted | None,
    *asked: Any,
) -> tuple[Any, Sequence[LimitStanding]]:
    """`asked`: who is asked, at which price, in the order of `app.begin_attempt`."""
    wanted = limits.find(attempt.user_id, attempt.key_id) if limits else ()
    try:
        row = await database.call(
            _BEGIN,
            *(attempt.tenant_id, attempt_id, process_id, attempt.session_id, attempt.user_id, attempt.key_id, *asked),
            *(encode(wanted) if limits else None, limits.streams_max if limits else 0, *(noted or (None, None))),
        )
    except CallRefused as refused:
        if refused.code == _LIMIT:
            judge(wanted, msgspec.json.decode(refused.detail))
        if refused.code == _STREAMS and limits:
            raise refuse_streams(msgspec.json.decode(refused.detail), limits.streams_max) from None
        raise
    return row, judge(wanted, msgspec.json.decode(row["uses"])) if limits else ()


async def require_tokens(database: Database, attempt: Attempt, limits: UseLimits) -> None:
    """Raise `RateLimited` where a question of this caller would not begin for its tokens: one that goes on asks anew.
    What is settled counts."""
    wanted = [limit for limit in limits.find(attempt.user_id, attempt.key_id) if limit.unit == "tokens"]
    if wanted:
        async with tenant_transaction(database, attempt.tenant_id, read_only=True) as connection:
            subjects = [limit.subject for limit in wanted]
            judge(wanted, await connection.fetch(_READ_TOKENS, attempt.tenant_id, subjects))


async def settle(database: Database, entry: Entry) -> None:
    """Idempotent: the first settlement stands. Raises `DependencyUnavailable` when the database is away."""
    await settle_all(database, entry.attempt.tenant_id, [entry])


async def settle_all(database: Database, tenant_id: UUID, entries: Sequence[Entry]) -> Sequence[None]:
    """Settle attempts of one tenant, as `settle` does each."""
    rows = msgspec.json.encode([each.columns for each in entries]).decode()
    await database.call_all(_SETTLE, tenant_id, rows)
    return [None] * len(entries)
