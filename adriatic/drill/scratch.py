"""Where a drill takes place: a scratch database, a provider that is none, two API processes, and who hears of alerts.

Owns making all of it and taking it away again, however the drill ends. Nothing of it is in the books of the
installation: another database, a state directory of its own, a price list that is made up, and no capture. Refuses to
know what is rehearsed. It needs the administrator's password, as `adriatic migrate` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from pydantic import SecretStr

from adriatic.stack.ports import LOOPBACK, choose
from api.auth.issuer import LocalIssuer
from api.tenants import service as tenants
from connectors.llm.fake.scripts import MODEL_PREFIX, FakePace
from connectors.llm.fake.server import FakeLlm, listen
from connectors.postgres.provision import drop_scratch, provision
from runtime.deadline import Deadline
from runtime.errors import OperatingError
from runtime.ids import new_id
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from runtime.private import make_private
from runtime.settings import AlertSettings, AuthSettings, Settings
from streams.alerts import AlertCourier

PROVISION_S_MAX = 120.0
"""All migrations, on a slow machine."""
START_S_MAX = 180.0
"""An API process answers by then, also on a machine that is busy with other things."""
STOP_S_MAX = 15.0
REQUEST_S_MAX = 60.0
"""Longest silence of one request."""
HEAD_BYTES_MAX = 65_536
TOKEN_TTL_S = 3_600
SHORT, LONG = "short", "long"
"""What the models are called: one ends after `ANSWER_TOKENS`, the other never."""
ANSWER_TOKENS = 8
TOKEN_MICRO_USD = 10_000
"""What a token of output costs, in the made-up price list; input costs nothing, so that sums are whole."""
ANSWER_MICRO_USD = ANSWER_TOKENS * TOKEN_MICRO_USD
"""What a short answer costs."""
AILING = "ailing"
"""What a model is called that two targets answer for, of which the first refuses everything."""
REFUSES, WHOLE, ENDLESS = (f"{MODEL_PREFIX}{script}" for script in ("status-503", "whole", "endless"))
MODELS = {SHORT: (WHOLE,), LONG: (ENDLESS,), AILING: (REFUSES, WHOLE)}
"""Models by what they are called, each with the scripts of the fake provider that answer for it, in their order."""
PROCESSES = ("one", "two")

_PRICE = """
[[prices]]
provider = "openai"
model = "{model}"
valid_from = 2020-01-01
source = "made up for a drill"
read_on = 2020-01-01

[prices.rates]
input_uncached = 0
cache_read = 0
cache_write_5m = 0
cache_write_1h = 0
output_visible = {rate}
reasoning = {rate}
"""


class AlertReceiver:
    """Takes what is posted to it, and remembers it. Its `url` is known when it listens."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[dict[str, Any]] = []

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AlertReceiver]:
        server = await asyncio.start_server(self._take, LOOPBACK, 0, limit=HEAD_BYTES_MAX)
        self.url = f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/alerts"
        async with server:
            yield self

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length:")[2].partition("\r\n")[0])
            self.received.append(json.loads(await reader.readexactly(min(length, HEAD_BYTES_MAX))))
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return
        finally:
            writer.close()


class Scratch:
    """Clients of each API process, with a token of the scratch tenant; the provider, who hears of alerts, and where
    the scratch database is."""

    def __init__(
        self, clients: list[httpx.AsyncClient], fake: FakeLlm, receiver: AlertReceiver, settings: Settings
    ) -> None:
        self.settings = settings
        self.clients = clients
        self.fake = fake
        self.receiver = receiver


@asynccontextmanager
async def open_scratch(settings: Settings) -> AsyncIterator[Scratch]:
    """Make everything, and take it away again. Raises as `provision` does, and `OperatingError` when an API process
    does not start."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="adriatic-drill-")))
        home = folder / ".adriatic"
        make_private(home)
        fake = await stack.enter_async_context(listen(FakeLlm("whole", FakePace(0.02, 0.02, ANSWER_TOKENS))))
        receiver = await stack.enter_async_context(AlertReceiver().listen())
        postgres = settings.postgres.model_copy(update={"database": f"adriatic_drill_{new_id().hex}"})
        alerts = AlertSettings(webhook_url=SecretStr(receiver.url))
        changed = {"home": home, "postgres": postgres, "auth": AuthSettings(), "alerts": alerts}
        scratch = settings.model_copy(update=changed)
        stack.push_async_callback(asyncio.to_thread, drop_scratch, postgres)
        await asyncio.to_thread(provision, postgres, Deadline.after(PROVISION_S_MAX))
        async with tenants.owner(postgres) as connection:
            tenant = await tenants.create(connection, "drill")
        token = LocalIssuer.open(home, scratch.auth).mint(tenant.tenant_id, subject="drill", ttl_s=TOKEN_TTL_S).text
        stack.enter_context(_deliver(scratch))
        clients = []
        # All of them start at once, and are waited for afterwards: most of a start is importing.
        processes = {
            (name, port): stack.enter_context(_serve(_environment(scratch, fake, port), folder / f"{name}.log"))
            for name, port in choose(home, PROCESSES, {}).items()
        }
        for (name, port), process in processes.items():
            url = f"http://{LOOPBACK}:{port}"
            headers = {"authorization": f"Bearer {token}"}
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=REQUEST_S_MAX, trust_env=False)
            clients.append(await stack.enter_async_context(client))
            await _wait_until_up(client, process, folder / f"{name}.log")
        yield Scratch(clients, fake, receiver, scratch)


@contextmanager
def _deliver(settings: Settings) -> Iterator[None]:
    life = Lifecycle(Health())
    courier = AlertCourier(settings, life)
    courier.start()
    try:
        yield
    finally:
        life.stop()
        courier.join(STOP_S_MAX)


@contextmanager
def _serve(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "adriatic", "api", "run"], env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _wait_until_up(client: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = Deadline.after(START_S_MAX)
    while True:
        try:
            if (await client.get("/health/live")).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        if deadline.passed or process.poll() is not None:
            last = await asyncio.to_thread(_read_last_line, log)
            raise OperatingError("an API process of the drill does not start", hint=f"its log ends with: {last}")
        await asyncio.sleep(0.1)


def _read_last_line(log: Path) -> str:
    return log.read_text(errors="replace").strip().rpartition("\n")[2][:500]


def _environment(settings: Settings, fake: FakeLlm, port: int) -> dict[str, str]:
    """What an API process of the drill is told: nothing of the installation's own settings but where Postgres is."""
    postgres = settings.postgres
    prices = settings.home.parent / "prices.toml"
    rate = TOKEN_MICRO_USD * 1_000_000
    prices.write_text("".join(_PRICE.format(model=model, rate=rate) for model in (REFUSES, WHOLE, ENDLESS)))
    targets = {
        name: [{"provider": "openai", "model": model, "base_url": f"{fake.url}/v1"} for model in scripts]
        for name, scripts in MODELS.items()
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ADRIATIC_")}
    return kept | {
        "ADRIATIC_HOME": str(settings.home),
        "ADRIATIC_API__PORT": str(port),
        "ADRIATIC_POSTGRES__HOST": postgres.host,
        "ADRIATIC_POSTGRES__PORT": str(postgres.port),
        "ADRIATIC_POSTGRES__DATABASE": postgres.database,
        "ADRIATIC_POSTGRES__SSLMODE": postgres.sslmode,
        "ADRIATIC_POSTGRES__API_PASSWORD": postgres.password("api"),
        "ADRIATIC_LLM__MODELS": json.dumps([{"name": name, "targets": found} for name, found in targets.items()]),
        "ADRIATIC_LLM__PRICES": str(prices),
        "ADRIATIC_LIMITS__NEW_USER_REQUESTS": "0",
        "ADRIATIC_LIMITS__USER_REQUESTS_PER_MINUTE": "0",
        "ADRIATIC_LIMITS__USER_STREAMS": "0",
        "ADRIATIC_LIMITS__USER_TOKENS_PER_DAY": "0",
    }
