"""The bare path: the same framework, server and client as ours, and nothing else. No tenant, limit, budget, ledger or
metric: what is between its figures and ours is what those cost.

It copies bytes and looks at each event once, as every gateway must who wants to know the tokens. Owns nothing that the
product uses.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
from litestar import Litestar, Request, Response, post
from litestar.response import Stream

UPSTREAM = os.environ["BENCH_UPSTREAM"]
SECONDS_MAX = 3_600
_HEADERS = {"content-type": "application/json"}


class _Asked(msgspec.Struct):
    stream: bool = False


class _Piece(msgspec.Struct):
    choices: list[Any]
    usage: dict[str, Any] | None = None


_ASKED, _PIECE = msgspec.json.Decoder(_Asked), msgspec.json.Decoder(_Piece)


async def _open(app: Litestar) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    app.state.http = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(SECONDS_MAX))


async def _close(app: Litestar) -> None:
    await app.state.http.close()


async def _relay(http: aiohttp.ClientSession, body: bytes) -> AsyncIterator[bytes]:
    async with http.post(UPSTREAM, data=body, headers=_HEADERS) as response:
        rest = b""
        async for part in response.content.iter_any():
            *events, rest = (rest + part).split(b"\n\n")
            for event in events:
                if event.startswith(b"data: {"):
                    _PIECE.decode(event[6:])
            if events:
                yield b"\n\n".join(events) + b"\n\n"


@post("/v1/chat/completions", status_code=200)
async def complete(request: Request[Any, Any, Any]) -> Response[Any]:
    http: aiohttp.ClientSession = request.app.state.http
    body = await request.body()
    if _ASKED.decode(body).stream:
        return Stream(_relay(http, body), media_type="text/event-stream", status_code=200)
    async with http.post(UPSTREAM, data=body, headers=_HEADERS) as response:
        return Response(await response.read(), status_code=response.status, media_type="application/json")


app = Litestar([complete], on_startup=[_open], on_shutdown=[_close], openapi_config=None, logging_config=None)
