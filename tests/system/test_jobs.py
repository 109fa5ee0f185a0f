"""A job on the running system: asked for over HTTP, heard of through the log, done, and heard of by whoever listens."""

from __future__ import annotations

import pytest

from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack


def test_a_job_that_is_asked_for_is_done(world: World, tenant: Tenant) -> None:
    made = tenant.create("# Use a log\n\nBecause order matters.\n")
    eventually("findable by words", lambda: made["adr_id"] in tenant.search("order", mode="words"))
    heard = "select coalesce(sum(next_offset), 0) from ops.consumer_offsets where flow = 'jobs'"
    ((before,),) = world.rows(heard)
    answer = tenant.http.post("/v1/jobs", json={"kind": "reindex"})
    assert answer.status_code == 201, answer.text
    address = answer.headers["location"]
    job = eventually(
        "the job is over", lambda: (seen := tenant.http.get(address).json())["state"] == "succeeded" and seen
    )
    assert (job["done"], job["total"], job["unit"], job["last_error"]) == (1, 1, "sources", None)
    eventually("the announcement was heard", lambda: world.rows(heard)[0][0] > before)
    assert world.dead_letters() == 0
