"""What drills on a scratch installation have in common: taking steps until one fails, and what a step does.

Owns the HTTP of it: asking, streaming, setting budgets and the switch, as any client of the API would. Refuses to know
what is rehearsed (`spending`, `gateway`), to make the place (`scratch`), and to print.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import msgspec

from adriatic.drill.scratch import ANSWER_MICRO_USD, ANSWER_TOKENS, LONG, SHORT, Scratch
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, OperatingError

STREAMS = 6
"""Answers in flight on each process when everything is stopped."""
ROOM_MICRO_USD = 1_000_000_000
"""What the budget allows while answers are in flight: far more than they reserve."""
LOOP_CALLS = 100
LOOP_AT_ONCE = 10
LOOP_MICRO_USD = 1_000_000
"""A dollar, against which a loop runs away: so many calls, so many of them at a time."""
WAIT_S_MAX = 60.0
"""Longest wait for what takes milliseconds."""
PAUSE_S = 0.02
STOPPED = "spend_stopped"
"""The code that ends an answer, as OpenAI's dialect has it."""

DrillWork = tuple[str, Callable[[], Awaitable[str]]]
"""What a step is called, and its work, which says what it found."""


class DrillStep(msgspec.Struct, frozen=True):
    """One step: what it was, whether it found what it must, and in which time."""

    name: str
    passed: bool
    took_ms: int
    detail: str


class ScratchDrill:
    """A drill on a scratch installation. `within_s` is how long everything may take to stop."""

    def __init__(
        self, scratch: Scratch, within_s: float, tell: Callable[[DrillStep], None], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.scratch = scratch
        self.within_s = within_s
        self.clock = clock
        self.budget_id = ""
        self._tell = tell

    def steps(self) -> Sequence[DrillWork]:
        """The steps, in their order. A step raises `AdriaticError` when it does not find what it must."""
        raise NotImplementedError

    async def run(self) -> Sequence[DrillStep]:
        """The steps that were taken; the last of them is the one that failed, if one did."""
        taken: list[DrillStep] = []
        for name, work in self.steps():
            began_s = self.clock.monotonic()
            try:
                passed, detail = True, await work()
            except (AdriaticError, httpx.HTTPError) as error:
                passed, detail = False, f"{type(error).__name__}: {error}"
            step = DrillStep(name, passed, round((self.clock.monotonic() - began_s) * 1000), detail)
            self._tell(step)
            taken.append(step)
            if not passed:
                break
        return taken

    # --- steps that several drills have -----------------------------------------------------------------------------

    async def stop_by_hand(self) -> str:
        """Everything in flight ends when a person says so."""
        await self.limit(ROOM_MICRO_USD)
        streams = await self.stream()
        return await self.end(streams, self.turn("stopped"))

    async def check_refusal(self) -> str:
        """Each process refuses new answers."""
        for process in range(len(self.scratch.clients)):
            status, text = await self.ask(process)
            require(status == 403 and STOPPED in text, f"process {process + 1} answers {status}")
        return f"403 from {len(self.scratch.clients)} processes"

    async def resume(self) -> str:
        """Answers are given again when a person says so."""
        state = await self.turn("running")
        require(state["state"] == "running" and not state["stops"], "something is still stopped")
        return await self.check_answers()

    async def run_away(self) -> str:
        """A loop asks without end against a budget of its own. Answers cost a fixed sum, which is reserved before the
        provider is asked: so the bound is the budget."""
        wanted = {"level": "org", "period": "prepaid", "limit_micro_usd": LOOP_MICRO_USD}
        budget_id = (await self.do("PUT", "/v1/budgets", wanted))["budget_id"]
        turns = asyncio.Semaphore(LOOP_AT_ONCE)

        async def call(number: int) -> int:
            async with turns:
                return (await self.ask_once(number)).status_code

        statuses = Counter(await asyncio.gather(*map(call, range(LOOP_CALLS))))
        await self.settle(budget_id)
        spent = (await self.budget(budget_id))["spent_micro_usd"]
        removed = await self.send("DELETE", f"/v1/budgets/{budget_id}")
        require(removed.is_success, f"removing a budget is {removed.status_code}")
        require(statuses[200] * ANSWER_MICRO_USD == spent, f"{statuses[200]} answers cost {spent} micro-USD")
        require(LOOP_MICRO_USD - ANSWER_MICRO_USD < spent <= LOOP_MICRO_USD, f"{spent} micro-USD were spent")
        require(statuses[200] + statuses[429] == LOOP_CALLS, f"the calls ended with {dict(statuses)}")
        return (
            f"{LOOP_CALLS} calls, {LOOP_AT_ONCE} at a time, on {len(self.scratch.clients)} processes: {statuses[200]} "
            f"answered, {statuses[429]} refused, ${spent / 1e6:.2f} of ${LOOP_MICRO_USD / 1e6:.2f} spent"
        )

    async def check_books(self) -> str:
        """Counter and ledger say the same, nothing is held, and nobody is asked any more."""
        await self.settle()
        books = await self.do("GET", "/v1/spend/explanation")
        counters = books["counters"]
        drift = books["counter_drift_micro_usd"] + sum(abs(each["reserved_drift_micro_usd"]) for each in counters)
        require(drift == 0, f"counter and ledger are {drift} micro-USD apart")
        require(self.scratch.fake.bills.stats.open == 0, "the provider is still being asked")
        spent = books["ledger"]["cost_micro_usd"]
        return f"{books['ledger']['attempts']} attempts, {spent} micro-USD in the ledger and in the counter, drift 0"

    # --- what they do ---------------------------------------------------------------------------------------------

    async def stream(self) -> list[asyncio.Task[bytes]]:
        """Answers without an end on each process, each of which has begun to say something."""
        streams, begun = [], []
        for client in self.scratch.clients:
            for _ in range(STREAMS):
                started = asyncio.Event()
                begun.append(started.wait())
                streams.append(asyncio.create_task(read_to_end(client, started)))
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await asyncio.gather(*begun)
        except TimeoutError:
            for stream in streams:
                stream.cancel()
            raise OperatingError("answers do not begin") from None
        return streams

    async def end(self, streams: list[asyncio.Task[bytes]], order: Awaitable[Any]) -> str:
        """How long it takes from the order until each of them has ended, and the provider is not asked any more."""
        began_s = self.clock.monotonic()
        await order
        _, running = await asyncio.wait(streams, timeout=WAIT_S_MAX)
        require(not running, f"{len(running)} of {len(streams)} answers go on")
        await wait_until(self.is_idle, "the provider is still being asked")
        took_s = self.clock.monotonic() - began_s
        ends = [stream.result() for stream in streams]
        require(all(STOPPED.encode() in end for end in ends), "not all readers were told why")
        require(took_s <= self.within_s, f"it took {took_s * 1000:.0f} ms, which is more than {self.within_s:g} s")
        return f"{len(streams)} answers on {len(self.scratch.clients)} processes ended after {took_s * 1000:.0f} ms"

    async def is_idle(self) -> bool:
        return self.scratch.fake.bills.stats.open == 0

    async def check_answers(self) -> str:
        status, text = await self.ask(0)
        require(status == 200, f"an answer is {status}: {text[:200]}")
        return "answers are given again"

    async def settle(self, budget_id: str = "") -> None:
        async def is_settled() -> bool:
            return bool((await self.budget(budget_id))["reserved_micro_usd"] == 0)

        await wait_until(is_settled, "answers that ended are not settled")

    async def ask(self, process: int) -> tuple[int, str]:
        """A short answer, by one of the processes: status and body."""
        response = await self.ask_once(process)
        if response.status_code == 200:
            await self.settle()
        return response.status_code, response.text

    async def ask_once(self, process: int) -> httpx.Response:
        """The same, without waiting until it is settled."""
        client = self.scratch.clients[process % len(self.scratch.clients)]
        return await client.post("/v1/chat/completions", json=question(SHORT, max_tokens=ANSWER_TOKENS))

    async def limit(self, micro_usd: int) -> None:
        wanted = {"level": "org", "period": "month", "limit_micro_usd": micro_usd}
        self.budget_id = (await self.do("PUT", "/v1/budgets", wanted))["budget_id"]

    async def budget(self, budget_id: str = "") -> dict[str, Any]:
        """That of the month, or the one with this id."""
        found: list[dict[str, Any]] = (await self.do("GET", "/v1/budgets"))["budgets"]
        return next(budget for budget in found if budget["budget_id"] == (budget_id or self.budget_id))

    async def turn(self, state: str) -> dict[str, Any]:
        return await self.do("PUT", "/v1/spend/switch", {"state": state, "reason": "a drill"})

    async def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.do("GET", "/v1/spend/alerts"))["items"]
        return found

    async def do(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = await self.send(method, path, body)
        require(response.is_success, f"{method} {path} is {response.status_code}: {response.text[:200]}")
        found: dict[str, Any] = response.json()
        return found

    async def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.scratch.clients[0].request(method, path, **({} if body is None else {"json": body}))


def question(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Is this a drill?"}], **more}


async def read_to_end(client: httpx.AsyncClient, started: asyncio.Event) -> bytes:
    """Read an answer to its end; what its last pieces said."""
    last = b""
    asked = question(LONG, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
        async for part in response.aiter_raw():
            started.set()
            last = (last + part)[-4_096:]
    return last


async def wait_until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    deadline = Deadline.after(WAIT_S_MAX)
    while not await holds():
        require(not deadline.passed, f"{otherwise} after {WAIT_S_MAX:g} s")
        await asyncio.sleep(PAUSE_S)


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise OperatingError(otherwise)
