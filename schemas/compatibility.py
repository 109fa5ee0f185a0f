"""Whether records written with one Avro schema can be read with another, and who must move first when not.

Owns Avro's schema resolution rules (specification, "Schema Resolution") as a pure comparison with findings that name
the field, and two rules that the specification leaves to people: an annotation that changes what a value *means*
(logicalType, connect.name), and string against bytes, which resolve by rule and which no client treats as the same.
Refuses to find the earlier versions: the caller has them from git or a registry.

Full compatibility is both directions: the new schema reads old records (a replay), the old one reads new records (a
reader that was not upgraded yet).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import fastavro
from fastavro.schema import UnknownType

Direction = Literal["new-reads-old", "old-reads-new"]
Rule = Literal[
    "type-changed",
    "field-without-default",
    "symbol-removed",
    "branch-removed",
    "name-changed",
    "size-changed",
    "meaning-changed",
    "contract-removed",
]

NAMED = frozenset({"record", "enum", "fixed"})
PROMOTIONS = frozenset(
    {("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"), ("float", "double")}
)
"""(writer, reader) pairs of different types that resolve."""
MEANING = ("logicalType", "precision", "scale", "connect.name")
"""Properties of a type that change how its value is to be understood."""

FIRST: Mapping[Direction, str] = {
    "new-reads-old": "no order helps: records of the old shape stay in the topic, and new readers cannot read them",
    "old-reads-new": "every reader must be upgraded before the first writer",
}


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """Why one reader cannot read one writer. `path` names fields: `after.items[].text`."""

    path: str
    rule: Rule
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a change, with what to do about it."""

    subject: str
    path: str
    rule: Rule
    direction: Direction
    detail: str
    fix: str
    first: str
    against: str = ""
    """The version that it is not compatible with: a tag, or a version at the registry."""


FIXES: Mapping[Rule | tuple[Rule, Direction], str] = {
    "type-changed": "keep the type; add a field of the new type beside it, with a default",
    ("field-without-default", "new-reads-old"): "give the new field a default",
    ("field-without-default", "old-reads-new"): "keep the field: the old contract has no default for it",
    ("symbol-removed", "new-reads-old"): "keep the symbol, or give the enum a default",
    ("symbol-removed", "old-reads-new"): "the old enum has no default, so it cannot grow: add a string field instead",
    ("branch-removed", "new-reads-old"): "keep the branch of the union",
    ("branch-removed", "old-reads-new"): "a union cannot grow: add a field with the new type instead",
    "name-changed": "keep the name",
    "size-changed": "keep the size; add a field beside it",
    "meaning-changed": "keep the meaning; add a field with the new one beside it",
    "contract-removed": "keep the file until nobody reads the topic; remove both in a major release",
}
"""What to do about a rule; where that depends on the direction, about both."""

GONE = Incompatibility("", "contract-removed", "the contract is gone, and its topic's records are not")


def compare(subject: str, old: Any, new: Any, against: str = "") -> list[Finding]:
    """Every reason why `old` and `new` are not fully compatible."""
    directions: tuple[tuple[Direction, Any, Any], ...] = (("new-reads-old", new, old), ("old-reads-new", old, new))
    return [
        _advise(subject, problem, direction, against)
        for direction, reader, writer in directions
        for problem in problems(reader, writer)
    ]


def check(old: Mapping[str, Any], new: Mapping[str, Any], against: str = "") -> list[Finding]:
    """All contracts of two releases, by subject. A subject that is only in `new` is fine; one that is gone is not."""
    findings: list[Finding] = []
    for subject, schema in sorted(old.items()):
        if subject in new:
            findings.extend(compare(subject, schema, new[subject], against))
        else:
            findings.append(_advise(subject, GONE, "new-reads-old", against))
    return findings


def _advise(subject: str, problem: Incompatibility, direction: Direction, against: str) -> Finding:
    path, rule, detail = problem.path, problem.rule, problem.detail
    fix = FIXES.get((rule, direction)) or FIXES[rule]
    return Finding(subject, path, rule, direction, detail, fix, FIRST[direction], against)


def problems(reader: Any, writer: Any) -> list[Incompatibility]:
    """Why a reader with `reader` cannot read every record that was written with `writer`; empty when it can.

    Raises `KeyError` for a schema with a name that it does not define.
    """
    reader_names: dict[str, Any] = {}
    writer_names: dict[str, Any] = {}
    try:
        # Names are whole then, wherever they stand: `namespace.name`.
        reader = fastavro.parse_schema(reader, named_schemas=reader_names)
        writer = fastavro.parse_schema(writer, named_schemas=writer_names)
    except UnknownType as error:
        raise KeyError(error.name) from error
    return list(_Resolution(reader_names, writer_names).compare(reader, writer, ""))


class _Resolution:
    """One walk over two schemas. Remembers the pairs of records that it is inside of, so that recursion ends."""

    def __init__(self, reader_names: Mapping[str, Any], writer_names: Mapping[str, Any]) -> None:
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._seen: set[tuple[str, str]] = set()

    def compare(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        reader = _resolve(reader, self._reader_names)
        writer = _resolve(writer, self._writer_names)
        if isinstance(writer, list):
            # Any branch may have been written, so each must be readable.
            for branch in writer:
                yield from self.compare(reader, branch, path)
        elif isinstance(reader, list):
            yield from self._reader_union(reader, writer, path)
        else:
            yield from _meaning(reader, writer, path)
            yield from self._plain(reader, writer, path)

    def _reader_union(self, reader: list[Any], writer: Any, path: str) -> Iterator[Incompatibility]:
        """The branch of the same type is meant, when there is one: its problems are the ones to tell. Otherwise any
        branch that resolves will do."""
        same = [branch for branch in reader if _same_kind(_resolve(branch, self._reader_names), writer)]
        if same:
            yield from self.compare(same[0], writer, path)
            return
        seen = set(self._seen)
        for branch in reader:
            if not list(self.compare(branch, writer, path)):
                return
            self._seen = set(seen)
        titles = ", ".join(map(_title, reader))
        yield Incompatibility(path, "branch-removed", f"{_title(writer)} is not one of {titles}")

    def _plain(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        kinds = (_kind(writer), _kind(reader))
        if kinds[0] != kinds[1]:
            if kinds not in PROMOTIONS:
                yield Incompatibility(path, "type-changed", f"{_title(writer)} cannot be read as {_title(reader)}")
            return
        if kinds[1] in NAMED and not _same_name(reader, writer):
            yield Incompatibility(path, "name-changed", f"{writer['name']} is not {reader['name']}")
        match kinds[1]:
            case "record":
                yield from self._record(reader, writer, path)
            case "enum":
                yield from _enum(reader, writer, path)
            case "fixed" if reader["size"] != writer["size"]:
                yield Incompatibility(
                    path, "size-changed", f"{writer['size']} bytes cannot be read as {reader['size']}"
                )
            case "array":
                yield from self.compare(reader["items"], writer["items"], f"{path}[]")
            case "map":
                yield from self.compare(reader["values"], writer["values"], f"{path}{{}}")

    def _record(self, reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
        pair = (reader["name"], writer["name"])
        if pair in self._seen:
            return
        self._seen.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            where = f"{path}.{field['name']}" if path else field["name"]
            names = (field["name"], *field.get("aliases", ()))
            source = next((written[name] for name in names if name in written), None)
            if source is not None:
                yield from self.compare(field["type"], source["type"], where)
            elif "default" not in field:
                yield Incompatibility(
                    where, "field-without-default", "the writer has no such field, and the reader no default"
                )


def _resolve(schema: Any, names: Mapping[str, Any]) -> Any:
    """The type that a name stands for; any other schema as it is."""
    return names[schema] if isinstance(schema, str) and schema in names else schema


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, Mapping) else schema)


def _same_kind(reader: Any, writer: Any) -> bool:
    kind = _kind(reader)
    return kind == _kind(writer) and (kind not in NAMED or _same_name(reader, writer))


def _same_name(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> bool:
    """Compare whole names. The specification lets the namespace differ; generated readers bind to it all the same."""
    space = reader["name"].rpartition(".")[0]
    aliases = {alias if "." in alias or not space else f"{space}.{alias}" for alias in reader.get("aliases", ())}
    return writer["name"] in {reader["name"], *aliases}


def _enum(reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
    missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if missing and reader.get("default") not in reader["symbols"]:
        yield Incompatibility(path, "symbol-removed", f"the reader does not know {', '.join(missing)}")


def _meaning(reader: Any, writer: Any, path: str) -> Iterator[Incompatibility]:
    for name in MEANING:
        before, after = _property(writer, name), _property(reader, name)
        if before != after:
            yield Incompatibility(path, "meaning-changed", f"{name} {before or 'none'} is not {after or 'none'}")


def _property(schema: Any, name: str) -> Any:
    """Read a property; but the connect.name of a record repeats its name, which has a rule of its own."""
    if not isinstance(schema, Mapping) or schema["type"] == "record":
        return None
    return schema.get(name)


def _title(schema: Any) -> str:
    if isinstance(schema, Mapping):
        schema = schema.get("name") or schema["type"]
    return str(schema).rpartition(".")[2]
