"""Pages of long lists, by key: a cursor says after which row the next page begins.

Owns the cursor's form and the limits. A cursor is opaque to callers, belongs to one list with one set of filters, and
never expires; rows that are added meanwhile do not shift it. Refuses offsets: they show rows twice, and cost what they
skip.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from litestar.params import QueryParameter

from api.requests import refuse
from runtime.errors import InvalidInput

Item = TypeVar("Item")

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


class Slice:
    """One page of a list. `after` is the key of the row before it, a None for each part on the first page."""

    def __init__(self, cursor: str | None, limit: int, key_type: Any, *filters: Any) -> None:
        """`key_type` is a tuple type. `filters` name the list, so that a cursor of another one is recognised."""
        self._limit = limit
        self._list = hashlib.sha256(msgspec.json.encode(filters)).hexdigest()[:12]
        self.rows_max = limit + 1
        """Rows to ask for: one more than are shown says that there are more."""
        self.after: tuple[Any, ...] = (None,) * len(get_args(key_type))
        if cursor is not None:
            self.after = _decode(cursor, self._list, key_type)

    def cut(self, items: list[Item], key: Callable[[Item], tuple[Any, ...]]) -> tuple[list[Item], str | None]:
        """Those of this page, and the cursor of the next one; None when there is none."""
        shown = items[: self._limit]
        if len(items) <= self._limit:
            return shown, None
        token = msgspec.json.encode([self._list, key(shown[-1])])
        return shown, base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _decode(cursor: str, filters: str, key_type: Any) -> Any:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        token = base64.b64decode(padded, altchars=b"-_", validate=True)
        of, raw_key = msgspec.json.decode(token, type=tuple[str, msgspec.Raw])
        key = msgspec.json.decode(raw_key, type=key_type)
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise _refusal("the cursor is not one of ours") from None
    if of != filters:
        raise _refusal("the cursor belongs to a list with other filters")
    return key


def _refusal(detail: str) -> InvalidInput:
    hint = "take next_cursor from the page before, with the same filters, or start without a cursor"
    return refuse(detail, hint, "query", ("cursor", detail))
