"""API processes as they run in production, on one database, before a fake provider whose bills are known."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from api.auth.issuer import LocalIssuer
from connectors.llm.fake.bills import INPUT_MICRO_USD, OUTPUT_MICRO_USD, Bill
from connectors.llm.fake.requests import FakeQuestion, ReceivedRequest
from connectors.llm.fake.scripts import MODEL_PREFIX, FakePace, Reply
from connectors.llm.fake.server import FakeLlm, listen
from runtime.settings import LimitSettings, Settings
from tests.api.test_server import Server, serving
from tests.api.world import Caller
from tests.patience import PATIENCE_S

ASKED_BY = re.compile(rb"asked by (\S+)")
"""What questions say, so that a bill is known by who asked."""
_PRICE = """
[[prices]]
provider = "openai"
model = "{model}"
valid_from = 2020-01-01
source = "what the fake provider charges"
read_on = 2020-01-01

[prices.rates]
input_uncached = {read}
cache_read = {read}
cache_write_5m = {read}
cache_write_1h = {read}
output_visible = {written}
reasoning = {written}
"""


class KnownFake(FakeLlm):
    """A fake provider that knows by whom each of its bills was caused."""

    def __init__(self, script: str, pace: FakePace) -> None:
        super().__init__(script, pace)
        self.by_bill: dict[int, str] = {}

    def answer(self, request: ReceivedRequest) -> tuple[FakeQuestion, Reply]:
        if found := ASKED_BY.search(request.body):
            self.by_bill[self.bills.stats.requests] = found[1].decode()
        return super().answer(request)

    def costs_by_asker(self) -> dict[str, Counter[int]]:
        """What each bill comes to, in micro-USD, and how often. Every bill is closed by then."""
        found: dict[str, Counter[int]] = {}
        for bill in self.all_bills():
            assert bill.outcome != "open"
            found.setdefault(self.by_bill[bill.number], Counter())[bill.cost_micro_usd] += 1
        return found

    def all_bills(self) -> list[Bill]:
        found: list[Bill] = []
        while more := self.bills.since(len(found)):
            found += more
        return found


class Fleet:
    """The processes, and callers of each. A model is called as the script of the provider is."""

    def __init__(
        self, stack: AsyncExitStack, settings: Settings, fake: KnownFake, folder: Path, variables: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self.fake = fake
        self.servers: list[Server] = []
        self._stack = stack
        self._folder = folder
        self._variables = variables
        self._issuer = LocalIssuer.open(settings.home, settings.auth)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def start(self) -> Server:
        """One more process."""
        place = self._folder / f"process-{len(self.servers)}"
        place.mkdir()
        server = self._stack.enter_context(serving(self.settings, place, **self._variables))
        unbounded = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        client = httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_S, limits=unbounded)
        self._clients[server.url] = await self._stack.enter_async_context(client)
        self.servers.append(server)
        return server

    @property
    def alive(self) -> list[Server]:
        return [server for server in self.servers if server.process.poll() is None]

    def caller(self, server: Server, tenant_id: UUID, subject: str = "ada", **claims: Any) -> Caller:
        token = self._issuer.mint(tenant_id, subject=subject, ttl_s=3_600, **claims)
        return Caller(self._clients[server.url], tenant_id, token.text)

    @staticmethod
    def kill(server: Server) -> None:
        server.process.kill()
        server.process.wait(PATIENCE_S)

    @staticmethod
    def pause(server: Server) -> None:
        server.process.send_signal(signal.SIGSTOP)

    @staticmethod
    def wake(server: Server) -> None:
        server.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def fleet(
    settings: Settings,
    folder: Path,
    pace: FakePace,
    scripts: tuple[str, ...] = ("whole",),
    processes: int = 2,
    target: Mapping[str, Any] | None = None,
    **variables: str,
) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        fake = KnownFake("whole", pace)
        await stack.enter_async_context(listen(fake))
        prices = folder / "prices.toml"
        rates = {"read": INPUT_MICRO_USD * 1_000_000, "written": OUTPUT_MICRO_USD * 1_000_000}
        prices.write_text("".join(_PRICE.format(model=MODEL_PREFIX + script, **rates) for script in scripts))
        same = {"provider": "openai", "base_url": f"{fake.url}/v1", "in_flight_max": 1_000, **(target or {})}
        models = [{"name": script, "targets": [{**same, "model": MODEL_PREFIX + script}]} for script in scripts]
        told = {
            "ADRIATIC_LLM__MODELS": json.dumps(models),
            "ADRIATIC_LLM__PRICES": str(prices),
            "ADRIATIC_LLM__STREAMS_PER_TENANT_MAX": "2000",
            "ADRIATIC_LLM__FIRST_TOKEN_S": f"{PATIENCE_S:g}",
            "ADRIATIC_LLM__IDLE_S": f"{PATIENCE_S:g}",
            "ADRIATIC_LLM__TOTAL_S": f"{5 * PATIENCE_S:g}",
            **{f"ADRIATIC_LIMITS__{name.upper()}": "0" for name in LimitSettings.model_fields},
        }
        made = Fleet(stack, settings, fake, folder, told | variables)
        for _ in range(processes):
            await made.start()
        yield made


def completion(script: str, asker: str, **more: Any) -> dict[str, Any]:
    """A question in OpenAI's words, some four hundred bytes long."""
    question = f"This is asked by {asker} and has some padding: " + "why " * 90
    return {"model": script, "stream": True, "messages": [{"role": "user", "content": question}], **more}


async def read_stream(
    caller: Caller, path: str, body: dict[str, Any], heard: Callable[[bytes], object] = lambda _: None
) -> tuple[int, bytes]:
    """Status and bytes of an answer; the bytes that came, when its process is killed."""
    content = b""
    headers = {"authorization": f"Bearer {caller.token}"}
    async with caller.http.stream("POST", path, json=body, headers=headers) as response:
        try:
            async for part in response.aiter_raw():
                content += part
                heard(content)
        except httpx.TransportError:
            pass
    return response.status_code, content
