"""Empties what is derived: tables of views, offsets, watermarks.

Owns the SQL, as the owner of the tables, in one transaction with the step that follows. Refuses everything that a user
wrote, dead letters, and what no log can give back (`KeptTable.outlives`). What needs the sight of all tenants is in
`accounts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from psycopg import errors, sql

from adriatic.recovery import accounts
from adriatic.recovery.ledger import NAME
from adriatic.recovery.steps import Log, list_emptied_tables, list_remade_topics
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from dataflows.catalog import flows
from runtime.errors import DependencyUnavailable
from runtime.settings import Settings
from topics import catalog

LOCK_MS_MAX: Final = 5_000
"""How long it waits for the readers of a view, in milliseconds; whoever comes after it waits behind it."""
NO_TOPIC: Final = "(being made anew)"
"""The topic of a watermark that never advances: while it is there, no view says how far it is."""
NO_PARTITION: Final = -1


def empty(settings: Settings, number: int, logs: Mapping[str, Log]) -> None:
    """Empty everything that is derived, and enter the next step. `logs`: what became of those that outsiders write to.

    Raises `Held` when a reader holds a view for too long: again is safe.
    """
    gone = [*list_remade_topics(catalog.load()), *(topic for topic, log in logs.items() if log == "other")]
    accounts.leave_logs(settings, number, gone)
    with (
        translate("empty what is derived"),
        connect(settings.postgres, "migrate", "owner", name=NAME, autocommit=True) as connection,
    ):
        try:
            with connection.transaction():
                _empty_tables(connection, [topic for topic, log in logs.items() if log == "same"])
        except errors.LockNotAvailable:
            raise _name_holders(connection) from None


def _list_tables() -> list[str]:
    return [*list_emptied_tables(), "ops.flow_progress"]


def _name_holders(connection: Connection) -> Held:
    holders = []
    for pid, user, *more in connection.execute(FIND_HOLDERS, [_list_tables()]).fetchmany(HOLDERS_MAX):
        # Postgres says the rest of another role's session to administrators alone.
        known = ", ".join(filter(None, [user, *more[:2], f"for {more[2]} s" if more[2] is not None else None]))
        holders.append(f"process {pid} of Postgres ({known})")
    return Held(
        f"waits for readers of the views: {', '.join(holders) or 'they have just ended'}",
        hint="end these transactions (`select pg_terminate_backend(<process>)`), then run it again",
    )


HIDE_VIEWS = """
  insert into mv.watermarks (view, topic, partition, lsn, source_at)
  select view, %s, %s, '0/0', to_timestamp(0)
  from unnest(%s::text[]) as views (view)
"""
ENTER_TOPICS = """
  update ops.recovery
  set step = 'topics', since = clock_timestamp(), done = 0, total = null
  where finished_at is null
"""


FIND_HOLDERS = """
  select distinct
    a.pid, a.usename, a.application_name, a.state,
    extract(epoch from clock_timestamp() - a.xact_start)::integer
  from pg_locks l
  join pg_stat_activity a using (pid)
  where l.relation = any (%s::regclass[]) and l.granted and a.pid <> pg_backend_pid()
  order by 5 desc, 1
"""
HOLDERS_MAX: Final = 5


class Held(DependencyUnavailable):
    """Somebody reads a view, in a transaction that does not end."""


def _empty_tables(connection: Connection, kept_topics: Sequence[str]) -> None:
    connection.execute("select set_config('lock_timeout', %s, true)", [str(LOCK_MS_MAX)])
    names = _list_tables()
    tables = sql.SQL(", ").join(sql.Identifier(*name.split(".")) for name in names)
    connection.execute(sql.SQL("truncate {}").format(tables))
    connection.execute("delete from ops.consumer_offsets where not topic = any(%s)", [list(kept_topics)])
    views = [view.name for flow in flows().values() for view in flow.views if not view.follows]
    connection.execute(HIDE_VIEWS, [NO_TOPIC, NO_PARTITION, views])
    connection.execute(ENTER_TOPICS)


ENTER_VERIFY = """
  with shown as (delete from mv.watermarks where topic = %s)
  update ops.recovery
  set step = 'verify', since = clock_timestamp(), done = 0, total = null
  where finished_at is null
"""


def show_views(settings: Settings) -> None:
    """Let the views say again how far they are, and enter the step after."""
    with translate("show the views"), connect(settings.postgres, "migrate", "owner", name=NAME) as connection:
        connection.execute(ENTER_VERIFY, [NO_TOPIC])
