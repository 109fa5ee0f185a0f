"""`adriatic mcp` as an editor starts it: the tools of HTTP, by a stock client, and nothing else on its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError

from adriatic.cli.mcp import mcp
from runtime.settings import Settings
from tests.api.mcp.clients import MODES, client, text_of
from tests.api.test_server import Server, serving
from tests.api.world import Caller, running
from tests.patience import PATIENCE_S


@pytest.fixture
async def served(fresh_database: Settings, tmp_path: Path) -> AsyncIterator[tuple[Server, Caller]]:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        await caller.create("# Use Postgres\n", tags=["x"])
        with serving(world.settings, tmp_path) as server:
            yield server, caller


def command(server: Server, key_file: Path) -> list[str]:
    return [sys.executable, "-m", "adriatic", "mcp", "--url", server.url, "--key-file", str(key_file)]


@asynccontextmanager
async def started(server: Server, key_file: Path, mode: str = "auto") -> AsyncIterator[Client]:
    program, *args = command(server, key_file)
    how = StdioServerParameters(command=program, args=args, env=dict(os.environ))
    with (key_file.parent / "stderr").open("a") as errors:
        async with Client(stdio_client(how, errors), mode=mode, cache=None) as connected:
            yield connected


@pytest.mark.stack
async def test_an_editor_has_what_http_has(served: tuple[Server, Caller], tmp_path: Path) -> None:
    server, caller = served
    key_file = tmp_path / "key"
    key_file.write_text(f"{caller.token}\n")
    async with client(server.url, caller.token) as over_http:
        tools = await over_http.list_tools()
        prompts = await over_http.list_prompts()
        listed = await over_http.call_tool("list_adrs", {"tag": ["x"]})
    for mode in MODES:
        async with started(server, key_file, mode) as connected:
            assert (await connected.list_tools()).tools == tools.tools
            assert (await connected.list_prompts()).prompts == prompts.prompts
            result = await connected.call_tool("list_adrs", {"tag": ["x"]})
            assert result.structured_content == listed.structured_content
            failed = await connected.call_tool("read_adr", {"adr": "9"})
            assert (failed.is_error, text_of(failed)) == (
                True,
                "there is no ADR 9 here (search_adrs finds records by words)",
            )
            (resource,) = (await connected.list_resources()).resources
            (content,) = (await connected.read_resource(resource.uri)).contents
            assert content.model_dump()["text"] == "# Use Postgres\n"
            assert (await connected.list_resource_templates()).resource_templates
            assert (await connected.get_prompt("why", {"question": "why?"})).messages
            with pytest.raises(MCPError, match="there is no prompt"):
                await connected.get_prompt("nope", {})


@pytest.mark.stack
async def test_it_says_what_is_wrong_and_goes_on_when_that_is_mended(
    served: tuple[Server, Caller], tmp_path: Path
) -> None:
    server, caller = served
    key_file = tmp_path / "key"
    key_file.write_text("adr_nothing")
    async with started(server, key_file) as connected:
        refused = await connected.call_tool("read_adr", {"adr": "1"})
        assert refused.is_error
        assert "the API key is not valid" in text_of(refused)
        with pytest.raises(MCPError, match="the API key is not valid"):
            await connected.list_tools()
        key_file.write_text(caller.token)
        assert not (await connected.call_tool("read_adr", {"adr": "1"})).is_error
        server.stop()
        away = await connected.call_tool("read_adr", {"adr": "1"})
        assert away.is_error
        assert "adriatic up" in text_of(away)


@pytest.mark.stack
async def test_its_output_is_the_protocol_and_it_ends_with_its_input(
    served: tuple[Server, Caller], tmp_path: Path
) -> None:
    server, caller = served
    key_file = tmp_path / "key"
    key_file.write_text(caller.token)
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    messages: list[Any] = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "read_adr", "arguments": {"adr": "1"}}},
    ]
    answers, rest, code = converse(command(server, key_file), messages)
    assert [each["id"] for each in answers] == [1, 2]
    assert answers[1]["result"]["structuredContent"]["label"] == "ADR-1"
    assert (rest, code) == ("", 0)


def converse(command: list[str], messages: list[Any]) -> tuple[list[Any], str, int]:
    """The answers to messages, what else came on standard output until the input ended, and how it exited."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        answers = []
        for message in messages:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            if "id" in message:
                answers.append(json.loads(process.stdout.readline()))
        rest, _ = process.communicate(timeout=PATIENCE_S)
    return answers, rest, process.returncode


def test_a_token_cannot_come_from_where_the_protocol_does() -> None:
    run = CliRunner().invoke(mcp, ["--url", "http://127.0.0.1:1", "--token", "-"])
    assert run.exit_code == 2
    assert "use --key-file" in run.output
