"""The committed contracts keep the rules of the house."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fastavro
import pytest

from runtime.errors import NotFound
from schemas import catalog

EVENTS = [subject for subject in catalog.subjects() if not subject.startswith("adriatic.")]


def fields(schema: Any) -> Iterator[dict[str, Any]]:
    """Every field of every record, inner ones too."""
    if isinstance(schema, list):
        for branch in schema:
            yield from fields(branch)
    if not isinstance(schema, dict):
        return
    for field in schema.get("fields", ()):
        yield field
        yield from fields(field["type"])
    for inner in ("items", "values", "type"):
        yield from fields(schema.get(inner))


@pytest.mark.parametrize("subject", catalog.subjects())
def test_a_contract_parses_is_a_record_and_is_written_as_generated(subject: str) -> None:
    schema = catalog.schema(subject)
    assert schema["type"] == "record"
    fastavro.parse_schema(dict(schema))
    assert (catalog.AVRO_FOLDER / f"{subject}.avsc").read_text() == catalog.dumps(schema)


def test_every_topic_has_both_sides() -> None:
    sides: dict[str, set[str]] = {}
    for subject in catalog.subjects():
        topic, side = catalog.topic_of(subject)
        sides.setdefault(topic, set()).add(side)
    assert {topic for topic, found in sides.items() if found != {"key", "value"}} == set()


@pytest.mark.parametrize("subject", EVENTS)
def test_an_event_says_what_each_field_means(subject: str) -> None:
    schema = catalog.schema(subject)
    assert schema["doc"]
    assert [field["name"] for field in fields(schema) if not field.get("doc")] == []


@pytest.mark.parametrize("subject", [subject for subject in EVENTS if subject.endswith("-key")])
def test_a_key_begins_with_the_tenant(subject: str) -> None:
    first = catalog.schema(subject)["fields"][0]
    assert (first["name"], first["type"]) == ("tenant_id", {"type": "string", "logicalType": "uuid"})


@pytest.mark.parametrize("subject", [subject for subject in EVENTS if subject.endswith("-value")])
def test_an_event_says_whose_and_when(subject: str) -> None:
    names = [field["name"] for field in catalog.schema(subject)["fields"]]
    assert {"tenant_id", "occurred_at", "event_id"} <= set(names)


def test_a_subject_without_a_contract_says_what_to_add() -> None:
    with pytest.raises(NotFound, match="nope-value"):
        catalog.schema("nope-value")
    with pytest.raises(NotFound):
        catalog.topic_of("nope")
