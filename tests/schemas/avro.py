"""Random values of any Avro schema, for property tests. A strategy from the schema; named types resolve by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

LONG = 2**63
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROS_MAX = 253_402_300_799_999_999
"""The end of the year 9999, the last that Python has, in microseconds."""


def values(schema: Any, names: dict[str, Any] | None = None) -> st.SearchStrategy[Any]:
    """What fastavro takes, in the shape that it gives back: uuids and timestamps are left as `UUID` and datetime."""
    names = {} if names is None else names
    if isinstance(schema, list):
        return st.one_of([values(branch, names) for branch in schema])
    if isinstance(schema, str):
        return names[schema] if schema in names else _primitive(schema)
    match schema:
        case {"logicalType": "uuid"}:
            return st.uuids()
        case {"logicalType": "timestamp-micros"}:
            return st.integers(-MICROS_MAX // 5, MICROS_MAX).map(lambda micros: EPOCH + timedelta(microseconds=micros))
        case {"type": "record"}:
            return _record(schema, names)
        case {"type": "array"}:
            return st.lists(values(schema["items"], names), max_size=3)
        case {"type": "map"}:
            return st.dictionaries(st.text(max_size=5), values(schema["values"], names), max_size=3)
        case {"type": "enum"}:
            return st.sampled_from(schema["symbols"])
        case {"type": "fixed"}:
            return st.binary(min_size=schema["size"], max_size=schema["size"])
        case _:
            return values(schema["type"], names)


def _record(schema: Any, names: dict[str, Any]) -> st.SearchStrategy[Any]:
    strategy = st.fixed_dictionaries({field["name"]: values(field["type"], names) for field in schema["fields"]})
    names[schema["name"]] = strategy  # Known from here on: the contracts do not recurse.
    return strategy


def _primitive(name: str) -> st.SearchStrategy[Any]:
    match name:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-LONG, LONG - 1)
        case "float":
            return st.floats(width=32, allow_nan=False)
        case "double":
            return st.floats(allow_nan=False)
        case "bytes":
            return st.binary(max_size=20)
        case _:
            return st.text(max_size=20)
