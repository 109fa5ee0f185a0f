"""An identity provider by setting: its keys come over HTTP, and a rotation needs no restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api.auth import keys
from runtime.clock import ManualClock
from runtime.settings import AuthSettings, Settings
from tests.api.auth.signers import Signer
from tests.api.world import Caller, running

pytestmark = pytest.mark.stack


class Provider:
    """Serves the public halves of `signers`."""

    def __init__(self) -> None:
        self.signers = [Signer("RS256", "first")]
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"keys": [signer.jwk() for signer in provider.signers]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Requests are not news."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.server.shutdown()
    made.server.server_close()


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
