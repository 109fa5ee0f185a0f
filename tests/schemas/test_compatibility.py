"""The gate: which changes of a contract pass, which do not, and what a finding tells."""

from __future__ import annotations

import copy
import io
from typing import Any

import fastavro
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from schemas import catalog
from schemas.compatibility import check, compare, problems
from tests.schemas.avro import values


def record(*fields: dict[str, Any], name: str = "Thing", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "t", "fields": list(fields), **more}


def field(name: str, type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


OLD = record(field("a", "int"), field("b", ["null", "string"], default=None))


def rules(old: Any, new: Any) -> set[tuple[str, str, str]]:
    return {(finding.path, finding.rule, finding.direction) for finding in compare("s", old, new)}


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        record(*OLD["fields"], field("c", "long", default=0)),
        record(OLD["fields"][0]),
        record(*OLD["fields"], doc="documentation changes nothing"),
        record(OLD["fields"][1], OLD["fields"][0]),
    ],
    ids=["same", "field added with default", "field with default removed", "doc", "order"],
)
def test_what_may_change(new: Any) -> None:
    assert rules(OLD, new) == set()


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (
            OLD,
            record(*OLD["fields"], field("c", "long")),
            {("c", "field-without-default", "new-reads-old")},
        ),
        (OLD, record(OLD["fields"][1]), {("a", "field-without-default", "old-reads-new")}),
        (OLD, record(field("a", "long"), OLD["fields"][1]), {("a", "type-changed", "old-reads-new")}),
        (
            OLD,
            record(field("a", "string"), OLD["fields"][1]),
            {("a", "type-changed", "new-reads-old"), ("a", "type-changed", "old-reads-new")},
        ),
        (
            OLD,
            record(OLD["fields"][0], field("b", "string", default="")),
            {("b", "type-changed", "new-reads-old")},
        ),
        (
            OLD,
            record(OLD["fields"][0], field("b", ["null", "string", "int"], default=None)),
            {("b", "branch-removed", "old-reads-new")},
        ),
        (
            record(field("e", enum("A"))),
            record(field("e", enum("A", "B"))),
            {("e", "symbol-removed", "old-reads-new")},
        ),
        (record(field("e", enum("A", default="A"))), record(field("e", enum("A", "B", default="A"))), set()),
        (
            OLD,
            record(*OLD["fields"], name="Other"),
            {("", "name-changed", "new-reads-old"), ("", "name-changed", "old-reads-new")},
        ),
        (
            OLD,
            record(*OLD["fields"], name="Other", aliases=["Thing"]),
            {("", "name-changed", "old-reads-new")},
        ),
        (
            record(field("f", {"type": "fixed", "name": "F", "size": 2})),
            record(field("f", {"type": "fixed", "name": "F", "size": 3})),
            {("f", "size-changed", "new-reads-old"), ("f", "size-changed", "old-reads-new")},
        ),
        (
            record(field("at", {"type": "long", "logicalType": "timestamp-millis"})),
            record(field("at", {"type": "long", "logicalType": "timestamp-micros"})),
            {("at", "meaning-changed", "new-reads-old"), ("at", "meaning-changed", "old-reads-new")},
        ),
        (
            record(field("x", {"type": "string", "connect.name": "io.debezium.data.Json"})),
            record(field("x", "string")),
            {("x", "meaning-changed", "new-reads-old"), ("x", "meaning-changed", "old-reads-new")},
        ),
        (
            record(field("x", "bytes")),
            record(field("x", "string")),
            {("x", "type-changed", "new-reads-old"), ("x", "type-changed", "old-reads-new")},
        ),
        (
            record(field("items", {"type": "array", "items": record(field("t", "string"), name="I")})),
            record(field("items", {"type": "array", "items": record(field("u", "string"), name="I")})),
            {
                ("items[].u", "field-without-default", "new-reads-old"),
                ("items[].t", "field-without-default", "old-reads-new"),
            },
        ),
        (
            record(field("m", {"type": "map", "values": "int"})),
            record(field("m", {"type": "map", "values": "string"})),
            {("m{}", "type-changed", "new-reads-old"), ("m{}", "type-changed", "old-reads-new")},
        ),
    ],
    ids=[
        "required field added",
        "required field removed",
        "promoted: old readers fail",
        "another type",
        "nullable no more",
        "branch added",
        "symbol added",
        "symbol added, default",
        "renamed",
        "renamed with alias",
        "size",
        "logical type",
        "connect name",
        "bytes and string",
        "inside of an array",
        "inside of a map",
    ],
)
def test_what_may_not_change(old: Any, new: Any, wanted: set[tuple[str, str, str]]) -> None:
    assert rules(old, new) == wanted


def test_a_finding_says_what_to_do_and_who_is_first() -> None:
    (finding,) = compare("thing-value", OLD, record(*OLD["fields"], field("c", "long")), "v1.0")
    assert (finding.subject, finding.path, finding.against) == ("thing-value", "c", "v1.0")
    assert finding.fix == "give the new field a default"
    assert "old shape" in finding.first


def test_a_contract_that_is_gone_is_a_finding_and_a_new_one_is_none() -> None:
    (finding,) = check({"a-value": OLD}, {"b-value": OLD})
    assert (finding.subject, finding.rule) == ("a-value", "contract-removed")


def test_named_types_are_followed_wherever_they_are_defined() -> None:
    inner = record(field("t", "string"), name="I")
    once = record(field("x", inner), field("y", "I"))
    inline = record(field("x", "t.I2"), field("y", inner), field("z", "t.I"))
    assert problems(once, record(field("x", inner), field("y", "t.I"))) == []
    with pytest.raises(KeyError):
        problems(inline, inline)


def test_recursion_ends() -> None:
    node = record(field("next", ["null", "Thing"], default=None), field("v", "int"))
    other = record(field("next", ["null", "Thing"], default=None), field("v", "string"))
    assert problems(node, node) == []
    assert [problem.path for problem in problems(node, other)] == ["v"]


@pytest.mark.parametrize("subject", catalog.subjects())
def test_every_contract_is_compatible_with_itself(subject: str) -> None:
    schema = catalog.schema(subject)
    assert compare(subject, schema, copy.deepcopy(schema)) == []


# --- against fastavro's own resolution ------------------------------------------------------------------------------

leaves = st.one_of(
    st.sampled_from(["null", "boolean", "int", "long", "float", "double", "string", "bytes"]),
    st.sampled_from([enum("A", "B"), enum("A", "B", "C"), enum("A", default="A")]),
    st.sampled_from([{"type": "fixed", "name": "F", "size": size} for size in (1, 2)]),
)
DEFAULTS = {"null": None, "boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": "", "bytes": ""}


def unions(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    primitives = st.sampled_from(["null", "int", "long", "double", "string"])
    return st.lists(primitives, min_size=1, max_size=3, unique=True)


types = st.recursive(
    st.one_of(leaves, unions(leaves)),
    lambda inner: st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        inner.map(lambda items: {"type": "map", "values": items}),
    ),
    max_leaves=3,
)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """A record of up to three fields, some with defaults. Named types once only, as Avro asks for."""
    fields = []
    for name in draw(st.lists(st.sampled_from("abcd"), max_size=3, unique=True)):
        made = field(name, draw(types))
        if isinstance(made["type"], str) and draw(st.booleans()):
            made["default"] = DEFAULTS[made["type"]]
        fields.append(made)
    schema = record(*fields)
    text = str(schema)
    assume(text.count("'name': 'E'") <= 1 and text.count("'name': 'F'") <= 1)
    return schema


WIDER = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"]}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A writer and a reader that came from it by the changes that people make, good and bad."""
    writer = draw(records())
    evolved = []
    for old in writer["fields"]:
        match draw(st.sampled_from(["keep", "drop", "widen", "nullable", "replace"])):
            case "keep":
                evolved.append(old)
            case "widen":
                wider = WIDER.get(old["type"], [old["type"]]) if isinstance(old["type"], str) else [old["type"]]
                evolved.append(field(old["name"], draw(st.sampled_from(wider))))
            case "nullable" if not isinstance(old["type"], list) and old["type"] != "null":
                evolved.append(field(old["name"], ["null", old["type"]], default=None))
            case "replace":
                evolved.append(field(old["name"], draw(types)))
    if draw(st.booleans()):
        evolved.append(field("added", "string", **({"default": ""} if draw(st.booleans()) else {})))
    reader = record(*draw(st.permutations(evolved)))
    text = str(reader)
    assume(text.count("'name': 'E'") <= 1 and text.count("'name': 'F'") <= 1)
    return writer, reader


@settings(max_examples=300)
@given(pair=pairs(), data=st.data())
def test_the_verdict_is_fastavros(pair: tuple[dict[str, Any], dict[str, Any]], data: st.DataObject) -> None:
    """What is called compatible is read, whatever the values; what cannot be read was called incompatible."""
    writer, reader = pair
    out = io.BytesIO()
    parsed = fastavro.parse_schema(copy.deepcopy(writer), named_schemas={})
    fastavro.schemaless_writer(out, parsed, data.draw(values(writer)))
    out.seek(0)
    found = problems(reader, writer)
    event("compatible" if not found else "incompatible")
    try:
        fastavro.schemaless_reader(out, parsed, fastavro.parse_schema(copy.deepcopy(reader), named_schemas={}))
    except Exception:
        assert found
    else:
        # Bytes left over would mean that it was read as something else.
        assert found or out.read() == b""
