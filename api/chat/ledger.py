"""The ledger: what each attempt used, in `app.usage_events`, once and for good.

Owns the row and the counting of one attempt. An attempt id is written at most once, so writing again after a lost
connection changes nothing. Refuses prices: a cost that is not known is null, never 0.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from api.chat.schemas import UsageSource
from api.db import Database, tenant_transaction
from connectors.llm import BYTES_PER_TOKEN, Tokens, TokenUsage
from runtime import metrics
from runtime.clock import Clock

Outcome = Literal["completed", "failed", "cancelled"]

_INSERT = """
  insert into app.usage_events (
    tenant_id, attempt_id, session_id, user_id, provider, model, input_uncached, cache_read, cache_write_5m,
    cache_write_1h, output_visible, reasoning, cost_micro_usd, usage_source, outcome, code, first_token_ms,
    started_at, finished_at, key_id
  )
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
  on conflict (tenant_id, attempt_id) do nothing
"""


class Attempt(msgspec.Struct, frozen=True):
    """Who asks, and under which ids. `request_id` and `path` are for the problem that a broken answer ends with."""

    tenant_id: UUID
    user_id: UUID
    session_id: UUID
    attempt_id: UUID
    request_id: str
    path: str
    key_id: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """One row."""

    attempt: Attempt
    provider: str
    model: str
    tokens: Tokens
    usage_source: UsageSource
    outcome: Outcome
    code: str
    first_token_ms: int | None
    started_at: datetime
    finished_at: datetime
    cost_micro_usd: int | None = None


class Meter:
    """Counts one attempt while it runs. `prompt_bytes` is what the provider reads, 0 for one that counts none."""

    def __init__(self, provider: str, model: str, prompt_bytes: int, clock: Clock) -> None:
        self.provider = provider
        self.model = model
        self.started_at = clock.now()
        self.first_token_s: float | None = None
        self._clock = clock
        self._began_s = clock.monotonic()
        self._last_s = 0.0
        self._prompt_bytes = prompt_bytes
        self._answer_bytes = 0
        self._usage: TokenUsage | None = None
        self._asked = False

    def ask(self) -> None:
        """Note that from here on the provider may charge."""
        self._asked = True

    def text(self, text: str) -> None:
        now_s = self._clock.monotonic()
        if self.first_token_s is None:
            self.first_token_s = now_s - self._began_s
            metrics.AI_FIRST_TOKEN_SECONDS.labels(self.provider, self.model).observe(self.first_token_s)
        else:
            metrics.AI_INTER_TOKEN_SECONDS.labels(self.provider, self.model).observe(now_s - self._last_s)
        self._last_s = now_s
        self._answer_bytes += len(text.encode())

    def usage(self, usage: TokenUsage) -> None:
        self._usage = usage

    @property
    def first_token_ms(self) -> int | None:
        return None if self.first_token_s is None else round(self.first_token_s * 1000)

    def measure(self) -> tuple[Tokens, UsageSource]:
        """The tokens so far. What the provider did not count is estimated by the bytes, and said to be."""
        if self._usage and self._usage.complete:
            return self._usage.tokens, "provider"
        written = -(-self._answer_bytes // BYTES_PER_TOKEN)
        if self._usage:
            known = self._usage.tokens
            return msgspec.structs.replace(known, output_visible=max(known.output_visible, written)), "partial"
        read = -(-self._prompt_bytes // BYTES_PER_TOKEN) if self._asked else 0
        return Tokens(input_uncached=read, output_visible=written), "estimated"

    def entry(self, attempt: Attempt, outcome: Outcome, code: str) -> Entry:
        tokens, source = self.measure()
        for bucket, count in msgspec.structs.asdict(tokens).items():
            metrics.AI_TOKENS.labels(self.provider, self.model, bucket).inc(count)
        metrics.CHATS.labels(self.provider, outcome).inc()
        return Entry(
            *(attempt, self.provider, self.model, tokens, source, outcome, code, self.first_token_ms),
            started_at=self.started_at,
            # A clock that was set back must not make an answer end before it began.
            finished_at=max(self.started_at, self._clock.now()),
        )


async def record(database: Database, entry: Entry) -> None:
    """Idempotent. Raises `DependencyUnavailable` when the database does not take it now."""
    attempt = entry.attempt
    async with tenant_transaction(database, attempt.tenant_id) as connection:
        await connection.execute(
            _INSERT,
            *(attempt.tenant_id, attempt.attempt_id, attempt.session_id, attempt.user_id, entry.provider, entry.model),
            *msgspec.structs.astuple(entry.tokens),
            *(entry.cost_micro_usd, entry.usage_source, entry.outcome, entry.code, entry.first_token_ms),
            *(entry.started_at, entry.finished_at, attempt.key_id),
        )
