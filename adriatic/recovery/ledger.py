"""The row of `ops.recovery` that says how far a recovery is: read by everybody, written by the database's owner.

Owns its SQL and the lock that lets one recovery run at a time. Refuses to do a step.
"""

from __future__ import annotations

from typing import Any

from adriatic.recovery.steps import Recovery, Step
from connectors.postgres.connections import Session, connect
from connectors.postgres.errors import translate
from runtime.errors import Conflict
from runtime.settings import PostgresSettings

NAME = "adriatic-recover"
LOCK_ID = 0x0AD21B
"""Advisory lock of whoever recovers, until its connection ends."""

READ_UNFINISHED = """
  select number, asked_by, step, since, done, total
  from ops.recovery
  where finished_at is null
"""
_BEGIN = """
  insert into ops.recovery (asked_by)
  values (%s)
  on conflict ((true))
  where finished_at is null do nothing
"""
_SKIP_NUMBERS = """
  select setval(
    pg_get_serial_sequence('ops.recovery', 'number'), greatest((select max(number) from ops.recovery), 1)
  )
"""
"""A sequence that was set back would give a number twice."""
_ENTER = """
  update ops.recovery
  set step = %s, since = clock_timestamp(), done = 0, total = null
  where finished_at is null and step <> %s
"""
_AUDIT = """
  insert into ops.audit (actor, action, target, result, reason, detail)
  values (%s, 'recover', %s, %s, %s, jsonb_build_object('differences', %s::bigint))
"""


def read_unfinished(rows: list[tuple[Any, ...]]) -> Recovery | None:
    """What `READ_UNFINISHED` gives."""
    return Recovery(*rows[0]) if rows else None


def look(settings: PostgresSettings) -> Recovery | None:
    """The recovery that is under way, for whoever is no part of it."""
    with translate("look for a recovery"), connect(settings, "watch", name=NAME, autocommit=True) as connection:
        return read_unfinished(connection.execute(READ_UNFINISHED).fetchall())


class RecoveryRow(Session):
    """One session of the owner. Raises `Conflict` when another recovery runs."""

    reading = writing = "recover"

    def __init__(self, settings: PostgresSettings) -> None:
        super().__init__(connect(settings, "migrate", "owner", name=NAME, autocommit=True))

    def lock(self) -> None:
        (locked,) = self._row("select pg_try_advisory_lock(%s)", LOCK_ID)
        if not locked:
            raise Conflict("another `adriatic recover` is running", hint="`adriatic status` says how far it is")

    def begin(self, asked_by: str) -> Recovery:
        """The recovery that is under way, or a new one."""
        self._run(_SKIP_NUMBERS)
        self._run(_BEGIN, asked_by)
        found = self.read()
        assert found is not None
        return found

    def read(self) -> Recovery | None:
        return read_unfinished(self._rows(READ_UNFINISHED))

    def enter(self, step: Step) -> None:
        self._run(_ENTER, step, step)

    def note(self, done: int, total: int | None) -> None:
        """Say how far the step is."""
        self._run("update ops.recovery set done = %s, total = %s where finished_at is null", done, total)

    def finish(self, recovery: Recovery, differences: int) -> None:
        """All steps are done. With differences left it stays at its last step, so that nobody takes it for well."""
        result, reason = ("failed", "views differ") if differences else ("done", "")
        self._run(_AUDIT, recovery.asked_by, f"recovery {recovery.number}", result, reason, differences)
        if differences:
            return
        self._run("update ops.recovery set finished_at = clock_timestamp() where finished_at is null")

    def make_publication(self) -> None:
        """What capture reads, as the migrations say it, whatever somebody made of it."""
        self._run("call ops.make_publication()")

    def count_sessions(self) -> int:
        """Sessions of change capture that ever began."""
        (count,) = self._row("select count(*) from ops.cdc_sessions")
        return int(count)

    # --- who runs ---------------------------------------------------------------------------------------------------

    def find_running(self) -> list[str]:
        """Names of the sessions of processes that have not let go."""
        return [name for (name,) in self._rows(FIND_RUNNING)]


FIND_RUNNING = r"""
  select distinct application_name
  from pg_stat_activity
  where datname = current_database()
    and (application_name like 'adriatic-flow-%%' or application_name like 'adriatic-runs-%%')
  order by 1
"""
