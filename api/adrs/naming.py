"""How programs and models name an ADR: by its number and log, by its id, or by an address like `adr://main/12`.

Owns the reading of a name, and the way from a number to an ADR. Refuses to guess: where several logs have a number, the
error names them.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from uuid import UUID

from api.db import Connection
from runtime.errors import InvalidInput, NotFound

SCHEME: Final = "adr"
NAME_CHARS_MAX: Final = 200
"""Longest name: an address has a log of 63 characters and an id of 36."""
LOGS_NAMED_MAX: Final = 8
"""Logs that are named when a number is in several of them."""
NUMBER_MAX: Final = 2**31 - 1

_ADDRESS = re.compile(rf"{SCHEME}://(?P<log>[a-z0-9][a-z0-9-]{{0,62}})/(?P<name>[0-9a-f-]{{1,36}})")
_LABEL = re.compile(r"(?:adr[\s#_-]{0,3}|#)?0*(?P<number>\d{1,10})", re.IGNORECASE)

_FIND = """
  select a.adr_id, l.slug
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  where a.tenant_id = $1 and a.number = $2 and a.deleted_at is null and ($3::text is null or l.slug = $3)
  order by l.slug
  limit $4
"""


class AdrName(NamedTuple):
    """What a name means: an id, or a number. `log` None: whichever has the number."""

    adr_id: UUID | None
    number: int | None
    log: str | None


def address_of(log: str, number: int | None, adr_id: UUID) -> str:
    """The address of an ADR. One without a number is named by its id."""
    return f"{SCHEME}://{log}/{adr_id if number is None else number}"


def parse_name(name: str, log: str | None = None) -> AdrName:
    """Raises `InvalidInput` for what is no name."""
    name = name.strip()
    if address := _ADDRESS.fullmatch(name):
        name, log = address["name"], address["log"]
    try:
        return AdrName(UUID(name), None, log)
    except ValueError:
        label = _LABEL.fullmatch(name)
    if label is None or int(label["number"]) > NUMBER_MAX:
        raise InvalidInput(
            f"{name[:NAME_CHARS_MAX]!r} names no ADR", hint="name it by its label like ADR-12, its id, or its address"
        )
    return AdrName(None, int(label["number"]), log)


async def find(connection: Connection, tenant_id: UUID, name: AdrName) -> UUID:
    """The id of the ADR that is meant; whether there is one with an id is for its reader to say. Raises as
    `find_by_number` does."""
    if name.adr_id is not None:
        return name.adr_id
    assert name.number is not None
    return await find_by_number(connection, tenant_id, name.number, name.log)


async def find_by_number(connection: Connection, tenant_id: UUID, number: int, log: str | None) -> UUID:
    """The ADR of this number. Raises `NotFound`, and `InvalidInput` where several logs have one."""
    rows = await connection.fetch(_FIND, tenant_id, number, log, LOGS_NAMED_MAX)
    if not rows:
        raise NotFound(f"there is no ADR {number} here", hint="search_adrs finds records by words")
    if len(rows) > 1:
        logs = ", ".join(row["slug"] for row in rows)
        raise InvalidInput(f"several logs have an ADR {number}: {logs}", hint="name the log")
    found: UUID = rows[0]["adr_id"]
    return found
