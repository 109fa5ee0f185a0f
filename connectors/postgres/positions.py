"""Positions of another server's WAL, in a database that came by a dump.

Owns that they are forgotten: compared with positions of this server they would say that a view shows a write which it
lacks. Refuses to judge anything else of such a database: change capture does, and halts.
"""

from __future__ import annotations

from connectors.postgres.connections import connect
from connectors.postgres.errors import translate
from runtime.settings import PostgresSettings

FORGET_FOREIGN = """
  update mv.watermarks
  set lsn = '0/0'
  where lsn > '0/0'
    and exists (
      select
      from ops.cdc_progress
      where slot = %s and system_id <> (select system_identifier::text from pg_control_system())
    )
"""


def forget_foreign(settings: PostgresSettings, slot: str) -> bool:
    """Let no view say how far it is, when it was another server that was captured with this slot. Whether any did."""
    with translate("compare servers"), connect(settings, "migrate", "owner", name="adriatic-migrate") as connection:
        return connection.execute(FORGET_FOREIGN, [slot]).rowcount > 0
