"""The public keys that tokens are checked with, kept fresh without ever asking too often.

Owns parsing of a JWKS, the pinning of one algorithm to each key, and when to ask again: at start, when a key is not
known (a rotation), every now and then (a revocation), and soon when the issuer did not answer. A failed request keeps
the keys that are here. One request is under way at a time, and whoever needs it waits for that one. Refuses to fetch by
itself: what fetches is handed in, and is bounded in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import AdriaticError, DependencyUnavailable
from runtime.logs import get_logger

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What a token may be signed with. Never `none`, and nothing symmetric: a public key must not be a shared secret."""
RSA_BITS_MIN = 2048
AGE_S_MAX = 60.0
"""Keys older than this are asked for again, behind the backs of requests: bounds how long a revoked key is good, and
for how long nobody knows that the issuer is away. A request a minute is nothing to an issuer."""
ASK_EVERY_S_MIN = 10.0
"""Time from an answer to a request because of an unknown key: anybody can make tokens that name unknown keys."""
ASK_AGAIN_S = 1.0
"""Time from a request that failed, or brought no keys, to the next one: keys that changed while the issuer was away are
known so soon after its return. Who makes unknown keys up meanwhile causes one request a second, and waits for it."""
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
        self._keys: tuple[PublicKey, ...] = ()
        self._asked_at_s: float | None = None
        self._loaded_at_s: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self.fault = "not asked yet"
        """Why the last request failed; empty when it did not."""

    @property
    def loaded(self) -> bool:
        return bool(self._keys)

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The key that a token names, or None when the issuer does not have it.

        Raises `DependencyUnavailable` when no key was ever loaded: then nobody can say whether a token is good.
        """
        key = self._match(key_id, algorithm)
        if key is None:
            await self.refresh()
            key = self._match(key_id, algorithm)
        else:
            self.renew()
        if not self._keys:
            raise DependencyUnavailable(
                f"tokens cannot be checked: {self.fault}", hint="try again when the identity provider answers"
            )
        return key

    async def refresh(self, wait_s: float | None = None) -> None:
        """Ask for the keys, unless that happened just now, and wait for the answer (at most `wait_s`); while somebody
        asks, wait for that one. Never raises; `fault` says what went wrong."""
        self._begin()
        if self._asking is not None:
            # Not awaited itself: a caller who leaves must not end it for the others.
            await asyncio.wait({self._asking}, timeout=wait_s)

    def renew(self) -> None:
        """Begin to ask for the keys when they are old, or the last request failed. Nobody waits for the answer."""
        if self.fault or self._loaded_at_s is None or self._clock.monotonic() - self._loaded_at_s > AGE_S_MAX:
            self._begin()

    def _begin(self) -> None:
        if (self._asking is None or self._asking.done()) and self._may_ask():
            self._asking = asyncio.create_task(self._ask(), name="ask-for-keys")

    def _may_ask(self) -> bool:
        if self._asked_at_s is None:
            return True
        pause_s = ASK_AGAIN_S if self.fault else ASK_EVERY_S_MIN
        return self._clock.monotonic() - self._asked_at_s >= pause_s

    async def _ask(self) -> None:
        try:
            keys, fault = parse(await self._fetch()), "the issuer publishes no key that may sign tokens"
        except AdriaticError as error:
            keys, fault = (), error.detail
        except Exception as error:  # what it does not expect must not leave the last fault standing for ever
            log.exception("keys cannot be read")
            keys, fault = (), f"{type(error).__name__}: {error}"
        # From its end: one that takes as long as it may is not followed by the next at once.
        self._asked_at_s = self._clock.monotonic()
        if keys:
            self._keys, self.fault, self._loaded_at_s = keys, "", self._asked_at_s
        else:
            self.fault = fault
            log.warning("keys not refreshed, the ones at hand stay", detail=fault, keys=len(self._keys))

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
