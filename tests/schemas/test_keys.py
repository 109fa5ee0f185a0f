"""The form of keys: what is shown once, what is kept, and what is none."""

from __future__ import annotations

import hashlib
import re
import uuid

import pytest

from schemas.feeds import ProducerKey
from schemas.keys import ApiKeySecret, new_key_id, tenant_of

TENANT = uuid.UUID(int=7)
SCANNED = re.compile(r"adr_[0-9a-f]{32}\.[0-9a-z]{16}_[0-9a-f]{64}")
"""What the docs tell scanners of repositories."""


def test_a_key_is_read_back_and_does_not_show_itself() -> None:
    key = ApiKeySecret.new(new_key_id(TENANT))
    assert ApiKeySecret.parse(f" {key}\n") == key
    assert tenant_of(key.key_id) == TENANT
    assert SCANNED.fullmatch(str(key))
    assert key.secret.hex() not in repr(key)
    assert key.digest == hashlib.sha256(key.secret).digest()


def test_no_two_are_alike() -> None:
    key_id = new_key_id(TENANT)
    assert new_key_id(TENANT) != key_id
    assert ApiKeySecret.new(key_id).secret != ApiKeySecret.new(key_id).secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "adr_",
        "adr_x_y",
        f"adr__{'0' * 64}",
        "eyJhbGciOi",
        f"adr_{'z' * 32}.a_{'0' * 64}",
        f"adr_{TENANT.hex}.a_{'0' * 63}",
        f"adr_{TENANT.hex}._{'0' * 64}",
        f"adr_{TENANT.hex}.a_{'g' * 64}",
        str(ProducerKey.new(TENANT)),
    ],
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError):
        ApiKeySecret.parse(text)
