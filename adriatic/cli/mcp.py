"""`adriatic mcp`: the tools of `/mcp` for editors that start a program and speak to it over standard input and output.

Owns the relay. What a tool is, takes and gives, the API alone knows: each request goes there, as whoever the options
name, and standard output has the protocol and nothing else. Refuses to keep anything between two requests, so that a
restarted API, a renewed key and another address are met without a new start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.errors import AdriaticError

if TYPE_CHECKING:
    import mcp_types as types
    from pydantic import BaseModel

    from adriatic.cli.remote import Remote
    from api.mcp.messages import McpReply
    from api.mcp.server import Ctx, Paged

    Result = TypeVar("Result", bound=BaseModel)

PATH = "/mcp"


@click.command("mcp")
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PATH",
    help="A file whose first line is an API key or a token. It is read for each request.",
)
@where_options
def mcp(key_file: Path | None, where: Where) -> None:
    """Let an editor or another agent ask, over standard input and output (Model Context Protocol).

    An editor starts this by itself. It ends when its input does.

    \b
    adriatic mcp                                       as this machine's own tenant demo
    adriatic mcp --url https://adr.example.com --key-file ~/.config/adriatic.key
    """
    if where.token == "-":  # noqa: S105
        raise click.UsageError("standard input is the protocol's; use --key-file")
    asyncio.run(_serve(where, key_file))


async def _serve(where: Where, key_file: Path | None) -> None:
    from mcp.server.stdio import stdio_server

    from api.mcp.server import make_server

    def connect() -> AbstractContextManager[Remote]:
        key = key_file.read_text(encoding="utf-8").partition("\n")[0].strip() if key_file else None
        return where.connect(PATIENCE_S_MAX, key=key)

    server = make_server(McpRelay(connect))
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


class McpRelay:
    """Answers each request with what the API answers."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Remote]]) -> None:
        self._connect = connect

    async def list_tools(self, ctx: Ctx, params: Paged | None) -> types.ListToolsResult:
        """The tools of the API."""
        import mcp_types as types

        return await self._ask("tools/list", params, types.ListToolsResult)

    async def call_tool(self, ctx: Ctx, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Run one there. An API that is away is a failed result: whoever asked reads what to do."""
        import mcp_types as types

        try:
            reply = await asyncio.to_thread(self._post, "tools/call", params)
        except AdriaticError as error:
            return types.CallToolResult(content=[types.TextContent(type="text", text=str(error))], is_error=True)
        return _read(reply, types.CallToolResult)

    async def list_resources(self, ctx: Ctx, params: Paged | None) -> types.ListResourcesResult:
        """The records of the API."""
        import mcp_types as types

        return await self._ask("resources/list", params, types.ListResourcesResult)

    async def list_templates(self, ctx: Ctx, params: Paged | None) -> types.ListResourceTemplatesResult:
        """How the API addresses records."""
        import mcp_types as types

        return await self._ask("resources/templates/list", params, types.ListResourceTemplatesResult)

    async def read_resource(self, ctx: Ctx, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """The text of a record."""
        import mcp_types as types

        return await self._ask("resources/read", params, types.ReadResourceResult)

    async def list_prompts(self, ctx: Ctx, params: Paged | None) -> types.ListPromptsResult:
        """The prompts of the API."""
        import mcp_types as types

        return await self._ask("prompts/list", params, types.ListPromptsResult)

    async def get_prompt(self, ctx: Ctx, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """One of them, with its argument."""
        import mcp_types as types

        return await self._ask("prompts/get", params, types.GetPromptResult)

    async def _ask(self, method: str, params: BaseModel | None, wanted: type[Result]) -> Result:
        from mcp.shared.exceptions import MCPError
        from mcp_types import INTERNAL_ERROR

        try:
            reply = await asyncio.to_thread(self._post, method, params)
        except AdriaticError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from None
        return _read(reply, wanted)

    def _post(self, method: str, params: BaseModel | None) -> McpReply:
        from mcp_types.version import LATEST_HANDSHAKE_VERSION

        from api.mcp.messages import McpMessage, McpReply

        # What a client says of itself to this program is not for the API, whose every message stands alone.
        given: dict[str, Any] = (
            {} if params is None else params.model_dump(by_alias=True, mode="json", exclude_none=True, exclude={"meta"})
        )
        message = McpMessage("2.0", method, 1, given)
        with self._connect() as remote:
            return remote.ask_again(PATH, message, McpReply, {"mcp-protocol-version": LATEST_HANDSHAKE_VERSION})


def _read(reply: McpReply, wanted: type[Result]) -> Result:
    """What is in the answer. Raises the protocol's error that it is."""
    from mcp.shared.exceptions import MCPError
    from msgspec import UNSET

    if reply.error is not UNSET:
        raise MCPError(reply.error.code, reply.error.message)
    return wanted.model_validate(reply.result)
