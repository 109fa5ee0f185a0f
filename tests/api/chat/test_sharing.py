"""Equal questions in the air, without a database: who follows whom, and what one loses when another leaves or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from api.chat.answers import Answer, CacheOutcome
from api.chat.caching import CachePolicy
from api.chat.grounding import Question
from api.chat.ledger import Attempt, Meter
from api.chat.schemas import ChatEvent, OnFailure, Start, TextDelta, UsageSpent
from api.chat.sharing import AnswerSharing, SharedQuestion
from api.chat.writing import AnswerWriter
from api.db import Database
from connectors.llm import Delta, Done, Tokens, TokenUsage
from connectors.llm.failures import Failure
from connectors.llm.prompts import ask
from runtime.clock import SYSTEM_CLOCK
from runtime.errors import AdriaticError, BudgetExceeded, DependencyUnavailable, RateLimited, Stopped
from runtime.ids import new_id
from runtime.settings import PostgresSettings
from tests.patience import PATIENCE_S, soon

KEY = b"k" * 32
PROMPT = ask("", "Why?", (), 100)


class Asker:
    """One caller's question, the task that answers it, and how often it was counted."""

    def __init__(self, sharing: AnswerSharing, policy: CachePolicy, on_failure: OnFailure = "error") -> None:
        self.attempt = Attempt(new_id(), new_id(), new_id(), new_id(), "", "/v1/chat/stream")
        self.answer = Answer(new_id())
        self.writer = AnswerWriter(self.answer, self.attempt, Question(PROMPT), SYSTEM_CLOCK)
        self.shared = SharedQuestion(KEY, policy, on_failure, self.writer, None, self._admit)
        self.admitted = 0
        self.refusal: AdriaticError | None = None
        self.cursor = self.answer.open()
        self.task = asyncio.create_task(self._answer(sharing))
        self.answer.on_unread = self.task.cancel
        self.served: bool | None = None

    async def _answer(self, sharing: AnswerSharing) -> None:
        try:
            self.served = await sharing.serve(self.shared)
        except AdriaticError as error:
            self.writer.fail(error)
            raise
        if not self.served:
            self.writer.turn_to(self.attempt, Meter("openai", "m", SYSTEM_CLOCK), None)

    async def _admit(self) -> None:
        self.admitted += 1
        if self.refusal:
            raise self.refusal

    @property
    def outcome(self) -> CacheOutcome | None:
        return self.answer.cache

    def say(self, *words: str) -> None:
        for word in words:
            self.writer.hear(Delta(word))

    def finish(self) -> None:
        self.writer.hear(TokenUsage(Tokens(input_uncached=9, output_visible=3), complete=True))
        self.writer.hear(Done("stop"))

    def read(self) -> list[ChatEvent]:
        return list(self.answer.all_since(0))

    def text(self) -> str:
        return "".join(event.text for event in self.read() if isinstance(event, TextDelta))

    async def leads(self) -> None:
        await soon(lambda: self.served is False, "leading")


Ask = Callable[..., Asker]


@asynccontextmanager
async def sharing() -> AsyncIterator[tuple[AnswerSharing, Ask]]:
    """Without stored answers, and so without a database."""
    shared = AnswerSharing(Database(PostgresSettings()), 60, stores=False)
    askers: list[Asker] = []

    def make(*, reads: bool = True, on_failure: OnFailure = "error") -> Asker:
        askers.append(Asker(shared, CachePolicy(reads), on_failure))
        return askers[-1]

    yield shared, make
    for asker in askers:
        asker.task.cancel()
    await asyncio.gather(*(asker.task for asker in askers), return_exceptions=True)
    await shared.close()


async def followed(leader: Asker, count: int) -> None:
    """`count` others read the leader's log."""
    await soon(lambda: leader.writer.answer._readers == count + 1, f"{count} followers")


async def test_followers_get_every_word_under_their_own_ids_and_for_nothing() -> None:
    async with sharing() as (_, ask):
        leader = ask()
        await leader.leads()
        leader.say("One ", "two ")
        followers = [ask() for _ in range(5)]
        await followed(leader, 5)
        leader.say("three")
        leader.finish()
        await asyncio.gather(*(follower.task for follower in followers))
        for follower in followers:
            assert (follower.served, follower.outcome, follower.admitted) == (True, "follow", 1)
            start, *_, usage, _ = follower.read()
            assert isinstance(start, Start)
            assert (start.answer_id, start.attempt_id) == (follower.answer.answer_id, follower.attempt.attempt_id)
            assert start.session_id == follower.attempt.session_id
            assert usage == UsageSpent(Tokens(), "cache", 0, 0, None)
            assert [type(event) for event in follower.read()] == [type(event) for event in leader.read()]
            assert follower.text() == "One two three"
        assert (leader.outcome, leader.admitted) == ("miss", 0)


async def test_who_follows_and_leaves_changes_nothing_for_the_others() -> None:
    async with sharing() as (_, ask):
        leader, leaver, stayer = ask(), ask(), ask()
        await leader.leads()
        await followed(leader, 2)
        leader.say("One ")
        leaver.cursor.close()
        await followed(leader, 1)
        assert leaver.task.cancelled()
        leader.say("two")
        leader.finish()
        await stayer.task
        assert stayer.text() == leader.text() == "One two"


async def test_who_leads_and_leaves_is_written_for_those_who_follow_and_no_longer() -> None:
    async with sharing() as (_, ask):
        leader, one, two = ask(), ask(), ask()
        await leader.leads()
        unread: list[None] = []
        leader.answer.on_unread = lambda: unread.append(None)
        await followed(leader, 2)
        leader.say("One ")
        leader.cursor.close()
        leader.say("two")
        one.cursor.close()
        await soon(one.task.done)
        assert not unread, "one still follows"
        two.cursor.close()
        await soon(lambda: unread, "the end of an answer that nobody reads")


async def test_who_leads_and_stops_ends_its_own_answer_alone() -> None:
    async with sharing() as (shared, ask):
        leader, follower = ask(), ask()
        await leader.leads()
        await followed(leader, 1)
        leader.say("One ")
        rest = shared.hand_over(leader.shared)
        assert rest is not None
        leader.writer.fail(Stopped("the answer was stopped"))
        leader.writer.answer = rest
        late = ask()
        await followed(leader, 1)
        leader.say("two")
        leader.finish()
        await asyncio.gather(follower.task, late.task)
        assert (leader.text(), isinstance(leader.answer.failure, Stopped)) == ("One ", True)
        assert (follower.text(), late.text()) == ("One two", "One two")
        assert follower.answer.failure is late.answer.failure is None


async def test_who_leads_alone_has_nobody_to_hand_over_to() -> None:
    async with sharing() as (shared, ask):
        leader, follower = ask(), ask()
        await leader.leads()
        await followed(leader, 1)
        assert shared.hand_over(follower.shared) is None, "who follows has nothing to hand over"
        follower.cursor.close()
        await soon(follower.task.done)
        assert shared.hand_over(leader.shared) is None


@pytest.mark.parametrize("refusal", [RateLimited("100 requests"), BudgetExceeded("ada has 3 left"), Stopped("left")])
async def test_a_reason_of_the_leaders_own_leaves_one_of_the_others_to_ask(refusal: AdriaticError) -> None:
    async with sharing() as (_, ask):
        leader, one, two = ask(), ask(), ask()
        await leader.leads()
        await followed(leader, 2)
        leader.writer.fail(refusal)
        await soon(lambda: one.served is False or two.served is False, "another leader")
        second, third = (one, two) if one.served is False else (two, one)
        await followed(second, 1)
        second.say("So")
        second.finish()
        await third.task
        assert (second.outcome, third.outcome) == ("miss", "follow")
        assert (second.text(), third.text()) == ("So", "So")


async def test_what_a_provider_says_of_the_question_is_said_to_everybody() -> None:
    async with sharing() as (_, ask):
        leader, follower = ask(), ask()
        await leader.leads()
        await followed(leader, 1)
        leader.writer.fail(DependencyUnavailable("the provider is away"))
        with pytest.raises(DependencyUnavailable, match="the provider is away"):
            await follower.task
        assert not follower.answer.begun


async def test_what_is_left_of_the_leaders_budget_is_not_told_to_who_follows() -> None:
    async with sharing() as (_, ask):
        leader, follower = ask(), ask()
        await leader.leads()
        await followed(leader, 1)
        leader.say("Half ")
        await soon(lambda: follower.text() == "Half ")
        leader.writer.fail(BudgetExceeded("the budget of wanda has 3 micro-USD left"))
        with pytest.raises(DependencyUnavailable) as broke:
            await follower.task
        assert "wanda" not in str(follower.read())
        assert "budget" not in broke.value.detail
        usage, _ = follower.read()[-2:]
        assert usage == UsageSpent(Tokens(), "cache", 0, 0, None)


async def test_a_limit_holds_for_who_follows_too() -> None:
    async with sharing() as (_, ask):
        leader, follower = ask(), ask()
        follower.refusal = RateLimited("100 requests")
        await leader.leads()
        with pytest.raises(RateLimited):
            await follower.task
        leader.say("So")
        leader.finish()
        assert (follower.read(), leader.text()) == ([], "So")


async def test_who_wants_an_answer_of_its_own_gets_one_and_lends_it() -> None:
    async with sharing() as (_, ask):
        leader = ask()
        await leader.leads()
        fresh = ask(reads=False)
        await fresh.leads()
        assert (fresh.outcome, leader.answer._readers) == ("bypass", 1)
        follower = ask()
        await followed(leader, 1)
        leader.finish()
        await follower.task
    async with sharing() as (_, ask):
        fresh = ask(reads=False)
        await fresh.leads()
        follower = ask()
        await followed(fresh, 1)
        fresh.finish()
        await follower.task
        assert follower.outcome == "follow"


async def test_who_cannot_be_told_of_a_reset_does_not_follow_one_who_can() -> None:
    async with sharing() as (_, ask):
        leader, plain = ask(on_failure="restart"), ask()
        await asyncio.gather(leader.leads(), plain.leads())
        follower = ask(on_failure="restart")
        await followed(leader, 1)
        leader.say("Half ")
        again = Meter("openai", "m", SYSTEM_CLOCK)
        leader.writer.turn_to(leader.attempt, again, Failure("broken-stream", "openai", "it broke"))
        leader.say("Whole")
        leader.finish()
        await follower.task
        assert [type(event).__name__ for event in follower.read()] == [
            *("Start", "TextDelta", "Reset", "Start", "TextDelta", "UsageSpent", "DoneEvent")
        ]


async def test_a_flight_ends_with_its_answer() -> None:
    async with sharing() as (shared, ask):
        leader = ask()
        await leader.leads()
        leader.say("So")
        leader.finish()
        late = ask()
        await asyncio.wait_for(late.task, PATIENCE_S)
        assert (late.served, late.text()) == (True, "So"), "the end is there, and the flight still is"
        shared.end(late.shared, is_first_choice=True)
        shared.end(leader.shared, is_first_choice=True)
        after = ask()
        await after.leads()
        assert after.outcome == "miss"
