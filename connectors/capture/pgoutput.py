"""The messages of logical decoding plugin `pgoutput`, protocol version 1, from bytes to frozen values.

Owns the wire layout (PostgreSQL documentation, "Logical Replication Message Formats"). Refuses to do I/O, to know
types, or to remember anything: a tuple's values are the server's text as bytes, `None` for null, and `UNCHANGED` for a
TOASTed value that the update did not touch (R7). Next: `transport.py` delivers the bytes, `source.py` acts on the
values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, NamedTuple

from runtime.errors import Undecodable

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC, where Postgres' clock starts, in microseconds since 1970."""


class Unchanged(Enum):
    """The type of a value that is in the row, and not in the WAL."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

Cell = bytes | None | Unchanged
Tuple = tuple[Cell, ...]


class Begin(NamedTuple):
    commit_lsn: int
    committed_at_us: int
    """Microseconds since 1970, UTC."""
    xid: int


class Commit(NamedTuple):
    commit_lsn: int
    end_lsn: int
    """The first byte after the commit: what is acknowledged (R1)."""
    committed_at_us: int


class Origin(NamedTuple):
    commit_lsn: int
    name: str


class RelationColumn(NamedTuple):
    name: str
    type_oid: int
    type_modifier: int
    is_key: bool
    """Part of the replica identity."""


class Relation(NamedTuple):
    relation_id: int
    schema: str
    table: str
    identity: Literal["d", "n", "f", "i"]
    """Replica identity: default, nothing, full, index."""
    columns: tuple[RelationColumn, ...]

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


class Type(NamedTuple):
    type_oid: int
    schema: str
    name: str


class Insert(NamedTuple):
    relation_id: int
    new: Tuple


class Update(NamedTuple):
    relation_id: int
    old: Tuple | None
    """The row before, when the server sent something of it."""
    old_is_key: bool
    """`old` holds the replica identity's columns only; the others are null in it and mean nothing."""
    new: Tuple


class Delete(NamedTuple):
    relation_id: int
    old: Tuple
    old_is_key: bool


class Truncate(NamedTuple):
    relation_ids: tuple[int, ...]
    cascade: bool
    restart_identity: bool


class Message(NamedTuple):
    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Change = Insert | Update | Delete | Truncate
Decoded = Begin | Commit | Origin | Relation | Type | Change | Message

_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_RELATION_ID = struct.Struct(">I")
_COLUMN = struct.Struct(">Ii")
_INT16 = struct.Struct(">h")
_MESSAGE = struct.Struct(">BQ")
_LENGTH = struct.Struct(">I")
_TRUNCATE = struct.Struct(">IB")

_NULL, _TOAST, _TEXT = ord("n"), ord("u"), ord("t")
_NEW, _KEY, _OLD = ord("N"), ord("K"), ord("O")


def decode(data: bytes) -> Decoded:
    """One message. Raises `Undecodable` for a kind that protocol 1 does not have, or bytes that end too early."""
    try:
        reader = _READERS[data[0]]
    except (KeyError, IndexError):
        raise Undecodable(f"pgoutput message of unknown kind {data[:1]!r}") from None
    try:
        return reader(data)
    except (struct.error, IndexError, ValueError) as error:
        raise Undecodable(f"pgoutput message {data[:1]!r} of {len(data)} bytes does not decode: {error}") from error


def _begin(data: bytes) -> Begin:
    commit_lsn, at, xid = _BEGIN.unpack_from(data, 1)
    return Begin(commit_lsn, at + POSTGRES_EPOCH_US, xid)


def _commit(data: bytes) -> Commit:
    _flags, commit_lsn, end_lsn, at = _COMMIT.unpack_from(data, 1)
    return Commit(commit_lsn, end_lsn, at + POSTGRES_EPOCH_US)


def _origin(data: bytes) -> Origin:
    (lsn,) = struct.unpack_from(">Q", data, 1)
    return Origin(lsn, _text(data, 9)[0])


def _relation(data: bytes) -> Relation:
    (relation_id,) = _RELATION_ID.unpack_from(data, 1)
    schema, at = _text(data, 5)
    table, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _INT16.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        is_key = bool(data[at] & 1)
        name, at = _text(data, at + 1)
        type_oid, modifier = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        columns.append(RelationColumn(name, type_oid, modifier, is_key))
    # An empty schema name is how the server writes pg_catalog.
    return Relation(relation_id, schema or "pg_catalog", table, identity, tuple(columns))  # type: ignore[arg-type]


def _type(data: bytes) -> Type:
    (type_oid,) = _RELATION_ID.unpack_from(data, 1)
    schema, at = _text(data, 5)
    return Type(type_oid, schema or "pg_catalog", _text(data, at)[0])


def _insert(data: bytes) -> Insert:
    (relation_id,) = _RELATION_ID.unpack_from(data, 1)
    _expect(data[5], _NEW)
    return Insert(relation_id, _tuple(data, 6)[0])


def _update(data: bytes) -> Update:
    (relation_id,) = _RELATION_ID.unpack_from(data, 1)
    kind = data[5]
    old = None
    at = 5
    if kind in (_KEY, _OLD):
        old, at = _tuple(data, 6)
    _expect(data[at], _NEW)
    return Update(relation_id, old, kind == _KEY, _tuple(data, at + 1)[0])


def _delete(data: bytes) -> Delete:
    (relation_id,) = _RELATION_ID.unpack_from(data, 1)
    _expect(data[5], _KEY, _OLD)
    return Delete(relation_id, _tuple(data, 6)[0], data[5] == _KEY)


def _truncate(data: bytes) -> Truncate:
    count, flags = _TRUNCATE.unpack_from(data, 1)
    return Truncate(struct.unpack_from(f">{count}I", data, 1 + _TRUNCATE.size), bool(flags & 1), bool(flags & 2))


def _message(data: bytes) -> Message:
    flags, lsn = _MESSAGE.unpack_from(data, 1)
    end = data.index(0, 1 + _MESSAGE.size)
    # Anybody may write one: bytes that are no text are no reason to end.
    prefix, at = data[1 + _MESSAGE.size : end].decode("utf-8", "replace"), end + 1
    (length,) = _LENGTH.unpack_from(data, at)
    at += _LENGTH.size
    content = data[at : at + length]
    if len(content) != length:
        raise ValueError("the content is cut short")
    return Message(bool(flags & 1), lsn, prefix, content)


def _expect(kind: int, *allowed: int) -> None:
    if kind not in allowed:
        raise ValueError(f"tuple of kind {chr(kind)!r}")


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A zero-terminated string, and where it ends."""
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _tuple(data: bytes, at: int) -> tuple[Tuple, int]:
    """TupleData. The hot loop of decoding: about 0.3 µs a column."""
    (count,) = _INT16.unpack_from(data, at)
    at += 2
    cells: list[Cell] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == _TEXT:
            start = at + 4
            at = start + int.from_bytes(data[at:start], "big")
            cells.append(data[start:at])
        elif kind == _NULL:
            cells.append(None)
        elif kind == _TOAST:
            cells.append(UNCHANGED)
        else:
            raise ValueError(f"column of kind {chr(kind)!r}; was `binary` switched on?")
    if at > len(data):
        raise ValueError("the last column is cut short")
    return tuple(cells), at


_READERS: dict[int, Callable[[bytes], Decoded]] = {
    ord("B"): _begin,
    ord("C"): _commit,
    ord("O"): _origin,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("M"): _message,
}
