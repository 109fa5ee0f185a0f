"""Schemas of captured tables: what Debezium would give, and the differences that are meant."""

from __future__ import annotations

from typing import Any

import fastavro
import pytest

from runtime.errors import InvalidInput
from runtime.settings import Settings
from schemas import catalog
from schemas.capture import ARRAYS, TYPES, Column, envelope_schema, key_schema

COLUMNS = (
    Column("tenant_id", 2950, key=True, doc="uuid, not null"),
    Column("number", 23),
    Column("amount", 1700, type_modifier=(12 << 16 | 2) + 4),
    Column("at", 1184),
    Column("tags", 1009),
)


def envelope(*columns: Column) -> dict[str, Any]:
    return envelope_schema("adriatic", "app", "thing", columns or COLUMNS)


def value_fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    before = next(field for field in schema["fields"] if field["name"] == "before")
    return {field["name"]: field for field in before["type"][1]["fields"]}


def test_the_envelope_has_debeziums_fields_in_its_order_and_ours_last() -> None:
    schema = envelope()
    assert schema["connect.name"] == "adriatic.app.thing.Envelope"
    assert [field["name"] for field in schema["fields"]] == [
        "before",
        "after",
        "source",
        "transaction",
        "op",
        "ts_ms",
        "ts_us",
        "ts_ns",
        "unchanged",
    ]
    fastavro.parse_schema(schema)


def test_the_source_has_debeziums_fields() -> None:
    source = next(field["type"] for field in envelope()["fields"] if field["name"] == "source")
    assert source["connect.name"] == "io.debezium.connector.postgresql.Source"
    assert " ".join(field["name"] for field in source["fields"]) == (
        "version connector name ts_ms snapshot db sequence ts_us ts_ns schema table txId lsn xmin origin origin_lsn"
    )


# As Debezium 3.7 with Avro registers them.
@pytest.mark.parametrize(
    ("type_oid", "base", "connect_name"),
    [
        (2950, "string", "io.debezium.data.Uuid"),
        (1184, "string", "io.debezium.time.ZonedTimestamp"),
        (1114, "long", "io.debezium.time.MicroTimestamp"),
        (1082, "int", "io.debezium.time.Date"),
        (1083, "long", "io.debezium.time.MicroTime"),
        (1186, "long", "io.debezium.time.MicroDuration"),
        (3802, "string", "io.debezium.data.Json"),
        (114, "string", "io.debezium.data.Json"),
    ],
)
def test_types_with_a_meaning_are_named_as_debezium_names_them(type_oid: int, base: str, connect_name: str) -> None:
    wanted = {"type": base, "connect.version": 1, "connect.name": connect_name}
    assert value_fields(envelope(Column("x", type_oid, key=True)))["x"]["type"] == wanted


@pytest.mark.parametrize(
    ("type_oid", "avro"), [(16, "boolean"), (17, "bytes"), (20, "long"), (23, "int"), (25, "string"), (701, "double")]
)
def test_plain_types(type_oid: int, avro: str) -> None:
    assert value_fields(envelope(Column("x", type_oid, key=True)))["x"]["type"] == avro


def test_numbers_with_a_scale_are_decimals_and_others_carry_theirs() -> None:
    amount = value_fields(envelope())["amount"]["type"][1]
    assert (amount["logicalType"], amount["precision"], amount["scale"]) == ("decimal", 12, 2)
    free = value_fields(envelope(Column("x", 1700, key=True)))["x"]["type"]
    assert free["connect.name"] == "io.debezium.data.VariableScaleDecimal"


def test_every_type_gives_a_schema_that_can_be_parsed() -> None:
    columns = [Column(f"c{oid}", oid) for oid in (*TYPES, *ARRAYS, 1700)]
    fastavro.parse_schema(envelope(Column("id", 2950, key=True), *columns))


def test_every_column_outside_the_key_may_be_left_out() -> None:
    fields = value_fields(envelope())
    assert "default" not in fields["tenant_id"]
    for name in ("number", "amount", "at", "tags"):
        assert fields[name]["type"][0] == "null"
        assert fields[name]["default"] is None


def test_the_key_is_the_key_columns() -> None:
    key = key_schema("adriatic", "app", "thing", COLUMNS)
    assert key["connect.name"] == "adriatic.app.thing.Key"
    assert [field["name"] for field in key["fields"]] == ["tenant_id"]


def test_names_that_avro_does_not_take_are_made_safe() -> None:
    schema = envelope_schema("my-shop", "app", "2nd thing", [Column("a-b", 23, key=True)])
    assert schema["namespace"] == "my_shop.app._2nd_thing"
    assert list(value_fields(schema)) == ["a_b"]
    fastavro.parse_schema(schema)


def test_a_table_without_a_key_and_a_type_without_a_mapping_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no primary key"):
        key_schema("adriatic", "app", "thing", [Column("x", 23)])
    with pytest.raises(InvalidInput, match=r"app.thing.x has the type with oid 600"):
        envelope(Column("x", 600))


@pytest.mark.stack
def test_the_committed_contracts_are_what_the_migrations_give(fresh_database: Settings) -> None:
    from adriatic.cli.schemas import read_contracts

    committed = {subject: schema for subject, schema in catalog.load().items() if subject.startswith("adriatic.")}
    assert read_contracts(fresh_database) == committed, "run `adriatic schemas generate`"
