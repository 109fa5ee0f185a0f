"""Identify a caller by an `Authorization` header: signature, issuer, audience, time, tenant.

Owns the check and the words for what is wrong. Refuses every algorithm that the key at hand is not for, and every token
that does not say until when it is good. Holds no key: `keys` does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import jwt

from api.auth.keys import ALGORITHMS, KeyStore
from api.auth.roles import read_role
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import Forbidden, Unauthenticated
from runtime.memory import BoundedMemory
from runtime.settings import AuthSettings, CallerRole

TOKEN_CHARS_MAX = 8192
"""Tokens of real providers have one to three thousand characters; parsing more is work for strangers."""
VERIFIED_MAX = 10_000
"""Tokens that are remembered as verified, some 5 MB: a signature costs as much as all else that is done for a small
request, and a caller sends the same token for an hour."""
SUBJECT_CHARS_MAX = 255
"""OpenID Connect Core, section 2."""
KEY_CLAIMS = ("client_id", "azp", "jti")
"""Claims that name a caller's credential, best first: the client that the token was given to (RFC 9068; `azp` in OpenID
Connect), which stays the same when tokens are renewed; else the token itself, as for those of the local issuer."""
KEY_CHARS_MAX = 255
"""The ledger's bound. A longer one is not cut, which could make two of them one: it counts as not known."""
API_KEY_SUBJECT = "api-key:"
"""How the subject of an API key's own user begins. No token has such a one, whatever its issuer says."""
SHOWN_CHARS_MAX = 200
"""Longest name or email address that is stored with the user."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says."""

    tenant_id: UUID
    subject: str
    name: str
    email: str
    expires_at: datetime | None = field(default=None, compare=False)
    """When the token stops being good, the forgiven clock difference included. The same claims with a later end are the
    same caller."""
    key_id: str | None = None
    role: CallerRole = "member"


class _Verified(NamedTuple):
    """A token whose signature was checked, and by which key of its issuer."""

    claims: Claims
    key_name: tuple[Any, str]
    key: Any


class TokenChecker:
    """Checks bearer tokens of one issuer."""

    def __init__(self, settings: AuthSettings, keys: KeyStore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._keys = keys
        self._clock = clock
        self._verified = BoundedMemory[bytes, _Verified](VERIFIED_MAX)
        """What was verified, by the digest of each token, so that no token is kept."""

    async def check(self, authorization: str | None) -> Claims:
        """Raises `Unauthenticated`, `Forbidden` (a good token without a tenant), or `DependencyUnavailable`."""
        token = _bearer(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known and await self._is_good(known):
            return known.claims
        verified = await self._check(token)
        self._verified.put(digest, verified)
        return verified.claims

    async def _is_good(self, known: _Verified) -> bool:
        """Whether a token that was verified still is: it has not expired, and its issuer still publishes the key."""
        ends = known.claims.expires_at
        return (ends is None or self._clock.now() < ends) and await self._keys.find(*known.key_name) is known.key

    async def _check(self, token: str) -> _Verified:
        header = _header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise _refusal(
                f"the token is signed with {str(algorithm)[:16]!r}", f"one of {', '.join(ALGORITHMS)} is taken"
            )
        if "crit" in header:
            raise _refusal("the token demands extensions that are not understood here", "ask for one without `crit`")
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise _refusal("the token is signed with a key that its issuer does not publish", "ask for a new token")
        claims = self._claims(self._verify(token, key.public, key.algorithm))
        return _Verified(claims, (header.get("kid"), algorithm), key)

    def _verify(self, token: str, public: Any, algorithm: str) -> dict[str, Any]:
        settings = self._settings
        try:
            return jwt.decode(
                token,
                public,
                algorithms=[algorithm],
                issuer=settings.issuer,
                audience=settings.audience,
                leeway=settings.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise _refusal("the token has expired", "ask for a new one") from None
        except jwt.ImmatureSignatureError:
            raise _refusal("the token is not good yet", "the clocks of issuer and API differ, or wait") from None
        except jwt.InvalidIssuerError:
            raise _refusal("the token is of another issuer", f"{settings.issuer!r} is expected here") from None
        except jwt.InvalidAudienceError:
            raise _refusal("the token is for another audience", f"{settings.audience!r} is expected here") from None
        except jwt.MissingRequiredClaimError as error:
            raise _refusal(
                f"the token has no claim {error.claim!r}", "ask for one with exp, iss, aud and sub"
            ) from None
        except jwt.InvalidSignatureError:
            raise _refusal("the token's signature is wrong", "ask for a new token") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _refusal(f"the token is not valid: {error}", "ask for a new token") from None

    def _claims(self, claims: dict[str, Any]) -> Claims:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARS_MAX or "\0" in subject:
            raise _refusal("the token's subject is not usable", f"1 to {SUBJECT_CHARS_MAX} characters")
        if subject.startswith(API_KEY_SUBJECT):
            raise _refusal(f"subjects that begin with {API_KEY_SUBJECT} are those of API keys", "use another subject")
        name = self._settings.tenant_claim
        try:
            tenant_id = UUID(claims[name])
        except KeyError:
            raise Forbidden(
                f"the token says no tenant: it has no claim {name!r}",
                hint="have the identity provider add it, or set auth.tenant_claim to the claim that holds it",
            ) from None
        except (ValueError, TypeError, AttributeError):
            raise Forbidden(
                f"the token's claim {name!r} is not the id of a tenant", hint="it must be the tenant's UUID"
            ) from None
        expires_at = _time(claims["exp"], self._settings.leeway_s)
        shown = {name: _printable(claims.get(name)) for name in ("name", "email")}
        role = read_role(claims, self._settings)
        return Claims(tenant_id, subject, **shown, expires_at=expires_at, key_id=_key_id(claims), role=role)


def _time(seconds: Any, leeway_s: int) -> datetime | None:
    """None for a time that is further away than a calendar goes."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(seconds=leeway_s)
    except (ValueError, OverflowError, OSError):
        return None


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Unauthenticated("there is no bearer token", hint="send the header Authorization: Bearer <token>")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("only bearer tokens are taken", hint="send the header Authorization: Bearer <token>")
    if len(token) > TOKEN_CHARS_MAX:
        raise _refusal("the token is too long", f"at most {TOKEN_CHARS_MAX} characters")
    return token


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise _refusal("that is no JSON web token", "send what the issuer gave, whole") from None


def _key_id(claims: dict[str, Any]) -> str | None:
    for name in KEY_CLAIMS:
        value = claims.get(name)
        if isinstance(value, str) and 1 <= len(value) <= KEY_CHARS_MAX and "\0" not in value:
            return value
    return None


def _printable(value: Any) -> str:
    return value.replace("\0", "")[:SHOWN_CHARS_MAX] if isinstance(value, str) else ""


def _refusal(detail: str, hint: str) -> Unauthenticated:
    return Unauthenticated(detail, hint=hint, coordinates={"presented": True})
