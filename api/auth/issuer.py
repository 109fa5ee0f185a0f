"""The local issuer: signs bearer tokens where no identity provider is configured (the embedded stack, tests).

Owns a private key in the state directory, readable by its owner only, and the public half as a JWKS. Refuses to be part
of checking: the API checks its own tokens exactly like anybody else's, by issuer, audience, key and time.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_encode

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import InvalidInput, Misconfigured
from runtime.ids import new_id
from runtime.private import create_once
from runtime.settings import AuthSettings, CallerRole

KEY_FILE = "issuer-key.pem"
ALGORITHM = "ES256"
"""Small keys and tokens, and every JOSE library has it."""
TTL_S_MAX = 30 * 24 * 3600
"""Longest life of a token, in seconds: it cannot be taken back before, short of a new key."""


class SignedToken(msgspec.Struct, frozen=True):
    """A signed token, and what a person wants to know about it."""

    text: str
    tenant_id: UUID
    subject: str
    expires_at: datetime


class LocalIssuer:
    """Signs tokens with the key of one state directory. `open` makes the key when there is none."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, settings: AuthSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._key = key
        self._settings = settings
        self._clock = clock
        self._public = _public_jwk(key)

    @classmethod
    def open(cls, home: Path, settings: AuthSettings, clock: Clock = SYSTEM_CLOCK) -> LocalIssuer:
        """Read the key of `home`; make it first when it is missing. Safe when several processes do it at once."""
        path = home / KEY_FILE
        if not path.exists():
            _create(path)
        return cls(_read(path), settings, clock)

    @property
    def key_id(self) -> str:
        return str(self._public["kid"])

    def jwks(self) -> dict[str, Any]:
        """The public half, as RFC 7517 has it."""
        return {"keys": [dict(self._public)]}

    def mint(
        self,
        tenant_id: UUID,
        *,
        subject: str,
        ttl_s: int,
        name: str = "",
        email: str = "",
        role: CallerRole = "admin",
    ) -> SignedToken:
        """A token that says: `subject` acts for `tenant_id` for the next `ttl_s` seconds. An admin's unless asked
        otherwise: whoever can read the key can say so anyway."""
        if not 0 < ttl_s <= TTL_S_MAX:
            raise InvalidInput(
                f"a token cannot live for {ttl_s} s", hint=f"1 s to {TTL_S_MAX // 86400} days ({TTL_S_MAX} s)"
            )
        issued_at = self._clock.now().replace(microsecond=0)
        expires_at = issued_at + timedelta(seconds=ttl_s)
        claims = {
            "iss": self._settings.issuer,
            "aud": self._settings.audience,
            "sub": subject,
            self._settings.tenant_claim: str(tenant_id),
            self._settings.role_claim: [self._name_role(role)],
            "iat": issued_at,
            "nbf": issued_at,
            "exp": expires_at,
            "jti": str(new_id()),
        }
        claims |= {key: value for key, value in (("name", name), ("email", email)) if value}
        text = jwt.encode(claims, self._key, ALGORITHM, headers={"kid": self.key_id})
        return SignedToken(text, tenant_id, subject, expires_at)

    def _name_role(self, role: CallerRole) -> str:
        """The value of the claim that is read as this role."""
        named = {"admin": self._settings.admin_values[0], "service": self._settings.service_values[0]}
        return named.get(role, role)


def _create(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    create_once(path, pem)


def _read(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise Misconfigured(
            f"the local issuer's key cannot be read: {error}",
            hint=f"remove {path} to get a new one; tokens made so far then end",
            coordinates={"file": str(path)},
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Misconfigured("the local issuer's key is not a P-256 key", hint=f"remove {path} to get a new one")
    return key


def _public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    members = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    # The key's id is its RFC 7638 thumbprint: members in the order of their names, without white space.
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**members, "kid": base64url_encode(digest).decode(), "use": "sig", "alg": ALGORITHM}
