"""A message of the protocol as the document has it, and errors in its words.

Owns the envelope of JSON-RPC, for requests and answers. Refuses what is in it: the SDK knows each method by its own
schema, in every revision of the protocol.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.problems import Problem

METHOD_CHARS_MAX: Final = 128
ID_CHARS_MAX: Final = 256
ID_MAX: Final = 2**53 - 1
"""Largest number that every language keeps as it is."""

MessageId = Annotated[int, Meta(ge=-ID_MAX, le=ID_MAX)] | Annotated[str, Meta(max_length=ID_CHARS_MAX)]

INVALID_REQUEST: Final = -32_600
INTERNAL_ERROR: Final = -32_603


class McpMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request, or without `id` a notification. Answers are not taken: this server asks nothing."""

    jsonrpc: Literal["2.0"]
    method: Annotated[str, Meta(min_length=1, max_length=METHOD_CHARS_MAX, description="Such as `tools/call`.")]
    id: MessageId | UnsetType = UNSET
    params: dict[str, Any] | UnsetType = UNSET


class McpErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """What went wrong. `data`: for programs; the problem, where it is one of this API's."""

    code: int
    message: str
    data: Any = UNSET


class McpFault(msgspec.Struct, frozen=True):
    """A message that was not taken. `id` is null where it is not known."""

    jsonrpc: Literal["2.0"]
    id: int | str | None
    error: McpErrorBody


class McpReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request: its result, or an error of the protocol."""

    jsonrpc: Literal["2.0"]
    id: int | str
    result: dict[str, Any] | UnsetType = UNSET
    error: McpErrorBody | UnsetType = UNSET


def to_fault(problem: Problem) -> McpFault:
    """A problem in the words of the protocol: the hint is said, and the code is in `data`."""
    code = INTERNAL_ERROR if problem.status >= 500 else INVALID_REQUEST
    said = f"{problem.detail} ({problem.hint})" if problem.hint else problem.detail
    data = {"code": problem.code, "status": problem.status, "request_id": problem.request_id}
    return McpFault("2.0", None, McpErrorBody(code, said, data))
