"""What is shown of a record, whatever is in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from connectors.kafka import shown
from connectors.kafka.records import Record
from connectors.kafka.shown import MASKED, NO_MASKS, SIDES, Condition, Masks, RecordFilter, at, show
from runtime.errors import DependencyUnavailable, InvalidInput, Undecodable
from topics import catalog

TENANT = UUID("01939c5e-0000-7000-8000-000000000001")
VALUE = {
    "op": "c",
    "before": None,
    "after": {"title": "Use a log", "version": 3, "author_id": None, "tags": ["a", "b"]},
    "at": datetime(2026, 1, 1, tzinfo=UTC),
}
MASKS = Masks(frozenset({"title", "author_id"}))


class Fixed:
    """Decodes everything to one value, and `bad…` to none."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def decode(self, data: bytes) -> Any:
        if data.startswith(b"bad"):
            raise Undecodable("the first byte is 0x62, not 0")
        if data == b"away":
            raise DependencyUnavailable("the registry does not answer")
        return self.value


def record(value: bytes | None = b"v", key: bytes | None = b"k", timestamp_ms: int | None = 0) -> Record:
    return Record("t", 1, 7, timestamp_ms, key, value, (("h", b"1"), ("h", b"2"), ("a.b", b"\xff"), ("n", None)))


def shown_of(value: bytes | None = b"v", masks: Masks = NO_MASKS, **more: Any) -> dict[str, Any]:
    decoders = {"key": Fixed({"tenant_id": TENANT}), "value": Fixed(VALUE)}
    return show(record(value, **more), decoders, masks)  # type: ignore[arg-type]  # the literals are SIDES


def test_a_record_has_the_documented_fields_in_order() -> None:
    assert tuple(shown_of()) == shown.FIELDS
    line = json.loads(shown.as_json(shown_of()))
    assert line["timestamp"] == "1970-01-01T00:00:00.000+00:00"
    assert line["headers"] == [["h", "1"], ["h", "2"], ["a.b", "\\xff"], ["n", None]]
    assert line["key"] == {"tenant_id": str(TENANT)}
    assert line["value"]["after"]["version"] == 3


def test_a_tombstone_is_told_from_what_cannot_be_decoded() -> None:
    gone, broken = shown_of(None), shown_of(b"bad \x00\xff")
    assert (gone["value"], gone["errors"]) == (None, {})
    assert broken["errors"] == {
        "value": {
            "code": "undecodable",
            "detail": "the first byte is 0x62, not 0",
            "size_bytes": 6,
            "hex": "6261642000ff",
        }
    }
    assert "tombstone" in shown.line(gone, 0)
    assert "!undecodable (the first byte is 0x62, not 0) 6 bytes 6261642000ff" in shown.line(broken, 0)


def test_a_masked_preview_ends_after_the_header() -> None:
    assert shown_of(b"bad secret", MASKS)["errors"]["value"]["hex"] == b"bad s".hex()


def test_a_registry_that_does_not_answer_is_not_the_records_fault() -> None:
    with pytest.raises(DependencyUnavailable):
        shown_of(b"away")


def test_declared_fields_are_masked_at_any_depth_and_nulls_are_nulls() -> None:
    after = shown_of(masks=MASKS)["value"]["after"]
    assert after == {"title": MASKED, "version": 3, "author_id": None, "tags": ["a", "b"]}
    assert VALUE["after"]["title"] == "Use a log", "the record itself is not changed"  # type: ignore[index]


def test_masks_come_from_the_files_of_topics() -> None:
    topics = catalog.load()
    versions = Masks.of("adriatic.app.adr_versions", topics)
    assert versions.names >= {"title", "body", "author"}
    assert not versions.sides
    letters = Masks.of("adriatic.app.adr_versions.dlq", topics)
    assert (letters.sides, letters.names) == (frozenset(["value"]), versions.names)
    assert Masks.of("somebody.elses", topics).sides == frozenset(SIDES)
    assert shown_of(masks=Masks.of("somebody.elses", topics))["value"] == MASKED


def test_every_declared_field_exists_in_its_contract() -> None:
    """A name that is misspelt in a topic's file would mask nothing."""
    folder = Path(catalog.FOLDER).parent / "schemas" / "avro"
    for topic in catalog.load().values():
        if topic.kind != "dlq":
            contract = "".join((folder / f"{topic.name}-{side}.avsc").read_text() for side in SIDES)
            assert [name for name in topic.pii if f'"name": "{name}"' not in contract] == [], topic.name


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("after.title", "Use a log"),
        ("value.after.title", "Use a log"),
        ("after.tags.1", "b"),
        ("after.tags.9", None),
        ("after.title.deeper", None),
        ("nothing.here", None),
        ("key.tenant_id", TENANT),
        ("partition", 1),
        ("headers.h", "2"),
        ("headers.a.b", "\\xff"),
        ("headers.none", None),
    ],
)
def test_a_path_leads_into_the_record(path: str, found: Any) -> None:
    assert at(shown_of(), path) == found


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("op=c", True),
        ("op!=c", False),
        ("after.version=3", True),
        ("after.version=3.0", True),
        ("after.version>2", True),
        ("after.version>=4", False),
        ("after.version<10", True),
        ("after.version<=3", True),
        ("after.title~a log", True),
        ("after.title~A LOG", False),
        ("after.author_id=null", True),
        ("after.author_id!=null", False),
        ("after.author_id=x", False),
        ("after.author_id!=x", True),
        ("after.author_id>1", False),
        ("after.title=null", False),
        ("after.title!=null", True),
        ("at>2025-12-31", True),
        ("offset=7", True),
    ],
)
def test_a_condition_compares_numbers_as_numbers_and_the_rest_as_text(condition: str, holds: bool) -> None:
    assert Condition.parse(condition).holds(shown_of()) is holds


def test_large_integers_are_not_rounded() -> None:
    assert not Condition("x", "=", "9007199254740993").compares(9007199254740992)


@pytest.mark.parametrize("text", ["", "field", "=value"])
def test_what_is_no_condition_is_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="not a condition"):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("key", "takes"), [(str(TENANT), True), (f"tenant_id={TENANT}", True), ("tenant_id=x", False), ("k", True), ("", 0)]
)
def test_a_key_is_any_of_its_fields_or_a_named_one_or_its_bytes(key: str, takes: bool) -> None:
    assert RecordFilter(key=key).takes(record(), shown_of()) is bool(takes)


@pytest.mark.parametrize("selection", [RecordFilter((Condition.parse("after.title=x"),)), RecordFilter(key="title=x")])
def test_a_filter_on_what_is_masked_is_refused(selection: RecordFilter) -> None:
    with pytest.raises(InvalidInput, match="masked"):
        selection.refuse_hidden(MASKS)
    selection.refuse_hidden(NO_MASKS)


def test_what_is_not_masked_can_be_filtered() -> None:
    RecordFilter((Condition.parse("after.version=3"), Condition.parse("offset>1")), "tenant_id=x").refuse_hidden(MASKS)
    with pytest.raises(InvalidInput):
        RecordFilter(key="x").refuse_hidden(Masks(sides=frozenset(SIDES)))


def test_a_terminal_is_not_obeyed() -> None:
    hostile = shown_of()
    hostile["value"] = {"title": "\x1b]0;owned\x07 \x9b31m \u202e"}
    assert shown.line(hostile, 0).isprintable()
    assert shown.cells(hostile, ["title"])[0].isprintable()


def test_json_is_one_line_whatever_the_value() -> None:
    values = {"bytes": b"\x00", "when": datetime(2026, 1, 1, tzinfo=UTC), "id": TENANT, "price": Decimal("1.10")}
    line = shown.as_json({**values, "text": "a\nb", "nan": float("nan")})
    assert "\n" not in line
    assert json.loads(line) == {
        "bytes": "AA==",
        "when": "2026-01-01T00:00:00Z",
        "id": str(TENANT),
        "price": "1.10",
        "text": "a\nb",
        "nan": None,
    }


def test_columns_of_what_is_broken_say_so() -> None:
    assert shown.cells(shown_of(b"bad"), ["offset", "after.title"]) == ["7", "!undecodable"]
    assert shown.cells(shown_of(), ["after.title", "nothing", "at"]) == ["Use a log", "", "2026-01-01T00:00:00Z"]
    assert shown.pick(shown_of(), ["op", "nothing"]) == {"op": "c", "nothing": None}


def test_lines_are_cut_to_the_terminal() -> None:
    assert len(shown.line(shown_of(), 80)) == 80
    assert shown.line(shown_of(), 80).endswith("…")


@pytest.mark.parametrize("timestamp_ms", [None, -1, 2**62])
def test_any_timestamp_is_shown(timestamp_ms: int | None) -> None:
    assert shown.line(shown_of(timestamp_ms=timestamp_ms), 0)
