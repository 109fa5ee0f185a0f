"""Avro schemas of captured tables: Debezium's envelope, from a table's columns.

Owns the mapping from Postgres types to Avro, the same for the committed contracts (`adriatic schemas generate` reads
the columns from a migrated database) and for change capture (which reads them from a Relation message, where neither
nullability nor defaults are told). Refuses I/O, and types that have no mapping: it says which column.

Where it differs from Debezium, and why: **every column outside the key is nullable, with null as default.** Postgres
does not send every column: a delete carries the key alone, an update leaves out a large value that did not change.
Debezium fills such columns with invented values when they are NOT NULL; here they are null, and `unchanged` names
those that an update left out, so that null is never mistaken for a value. It follows that adding or dropping a column
never breaks a reader, and that a Relation message is enough to derive the very same schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.errors import InvalidInput

Avro = dict[str, Any]

DEBEZIUM = "io.debezium.connector.postgresql"
SNAPSHOT_VALUES = "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"
NUMERIC = 1700
NUMERIC_TYPMOD_OFFSET = 4
"""Postgres stores precision and scale of numeric(p, s) as ((p << 16) | s) + 4."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as both `pg_attribute` and a Relation message tell it. `key`: part of the replica identity."""

    name: str
    type_oid: int
    key: bool = False
    type_modifier: int = -1
    doc: str = ""


def key_schema(prefix: str, schema: str, table: str, columns: Sequence[Column]) -> Avro:
    """The record's key: the key columns, in the table's order. Raises `InvalidInput` for a table without any."""
    key = [column for column in columns if column.key]
    if not key:
        raise InvalidInput(
            f"{schema}.{table} has no primary key",
            hint="its changes would have no key: give it one, or do not publish it",
        )
    namespace = _namespace(prefix, schema, table)
    return {
        "type": "record",
        "name": "Key",
        "namespace": namespace,
        "fields": [{"name": _name(column.name), "type": _type(column, f"{schema}.{table}")} for column in key],
        "connect.name": f"{namespace}.Key",
    }


def envelope_schema(prefix: str, schema: str, table: str, columns: Sequence[Column]) -> Avro:
    """The record's value. `prefix` is the first part of the topic's name. Raises `InvalidInput` for a type that has no
    mapping."""
    namespace = _namespace(prefix, schema, table)
    value = {
        "type": "record",
        "name": "Value",
        "fields": [_field(column, f"{schema}.{table}") for column in columns],
        "connect.name": f"{namespace}.Value",
    }
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": namespace,
        "fields": [
            _nullable(
                "before",
                value,
                "The row before. The key columns alone, the others null, unless the table has REPLICA IDENTITY FULL.",
            ),
            _nullable("after", "Value", "The row after; null for a delete."),
            {"name": "source", "type": _source()},
            _nullable("transaction", _transaction()),
            {"name": "op", "type": "string", "doc": "c: created, u: updated, d: deleted, t: truncated, r: snapshot."},
            _nullable("ts_ms", "long", "When change capture saw it."),
            _nullable("ts_us", "long"),
            _nullable("ts_ns", "long"),
            {
                "name": "unchanged",
                "type": {"type": "array", "items": "string"},
                "doc": "Columns of `after` that an update left out, as they did not change: null there says nothing.",
                "default": [],
            },
        ],
        "connect.version": 2,
        "connect.name": f"{namespace}.Envelope",
    }


def _namespace(prefix: str, schema: str, table: str) -> str:
    return ".".join((*map(_name, prefix.split(".")), _name(schema), _name(table)))


def _name(name: str) -> str:
    """An identifier of Postgres as a name in Avro, which allows letters, digits and underscores only."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{safe}" if safe[:1].isdigit() else safe


def _field(column: Column, table: str) -> Avro:
    doc = {"doc": column.doc} if column.doc else {}
    if column.key:
        return {"name": _name(column.name), "type": _type(column, table), **doc}
    return _nullable(_name(column.name), _type(column, table), column.doc)


def _nullable(name: str, inner: Any, doc: str = "") -> Avro:
    return {"name": name, "type": ["null", inner], **({"doc": doc} if doc else {}), "default": None}


def _semantic(base: str, connect_name: str) -> Avro:
    return {"type": base, "connect.version": 1, "connect.name": connect_name}


TYPES: Mapping[int, Any] = {
    16: "boolean",
    17: "bytes",
    18: "string",  # "char"
    19: "string",  # name
    20: "long",
    21: {"type": "int", "connect.type": "int16"},
    23: "int",
    25: "string",
    26: "long",  # oid
    114: _semantic("string", "io.debezium.data.Json"),
    142: _semantic("string", "io.debezium.data.Xml"),
    700: "float",
    701: "double",
    1042: "string",  # char(n)
    1043: "string",  # varchar
    1082: _semantic("int", "io.debezium.time.Date"),
    1083: _semantic("long", "io.debezium.time.MicroTime"),
    1114: _semantic("long", "io.debezium.time.MicroTimestamp"),
    1184: _semantic("string", "io.debezium.time.ZonedTimestamp"),
    1186: _semantic("long", "io.debezium.time.MicroDuration"),
    1266: _semantic("string", "io.debezium.time.ZonedTime"),
    2950: _semantic("string", "io.debezium.data.Uuid"),
    3614: _semantic("string", "io.debezium.data.Tsvector"),
    3802: _semantic("string", "io.debezium.data.Json"),
}
"""Types by their oid in `pg_type`, which is fixed for built-in ones."""

ARRAYS: Mapping[int, int] = {
    1000: 16,
    1005: 21,
    1007: 23,
    1009: 25,
    1015: 1043,
    1016: 20,
    1021: 700,
    1022: 701,
    1182: 1082,
    1185: 1184,
    2951: 2950,
}
"""Array type to element type."""


def _type(column: Column, table: str) -> Any:
    if column.type_oid == NUMERIC:
        return _numeric(column.type_modifier)
    if (element := ARRAYS.get(column.type_oid)) is not None:
        return {"type": "array", "items": ["null", TYPES[element]]}
    found = TYPES.get(column.type_oid)
    if found is None:
        raise InvalidInput(
            f"{table}.{column.name} has the type with oid {column.type_oid}, which has no mapping to Avro",
            hint="leave the column out of the publication, or add the type to schemas/capture.py",
        )
    return found


def _numeric(type_modifier: int) -> Avro:
    if type_modifier < NUMERIC_TYPMOD_OFFSET:
        return {
            "type": "record",
            "name": "VariableScaleDecimal",
            "namespace": "io.debezium.data",
            "fields": [{"name": "scale", "type": "int"}, {"name": "value", "type": "bytes"}],
            "connect.doc": "Variable scaled decimal",
            "connect.version": 1,
            "connect.name": "io.debezium.data.VariableScaleDecimal",
        }
    packed = type_modifier - NUMERIC_TYPMOD_OFFSET
    precision, scale = packed >> 16, packed & 0xFFFF
    return {
        "type": "bytes",
        "scale": scale,
        "precision": precision,
        "connect.version": 1,
        "connect.parameters": {"scale": str(scale), "connect.decimal.precision": str(precision)},
        "connect.name": "org.apache.kafka.connect.data.Decimal",
        "logicalType": "decimal",
    }


def _source() -> Avro:
    """Where a change comes from; field for field what Debezium's Postgres connector says."""
    snapshot = _semantic("string", "io.debezium.data.Enum") | {
        "connect.parameters": {"allowed": SNAPSHOT_VALUES},
        "connect.default": "false",
    }
    return {
        "type": "record",
        "name": "Source",
        "namespace": DEBEZIUM,
        "fields": [
            {"name": "version", "type": "string"},
            {"name": "connector", "type": "string"},
            {"name": "name", "type": "string"},
            {"name": "ts_ms", "type": "long", "doc": "When it was committed."},
            {"name": "snapshot", "type": [snapshot, "null"], "default": "false"},
            {"name": "db", "type": "string"},
            _nullable("sequence", "string"),
            _nullable("ts_us", "long"),
            _nullable("ts_ns", "long"),
            {"name": "schema", "type": "string"},
            {"name": "table", "type": "string"},
            _nullable("txId", "long"),
            _nullable("lsn", "long"),
            _nullable("xmin", "long"),
            _nullable("origin", "string"),
            _nullable("origin_lsn", "long"),
        ],
        "connect.version": 1,
        "connect.name": f"{DEBEZIUM}.Source",
    }


def _transaction() -> Avro:
    return {
        "type": "record",
        "name": "block",
        "namespace": "event",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "total_order", "type": "long"},
            {"name": "data_collection_order", "type": "long"},
        ],
        "connect.version": 1,
        "connect.name": "event.block",
    }
