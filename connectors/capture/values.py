"""Converts the text that Postgres writes for a value to the value that Avro takes, as Debezium does it.

Owns one pure function for each pair of a Postgres type and an Avro type. The contract decides: a `numeric` may be a
decimal, a double or a string, whatever its schema says. Refuses pairs that would lose something (`Misfit`, found when
the relation is first seen), and single values that the pair cannot hold (`Unencodable`). Relies on the session's
settings (R9, `connectors.postgres.connections.SESSIONS`).

| Postgres | Avro | what |
|---|---|---|
| boolean, smallint, integer, bigint, real, double precision | the same | NaN and ±Infinity are floats |
| text, varchar, char, name, enums, and types that are not named here | string | verbatim |
| uuid, json, jsonb, xml | string | verbatim: JSON is never parsed, so no number loses digits |
| bytea | bytes | |
| timestamptz | string, ZonedTimestamp | ISO 8601, UTC (44 BC is -0043, 10000 is +10000); `infinity`, `-infinity` |
| timestamp | long, microseconds since 1970 | ±infinity: the largest and smallest long; after the year 294246: refused |
| date | int, days since 1970 | ±infinity: the largest and smallest int |
| time | long, microseconds | 24:00 is 86 400 000 000 |
| timetz | string, ZonedTime | ISO 8601 with its own offset |
| interval | long, MicroDuration | microseconds; a month is 30.4375 days, as in Debezium |
| numeric | bytes, decimal | NaN and ±Infinity are refused: the contract can say string or double |
| numeric | VariableScaleDecimal | the same |
| numeric | string, double | verbatim; the nearest double |
| arrays of these | array of nullable | one dimension from 1; others are refused: the contract can say string |
| arrays | string | verbatim |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from runtime.errors import Unencodable

Convert = Callable[[bytes], Any]


class Misfit(Exception):
    """A column and a field that do not go together. The text says why."""


OID = {
    "bool": 16, "bytea": 17, "name": 19, "int8": 20, "int2": 21, "int4": 23, "text": 25, "oid": 26, "json": 114,
    "xml": 142, "float4": 700, "float8": 701, "bpchar": 1042, "varchar": 1043, "date": 1082, "time": 1083,
    "timestamp": 1114, "timestamptz": 1184, "interval": 1186, "timetz": 1266, "numeric": 1700, "uuid": 2950,
    "jsonb": 3802,
}  # fmt: skip
TYPE = {oid: name for name, oid in OID.items()}
ARRAY = {
    1000: "bool", 1001: "bytea", 1003: "name", 1016: "int8", 1005: "int2", 1007: "int4", 1009: "text", 1028: "oid",
    199: "json", 143: "xml", 1021: "float4", 1022: "float8", 1014: "bpchar", 1015: "varchar", 1182: "date",
    1183: "time", 1115: "timestamp", 1185: "timestamptz", 1231: "numeric", 2951: "uuid", 3807: "jsonb",
}  # fmt: skip
"""Object ids of built-in types (catalogue pg_type); they never change."""

STRICT = frozenset({
    "bool", "int2", "int4", "int8", "oid", "float4", "float8", "bytea", "date", "time", "timestamp", "timestamptz",
})  # fmt: skip
"""Never a string by accident: a column that became one of these does not fit a contract that was text."""

INT_MAX, INT_MIN = 2**31 - 1, -(2**31)
LONG_MAX, LONG_MIN = 2**63 - 1, -(2**63)
DAY_US = 86_400_000_000
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
MONTH_DAYS = Decimal("30.4375")
"""365.25 / 12: the length that Debezium gives a month."""
_INTERVAL = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?"
)
CYCLE_YEARS, CYCLE_DAYS = 400, 146_097
"""The Gregorian calendar repeats: Python's covers the years 1 to 9999 only, Postgres' more."""


def converter(type_oid: int, avro: Any) -> Convert:
    """Find the conversion for a column of type `type_oid` and a field whose (not nullable) Avro type is `avro`. Raises
    `Misfit`."""
    if (item := ARRAY.get(type_oid)) is not None and _base(avro) == "array":
        return _array(converter(OID[item], nullable(avro["items"])[0]))
    name = TYPE.get(type_oid, "")
    base, meaning = _base(avro), _meaning(avro)
    if base == "record" and meaning == "VariableScaleDecimal" and name == "numeric":
        return _variable_decimal
    found = _BY_PAIR.get((name, base, meaning)) or _BY_PAIR.get((name, base, ""))
    if found is None and base == "string" and name not in STRICT and meaning not in ("ZonedTimestamp", "ZonedTime"):
        found = _text
    if found is None:
        raise Misfit(f"a {name or f'type {type_oid}'} is not a {base}{f' ({meaning})' if meaning else ''}")
    return found


def nullable(avro: Any) -> tuple[Any, bool]:
    """A field's type without null, and whether null was there. Raises `Misfit` for other unions."""
    if not isinstance(avro, list):
        return avro, False
    others = [branch for branch in avro if branch != "null"]
    if len(others) != 1:
        raise Misfit("a union of more than null and one type")
    return others[0], len(others) < len(avro)


def _base(avro: Any) -> str:
    return str(avro["type"]) if isinstance(avro, dict) else str(avro)


def _meaning(avro: Any) -> str:
    """The last part of Debezium's semantic name, or Avro's logical type."""
    if not isinstance(avro, dict):
        return ""
    named = avro.get("connect.name") or avro.get("logicalType") or (avro["name"] if avro["type"] == "record" else "")
    return str(named).rpartition(".")[2]


def _text(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        raise Unencodable(f"not UTF-8 at byte {error.start}", hint="the database's encoding must be UTF8") from None


def _bool(cell: bytes) -> bool:
    return cell == b"t"


def _bytea(cell: bytes) -> bytes:
    return bytes.fromhex(cell[2:].decode())


# --- times ------------------------------------------------------------------------------------------------------------


def _to_utc(cell: bytes) -> str:
    text = cell.decode()
    if len(text) < 33 and text[4] == "-" and text.endswith("+00"):
        return f"{text[:10]}T{text[11:-3]}Z"
    if text in ("infinity", "-infinity"):
        return text
    days, _, clock = text.removesuffix(" BC").partition(" ")
    if not clock.endswith("+00"):
        raise Unencodable("a timestamptz that is not in UTC", hint="the session's timezone was changed")
    year, month, day = _calendar(days, text.endswith(" BC"))
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    return f"{shown}-{month:02d}-{day:02d}T{clock[:-3]}Z"


def _timestamp_us(cell: bytes) -> int:
    text = cell.decode()
    if text == "infinity":
        return LONG_MAX
    if text == "-infinity":
        return LONG_MIN
    day, _, clock = text.removesuffix(" BC").partition(" ")
    value = _days(day, text.endswith(" BC")) * DAY_US + _clock_us(clock)
    if not LONG_MIN < value < LONG_MAX:
        raise Unencodable("a timestamp after the year 294246 does not fit into microseconds since 1970")
    return value


def _date_days(cell: bytes) -> int:
    text = cell.decode()
    if text == "infinity":
        return INT_MAX
    if text == "-infinity":
        return INT_MIN
    return _days(text.removesuffix(" BC"), text.endswith(" BC"))


def _time_us(cell: bytes) -> int:
    return _clock_us(cell.decode())


def _time_zoned(cell: bytes) -> str:
    text = cell.decode()
    at = max(text.rfind("+"), text.rfind("-"))
    clock, offset = text[:at], text[at:]
    if offset == "+00":
        return f"{clock}Z"
    return f"{clock}{offset}:00" if len(offset) == 3 else f"{clock}{offset}"


def _interval_us(cell: bytes) -> int:
    match = _INTERVAL.fullmatch(cell.decode())
    if match is None:
        raise Unencodable("an interval that is not in ISO 8601", hint="infinite? let the contract say string")
    years, months, days, hours, minutes, seconds = (Decimal(part or 0) for part in match.groups())
    in_days = (years * 12 + months) * MONTH_DAYS + days
    return int(in_days * DAY_US + (hours * 3600 + minutes * 60 + seconds) * 1_000_000)


def _calendar(text: str, bc: bool) -> tuple[int, int, int]:
    """Year (astronomical: 1 BC is 0), month, day."""
    year, month, day = (int(part) for part in text.split("-"))
    return (1 - year if bc else year), month, day


def _days(text: str, bc: bool) -> int:
    year, month, day = _calendar(text, bc)
    cycles = (year - 1) // CYCLE_YEARS
    ordinal = date(year - cycles * CYCLE_YEARS, month, day).toordinal() + cycles * CYCLE_DAYS
    return ordinal - EPOCH_ORDINAL


def _clock_us(text: str) -> int:
    hours, minutes, seconds = text.split(":")
    whole, _, fraction = seconds.partition(".")
    return ((int(hours) * 60 + int(minutes)) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _decimal(cell: bytes) -> Decimal:
    value = Decimal(cell.decode())
    if not value.is_finite():
        raise Unencodable(f"{value} is not a decimal", hint="let the contract of this column say string or double")
    return value


def _variable_decimal(cell: bytes) -> dict[str, Any]:
    sign, digits, exponent = _decimal(cell).as_tuple()
    assert isinstance(exponent, int)
    unscaled = int("".join(map(str, digits)) or "0") * (-1 if sign else 1)
    # Two's complement with room for the sign, as few bytes as possible: what Java's BigInteger writes.
    size = (unscaled + (unscaled < 0)).bit_length() // 8 + 1
    return {"scale": -exponent, "value": unscaled.to_bytes(size, "big", signed=True)}


# --- arrays -----------------------------------------------------------------------------------------------------------


def _array(item: Convert) -> Convert:
    return lambda cell: [None if part is None else item(part) for part in split_array(cell)]


def split_array(cell: bytes) -> list[bytes | None]:
    """The items of a one-dimensional array literal. Raises `Unencodable` for other shapes."""
    if not cell.startswith(b"{"):
        raise Unencodable("an array that does not start at 1", hint="let the contract of this column say string")
    if cell == b"{}":
        return []
    parts: list[bytes | None] = []
    at, end = 1, len(cell) - 1
    while at <= end:
        if cell[at] == 0x7B:  # {
            raise Unencodable("an array of several dimensions", hint="let the contract of this column say string")
        if cell[at] == 0x22:  # "
            part, at = _read_quoted(cell, at + 1)
            parts.append(part)
        else:
            stop = cell.find(b",", at)
            stop = end if stop < 0 else stop
            parts.append(None if cell[at:stop] == b"NULL" else cell[at:stop])
            at = stop
        at += 1
    return parts


def _read_quoted(cell: bytes, at: int) -> tuple[bytes, int]:
    """Read up to the closing quote; returns where the text after it starts."""
    item = bytearray()
    while cell[at] != 0x22:
        if cell[at] == 0x5C:  # backslash
            at += 1
        item.append(cell[at])
        at += 1
    return bytes(item), at + 1


_BY_PAIR: dict[tuple[str, str, str], Convert] = {
    ("bool", "boolean", ""): _bool,
    ("int2", "int", ""): int,
    ("int4", "int", ""): int,
    ("int2", "long", ""): int,
    ("int4", "long", ""): int,
    ("int8", "long", ""): int,
    ("oid", "long", ""): int,
    ("float4", "float", ""): float,
    ("float4", "double", ""): float,
    ("float8", "double", ""): float,
    ("numeric", "bytes", "Decimal"): _decimal,
    ("numeric", "bytes", "decimal"): _decimal,
    ("numeric", "double", ""): float,
    ("bytea", "bytes", ""): _bytea,
    ("uuid", "string", "Uuid"): _text,
    ("uuid", "string", "uuid"): _text,
    ("timestamptz", "string", "ZonedTimestamp"): _to_utc,
    ("timestamp", "long", "MicroTimestamp"): _timestamp_us,
    ("date", "int", "Date"): _date_days,
    ("time", "long", "MicroTime"): _time_us,
    ("timetz", "string", "ZonedTime"): _time_zoned,
    ("interval", "long", "MicroDuration"): _interval_us,
}
"""(Postgres type, Avro type, meaning). A pair whose meaning is not listed falls back to the one without."""
