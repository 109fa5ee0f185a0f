"""What a row of a live view looks like, the same from the table and from the topic.

Owns the way from a row of asyncpg, and from a decoded record of change capture, to the same JSON. Pure, but for
`read`, which reads a view's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal

import msgspec
from psycopg import sql

from api.db import Connection
from runtime.errors import TooLarge
from schemas.flows import KeptView

ROWS_MAX = 20_000
"""Rows of one tenant in one view. A live read is what a page shows; more is for a consumer of the topic."""
PAGE_ROWS_MAX = 500
PAGE_BYTES_MAX = 262_144
"""Size of one `snapshot` event, unless one row is larger. Clients hold an event in memory before they see it."""

Convert = Callable[[Any], Any]
_EPOCH = date(1970, 1, 1)
_ENCODER = msgspec.json.Encoder()


_READ = sql.SQL("select {columns} from {table} where tenant_id = $1 order by {key} limit $2")


@cache
def statement_of(view: KeptView) -> str:
    """The query for a view's rows, of the names that it declares."""
    columns, key = (sql.SQL(", ").join(map(sql.Identifier, names)) for names in (view.shown, view.key))
    return _READ.format(columns=columns, table=sql.Identifier(*view.table.split(".")), key=key).as_string(None)


async def read(connection: Connection, view: KeptView, tenant_id: Any, rows_max: int = ROWS_MAX) -> list[bytes]:
    """The rows of the tenant as JSON, by key. Raises `TooLarge` when they are too many."""
    statement = await connection.prepare(statement_of(view))
    json_columns = {each.name for each in statement.get_attributes() if each.type.name in ("json", "jsonb")}
    found = await statement.fetch(tenant_id, rows_max + 1)
    if len(found) > rows_max:
        raise TooLarge(
            f"{view.name} has more than {rows_max} rows for this tenant",
            hint=f"read its topic with a consumer: it has every row of {view.table}",
        )
    return [_ENCODER.encode(_read_row(row, json_columns)) for row in found]


def _read_row(row: Mapping[str, Any], json_columns: set[str]) -> dict[str, Any]:
    return {name: _json(value) if name in json_columns else value for name, value in row.items()}


def paginate(rows: Sequence[bytes]) -> list[bytes]:
    """JSON arrays of at most a page each; one that is empty when there is no row."""
    found: list[bytes] = []
    page: list[bytes] = []
    size = 0
    for row in rows:
        if page and (len(page) == PAGE_ROWS_MAX or size + len(row) > PAGE_BYTES_MAX):
            found.append(b"[" + b",".join(page) + b"]")
            page, size = [], 0
        page.append(row)
        size += len(row)
    found.append(b"[" + b",".join(page) + b"]")
    return found


class RowDelta(msgspec.Struct, frozen=True):
    """One change. The columns that an update left out, as they did not change, are not in `row`."""

    op: Literal["upsert", "delete"]
    key: dict[str, Any]
    row: dict[str, Any] | None


def encode_delta(view: KeptView, envelope: Mapping[str, Any], converters: Mapping[str, Convert]) -> bytes:
    """One change as JSON, from change capture's envelope. `converters`: of `find_converters` its schema."""
    if envelope["op"] == "d":
        return _ENCODER.encode(RowDelta("delete", _pick(view.key, envelope["before"], converters), None))
    unchanged = set(envelope.get("unchanged") or ())
    names = [name for name in view.shown if name not in unchanged]
    row = _pick(names, envelope["after"], converters)
    return _ENCODER.encode(RowDelta("upsert", {name: row[name] for name in view.key}, row))


def _pick(names: Sequence[str], row: Mapping[str, Any], converters: Mapping[str, Convert]) -> dict[str, Any]:
    """A column that the writer's schema does not have is null: it was added later."""
    return {name: converters[name](row.get(name)) if name in converters else row.get(name) for name in names}


def find_converters(schema: Mapping[str, Any]) -> dict[str, Convert]:
    """Find for each column of an envelope's row how its Avro value becomes what the table would give."""
    before = next(field["type"] for field in schema["fields"] if field["name"] == "before")
    row = next(branch for branch in before if isinstance(branch, dict))
    found: dict[str, Convert] = {}
    for field in row["fields"]:
        branches = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for branch in branches:
            meaning = str(branch.get("connect.name", "")).rpartition(".")[2] if isinstance(branch, dict) else ""
            if meaning in _BY_MEANING:
                found[field["name"]] = _BY_MEANING[meaning]
    return found


def _timestamp(value: Any) -> Any:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:  # infinity, and years that Python has no word for
        return value


def _date(value: Any) -> Any:
    return None if value is None else _EPOCH + timedelta(days=value)


def _json(value: Any) -> Any:
    return None if value is None else msgspec.Raw(value.encode())


_BY_MEANING: dict[str, Convert] = {"ZonedTimestamp": _timestamp, "Date": _date, "Json": _json}
