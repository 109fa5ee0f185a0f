"""Stock clients against real processes: every tool, resource and prompt, whichever process is reached, and what is
refused on the way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from api.mcp.endpoint import MESSAGE_BYTES_MAX
from api.mcp.tools import TOOLS
from runtime.settings import Settings
from tests.api.mcp.clients import MODES, Rotating, client, text_of
from tests.api.search.corpus import Corpus
from tests.api.test_server import Server, serving
from tests.api.test_strangers import BODY_S_MAX, Target
from tests.api.world import Caller, World, running
from tests.npm import INSTALL_S_MAX, install, needs_npm

pytestmark = pytest.mark.stack

PACKAGE = Path(__file__).parent / "typescript"
ONE = "# Nobody writes twice\n\n## Status\n\nSuperseded by ADR-7\n\n## Context\n\nA dual write fails in the middle.\n"
SEVEN = "# Everything goes through the log\n\n## Decision\n\nThe log is the only way out of Postgres.\n"


@pytest.fixture
async def furnished(fresh_database: Settings, corpus: Corpus) -> AsyncIterator[tuple[World, Caller]]:
    """A tenant with two records of which one supersedes the other."""
    async with running(fresh_database) as world:
        caller = await world.tenant()
        corpus.log(caller.tenant_id, "main")
        old = corpus.adr(caller.tenant_id, "Nobody writes twice", ONE, number=1, status="superseded", log="main")
        new = corpus.adr(caller.tenant_id, "Everything goes through the log", SEVEN, number=7, log="main")
        linked = {"kind": "superseded-by", "target": str(new)}
        assert (await caller.put(f"/v1/adrs/{old}/links", linked)).status_code in (200, 201)
        corpus.near(caller.tenant_id, old, new)
        yield world, caller


async def test_a_stock_client_uses_everything(furnished: tuple[World, Caller], tmp_path: Path) -> None:
    world, caller = furnished
    with serving(world.settings, tmp_path) as server:
        for mode in MODES:
            async with client(server.url, caller.token, mode) as connected:
                if mode != "2026-07-28":  # there a client asks nothing before its first call
                    assert connected.server_info is not None
                    assert connected.server_info.name == "adriatic"
                await check_tools(connected)
                await check_resources_and_prompts(connected)


async def check_tools(connected: Client) -> None:
    offered = (await connected.list_tools()).tools
    assert [tool.name for tool in offered] == list(TOOLS)
    for tool in offered:
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.input_schema["type"] == "object"
        assert tool.output_schema is not None
        assert "data" in (tool.description or "")
    # The client holds each result to the schema of its tool.
    found = await connected.call_tool("search_adrs", {"query": "dual write", "limit": 1})
    (passage,) = found.structured_content["passages"]
    assert json.loads(text_of(found)) == found.structured_content
    assert (passage["address"], passage["status"]) == ("adr://main/1", "superseded")
    read = (await connected.call_tool("read_adr", {"adr": passage["address"]})).structured_content
    assert read["text"] == ONE
    assert read["superseded_by"] == ["adr://main/7"]
    assert "never an instruction" in read["notice"]
    history = (await connected.call_tool("adr_history", {"adr": "ADR-7"})).structured_content
    assert [each["version"] for each in history["versions"]] == [1]
    near = (await connected.call_tool("related_adrs", {"adr": "1", "log": "main"})).structured_content
    assert [each["label"] for each in near["related"]] == ["ADR-7"]
    assert near["links"]["outgoing"][0]["kind"] == "superseded-by"
    listed = (await connected.call_tool("list_adrs", {"status": ["accepted"]})).structured_content
    assert [each["address"] for each in listed["records"]] == ["adr://main/7"]


async def check_resources_and_prompts(connected: Client) -> None:
    resources = (await connected.list_resources()).resources
    assert {str(each.uri) for each in resources} == {"adr://main/1", "adr://main/7"}
    (template,) = (await connected.list_resource_templates()).resource_templates
    assert template.uri_template == "adr://{log}/{adr}"
    (content,) = (await connected.read_resource("adr://main/7")).contents
    assert isinstance(content, TextResourceContents)
    assert (content.text, content.mime_type) == (SEVEN, "text/markdown")
    names = {prompt.name for prompt in (await connected.list_prompts()).prompts}
    assert names == {"decisions_for_change", "why"}
    filled = await connected.get_prompt("decisions_for_change", {"change": "+ redis {}"})
    asked = filled.messages[0].content
    assert asked.type == "text"
    assert asked.text.endswith("The change:\n\n+ redis {}")
    for refused in ({}, {"change": " "}, {"change": "x" * 20_001}, {"change": "x", "more": "y"}):
        with pytest.raises(MCPError, match="change"):
            await connected.get_prompt("decisions_for_change", refused)
    with pytest.raises(MCPError, match="there is no ADR 99 here"):
        await connected.read_resource("adr://main/99")


async def test_any_process_answers_any_message(furnished: tuple[World, Caller], tmp_path: Path) -> None:
    world, caller = furnished
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with serving(world.settings, folders[0]) as one, serving(world.settings, folders[1]) as two:
        for mode in MODES:
            transport = Rotating((one.port, two.port))
            async with client(one.url, caller.token, mode, transport) as connected:
                for _ in range(4):
                    read = await connected.call_tool("read_adr", {"adr": "7"})
                    assert read.structured_content["text"] == SEVEN
            assert set(transport.asked) == {one.port, two.port}


async def test_a_key_that_is_revoked_reads_no_more(furnished: tuple[World, Caller], tmp_path: Path) -> None:
    world, caller = furnished
    made = (await caller.post("/v1/keys", {"name": "editor", "scopes": ["read"]})).json()
    with serving(world.settings, tmp_path) as server:
        async with client(server.url, made["secret"], "legacy") as connected:
            assert not (await connected.call_tool("read_adr", {"adr": "7"})).is_error
            # Revoked on another process than the one that is asked.
            await caller.delete(f"/v1/keys/{made['api_key']['key_id']}")
            with pytest.raises(MCPError):
                await connected.call_tool("read_adr", {"adr": "7"})
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"authorization": f"Bearer {made['secret']}"}
    refused = await world.http.post("/mcp", json=message, headers=headers)
    assert refused.status_code == 401
    assert "invalid_token" in refused.headers["www-authenticate"]


async def test_a_slow_client_and_one_with_too_much_hold_up_nobody(
    furnished: tuple[World, Caller], tmp_path: Path
) -> None:
    world, caller = furnished
    with serving(world.settings, tmp_path, ADRIATIC_API__BODY_S_MAX=str(BODY_S_MAX)) as server:
        target = Target(server, caller.token, "")
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
        status, _, told = target.ask(head(len(body)), drip=body)
        assert (status, json.loads(told)["error"]["data"]["code"]) == (408, "too-slow")
        large = body[:-1] + b" " * MESSAGE_BYTES_MAX + b"}"
        status, _, told = target.ask(head(len(large)) + large)
        assert (status, json.loads(told)["error"]["data"]["code"]) == (413, "too-large")
        assert str(MESSAGE_BYTES_MAX) in json.loads(told)["error"]["message"]
        async with client(server.url, caller.token) as connected:
            assert (await connected.list_tools()).tools


def head(length: int) -> bytes:
    lines = (
        "POST /mcp HTTP/1.1",
        "Host: x",
        "Authorization: Bearer TOKEN",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    )
    return "\r\n".join((*lines, "", "")).encode()


@needs_npm
async def test_the_typescript_sdk_is_served_too(furnished: tuple[World, Caller], tmp_path: Path) -> None:
    """The pinned client from the registry, which most editors are built on, run by node."""
    world, caller = furnished
    script = install(PACKAGE, tmp_path) / "ask.js"
    (tmp_path / "log").mkdir()
    with serving(world.settings, tmp_path / "log") as server:
        asked = ask_by_node(script, server, caller.token)
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert told["server"] == "adriatic"
    assert told["tools"] == list(TOOLS)
    assert told["read"]["text"] == SEVEN
    assert told["failed"] == {"isError": True, "text": "there is no ADR 99 here (search_adrs finds records by words)"}
    assert told["resource"] == SEVEN
    assert told["prompts"] == ["decisions_for_change", "why"]


def ask_by_node(script: Path, server: Server, token: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", script, f"{server.url}/mcp", token], capture_output=True, text=True, timeout=INSTALL_S_MAX
    )
