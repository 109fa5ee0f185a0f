"""What a provider says becomes what a caller gets: the events of an answer, and the count of what it used.

Owns what the events mean: when an answer has begun, which citations stand, and how it ends. Refuses tasks, time-outs
and the ledger's rows (`supervisor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from api import problems
from api.chat import schemas
from api.chat.answers import Answer
from api.chat.citations import CitationCheck
from api.chat.grounding import Question
from api.chat.ledger import Attempt, Meter
from api.chat.rounds import ToolRounds
from connectors.llm import (
    CallBegun,
    CallPiece,
    Delta,
    Done,
    Event,
    Finish,
    Quoted,
    Thought,
    Tokens,
)
from connectors.llm.failures import Failure, Kind
from connectors.llm.routing.routes import EndpointKey
from runtime import metrics
from runtime.clock import Clock
from runtime.errors import AdriaticError, CallerError, InvalidInput, RateLimited, TooLarge

_CALLERS: dict[Kind, tuple[type[CallerError], str]] = {
    "refused": (InvalidInput, "the provider says what it does not take"),
    "too-large": (TooLarge, "send a shorter conversation"),
    "rate-limit": (RateLimited, ""),
}
"""What whoever wrote the conversation can mend, and how."""


class AnswerWriter:
    """Writes one answer from the events of its attempts, one after the other. `rounds` None: tools that the model asks
    for are the caller's to run, and the answer ends with that."""

    def __init__(
        self, answer: Answer, attempt: Attempt, question: Question, clock: Clock, rounds: ToolRounds | None = None
    ) -> None:
        self.answer = answer
        self.attempt = attempt
        self.rounds = rounds
        self._meter: Meter | None = None
        self._spent: list[schemas.UsageSpent] = []
        """What the rounds before this attempt have used."""
        self._wrote = False
        """This attempt has shown something."""
        self._question = question
        self._clock = clock
        self._check = self._make_check()
        self._began = False

    @property
    def meter(self) -> Meter:
        """That of the newest attempt."""
        assert self._meter, "no attempt was begun"
        return self._meter

    def turn_to(self, attempt: Attempt, meter: Meter, after: Failure | None) -> None:
        """Another attempt writes from here on; `after` is what went wrong with the one before. What that one has shown
        is void, and the readers are told. Without `after` it goes on where a round of tools has ended."""
        goes_on = self.rounds is not None and self.rounds.goes_on and not (after and self._wrote)
        if after and self.answer.begun and not goes_on:
            self.answer.append(schemas.Reset(after.kind, self.attempt.attempt_id))
        if goes_on and not after:
            self._spent.append(self._measure())
        self.attempt, self._meter, self._wrote = attempt, meter, False
        if self.rounds:
            self.rounds.begin_turn()
        if goes_on:
            return
        self._check = self._make_check()
        self._began = False
        self._spent.clear()
        if self.rounds:
            self.rounds.void()

    def hear(self, event: Event) -> None:
        """One event of the provider; not `Failed`, since another one may be asked. Raises `TooLarge` when the answer is
        longer than its bound."""
        self.meter.hear(event)
        if self.rounds:
            event = self.rounds.hear(event)
        if isinstance(event, Delta):  # the first question, and the shortest way: nearly all events are these
            text = self._check.feed(event.text) if self._check else event.text
            if self._wrote and text:
                self.answer.append(schemas.TextDelta(text))
            else:
                self._show(text)
        elif isinstance(event, Quoted):
            if self._check:
                self._check.quote(event.number)
            self._show(self._let_go() + event.text)
        elif isinstance(event, Thought):
            self._tell(schemas.ReasoningDelta(event.text, event.signature))
        elif isinstance(event, CallBegun):
            self._tell(schemas.ToolCallStart(event.index, event.call_id, event.name))
        elif isinstance(event, CallPiece):
            self._tell(schemas.ToolCallDelta(event.index, event.arguments))
        elif isinstance(event, Done):
            if self.waits_for_tools:
                self._show(self._let_go())
            else:
                self._finish(event)

    @property
    def waits_for_tools(self) -> bool:
        """Whether the model has ended to have tools of ours run."""
        return self.rounds is not None and self.rounds.pending

    async def run_tools(self, endpoint: EndpointKey) -> None:
        """Run what the model of `endpoint` asked for, and show it. The next attempt goes on from there."""
        assert self.rounds, "no tools were offered"
        async for event in self.rounds.run(endpoint):
            if self.answer.ended:  # stopped meanwhile
                return
            self.answer.append(event)
        if self._check:
            self._check.allow(source.number for source in self.rounds.sources)

    def repeat(self, event: schemas.ChatEvent) -> None:
        """One event of another answer to the same prompt. Its ids, its sources and what it used are not repeated: this
        one has its own, and used nothing. How the other one broke is for who reads it to say. Raises as `hear` does.
        """
        if isinstance(event, schemas.Start):
            self._open(event.provider, event.model)
        elif isinstance(event, schemas.Reset):
            self.answer.append(schemas.Reset(event.reason, self.attempt.attempt_id))
        elif isinstance(event, schemas.DoneEvent):
            self._end(event.finish)
        elif not isinstance(event, schemas.Sources | schemas.UsageSpent | problems.Problem):
            self.answer.append(event)

    def repeat_all(self, provider: str, model: str, events: Iterable[schemas.ChatEvent]) -> None:
        """A whole answer of before, as `repeat` does."""
        self._open(provider, model)
        for event in events:
            self.repeat(event)

    def fail(self, error: AdriaticError) -> None:
        """The answer breaks: as a response of its own while nothing was shown, as the last event afterwards."""
        if self.answer.ended:
            return
        if self.answer.begun:
            self.answer.append(self._usage())
            self.answer.append(problems.problem_of(error, self.attempt.path, self.attempt.request_id))
        self.answer.end(error)

    def _make_check(self) -> CitationCheck | None:
        """None where brackets are no citations: in JSON they are lists, and in an answer that stands on no source they
        are the model's own."""
        if self._question.grounding is None or self._question.prompt.form is not None:
            return None
        return CitationCheck([source.number for source in self._question.sources], self._question.own_numbers)

    def read_error(self, failure: Failure) -> AdriaticError:
        """The error of a failure. Where the caller wrote the conversation, what a provider refuses is theirs to mend;
        where we did, it is not."""
        error = failure.error()
        if self._question.grounding is not None or failure.kind not in _CALLERS:
            return error
        kind, hint = _CALLERS[failure.kind]
        return kind(error.detail, hint=hint or error.hint, coordinates=error.coordinates)

    def _let_go(self) -> str:
        """The text that the check of citations held back."""
        return self._check.finish() if self._check else ""

    def _show(self, text: str) -> None:
        self._wrote = True
        if not self._began:
            self._begin()
        if text:
            self.answer.append(schemas.TextDelta(text))

    def _tell(self, event: schemas.ChatEvent) -> None:
        """Append what is no text, behind all text that came before it."""
        self._show(self._let_go())
        self.answer.append(event)

    def _begin(self) -> None:
        """The first content of an attempt: from here on the response has begun."""
        self._began = True
        self._open(self.meter.provider, self.meter.model)

    def _open(self, provider: str, model: str) -> None:
        found, attempt = self._question.grounding, self.attempt
        self.answer.append(
            schemas.Start(
                *(attempt.session_id, self.answer.answer_id, attempt.attempt_id),
                provider=provider,
                model=model,
                as_of=found.as_of if found else None,
                degraded=found.degraded if found else [],
                estimate=self._meter.foretell() if self._meter else None,
            )
        )
        if found:
            self.answer.append(found.tell_sources())

    def _finish(self, done: Done) -> None:
        self._show(self._let_go())
        if self._check:
            metrics.CHAT_CITATIONS.labels("verified").inc(len(self._check.cited))
            metrics.CHAT_CITATIONS.labels("unsupported").inc(len(self._check.unsupported))
            self.answer.append(schemas.Citations(self._check.cited, self._check.unsupported))
        self._end(done.finish)

    def _end(self, finish: Finish) -> None:
        self.answer.append(self._usage())
        self.answer.append(schemas.DoneEvent(finish, self._clock.now()))
        self.answer.end()

    def _usage(self) -> schemas.UsageSpent:
        if self._meter is None:
            return schemas.UsageSpent(Tokens(), "cache", 0, 0, None)
        return _add_up([*self._spent, self._measure()])

    def _measure(self) -> schemas.UsageSpent:
        """What the attempt in hand has used."""
        used = self.meter.measure()
        return schemas.UsageSpent(*used, self.meter.charge(used).cost_micro_usd, self.meter.first_token_ms)


_SOURCES: Sequence[schemas.UsageSource] = ("provider", "partial", "estimated")
"""Who counted, the best first: a sum is as good as the worst of its parts."""


def _add_up(spent: Sequence[schemas.UsageSpent]) -> schemas.UsageSpent:
    """The usage of several attempts as one."""
    first, *others = spent
    if not others:
        return first
    buckets = zip(*(msgspec.structs.astuple(each.tokens) for each in spent), strict=True)
    costs = [each.cost_micro_usd for each in spent]
    known = [cost for cost in costs if cost is not None]
    return schemas.UsageSpent(
        Tokens(*map(sum, buckets)),
        max((each.usage_source for each in spent if each.usage_source != "cache"), key=_SOURCES.index),
        sum(each.unseen_tokens_max for each in spent),
        sum(known) if len(known) == len(costs) else None,
        first.first_token_ms,
    )
