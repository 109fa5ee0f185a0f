"""How a request's body becomes a value: strictly, with the position or the fields that are wrong.

Owns the JSON decoder of every route that declares `data`, and the refusal of query parameters that a route does not
know (a misspelt filter that is silently ignored shows everything). Refuses form posts and compressed bodies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec
from litestar import Request
from litestar.exceptions import ClientException

from runtime.errors import InvalidInput, UnsupportedMedia

Source = Literal["body", "query", "header"]

JSON_TYPES = ("application/json",)
_POSITION = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
KEY_CHARS_MAX = 200
"""Longest Idempotency-Key."""
NAMES_MAX = 20
"""Most unknown fields that one problem lists."""


class ApiRequest(Request[Any, Any, Any]):
    """A request whose `json()` is the declared type of `data`, already validated."""

    async def json(self) -> Any:
        require_content_type(self, JSON_TYPES)
        field = self.route_handler.parsed_data_field
        return decode(await self.body(), field.annotation if field else Any)


def require_content_type(request: Request[Any, Any, Any], accepted: tuple[str, ...]) -> None:
    """Raise `UnsupportedMedia` unless the body is one of `accepted`, in UTF-8, not compressed."""
    media_type, options = request.content_type
    if media_type not in accepted and not (media_type.endswith("+json") and JSON_TYPES[0] in accepted):
        raise UnsupportedMedia(
            f"this route does not read {media_type or 'a body without a content type'}",
            hint=f"send it with the header Content-Type: {accepted[0]}",
        )
    if options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMedia(f"this route does not read charset {options['charset']}", hint="send UTF-8")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedMedia("this route does not read compressed bodies", hint="send it without Content-Encoding")


def decode(body: bytes, wanted: Any) -> Any:
    """`body` as `wanted`. Raises `InvalidInput` that says at which byte, or in which field, it is wrong."""
    try:
        value = msgspec.json.decode(body, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _explain(error, body, wanted) from None
    if rb"\u0000" in body and (field := next(_nul_fields(msgspec.to_builtins(value)), None)):
        hint = "remove it; an import keeps the original bytes of such a file"
        text = f"{field} holds the character U+0000, which text in Postgres cannot"
        raise refuse(text, hint, "body", (field, "holds U+0000"))
    return value


def _explain(error: Exception, body: bytes, wanted: Any) -> InvalidInput:
    """The decoder stops at the first thing that is wrong; that the body is not JSON at all is said before all else."""
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as not_json:
        return _not_json(str(not_json), body)
    return _wrong_field(str(error), raw, wanted)


def _not_json(reason: str, body: bytes) -> InvalidInput:
    match = _POSITION.search(reason)
    # The decoder says nothing of where a text ends too early; that is at its end.
    position = int(match[1]) if match else len(body)
    return InvalidInput(
        f"the body is not JSON: {_POSITION.sub('', reason).strip()}, at byte {position}",
        hint="the body is one JSON object in UTF-8",
        coordinates={"position": position},
    )


def _wrong_field(reason: str, raw: Any, wanted: Any) -> InvalidInput:
    if unknown := _unknown_fields(raw, wanted):
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(wanted))
        faults = ((name, "unknown") for name in unknown)
        return refuse(f"unknown field(s): {', '.join(unknown)}", f"this body takes: {known}", "body", *faults)
    path = _PATH.search(reason)
    detail = _PATH.sub("", reason)
    field = path[1] if path else ""
    text = f"{field}: {detail}" if field else f"the body does not fit: {detail}"
    return refuse(text, "GET /openapi.json documents what each field may be", "body", (field, detail))


def _unknown_fields(raw: Any, wanted: Any) -> list[str]:
    if not isinstance(raw, dict) or not (isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)):
        return []
    known = {field.encode_name for field in msgspec.structs.fields(wanted)}
    return sorted(name[:64] for name in raw if name not in known)[:NAMES_MAX]


def _nul_fields(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _nul_fields(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nul_fields(item, f"{path}[{index}]")


def refuse(text: str, hint: str, source: Source, *faults: tuple[str, str]) -> InvalidInput:
    """The error that names the fields of `source` that are wrong, each with what is wrong with it."""
    errors = [{"source": source, "field": field, "detail": detail} for field, detail in faults]
    return InvalidInput(text, hint=hint, coordinates={"errors": errors})


def require_usable_key(key: str) -> None:
    """Raise `InvalidInput` for an Idempotency-Key that cannot be stored."""
    if not 1 <= len(key) <= KEY_CHARS_MAX or "\0" in key:
        raise InvalidInput("the Idempotency-Key is not usable", hint=f"1 to {KEY_CHARS_MAX} characters")


def hash_request(wanted: msgspec.Struct) -> bytes:
    """Tells whether a key is used again for the same request."""
    return hashlib.sha256(msgspec.json.encode(wanted)).digest()


def require_zone(name: str, time: datetime | None) -> None:
    """Raise `InvalidInput` for a time without a zone: it means another moment to each reader."""
    if time is not None and time.tzinfo is None:
        detail = "the time has no zone"
        hint = "write it like 2026-01-15T09:00:00Z; a + in an address is written %2B"
        raise refuse(f"query {name}: {detail}", hint, "query", (name, detail))


async def refuse_unknown_query(request: Request[Any, Any, Any]) -> None:
    """A hook before every handler: a query parameter that the route does not document is an error, with its name."""
    try:
        given = set(request.query_params)
    except UnicodeError as error:
        raise ClientException("the query string is not UTF-8") from error
    if not given:
        return
    known = request.app.state.query_names.get(request.route_handler.operation_id, frozenset())
    if unknown := [name[:64] for name in sorted(given - known)[:NAMES_MAX]]:
        hint = f"this route takes: {', '.join(sorted(known)) or 'none'}"
        faults = ((name, "unknown") for name in unknown)
        raise refuse(f"unknown query parameter(s): {', '.join(unknown)}", hint, "query", *faults)
