"""Keys and signatures: what is shown once, what is kept, and what a signature is good for."""

from __future__ import annotations

import uuid

import pytest

from schemas import feeds
from schemas.feeds import ProducerKey, document_id, proves, public_key
from schemas.keys import tenant_of

TENANT = uuid.UUID(int=7)


def test_a_key_is_read_back_and_does_not_show_itself() -> None:
    key = ProducerKey.new(TENANT)
    assert ProducerKey.parse(f" {key}\n") == key
    assert tenant_of(key.key_id) == TENANT
    assert key.seed.hex() not in repr(key)
    assert ProducerKey.new(TENANT) != key


@pytest.mark.parametrize(
    "text", ["", "adf_", "adf_x_y", "adf__" + "0" * 64, "eyJhbGciOi", f"adf_{'z' * 32}.a_{'0' * 64}", "adf_a_b_c"]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError):
        ProducerKey.parse(text)


def test_a_key_whose_seed_is_not_hex_is_none() -> None:
    with pytest.raises(ValueError, match="non-hexadecimal"):
        ProducerKey.parse(f"adf_{TENANT.hex}.abc_{'g' * 64}")


def test_a_signature_is_good_for_its_bytes_alone() -> None:
    key, value = ProducerKey.new(TENANT), b"a value"
    signature = key.headers(value)[feeds.SIGNATURE_HEADER]
    assert proves(public_key(key.public), signature, value)
    assert not proves(public_key(key.public), signature, value + b"!")
    assert not proves(public_key(ProducerKey.new(TENANT).public), signature, value)


def test_an_item_has_one_id_by_tenant_feed_and_name() -> None:
    ids = {document_id(uuid.UUID(int=tenant), feed, name) for tenant in (1, 2) for feed in "ab" for name in ("x", "y")}
    assert len(ids) == 8
    assert document_id(TENANT, "a", "x/y") == document_id(TENANT, "a", "x/y")
