"""What the JSON of an outbox message means, by the schema of the topic it is for.

Owns the mapping from JSON to the values that Avro takes, and the checks that fastavro leaves out (an int out of
range, a uuid that is none, a fraction for a timestamp: it writes them, and other readers then cannot read the
record). JSON has no bytes: a field of type bytes or fixed is base64 text. A timestamp is its integer, microseconds
since 1970 UTC for timestamp-micros; a uuid is its text. Missing fields and wrong shapes pass through: encoding
refuses them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from runtime.errors import Unencodable

Convert = Callable[[Any], Any]

INT_MAX = 2**31
LONG_MAX = 2**63


def converter(schema: Any, path: str = "", names: dict[str, Convert] | None = None) -> Convert:
    """A function from parsed JSON to what `Encoder.encode` takes; made once a schema. Raises `Unencodable` with the
    path of the field, never its value."""
    names = {} if names is None else names
    match schema:
        case "bytes" | {"type": "bytes" | "fixed"}:
            return lambda value: _bytes(value, path)
        case {"type": "string", "logicalType": "uuid"}:
            return lambda value: _uuid(value, path)
        case "int" | {"type": "int"}:
            return lambda value: _integer(value, INT_MAX, path)
        case "long" | {"type": "long"}:
            return lambda value: _integer(value, LONG_MAX, path)
        case {"type": "record"}:
            return _record(schema, path, names)
        case {"type": "array"}:
            return _array(converter(schema["items"], f"{path}[]", names))
        case {"type": "map"}:
            return _map(converter(schema["values"], f"{path}{{}}", names))
        case [*branches]:
            return _union(branches, path, names)
        case {"type": [*_] | {}}:
            return converter(schema["type"], path, names)
        case str() as name if name in names:
            # Looked up when used, not now: a record may name itself.
            return lambda value: names[name](value)
        case _:
            return _same


def _same(value: Any) -> Any:
    return value


def _bytes(value: Any, path: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise Unencodable(f"{path} is not base64", hint="JSON carries bytes as base64 text") from None


def _uuid(value: Any, path: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise Unencodable(f"{path} is not a uuid") from None


def _integer(value: Any, end: int, path: str) -> Any:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise Unencodable(f"{path} is not an integer")
    if isinstance(value, int | float) and not -end <= value < end:
        raise Unencodable(f"{path} is out of range")
    return int(value) if isinstance(value, float) else value


def _record(schema: Mapping[str, Any], path: str, names: dict[str, Convert]) -> Convert:
    fields: list[tuple[str, Convert]] = []

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {**value, **{name: inner(value[name]) for name, inner in fields if name in value}}

    # Known before its fields are looked at: they may name it.
    names[schema["name"]] = names[f"{schema.get('namespace', '')}.{schema['name']}"] = convert
    prefix = f"{path}." if path else ""
    fields += [(field["name"], converter(field["type"], prefix + field["name"], names)) for field in schema["fields"]]
    return convert


def _array(inner: Convert) -> Convert:
    return lambda value: [inner(item) for item in value] if isinstance(value, list) else value


def _map(inner: Convert) -> Convert:
    return lambda value: {key: inner(item) for key, item in value.items()} if isinstance(value, dict) else value


def _union(branches: list[Any], path: str, names: dict[str, Convert]) -> Convert:
    """Convert a union of null and one other type only: with more, JSON does not say which one a value has, so it stays
    as it is."""
    others = [converter(branch, path, names) for branch in branches if branch != "null"]
    if len(others) != 1:
        return _same
    inner = others[0]
    return lambda value: None if value is None else inner(value)
