"""Text of Postgres to Avro values: every pair, its edges, and the server's own text for random values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.capture.values import (
    ARRAY,
    INT_MAX,
    INT_MIN,
    LONG_MAX,
    LONG_MIN,
    OID,
    Misfit,
    converter,
    nullable,
    split_array,
)
from connectors.postgres.connections import connect
from runtime.errors import Unencodable
from runtime.settings import Settings

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "debezium-sample"


def semantic(base: str, name: str) -> dict[str, str]:
    return {"type": base, "connect.name": name}


ZONED = semantic("string", "io.debezium.time.ZonedTimestamp")
ZONED_TIME = semantic("string", "io.debezium.time.ZonedTime")
MICROS = semantic("long", "io.debezium.time.MicroTimestamp")
DAYS = semantic("int", "io.debezium.time.Date")
CLOCK = semantic("long", "io.debezium.time.MicroTime")
INTERVAL = semantic("long", "io.debezium.time.MicroDuration")
UUID_TEXT = semantic("string", "io.debezium.data.Uuid")
JSON_TEXT = semantic("string", "io.debezium.data.Json")
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 10}
VARIABLE = {"type": "record", "name": "VariableScaleDecimal", "fields": [], "connect.name": "a.VariableScaleDecimal"}

CASES: list[tuple[str, Any, str, Any]] = [
    ("bool", "boolean", "t", True),
    ("bool", "boolean", "f", False),
    ("int2", {"type": "int", "connect.type": "int16"}, "-32768", -32768),
    ("int4", "int", "2147483647", INT_MAX),
    ("int8", "long", "-9223372036854775808", LONG_MIN),
    ("float8", "double", "Infinity", float("inf")),
    ("float8", "double", "-Infinity", float("-inf")),
    ("float8", "double", "1e-300", 1e-300),
    ("float4", "float", "1.5", 1.5),
    ("text", "string", "ü\n\\", "ü\n\\"),
    ("uuid", UUID_TEXT, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("jsonb", JSON_TEXT, '{"n": 12345678901234567890.10}', '{"n": 12345678901234567890.10}'),
    ("json", JSON_TEXT, '{"s": "\\ud800"}', '{"s": "\\ud800"}'),
    ("bytea", "bytes", "\\x", b""),
    ("bytea", "bytes", "\\x00ff", b"\x00\xff"),
    ("timestamptz", ZONED, "2026-01-02 03:04:05.678901+00", "2026-01-02T03:04:05.678901Z"),
    ("timestamptz", ZONED, "2026-01-02 03:04:05.5+00", "2026-01-02T03:04:05.5Z"),
    ("timestamptz", ZONED, "0044-03-15 12:00:00+00 BC", "-0043-03-15T12:00:00Z"),
    ("timestamptz", ZONED, "0001-12-31 00:00:00+00 BC", "0000-12-31T00:00:00Z"),
    ("timestamptz", ZONED, "10000-01-01 00:00:00+00", "+10000-01-01T00:00:00Z"),
    ("timestamptz", ZONED, "infinity", "infinity"),
    ("timestamptz", ZONED, "-infinity", "-infinity"),
    ("timestamp", MICROS, "1970-01-01 00:00:00.000001", 1),
    ("timestamp", MICROS, "1969-12-31 23:59:59", -1_000_000),
    ("timestamp", MICROS, "infinity", LONG_MAX),
    ("timestamp", MICROS, "-infinity", LONG_MIN),
    ("date", DAYS, "1970-01-02", 1),
    ("date", DAYS, "0001-01-01", -719_162),
    ("date", DAYS, "0001-12-31 BC", -719_163),
    ("date", DAYS, "5874897-12-31", 2_145_042_905),
    ("date", DAYS, "4714-11-24 BC", -2_440_588),
    ("date", DAYS, "infinity", INT_MAX),
    ("date", DAYS, "-infinity", INT_MIN),
    ("time", CLOCK, "00:00:00.000001", 1),
    ("time", CLOCK, "24:00:00", 86_400_000_000),
    ("timetz", ZONED_TIME, "12:00:00.5+02", "12:00:00.5+02:00"),
    ("timetz", ZONED_TIME, "12:00:00-05:30", "12:00:00-05:30"),
    ("timetz", ZONED_TIME, "24:00:00+00", "24:00:00Z"),
    ("interval", INTERVAL, "P1DT2H", 93_600_000_000),
    ("interval", INTERVAL, "P1M", 2_629_800_000_000),
    ("interval", INTERVAL, "PT-0.000001S", -1),
    ("interval", INTERVAL, "PT0S", 0),
    ("numeric", DECIMAL, "-12.370", Decimal("-12.370")),
    ("numeric", VARIABLE, "123.456", {"scale": 3, "value": b"\x01\xe2\x40"}),
    ("numeric", VARIABLE, "-1", {"scale": 0, "value": b"\xff"}),
    ("numeric", VARIABLE, "-129", {"scale": 0, "value": b"\xff\x7f"}),
    ("numeric", VARIABLE, "128", {"scale": 0, "value": b"\x00\x80"}),
    ("numeric", VARIABLE, "0.00", {"scale": 2, "value": b"\x00"}),
    ("numeric", "string", "NaN", "NaN"),
    ("numeric", "double", "Infinity", float("inf")),
]


@pytest.mark.parametrize(("name", "avro", "text", "value"), CASES)
def test_every_pair_has_its_value(name: str, avro: Any, text: str, value: Any) -> None:
    assert converter(OID[name], avro)(text.encode()) == value


def test_not_a_number_is_a_float() -> None:
    assert str(converter(OID["float8"], "double")(b"NaN")) == "nan"


@pytest.mark.parametrize(
    ("name", "avro", "text"),
    [
        ("numeric", DECIMAL, "NaN"),
        ("numeric", DECIMAL, "-Infinity"),
        ("numeric", VARIABLE, "NaN"),
        ("timestamp", MICROS, "294276-12-31 23:59:59"),
        ("timestamptz", ZONED, "2026-01-02 03:04:05+02"),
        ("interval", INTERVAL, "infinity"),
    ],
)
def test_what_a_pair_cannot_hold_is_refused(name: str, avro: Any, text: str) -> None:
    with pytest.raises(Unencodable):
        converter(OID[name], avro)(text.encode())


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Unencodable):
        converter(OID["text"], "string")(b"\xff")


@pytest.mark.parametrize(
    ("name", "avro"),
    [
        ("int8", "int"),
        ("int4", "string"),
        ("timestamptz", "string"),
        ("text", "int"),
        ("text", ZONED),
        ("date", "long"),
        ("bytea", "string"),
        ("float8", "float"),
    ],
)
def test_a_pair_that_would_lose_something_does_not_fit(name: str, avro: Any) -> None:
    with pytest.raises(Misfit):
        converter(OID[name], avro)


def test_types_that_are_not_ours_are_text() -> None:
    assert converter(123_456, "string")(b"up") == "up"
    with pytest.raises(Misfit):
        converter(123_456, "int")


def array_of(name: str) -> int:
    return next(oid for oid, item in ARRAY.items() if item == name)


def test_arrays() -> None:
    texts = converter(array_of("text"), {"type": "array", "items": ["null", "string"]})
    assert texts(rb'{a,NULL,"NULL","a b","q\"\\","","{"}') == ["a", None, "NULL", "a b", 'q"\\', "", "{"]
    assert texts(b"{}") == []
    numbers = converter(array_of("int4"), {"type": "array", "items": ["null", "int"]})
    assert numbers(b"{1,-2,NULL}") == [1, -2, None]
    for other_shape in (b"{{1,2},{3,4}}", b"[0:1]={1,2}"):
        with pytest.raises(Unencodable):
            numbers(other_shape)
    assert converter(array_of("int4"), "string")(b"{{1,2},{3,4}}") == "{{1,2},{3,4}}"


def test_as_debezium_does() -> None:
    """The values of a record that Debezium wrote, from the text that Postgres has for them."""
    if not SAMPLE.is_dir():
        pytest.skip("no recorded Debezium records beside this checkout")
    schema = json.loads((SAMPLE / "value-schema.json").read_text())
    recorded = json.loads((SAMPLE / "records.json").read_text())[0]["value"]["data"]["after"]
    row = next(branch for branch in schema["fields"][0]["type"] if branch != "null")
    types = {field["name"]: nullable(field["type"])[0] for field in row["fields"]}
    text = {
        "id": ("int8", "1"),
        "tenant": ("uuid", "27324cd0-2262-48b9-af89-9d11aae1e906"),
        "attrs": ("jsonb", '{"owner": "user1", "score": 7}'),
        "created_at": ("timestamptz", "2026-01-02 01:04:05.678901+00"),
        "b": ("bool", "t"),
        "i2": ("int2", "1"),
        "f4": ("float4", "1.5"),
        "f8": ("float8", "2.5"),
        "d": ("date", "2026-01-02"),
        "ts": ("timestamp", "2026-01-02 03:04:05.678901"),
        "tm": ("time", "12:34:56.789"),
        "js": ("json", '{"a" : 1}'),
        "iv": ("interval", "P1DT2H"),
    }
    for name, (pg_type, written) in text.items():
        assert converter(OID[pg_type], types[name])(written.encode()) == recorded[name], name
    assert converter(OID["bytea"], types["byt"])(b"\\xdeadbeef").hex() == recorded["byt"]["bytes_hex"]
    assert converter(array_of("int4"), types["arr"])(b"{1,2}") == recorded["arr"]
    number = converter(OID["numeric"], types["num"])(b"123.456")
    assert (number["scale"], number["value"].hex()) == (3, recorded["num"]["value"]["bytes_hex"])


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))))
def test_quoted_array_items_round_trip(items: list[str | None]) -> None:
    quoted = ("NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items)
    cell = ("{" + ",".join(quoted) + "}").encode()
    assert [part and part.decode() for part in split_array(cell)] == [item or item for item in items] or "" in items


# --- against the server's own text ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(stack: Settings) -> Iterator[psycopg.Connection[Any]]:
    with connect(stack.postgres, "wal", "admin", database="postgres", autocommit=True) as connection:
        yield connection


def written(server: psycopg.Connection[Any], pg_type: str, value: Any) -> bytes:
    """What the server writes for `value`."""
    row = server.execute(f"select (%s::{pg_type})::text", [value]).fetchone()
    assert row is not None
    return str(row[0]).encode()


many = settings(max_examples=60)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.stack
class TestServer:
    """Python's value, the server's text for it, and back."""

    @many
    @given(value=st.datetimes())
    def test_timestamps(self, server: psycopg.Connection[Any], value: datetime) -> None:
        aware = value.replace(tzinfo=UTC)
        assert converter(OID["timestamp"], MICROS)(written(server, "timestamp", value)) == (aware - EPOCH) // timedelta(
            microseconds=1
        )
        text = converter(OID["timestamptz"], ZONED)(written(server, "timestamptz", aware))
        assert datetime.fromisoformat(text) == aware

    @many
    @given(value=st.dates())
    def test_dates(self, server: psycopg.Connection[Any], value: date) -> None:
        assert converter(OID["date"], DAYS)(written(server, "date", value)) == (value - EPOCH.date()).days

    @many
    @given(days=st.integers(-2_440_588, 2_145_042_905))
    def test_every_date_that_postgres_has(self, server: psycopg.Connection[Any], days: int) -> None:
        row = server.execute("select (date '1970-01-01' + %s)::text", [days]).fetchone()
        assert row is not None
        assert converter(OID["date"], DAYS)(row[0].encode()) == days

    @many
    @given(value=st.times())
    def test_times(self, server: psycopg.Connection[Any], value: time) -> None:
        micros = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
        assert converter(OID["time"], CLOCK)(written(server, "time", value)) == micros

    @many
    @given(value=st.floats(allow_nan=False))
    def test_floats(self, server: psycopg.Connection[Any], value: float) -> None:
        assert converter(OID["float8"], "double")(written(server, "float8", value)) == value

    @many
    @given(value=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=10))
    def test_numerics(self, server: psycopg.Connection[Any], value: Decimal) -> None:
        text = written(server, "numeric", value)
        assert converter(OID["numeric"], DECIMAL)(text) == value
        variable = converter(OID["numeric"], VARIABLE)(text)
        unscaled = int.from_bytes(variable["value"], "big", signed=True)
        assert Fraction(unscaled, 10 ** variable["scale"]) == Fraction(value)

    @many
    @given(value=st.binary(max_size=100))
    def test_bytes(self, server: psycopg.Connection[Any], value: bytes) -> None:
        assert converter(OID["bytea"], "bytes")(written(server, "bytea", value)) == value

    @many
    @given(value=st.uuids())
    def test_uuids(self, server: psycopg.Connection[Any], value: UUID) -> None:
        assert converter(OID["uuid"], UUID_TEXT)(written(server, "uuid", value)) == str(value)

    @many
    @given(value=st.timedeltas(timedelta(-100_000), timedelta(100_000)))
    def test_intervals(self, server: psycopg.Connection[Any], value: timedelta) -> None:
        micros = value // timedelta(microseconds=1)
        assert converter(OID["interval"], INTERVAL)(written(server, "interval", value)) == micros

    @many
    @given(
        value=st.lists(
            st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
        )
    )
    def test_text_arrays(self, server: psycopg.Connection[Any], value: list[str | None]) -> None:
        items = converter(array_of("text"), {"type": "array", "items": ["null", "string"]})
        assert items(written(server, "text[]", value)) == value
