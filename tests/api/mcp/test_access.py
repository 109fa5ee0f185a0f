"""Who may send to `/mcp`, from where, and what is told to whoever may not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.settings import ApiSettings, AuthSettings, Settings
from tests.api.world import Caller, World, running

pytestmark = pytest.mark.stack

MESSAGE: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
METADATA = "/.well-known/oauth-protected-resource/mcp"


async def test_without_a_credential_nothing_is_said_but_how(world: World) -> None:
    for headers, word in (({}, 'Bearer realm="adriatic"'), ({"authorization": "Bearer x.y.z"}, "invalid_token")):
        refused = await world.http.post("/mcp", json=MESSAGE, headers=headers)
        assert refused.status_code == 401
        assert word in refused.headers["www-authenticate"]
        told = refused.json()
        assert (told["jsonrpc"], told["id"], told["error"]["data"]["code"]) == ("2.0", None, "unauthenticated")
    # Nobody gives tokens here but the operator.
    assert "resource_metadata" not in refused.headers["www-authenticate"]
    nobody = await world.http.get(METADATA)
    assert nobody.status_code == 404
    assert "adriatic keys create" in nobody.json()["hint"]


async def test_a_key_without_the_scope_is_refused(tenant: Caller) -> None:
    made = (await tenant.post("/v1/keys", {"name": "writer", "scopes": ["write"]})).json()
    refused = await tenant.http.post("/mcp", json=MESSAGE, headers={"authorization": f"Bearer {made['secret']}"})
    assert refused.status_code == 403
    assert 'error="insufficient_scope", scope="read"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("public_url", ["", "https://adr.example.com/"])
async def test_an_identity_provider_is_pointed_to(shared_database: Settings, public_url: str) -> None:
    auth = AuthSettings(issuer="https://login.example.com", jwks_url="http://127.0.0.1:1/jwks")
    api = ApiSettings(public_url=public_url)
    async with running(shared_database.model_copy(update={"auth": auth, "api": api})) as world:
        base = public_url.rstrip("/") or "http://api"
        refused = await world.http.post("/mcp", json=MESSAGE)
        assert refused.headers["www-authenticate"] == f'Bearer realm="adriatic", resource_metadata="{base}{METADATA}"'
        described = await world.http.get(METADATA)
        assert described.json() == {
            "resource": f"{base}/mcp",
            "authorization_servers": ["https://login.example.com"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Adriatic",
        }


async def test_pages_of_unknown_origins_may_not_ask(shared_database: Settings) -> None:
    """Also not one that names this very host: a name that was made to point here has the page's own origin."""
    named = "http://localhost:6274"
    api = ApiSettings(cors_origins=(named,))
    async with running(shared_database.model_copy(update={"api": api})) as world:
        caller = await world.tenant()
        for origin in ("http://evil.example", "http://api", "null", f"{named}.evil.example", named.upper()):
            refused = await caller.post("/mcp", MESSAGE, headers={"origin": origin})
            assert refused.status_code == 403, origin
            assert refused.json()["error"]["data"]["code"] == "forbidden"
        assert (await caller.post("/mcp", MESSAGE, headers={"origin": named})).status_code == 200
        asked = {"origin": named, "access-control-request-method": "POST"}
        asked["access-control-request-headers"] = "mcp-protocol-version,mcp-method,authorization"
        assert (await world.http.options("/mcp", headers=asked)).status_code == 204


async def test_only_whole_messages_are_taken(tenant: Caller) -> None:
    """There is no stream to open, no session to end, no batch, and no answer to a question that was not asked."""
    for method in ("GET", "DELETE"):
        refused = await tenant.request(method, "/mcp", headers={"accept": "text/event-stream"})
        assert refused.status_code == 405
        assert refused.headers["allow"] == "OPTIONS, POST"
    wrong: list[Any] = [
        [MESSAGE],
        {**MESSAGE, "jsonrpc": "1.0"},
        {**MESSAGE, "id": 1.5},
        {**MESSAGE, "id": 2**53},
        {**MESSAGE, "more": 1},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {**MESSAGE, "params": {"x": "\0"}},
    ]
    for message in wrong:
        refused = await tenant.post("/mcp", message)
        assert refused.status_code == 400, message
        assert refused.json()["error"]["code"] == -32_600
    noted = await tenant.post("/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (noted.status_code, noted.content) == (202, b"")
    plain = await tenant.request("POST", "/mcp", content=b"{}", headers={"content-type": "text/plain"})
    assert plain.status_code == 415


async def test_a_revision_that_is_not_known_is_told_which_are(tenant: Caller) -> None:
    meta = {"protocolVersion": "2031-01-01", "clientCapabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    params = {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}}
    headers = {"mcp-protocol-version": "2031-01-01", "mcp-method": "tools/list"}
    refused = await tenant.post("/mcp", {**MESSAGE, "params": params}, headers=headers)
    assert refused.status_code == 400
    assert "2026-07-28" in json.dumps(refused.json()["error"]["data"])
