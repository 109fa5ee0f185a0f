"""An identity provider by setting: its keys come over HTTP, and a rotation needs no restart."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adriatic.stack.system import PROBE_TIMEOUT_S
from api.auth import keys
from api.ops.readiness import REUSE_S
from runtime.clock import ManualClock
from runtime.settings import AuthSettings, Settings
from tests.api.auth.signers import Signer
from tests.api.world import Caller, World, running

pytestmark = pytest.mark.stack

HUNG_S = 4.0
"""How long a provider that hangs keeps a request: less than the API waits for it."""


class Provider:
    """Serves the public halves of `signers`, on one port for ever. `asked`: how often."""

    def __init__(self) -> None:
        self.signers = [Signer("RS256", "first")]
        self.asked = 0
        self.came = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                provider.came.set()
                provider.answers.wait(HUNG_S)
                body = json.dumps({"keys": [signer.jwk() for signer in provider.signers]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Requests are not news."""

        self._handler = Handler
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()
        self.url = f"http://127.0.0.1:{self._port}/keys"

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.answers.set()
    made.stop()


class Users:
    """Sends requests with tokens of signers to an API that trusts `provider`."""

    def __init__(self, world: World, tenant_id: UUID) -> None:
        self._world = world
        self._tenant_id = tenant_id

    async def status(self, signer: Signer) -> int:
        token = signer.token(tenant_id=None, org=str(self._tenant_id))
        return (await Caller(self._world.http, self._tenant_id, token).get("/v1/adrs")).status_code

    async def health(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._world.http.get("/health/ready")).json()
        return found


@asynccontextmanager
async def users_of(
    provider: Provider, database: Settings, home: Path, clock: ManualClock
) -> AsyncIterator[tuple[World, Users]]:
    auth = AuthSettings(issuer="https://id.example", jwks_url=provider.url, tenant_claim="org")
    settings = database.model_copy(update={"auth": auth, "home": home})
    async with running(settings, clock) as world:
        yield world, Users(world, (await world.tenant()).tenant_id)


async def test_tokens_of_a_provider(provider: Provider, shared_database: Settings, tmp_path: Path) -> None:
    auth = AuthSettings(issuer="https://id.example", jwks_url=provider.url, tenant_claim="org")
    settings = shared_database.model_copy(update={"auth": auth, "home": tmp_path})
    clock = ManualClock()
    async with running(settings, clock) as world:
        tenant_id = (await world.tenant()).tenant_id
        first, second = provider.signers[0], Signer("EdDSA", "second")

        async def status(signer: Signer) -> int:
            caller = Caller(world.http, tenant_id, signer.token(tenant_id=None, org=str(tenant_id)))
            return (await caller.get("/v1/adrs")).status_code

        assert await status(first) == 200
        assert await status(second) == 401
        provider.signers = [second]
        clock.sleep(keys.ASK_EVERY_S_MIN)
        assert await status(second) == 200
        assert await status(first) == 401, "the provider took the key back"
        assert (await world.caller(tenant_id).get("/v1/adrs")).status_code == 401, "the local issuer is nobody here"


async def test_a_key_that_changed_while_the_provider_was_away_is_taken_soon_after_its_return(
    provider: Provider, shared_database: Settings, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with users_of(provider, shared_database, tmp_path, clock) as (_, users):
        first, second = provider.signers[0], Signer("EdDSA", "second")
        assert await users.status(first) == 200
        provider.stop()
        provider.signers = [second]
        clock.sleep(keys.ASK_EVERY_S_MIN)
        for _ in range(20):
            assert await users.status(second) == 401
        assert await users.status(first) == 200, "who has a token of the keys at hand goes on working"
        clock.sleep(REUSE_S + 1)
        seen = await users.health()
        assert seen["status"] == "ready"
        assert provider.url in seen["facts"]["keys"], "and whoever looks is told"
        provider.start()
        clock.sleep(keys.ASK_AGAIN_S)
        assert await users.status(second) == 200
        assert await users.status(first) == 401
        clock.sleep(REUSE_S + 1)
        assert (await users.health())["facts"]["keys"] == "loaded"


async def test_made_up_keys_do_not_flood_the_provider_whether_it_answers_hangs_or_is_away(
    provider: Provider, shared_database: Settings, tmp_path: Path
) -> None:
    clock = ManualClock()
    async with users_of(provider, shared_database, tmp_path, clock) as (_, users):
        assert await users.status(provider.signers[0]) == 200
        made_up = [Signer("EdDSA", f"made-up-{number}") for number in range(40)]
        clock.sleep(keys.ASK_EVERY_S_MIN)
        before = provider.asked
        assert set(await asyncio.gather(*map(users.status, made_up))) == {401}
        assert provider.asked == before + 1
        clock.sleep(keys.ASK_EVERY_S_MIN)
        provider.answers.clear()
        provider.came.clear()
        waiting = [asyncio.create_task(users.status(signer)) for signer in made_up]
        assert await asyncio.to_thread(provider.came.wait, HUNG_S)
        async with asyncio.timeout(HUNG_S / 2):  # nobody else waits with them
            assert await users.status(provider.signers[0]) == 200
            clock.sleep(REUSE_S + 1)
            assert (await users.health())["status"] == "ready"
        provider.answers.set()
        assert set(await asyncio.gather(*waiting)) == {401}
        assert provider.asked == before + 2


async def test_a_provider_that_hangs_from_the_beginning_is_named_at_once(
    provider: Provider, shared_database: Settings, tmp_path: Path
) -> None:
    provider.answers.clear()
    async with users_of(provider, shared_database, tmp_path, ManualClock()) as (_, users):
        async with asyncio.timeout(PROBE_TIMEOUT_S):  # a supervisor that hears nothing would end the process
            seen = await users.health()
        assert seen["status"] == "waiting"
        assert "keys" in seen["reasons"]
