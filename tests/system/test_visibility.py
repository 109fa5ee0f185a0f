"""A commit that is in the log before anybody can see it: forced, with a synchronous standby that answers late.

With one, Postgres hands a commit to change capture at once and shows it to other sessions only when the standby has
answered. A flow that looks in between finds nothing, and must not decide by that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runtime.ids import new_id
from runtime.settings import Settings
from tests.copies import running_system
from tests.standby import NAME, LateStandby

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PARTS = ("postgres", "kafka", "registry", "migrate", "topics", "schemas", "cdc", "index", "embed")
DELAY_S = 0.4
"""Far above what a record takes from the WAL to a flow, so that the flow is always first."""
ADRS = 12
SEARCHABLE_S_MAX = 300.0


@pytest.fixture
def settings() -> Iterator[Settings]:
    with running_system(only=PARTS) as made:
        yield made


def test_what_is_in_the_log_and_not_yet_visible_is_waited_for(settings: Settings) -> None:
    with psycopg.connect(settings.postgres.dsn("admin"), autocommit=True) as admin:
        tenant_id, log_id = _tenant(admin)
        with LateStandby(settings.postgres, DELAY_S):
            admin.execute(f"alter system set synchronous_standby_names = '{NAME}'")
            admin.execute("select pg_reload_conf()")
            _until(lambda: _rows(admin, "select sync_state from pg_stat_replication where application_name = %s", NAME),
                   [("sync",)])  # fmt: skip
            # The walsender says so before every session has heard of it.
            _until(lambda: _commits_wait(admin), True)
            for number in range(ADRS):
                began_s = time.monotonic()
                _write(admin, tenant_id, log_id, number)
                assert time.monotonic() - began_s >= DELAY_S / 2, "commits do not wait for the standby"
            searchable = "select count(*) filter (where meaning_version = words_version) from mv.search_state"
            _until(lambda: _rows(admin, searchable), [(ADRS,)])
            admin.execute("alter system reset synchronous_standby_names")
            admin.execute("select pg_reload_conf()")
        without = (
            "select count(*) from mv.chunks c left join mv.embeddings e using (tenant_id, text_hash) "
            "where e.text_hash is null"
        )
        assert _rows(admin, without) == [(0,)], "a vector is missing"
        assert _rows(admin, "select count(*) from ops.dlq") == [(0,)]


def _commits_wait(admin: psycopg.Connection[Any]) -> bool:
    began_s = time.monotonic()
    admin.execute("select pg_logical_emit_message(true, 'test', '')")
    return time.monotonic() - began_s >= DELAY_S / 2


def _tenant(admin: psycopg.Connection[Any]) -> tuple[Any, Any]:
    tenant_id, log_id = new_id(), new_id()
    admin.execute("insert into app.tenants (tenant_id, slug, name) values (%s, 'late', 'Late')", [tenant_id])
    admin.execute("insert into app.logs (tenant_id, log_id, slug, name) values (%s, %s, 'l', 'l')", [tenant_id, log_id])
    return tenant_id, log_id


def _write(admin: psycopg.Connection[Any], tenant_id: Any, log_id: Any, number: int) -> None:
    adr_id, title = new_id(), f"Decision {number}"
    with admin.transaction():
        admin.execute(
            "insert into app.adrs (tenant_id, adr_id, log_id, title, status, version, created_at, updated_at) "
            "values (%s, %s, %s, %s, 'accepted', 1, now(), now())",
            [tenant_id, adr_id, log_id, title],
        )
        admin.execute(
            "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, author, "
            "effective_at, recorded_at) values (%s, %s, 1, 'create', %s, 'accepted', %s, 'ada', now(), now())",
            [tenant_id, adr_id, title, f"# {title}\n\n## Context\n\nNumber {number} of its kind.\n"],
        )


def _rows(admin: psycopg.Connection[Any], query: Any, *values: Any) -> list[tuple[Any, ...]]:
    return admin.execute(query, values or None).fetchall()


def _until(look: Any, wanted: Any) -> None:
    deadline_s = time.monotonic() + SEARCHABLE_S_MAX
    while (found := look()) != wanted:
        assert time.monotonic() < deadline_s, f"{found}, not {wanted}"
        time.sleep(0.1)
