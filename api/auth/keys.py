"""The public keys that tokens are checked with, kept fresh without ever asking too often.

Owns parsing of a JWKS, the pinning of one algorithm to each key, and when to ask again: at start, when a key is not
known (a rotation), and every now and then (a revocation). A failed request keeps the keys that are here. Refuses to
fetch by itself: what fetches is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import DependencyUnavailable
from runtime.logs import get_logger

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What a token may be signed with. Never `none`, and nothing symmetric: a public key must not be a shared secret."""
RSA_BITS_MIN = 2048
AGE_S_MAX = 600.0
"""Keys older than this are asked for again, behind the back of the request that notices: bounds how long a revoked key
is good."""
ASK_EVERY_S_MIN = 10.0
"""Time between two requests because of unknown keys: anybody can make tokens that name unknown keys."""
ASK_AGAIN_S = 1.0
"""Time between two requests while there are no keys at all."""
KEYS_MAX = 64
"""Most keys that are read from one document; the rest is not looked at."""

log = get_logger("api")


class PublicKey(msgspec.Struct, frozen=True):
    """One public key, and the one algorithm that it is good for."""

    key_id: str | None
    algorithm: str
    public: Any


class KeyStore:
    """The keys of one issuer."""

    def __init__(self, fetch: Fetch, clock: Clock = SYSTEM_CLOCK) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: tuple[PublicKey, ...] = ()
        self._asked_at_s: float | None = None
        self._loaded_at_s: float | None = None
        self._background: asyncio.Task[None] | None = None
        self.fault = "not asked yet"
        """Why the last request failed; empty when it did not."""

    @property
    def loaded(self) -> bool:
        return bool(self._keys)

    async def close(self) -> None:
        if self._background:
            self._background.cancel()
            await asyncio.gather(self._background, return_exceptions=True)

    async def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The key that a token names, or None when the issuer does not have it.

        Raises `DependencyUnavailable` when no key was ever loaded: then nobody can say whether a token is good.
        """
        key = self._match(key_id, algorithm)
        if key is None:
            await self.refresh()
            key = self._match(key_id, algorithm)
        elif self._age_s() > AGE_S_MAX:
            self._refresh_behind()
        if not self._keys:
            raise DependencyUnavailable(
                f"tokens cannot be checked: {self.fault}", hint="try again when the identity provider answers"
            )
        return key

    async def refresh(self) -> None:
        """Ask for the keys, unless that happened just now. Never raises; `fault` says what went wrong."""
        asked_before_s = self._asked_at_s
        async with self._lock:
            if self._asked_at_s != asked_before_s or not self._may_ask():
                return
            self._asked_at_s = self._clock.monotonic()
            try:
                keys, fault = parse(await self._fetch()), "the issuer publishes no key that may sign tokens"
            except DependencyUnavailable as error:
                keys, fault = (), error.detail
            if keys:
                self._keys, self.fault, self._loaded_at_s = keys, "", self._clock.monotonic()
            else:
                self.fault = fault
                log.warning("keys not refreshed, the ones at hand stay", detail=fault, keys=len(self._keys))

    def _may_ask(self) -> bool:
        if self._asked_at_s is None:
            return True
        pause_s = ASK_EVERY_S_MIN if self._keys else ASK_AGAIN_S
        return self._clock.monotonic() - self._asked_at_s >= pause_s

    def _age_s(self) -> float:
        assert self._loaded_at_s is not None
        return self._clock.monotonic() - self._loaded_at_s

    def _refresh_behind(self) -> None:
        if self._may_ask() and (self._background is None or self._background.done()):
            self._background = asyncio.create_task(self.refresh(), name="refresh-keys")

    def _match(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        fitting = [key for key in self._keys if key.algorithm == algorithm]
        if key_id is not None:
            return next((key for key in fitting if key.key_id == key_id), None)
        # A token that names no key is unambiguous only when one key could have signed it.
        return fitting[0] if len(fitting) == 1 else None


def parse(document: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The keys of a JWKS that may sign tokens. Keys of other kinds are skipped, as RFC 7517 section 5 asks for."""
    keys = []
    for raw in document["keys"][:KEYS_MAX]:
        algorithm = _algorithm(raw) if isinstance(raw, Mapping) else None
        if algorithm is None:
            continue
        try:
            public = jwt.PyJWK(dict(raw), algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        if isinstance(public, rsa.RSAPublicKey) and public.key_size < RSA_BITS_MIN:
            continue
        key_id = raw.get("kid")
        keys.append(PublicKey(key_id if isinstance(key_id, str) else None, algorithm, public))
    return tuple(keys)


def _algorithm(raw: Mapping[str, Any]) -> str | None:
    """The algorithm that the key's own type allows. `alg`, where it is given, must say the same."""
    if raw.get("use", "sig") != "sig" or "d" in raw:
        return None
    match (raw.get("kty"), raw.get("crv")):
        case ("RSA", _):
            algorithm = "RS256"
        case ("EC", "P-256"):
            algorithm = "ES256"
        case ("OKP", "Ed25519"):
            algorithm = "EdDSA"
        case _:
            return None
    return algorithm if raw.get("alg", algorithm) == algorithm else None
