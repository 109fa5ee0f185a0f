"""Schedules of crawls: one crawl when the time has come, whatever was missed, and none while one is not over."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from connectors.postgres.sink import TransactionalSink
from runtime.lifecycle import Lifecycle
from runtime.ops import Health
from schemas import jobs
from streams.crawling import schedules
from streams.crawling.schedules import CrawlSchedules, make_next
from tests.connectors.fetching.local_web import LocalWeb
from tests.streams.crawl_world import Crawls, page
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

HOUR = 3_600


def scheduled(
    bench: Bench, tenant: UUID, *, due_s_ago: float, url: str = "https://a.test/", every_s: int = HOUR
) -> UUID:
    schedule_id = uuid4()
    bench.rows(
        "insert into app.crawl_schedules (tenant_id, schedule_id, start_urls, hosts, include, exclude, depth_max, "
        "pages_max, bytes_max, seconds_max, gone_after, every_s, made_by, next_at) values (%s, %s, %s, '{a.test}', "
        "'{}', '{}', 2, 10, 1000000, 60, 2, %s, gen_random_uuid(), now() - %s * interval '1 s')",
        *(tenant, schedule_id, [url], every_s, due_s_ago),
    )
    return schedule_id


def look(bench: Bench) -> None:
    life = Lifecycle(Health())
    store = TransactionalSink(bench.settings.postgres, "test", life)
    try:
        CrawlSchedules(bench.settings, life).look(store)
    finally:
        store.close()


def one(bench: Bench, schedule_id: UUID) -> dict[str, Any]:
    names = "paused", "in_s", "last_crawl_id", "passed_over", "told"
    (row,) = bench.rows(
        "select paused, round(extract(epoch from next_at - now()))::int, last_crawl_id, passed_over, told "
        "from app.crawl_schedules where schedule_id = %s",
        schedule_id,
    )
    return dict(zip(names, row, strict=True))


def test_a_crawl_is_made_with_its_job_and_its_event_and_not_again_before_its_time(bench: Bench) -> None:
    tenant = bench.tenant()
    due = scheduled(bench, tenant, due_s_ago=10)
    later = scheduled(bench, bench.tenant(), due_s_ago=-100)
    look(bench)
    look(bench)
    ((crawl_id, job_id, urls, asked_by),) = bench.rows(
        "select crawl_id, job_id, start_urls, requested_by from app.crawls where tenant_id = %s", tenant
    )
    assert (urls, asked_by is None) == (["https://a.test/"], False)
    assert bench.rows("select kind, params, state from app.jobs where job_id = %s", job_id) == [
        ("crawl", {"crawl_id": str(crawl_id)}, "queued")
    ]
    told = bench.rows("select topic from app.outbox where tenant_id = %s order by event_id", tenant)
    assert told == [("crawl.submitted",), ("job.progress",)]
    found = one(bench, due)
    assert (found["last_crawl_id"], found["passed_over"], found["told"]) == (crawl_id, 0, "")
    assert HOUR - 60 < found["in_s"] <= HOUR - 10, "the times stay those that they were"
    assert one(bench, later)["last_crawl_id"] is None


def test_of_times_that_were_missed_one_is_made_up_for(bench: Bench) -> None:
    missed = scheduled(bench, bench.tenant(), due_s_ago=5 * HOUR + 600)
    look(bench)
    found = one(bench, missed)
    assert bench.rows("select count(*) from app.crawls") == [(1,)]
    assert found["passed_over"] == 5
    assert 0 < found["in_s"] <= HOUR - 600


def test_while_one_is_not_over_no_other_is_made(bench: Bench) -> None:
    tenant = bench.tenant()
    due = scheduled(bench, tenant, due_s_ago=1)
    look(bench)
    bench.rows("update app.crawl_schedules set next_at = now() - interval '1 s'")
    look(bench)
    found = one(bench, due)
    assert (found["passed_over"], found["told"]) == (1, "the crawl before is not over")
    assert bench.rows("select count(*) from app.crawls") == [(1,)]
    bench.rows("update app.jobs set state = 'failed', finished_at = now()")
    bench.rows("update app.crawl_schedules set next_at = now() - interval '1 s'")
    look(bench)
    assert (bench.rows("select count(*) from app.crawls"), one(bench, due)["told"]) == ([(2,)], "")


def test_paused_or_with_too_many_crawls_none_is_made_and_it_says_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "CRAWLS_OPEN_MAX", 2)
    tenant = bench.tenant()
    ids = [scheduled(bench, tenant, due_s_ago=100 - number) for number in range(4)]
    bench.rows("update app.crawl_schedules set paused = true where schedule_id = %s", ids[0])
    elsewhere = scheduled(bench, bench.tenant(), due_s_ago=1)
    look(bench)
    made = [one(bench, each)["last_crawl_id"] is not None for each in ids]
    assert made == [False, True, True, False]
    assert (one(bench, ids[0])["told"], one(bench, ids[0])["in_s"] <= -100) == ("", True)
    assert one(bench, ids[3])["told"] == "2 crawls of the tenant are not over"
    assert one(bench, elsewhere)["last_crawl_id"] is not None, "what one tenant has is nothing to another"
    assert jobs.CRAWLS_OPEN_MAX == 20


def test_two_processes_make_one_crawl_and_one_that_dies_makes_none(bench: Bench) -> None:
    life = Lifecycle(Health())
    due = scheduled(bench, bench.tenant(), due_s_ago=1)
    first, second = (TransactionalSink(bench.settings.postgres, name, life) for name in ("first", "second"))
    try:
        with suppress(ZeroDivisionError), first.transaction() as connection:
            assert make_next(connection) == "made"
            with second.transaction() as other:
                assert make_next(other) is None, "another process has it in hand"
            raise ZeroDivisionError  # it dies before it commits
        assert bench.rows("select count(*) from app.crawls") == [(0,)]
        looks = [threading.Thread(target=look, args=(bench,)) for _ in range(4)]
        for each in looks:
            each.start()
        for each in looks:
            each.join()
        assert bench.rows("select count(*) from app.crawls") == [(1,)]
        assert one(bench, due)["passed_over"] == 0
    finally:
        first.close()
        second.close()


def test_what_a_schedule_made_is_crawled_and_the_next_one_writes_only_what_changed(
    crawls: Crawls, local: LocalWeb
) -> None:
    bench, tenant = crawls.bench, crawls.bench.tenant()
    local.serve("a.test", "/", page("heron", "/one"))
    local.serve("a.test", "/one", page("otter"))
    due = scheduled(bench, tenant, due_s_ago=1, url=local.url("a.test"))
    with crawls.working("a.test"):
        for _ in range(2):
            look(bench)
            crawl_id = one(bench, due)["last_crawl_id"]
            ((crawls.job_of[crawl_id],),) = bench.rows("select job_id from app.crawls where crawl_id = %s", crawl_id)
            crawls.wait(crawl_id)
            local.serve("a.test", "/one", page("beaver"))
            bench.rows("update app.crawl_schedules set next_at = now() - interval '1 s'")
    assert crawls.versions(tenant) == [("/", 1, "create"), ("/one", 1, "create"), ("/one", 2, "update")]
