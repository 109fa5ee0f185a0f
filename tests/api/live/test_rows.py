"""Rows look the same from the table and from the topic; pages are bounded."""

from __future__ import annotations

import msgspec

from api.live import rows
from tests.api.live.world import view_named

ACTIVITY = view_named("activity")
SCHEMA = {
    "fields": [
        {
            "name": "before",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Value",
                    "fields": [
                        {"name": "version", "type": "int"},
                        {
                            "name": "recorded_at",
                            "type": ["null", {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}],
                        },
                        {"name": "day", "type": ["null", {"type": "int", "connect.name": "io.debezium.time.Date"}]},
                        {"name": "data", "type": ["null", {"type": "string", "connect.name": "io.debezium.data.Json"}]},
                    ],
                },
            ],
        }
    ]
}


def test_values_are_shown_by_what_they_mean() -> None:
    converters = rows.find_converters(SCHEMA)
    assert set(converters) == {"recorded_at", "day", "data"}
    shown = {name: converters[name](value) for name, value in VALUES.items()}
    assert msgspec.json.encode(shown) == (
        b'{"recorded_at":"2026-01-15T09:00:00.120000Z","day":"1970-01-02","data":{"b": 1.10}}'
    )
    assert converters["recorded_at"]("infinity") == "infinity"
    assert [kind(None) for kind in converters.values()] == [None] * 3


VALUES = {"recorded_at": "2026-01-15T09:00:00.12Z", "day": 1, "data": '{"b": 1.10}'}


def test_a_change_has_its_key_and_what_changed() -> None:
    after = {"tenant_id": "t", "adr_id": "a", "version": 2, "change": "update", "title": None, "status": "accepted"}
    envelope = {"op": "u", "before": None, "after": after, "unchanged": ["title"]}
    made = msgspec.json.decode(rows.encode_delta(ACTIVITY, envelope, {}))
    assert made["op"] == "upsert"
    assert made["key"] == {"adr_id": "a", "version": 2}
    assert "title" not in made["row"], "null would say that it has none"
    assert made["row"]["author"] is None, "a column that the writer did not know"
    assert "tenant_id" not in made["row"]
    gone = {"op": "d", "before": {"tenant_id": "t", "adr_id": "a", "version": 2}, "after": None}
    assert msgspec.json.decode(rows.encode_delta(ACTIVITY, gone, {})) == {
        "op": "delete",
        "key": made["key"],
        "row": None,
    }


def test_pages_are_bounded_by_rows_and_bytes_and_there_is_always_one() -> None:
    assert rows.paginate([]) == [b"[]"]
    many = [b"%d" % number for number in range(rows.PAGE_ROWS_MAX + 1)]
    assert [len(msgspec.json.decode(page)) for page in rows.paginate(many)] == [rows.PAGE_ROWS_MAX, 1]
    large = [b'"%s"' % (b"x" * (rows.PAGE_BYTES_MAX // 2))] * 3
    assert [len(msgspec.json.decode(page)) for page in rows.paginate(large)] == [1, 1, 1]
    assert b"".join(rows.paginate(many)).count(b",") == len(many) - 2
