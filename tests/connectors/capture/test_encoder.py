"""One row change to its records: envelope, key, headers, ordinals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.capture.encoder import ORDINALS_PER_CHANGE, TableEncoder, TransactionOrigin
from connectors.capture.pgoutput import UNCHANGED, Delete, Insert, Relation, RelationColumn, Tuple, Update
from connectors.capture.values import Misfit
from connectors.kafka.producer import EncodedRecord
from connectors.postgres.lsn import Lsn
from runtime.errors import Unencodable
from schemas import capture
from schemas.codec import Decoder, Encoder
from tests.connectors.capture.test_outbox import topic

TENANT = b"00000000-0000-0000-0000-000000000005"
RELATION = Relation(
    9,
    "app",
    "item",
    "d",
    (
        RelationColumn("tenant_id", 2950, -1, True),
        RelationColumn("id", 23, -1, True),
        RelationColumn("title", 25, -1, False),
        RelationColumn("body", 25, -1, False),
        RelationColumn("traceparent", 25, -1, False),
    ),
)
ORIGIN = TransactionOrigin(Lsn(0x100), 1_767_225_600_000_001, 777)
NAME = "p.app.item"


def contract(relation: Relation = RELATION) -> tuple[Any, Any]:
    columns = [capture.Column(c.name, c.type_oid, c.is_key, c.type_modifier) for c in relation.columns]
    key = capture.key_schema("p", relation.schema, relation.table, columns)
    return key, capture.envelope_schema("p", relation.schema, relation.table, columns)


class Lookup:
    def id_of(self, subject: str, schema: Any) -> int:
        return 1 if subject.endswith("-key") else 2

    def schema(self, schema_id: int) -> Any:
        return contract()[schema_id - 1]


def encoder(relation: Relation = RELATION, contract_of: Relation = RELATION) -> TableEncoder:
    key, value = contract(contract_of)
    lookup = Lookup()
    return TableEncoder(
        relation,
        topic(NAME, "capture"),
        Encoder(lookup, f"{NAME}-key", key),
        Encoder(lookup, f"{NAME}-value", value),
        "db",
    )


def row(number: int, *rest: Any) -> Tuple:
    cells = (TENANT, b"%d" % number, *rest)
    return cells + (None,) * (5 - len(cells))


def records(change: Any, origin: TransactionOrigin = ORIGIN, relation: Relation = RELATION) -> list[EncodedRecord]:
    return encoder(relation).records(change, origin, 0x90, 2 * ORDINALS_PER_CHANGE, 1_767_225_601_000_000)


def value(record: EncodedRecord) -> Any:
    assert record.value is not None
    return Decoder(Lookup()).decode(record.value)


def key(record: EncodedRecord) -> Any:
    assert record.key is not None
    return Decoder(Lookup()).decode(record.key)


def test_an_insert() -> None:
    (record,) = records(Insert(9, row(1, b"title", None, b"00-ab-cd-01")))
    assert key(record) == {"tenant_id": TENANT.decode(), "id": 1}
    envelope = value(record)
    assert envelope["op"] == "c"
    assert envelope["before"] is None
    assert envelope["after"] == {
        "tenant_id": TENANT.decode(),
        "id": 1,
        "title": "title",
        "body": None,
        "traceparent": "00-ab-cd-01",
    }
    assert envelope["unchanged"] == []
    assert (envelope["ts_ms"], envelope["ts_us"]) == (1_767_225_601_000, 1_767_225_601_000_000)
    source = envelope["source"]
    assert source | {"version": ""} == {
        "version": "",
        "connector": "postgresql",
        "name": "p",
        "ts_ms": 1_767_225_600_000,
        "snapshot": "false",
        "db": "db",
        "sequence": '["256","144"]',
        "ts_us": 1_767_225_600_000_001,
        "ts_ns": 1_767_225_600_000_001_000,
        "schema": "app",
        "table": "item",
        "txId": 777,
        "lsn": 0x90,
        "xmin": None,
        "origin": None,
        "origin_lsn": None,
    }
    assert dict(record.headers) == {
        "adriatic.pos": b"0000000000000100/00000008",
        "adriatic.committed_at": b"1767225600000001",
        "adriatic.tenant": TENANT,
        "adriatic.xid": b"777",
        "traceparent": b"00-ab-cd-01",
    }


def test_every_record_of_a_change_has_a_position_of_its_own_within_its_three() -> None:
    changes = [
        Insert(9, row(1, b"a")),
        Update(9, None, False, row(1, b"b")),
        Update(9, row(1), True, row(2, b"b")),
        Delete(9, row(2), True),
    ]
    for change in changes:
        ordinals = [record.pos.ordinal for record in records(change)]
        assert ordinals == sorted(set(ordinals))
        assert all(2 * ORDINALS_PER_CHANGE <= one < 3 * ORDINALS_PER_CHANGE for one in ordinals)


def test_a_row_of_a_snapshot() -> None:
    (record,) = records(Insert(9, row(1, b"a")), TransactionOrigin(Lsn(0xFF), 5, None, snapshot_at=0x100))
    assert (value(record)["op"], value(record)["source"]["snapshot"]) == ("r", "true")
    assert value(record)["source"]["txId"] is None
    assert dict(record.headers)["adriatic.snapshot"] == b"0000000000000100"


def test_a_delete_invents_nothing() -> None:
    deleted, tombstone = records(Delete(9, row(1), True))
    assert value(deleted)["before"] == {
        "tenant_id": TENANT.decode(),
        "id": 1,
        "title": None,
        "body": None,
        "traceparent": None,
    }
    assert (value(deleted)["op"], value(deleted)["after"]) == ("d", None)
    assert (tombstone.value, key(tombstone)) == (None, key(deleted))


def test_unchanged_values_are_named() -> None:
    (record,) = records(Update(9, None, False, row(1, b"b", UNCHANGED)))
    assert value(record)["unchanged"] == ["body"]
    assert value(record)["after"]["body"] is None


def test_with_the_whole_old_row_nothing_is_unchanged() -> None:
    full = RELATION._replace(identity="f", columns=tuple(c._replace(is_key=True) for c in RELATION.columns))
    (record,) = records(Update(9, row(1, b"a", b"long"), False, row(1, b"b", UNCHANGED)), relation=full)
    assert value(record)["after"]["body"] == "long"
    assert value(record)["before"]["title"] == "a"
    assert value(record)["unchanged"] == []


def test_a_changed_key() -> None:
    deleted, tombstone, created = records(Update(9, row(1), True, row(2, b"b", UNCHANGED)))
    assert [value(deleted)["op"], tombstone.value, value(created)["op"]] == ["d", None, "c"]
    assert [key(record)["id"] for record in (deleted, tombstone, created)] == [1, 1, 2]
    assert json.loads(dict(deleted.headers)["__debezium.newkey"])["id"] == 2
    assert json.loads(dict(tombstone.headers)["__debezium.newkey"])["id"] == 2
    assert json.loads(dict(created.headers)["__debezium.oldkey"])["id"] == 1
    assert value(created)["unchanged"] == ["body"]


def test_an_old_key_that_is_the_same_is_an_update() -> None:
    (record,) = records(Update(9, row(1), True, row(1, b"b")))
    assert (value(record)["op"], value(record)["before"]) == ("u", None)


def test_a_value_that_does_not_convert_names_its_column_and_not_itself() -> None:
    with pytest.raises(Unencodable, match="column id: ValueError") as caught:
        records(Insert(9, (TENANT, b"secret", None, None, None)))
    assert "secret" not in str(caught.value)


def columns(*names: str) -> tuple[RelationColumn, ...]:
    return tuple(column for column in RELATION.columns if column.name in names)


@pytest.mark.parametrize(
    ("relation", "why"),
    [
        (RELATION._replace(columns=columns("tenant_id", "id", "title", "traceparent")), "no column body"),
        (
            RELATION._replace(
                columns=(*RELATION.columns[:2], RelationColumn("title", 23, -1, False), *RELATION.columns[3:])
            ),
            "column title: a int4 is not a string",
        ),
        (RELATION._replace(identity="n", columns=tuple(c._replace(is_key=False) for c in RELATION.columns)), "must be"),
        (
            RELATION._replace(columns=(RELATION.columns[0], *(c._replace(is_key=False) for c in RELATION.columns[1:]))),
            "must be nullable",
        ),
    ],
)
def test_a_relation_that_does_not_fit_its_contract_says_why(relation: Relation, why: str) -> None:
    with pytest.raises(Misfit, match=why):
        encoder(relation)


def test_columns_come_in_any_order_and_more_of_them_are_left_out() -> None:
    relation = RELATION._replace(columns=(*reversed(RELATION.columns), RelationColumn("later", 25, -1, False)))
    made = encoder(relation)
    assert made.extra_columns == ("later",)
    (record,) = made.records(Insert(9, (None, b"body", b"title", b"1", TENANT, b"x")), ORIGIN, 1, 0, 0)
    assert (value(record)["after"]["body"], value(record)["after"]["title"]) == ("body", "title")


def test_a_tenant_has_one_partition_whatever_the_key() -> None:
    partitions = {records(Insert(9, row(number, b"a")))[0].partition for number in range(20)}
    assert len(partitions) == 1
