"""The JWKS client: a document, or one error that says what came instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from connectors.jwks import JWKS_BYTES_MAX, JwksClient
from runtime.errors import DependencyUnavailable, Misconfigured

URL = "https://id.example/keys"


class Endless(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536


class Dripping(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)


def refuses(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def hangs(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("", request=request)


async def fetch(answer: Callable[[httpx.Request], httpx.Response]) -> object:
    client = JwksClient(URL, httpx.MockTransport(answer))
    try:
        return await client.fetch()
    finally:
        await client.close()


async def test_a_document_is_returned_as_it_is() -> None:
    assert await fetch(lambda _: httpx.Response(200, json={"keys": [{"kty": "RSA"}], "x": 1})) == {
        "keys": [{"kty": "RSA"}],
        "x": 1,
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refuses, "does not answer: ConnectError refused"),
        (hangs, "does not answer: ReadTimeout"),
        (lambda _: httpx.Response(500), "answers 500"),
        (lambda _: httpx.Response(302, headers={"location": "https://evil.example"}), "answers 302"),
        (lambda _: httpx.Response(200, text="<html>"), "does not answer with JSON"),
        (lambda _: httpx.Response(200, content=b"\xff\xfe{"), "does not answer with JSON"),
        (lambda _: httpx.Response(200, json=[]), "no list of keys"),
        (lambda _: httpx.Response(200, json={"keys": {}}), "no list of keys"),
        (lambda _: httpx.Response(200, stream=Endless()), f"more than {JWKS_BYTES_MAX} bytes"),
    ],
)
async def test_everything_else_is_an_outage(answer: Callable[[httpx.Request], httpx.Response], said: str) -> None:
    with pytest.raises(DependencyUnavailable, match=said) as caught:
        await fetch(answer)
    assert URL in caught.value.detail


def test_an_address_that_is_none_is_a_setting_to_correct() -> None:
    with pytest.raises(Misconfigured, match="jwks_url"):
        JwksClient("id.example/keys")


async def test_an_answer_that_comes_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.jwks.TIMEOUT_S", 0.1)
    with pytest.raises(DependencyUnavailable, match=r"not answered within 0\.1 s"):
        await fetch(lambda _: httpx.Response(200, stream=Dripping()))
