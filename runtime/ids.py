"""Identifiers. Owns the choice of UUIDv7: they sort by creation time, so new rows land at the right of an index."""

from __future__ import annotations

from uuid import UUID

import uuid_utils


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562, section 5.7)."""
    return UUID(bytes=uuid_utils.uuid7().bytes)


def read_time_s(made: UUID) -> int:
    """When an id of `new_id` was made, in whole seconds since 1970."""
    return (made.int >> 80) // 1000
