"""Watermarks of another server are forgotten; those of this one stay."""

from __future__ import annotations

import pytest

from connectors.postgres.positions import forget_foreign
from runtime.settings import Settings
from tests import databases

pytestmark = pytest.mark.stack

_PROGRESS = """
  insert into ops.cdc_progress (slot, system_id, lsn, committed_at)
  select slot, case when slot = %s then 'another' else system_identifier::text end, '0/9', now()
  from pg_control_system(), unnest('{ours,theirs}'::text[]) slot
"""


@pytest.mark.parametrize(("slot_of_another", "left"), [("ours", "0/0"), ("theirs", "0/9")])
def test_positions_of_another_server_are_forgotten(fresh_database: Settings, slot_of_another: str, left: str) -> None:
    dsn = fresh_database.postgres.dsn("admin")
    databases.ask(dsn, "insert into mv.watermarks values ('activity', 't', 0, '0/9', now())")
    databases.ask(dsn, _PROGRESS, slot_of_another)
    assert forget_foreign(fresh_database.postgres, "ours") is (left == "0/0")
    assert databases.ask(dsn, "select lsn::text from mv.watermarks") == [(left,)]
    assert not forget_foreign(fresh_database.postgres, "ours"), "again is nothing"


def test_a_database_that_was_never_captured_has_none(fresh_database: Settings) -> None:
    assert not forget_foreign(fresh_database.postgres, "ours")
