"""Signatures of webhooks: the published example, every byte that counts, and secrets that are none."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

import pytest

from connectors.webhook_signing import KEYS_MAX, read_signing_keys, sign_webhook
from runtime.errors import Misconfigured

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example that the libraries of the specification have."""
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def is_signed(key: bytes, headers: dict[str, str], body: bytes) -> bool:
    """What a receiver does, as the how-to page has it."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(wanted, given) for given in headers["webhook-signature"].split())


def test_it_is_the_signature_of_the_published_example() -> None:
    assert sign_webhook(read_signing_keys(SECRET), ID, TIMESTAMP, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": str(TIMESTAMP),
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize(
    ("message_id", "timestamp_s", "body"), [("msg_2", TIMESTAMP, BODY), (ID, 0, BODY), (ID, TIMESTAMP, BODY + b" ")]
)
def test_whatever_is_changed_has_another_signature(message_id: str, timestamp_s: int, body: bytes) -> None:
    assert sign_webhook(read_signing_keys(SECRET), message_id, timestamp_s, body)["webhook-signature"] != SIGNATURE


def test_each_key_signs() -> None:
    keys = read_signing_keys(f"{SECRET}  whsec_{b64encode(b'n' * 24).decode()}")
    headers = dict(sign_webhook(keys, ID, TIMESTAMP, BODY))
    assert headers["webhook-signature"].split()[0] == SIGNATURE
    assert all(is_signed(key, headers, BODY) for key in keys)
    assert not is_signed(b"x" * 24, headers, BODY)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "secret",
        "whsec_",
        "whsec_%%%%",
        f"whsec_{b64encode(b'k' * 23).decode()}",
        f"whsec_{b64encode(b'k' * 65).decode()}",
        f"{SECRET} other",
        " ".join([SECRET] * (KEYS_MAX + 1)),
    ],
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read_signing_keys(secret)
    told = f"{refused.value} {refused.value.hint}"
    assert not [word for word in secret.split() if len(word) > len("whsec_") and word in told]
