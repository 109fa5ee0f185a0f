"""The newest word of each job wins, whatever the order, and those that are over are bounded."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection, connect
from dataflows import job_status
from dataflows.flow import Event
from dataflows.usage import Usage
from runtime.settings import Settings

TENANTS = [uuid.UUID(int=number) for number in (1, 2)]
AT = datetime(2026, 3, 1, 9, tzinfo=UTC)


def said(tenant: uuid.UUID, job: int, sequence: int, state: str = "running", done: int = 0) -> Event:
    value = {
        "event_id": uuid.uuid4(),
        "tenant_id": tenant,
        "occurred_at": AT,
        "job_id": uuid.UUID(int=job),
        "job_kind": "reindex",
        "sequence": sequence,
        "state": state,
        "stage": "looking",
        "done": done,
        "total": None,
        "unit": "sources",
        "code": "",
        "message": "",
    }
    return Event(Record(job_status.TOPIC, 0, 0, 0, None, b""), value, job_status.TOPIC)


@pytest.fixture
def connection(fresh_database: Settings) -> Iterator[Connection]:
    with connect(fresh_database.postgres) as opened:
        yield opened
        opened.rollback()


def step(connection: Connection, events: list[Event]) -> None:
    flow = Usage()
    flow.apply(connection, flow.transform(events))


def shown(connection: Connection, tenant: uuid.UUID) -> list[Any]:
    query = "select job_id, sequence, state from mv.job_status where tenant_id = %s order by 1"
    return [(job_id.int, sequence, state) for job_id, sequence, state in connection.execute(query, [tenant])]


def test_a_batch_keeps_the_last_word_of_each_job() -> None:
    effects = Usage().transform([said(TENANTS[0], 2, 3, done=3), said(TENANTS[0], 2, 2), said(TENANTS[0], 1, 1)])
    assert [(status.job_id.int, status.sequence, status.done) for status in effects.jobs] == [(1, 1, 0), (2, 3, 3)]
    assert effects.spent == ()


@st.composite
def lives(draw: st.DrawFn) -> list[Event]:
    """Of some jobs, all that they said: some steps, and then perhaps an end."""
    events = []
    for tenant in TENANTS:
        for job in range(1, draw(st.integers(1, 5))):
            steps = draw(st.integers(1, 3))
            events += [said(tenant, job, sequence) for sequence in range(steps)]
            if draw(st.booleans()):
                events.append(said(tenant, job, steps, draw(st.sampled_from(job_status.FINISHED))))
    return events


@pytest.mark.stack
@settings(max_examples=40)
@given(events=lives(), data=st.data())
def test_any_repetition_ends_at_the_last_words_and_the_bound(
    connection: Connection, events: list[Event], data: st.DataObject
) -> None:
    connection.rollback()
    last = {(each.value["tenant_id"], each.value["job_id"].int): each.value for each in events}
    # An operator sets the offset back: what was read is read again, from some place on.
    events = events + events[data.draw(st.integers(0, len(events))) :]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(job_status, "FINISHED_MAX", 2)
        while events:
            size = data.draw(st.integers(1, 5))
            step(connection, events[:size])
            del events[:size]
    for tenant in TENANTS:
        own = [(job, value["sequence"], value["state"]) for (of, job), value in sorted(last.items()) if of == tenant]
        over = [row for row in own if row[2] in job_status.FINISHED]
        assert shown(connection, tenant) == [row for row in own if row not in over[:-2]]


@pytest.mark.stack
def test_old_news_changes_nothing(connection: Connection) -> None:
    step(connection, [said(TENANTS[0], 1, 5, "succeeded", done=9)])
    step(connection, [said(TENANTS[0], 1, 4)])
    assert shown(connection, TENANTS[0]) == [(1, 5, "succeeded")]


@pytest.mark.stack
def test_a_tenant_sees_its_own_jobs_and_the_api_writes_none(fresh_database: Settings, connection: Connection) -> None:
    step(connection, [said(tenant, 1, 1) for tenant in TENANTS])
    connection.commit()
    with psycopg.connect(fresh_database.postgres.dsn("api")) as api:
        assert api.execute("select count(*) from mv.job_status").fetchone() == (0,)
        api.execute("select set_config('app.tenant_id', %s, true)", [str(TENANTS[1])])
        assert api.execute("select tenant_id from mv.job_status").fetchall() == [(TENANTS[1],)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("delete from mv.job_status")
