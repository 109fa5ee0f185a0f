"""Who may ask how often, and use how many tokens: limits of a user, a credential and a whole tenant.

Owns which limits there are, and what a caller is told. They are taken where an attempt begins, from all at once or from
none; `app.begin_attempt` does (`schemas/sql/0028_books.sql`), which `ledger` asks. Refuses money (`api/spend`) and what
a process can hold (`supervisor`). The counts are rows, so they hold over all API processes and over a restart; what is
refused has used nothing.

Windows are of the clock, in UTC. Tokens are counted when an attempt is settled, by the database itself
(`schemas/sql/0026_limits.sql`): those of answers that are being written come on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec

from runtime.errors import RateLimited
from runtime.settings import LimitSettings

Unit = Literal["requests", "tokens"]
Window = Literal["minute", "day", "month", "first-day"]

_DAY_S = 86_400
_LENGTHS_S: dict[Window, int] = {"minute": 60, "day": _DAY_S, "month": 30 * _DAY_S, "first-day": _DAY_S}
_PERIODS: dict[Window, str] = {
    "minute": "in a minute",
    "day": "in a day",
    "month": "in a month",
    "first-day": "in the first 24 hours",
}
_WHOSE = {"user": "you", "key": "this credential", "tenant": "all of this tenant together"}


class Limit(msgspec.Struct, frozen=True):
    """`most` of `unit` in one window, for one subject. `name` is the setting's."""

    name: str
    subject: str
    unit: Unit
    window: Window
    most: int


class LimitStanding(msgspec.Struct, frozen=True):
    """A limit after this request: what is left of it, and in how many seconds its window is over."""

    limit: Limit
    remaining: int
    resets_s: int


class UseLimits:
    """The limits of one process's settings."""

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings

    @property
    def streams_max(self) -> int:
        """Answers of a user at a time; 0: any number."""
        return self._settings.user_streams

    def find(self, user_id: UUID, key_id: str | None) -> Sequence[Limit]:
        """The limits that there are for a caller. Pure."""
        user, key, most = f"user:{user_id}", f"key:{key_id}", self._settings
        found = [
            Limit("user_requests_per_minute", user, "requests", "minute", most.user_requests_per_minute),
            Limit("new_user_requests", user, "requests", "first-day", most.new_user_requests),
            Limit("user_tokens_per_day", user, "tokens", "day", most.user_tokens_per_day),
            Limit("tenant_tokens_per_day", "tenant", "tokens", "day", most.tenant_tokens_per_day),
            Limit("tenant_tokens_per_month", "tenant", "tokens", "month", most.tenant_tokens_per_month),
        ]
        if key_id is not None:
            found += [
                Limit("key_tokens_per_day", key, "tokens", "day", most.key_tokens_per_day),
                Limit("key_tokens_per_month", key, "tokens", "month", most.key_tokens_per_month),
            ]
        return [each for each in found if each.most]


def describe(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """Limits as `app.begin_attempt` takes them. Pure."""
    return [{"subject": e.subject, "unit": e.unit, "time_window": e.window, "most": e.most} for e in limits]


def encode(limits: Iterable[Limit]) -> str:
    """The same as JSON. Pure."""
    return msgspec.json.encode(describe(limits)).decode()


def refuse_streams(running: int, most: int) -> RateLimited:
    return RateLimited(
        f"{running} answers of yours are being written, and {most} may be (limits.user_streams)",
        hint="wait until one ends, or stop one",
    )


def judge(limits: Iterable[Limit], rows: Iterable[Any]) -> Sequence[LimitStanding]:
    """How each limit stands, from what is used of it. Raises `RateLimited` for the one that lasts longest. Pure."""
    used = {(row["subject"], row["unit"], row["time_window"]): row for row in rows}
    standings, over = [], []
    for limit in limits:
        row = used.get((limit.subject, limit.unit, limit.window))
        if row is None:
            if limit.window != "first-day":  # nothing is used of it yet; else the user is no new one
                standings.append(LimitStanding(limit, limit.most, _LENGTHS_S[limit.window]))
            continue
        standing = LimitStanding(limit, max(0, limit.most - row["used"]), max(1, round(row["left_s"])))
        standings.append(standing)
        # A request is counted before it is looked at; with no token left there is nothing to begin.
        if row["used"] > limit.most or (limit.unit == "tokens" and not standing.remaining):
            over.append(standing)
    if over:
        raise _refuse(max(over, key=lambda each: each.resets_s))
    return standings


def _refuse(standing: LimitStanding) -> RateLimited:
    limit = standing.limit
    whose = _WHOSE[limit.subject.partition(":")[0]]
    return RateLimited(
        f"{whose} may use {limit.most} {limit.unit} {_PERIODS[limit.window]} (limits.{limit.name})",
        hint=f"ask again in {standing.resets_s} s",
        coordinates={"retry_after_s": standing.resets_s},
    )


def tell(standings: Sequence[LimitStanding]) -> dict[str, str]:
    """The headers of an answer that say so (IETF draft-ietf-httpapi-ratelimit-headers-10); none
    where there is no limit. Pure."""
    if not standings:
        return {}
    policy = (f'"{each.limit.name}";q={each.limit.most};w={_LENGTHS_S[each.limit.window]}' for each in standings)
    left = (f'"{each.limit.name}";r={each.remaining};t={each.resets_s}' for each in standings)
    return {"ratelimit-policy": ", ".join(policy), "ratelimit": ", ".join(left)}
