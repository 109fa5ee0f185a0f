"""Pages of long lists, by key: a cursor says after which row the next page begins.

Owns the cursor's form and the limits. A cursor is opaque to callers, belongs to one list with one set of filters, and
never expires; rows that are added meanwhile do not shift it. Refuses offsets: they show rows twice, and cost what they
skip.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from litestar.params import QueryParameter

from runtime.errors import InvalidInput

Key = TypeVar("Key")

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
"""Rows of one page: a page of the largest summaries stays under a megabyte."""
CURSOR_CHARS_MAX = 512
"""Ours have about a hundred."""

Limit = Annotated[int, QueryParameter(ge=1, le=LIMIT_MAX, description="Rows of this page.")]
Cursor = Annotated[
    str | None,
    QueryParameter(
        max_length=CURSOR_CHARS_MAX, description="`next_cursor` of the page before, with the same filters as there."
    ),
]


def fingerprint(*filters: Any) -> str:
    """Names a list with its filters, so that a cursor of another one is recognised."""
    return hashlib.sha256(msgspec.json.encode(filters)).hexdigest()[:12]


def encode(filters: str, *key: Any) -> str:
    """The cursor of a page that ends with the row whose key is `key`."""
    return base64.urlsafe_b64encode(msgspec.json.encode([filters, key])).rstrip(b"=").decode()


def decode(cursor: str | None, filters: str, key_type: type[Key]) -> Key | None:
    """The key after which the page begins; None is the first page. `key_type` is a tuple type."""
    if cursor is None:
        return None
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        token = base64.b64decode(padded, altchars=b"-_", validate=True)
        of, raw_key = msgspec.json.decode(token, type=tuple[str, msgspec.Raw])
        key = msgspec.json.decode(raw_key, type=key_type)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _refusal("the cursor is not one of ours") from None
    if of != filters:
        raise _refusal("the cursor belongs to a list with other filters")
    return key


def split(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], bool]:
    """Divide `limit` + 1 rows asked for into those of this page, and whether there are more."""
    return rows[:limit], len(rows) > limit


def _refusal(detail: str) -> InvalidInput:
    return InvalidInput(
        detail,
        hint="take next_cursor from the page before, with the same filters, or start without a cursor",
        coordinates={"errors": [{"source": "query", "field": "cursor", "detail": detail}]},
    )
