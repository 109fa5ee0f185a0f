"""From a question to the sums: the ledger's row through the log into every aggregate, over HTTP and in the terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack


def test_a_question_is_in_every_sum_and_in_the_topics(world: World, tenant: Tenant) -> None:
    made = tenant.create("# Count the herons\n\nEvery spring.\n")
    eventually("findable", lambda: made["adr_id"] in tenant.search("herons", mode="words"))
    for _ in range(3):
        assert "event: done" in tenant.http.post("/v1/chat/stream", json={"question": "When are herons counted?"}).text

    def counted() -> Any:
        shown = tenant.http.get("/v1/usage").json()
        return shown["totals"]["attempts"] == 3 and shown

    shown = eventually("three attempts are counted", counted)
    assert (shown["totals"]["completed"], shown["totals"]["unpriced"]) == (3, 0)
    assert shown["totals"]["cost_micro_usd"] == 0, "that no model is asked is a price"
    for by in ("hour", "day", "model", "user", "key"):
        rows = tenant.http.get("/v1/usage", params={"by": by}).json()["rows"]
        assert sum(row["spent"]["attempts"] for row in rows) == 3, by
    table = world.run("usage", "--by", "model", "--tenant", tenant.slug)
    assert "extractive" in table.stdout
    assert "$0.000000" in table.stdout
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    told = json.loads(world.run("usage", "--from", today, "--tenant", tenant.slug, "--json").stdout)
    assert told["totals"]["attempts"] == 3
    tapped = world.run(
        *("tap", "adriatic.mv.usage_by_day", "--from", "beginning", "--limit", "1000", "--json"),
        *("--key", f"tenant_id={tenant.tenant_id}"),
    )
    last = json.loads(tapped.stdout.splitlines()[-1])
    assert last["value"]["after"]["attempts"] == 3
    assert world.run("verify", "--tenant", tenant.slug).returncode == 0


def test_what_jobs_are_at_follows_what_they_say(world: World, tenant: Tenant) -> None:
    made = tenant.create("# Use a log\n\nBecause order matters.\n")
    eventually("findable by words", lambda: made["adr_id"] in tenant.search("order", mode="words"))
    job = tenant.http.post("/v1/jobs", json={"kind": "reindex"}).json()["job_id"]
    status = "select state, done, total, unit from mv.job_status where tenant_id = %s and job_id = %s"
    end = ("succeeded", 1, 1, "sources")
    eventually("its end is known", lambda: world.rows(status, tenant.tenant_id, job) == [end])
    assert world.run("verify", "--tenant", tenant.slug).returncode == 0


def test_a_reader_may_wait_for_its_own_write_to_be_counted(tenant: Tenant) -> None:
    answer = tenant.http.post("/v1/adrs", json={"body": "# Count the herons\n\nEvery spring.\n"})
    position = {"adriatic-position": answer.headers["adriatic-position"]}
    feed = tenant.http.get("/v1/activity", headers=position).json()["items"]
    assert [one["adr_id"] for one in feed] == [answer.json()["adr_id"]]
    counts = tenant.http.get("/v1/counts", headers=position).json()["items"]
    assert {"kind": "versions", "label": "create", "count": 1} in counts
    days = tenant.http.get("/v1/daily-active-users", headers=position).json()["items"]
    assert days == [{"day": f"{datetime.now(UTC):%Y-%m-%d}", "users": 1}]
    assert tenant.http.get("/v1/usage", headers=position).json()["totals"]["attempts"] == 0
