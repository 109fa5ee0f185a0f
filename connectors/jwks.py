"""The public keys of an identity provider (JWKS, RFC 7517), over HTTP.

Owns one request, its bounds and what its failures mean. Refuses to cache, to choose a key or to check a token:
`api/auth` does.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from connectors.http_errors import translate
from runtime.errors import DependencyUnavailable, Misconfigured

TIMEOUT_S = 5.0
"""Limit for the whole request: a caller may be waiting for it."""
HINT = "is auth.jwks_url right, and its host reachable from here?"
JWKS_BYTES_MAX = 262_144
"""Providers publish two or three keys in a few kilobytes; this leaves room for certificate chains."""


class JwksClient:
    """One JWKS address. Close it."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        if httpx.URL(url).scheme not in ("http", "https"):
            raise Misconfigured(f"auth.jwks_url {url!r} is not an http(s) address")
        self.url = url
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S, transport=transport, headers={"accept": "application/jwk-set+json, application/json"}
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def fetch(self) -> dict[str, Any]:
        """The document as it is now. Raises `DependencyUnavailable` for everything that is not one."""
        try:
            # The client's own time-out is for each wait: who sends a byte now and then would hold it for days.
            async with asyncio.timeout(TIMEOUT_S):
                body = await self._read()
        except TimeoutError:
            raise self._unavailable(f"has not answered within {TIMEOUT_S:g} s") from None
        try:
            document = json.loads(body)
        except ValueError as error:
            raise self._unavailable("does not answer with JSON") from error
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise self._unavailable("does not answer with a JWKS: it has no list of keys")
        return document

    async def _read(self) -> bytes:
        body = b""
        with translate(f"the identity provider's key address {self.url}", HINT):
            async with self._http.stream("GET", self.url) as response:
                if response.status_code != 200:
                    raise self._unavailable(f"answers {response.status_code}")
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > JWKS_BYTES_MAX:
                        raise self._unavailable(f"sends more than {JWKS_BYTES_MAX} bytes")
        return body

    def _unavailable(self, what: str) -> DependencyUnavailable:
        return DependencyUnavailable(f"the identity provider's key address {self.url} {what}", hint=HINT)
