"""What a feed's producer and we agree on, beside the Avro contract: headers, keys, signatures, limits, reasons.

Owns how a key is written and how a record is signed and checked. Refuses to look keys up: `dataflows/feeds.py` and
`api/feeds` do. Used by the API (makes keys), the command line (signs), and the flow (checks).

A key is Ed25519: the producer has the seed, the database the public half alone, so nobody who reads the database can
write to a feed. What is signed is the record's value, byte for byte. It names tenant and feed, and a key belongs to
one feed, so a signature is good for nothing else; sent again it changes nothing, because items are versioned.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas import keys

TOPIC = "feed.documents"
"""What producers outside write to."""
RECEIVED_TOPIC = "feed.received"
"""What came in over HTTP. Only change capture writes to it, so its records need no signature."""

KEY_HEADER = "adriatic-feed-key"
SIGNATURE_HEADER = "adriatic-signature"

KEY_PREFIX = "adf_"
"""So that a key that was committed by mistake can be searched for."""

EXTERNAL_ID_CHARS_MAX = 512
TITLE_CHARS_MAX = 1_000
URI_CHARS_MAX = 2_048
TEXT_BYTES_MAX = 1_048_576
"""The same as for an ADR (`api.adr_bytes_max`): larger texts are uploaded as documents."""
RECORD_BYTES_MAX = 2_097_152
"""Largest value of a record: the largest text, and room for everything else that it says."""
VERSION_MAX = 2**63 - 1
MEDIA_TYPES = ("text/markdown", "text/plain")

Reason = Literal[
    "unsigned",
    "unknown_key",
    "bad_signature",
    "revoked_key",
    "undecodable",
    "too_large",
    "wrong_tenant",
    "wrong_feed",
    "unknown_feed",
    "paused",
    "invalid",
    "quota",
]

HINTS: Mapping[Reason, str] = {
    "unsigned": f"send the headers {KEY_HEADER} and {SIGNATURE_HEADER}",
    "unknown_key": f"{KEY_HEADER} is the part of the key between its underscores",
    "bad_signature": "sign the very bytes of the value, and send the signature as base64",
    "revoked_key": "make a new key with `adriatic feed key create`",
    "undecodable": "encode with the registered contract, feed.documents-value",
    "too_large": f"a record has at most {RECORD_BYTES_MAX} bytes; upload larger documents",
    "wrong_tenant": "the record names another tenant than that of the key",
    "wrong_feed": "the record names another feed than that of the key",
    "unknown_feed": "the feed was deleted",
    "paused": "the feed is paused: resume it, then redrive what came meanwhile",
    "invalid": "see docs/how-to/produce-to-a-feed.md for what each field may be",
    "quota": "raise the feed's quota, then redrive what was refused",
}


@dataclass(frozen=True, slots=True)
class ProducerKey:
    """The whole of a key, as its producer has it. `str` is what is shown, once.

    The secret half is a seed of Ed25519, which has as many bytes as every secret of ours.
    """

    key_id: str
    seed: bytes

    @classmethod
    def new(cls, tenant_id: UUID) -> ProducerKey:
        return cls(keys.new_key_id(tenant_id), secrets.token_bytes(keys.SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> ProducerKey:
        """Raises `ValueError`."""
        return cls(*keys.split(KEY_PREFIX, text))

    def __str__(self) -> str:
        return keys.join(KEY_PREFIX, self.key_id, self.seed)

    def __repr__(self) -> str:
        return f"ProducerKey({self.key_id})"

    @property
    def public(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def headers(self, value: bytes) -> dict[str, str]:
        """What a record with this value needs."""
        signature = base64.b64encode(self._private.sign(value)).decode()
        return {KEY_HEADER: self.key_id, SIGNATURE_HEADER: signature}

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


def proves(key: Ed25519PublicKey, signature: str | None, value: bytes) -> bool:
    """Whether whoever has the key signed this value."""
    if signature is None:
        return False
    try:
        key.verify(base64.b64decode(signature, validate=True), value)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def document_id(tenant_id: UUID, feed: str, external_id: str) -> UUID:
    """The same for ever. A slug has no slash, so no two items share one."""
    return uuid5(tenant_id, f"{feed}/{external_id}")


def fault(item: Mapping[str, Any]) -> str | None:
    """What is wrong with an item (a value of the contract), without its values; None when it is good."""
    texts = ("document_id", "title", "text", "uri", "media_type")
    rules = {
        f"document_id has 1 to {EXTERNAL_ID_CHARS_MAX} characters": 1
        <= len(item["document_id"])
        <= EXTERNAL_ID_CHARS_MAX,
        "source_version is at least 1": 1 <= item["source_version"] <= VERSION_MAX,
        f"title has at most {TITLE_CHARS_MAX} characters": len(item["title"]) <= TITLE_CHARS_MAX,
        f"text has at most {TEXT_BYTES_MAX} bytes": len(item["text"].encode()) <= TEXT_BYTES_MAX,
        f"uri has at most {URI_CHARS_MAX} characters": len(item["uri"] or "") <= URI_CHARS_MAX,
        f"media_type is one of {', '.join(MEDIA_TYPES)}": item["media_type"] in MEDIA_TYPES,
        "an item that is not deleted has a text": item["deleted"] or bool(item["text"].strip()),
        "texts hold no U+0000": not any("\0" in (item[name] or "") for name in texts),
    }
    return next((rule for rule, holds in rules.items() if not holds), None)
