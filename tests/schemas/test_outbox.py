"""Events on their way through JSON to the contract of their topic."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import Unencodable
from schemas import catalog
from schemas.codec import Decoder, Encoder
from schemas.outbox import converter
from tests.schemas.avro import values
from tests.schemas.fakes import MemoryRegistry

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EVENTS = [subject for subject in catalog.subjects() if not subject.startswith("adriatic.")]


def as_json(value: Any) -> Any:
    """What SQL puts into an outbox message for it."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case UUID():
            return str(value)
        case datetime():
            return (value - EPOCH) // timedelta(microseconds=1)
        case dict():
            return {key: as_json(inner) for key, inner in value.items()}
        case list():
            return [as_json(inner) for inner in value]
        case _:
            return value


@pytest.mark.parametrize("subject", EVENTS)
@settings(max_examples=20)
@given(data=st.data())
def test_an_event_survives_the_way_through_json(subject: str, data: st.DataObject) -> None:
    value = data.draw(values(catalog.schema(subject)))
    registry = MemoryRegistry()
    encoded = Encoder(registry, subject).encode_json(json.loads(json.dumps(as_json(value))))
    assert Decoder(registry, subject).decode(encoded) == value


SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "namespace": "t",
    "fields": [
        {"name": "small", "type": "int", "default": 0},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0},
        {"name": "who", "type": ["null", {"type": "string", "logicalType": "uuid"}], "default": None},
        {"name": "hash", "type": ["null", {"type": "fixed", "name": "Hash", "size": 2}], "default": None},
        {"name": "children", "type": {"type": "array", "items": "Thing"}, "default": []},
        {"name": "labels", "type": {"type": "map", "values": "bytes"}, "default": {}},
    ],
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"small": 2**31}, "small is out of range"),
        ({"small": True}, "small is not an integer"),
        ({"at": 1.5}, "at is not an integer"),
        ({"at": -(2**63) - 1}, "at is out of range"),
        ({"who": "somebody"}, "who is not a uuid"),
        ({"hash": "AB"}, "hash is not base64"),
        ({"labels": {"a": "?"}}, r"labels\{\} is not base64"),
        ({"children": [{"small": 2**40}]}, "small is out of range"),
    ],
)
def test_what_other_readers_could_not_read_is_refused(value: Any, said: str) -> None:
    with pytest.raises(Unencodable, match=said):
        converter(SCHEMA)(value)


def test_a_record_may_name_itself() -> None:
    inner = {"hash": "AAE=", "children": []}
    assert converter(SCHEMA)({"children": [inner]}) == {"children": [{"hash": b"\x00\x01", "children": []}]}


@pytest.mark.parametrize("value", [None, 1, "x", [], {"children": 5, "labels": "no", "hash": 3, "who": 4}])
def test_wrong_shapes_are_left_to_the_encoder(value: Any) -> None:
    assert converter(SCHEMA)(value) == value


def test_a_whole_float_is_the_integer_that_it_is() -> None:
    assert converter(SCHEMA)({"small": 3.0}) == {"small": 3}
