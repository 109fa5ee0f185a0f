"""How far the database's WAL is and what a slot holds of it: the only statements that ask, for both drivers.

Owns what "now" means: the insert position, which is at or after every commit that anybody can see; the write position
may be behind one that was not waited for. Refuses to compare positions with anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.postgres.lsn import parse

if TYPE_CHECKING:  # the API has the other driver
    from connectors.postgres.connections import Connection

SELECT_NOW = """
  select pg_current_wal_insert_lsn()::text as wal, pg_current_snapshot()::text as snapshot
"""
SELECT_SLOT = """
  select
    coalesce(plugin, ''), coalesce(database, ''), active_pid, coalesce(confirmed_flush_lsn, '0/0')::text,
    coalesce(wal_status, 'lost'), (pg_current_wal_insert_lsn() - restart_lsn)::bigint, safe_wal_size
  from pg_replication_slots
  where slot_name = %s
"""
SELECT_SHARE_LEFT = """
  select min(safe_wal_size)::float8 / pg_size_bytes(current_setting('max_slot_wal_keep_size'))
  from pg_replication_slots
"""


@dataclass(frozen=True, slots=True)
class SlotState:
    """A row of pg_replication_slots."""

    plugin: str
    database: str
    active_pid: int | None
    confirmed: int
    """Everything committed before this was acknowledged by somebody."""
    wal_status: str
    """reserved, extended, unreserved, lost."""
    wal_bytes: int | None
    """WAL that the server keeps for it; None when it keeps none."""
    safe_bytes: int | None = None
    """WAL that may still be written before the slot is lost; None without a bound."""


def read_position(connection: Connection) -> str:
    """The position now, as Postgres' text."""
    ((wal, _),) = connection.execute(SELECT_NOW).fetchall()
    return str(wal)


def read_slot(connection: Connection, name: str) -> SlotState | None:
    """None when there is no such slot."""
    row = connection.execute(SELECT_SLOT, [name]).fetchone()
    if row is None:
        return None
    plugin, database, pid, confirmed, *figures = row
    return SlotState(plugin, database, pid, parse(confirmed), *figures)


def read_share_left(connection: Connection) -> float | None:
    """The share of the WAL that slots may keep which may still be written before the first of them is lost; None
    without a bound, and without slots."""
    ((share,),) = connection.execute(SELECT_SHARE_LEFT).fetchall()
    return None if share is None else float(share)
