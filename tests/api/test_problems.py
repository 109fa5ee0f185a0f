"""A body that is too large: what was sent, when that is known, and what the route takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
from litestar import Litestar, post
from litestar.params import JSONBody

from api import problems

BYTES_MAX = 1_000


@post("/", request_max_body_size=BYTES_MAX)
async def take(data: JSONBody[dict[str, str]]) -> None:
    """Only there to be sent to."""


async def refusal(content: bytes | AsyncIterator[bytes]) -> str:
    app = Litestar([take], exception_handlers=problems.handlers(), openapi_config=None, logging_config=None)
    asgi: Any = app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://api") as http:
        answer = await http.post("/", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["hint"]
    return str(answer.json()["detail"])


async def test_a_body_that_announces_its_size_is_told_both_figures() -> None:
    assert await refusal(b"x" * 1_001) == "the body has 1001 bytes, and this route takes at most 1000 bytes"


async def test_a_body_of_unknown_size_is_told_the_limit() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 500

    assert await refusal(pieces()) == "the body is too large: this route takes at most 1000 bytes"
