"""Whether records written with one Avro schema can be read with another, and who must move first when not.

Owns Avro's schema resolution rules (specification, "Schema Resolution") as a pure comparison with findings that name
the field, and two rules that the specification leaves to people: an annotation that changes what a value *means*
(logicalType, connect.name), and string against bytes, which resolve by rule and which no client treats as the same.
Refuses to find the earlier versions: the caller has them from git or a registry.

Full compatibility is both directions: the new schema reads old records (a replay), the old one reads new records (a
reader that was not upgraded yet).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
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


FIXES: Mapping[tuple[Rule, Direction], str] = {
    ("type-changed", "new-reads-old"): "keep the type; add a field of the new type beside it, with a default",
    ("type-changed", "old-reads-new"): "keep the type; add a field of the new type beside it, with a default",
    ("field-without-default", "new-reads-old"): "give the new field a default",
    ("field-without-default", "old-reads-new"): "keep the field: the old contract has no default for it",
    ("symbol-removed", "new-reads-old"): "keep the symbol, or give the enum a default",
    ("symbol-removed", "old-reads-new"): "the old enum has no default, so it cannot grow: add a string field instead",
    ("branch-removed", "new-reads-old"): "keep the branch of the union",
    ("branch-removed", "old-reads-new"): "a union cannot grow: add a field with the new type instead",
    ("name-changed", "new-reads-old"): "keep the name",
    ("name-changed", "old-reads-new"): "keep the name",
    ("size-changed", "new-reads-old"): "keep the size; add a field beside it",
    ("size-changed", "old-reads-new"): "keep the size; add a field beside it",
    ("meaning-changed", "new-reads-old"): "keep the meaning; add a field with the new one beside it",
    ("meaning-changed", "old-reads-new"): "keep the meaning; add a field with the new one beside it",
}


def compare(subject: str, old: Any, new: Any, against: str = "") -> list[Finding]:
    """Every reason why `old` and `new` are not fully compatible."""
    directions: tuple[tuple[Direction, Any, Any], ...] = (("new-reads-old", new, old), ("old-reads-new", old, new))
    return [
        Finding(
            subject,
            problem.path,
            problem.rule,
            direction,
            problem.detail,
            FIXES[problem.rule, direction],
            FIRST[direction],
            against,
        )
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
            findings.append(
                Finding(
                    subject,
                    "",
                    "contract-removed",
                    "new-reads-old",
                    "the contract is gone, and its topic's records are not",
                    "keep the file until nobody reads the topic; remove both in a major release",
                    FIRST["new-reads-old"],
                    against,
                )
            )
    return findings


def problems(reader: Any, writer: Any) -> list[Incompatibility]:
    """Why a reader with `reader` cannot read every record that was written with `writer`; empty when it can."""
    return list(_Resolution(_names(reader), _names(writer)).compare(reader, writer, "", "", ""))


@dataclass(slots=True)
class _Named:
    """A named type and the namespace that its inside starts from."""

    schema: Mapping[str, Any]
    namespace: str


class _Resolution:
    """One walk over two schemas. Remembers the pairs of records that it is inside of, so that recursion ends."""

    def __init__(self, reader_names: dict[str, _Named], writer_names: dict[str, _Named]) -> None:
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._seen: set[tuple[str, str]] = set()

    def compare(self, reader: Any, writer: Any, path: str, reader_ns: str, writer_ns: str) -> Iterator[Incompatibility]:
        reader, reader_ns = _resolve(reader, reader_ns, self._reader_names)
        writer, writer_ns = _resolve(writer, writer_ns, self._writer_names)
        if isinstance(writer, list):
            yield from self._writer_union(reader, writer, path, reader_ns, writer_ns)
        elif isinstance(reader, list):
            yield from self._reader_union(reader, writer, path, reader_ns, writer_ns)
        else:
            yield from _meaning(reader, writer, path)
            yield from self._plain(reader, writer, path, reader_ns, writer_ns)

    def _writer_union(
        self, reader: Any, writer: list[Any], path: str, reader_ns: str, writer_ns: str
    ) -> Iterator[Incompatibility]:
        """Any branch may have been written, so each must be readable."""
        for branch in writer:
            yield from self.compare(reader, branch, path, reader_ns, writer_ns)

    def _reader_union(
        self, reader: list[Any], writer: Any, path: str, reader_ns: str, writer_ns: str
    ) -> Iterator[Incompatibility]:
        """The branch of the same type is meant, when there is one: its problems are the ones to tell. Otherwise any
        branch that resolves will do."""
        same = [branch for branch in reader if self._same_kind(branch, writer, reader_ns, writer_ns)]
        if same:
            yield from self.compare(same[0], writer, path, reader_ns, writer_ns)
            return
        seen = set(self._seen)
        for branch in reader:
            if not list(self.compare(branch, writer, path, reader_ns, writer_ns)):
                return
            self._seen = set(seen)
        yield Incompatibility(path, "branch-removed", f"{_title(writer)} is not one of {_titles(reader)}")

    def _same_kind(self, branch: Any, writer: Any, reader_ns: str, writer_ns: str) -> bool:
        branch, reader_ns = _resolve(branch, reader_ns, self._reader_names)
        kind = _kind(branch)
        if kind != _kind(writer):
            return False
        return kind not in ("record", "enum", "fixed") or _same_name(branch, writer, reader_ns, writer_ns)

    def _plain(self, reader: Any, writer: Any, path: str, reader_ns: str, writer_ns: str) -> Iterator[Incompatibility]:
        kinds = (_kind(writer), _kind(reader))
        if kinds[0] != kinds[1]:
            if kinds not in PROMOTIONS:
                yield Incompatibility(path, "type-changed", f"{_title(writer)} cannot be read as {_title(reader)}")
            return
        match kinds[1]:
            case "record":
                yield from self._record(reader, writer, path, reader_ns, writer_ns)
            case "enum":
                yield from _name_changed(reader, writer, path, reader_ns, writer_ns)
                yield from _enum(reader, writer, path)
            case "fixed":
                yield from _name_changed(reader, writer, path, reader_ns, writer_ns)
                if reader["size"] != writer["size"]:
                    yield Incompatibility(
                        path, "size-changed", f"{writer['size']} bytes cannot be read as {reader['size']}"
                    )
            case "array":
                yield from self.compare(reader["items"], writer["items"], f"{path}[]", reader_ns, writer_ns)
            case "map":
                yield from self.compare(reader["values"], writer["values"], f"{path}{{}}", reader_ns, writer_ns)

    def _record(self, reader: Any, writer: Any, path: str, reader_ns: str, writer_ns: str) -> Iterator[Incompatibility]:
        yield from _name_changed(reader, writer, path, reader_ns, writer_ns)
        pair = (_full_name(reader, reader_ns), _full_name(writer, writer_ns))
        if pair in self._seen:
            return
        self._seen.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        inner_reader, inner_writer = _inner_ns(reader, reader_ns), _inner_ns(writer, writer_ns)
        for field in reader["fields"]:
            where = f"{path}.{field['name']}" if path else field["name"]
            names = (field["name"], *field.get("aliases", ()))
            source = next((written[name] for name in names if name in written), None)
            if source is not None:
                yield from self.compare(field["type"], source["type"], where, inner_reader, inner_writer)
            elif "default" not in field:
                yield Incompatibility(
                    where, "field-without-default", "the writer has no such field, and the reader no default"
                )


def _names(schema: Any) -> dict[str, _Named]:
    found: dict[str, _Named] = {}
    _collect(schema, "", found)
    return found


def _collect(schema: Any, namespace: str, found: dict[str, _Named]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, namespace, found)
    if not isinstance(schema, Mapping):
        return
    if schema["type"] in ("record", "enum", "fixed", "error"):
        found[_full_name(schema, namespace)] = _Named(schema, namespace)
        namespace = _inner_ns(schema, namespace)
    for field in schema.get("fields", ()):
        _collect(field["type"], namespace, found)
    for inner in ("items", "values"):
        if inner in schema:
            _collect(schema[inner], namespace, found)
    if not isinstance(schema["type"], str):
        _collect(schema["type"], namespace, found)


def _resolve(schema: Any, namespace: str, names: Mapping[str, _Named]) -> tuple[Any, str]:
    """A name becomes what it names, and `{"type": {...}}` its inside."""
    if isinstance(schema, str) and schema not in PRIMITIVES:
        named = names.get(schema if "." in schema or not namespace else f"{namespace}.{schema}") or names[schema]
        return named.schema, named.namespace
    if isinstance(schema, Mapping) and not isinstance(schema["type"], str):
        return _resolve(schema["type"], namespace, names)
    if isinstance(schema, Mapping) and schema["type"] in names:
        return _resolve(schema["type"], namespace, names)
    return schema, namespace


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, Mapping) else schema)


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    name = str(schema["name"])
    if "." in name:
        return name
    space = schema.get("namespace", namespace)
    return f"{space}.{name}" if space else name


def _inner_ns(schema: Mapping[str, Any], namespace: str) -> str:
    return _full_name(schema, namespace).rpartition(".")[0]


def _same_name(reader: Mapping[str, Any], writer: Mapping[str, Any], reader_ns: str, writer_ns: str) -> bool:
    """Compare whole names. The specification lets the namespace differ; generated readers bind to it all the same."""
    name = _full_name(writer, writer_ns)
    inner = _inner_ns(reader, reader_ns)
    aliases = {alias if "." in alias or not inner else f"{inner}.{alias}" for alias in reader.get("aliases", ())}
    return name == _full_name(reader, reader_ns) or name in aliases


def _name_changed(reader: Any, writer: Any, path: str, reader_ns: str, writer_ns: str) -> Iterator[Incompatibility]:
    if not _same_name(reader, writer, reader_ns, writer_ns):
        names = f"{_full_name(writer, writer_ns)} is not {_full_name(reader, reader_ns)}"
        yield Incompatibility(path, "name-changed", names)


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
        return str(schema.get("name") or schema["type"])
    return str(schema)


def _titles(branches: Iterable[Any]) -> str:
    return ", ".join(_title(branch) for branch in branches)
