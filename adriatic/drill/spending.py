"""The drill of spending: alerts, the switch by hand and by a budget, an override, and the books at the end.

Owns the steps and what each of them must find. Each is done as any client of the API would, over HTTP. The first that
does not find it ends the drill. Refuses to make the place (`scratch`), and to print.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import httpx
import msgspec

from adriatic.drill.scratch import ANSWER_TOKENS, LONG, SHORT, TOKEN_MICRO_USD, Scratch
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.deadline import Deadline
from runtime.errors import AdriaticError, OperatingError

ANSWER_MICRO_USD = ANSWER_TOKENS * TOKEN_MICRO_USD
ANSWERS = 10
"""Short answers that the budget allows: 7 of them are 70 %."""
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


class DrillStep(msgspec.Struct, frozen=True):
    """One step: what it was, whether it found what it must, and in which time."""

    name: str
    passed: bool
    took_ms: int
    detail: str


class SpendDrill:
    """One drill. `within_s` is how long everything may take to stop."""

    def __init__(
        self, scratch: Scratch, within_s: float, tell: Callable[[DrillStep], None], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._scratch = scratch
        self._within_s = within_s
        self._tell = tell
        self._clock = clock
        self._budget_id = ""
        self._override_id = ""

    async def run(self) -> Sequence[DrillStep]:
        """The steps that were taken; the last of them is the one that failed, if one did."""
        steps: tuple[tuple[str, Callable[[], Awaitable[str]]], ...] = (
            ("alerts at 70, 85 and 95 %", self._cross_thresholds),
            ("stop by hand ends answers in flight", self._stop_by_hand),
            ("new answers are refused by each process", self._check_refusal),
            ("resume by hand", self._resume),
            ("a loop that runs away ends within its budget", self._run_away),
            ("110 % ends answers in flight", self._pass_limit),
            ("what a budget stopped is not resumed by hand", self._check_conflict),
            ("an override resumes it", self._override),
            ("an override that ended counts no longer", self._end_override),
            ("each alert was delivered", self._check_deliveries),
            ("the books close", self._check_books),
        )
        taken: list[DrillStep] = []
        for name, work in steps:
            began_s = self._clock.monotonic()
            try:
                passed, detail = True, await work()
            except (AdriaticError, httpx.HTTPError) as error:
                passed, detail = False, f"{type(error).__name__}: {error}"
            step = DrillStep(name, passed, round((self._clock.monotonic() - began_s) * 1000), detail)
            self._tell(step)
            taken.append(step)
            if not passed:
                break
        return taken

    # --- the steps ------------------------------------------------------------------------------------------------

    async def _cross_thresholds(self) -> str:
        await self._limit(ANSWERS * ANSWER_MICRO_USD)
        for number in range(ANSWERS):
            status, text = await self._ask(number)
            _require(status == 200, f"answer {number + 1} is {status}: {text[:200]}")
        refused, _ = await self._ask(0)
        _require(refused == 429, f"an answer beyond the budget is {refused}")
        found = [alert["percent"] for alert in await self._alerts()]
        _require(found == [95, 85, 70], f"the alerts are {found}")
        return f"{ANSWERS} answers, three alerts, and the next answer is refused"

    async def _stop_by_hand(self) -> str:
        await self._limit(ROOM_MICRO_USD)
        streams = await self._stream()
        return await self._end(streams, self._turn("stopped"))

    async def _check_refusal(self) -> str:
        for process in range(len(self._scratch.clients)):
            status, text = await self._ask(process)
            _require(status == 403 and STOPPED in text, f"process {process + 1} answers {status}")
        return f"403 from {len(self._scratch.clients)} processes"

    async def _resume(self) -> str:
        state = await self._turn("running")
        _require(state["state"] == "running" and not state["stops"], "something is still stopped")
        return await self._check_answers()

    async def _run_away(self) -> str:
        """Answers cost a fixed sum, which is reserved before the provider is asked: so the bound is the budget."""
        wanted = {"level": "org", "period": "prepaid", "limit_micro_usd": LOOP_MICRO_USD}
        budget_id = (await self._do("PUT", "/v1/budgets", wanted))["budget_id"]
        turns = asyncio.Semaphore(LOOP_AT_ONCE)

        async def call(number: int) -> int:
            async with turns:
                return (await self._ask_once(number)).status_code

        statuses = Counter(await asyncio.gather(*map(call, range(LOOP_CALLS))))
        await self._settle(budget_id)
        spent = (await self._budget(budget_id))["spent_micro_usd"]
        removed = await self._send("DELETE", f"/v1/budgets/{budget_id}")
        _require(removed.is_success, f"removing a budget is {removed.status_code}")
        _require(0 < spent <= LOOP_MICRO_USD, f"{spent} micro-USD were spent of {LOOP_MICRO_USD}")
        _require(statuses[200] * ANSWER_MICRO_USD == spent, f"{statuses[200]} answers cost {spent} micro-USD")
        _require(statuses[200] + statuses[429] == LOOP_CALLS, f"the calls ended with {dict(statuses)}")
        return f"${spent / 1e6:.2f} of ${LOOP_MICRO_USD / 1e6:.2f} spent by {LOOP_CALLS} calls, {statuses[429]} refused"

    async def _pass_limit(self) -> str:
        await self._settle()
        streams = await self._stream()
        spent = (await self._budget())["spent_micro_usd"]
        said = await self._end(streams, self._limit(spent * 100 // 115))
        found = await self._alerts()
        _require(found[0]["percent"] == 110, "there is no alert of 110 %")
        return said

    async def _check_conflict(self) -> str:
        response = await self._send("PUT", "/v1/spend/switch", {"state": "running", "reason": "a drill"})
        _require(response.status_code == 409, f"resuming is {response.status_code}")
        await self._check_refusal()
        return "409, and answers stay refused"

    async def _override(self) -> str:
        expires_at = (self._clock.now() + timedelta(hours=1)).isoformat()
        wanted = {"budget_id": self._budget_id, "amount_micro_usd": ROOM_MICRO_USD, "reason": "a drill"}
        made = await self._do("POST", "/v1/spend/overrides", {**wanted, "expires_at": expires_at})
        self._override_id = made["override_id"]
        state = await self._do("GET", "/v1/spend/switch")
        _require(state["state"] == "running", "it is still stopped")
        return await self._check_answers()

    async def _end_override(self) -> str:
        await self._do("DELETE", f"/v1/spend/overrides/{self._override_id}")
        status, _ = await self._ask(0)
        _require(status == 403, f"an answer is {status}")
        (kept,) = (await self._do("GET", "/v1/spend/overrides"))["items"]
        _require(kept["reason"] == "a drill" and kept["ended_at"] is not None, "the audit does not say so")
        return "answers are refused, and the override is on record"

    async def _check_deliveries(self) -> str:
        alerts = await self._alerts()

        async def is_delivered() -> bool:
            found = [each["state"] for alert in await self._alerts() for each in alert["deliveries"]]
            return len(found) == 2 * len(alerts) and set(found) == {"delivered"}

        await _wait_until(is_delivered, "the alerts are not delivered")
        told = {each["alert_id"] for each in self._scratch.receiver.received}
        _require(told == {alert["alert_id"] for alert in alerts}, "others were told of than were raised")
        return f"{len(alerts)} alerts, to the log and to a webhook"

    async def _check_books(self) -> str:
        await self._settle()
        books = await self._do("GET", "/v1/spend/explanation")
        counters = books["counters"]
        drift = books["counter_drift_micro_usd"] + sum(abs(each["reserved_drift_micro_usd"]) for each in counters)
        _require(drift == 0, f"counter and ledger are {drift} micro-USD apart")
        _require(self._scratch.fake.bills.stats.open == 0, "the provider is still being asked")
        spent = books["ledger"]["cost_micro_usd"]
        return f"{books['ledger']['attempts']} attempts, {spent} micro-USD in the ledger and in the counter, drift 0"

    # --- what they do ---------------------------------------------------------------------------------------------

    async def _stream(self) -> list[asyncio.Task[bytes]]:
        """Answers without an end on each process, each of which has begun to say something."""
        streams, begun = [], []
        for client in self._scratch.clients:
            for _ in range(STREAMS):
                started = asyncio.Event()
                begun.append(started.wait())
                streams.append(asyncio.create_task(_read(client, started)))
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await asyncio.gather(*begun)
        except TimeoutError:
            for stream in streams:
                stream.cancel()
            raise OperatingError("answers do not begin") from None
        return streams

    async def _end(self, streams: list[asyncio.Task[bytes]], order: Awaitable[Any]) -> str:
        """How long it takes from the order until each of them has ended, and the provider is not asked any more."""
        began_s = self._clock.monotonic()
        await order
        _, running = await asyncio.wait(streams, timeout=WAIT_S_MAX)
        _require(not running, f"{len(running)} of {len(streams)} answers go on")
        await _wait_until(self._is_idle, "the provider is still being asked")
        took_s = self._clock.monotonic() - began_s
        ends = [stream.result() for stream in streams]
        _require(all(STOPPED.encode() in end for end in ends), "not all readers were told why")
        _require(took_s <= self._within_s, f"it took {took_s * 1000:.0f} ms, which is more than {self._within_s:g} s")
        return f"{len(streams)} answers on {len(self._scratch.clients)} processes ended after {took_s * 1000:.0f} ms"

    async def _is_idle(self) -> bool:
        return self._scratch.fake.bills.stats.open == 0

    async def _check_answers(self) -> str:
        status, text = await self._ask(0)
        _require(status == 200, f"an answer is {status}: {text[:200]}")
        return "answers are given again"

    async def _settle(self, budget_id: str = "") -> None:
        async def is_settled() -> bool:
            return bool((await self._budget(budget_id))["reserved_micro_usd"] == 0)

        await _wait_until(is_settled, "answers that ended are not settled")

    async def _ask(self, process: int) -> tuple[int, str]:
        """A short answer, by one of the processes: status and body."""
        response = await self._ask_once(process)
        if response.status_code == 200:
            await self._settle()
        return response.status_code, response.text

    async def _ask_once(self, process: int) -> httpx.Response:
        client = self._scratch.clients[process % len(self._scratch.clients)]
        return await client.post("/v1/chat/completions", json=_question(SHORT, max_tokens=ANSWER_TOKENS))

    async def _limit(self, micro_usd: int) -> None:
        wanted = {"level": "org", "period": "month", "limit_micro_usd": micro_usd}
        self._budget_id = (await self._do("PUT", "/v1/budgets", wanted))["budget_id"]

    async def _budget(self, budget_id: str = "") -> dict[str, Any]:
        """That of the month, or the one with this id."""
        wanted = budget_id or self._budget_id
        found: list[dict[str, Any]] = (await self._do("GET", "/v1/budgets"))["budgets"]
        return next(budget for budget in found if budget["budget_id"] == wanted)

    async def _turn(self, state: str) -> dict[str, Any]:
        return await self._do("PUT", "/v1/spend/switch", {"state": state, "reason": "a drill"})

    async def _alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._do("GET", "/v1/spend/alerts"))["items"]
        return found

    async def _do(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = await self._send(method, path, body)
        _require(response.is_success, f"{method} {path} is {response.status_code}: {response.text[:200]}")
        found: dict[str, Any] = response.json()
        return found

    async def _send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self._scratch.clients[0].request(method, path, **({} if body is None else {"json": body}))


def _question(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Is this a drill?"}], **more}


async def _read(client: httpx.AsyncClient, started: asyncio.Event) -> bytes:
    """Read an answer to its end; what its last pieces said."""
    last = b""
    question = _question(LONG, stream=True)
    async with client.stream("POST", "/v1/chat/completions", json=question) as response:
        async for part in response.aiter_raw():
            started.set()
            last = (last + part)[-4_096:]
    return last


async def _wait_until(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    deadline = Deadline.after(WAIT_S_MAX)
    while not await holds():
        _require(not deadline.passed, f"{otherwise} after {WAIT_S_MAX:g} s")
        await asyncio.sleep(PAUSE_S)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise OperatingError(otherwise)
