"""A record as people look at it: decoded, masked, selected, cut to columns.

Owns what `adriatic tap` shows of a record whatever is in it: a tombstone, bytes that are not Avro, a schema that nobody
knows are shown as such and never end the reading. Refuses I/O (the registry is behind the decoder that it is given),
and to decide what is personal data: the topic's file says so, and a topic without a file is masked as a whole.
Read next: `connectors/kafka/tap.py`, which reads the records.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import msgspec

from connectors.kafka.records import Record
from runtime.errors import DataError, InvalidInput
from schemas.codec import HEADER
from topics.catalog import DLQ_SUFFIX, Topic

MASKED = "•••"
"""What stands in the place of personal data."""
PREVIEW_BYTES = 32
"""How many bytes that cannot be decoded are shown, in hex. A masked preview ends after the wire format's header: the
schema."""
CELL_CHARS_MAX = 60
"""Width of one column in text. JSON is complete."""

Side = Literal["key", "value"]
SIDES: tuple[Side, ...] = ("key", "value")
FIELDS = ("topic", "partition", "offset", "timestamp", "headers", "key", "value", "errors")
"""Fields of a shown record, in the order of its JSON. A path that starts with none of them starts in the value."""


class ValueDecoder(Protocol):
    """`schemas.codec.Decoder`, by the schema of whoever wrote the bytes."""

    def decode(self, data: bytes) -> Any:
        """Raises `DataError` for what is the record's fault."""
        ...


@dataclass(frozen=True, slots=True)
class Masks:
    """What of a topic is hidden: fields of these names at any depth of key and value, and whole `sides`."""

    names: frozenset[str] = frozenset()
    sides: frozenset[Side] = frozenset()

    @classmethod
    def of(cls, name: str, topics: Mapping[str, Topic]) -> Masks:
        """Take the masks from the topic's file. Of dead letters the sides that it names are hidden whole, and in the
        other what the topic that they come from declares. Nobody declares anything of a topic without a file: all of it
        is hidden."""
        topic = topics.get(name)
        if topic is None:
            return cls(sides=frozenset(SIDES))
        if topic.kind != "dlq":
            return cls(frozenset(topic.pii))
        source = topics.get(name.removesuffix(DLQ_SUFFIX))
        return cls(frozenset(source.pii if source else ()), frozenset(side for side in SIDES if side in topic.pii))

    @property
    def any(self) -> bool:
        return bool(self.sides or self.names)

    def hide(self, side: Side, value: Any) -> Any:
        """`value` without personal data. A null stays a null: that nothing is there is not personal."""
        return MASKED if side in self.sides and value is not None else self._hide(value)

    def _hide(self, value: Any) -> Any:
        if type(value) is dict:  # what Avro decodes to; asking for a Mapping would cost more than the decoding
            return {
                name: MASKED if name in self.names and inner is not None else self._hide(inner)
                for name, inner in value.items()
            }
        if type(value) is list:
            return [self._hide(inner) for inner in value]
        return value

    def hides(self, path: str) -> bool:
        """Whether what `path` leads to may be hidden; a filter on it would tell what the mask does not."""
        root, *rest = _steps(path)
        return root in SIDES and (root in self.sides or not self.names.isdisjoint(rest))


NO_MASKS = Masks()


def show(record: Record, decoders: Mapping[Side, ValueDecoder], masks: Masks) -> dict[str, Any]:
    """The record with `FIELDS`. A tombstone is a null value without an error; what cannot be decoded is a null with an
    error that has the reason, the size and the first bytes. Raises what a decoder's registry raises."""
    errors: dict[str, Any] = {}
    sides = {"key": record.key, "value": record.value}
    decoded: dict[str, Any] = {}
    for side in SIDES:
        data = sides[side]
        try:
            decoded[side] = None if data is None else masks.hide(side, decoders[side].decode(data))
        except DataError as error:
            assert data is not None
            decoded[side] = None
            errors[side] = _undecodable(error, data, masks)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": _time(record.timestamp_ms),
        "headers": [[name, None if value is None else _text(value)] for name, value in record.headers],
        **decoded,
        "errors": errors,
    }


def _undecodable(error: DataError, data: bytes, masks: Masks) -> dict[str, Any]:
    preview = data[: HEADER.size if masks.any else PREVIEW_BYTES]
    return {"code": error.code, "detail": error.detail, "size_bytes": len(data), "hex": preview.hex()}


def _time(timestamp_ms: int | None) -> str | None:
    if timestamp_ms is None:
        return None
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a producer may write any number
        return str(timestamp_ms)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


# --- paths and filters ----------------------------------------------------------------------------------------------


def at(shown: Mapping[str, Any], path: str) -> Any:
    """What `path` leads to, or None. `after.title` is `value.after.title`; a number is an index; `headers.<name>` is
    the last header of that name, which may have dots."""
    root, *rest = _steps(path)
    if root == "headers" and rest:
        name = ".".join(rest)
        return next((value for key, value in reversed(shown["headers"]) if key == name), None)
    found: Any = shown[root]
    for step in rest:
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list | tuple) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def _steps(path: str) -> list[str]:
    steps = path.split(".")
    return steps if steps[0] in FIELDS else ["value", *steps]


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "~": lambda found, wanted: str(wanted) in str(found),
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
CONDITION = re.compile(r"(?P<path>[^=!<>~]+)(?P<how>!=|>=|<=|[=<>~])(?P<wanted>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """`path` compared with a text: as numbers when both are, else as texts. `null` is the null."""

    path: str
    how: str
    wanted: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        match = CONDITION.fullmatch(text)
        if match is None:
            raise InvalidInput(f"{text!r} is not a condition", hint="field=value, with =, !=, <, <=, >, >= or ~ (has)")
        return cls(match["path"].strip(), match["how"], match["wanted"].strip())

    def holds(self, shown: Mapping[str, Any]) -> bool:
        return self.compares(at(shown, self.path))

    def compares(self, found: Any) -> bool:
        if found is None or self.wanted == "null":
            same = found is None and self.wanted == "null"
            return same if self.how == "=" else self.how == "!=" and not same
        text = plain(found)
        pair: tuple[Any, Any] = (text, self.wanted)
        if self.how != "~":
            with suppress(ValueError):
                numbers = float(text), float(self.wanted)
                # Equal as floats, yet large integers may differ.
                pair = pair if numbers[0] == numbers[1] and _integers(*pair) else numbers
        return COMPARISONS[self.how](*pair)


def _integers(*texts: str) -> bool:
    return all(text.lstrip("-").isdigit() for text in texts)


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records are shown: all `conditions` hold, and the key is `key` (any of its fields, or `field=value`)."""

    conditions: tuple[Condition, ...] = ()
    key: str | None = None

    def refuse_hidden(self, masks: Masks) -> None:
        """A filter on what is masked would find it out. Raises `InvalidInput`."""
        paths = [condition.path for condition in self.conditions]
        if self.key is not None:
            name, equals, _ = self.key.partition("=")
            paths.append(f"key.{name}" if equals else "key")
        if hidden := [path for path in paths if masks.hides(path)]:
            raise InvalidInput(f"{', '.join(hidden)} is masked", hint="--unmask shows it, and lets you filter by it")

    def takes(self, record: Record, shown: Mapping[str, Any]) -> bool:
        return self._has_key(record, shown["key"]) and all(condition.holds(shown) for condition in self.conditions)

    def _has_key(self, record: Record, key: Any) -> bool:
        if self.key is None:
            return True
        name, equals, wanted = self.key.partition("=")
        if equals and isinstance(key, Mapping):
            return Condition(f"key.{name}", "=", wanted).compares(at({"key": key}, f"key.{name}"))
        return record.key == self.key.encode() or any(plain(leaf) == self.key for leaf in _leaves(key))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None:
        yield value


# --- text and JSON --------------------------------------------------------------------------------------------------


def as_json(value: Any) -> str:
    """One line. Bytes are base64, times ISO 8601, decimals texts, not-a-number null."""
    return msgspec.json.encode(value).decode()


def plain(value: Any) -> str:
    """A value as text: strings as they are, the rest as its JSON."""
    text = value if isinstance(value, str) else as_json(value)
    return text[1:-1] if not isinstance(value, str) and text.startswith('"') else text


def line(shown: Mapping[str, Any], width: int) -> str:
    """One record on one line: time, coordinates, key, value. Cut to `width` columns; 0 cuts nothing."""
    sides = [f"{side} {_side(shown, side)}" for side in SIDES]
    text = f"{shown['timestamp'] or '-':29} {shown['partition']}/{shown['offset']}  {'  '.join(sides)}"
    return _cut(printable(text), width)


def _side(shown: Mapping[str, Any], side: Side) -> str:
    if (error := shown["errors"].get(side)) is not None:
        return f"!{error['code']} ({error['detail']}) {error['size_bytes']} bytes {error['hex']}…"
    if shown[side] is None:
        return "tombstone" if side == "value" else "-"
    return as_json(shown[side])


def cells(shown: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """One cell a column; a column of a side that could not be decoded says so."""
    return [_cut(printable(_cell(shown, column)), CELL_CHARS_MAX) for column in columns]


def _cell(shown: Mapping[str, Any], column: str) -> str:
    root = _steps(column)[0]
    if root in shown["errors"]:
        return f"!{shown['errors'][root]['code']}"
    found = at(shown, column)
    return "" if found is None else plain(found)


def pick(shown: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """The columns by their names; for JSON."""
    return {column: at(shown, column) for column in columns}


def printable(text: str) -> str:
    """Replace characters that a terminal obeys: what somebody wrote must not move its cursor or change its title."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _cut(text: str, width: int) -> str:
    return text if not width or len(text) <= width else text[: width - 1] + "…"
