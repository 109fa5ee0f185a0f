"""Who may connect to the database tries to speak for a tenant, to halt change capture, and to fool the views.

Each attack is tried on the running system as each role of its server, with and without a tenant. Whatever the database
says to it, nobody's rows change, capture goes on, and status stays true.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from connectors.capture.store import HEARTBEAT_PREFIX
from runtime.settings import Role, Settings
from tests.system.conftest import Tenant, World, eventually
from topics import catalog

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ROLES = (*(role for role in get_args(Role) if role != "admin"), "registry")
"""The administrator is above the law: whoever has its password owns the database."""
MESSAGES = 1_100
"""More than the dead letters in a row that stop a topic."""

Connection = psycopg.Connection[Any]


def dsn(settings: Settings, role: str) -> str:
    if role != "registry":
        return settings.postgres.dsn(role)  # type: ignore[arg-type]  # one of its roles
    password = SecretStr(settings.stack.registry_password.get_secret_value())
    theirs = settings.postgres.model_copy(update={"admin_user": "registry", "admin_password": password})
    return theirs.dsn("admin")


def emit_messages(connection: Connection, victim: Tenant, job_id: str) -> None:
    """As an event was, when events were messages; in and outside a transaction, and a thousand that nobody can read."""
    event = {"tenant_id": victim.tenant_id, "id": job_id, "job_id": job_id, "state": "failed", "sequence": 10**6}
    for topic in catalog.load():
        content = json.dumps({"topic": topic, "key": event, "tenant_id": victim.tenant_id, "value": event})
        for transactional in (True, False):
            connection.execute("select pg_logical_emit_message(%s, 'outbox', %s)", [transactional, content])
    connection.execute(
        "select pg_logical_emit_message(true, prefix, content) from generate_series(1, %s), "
        "(values ('outbox', '\\xff00'::bytea), ('outbox', '{'), ('heartbeat', '\\xff')) as bad (prefix, content)",
        [MESSAGES],
    )


def beat_from_the_future(connection: Connection, victim: Tenant, job_id: str) -> None:
    del victim, job_id
    future_us = int((datetime.now(UTC) + timedelta(days=27_000)).timestamp() * 1_000_000)
    for content in (str(future_us), f"{uuid4().hex[:16]} {future_us}", "9" * 5_000, "-1", "", "x", "1e400"):
        for transactional in (True, False):
            connection.execute("select pg_logical_emit_message(%s, %s, %s)", [transactional, HEARTBEAT_PREFIX, content])


def emit_events(connection: Connection, victim: Tenant, job_id: str) -> None:
    event = json.dumps({"tenant_id": victim.tenant_id, "id": job_id, "job_id": job_id, "state": "failed"})
    (role,) = connection.execute("select current_user").fetchone() or ("",)
    # The flows serve every tenant: what they are there to say, they may say for each.
    theirs = (
        connection.execute("select topic from app.emitters where role = current_user").fetchall()
        if role == "adriatic_flows"
        else []
    )
    its_work = {topic for (topic,) in theirs}
    for topic in sorted({*catalog.load(), "no.such.topic"} - its_work):
        for statement in ("select app.emit(%s, %s, %s, %s)", "select app.emit_raw(%s, %s::text::bytea, %s, 'x')"):
            values = [topic, event, victim.tenant_id, event][: statement.count("%s")]
            with suppress(psycopg.Error), connection.transaction():
                connection.execute(statement, values)


SLOT = (
    "select pg_drop_replication_slot(slot_name) from pg_replication_slots",
    "select pg_logical_slot_get_changes(slot_name, null, null) from pg_replication_slots",
    "select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from pg_replication_slots",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'adriatic_cdc'",
)


JOBS = (
    "update app.jobs set state = 'failed' where job_id = %(job)s",
    "select app.emit_job_progress(%(tenant)s, %(job)s)",
)


def write_rows(connection: Connection, victim: Tenant, job_id: str) -> None:
    """The tables behind the rules, and what the rules are made of."""
    for statement in (
        "insert into app.outbox (topic, tenant_id, key, value, emitted_by, emitted_at) "
        "values ('job.progress', %(tenant)s, '{}', '{}', 'adriatic_flows', 'infinity')",
        "insert into app.outbox_rest (topic, tenant_id) values ('job.progress', %(tenant)s)",
        "update app.outbox set value = '{}'",
        "delete from app.outbox",
        "insert into app.emitters values (current_user, 'feed.documents')",
        # What a role is there for it can do: capture has the slot, and the agents work under the flows' role.
        *(SLOT if connection.info.user != "adriatic_cdc" else ()),
        *(JOBS if connection.info.user != "adriatic_flows" else ()),
    ):
        with suppress(psycopg.Error), connection.transaction():
            connection.execute(statement, {"tenant": victim.tenant_id, "job": job_id})


ATTACKS: tuple[Callable[[Connection, Tenant, str], None], ...] = (
    emit_messages,
    beat_from_the_future,
    emit_events,
    write_rows,
)


def attack(world: World, role: str, victim: Tenant, attacker: Tenant | None, job_id: str) -> int:
    """How many attacks the role could connect for."""
    tried = 0
    for each in ATTACKS:
        # A refusal is what should happen; who is let in must change nothing.
        with suppress(psycopg.Error), psycopg.connect(dsn(world.settings, role), autocommit=True) as connection:
            tried += 1
            if attacker is not None:
                connection.execute("select set_config('app.tenant_id', %s, false)", [attacker.tenant_id])
            each(connection, victim, job_id)
    return tried


@pytest.fixture
def victim(world: World, new_tenant: Callable[[], Tenant]) -> tuple[Tenant, str]:
    """A tenant with an ADR, a document and its job, all done."""
    tenant = new_tenant()
    tenant.create("# The heron\n\nIt waits.\n")
    answer = tenant.http.post(
        "/v1/documents", files={"file": ("heron.md", b"# Heron\n\nIt stands.\n", "text/markdown")}
    )
    assert answer.status_code in (201, 202), answer.text
    job_id = answer.json()["job_id"]
    eventually("its document is read", lambda: job(tenant, job_id)["state"] == "succeeded")
    eventually("status is ok", world.is_well, 120)
    return tenant, job_id


def job(tenant: Tenant, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = tenant.http.get(f"/v1/jobs/{job_id}").json()
    return found


def picture(tenant: Tenant, job_id: str) -> dict[str, Any]:
    """What the tenant has, as it sees it."""
    return {
        "job": {name: value for name, value in job(tenant, job_id).items() if name != "as_of"},
        "adrs": tenant.http.get("/v1/adrs").json()["items"],
        "documents": tenant.http.get("/v1/documents").json()["items"],
        "feeds": tenant.http.get("/v1/feeds").json()["items"],
    }


@pytest.mark.parametrize("role", ROLES)
def test_no_role_speaks_for_a_tenant_halts_capture_or_fools_a_view(
    world: World, new_tenant: Callable[[], Tenant], victim: tuple[Tenant, str], role: str
) -> None:
    tenant, job_id = victim
    before, letters, session = picture(tenant, job_id), world.dead_letters(), world.pid("cdc")
    tried = [attack(world, role, tenant, attacker, job_id) for attacker in (None, new_tenant())]
    assert tried == ([0, 0] if role == "registry" else [len(ATTACKS)] * 2)
    # Everything that was tried is behind this write in the WAL.
    adr_id = tenant.create(f"# The {role} heron\n\nIt flew over.\n")["adr_id"]
    eventually("capture goes on", lambda: adr_id in tenant.search("flew", "words"))
    eventually("status is ok", world.is_well, 120)
    assert world.pid("cdc") == session, "capture was not even started again"
    assert world.rows("select table_name from ops.cdc_tables where state = 'stopped'") == []
    shown = world.status()[1]["pipeline"]
    assert all(0 <= view["age_s"] < 60 for view in shown["views"]), "no view is fresh until the year 2100"
    assert world.rows("select count(*) from mv.watermarks where source_at > now() + interval '5 s'") == [(0,)]
    after = picture(tenant, job_id)
    assert after | {"adrs": [each for each in after["adrs"] if each["adr_id"] != adr_id]} == before
    assert world.dead_letters() == letters


LOCKS = (
    "lock table ops.cdc_lock in share mode nowait",
    "lock table ops.cdc_lock in access share mode nowait",
    "lock table ops.cdc_progress in exclusive mode nowait",
    "select * from ops.cdc_lock for update",
    "select pg_advisory_lock(n) from generate_series(-100, 100) n",
    "select pg_advisory_lock(hashtext(slot_name)), pg_advisory_lock(hashtextextended(slot_name, 0)) "
    "from pg_replication_slots",
)


def test_no_role_but_capture_s_own_keeps_it_from_running(world: World, tenant: Tenant) -> None:
    """Each tries to take what capture locks while it is dead, and keeps whatever it gets. The owner could as well drop
    the table."""
    with ExitStack() as held:
        killed = world.pid("cdc")
        os.kill(killed, signal.SIGKILL)
        for role in set(ROLES) - {"cdc", "owner"}:
            for statement in LOCKS:
                with suppress(psycopg.Error):
                    session = held.enter_context(psycopg.connect(dsn(world.settings, role)))
                    session.execute("set local lock_timeout = '5s'")
                    session.execute(statement)
        adr_id = tenant.create("# The locked heron\n\nIt flew through a door.\n")["adr_id"]
        eventually("capture goes on", lambda: adr_id in tenant.search("door", "words"), 120)
        assert world.pid("cdc") != killed
        eventually("status is ok", world.is_well, 120)
