"""The wire format, both ways: what was written is read back, and whose fault it is when it is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.clock import ManualClock
from runtime.errors import DataError, DependencyUnavailable, Undecodable, Unencodable, UnknownSchema, Unprepared
from schemas import catalog, codec
from schemas.catalog import Schema
from schemas.codec import Decoder, Encoder
from tests.schemas.avro import values
from tests.schemas.fakes import MemoryRegistry

EXAMPLES = 8
"""Of each of the contracts; together they are hundreds."""

RECORD: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "namespace": "t",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"], "default": None},
        {"name": "parts", "type": {"type": "array", "items": "bytes"}, "default": []},
    ],
}


def encoder(registry: MemoryRegistry, schema: dict[str, Any] = RECORD) -> Encoder:
    return Encoder(registry, "thing-value", schema)


@pytest.mark.parametrize("subject", catalog.subjects())
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_every_contract_reads_back_what_it_wrote(subject: str, data: st.DataObject) -> None:
    registry = MemoryRegistry()
    value = data.draw(values(catalog.schema(subject)))
    encoded = Encoder(registry, subject).encode(value)
    assert encoded[:5] == b"\x00\x00\x00\x00\x01"
    assert Decoder(registry, subject).decode(encoded) == value
    assert Decoder(registry).decode(encoded) == value


def test_the_wire_format_is_a_zero_byte_an_id_and_the_body() -> None:
    registry = MemoryRegistry()
    assert encoder(registry).encode({"id": 1, "name": "a", "parts": []}) == b"\x00\x00\x00\x00\x01\x02\x02\x02a\x00"


def test_a_reader_sees_its_own_fields_whoever_wrote() -> None:
    registry = MemoryRegistry()
    newer = {**RECORD, "fields": [*RECORD["fields"], {"name": "extra", "type": "int", "default": 7}]}
    old_bytes = encoder(registry).encode({"id": 1})
    new_bytes = encoder(registry, newer).encode({"id": 2, "extra": 9})
    reads_new = Decoder(registry)
    reads_new._reader = codec._parse(newer)
    reads_old = Decoder(registry)
    reads_old._reader = codec._parse(RECORD)
    assert reads_new.decode(old_bytes) == {"id": 1, "name": None, "parts": [], "extra": 7}
    assert reads_old.decode(new_bytes) == {"id": 2, "name": None, "parts": []}


@given(st.binary(max_size=64))
def test_garbage_is_the_records_own_fault(garbage: bytes) -> None:
    registry = MemoryRegistry()
    registry.schemas = [RECORD]
    for data in (garbage, codec.header(1) + garbage):
        try:
            Decoder(registry).decode(data)
        except DataError:
            continue


@pytest.mark.parametrize("subject", catalog.subjects())
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_a_cut_or_longer_record_does_not_pass(subject: str, data: st.DataObject) -> None:
    registry = MemoryRegistry()
    encoded = Encoder(registry, subject).encode(data.draw(values(catalog.schema(subject))))
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(Undecodable):
        Decoder(registry, subject).decode(encoded[:cut])
    with pytest.raises(Undecodable, match="left over"):
        Decoder(registry, subject).decode(encoded + b"\x00")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "too few"),
        (b"\x00\x00\x00", "too few"),
        (b'{"a": 1}', "first byte is 0x7b"),
        (b"\xff\x00\x00\x00\x01", "first byte is 0xff"),
    ],
)
def test_other_formats_are_named(data: bytes, said: str) -> None:
    with pytest.raises(Undecodable, match=said):
        Decoder(MemoryRegistry()).decode(data)


def wide(name: str, **types: str) -> dict[str, Any]:
    """A record with many fields, whose text is long, and with `types` before them."""
    filler = {f"a_field_with_a_long_name_{number}": "string" for number in range(60)}
    fields = [{"name": field, "type": kind} for field, kind in (types | filler).items()]
    return {"type": "record", "name": name, "namespace": "t", "fields": fields}


@pytest.mark.parametrize(
    ("writer", "said"),
    [
        (wide("Other"), r"schema 1 \(t\.Other\) cannot be read as thing-value: name-changed at the top"),
        (wide("Thing", id="string"), r"schema 1 \(t\.Thing\) cannot be read as thing-value: type-changed at id"),
        (wide("Thing"), r"schema 1 \(t\.Thing\) cannot be read as thing-value: field-without-default at id"),
        (wide("N" * 500), "cannot be read as thing-value: name-changed"),
    ],
)
def test_a_schema_that_does_not_resolve_is_named_and_not_quoted(
    writer: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "schema", lambda _: RECORD)
    registry = MemoryRegistry()
    data = encoder(registry, writer).encode({field["name"]: "" for field in writer["fields"]})
    with pytest.raises(Undecodable, match=said) as raised:
        Decoder(registry, "thing-value").decode(data)
    assert len(raised.value.detail) <= codec.DETAIL_CHARS_MAX
    assert raised.value.hint == "produce with the contract, schemas/avro/thing-value.avsc"
    assert raised.value.coordinates == {"schema_id": 1}


def test_bytes_of_another_schema_name_the_record() -> None:
    registry = MemoryRegistry()
    registry.schemas = [RECORD]
    with pytest.raises(Undecodable, match=r"do not fit schema 1 \(t\.Thing\): EOFError") as raised:
        Decoder(registry).decode(codec.header(1) + b"\x02\x02\x14a")
    assert "another schema" in raised.value.hint


def test_an_unknown_id_is_asked_for_once_in_a_while() -> None:
    registry, clock = MemoryRegistry(), ManualClock()
    decoder = Decoder(registry, clock=clock)
    record = codec.header(9) + b"\x02"
    for _ in range(3):
        with pytest.raises(UnknownSchema):
            decoder.decode(record)
    assert registry.asked == 1
    registry.schemas = [*[RECORD] * 8, {"type": "long"}]
    clock.sleep(codec.UNKNOWN_S)
    assert decoder.decode(record) == 1


def test_an_outage_is_not_the_records_fault() -> None:
    registry = MemoryRegistry()
    registry.away = True
    with pytest.raises(DependencyUnavailable):
        Decoder(registry).decode(codec.header(1) + b"\x02")
    with pytest.raises(DependencyUnavailable):
        encoder(registry).encode({"id": 1})
    registry.away = False
    assert encoder(registry).encode({"id": 1})


class Emptied(MemoryRegistry):
    """A registry that lost what was registered."""

    def id_of(self, subject: str, schema: Schema) -> int:
        if not self.schemas:
            raise Unprepared(f"the contract of {subject} is not registered")
        return super().id_of(subject, schema)


def test_a_registry_that_lost_our_contract_cannot_say_that_a_record_is_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "schema", lambda _: RECORD)
    registry, clock = Emptied(), ManualClock()
    decoder = Decoder(registry, "thing-value", clock)
    record = codec.header(1) + b"\x02\x00\x00"
    for _ in range(2):
        with pytest.raises(Unprepared, match="thing-value"):
            decoder.decode(record)
    registry.schemas = [RECORD]
    assert decoder.decode(record)["id"] == 1, "at once: it was never taken for unknown"
    with pytest.raises(UnknownSchema):
        decoder.decode(codec.header(9) + b"\x02")


def test_a_schema_is_asked_for_once() -> None:
    registry = MemoryRegistry()
    data = encoder(registry).encode({"id": 1})
    decoder = Decoder(registry)
    for _ in range(5):
        decoder.decode(data)
    assert registry.asked == 1


def test_memory_for_schemas_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "WRITERS_MAX", 3)
    monkeypatch.setattr(codec, "UNKNOWN_MAX", 3)
    registry = MemoryRegistry()
    registry.schemas = [{"type": "long"}] * 10
    decoder = Decoder(registry)
    for schema_id in range(1, 21):
        try:
            decoder.decode(codec.header(schema_id) + b"\x02")
        except UnknownSchema:
            continue
    assert len(decoder._writers) == len(decoder._unknown) == 3


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"type": "record", "name": "x"}, {}])
def test_a_schema_that_cannot_be_read_is_the_records_fault(schema: dict[str, Any]) -> None:
    registry = MemoryRegistry()
    registry.schemas = [schema]
    with pytest.raises(Undecodable):
        Decoder(registry).decode(codec.header(1) + b"\x02")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"id": "1"}, "id"),
        ({"name": "a"}, "Field id"),
        ({"id": 1, "nmae": "a"}, "nmae"),
        ({"id": 1, "name": 3}, "name"),
        ({"id": 1, "name": "\ud800"}, "UnicodeEncodeError"),
        (None, "Thing|value"),
    ],
)
def test_what_does_not_fit_says_where_and_never_the_value(value: Any, said: str) -> None:
    with pytest.raises(Unencodable, match=said):
        encoder(MemoryRegistry()).encode(value)


def test_errors_do_not_repeat_values() -> None:
    secret = "the-secret-text"
    with pytest.raises(Unencodable) as raised:
        encoder(MemoryRegistry()).encode({"id": secret})
    assert secret not in str(raised.value)
    with pytest.raises(Unencodable) as raised:
        encoder(MemoryRegistry()).encode({"id": 1, "name": {"a": secret}})
    assert secret not in str(raised.value)
