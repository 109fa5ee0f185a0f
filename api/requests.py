"""How a request becomes values: strictly, with the position or the fields that are wrong.

Owns the JSON decoder of every route that declares `data`, and the refusal of what a route would read in two ways or not
at all: query parameters that it does not know (a misspelt filter that is silently ignored shows everything), one value
given twice, and U+0000 wherever it stands. Refuses form posts and compressed bodies.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, get_args, get_origin
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import UploadFile
from litestar.exceptions import HTTPException

from runtime.errors import InvalidInput, UnsupportedMedia
from schemas.text import MEANINGS, pattern_for_readers

Source = Literal["body", "query", "path", "header"]

JSON_TYPES = ("application/json",)
FORM_TYPE: Final = "multipart/form-data"
_POSITION = re.compile(r"\(byte (\d+)\)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT", re.ASCII | re.IGNORECASE)
"""How a time begins. The reader of values takes a bare number for one too, in seconds since 1970."""
_PATH = re.compile(r" - at `\$\.?(.*)`$")
KEY_CHARS_MAX = 200
"""Longest Idempotency-Key."""
NAMES_MAX = 20
"""Most unknown fields that one problem lists."""
VALUE_CHARS_MAX = 80
"""Longest value of a caller's that a problem repeats."""
NEAR: Final = 0.6
"""The likeness from which on a value counts as misspelt: `acepted` and `accept` are accepted, `done` is nothing."""
ONE_VALUED: Final = frozenset(
    {"authorization", "content-type", "content-encoding", "idempotency-key", "if-match", "adriatic-position"}
    | {"last-event-id", "x-api-key"}
)
"""Headers of which a second one would be another answer: which of the two counts, nobody could know."""
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for bytes that are no value: the last for brackets in brackets, some hundreds deep."""


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
    except NOT_JSON as error:
        if "got `float`" not in str(error):
            raise _explain(error, body, wanted) from None
        value = _decode_whole(body, wanted)
    if rb"\u0000" in body and (field := next(_nul_fields(_plain(value)), None)) is not None:
        hint = "remove it; an import keeps the original bytes of such a file"
        text = f"{field} holds the character U+0000, which text in Postgres cannot"
        raise refuse(text, hint, "body", (field, "holds U+0000"))
    return value


def _decode_whole(body: bytes, wanted: Any) -> Any:
    """The same where 5.0 is a whole number, as JSON Schema has it: some languages write all numbers like that."""
    try:
        return msgspec.convert(_whole(msgspec.json.decode(body)), wanted)
    except NOT_JSON as error:
        raise _explain(error, body, wanted) from None


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    # Beyond this a float is no longer one whole number.
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def _plain(value: Any) -> Any:
    """The value as lists, maps and texts. What a route decodes by itself (`msgspec.Raw`) it checks by itself."""
    return msgspec.to_builtins(value, enc_hook=lambda _: None)


def _too_deep() -> InvalidInput:
    return InvalidInput("the body is nested too deeply", hint="no route takes lists in lists more than a few deep")


def _explain(error: Exception, body: bytes, wanted: Any) -> InvalidInput:
    """The decoder stops at the first thing that is wrong; that the body is not JSON at all is said before all else."""
    try:
        raw = msgspec.json.decode(body)
    except RecursionError:
        return _too_deep()
    except NOT_JSON as not_json:
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
    field = path[1] if path else ""
    detail = explain(_PATH.sub("", reason), _find_choices(wanted, field))
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
        if any("\0" in key for key in value):
            yield path
        for key, item in value.items():
            yield from _nul_fields(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nul_fields(item, f"{path}[{index}]")


async def receive_file(request: Request[Any, Any, Any]) -> UploadFile:
    """The file of an upload: the one part `file` of a form. Raises `InvalidInput` that says what is wrong with it."""
    require_content_type(request, (FORM_TYPE,))
    try:
        form = await request.form()
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise _bad_form("the form cannot be read: its parts do not follow its boundary") from None
    except (UnicodeError, LookupError, ValueError, AssertionError):
        raise _bad_form("the form cannot be read: a part is in no charset that is known, or not in its own") from None
    parts = list(form.multi_items())
    files = [value for name, value in parts if name == "file" and isinstance(value, UploadFile)]
    try:
        if len(files) != 1 or len(parts) != 1:
            raise _bad_form(_name_fault([(name, isinstance(value, UploadFile)) for name, value in parts]))
    except InvalidInput:
        for _, value in parts:
            if isinstance(value, UploadFile):
                await value.close()
        raise
    return files[0]


def _name_fault(parts: Sequence[tuple[str, bool]]) -> str:
    """What is wrong with a form of these parts: the name of each, and whether it is a file."""
    if ("file", False) in parts:
        return "the part `file` has no file name"
    if parts.count(("file", True)) > 1:
        return "the form has several files: upload one at a time"
    others = ", ".join(repr(name[:VALUE_CHARS_MAX]) for name, _ in parts[:NAMES_MAX] if name != "file")
    if ("file", True) in parts:
        return f"the form has parts beside `file`: {others}"
    return f"the form has no part `file`; it has {others}" if parts else "the form has no part"


def _bad_form(detail: str) -> InvalidInput:
    return refuse(detail, 'send one part: name="file", with a filename', "body", ("file", detail))


def refuse(text: str, hint: str, source: Source, *faults: tuple[str, str]) -> InvalidInput:
    """The error that names the fields of `source` that are wrong, each with what is wrong with it."""
    errors = [{"source": source, "field": field, "detail": detail} for field, detail in faults]
    return InvalidInput(text, hint=hint, coordinates={"errors": errors})


def require_usable_key(key: str) -> None:
    """Raise `InvalidInput` for an Idempotency-Key that cannot be stored."""
    if not 1 <= len(key) <= KEY_CHARS_MAX:
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


def explain(reason: str, choices: Sequence[str]) -> str:
    """What is wrong with a value, in words that help: the nearest of the values that there are, and the pattern as the
    document has it."""
    if match := _CHOICE.fullmatch(reason):
        folded = {choice.lower(): choice for choice in choices}
        near = difflib.get_close_matches(match[1].lower(), folded, n=1, cutoff=NEAR)
        guess = f"; did you mean {folded[near[0]]}?" if near else ""
        return f"{match[1][:VALUE_CHARS_MAX]!r} is none of {', '.join(choices)}{guess}" if choices else reason
    if _NO_ZONE in reason:
        return "the time has no zone"
    if match := _REGEX.fullmatch(reason):
        pattern = str(ast.literal_eval(match[1]))
        return MEANINGS.get(pattern) or f"must match {pattern_for_readers(pattern)}"
    return reason


_CHOICE = re.compile(r"Invalid enum value '(.*)'", re.DOTALL)
_NO_ZONE = "`datetime` with a timezone component"
_REGEX = re.compile(r"Expected `str` matching regex (.*)", re.DOTALL)


def _find_choices(wanted: Any, field: str) -> list[str]:
    """The values that a field of a body can have; none where it can have any."""
    found = msgspec.inspect.type_info(wanted)
    for step in re.findall(r"[^.\[\]]+", field):
        options = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
        for option in options:
            if isinstance(option, msgspec.inspect.StructType):
                found = next((each.type for each in option.fields if each.encode_name == step), found)
            elif isinstance(option, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
                found = option.item_type
    options = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    return [str(value) for each in options if isinstance(each, msgspec.inspect.LiteralType) for value in each.values]


def find_literals(annotation: Any) -> list[str]:
    """The values that a parameter of this type can have, however deep they stand in it; none where it can have any."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for inner in get_args(annotation) for value in find_literals(inner)]


def refuse_repeated_headers(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    """Raise `InvalidInput` for a second value of a header that has one."""
    names = [name.decode("latin-1").lower() for name, _ in connection.scope["headers"]]
    if repeated := sorted({name for name in ONE_VALUED if names.count(name) > 1}):
        faults = ((name, "given more than once") for name in repeated)
        raise refuse(f"given more than once: {', '.join(repeated)}", "send each of them once", "header", *faults)


async def refuse_ambiguity(request: Request[Any, Any, Any]) -> None:
    """A hook before every handler: what the route would not read, or read in two ways, is an error with its name."""
    if request.scope.get("user") is None:  # else whoever found out who asks has looked, before it read one of them
        refuse_repeated_headers(request)
    try:
        given = request.query_params
        # Their readers put a replacement in the place of what is no character, and would look for that, or store it.
        unquote_to_bytes(request.scope["query_string"]).decode()
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode()
    except UnicodeError:
        raise InvalidInput("the address is not UTF-8", hint="percent-encode its bytes of UTF-8") from None
    parts = [("path", name, str(value)) for name, value in request.path_params.items()]
    parts += [("query", name, value) for name, value in given.multi_items()]
    for source, name, value in parts:
        if "\0" in value or "\0" in name:
            name = name.replace("\0", "")[:VALUE_CHARS_MAX]
            raise refuse(f"{source} {name}: holds U+0000", "remove it", source, (name, "holds U+0000"))  # type: ignore[arg-type]
    if not given:
        return
    known: Mapping[str, str] = request.app.state.queries.get(str(request.route_handler.operation_id), {})
    if unknown := [name[:64] for name in sorted(given.keys() - known.keys())[:NAMES_MAX]]:
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=NEAR)
        guess = f"; did you mean {near[0]}?" if near else ""
        hint = f"this route takes: {', '.join(sorted(known)) or 'none'}"
        faults = ((name, "unknown") for name in unknown)
        raise refuse(f"unknown query parameter(s): {', '.join(unknown)}{guess}", hint, "query", *faults)
    # The reader of values takes this word for nothing at all, and would leave the filter out.
    if nulls := sorted(name for name, kind in known.items() if kind in ("value", "time") and given.get(name) == "null"):
        faults = ((name, "null is no value") for name in nulls)
        raise refuse(f"null is no value: {', '.join(nulls)}", "leave it out", "query", *faults)
    if odd := sorted(
        name for name, kind in known.items() if kind == "time" and not _TIME.match(given.get(name, "0000-00-00T"))
    ):
        faults = ((name, "is no time of RFC 3339") for name in odd)
        raise refuse(f"no time: {', '.join(odd)}", "write it like 2026-01-15T09:00:00Z", "query", *faults)
    if repeated := sorted(name for name, kind in known.items() if kind != "list" and len(given.getall(name, [])) > 1):
        faults = ((name, "given more than once") for name in repeated)
        raise refuse(f"given more than once: {', '.join(repeated)}", "send each of them once", "query", *faults)
