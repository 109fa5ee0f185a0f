"""Who is asked for one answer, one after the other: routes, breakers, slots and the retry budget put together.

Owns the endpoints of this process, one for each provider, address, model and key, and the decision whether another one
is asked after a failure, which hangs on its kind alone. Refuses the events of an answer, and the books: whoever makes
an attempt has a call, says what came of it, and ends it.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from uuid import UUID

import msgspec

from connectors.llm import CONTENT, Event, Failed, Provider, build
from connectors.llm.failures import Failure
from connectors.llm.prompts import Prompt
from connectors.llm.pseudonyms import Pseudonyms
from connectors.llm.routing.breaker import OF_ACCOUNT, Breaker, Permit, State
from connectors.llm.routing.hedging import FirstTokenTimes, HedgePolicy
from connectors.llm.routing.retries import RetryBudget
from connectors.llm.routing.routes import EndpointKey, RouteIdentity, RouteTable, RouteTarget, count_tokens
from connectors.llm.routing.slots import EndpointSlots, SlotLease
from connectors.secrets import Credential, SecretStore
from runtime import metrics
from runtime.clock import Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.settings import LlmSettings, SecretSettings

EventStream = AsyncGenerator[Event, None]
_SHOWN: Mapping[State, int] = {"closed": 0, "half-open": 1, "open": 2}


class Endpoint:
    """One that can be asked, with what protects it. `title` is that of the first target that has its key."""

    def __init__(self, target: RouteTarget, clock: Clock, draw: Callable[[], float], credential: Credential) -> None:
        self.title = target.title
        self.settings = target.settings
        self.provider: Provider = build(target.settings, credential)
        state = metrics.LLM_BREAKER_STATE.labels(self.title)
        state.set(0)
        self.breaker = Breaker(clock, draw, lambda new: state.set(_SHOWN[new]))
        credential.on_change(self.breaker.renew)
        self.first_tokens = FirstTokenTimes()
        in_flight = metrics.LLM_IN_FLIGHT.labels(self.title)
        depth = metrics.LLM_QUEUE_DEPTH.labels(self.title)

        def show(slots: EndpointSlots) -> None:
            in_flight.set(slots.in_flight)
            depth.set(slots.waiting)

        self.slots = EndpointSlots(self.title, self.settings.in_flight_max, self.settings.waiting_max, show)
        show(self.slots)


class EndpointCall:
    """Leave to ask one endpoint once: a slot, and a permit of its breaker. Whoever has it ends it, however the attempt
    ended; ending twice is ending once."""

    def __init__(
        self, router: LlmRouter, target: RouteTarget, endpoint: Endpoint, slot: SlotLease, permit: Permit
    ) -> None:
        self.target = target
        self.provider = endpoint.provider
        self._router = router
        self._endpoint = endpoint
        self._slot = slot
        self._permit = permit
        self._asked_s: float | None = None
        self.began = False
        """Whether content came."""

    @property
    def drains(self) -> bool:
        """Whether the answer is read on when nobody wants it any more, for an exact bill."""
        return self.target.settings.on_cancel == "drain"

    def stream(self, prompt: Prompt, tenant_id: UUID | None = None, user_id: UUID | None = None) -> EventStream:
        """The provider's events. Each of them is to be shown to `hear`. Of who asks, the provider sees a pseudonym."""
        pseudonyms = self._router.pseudonyms
        if pseudonyms and tenant_id and user_id:
            prompt = msgspec.structs.replace(prompt, user=pseudonyms.name(tenant_id, user_id))
        self._asked_s = self._router.clock.monotonic()
        return self.provider.stream(prompt)

    def hear(self, event: Event) -> None:
        """What the breaker has to know of an event."""
        if isinstance(event, CONTENT) and not self.began:
            self.began = True
            self._note_time()
            self._permit.note_content()
        elif isinstance(event, Failed):
            metrics.LLM_FAILURES.labels(self._endpoint.title, event.failure.kind).inc()
            self._permit.fail(event.failure)
            self._router.share(self.target.key, event.failure)

    def lose(self) -> None:
        """Another target answered first. That says nothing against this one, but how long it has had."""
        if not self.began:
            self._note_time()

    def _note_time(self) -> None:
        if self._asked_s is not None:
            self._endpoint.first_tokens.note(self._router.clock.monotonic() - self._asked_s)

    def end(self) -> None:
        """Give the slot back."""
        self._permit.release()
        self._slot.release()


class Candidates:
    """Who is left to be asked for one answer. Each target is asked once."""

    def __init__(
        self,
        router: LlmRouter,
        targets: list[RouteTarget],
        cost_tokens: int,
        deadline: Deadline,
        hedging: HedgePolicy | None = None,
    ) -> None:
        self._hedging = hedging
        self._router = router
        self._left = targets
        self._cost_tokens = cost_tokens
        self._deadline = deadline
        self._asked = False

    async def take(self, tenant_id: UUID) -> EndpointCall:
        """The next call: of the first target that has a free slot, else of the first that somebody may wait for.

        Waits until the deadline of the answer at most. Raises `DependencyUnavailable` when nobody can be asked now,
        with `retry_after_s` where that is known, and `RateLimited` when what waits is mostly of this tenant.
        """
        refused: AdriaticError | None = None
        skipped: set[EndpointKey] = set()
        while True:
            target, forced = self._choose(skipped, refused)
            endpoint = self._router.endpoint(target)
            try:
                slot = await endpoint.slots.take(tenant_id, self._cost_tokens, self._deadline.left_s)
            except AdriaticError as error:  # full, or not in time: perhaps another one has room
                refused = error
                skipped.add(target.key)
                continue
            permit = endpoint.breaker.force() if forced else endpoint.breaker.admit()
            if permit:
                self._left.remove(target)
                self._asked = True
                return EndpointCall(self._router, target, endpoint, slot, permit)
            slot.release()  # while it was waited for, the breaker opened
            if forced:
                skipped.add(target.key)

    def find_hedge_wait(self, call: EndpointCall) -> float | None:
        """Seconds without content after which somebody else is to be asked beside `call`; None: never, since the model
        does not say so, nobody is left, or it was done for this answer already."""
        if self._hedging is None or not self._left:
            return None
        return self._hedging.find_wait(self._router.endpoint(call.target).first_tokens)

    def hedge(self) -> EndpointCall | None:
        """A second call beside one that is slow, of the first target that is well and has a free slot: nobody waits for
        it. None where there is none, or too many further attempts were made of late. Once for each answer."""
        self._hedging = None
        for target in self._left:
            endpoint = self._router.endpoint(target)
            if not (endpoint.breaker.ready and endpoint.slots.free):
                continue
            if not self._router.budget.spend():
                return None
            permit, slot = endpoint.breaker.admit(), endpoint.slots.take_free()
            assert permit is not None, "it was ready, and nothing was awaited since"
            assert slot is not None, "it was free, and nothing was awaited since"
            self._left = [each for each in self._left if each is not target]
            return EndpointCall(self._router, target, endpoint, slot, permit)
        return None

    def may_go_on(self, failure: Failure, call: EndpointCall) -> bool:
        """Whether another target is to be asked after this failure; then that is counted.

        Not after a refusal, which lies with the request. What was too large goes to those that are said to take more.
        """
        if failure.kind == "refused":
            return False
        if failure.kind == "too-large":
            failed_at = call.target.context_tokens
            self._left = [each for each in self._left if failed_at and (each.context_tokens or 0) > failed_at]
        if not any(self._router.endpoint(target).breaker.ready for target in self._left):
            return False
        if not self._router.budget.spend():
            return False
        metrics.LLM_FAILOVERS.labels(failure.kind, "after" if call.began else "before").inc()
        return True

    def _choose(self, skipped: set[EndpointKey], refused: AdriaticError | None) -> tuple[RouteTarget, bool]:
        """The target to ask, and whether it is asked in spite of its open breaker."""
        left = [target for target in self._left if target.key not in skipped]
        ready = [target for target in left if self._router.endpoint(target).breaker.ready]
        for target in ready:
            if self._router.endpoint(target).slots.free:
                return target, False
        if ready:
            return ready[0], False
        breakers = [(self._router.endpoint(target).breaker, target) for target in left]
        open_ones = [(breaker.failed_at_s, target) for breaker, target in breakers if not breaker.blocked_s]
        if open_ones and not self._asked and not refused:
            return min(open_ones, key=lambda each: each[0])[1], True
        waits = [breaker.wait_s for breaker, _ in breakers if breaker.wait_s]
        wait = {"retry_after_s": math.ceil(min(waits))} if waits else {}
        raise refused or DependencyUnavailable(
            "nobody who could answer can be asked at the moment", hint="ask again", coordinates=wait
        )


class LlmRouter:
    """One per process. `draw` gives numbers from 0 up to 1; `secrets` owns the keys; without `pseudonyms`, providers do
    not hear who asks."""

    def __init__(
        self,
        settings: LlmSettings,
        clock: Clock,
        draw: Callable[[], float] = random.random,
        secrets: SecretStore | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self.pseudonyms = pseudonyms
        secrets = secrets or SecretStore(SecretSettings(), clock)
        self.clock = clock
        self._draw = draw
        self._table = RouteTable(settings)
        quoting = settings.model_copy(
            update={"provider": "extractive", "model": "", "base_url": "", "in_flight_max": settings.streams_max}
        )
        self._quoting = RouteTarget("extractive", quoting)
        self._endpoints: dict[EndpointKey, Endpoint] = {}
        for target in (*self._table.targets, self._quoting):
            if target.key not in self._endpoints:
                credential = secrets.credential(target.settings.api_key)
                self._endpoints[target.key] = Endpoint(target, clock, draw, credential)
        self.budget = RetryBudget(clock)

    def check(self, model: str | None) -> None:
        """Raises `NotFound` for a model that is not there."""
        self._table.find(model)

    def identify(self, model: str | None) -> RouteIdentity:
        """Who may answer for a model. Raises `NotFound` for one that is not there."""
        return self._table.identify(model)

    def choose(self, model: str | None, prompt: Prompt, first: RouteTarget | None = None) -> Candidates:
        """Who can be asked; `first` before all others, if it can. Raises `NotFound` for a model that is not there,
        `InvalidInput` when it takes no such prompt."""
        targets = sorted(self._table.order(model, prompt, self._draw), key=lambda each: each is not first)
        self.budget.earn()
        return self._begin(targets, prompt, self._table.find_hedging(model))

    def choose_quoting(self, prompt: Prompt) -> Candidates:
        """Who answers without a model: the passages are quoted."""
        return self._begin([self._quoting], prompt)

    def _begin(self, targets: list[RouteTarget], prompt: Prompt, hedging: HedgePolicy | None = None) -> Candidates:
        deadline = Deadline.after(targets[0].settings.first_token_s, self.clock)
        return Candidates(self, targets, count_tokens(prompt), deadline, hedging)

    def endpoint(self, target: RouteTarget) -> Endpoint:
        return self._endpoints[target.key]

    def share(self, key: EndpointKey, failure: Failure) -> None:
        """What is wrong with an account is wrong for all models that are asked by it."""
        if failure.kind in OF_ACCOUNT:
            for other, endpoint in self._endpoints.items():
                if other.account == key.account and other != key:
                    endpoint.breaker.share(failure)

    async def close(self) -> None:
        """Close the providers. Nobody may ask any more."""
        for endpoint in self._endpoints.values():
            await endpoint.provider.close()
