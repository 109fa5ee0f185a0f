"""The gateway, shown without a key: on a scratch installation, with two API processes and a provider that is scripted.

Owns the steps and what each of them must find: streaming with a bill, going on after cuts, a cache hit, failover, a
budget that a runaway loop cannot overrun, the kill-switch, and books that close. Each is done as any client of the API
would. Refuses to make the place (`scratch`), and to print.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import httpx
import msgspec

from adriatic.drill.scratch import (
    AILING,
    ANSWER_MICRO_USD,
    ANSWER_TOKENS,
    REFUSES,
    SHORT,
    TOKEN_MICRO_USD,
    WHOLE,
)
from adriatic.drill.steps import ROOM_MICRO_USD, DrillWork, ScratchDrill, question, require, wait_until
from connectors.llm.sse import SseDecoder

CUT_AFTER = 4
"""Events until a reader is cut, again and again."""
CONNECTIONS_MAX = 100
"""Connections that one answer of some 20 events is read over, at most."""
LOOP_CALLS = 100
LOOP_AT_ONCE = 10
LOOP_MICRO_USD = 1_000_000
"""A program that calls and calls, and the dollar that it may spend."""
HIT = "hit"


class GatewayShow(ScratchDrill):
    """What the gateway does, step by step, each with its figure."""

    def steps(self) -> Sequence[DrillWork]:
        return (
            ("an answer streams, and its bill is exact", self._answer),
            ("a reader who is cut goes on through another process", self._cut),
            ("the same question again asks nobody", self._ask_again),
            ("a provider that refuses is left for the next", self._fail_over),
            ("a runaway loop is held by its budget", self.run_away),
            ("counter, ledger and the provider's bills agree", self._compare_bills),
            ("the kill-switch ends answers in flight", self.stop_by_hand),
            ("new answers are refused by each process", self.check_refusal),
            ("resumed, answers are given again", self.resume),
            ("the books close", self.check_books),
        )

    async def _answer(self) -> str:
        await self.limit(ROOM_MICRO_USD)
        status, text = await self.ask(0)
        require(status == 200, f"it is {status}: {text[:200]}")
        spent = (await self.budget())["spent_micro_usd"]
        require(spent == ANSWER_MICRO_USD, f"{spent} micro-USD were billed, and not {ANSWER_MICRO_USD}")
        return f"{ANSWER_TOKENS} tokens, ${spent / 1e6:.2f}"

    async def _cut(self) -> str:
        asked = self.scratch.fake.bills.stats.requests
        body = {"model": SHORT, "input": "Is this a drill?", "stream": True, "background": True}
        heard: list[dict[str, Any]] = []
        for connections in range(CONNECTIONS_MAX):
            # Each reader is cut, and comes back through the other process.
            client = self.scratch.clients[connections % len(self.scratch.clients)]
            path = f"/v1/responses/{heard[0]['response']['id']}" if heard else "/v1/responses"
            place = {"stream": "true", "starting_after": str(heard[-1]["sequence_number"])} if heard else {}
            events = _read_events(client, path, None if heard else body, place)
            async with aclosing(events):
                async for event in _take(events, CUT_AFTER):
                    heard.append(event)
            if heard[-1]["type"] == "response.completed":
                break
        numbers = [event["sequence_number"] for event in heard]
        require(heard[-1]["type"] == "response.completed", f"the answer ends with {heard[-1]['type']}")
        require(numbers == [*range(len(heard))], "an event is missing, or came twice")
        require(self.scratch.fake.bills.stats.requests == asked + 1, "the provider was asked again")
        return f"{len(heard)} events over {connections + 1} connections to 2 processes, each once and in order"

    async def _ask_again(self) -> str:
        await self.settle()
        asked, before = self.scratch.fake.bills.stats.requests, (await self.budget())["spent_micro_usd"]
        await self._ask_shared(0)

        async def is_stored() -> bool:
            return HIT in await self._ask_shared(0)

        await wait_until(is_stored, "the answer is not given again by the process that has it")
        said = await self._ask_shared(1)
        require(HIT in said, f"of the other process it was {said}")
        await self.settle()
        require(self.scratch.fake.bills.stats.requests == asked + 1, "the provider was asked again")
        spent = (await self.budget())["spent_micro_usd"] - before
        require(spent == ANSWER_MICRO_USD, f"together they cost {spent} micro-USD")
        return f"{said}, by both processes: 1 call of the provider, and what was given again cost $0"

    async def _ask_shared(self, process: int) -> str:
        """A question whose answer may be given again; what became of that."""
        # A token more than it takes: an answer that was cut off is not given again.
        body = question(SHORT, max_tokens=ANSWER_TOKENS + 1, temperature=0)
        response = await self.scratch.clients[process].post("/v1/chat/completions", json=body)
        require(response.status_code == 200, f"it is {response.status_code}: {response.text[:200]}")
        return str(response.headers.get("cache-status", "nothing"))

    async def _fail_over(self) -> str:
        number = self.scratch.fake.bills.stats.requests
        response = await self.scratch.clients[0].post(
            "/v1/chat/completions", json=question(AILING, max_tokens=ANSWER_TOKENS)
        )
        require(response.status_code == 200, f"it is {response.status_code}: {response.text[:200]}")
        asked = [(bill.model, bill.status) for bill in self.scratch.fake.bills.since(number)]
        require(asked == [(REFUSES, 503), (WHOLE, 200)], f"what was asked is {asked}")
        await self.settle()
        return f"{REFUSES} said 503, {WHOLE} answered; the caller saw one answer"

    async def _compare_bills(self) -> str:
        books = await self.do("GET", "/v1/spend/explanation")
        ledger, charged = books["ledger"]["cost_micro_usd"], self.scratch.fake.bills.stats.output_tokens
        counter = (await self.budget())["spent_micro_usd"]
        bills = charged * TOKEN_MICRO_USD
        require(ledger == counter == bills, f"counter {counter}, ledger {ledger}, bills {bills} micro-USD")
        return f"${ledger / 1e6:.2f} in each"


async def _read_events(
    client: httpx.AsyncClient, path: str, body: Any, place: dict[str, str]
) -> AsyncGenerator[dict[str, Any]]:
    decoder = SseDecoder()
    method = "GET" if body is None else "POST"
    async with client.stream(method, path, json=body, params=place) as response:
        if response.status_code != 200:
            await response.aread()
            require(False, f"{method} {path} is {response.status_code}: {response.text[:200]}")
        async for part in response.aiter_raw():
            for event in decoder.feed(part):
                if event.data != b"[DONE]":
                    yield msgspec.json.decode(event.data)


async def _take(events: AsyncGenerator[dict[str, Any]], count: int) -> AsyncGenerator[dict[str, Any]]:
    for _ in itertools.repeat(None, count):
        try:
            yield await anext(events)
        except StopAsyncIteration:
            return
