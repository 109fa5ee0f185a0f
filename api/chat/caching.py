"""Answers that are given again: to exactly the same prompt, within one tenant, for a while.

Owns which answers these are, the key that they are found by, what a caller says about it, and the rows of
`app.cached_answers`. Refuses answers that are still being written (`sharing`), and whose conversation it was: what is
stored has no question, and none of the ids and sources of whoever asked first.

The key is a hash of everything that makes an answer, the tenant first; row security holds beside it. An answer may be
given again where asking again would be no other question: it stands on the tenant's sources and the caller left the
sampling to the provider, or the caller asked for a temperature of 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from api.chat.answers import CacheOutcome
from api.chat.encoding import decode_part, encode_part, restore
from api.chat.grounding import Question
from api.chat.schemas import (
    ChatEvent,
    Citations,
    DoneEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from api.db import Database, tenant_transaction
from connectors.llm.routing.routes import RouteIdentity

KEY_VERSION: Final = 1
"""It is raised when the same key would mean another answer, as when the meaning of a stored event changes."""
PROMPT_BYTES_MAX = 1_048_576
"""Longest prompt, as JSON, that is looked up: hashing it takes a millisecond. Longer ones have pictures, and hardly
come twice."""
CACHED_BYTES_MAX = 262_144
"""Longest answer that is stored, as its events: 30 000 tokens. One of a few hundred has 20 KB."""
TENANT_ANSWERS_MAX = 1_000
"""Answers of one tenant that are stored; the oldest go first. So a tenant has at most 256 MB, and 20 MB as a rule."""

_FIND = """
  select provider, model, events, cost_micro_usd
  from app.cached_answers
  where tenant_id = $1 and prompt_key = $2 and created_at > now() - make_interval(secs => $3)
"""

_STORE = """
  with kept as (select answer_id from app.answers where tenant_id = $1 and answer_id = $3 for key share)
  insert into app.cached_answers (tenant_id, prompt_key, answer_id, provider, model, events, cost_micro_usd)
  select $1, $2, $3, $4, $5, $6, $7
  where $3::uuid is null or exists (select from kept)
  on conflict (tenant_id, prompt_key)
  do update set
    answer_id = excluded.answer_id,
    provider = excluded.provider,
    model = excluded.model,
    events = excluded.events,
    cost_micro_usd = excluded.cost_micro_usd,
    created_at = excluded.created_at
"""
"""A kept answer that was deleted meanwhile is not stored; one that is being deleted is waited for."""

_TRIM = """
  delete from app.cached_answers
  where tenant_id = $1
    and created_at <= (
      select created_at
      from app.cached_answers
      where tenant_id = $1
      order by created_at desc
      offset $2
      limit 1
    )
"""

_REPEATED = (TextDelta, ReasoningDelta, ToolCallStart, ToolCallDelta, Citations, DoneEvent)
_ENCODER = msgspec.json.Encoder()
_STATUS: Mapping[CacheOutcome, str] = {
    "hit": "adriatic; hit",
    "follow": "adriatic; fwd=miss; collapsed",
    "miss": "adriatic; fwd=miss",
    "bypass": "adriatic; fwd=request",
}


class CachePolicy(msgspec.Struct, frozen=True):
    """How a caller shares answers. Its own may be given to others. `reads`: it takes one of before, of the last
    `age_s_max` seconds; None is as long as the settings say."""

    reads: bool = True
    age_s_max: int | None = None


class CachedAnswer(msgspec.Struct, frozen=True):
    """What was answered, by whom, and what it cost then. `cost_micro_usd` None: the price is not known."""

    provider: str
    model: str
    events: Sequence[ChatEvent]
    cost_micro_usd: int | None


def read_policy(cache_control: str | None) -> CachePolicy | None:
    """What the request's `Cache-Control` asks for (RFC 9111, section 5.2.1); None: that nothing is shared. Other
    directives than `no-store`, `no-cache` and `max-age` change nothing. Pure."""
    directives = dict(_split(cache_control or ""))
    if "no-store" in directives:
        return None
    age = directives.get("max-age", "")
    age_s_max = int(age) if age.isascii() and age.isdigit() and len(age) <= 9 else None
    return CachePolicy(reads="no-cache" not in directives and age_s_max != 0, age_s_max=age_s_max)


def _split(header: str) -> Iterable[tuple[str, str]]:
    for directive in header.split(","):
        name, _, value = directive.partition("=")
        yield name.strip().lower(), value.strip().strip('"')


def make_key(tenant_id: UUID, route: RouteIdentity, question: Question) -> bytes | None:
    """The key of an answer; None where the answer is not to be given again. Pure."""
    temperature = question.prompt.sampling.temperature
    grounded = question.grounding is not None
    if not (temperature == 0 or (temperature is None and grounded)) or question.has_nothing_to_ask:
        return None
    if not route.asks_a_model:
        return None
    # Whether it is grounded decides what becomes of the brackets in the text.
    told = _ENCODER.encode((KEY_VERSION, tenant_id, route, grounded, question.prompt))
    return hashlib.sha256(told).digest() if len(told) <= PROMPT_BYTES_MAX else None


def choose_repeated(events: Iterable[ChatEvent]) -> list[ChatEvent] | None:
    """What is stored of an answer; None for one that is not to be given again: it did not come to its end by itself, or
    wants tools called, whose results are another caller's. Pure."""
    repeated: list[ChatEvent] = [event for event in events if isinstance(event, _REPEATED)]
    last = repeated[-1] if repeated else None
    return repeated if isinstance(last, DoneEvent) and last.finish == "stop" else None


def tell(outcome: CacheOutcome | None) -> dict[str, str]:
    """The header that says how an answer came about (RFC 9211); none where it could be no earlier one. Pure."""
    return {} if outcome is None else {"cache-status": _STATUS[outcome]}


async def find(database: Database, tenant_id: UUID, key: bytes, age_s_max: float) -> CachedAnswer | None:
    """Raises `DependencyUnavailable`."""
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        row = await connection.fetchrow(_FIND, tenant_id, key, age_s_max)
    if row is None:
        return None
    events = [restore(event) for event in decode_part(row["events"])]
    return CachedAnswer(row["provider"], row["model"], events, row["cost_micro_usd"])


async def store(database: Database, tenant_id: UUID, key: bytes, answer_id: UUID | None, answer: CachedAnswer) -> None:
    """Write an answer down in the place of an earlier one. Does nothing for one that is too long, and for a kept one
    that was deleted. Raises `DependencyUnavailable`."""
    events = encode_part(answer.events)
    if len(events.encode()) > CACHED_BYTES_MAX:
        return
    told = (answer.provider, answer.model, events, answer.cost_micro_usd)
    async with tenant_transaction(database, tenant_id) as connection:
        await connection.execute(_STORE, tenant_id, key, answer_id, *told)
        await connection.execute(_TRIM, tenant_id, TENANT_ANSWERS_MAX)
