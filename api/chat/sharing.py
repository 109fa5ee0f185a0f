"""Equal questions at the same moment are asked once, and an answer that was given already is given again.

Owns the flights of this process: who leads one, who follows it, and what each of them loses when another one leaves,
stops or fails. Refuses the key and the rows (`caching`), and the provider: who leads is written by the supervisor.

A flight begins with the first of equal questions and ends when its answer is stored. Whoever follows has an answer of
its own, with its own ids and sources, fed by a cursor in the leader's log; so following costs a list of references, and
an answer is read again, stopped and deleted by the user who got it.

- Who follows and leaves, or stops: the others notice nothing.
- Who leads and leaves: its answer is written on while somebody follows. Who leads and stops: its answer ends, and the
  rest is written for those who follow. It stays the leader's bill: the provider was asked for that user.
- What goes wrong before there is anything to show, for a reason of the leader's own (a limit, a budget), leaves the
  others to ask for themselves, one of them for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from api.chat import caching
from api.chat.answers import Answer, CacheOutcome, Cursor
from api.chat.caching import CachedAnswer, CachePolicy
from api.chat.schemas import OnFailure, Start, UsageSpent
from api.chat.writing import AnswerWriter
from api.db import Database
from api.sse import KEEP_ALIVE_S
from connectors.llm.extractive import ExtractiveProvider
from runtime import metrics
from runtime.errors import CallerError, DependencyUnavailable, Forbidden, RateLimited, Stopped
from runtime.logs import get_logger

STORING_MAX = 100
"""Answers that are being stored at a time, each of which may have 4 MB. More are not stored: it would be the database
that is slow, and a cache must not make it slower."""

_LEADERS_OWN = (RateLimited, Forbidden, Stopped)
"""What ends the leader's answer and says nothing of the question."""

log = get_logger("chat")


class SharedQuestion:
    """One question that others may ask too. `admit` counts it against the limits of whoever asks, and notes that there
    is an answer; it is called before the first event of an answer that no provider was asked for. `answer_id`: under
    which its answer is kept; None where the client keeps the conversation itself."""

    def __init__(
        self,
        key: bytes,
        policy: CachePolicy,
        on_failure: OnFailure,
        writer: AnswerWriter,
        answer_id: UUID | None,
        admit: Callable[[], Awaitable[None]],
    ) -> None:
        self.key = key
        self.policy = policy
        self.writer = writer
        self.answer_id = answer_id
        self.admit = admit
        # Not everybody who reads can be told that what came so far is void.
        self.flight_key = (key, on_failure)

    @property
    def tenant_id(self) -> UUID:
        return self.writer.attempt.tenant_id


class _Flight:
    """An answer that is being written for several. `leader` is whose question the provider was asked."""

    def __init__(self, leader: SharedQuestion) -> None:
        self.leader = leader
        self.cursors: set[Cursor] = set()
        """Those of who follows."""
        self.handed_over = False
        """The leader has stopped, and the answer is written for the others."""


class AnswerSharing:
    """One per process. `cache_s`: how long an answer may be given again. `stores`: whether answers may be written down;
    else equal questions are shared only while they are answered."""

    def __init__(self, database: Database, cache_s: float, *, stores: bool) -> None:
        self._database = database
        self._cache_s = cache_s
        self._stores = stores
        self._flights: dict[tuple[bytes, OnFailure], _Flight] = {}
        self._storing: set[asyncio.Task[None]] = set()

    async def serve(self, asked: SharedQuestion) -> bool:
        """Answer without asking a provider: True when that is done, False when there is no such answer, and the
        provider is to be asked. Raises what went wrong with the answer that is followed, and as `admit` does."""
        if not asked.policy.reads:
            self._note(asked, "bypass")
            self._flights.setdefault(asked.flight_key, _Flight(asked))
            return False
        while flight := self._flights.get(asked.flight_key):
            if await self._follow(flight, asked):
                return True
        self._flights[asked.flight_key] = _Flight(asked)
        found = await self._find(asked)
        if found is None:
            self._note(asked, "miss")
            return False
        await asked.admit()
        self._note(asked, "hit", found.cost_micro_usd)
        asked.writer.repeat_all(found.provider, found.model, found.events)
        return True

    def hand_over(self, asked: SharedQuestion) -> Answer | None:
        """The log to write on into, when the leader stops while others follow; None where nobody does."""
        flight = self._flights.get(asked.flight_key)
        if flight is None or flight.leader is not asked or not flight.cursors:
            return None
        flight.handed_over = True
        return asked.writer.answer.hand_over(flight.cursors)

    def leave(self, leader: SharedQuestion) -> None:
        """Nobody follows this one any more who does not yet."""
        flight = self._flights.get(leader.flight_key)
        if flight is not None and flight.leader is leader:
            del self._flights[leader.flight_key]

    def end(self, asked: SharedQuestion, *, is_first_choice: bool) -> None:
        """The answer has ended, however it did: store it, where it may be given again. Never waits.
        `is_first_choice`: no other target had to answer after a failure."""
        flight = self._flights.get(asked.flight_key)
        stopped = flight is not None and flight.leader is asked and flight.handed_over
        answer = self._choose(asked) if is_first_choice and self._stores and not stopped else None
        if answer is None or len(self._storing) >= STORING_MAX:
            self.leave(asked)
            return
        task = asyncio.create_task(self._store(asked, answer), name=f"cache {asked.writer.answer.answer_id}")
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def close(self) -> None:
        """Store nothing more."""
        for task in self._storing:
            task.cancel()
        await asyncio.gather(*self._storing, return_exceptions=True)

    # --- who follows ------------------------------------------------------------------------------------------------

    async def _follow(self, flight: _Flight, asked: SharedQuestion) -> bool:
        """Read along to the end. False: the leader failed for a reason of its own, before anything was shown."""
        answer, cost_micro_usd = asked.writer.answer, None
        cursor = flight.leader.writer.answer.open()
        flight.cursors.add(cursor)
        try:
            await asked.admit()
            answer.cache = "follow"
            while not cursor.at_end:
                for _, event in await cursor.read(KEEP_ALIVE_S):
                    asked.writer.repeat(event)
                    cost_micro_usd = event.cost_micro_usd if isinstance(event, UsageSpent) else cost_micro_usd
            failure = cursor.failure
        finally:
            flight.cursors.discard(cursor)
            cursor.close()
        if isinstance(failure, _LEADERS_OWN) and not answer.begun:
            self.leave(flight.leader)
            return False
        self._note(asked, "follow", cost_micro_usd)
        if failure is None:
            return True
        if isinstance(failure, CallerError) and answer.begun:  # it may say what is left of somebody else's budget
            raise DependencyUnavailable("the answer broke off for who asked first", hint="ask again")
        raise failure

    def _note(self, asked: SharedQuestion, outcome: CacheOutcome, saved_micro_usd: int | None = None) -> None:
        asked.writer.answer.cache = outcome
        metrics.CHAT_CACHE.labels(outcome).inc()
        metrics.CHAT_CACHE_SAVED.inc(saved_micro_usd or 0)

    # --- what is stored ---------------------------------------------------------------------------------------------

    async def _find(self, asked: SharedQuestion) -> CachedAnswer | None:
        if not self._stores:
            return None
        wanted_s = asked.policy.age_s_max
        age_s_max = self._cache_s if wanted_s is None else min(self._cache_s, wanted_s)
        return await caching.find(self._database, asked.tenant_id, asked.key, age_s_max)

    def _choose(self, asked: SharedQuestion) -> CachedAnswer | None:
        """What is to be stored of an answer that was asked for."""
        answer = asked.writer.answer
        if answer.failure or answer.cache not in ("miss", "bypass"):
            return None
        told = answer.all_since(0)
        events = caching.choose_repeated(told)
        start = next((event for event in told if isinstance(event, Start)), None)
        if events is None or start is None or start.provider == ExtractiveProvider.name:
            return None
        costs = [event.cost_micro_usd for event in told if isinstance(event, UsageSpent)]
        return CachedAnswer(start.provider, start.model, events, costs[-1])

    async def _store(self, asked: SharedQuestion, answer: CachedAnswer) -> None:
        """Those who come meanwhile read along to the end that is there."""
        try:
            await caching.store(self._database, asked.tenant_id, asked.key, asked.answer_id, answer)
        except DependencyUnavailable:
            log.info("an answer is not given again: the database did not take it")
        finally:
            self.leave(asked)
