"""Where a request came from, as a hash: enough to see that many users came from one place, and not from which.

Owns reading the address and hashing it with a key. Each tenant has a key of its own, made of it, so that one address is
two to two tenants. Refuses to keep an address, to show one, and to use one for anything but the first sight of a user.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from pathlib import Path
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection

from runtime.logs import get_logger
from runtime.private import create_once
from runtime.settings import Settings

FILE = "addresses.key"
KEY_BYTES = 32
"""The length of the hash, in bytes: longer keys are hashed first."""
HASH_BYTES = 16
"""What is kept of it: as long as an address, and far more than there are users to tell apart."""
NETWORK_BITS = 64
"""What of an IPv6 address one household or machine has: the rest it chooses as it likes."""
HEADER_CHARS_MAX = 1_024
"""Longest header that is read: one of a chain of proxies has a hundred."""

log = get_logger("auth")


class AddressHasher:
    """Hashes addresses by one key. `header` names who the caller is, where a proxy is in front."""

    def __init__(self, key: bytes, header: str = "") -> None:
        self._key = key
        self._header = header

    @classmethod
    def open(cls, settings: Settings) -> AddressHasher | None:
        """Take the key of the settings, or else that of the state directory, which is made. None when nobody looks at
        addresses, and when there is no key."""
        if not settings.abuse.users_per_address:
            return None
        header = settings.api.client_address_header
        if said := settings.abuse.address_key.get_secret_value():
            return cls(said.encode(), header)
        path: Path = settings.home / FILE
        try:
            create_once(path, secrets.token_bytes(KEY_BYTES))
            return cls(path.read_bytes(), header)
        except OSError as error:
            log.warning("addresses of new users are not compared", reason=error.strerror, hint="set abuse.address_key")
            return None

    def hash(self, connection: ASGIConnection[Any, Any, Any, Any], tenant_id: UUID) -> bytes | None:
        """The hash of where the request came from; None where that is not known, or is this machine: a proxy."""
        if self._header:
            said = connection.headers.get(self._header, "")[-HEADER_CHARS_MAX:].rpartition(",")[2].strip()
        else:
            said = connection.client.host if connection.client else ""
        network = read_network(said)
        return None if network is None else self.hash_network(network, tenant_id)

    def hash_network(self, network: bytes, tenant_id: UUID) -> bytes:
        of_tenant = hmac.digest(self._key, tenant_id.bytes, hashlib.sha256)
        return hmac.digest(of_tenant, network, hashlib.sha256)[:HASH_BYTES]


def read_network(text: str) -> bytes | None:
    """The address that a text is, or what of it one household has; None for what is none, and for this machine."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return None
    return address.packed[: NETWORK_BITS // 8] if address.version == 6 else address.packed
