"""Key pairs of an identity provider, and tokens signed with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from runtime.ids import new_id

TENANT = new_id()
ALGORITHM_CLASSES: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
PRIVATE: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Signer:
    """One key pair of one provider."""

    def __init__(self, algorithm: str, key_id: str | None = "key-1", private: Any = None) -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.private: Any = private or PRIVATE[algorithm]()

    def jwk(self, **more: Any) -> dict[str, Any]:
        members = json.loads(ALGORITHM_CLASSES[self.algorithm].to_jwk(self.private.public_key()))
        members.pop("key_ops", None)
        return {**members, **({"kid": self.key_id} if self.key_id else {}), **more}

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token, changed by `claims`; None removes one."""
        named = {"kid": self.key_id} if self.key_id else {}
        return jwt.encode(good(**claims), self.private, self.algorithm, headers={**named, **(headers or {})})


def good(**claims: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    all_claims = {
        "iss": "https://id.example",
        "aud": "adriatic",
        "sub": "ada",
        "exp": now + timedelta(minutes=5),
        "iat": now,
        "tenant_id": str(TENANT),
        **claims,
    }
    return {name: value for name, value in all_claims.items() if value is not None}
