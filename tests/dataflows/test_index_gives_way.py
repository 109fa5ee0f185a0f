"""A graph that is built holds back the WAL that slots keep, and gives way before one of them is lost."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from connectors.postgres import vector_indexes
from connectors.postgres.connections import Connection, connect
from connectors.postgres.vector_indexes import Did, step
from connectors.postgres.wal import read_share_left
from runtime.settings import Settings
from tests.dataflows.test_vector_indexes import LARGE, RULES, Shelf, shelf

__all__ = ["shelf"]
pytestmark = pytest.mark.stack

SLOW = """
  create or replace function mv.build_vector_graph(slot integer, dimension integer, memory_mb integer) returns void
  language sql
  return pg_sleep(120)
"""
FIND_DEFINITION = "select pg_get_functiondef('mv.build_vector_graph'::regproc)"


def _advance(settings: Settings, until: Did | None) -> list[Did | None]:
    """Steps as the agent takes them, up to this one, or until there is nothing to do."""
    done: list[Did | None] = []
    while not done or done[-1] not in {until, None}:
        with connect(settings.postgres, name="test") as connection:
            done.append(step(connection, RULES, lambda: connect(settings.postgres, name="slots", autocommit=True)))
    return done


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is left for slots at each look; the last one stays."""
    shares: list[float] = [1.0]

    def look(_: Connection) -> float:
        return shares.pop(0) if len(shares) > 1 else shares[0]

    monkeypatch.setattr(vector_indexes, "read_share_left", look)
    monkeypatch.setattr(vector_indexes, "LOOK_AT_SLOTS_S", 0.05)
    return shares


def test_a_build_gives_way_when_slots_have_little_left(shelf: Shelf, left: list[float]) -> None:
    settings, tenant_id = shelf.settings, shelf.tenant(LARGE)
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as admin:
        ((definition,),) = admin.execute(FIND_DEFINITION).fetchall()
        admin.execute(SLOW)
        left[:] = [0.6, 0.5, 0.3, 0.2]
        assert _advance(settings, "gave-way")[-1] == "gave-way"
        assert shelf.states() == [(tenant_id, "building", LARGE * 3, 0)], "as it was"
        admin.execute(definition)
    assert _advance(settings, "built") == [None], "it is not begun again at once"
    shelf.put(tenant_id, 5)
    left[:] = [0.5]
    assert _advance(settings, None) == ["built", "live", "measured", None]
    assert shelf.recall(tenant_id, "index") >= 0.98


def test_what_is_cancelled_by_somebody_else_did_not_give_way(shelf: Shelf, left: list[float]) -> None:
    shelf.tenant(LARGE)
    with psycopg.connect(shelf.settings.postgres.dsn("admin"), autocommit=True) as admin:
        admin.execute(SLOW.replace("pg_sleep(120)", "pg_cancel_backend(pg_backend_pid())::text::void"))
        with pytest.raises(psycopg.errors.QueryCanceled):
            _advance(shelf.settings, "built")


def test_the_share_that_is_left_is_read_of_slots(fresh_database: Settings) -> None:
    name = f"t{uuid4().hex}"
    with psycopg.connect(fresh_database.postgres.dsn("admin"), autocommit=True) as admin:
        admin.execute("select pg_create_physical_replication_slot(%s, true)", [name])
        try:
            with connect(fresh_database.postgres, name="test") as connection:
                share: Any = read_share_left(connection)
            assert 0 < share < 1.1, "the segment that is being written counts as well"
        finally:
            admin.execute("select pg_drop_replication_slot(%s)", [name])
