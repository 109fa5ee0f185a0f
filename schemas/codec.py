"""Confluent's wire format: a zero byte, the schema's id (4 bytes, big-endian), the Avro body.

Owns encoding by a contract, decoding by whatever schema the bytes name (resolved to the contract, so that a reader sees
its own fields and their defaults), and the mapping of everything that can go wrong to `Undecodable`, `UnknownSchema`
and `Unencodable`. Refuses to talk to a registry: a `SchemaLookup` does (`connectors/registry.py`). What the JSON of
an outbox message means is in `schemas/outbox.py`.
"""

from __future__ import annotations

import io
import json
import struct
from typing import Any, Protocol

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException

from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import Undecodable, Unencodable, UnknownSchema
from runtime.memory import BoundedMemory
from schemas import catalog
from schemas.catalog import Schema
from schemas.compatibility import problems
from schemas.outbox import converter

MAGIC = 0
HEADER = struct.Struct(">BI")
"""Magic byte and schema id."""

WRITERS_MAX = 1024
"""Writers' schemas kept parsed by one decoder. Far more than one topic sees; bounds memory when ids are garbage."""
UNKNOWN_MAX = 1024
"""Unknown ids remembered by one decoder, so that a topic full of garbage does not become a registry full of
requests."""
UNKNOWN_S = 10.0
"""How long an id stays unknown, in seconds. A schema is registered before it is used, so an id seldom becomes known
later; when it does (a registry restored from a backup), this is how late we notice."""
DETAIL_CHARS_MAX = 200
"""Longest text about bytes that do not fit: names of schema, record and field, never a schema."""
NAME_CHARS_MAX = 60
"""Longest name of a record: anybody may have registered it, and what is wrong must still follow behind it."""
ERROR_CHARS_MAX = 120
"""Longest message of a library that we repeat: it may quote the value, and values do not belong into logs."""


class SchemaLookup(Protocol):
    """What a codec needs of a schema registry. May block; raises `DependencyUnavailable` when it cannot tell."""

    def schema(self, schema_id: int) -> Schema:
        """The schema with this id. Raises `UnknownSchema` only when the registry answered that there is none, and
        `Undecodable` when it is not an Avro schema."""
        ...

    def id_of(self, subject: str, schema: Schema) -> int:
        """The id under which `schema` is registered in `subject`."""
        ...


def header(schema_id: int) -> bytes:
    """The first five bytes of a record."""
    return HEADER.pack(MAGIC, schema_id)


def schema_id_of(data: bytes) -> int:
    """The schema id that a record names. Raises `Undecodable` when it is not in the wire format."""
    if len(data) < HEADER.size:
        raise Undecodable(f"{len(data)} bytes are too few for the wire format", hint="is the producer using Avro?")
    magic, schema_id = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Undecodable(f"the first byte is {magic:#04x}, not 0", hint="is the producer using Avro and the registry?")
    return int(schema_id)


class Encoder:
    """Values of one subject to bytes, by its contract. Asks the registry for the id once, at the first record."""

    def __init__(self, lookup: SchemaLookup, subject: str, schema: Schema | None = None) -> None:
        self.subject = subject
        self.schema = catalog.schema(subject) if schema is None else schema
        self._lookup = lookup
        self._parsed = _parse(self.schema)
        self._from_json = converter(self.schema)
        self._header: bytes | None = None

    def fetch_header(self) -> bytes:
        """The five bytes that every record of this encoder starts with. Asks the registry, unless it was asked."""
        if self._header is None:
            self._header = header(self._lookup.id_of(self.subject, self.schema))
        return self._header

    def encode(self, value: Any) -> bytes:
        """Fields that the schema does not have, and missing ones without a default, raise `Unencodable`."""
        out = io.BytesIO()
        out.write(self.fetch_header())
        try:
            fastavro.schemaless_writer(out, self._parsed, value, strict_allow_default=True)
        except Exception as error:  # fastavro raises whatever its writers meet: TypeError, struct.error, KeyError …
            raise Unencodable(
                f"the value does not fit {self.subject}: {_explain(error)}",
                hint=f"compare it with schemas/avro/{self.subject}.avsc",
            ) from error
        return out.getvalue()

    def encode_json(self, value: Any) -> bytes:
        """`encode` for a value that was parsed from the JSON of an outbox message."""
        return self.encode(self._from_json(value))


class Decoder:
    """Bytes to values. With a subject, values have the shape of its contract; without, of whoever wrote them.

    Timestamps come as aware datetimes, uuids as `UUID`. Not for use by several threads at once.
    """

    def __init__(self, lookup: SchemaLookup, subject: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._lookup = lookup
        self._subject = subject
        self._reader = _parse(catalog.schema(subject)) if subject else None
        self._writers = BoundedMemory[int, tuple[Any, Any]](WRITERS_MAX)
        self._unknown = BoundedMemory[int, bool](UNKNOWN_MAX, age_s_max=UNKNOWN_S, clock=clock)

    def decode(self, data: bytes) -> Any:
        """Raises `Undecodable` or `UnknownSchema`, which are this record's fault, and what the lookup raises."""
        schema_id = schema_id_of(data)
        writer, reader = self._schemas(schema_id)
        body = io.BytesIO(data)
        body.seek(HEADER.size)
        try:
            value = fastavro.schemaless_reader(body, writer, reader)
        except SchemaResolutionError as error:
            raise self._explain_unresolved(schema_id, writer, reader) from error
        except Exception as error:  # fastavro raises whatever its readers meet: EOFError, IndexError, UnicodeError …
            raise Undecodable(
                f"the bytes do not fit schema {schema_id} ({_name_of(writer)}): {_explain(error)}"[:DETAIL_CHARS_MAX],
                hint="the producer wrote with another schema than the one whose id it put in front",
                coordinates={"schema_id": schema_id},
            ) from error
        if (left := len(data) - body.tell()) > 0:
            raise Undecodable(
                f"{left} bytes are left over after schema {schema_id}", coordinates={"schema_id": schema_id}
            )
        return value

    def _explain_unresolved(self, schema_id: int, writer: Any, reader: Any) -> Undecodable:
        """The library's own message quotes both schemas whole."""
        wanted = self._subject or _name_of(reader)
        try:
            found = [problem for problem in problems(reader, writer) if problem.rule != "meaning-changed"]
        except (KeyError, TypeError, RecursionError):  # anybody's schema, and only its field's name is at stake
            found = []
        where = f": {found[0].rule} at {found[0].path or 'the top'}" if found else ""
        detail = f"schema {schema_id} ({_name_of(writer)}) cannot be read as {wanted}{where}"
        return Undecodable(
            detail[:DETAIL_CHARS_MAX],
            hint=f"produce with the contract, schemas/avro/{wanted}.avsc" if self._subject else "",
            coordinates={"schema_id": schema_id},
        )

    def _schemas(self, schema_id: int) -> tuple[Any, Any]:
        """The writer's schema, and the reader's to resolve it to. Resolving costs time, so it is left out (None) when
        the writer had this very contract."""
        if (known := self._writers.get(schema_id)) is not None:
            return known
        self._raise_if_unknown(schema_id)
        try:
            found = self._lookup.schema(schema_id)
        except UnknownSchema:
            self._require_own_contract()
            self._unknown.put(schema_id, True)
            raise
        writer = _parse_writer(schema_id, found)
        pair = (writer, None if writer == self._reader else self._reader)
        self._writers.put(schema_id, pair)
        return pair

    def _require_own_contract(self) -> None:
        """A registry that lost our own contract of the topic cannot say that a record is at fault: the lookup raises,
        which is an outage, and names the subject."""
        if self._subject is not None:
            self._lookup.id_of(self._subject, catalog.schema(self._subject))

    def _raise_if_unknown(self, schema_id: int) -> None:
        if self._unknown.get(schema_id):
            raise UnknownSchema(f"the registry has no schema {schema_id}", coordinates={"schema_id": schema_id})


def _parse(schema: Schema) -> Any:
    """fastavro's form of a schema. Parsed from a copy with its own names, so that two of them never get mixed up."""
    return fastavro.parse_schema(json.loads(json.dumps(schema)), named_schemas={})


def _parse_writer(schema_id: int, schema: Schema) -> Any:
    try:
        return _parse(schema)
    except (SchemaParseException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Undecodable(
            f"schema {schema_id} is not one that can be read: {_explain(error)}", coordinates={"schema_id": schema_id}
        ) from error


def _name_of(schema: Any) -> str:
    """A record's full name, or the kind of what is no record."""
    if isinstance(schema, dict):
        return str(schema.get("name") or schema.get("type"))[:NAME_CHARS_MAX]
    return schema[:NAME_CHARS_MAX] if isinstance(schema, str) else "union"


def _explain(error: Exception) -> str:
    """What went wrong, without the value: fastavro's messages for values quote them after "on field" or a colon."""
    name = type(error).__name__
    text = str(error).partition("\n")[0][:ERROR_CHARS_MAX]
    field = text.rpartition(" on field ")[2] if " on field " in text else ""
    if field:
        return f"{name} at {field}"
    safe = text.startswith(("record contains more", "Field "))  # these name fields only
    quotes = isinstance(error, (ValueError, TypeError)) and not safe
    return name if quotes else f"{name} {text}".strip()
