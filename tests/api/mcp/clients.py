"""Stock clients of the protocol: the official SDK's, over HTTP, with the credential of a caller."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

MODES = ("legacy", "2026-07-28", "auto")
"""The handshake of the revisions until 2025, the one without, and what finds out by itself."""
WAIT_S = 60.0


class Rotating(httpx2.AsyncHTTPTransport):
    """Sends each request to the next of several processes, as a load balancer does."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._ports = itertools.cycle(ports)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        port = next(self._ports)
        self.asked.append(port)
        request.url = request.url.copy_with(port=port)
        return await super().handle_async_request(request)


@asynccontextmanager
async def client(
    url: str, credential: str, mode: str = "auto", transport: httpx2.AsyncBaseTransport | None = None
) -> AsyncIterator[Client]:
    """A connected client."""
    headers = {"authorization": f"Bearer {credential}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=WAIT_S, transport=transport) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode, cache=None) as connected,
    ):
        yield connected


def text_of(result: Any) -> str:
    """The text of a result that is one text."""
    (content,) = result.content
    assert content.type == "text"
    return str(content.text)
