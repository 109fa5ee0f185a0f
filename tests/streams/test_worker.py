"""The worker on a real database: one end for each job, whatever happens to whoever does it."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from connectors.postgres import jobs
from connectors.postgres.connections import connect
from connectors.postgres.jobs import JobProgress
from runtime.errors import Fenced
from tests.dataflows.world import until
from tests.patience import PATIENCE_S
from tests.streams.world import COUNT, Bench

pytestmark = pytest.mark.stack


@pytest.mark.crash
def test_a_job_goes_on_after_kill_9_and_ends_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.job(bench.tenant(), steps=40, pause_s=0.05)
    first = bench.process(tmp_path / "first")
    until(lambda: len(bench.numbers(job)) >= 5)
    first.kill()
    first.wait(PATIENCE_S)
    held = len(bench.numbers(job))
    assert held < 40
    assert bench.state(job) == "running"
    bench.rows("update app.jobs set lease_until = now() where job_id = %s", job)  # instead of waiting for it
    second = bench.process(tmp_path / "second")
    until(lambda: bench.state(job) == "succeeded")
    assert bench.numbers(job) == list(range(1, 41))
    second.terminate()
    assert second.wait(PATIENCE_S) == 0


def test_a_worker_that_stops_gives_its_jobs_back(bench: Bench, tmp_path: Path) -> None:
    job = bench.job(bench.tenant(), steps=1_000, pause_s=0.02)
    process = bench.process(tmp_path / "log")
    until(lambda: len(bench.numbers(job)) >= 3)
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    assert bench.rows("select state, lease_owner, attempts from app.jobs") == [("running", None, 0)]


def test_slow_jobs_do_not_hold_up_another_tenant(bench: Bench) -> None:
    slow, other = bench.tenant(), bench.tenant()
    held = [bench.job(slow, steps=1_000, pause_s=0.1) for _ in range(8)]
    with bench.working():
        until(lambda: sum(len(bench.numbers(job)) > 0 for job in held) >= 2)
        quick = bench.job(other, steps=1)
        until(lambda: bench.state(quick) == "succeeded", wait_s=3)
        running = "select count(*) from app.jobs where tenant_id = %s and lease_until > now()"
        assert bench.rows(running, slow) <= [(2,)]


def test_a_running_job_is_cancelled_after_its_step(bench: Bench) -> None:
    job = bench.job(bench.tenant(), steps=1_000, pause_s=0.05)
    with bench.working():
        until(lambda: len(bench.numbers(job)) >= 2)
        bench.rows("update app.jobs set cancel_requested_at = now() where job_id = %s", job)
        until(lambda: bench.state(job) == "cancelled")
    assert bench.numbers(job) == list(range(1, len(bench.numbers(job)) + 1))
    assert len(bench.numbers(job)) < 1_000


@pytest.mark.parametrize(
    ("raises", "state", "code", "attempts"),
    [("data", "failed", "unprocessable", 1), ("bug", "failed", "unprocessable", 5)],
)
def test_what_raises_fails_with_its_reason(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, raises: str, state: str, code: str, attempts: int
) -> None:
    monkeypatch.setattr(jobs, "RETRY_FIRST_S", 0.01)
    job = bench.job(bench.tenant(), steps=1, raises=raises)
    with bench.working():
        until(lambda: bench.state(job) == state)
    ((error, tried),) = bench.rows("select last_error, sequence from app.jobs")
    assert error["code"] == code
    assert "secret" not in str(error)
    assert bench.rows("select attempts from app.jobs")[0][0] in (attempts - 1, attempts)
    assert tried >= attempts
    assert bench.numbers(job) == []


def test_an_outage_is_waited_for_and_counts_as_no_attempt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "OUTAGE_PAUSE_S", 0.01)
    job = bench.job(bench.tenant(), steps=2, raises="outage", times=12)
    with bench.working():
        until(lambda: bench.state(job) == "succeeded")
    assert bench.numbers(job) == [1, 2]


def test_who_lost_the_lease_writes_nothing(bench: Bench) -> None:
    tenant = bench.tenant()
    job_id = bench.job(tenant, steps=2)
    with connect(bench.settings.postgres) as connection:
        lost = jobs.claim(connection, f"a-{uuid4()}", [COUNT], 2)
        assert lost is not None
        connection.execute("update app.jobs set lease_until = now() - interval '1 s'")
        connection.commit()
        taken = jobs.claim(connection, f"b-{uuid4()}", [COUNT], 2)
        assert taken is not None
        assert (taken.job_id, taken.attempts) == (job_id, 1)
        connection.commit()
        for write in (
            lambda: jobs.advance(connection, lost, JobProgress("x", 1, 2, "steps"), announce=True),
            lambda: jobs.finish(connection, lost, "succeeded"),
            lambda: jobs.fail(connection, lost, ValueError(), 0),
        ):
            with pytest.raises(Fenced):
                write()
        jobs.release(connection, lost)
        connection.commit()
    assert bench.rows("select lease_owner from app.jobs") == [(taken.owner,)]


def test_what_kills_its_worker_each_time_fails_in_the_end(bench: Bench) -> None:
    job = bench.job(bench.tenant(), steps=1)
    with connect(bench.settings.postgres) as connection:
        for _ in range(jobs.ATTEMPTS_MAX):
            assert jobs.claim(connection, f"x-{uuid4()}", [COUNT], 2) is not None
            connection.execute("update app.jobs set lease_until = now() - interval '1 s'")
            connection.commit()
    with bench.working():
        until(lambda: bench.state(job) == "failed")
    assert bench.numbers(job) == []
