"""Signs what is posted to a webhook, in the form of Standard Webhooks, so that a receiver knows who sent it and when.

Owns the form of a secret, what is signed, and the three headers. A receiver checks an HMAC-SHA256 over id, time and
body; the time is of each try, so that what somebody recorded cannot be sent again later. Pure, but for `WebhookSigner`,
which reads its secret anew for each message: a change needs no restart. Read next: `connectors/alerting.py`,
which sends.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from connectors.secrets import SecretStore
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import Misconfigured
from runtime.settings import SecretSettings

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64
"""Bytes of a key, as Standard Webhooks demands them."""
KEYS_MAX = 4
"""Keys that sign at a time: the old and the new one, while receivers change over, and no more than a header holds."""


def read_signing_keys(secret: str) -> Sequence[bytes]:
    """The keys of a secret: one or more, with spaces between them. Raises `Misconfigured`, without a word of it."""
    written = secret.split()
    keys = [_read_key(each) for each in written]
    if not keys or len(keys) > KEYS_MAX or None in keys:
        raise Misconfigured(
            "alerts.webhook_secret is no secret of Standard Webhooks",
            hint=f"write whsec_ and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} random bytes in base64; at most {KEYS_MAX} of "
            "them, with spaces between",
        )
    return [key for key in keys if key is not None]


def _read_key(written: str) -> bytes | None:
    if not written.startswith(SECRET_PREFIX):
        return None
    try:
        key = b64decode(written.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return None
    return key if KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX else None


def sign_webhook(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> Mapping[str, str]:
    """The headers that prove a body: each key signs. `timestamp_s` is in seconds since 1970."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = (b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


class WebhookSigner:
    """Signs by the secret that a setting names; `secret` may say where it is kept."""

    def __init__(self, secret: SecretStr, secrets: SecretSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._secret = secret
        self._secrets = secrets
        self._clock = clock

    async def sign(self, message_id: str, body: bytes) -> Mapping[str, str]:
        """The headers. Raises `DependencyUnavailable` when the secret cannot be read, and as `read_signing_keys`
        does."""
        # A store of its own: each message is sent in a loop of its own, and alerts are rare.
        store = SecretStore(self._secrets, self._clock)
        try:
            secret = await store.credential(self._secret).get()
        finally:
            await store.close()
        return sign_webhook(read_signing_keys(secret), message_id, int(self._clock.now().timestamp()), body)
