"""The job `reindex`: requests that were lost are made again, and nothing else is."""

from __future__ import annotations

import uuid

import pytest

from connectors.postgres import jobs
from connectors.postgres.connections import connect
from dataflows import reindex
from tests.dataflows.world import Outbox, Version, World

pytestmark = pytest.mark.stack

LACKING = "select count(*) from mv.search_state where meaning_version is distinct from words_version"


def run(world: World, tenant_id: uuid.UUID) -> tuple[str, int, int]:
    """One job from its row to its end: state, done, steps."""
    kind, job_id, steps = reindex.Reindex(), uuid.uuid4(), 0
    world.rows(
        "with made as (insert into app.jobs (tenant_id, job_id, kind) values (%s, %s, 'reindex') returning 1) "
        "select * from made",
        tenant_id,
        job_id,
    )
    while True:
        with connect(world.settings.postgres) as connection:
            job = jobs.claim(connection, f"test-{uuid.uuid4()}", [kind.name], 1)
            assert job is not None
            progress = kind.apply(connection, job, kind.prepare(connection, job))
            jobs.advance(connection, job, progress, announce=True)
            if not progress.finished:
                jobs.release(connection, job)
        steps += 1
        if progress.finished:
            ((state, done),) = world.rows("select state, done from app.jobs where job_id = %s", job_id)
            return state, done, steps


def test_lost_requests_are_made_again_step_by_step(
    world: World, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex, "SOURCES_MAX", 3)
    tenant, other = uuid.uuid4(), uuid.uuid4()
    world.run_until_done(world.embed)
    world.versions(
        [
            Version(
                owner, uuid.uuid4(), 1, title=f"T{number}", body=f"# T{number}\n\nBecause {number}.\n", change="create"
            )
            for owner, count in ((tenant, 7), (other, 1))
            for number in range(count)
        ]
    )
    world.run_until_done(world.index)
    assert len(outbox.messages()) == 8  # read, and carried nowhere
    assert run(world, tenant) == ("succeeded", 7, 3)
    carried = [message for message in outbox.messages() if message["topic"] == "embeddings.requested.bulk"]
    assert {message["tenant_id"] for message in carried} == {str(tenant)}
    assert len(carried) == 7
    for message in carried:
        value = world.encoder(message["topic"]).encode_json(message["value"])
        world.produce(message["topic"], tenant, value)
    world.flush()
    world.run_until_done(world.embed)
    assert world.rows(LACKING + " and tenant_id = %s", tenant) == [(0,)]
    assert world.rows(LACKING) == [(1,)], "the other tenant's was not touched"
    assert run(world, tenant) == ("succeeded", 7, 3)
    assert [message["topic"] for message in outbox.messages() if message["topic"] != "job.progress"] == []
