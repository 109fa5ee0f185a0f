"""How a secret of ours is written that somebody keeps in a file: a prefix, an id that names the tenant, and the secret.

Owns the form, for feeds' keys (`schemas/feeds.py`) and API keys alike: searched for by its prefix when it was committed
by mistake, and looked up among its tenant's alone. Refuses to say what the secret is good for.

A secret has 256 random bits, so nobody can try them out, and its hash needs neither salt nor slowness: a hash for
passwords would cost each request tens of milliseconds to protect against guesses that cannot be made.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

KEY_ID_BYTES = 10
SECRET_BYTES = 32
API_KEY_PREFIX = "adr_"


def new_key_id(tenant_id: UUID) -> str:
    chosen = base64.b32encode(secrets.token_bytes(KEY_ID_BYTES)).decode().lower()
    return f"{tenant_id.hex}.{chosen}"


def tenant_of(key_id: str) -> UUID | None:
    """Find whose key it would be; None when it cannot be one."""
    tenant, _, chosen = key_id.partition(".")
    if len(tenant) != 2 * 16 or not (chosen.isascii() and chosen.isalnum()):
        return None
    try:
        return UUID(tenant)
    except ValueError:
        return None


def join(prefix: str, key_id: str, secret: bytes) -> str:
    """The whole of a key, as its holder has it."""
    return f"{prefix}{key_id}_{secret.hex()}"


def split(prefix: str, text: str) -> tuple[str, bytes]:
    """The id and the secret of a key with this prefix. Raises `ValueError`."""
    found, key_id, secret = text.strip().split("_", 2)
    if f"{found}_" != prefix or len(secret) != 2 * SECRET_BYTES or tenant_of(key_id) is None:
        raise ValueError("not a key of this kind")
    return key_id, bytes.fromhex(secret)


@dataclass(frozen=True, slots=True)
class ApiKeySecret:
    """The whole of an API key. `str` is what is shown, once; the database has `digest`."""

    key_id: str
    secret: bytes

    @classmethod
    def new(cls, key_id: str) -> ApiKeySecret:
        return cls(key_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> ApiKeySecret:
        """Raises `ValueError`."""
        return cls(*split(API_KEY_PREFIX, text))

    def __str__(self) -> str:
        return join(API_KEY_PREFIX, self.key_id, self.secret)

    def __repr__(self) -> str:
        return f"ApiKeySecret({self.key_id})"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret."""
        return hashlib.sha256(self.secret).digest()
