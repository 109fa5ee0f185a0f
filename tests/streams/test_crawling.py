"""Crawls of a local web by a real worker, with the real fetcher, parser and database."""

from __future__ import annotations

import asyncio
import gzip
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connectors.postgres.connections import connect
from connectors.postgres.retention import forget_old
from streams.crawling import frontier, turns
from tests.connectors.fetching.local_web import FORBIDDEN, LocalWeb, html
from tests.connectors.postgres.ages import kept_for
from tests.dataflows.world import until
from tests.patience import PATIENCE_S
from tests.streams.crawl_world import Crawls, about, answer, page

pytestmark = pytest.mark.stack

MICROSECOND_S = 1e-6
"""A timestamp of Postgres is no finer."""


def states(crawls: Crawls, crawl: Any) -> dict[str, str]:
    return {path: state for path, (state, _) in crawls.found(crawl).items()}


def test_two_levels_of_a_site_become_pages_with_versions_and_an_event(crawls: Crawls, local: LocalWeb) -> None:
    tenant = crawls.bench.tenant()
    local.serve("a.test", "/", page("heron", "/one", "/two#x", "/one?utm_source=y", "http://elsewhere.test/"))
    local.serve("a.test", "/one", page("otter", "/deep", "/"))
    local.serve("a.test", "/two", page("beaver"))
    local.serve("a.test", "/deep", page("salmon", "/deeper"))
    with crawls.working("a.test"):
        crawl = crawls.run(tenant, local.url("a.test"), depth_max=2)
    assert states(crawls, crawl) == dict.fromkeys(("a.test/", "a.test/one", "a.test/two", "a.test/deep"), "stored")
    assert local.paths("a.test") == ["/", "/one", "/two", "/deep"]
    assert crawls.one(crawl, "asked, stopped") == (4, "")
    bodies = dict(crawls.bench.rows("select title, body from app.page_versions"))
    assert set(bodies) == {"The heron", "The otter", "The beaver", "The salmon"}
    assert "The otter of river 856 fishes" in bodies["The otter"]
    assert "elsewhere.test" not in str(local.asked)
    (event,) = crawls.bench.rows("select key, value from app.outbox where topic = 'crawl.completed'")
    assert event[0] == {"tenant_id": str(tenant), "id": str(crawl)}
    assert (event[1]["asked"], event[1]["stored"], event[1]["stopped"]) == (4, 4, "")
    progress = crawls.bench.rows(
        "select value from app.outbox where topic = 'job.progress' order by (value ->> 'sequence')::int"
    )
    last = progress[-1][0]
    assert (last["state"], last["stage"], last["done"], last["unit"]) == ("succeeded", "nothing is left", 4, "pages")


def test_a_crawl_again_writes_only_what_changed_and_deletes_what_was_gone_often_enough(
    crawls: Crawls, local: LocalWeb
) -> None:
    tenant = crawls.bench.tenant()
    served: dict[str, int] = Counter()

    async def versioned(request: web.Request) -> web.Response:
        served[request.headers.get("If-None-Match", "")] += 1
        if request.headers.get("If-None-Match") == '"v1"':
            return web.Response(status=304)
        return html(about("otter", "/far"), "The otter") if not request.headers.get("x") else web.Response()

    async def tagged(request: web.Request) -> web.StreamResponse:
        response = await versioned(request)
        response.headers["ETag"] = '"v1"'
        return response

    local.serve("a.test", "/", page("heron", "/same", "/changes", "/goes", "/unlinked"))
    local.serve("a.test", "/same", tagged)
    local.serve("a.test", "/far", page("perch"))
    local.serve("a.test", "/changes", page("beaver"))
    local.serve("a.test", "/goes", page("salmon"))
    local.serve("a.test", "/unlinked", page("trout"))
    with crawls.working("a.test"):
        crawls.run(tenant, local.url("a.test"))
        before = crawls.versions(tenant)
        assert [version for _, version, _ in before] == [1] * 6

        local.serve("a.test", "/", page("heron", "/same", "/changes", "/goes"))
        local.serve("a.test", "/changes", page("badger"))
        local.serve("a.test", "/goes", answer(404))
        second = crawls.run(tenant, local.url("a.test"))
        assert served == {"": 1, '"v1"': 1}
        changed = sorted([*before, ("/changes", 2, "update")])
        assert crawls.versions(tenant) == changed, "a menu is not the text of a page"
        found = states(crawls, second)
        assert found["a.test/same"] == found["a.test/far"] == "unchanged", "links of what has not changed are followed"
        assert found["a.test/unlinked"] == "unchanged", "nothing led there, and it is there"
        assert found["a.test/goes"] == "gone"

        third = crawls.run(tenant, local.url("a.test"))
        assert states(crawls, third)["a.test/goes"] == "gone"
        assert crawls.versions(tenant) == sorted([*changed, ("/goes", 2, "delete")])
        detail = "select detail from app.crawl_urls where crawl_id = %s and state = 'gone'"
        assert crawls.bench.rows(detail, second)[0][0].endswith("missing in 1 crawls in a row, deleted here after 2")

        local.serve("a.test", "/goes", page("salmon"))
        local.serve("a.test", "/", page("heron", "/same", "/changes", "/goes", "/unlinked"))
        crawls.run(tenant, local.url("a.test"))
    assert ("/goes", 3, "update") in crawls.versions(tenant), "what comes back is there again"
    assert crawls.bench.rows("select count(*) from app.pages where deleted_at is not null") == [(0,)]


def test_loops_traps_redirects_and_twins_end(crawls: Crawls, local: LocalWeb) -> None:
    tenant = crawls.bench.tenant()
    local.names["inner.test"] = [FORBIDDEN]
    links = ("/calendar/1", "/round", "/away", "/inside", "/chain/1", "/copy", "/nearly", "/canon", "/x/x/x/x")
    local.serve("a.test", "/", page("heron", *links))
    local.serve("a.test", "/round", answer(302, Location="/round"))
    local.serve("a.test", "/away", answer(301, Location="http://elsewhere.test/"))
    local.serve("a.test", "/inside", answer(302, Location=local.url("inner.test", "/secret")))
    for number in range(1, 9):
        local.serve("a.test", f"/chain/{number}", answer(302, Location=f"/chain/{number + 1}"))
    local.serve("a.test", "/twin", page("otter", "/from-twin", words=400))
    local.serve("a.test", "/copy", page("otter", "/from-copy", words=400))

    async def nearly(request: web.Request) -> web.Response:
        return html(about("otter", "/from-nearly", words=400).replace("otter3.", "otter3, today."), "Nearly")

    local.serve("a.test", "/nearly", nearly)
    local.serve("a.test", "/canon", page("pike", head='<link rel="canonical" href="/real">'))
    local.serve("a.test", "/real", page("pike", head='<link rel="canonical" href="/canon">'))

    async def calendar(request: web.Request) -> web.Response:
        if not request.path.startswith("/calendar/"):
            return web.Response(status=404)
        month = int(request.path.rpartition("/")[2])
        return html(f"<p>Nothing is planned.</p><a href='/calendar/{month + 1}'>next month</a>", "Calendar")

    local.fallback = calendar
    with crawls.working("a.test", "www.a.test", "inner.test2"):
        crawl = crawls.run(tenant, local.url("a.test"), depth_max=20, hosts=["a.test", "inner.test"], pages_max=100)
    found = crawls.found(crawl)
    assert found["a.test/round"] == ("refused", "too-many-redirects")
    assert found["a.test/away"] == ("refused", "out-of-scope")
    assert found["a.test/inside"] == ("redirected", "")
    assert found["inner.test/secret"] == ("refused", "robots"), "not even its rules were asked for"
    (told,) = crawls.bench.rows("select detail from app.crawl_urls where url like %s", "%/secret")
    assert told == ("its robots.txt cannot be had: inner.test leads to what is not a public address",)
    assert local.connected == []
    assert [path for path in local.paths("a.test") if path.startswith("/chain/")] == [
        f"/chain/{number}" for number in range(1, frontier.HOPS_MAX + 2)
    ]
    assert found["a.test/copy"][0] == "stored"
    assert found["a.test/nearly"] == ("duplicate", "near-duplicate")
    assert "a.test/from-copy" in found
    assert "a.test/from-nearly" not in found, "links of a twin are not followed"
    assert sorted((found["a.test/canon"], found["a.test/real"])) == [("duplicate", "canonical"), ("stored", "")]
    assert found["a.test/calendar/2"] == ("duplicate", "same-text")
    assert "a.test/calendar/3" not in found, "the trap ends at its second page"
    assert not any(path.startswith("a.test/x/") for path in found), "a path that repeats itself is not asked for"


def test_what_refuses_is_refused_and_says_why(crawls: Crawls, local: LocalWeb) -> None:
    tenant = crawls.bench.tenant()

    async def bomb(request: web.Request) -> web.Response:
        packed = gzip.compress(bytes(60_000_000))
        return web.Response(body=packed, headers={"Content-Type": "text/html", "Content-Encoding": "gzip"})

    refusals = {
        "/private/x": ("refused", "robots"),
        "/login": ("refused", "http-401"),
        "/no": ("refused", "http-403"),
        "/nowhere": ("refused", "http-404"),
        "/film": ("refused", "wrong-type"),
        "/bomb": ("refused", "bomb"),
        "/hidden": ("refused", "noindex"),
        "/header": ("refused", "noindex"),
        "/nothing": ("refused", "empty"),
        "/broken": ("failed", "http-500"),
    }
    local.serve("a.test", "/robots.txt", answer(200, "User-agent: *\nDisallow: /private\n"))
    local.serve("a.test", "/", page("heron", *refusals, local.url("b.test", "/later"), local.url("b.test", "/other")))
    local.serve("a.test", "/private/x", page("secret"))
    local.serve("a.test", "/login", answer(401))
    local.serve("a.test", "/no", answer(403))
    local.serve("a.test", "/film", answer(200, "x", "video/mp4"))
    local.serve("a.test", "/bomb", bomb)
    local.serve("a.test", "/hidden", page("pike", "/from-hidden", head='<meta name="robots" content="noindex">'))
    local.serve("a.test", "/header", page("perch", headers={"X-Robots-Tag": "noindex, nofollow"}))
    local.serve("a.test", "/nothing", answer(200, "<html><body></body></html>", "text/html"))
    local.serve("b.test", "/later", answer(503, **{"Retry-After": "90000"}))
    local.serve("a.test", "/broken", answer(500))
    local.serve("a.test", "/from-hidden", page("roach"))
    with crawls.working("a.test", "b.test"):
        crawl = crawls.submit(tenant, local.url("a.test"), depth_max=2, hosts=["a.test", "b.test"])
        job = crawls.job_of[crawl]
        until(lambda: _hurry(crawls, job), wait_s=60)
    found = crawls.found(crawl)
    assert {path: found[f"a.test{path}"] for path in refusals} == refusals
    assert found["b.test/later"] == ("refused", "http-503"), "it asks to come back tomorrow"
    assert found["b.test/other"] == ("failed", "host-down"), "and means all of it"
    assert local.paths("b.test") == ["/later"]
    assert found["a.test/from-hidden"] == ("stored", "")
    assert "/private/x" not in local.paths("a.test")
    assert local.paths("a.test").count("/broken") == frontier.TRIES_MAX
    assert local.paths("a.test").count("/no") == 1
    details = crawls.bench.rows("select detail from app.crawl_urls where state in ('refused', 'failed')")
    assert all(detail for (detail,) in details)


def _hurry(crawls: Crawls, job: Any) -> bool:
    """Let no host wait any more for minutes. Whether the job is over."""
    crawls.bench.rows(
        "update ops.crawl_hosts set next_at = now() where next_at > now() and next_at < now() + interval '1 h'"
    )
    crawls.bench.rows("update app.jobs set due_at = now() where due_at > now() and finished_at is null")
    return crawls.bench.rows("select 1 from app.jobs where job_id = %s and finished_at is not null", job) != []


def test_each_bound_ends_a_crawl_and_is_named(crawls: Crawls, local: LocalWeb) -> None:
    tenant = crawls.bench.tenant()
    local.serve("a.test", "/", page("heron", *(f"/{number}" for number in range(8))))
    for number in range(8):
        local.serve("a.test", f"/{number}", page(f"otter{number}"))
    with crawls.working("a.test"):
        pages = crawls.run(tenant, local.url("a.test"), pages_max=3)
        received = crawls.run(tenant, local.url("a.test"), bytes_max=2_000)
        crawls.forget_hosts()
        local.serve("a.test", "/robots.txt", answer(200, "User-agent: *\nCrawl-delay: 0.5\n"))
        time = crawls.run(tenant, local.url("a.test"), seconds_max=1)
        alone = crawls.run(tenant, local.url("a.test"), depth_max=0)
    assert crawls.one(pages, "asked, stopped") == (3, "pages")
    assert crawls.one(received, "stopped, asked < 8") == ("bytes", True)
    assert crawls.one(time, "stopped, asked < 8") == ("time", True)
    assert crawls.one(alone, "stopped") == ("",)
    phases = {phase for (phase,) in crawls.bench.rows("select phase from app.jobs")}
    assert phases == {f"ended at its bound of {bound}" for bound in ("pages", "bytes", "time")} | {"nothing is left"}


def test_the_list_of_addresses_has_a_bound(crawls: Crawls, local: LocalWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier, "FOUND_MORE", 0)
    local.serve("a.test", "/", page("heron", *(f"/{number}" for number in range(30))))
    with crawls.working("a.test"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"), pages_max=2)
    assert crawls.one(crawl, "found, dropped") == (8, 23)
    assert len(crawls.found(crawl)) == 8


def test_scope_and_sitemaps_say_what_is_asked_for(crawls: Crawls, local: LocalWeb) -> None:
    entries = "".join(f"<url><loc>{local.url('a.test', path)}</loc></url>" for path in ("/guide/map", "/blog/map"))
    index = f"<sitemapindex><sitemap><loc>{local.url('a.test', '/guide/map.xml')}</loc></sitemap></sitemapindex>"
    local.serve("a.test", "/robots.txt", answer(200, f"Sitemap: {local.url('a.test', '/guide/index.xml')}\n"))
    local.serve("a.test", "/guide/index.xml", answer(200, index, "application/xml"))
    local.serve("a.test", "/guide/map.xml", answer(200, f"<urlset>{entries}</urlset>", "text/xml"))
    local.serve("a.test", "/guide/", page("heron", "/guide/one", "/guide/print/one", "/blog/one"))
    for path in ("/guide/one", "/guide/map", "/guide/print/one", "/blog/one", "/blog/map"):
        local.serve("a.test", path, page(f"otter{path.replace('/', '')}"))
    with crawls.working("a.test"):
        crawl = crawls.run(
            crawls.bench.tenant(), local.url("a.test", "/guide/"), include=["/guide/*"], exclude=["*/print/*"]
        )
    assert states(crawls, crawl) == {
        "a.test/guide/": "stored",
        "a.test/guide/index.xml": "read",
        "a.test/guide/map.xml": "read",
        "a.test/guide/one": "stored",
        "a.test/guide/map": "stored",
    }


def test_a_host_is_asked_for_one_page_at_a_time_at_its_rate_whoever_crawls_it(crawls: Crawls, local: LocalWeb) -> None:
    moments: list[tuple[float, float]] = []

    async def slow(request: web.Request) -> web.Response:
        asked_s = await crawls.tell_time()
        await asyncio.sleep(0.05)
        moments.append((asked_s, await crawls.tell_time()))
        return html(about(f"otter{request.path}", *(f"/{number}" for number in range(6))), request.path)

    local.fallback = slow
    rules = "User-agent: adriatic\nCrawl-delay: 0.3\nDisallow: /3\n"
    local.serve("a.test", "/robots.txt", answer(200, rules))
    tenants = [crawls.bench.tenant() for _ in range(3)]
    with crawls.working("a.test", places=4), crawls.working("a.test", places=4):
        submitted = [crawls.submit(tenant, local.url("a.test")) for tenant in tenants]
        crawls.wait(*submitted)
    assert local.at_once_max["a.test"] == 1
    assert all(crawls.one(crawl, "asked") == (6,) for crawl in submitted)
    # From the end of an answer: whatever is slow lies before its end, or makes the next question later.
    pauses = [asked_s - answered_s for (_, answered_s), (asked_s, _) in pairwise(moments)]
    assert len(pauses) == 17
    assert min(pauses) >= 0.3 - MICROSECOND_S
    assert [path for _, path in local.asked].count("/robots.txt") == 1, "what it said holds for everybody"


def test_a_host_that_fails_is_left_alone_and_holds_up_no_other(crawls: Crawls, local: LocalWeb) -> None:
    local.serve("a.test", "/", page("heron", "/fine", *(local.url("down.test", f"/{number}") for number in range(20))))
    local.serve("a.test", "/fine", page("otter"))
    for host in ("a.test", "down.test"):
        local.serve(host, "/robots.txt", answer(404))
    local.fallback = answer(502)
    with crawls.working("a.test", "down.test"):
        crawl = crawls.submit(crawls.bench.tenant(), local.url("a.test"), hosts=["a.test", "down.test"])
        until(lambda: states(crawls, crawl).get("a.test/fine") == "stored", wait_s=60)
        until(lambda: _hurry(crawls, crawls.job_of[crawl]), wait_s=60)
    assert len(local.paths("down.test")) == turns.FAILURES_MAX
    codes = Counter(code for path, (_, code) in crawls.found(crawl).items() if path.startswith("down.test"))
    assert codes == {"http-502": 1, "host-down": 19}
    (row,) = crawls.bench.rows("select failures, open_until > now() from ops.crawl_hosts where host = 'down.test'")
    assert row == (turns.FAILURES_MAX, True)


def test_a_site_that_asks_for_a_pause_gets_it(crawls: Crawls, local: LocalWeb) -> None:
    moments: list[float] = []

    async def busy(request: web.Request) -> web.Response:
        moments.append(await crawls.tell_time())
        if len(moments) == 1:
            return web.Response(status=429, headers={"Retry-After": "3"})
        return html(about("heron"), "Heron")

    local.serve("a.test", "/", busy)
    with crawls.working("a.test"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"))
    assert states(crawls, crawl) == {"a.test/": "stored"}
    assert crawls.one(crawl, "asked") == (2,)
    assert moments[1] - moments[0] >= 3.0 - MICROSECOND_S


def test_a_crawl_that_is_cancelled_ends_and_keeps_what_it_has(crawls: Crawls, local: LocalWeb) -> None:
    local.fallback = page("heron", *(f"/{number}" for number in range(50)))
    with crawls.working("a.test", delay_s=0.5):
        crawl = crawls.submit(crawls.bench.tenant(), local.url("a.test"))
        until(lambda: crawls.one(crawl, "asked")[0] >= 1, wait_s=60)
        crawls.bench.rows("update app.jobs set cancel_requested_at = now()")
        crawls.wait(crawl)
    assert crawls.bench.state(crawls.job_of[crawl]) == "cancelled"
    assert len(crawls.bench.rows("select from_crawl.url from app.pages from_crawl")) == 1


@pytest.mark.crash
def test_workers_that_are_killed_again_and_again_ask_for_no_page_that_is_stored(
    crawls: Crawls, local: LocalWeb, tmp_path: Path
) -> None:
    tenant = crawls.bench.tenant()

    async def tree(request: web.Request) -> web.Response:
        number = int(request.path.rpartition("/")[2] or 0)
        children = [f"/{child}" for child in (2 * number + 1, 2 * number + 2) if child < 60]
        await asyncio.sleep(0.05)
        return html(about(f"otter{number}", *children), f"Otter {number}")

    local.fallback = tree
    local.serve("a.test", "/robots.txt", answer(404))
    crawl = crawls.submit(tenant, local.url("a.test", "/0"), depth_max=20)
    stored_before = 0
    for kill in range(1, 5):
        process = crawls.process(tmp_path / f"worker-{kill}", "a.test")
        until(lambda: crawls.one(crawl, "asked")[0] >= 10 * kill, wait_s=90)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
        stored = {url for (url,) in crawls.bench.rows("select url from app.crawl_urls where state = 'stored'")}
        assert len(stored) > stored_before
        stored_before = len(stored)
        crawls.bench.rows("update app.jobs set lease_until = now() where lease_until is not null")  # not waiting for it
    with crawls.working("a.test"):
        crawls.wait(crawl)
    assert set(states(crawls, crawl).values()) == {"stored"}
    assert [(url, version) for url, version, _ in crawls.versions(tenant)] == sorted((f"/{n}", 1) for n in range(60))
    asked = Counter(local.paths("a.test"))
    assert set(asked) == {f"/{number}" for number in range(60)}
    assert sum(asked.values()) - len(asked) <= 4, "a kill costs the request that it met"


def test_what_two_tenants_crawl_is_each_ones_own(crawls: Crawls, local: LocalWeb) -> None:
    tenants = [crawls.bench.tenant() for _ in range(2)]
    local.serve("a.test", "/", page("heron"))
    with crawls.working("a.test"):
        for tenant in tenants:
            crawls.run(tenant, local.url("a.test"))
    assert len(local.paths("a.test")) == 2
    pages = crawls.bench.rows("select tenant_id, page_id from app.pages")
    assert {tenant for tenant, _ in pages} == set(tenants)
    assert len({page_id for _, page_id in pages}) == 2


def test_what_a_crawl_found_is_forgotten_after_its_time_and_its_pages_stay(crawls: Crawls, local: LocalWeb) -> None:
    local.serve("a.test", "/", page("heron"))
    tenant = crawls.bench.tenant()
    with crawls.working("a.test"):
        old, new = (crawls.run(tenant, local.url("a.test")) for _ in range(2))
    crawls.bench.rows("update app.crawls set created_at = now() - interval '91 days' where crawl_id = %s", old)
    crawls.bench.rows("update ops.crawl_hosts set used_at = now() - interval '31 days'")
    with connect(crawls.bench.settings.postgres, autocommit=True) as connection:
        assert [forget_old(connection, kept_for())["crawl_urls"] for _ in range(2)] == [1, 0]
    assert (len(crawls.found(old)), len(crawls.found(new))) == (0, 1)
    assert crawls.bench.rows("select 1 from ops.crawl_hosts") == []
    assert crawls.versions(tenant) == [("/", 1, "create")]


def test_a_crawl_keeps_to_the_hosts_that_its_tenant_allows_now(crawls: Crawls, local: LocalWeb) -> None:
    """Links, redirects, sitemaps and start pages that leave the list are not asked for, and neither is what was found
    before the list was changed."""
    tenant, bench = crawls.bench.tenant(), crawls.bench
    allow = (
        "insert into app.allowed_hosts (tenant_id, version, hosts, set_by, set_name) "
        "values (%s, %s, %s, gen_random_uuid(), 'Ada')"
    )
    sitemap = f"Sitemap: {local.url('a.test', '/in/map.xml')}\nSitemap: {local.url('b.test', '/map.xml')}\n"
    local.serve("a.test", "/robots.txt", answer(200, sitemap))
    local.serve("a.test", "/in/map.xml", answer(302, location=local.url("b.test", "/in/map.xml")))
    local.serve("a.test", "/in/", page("heron", "/in/one", "/out", local.url("b.test", "/in/"), "/in/away"))
    local.serve("a.test", "/in/one", page("otter"))
    local.serve("a.test", "/in/away", answer(302, location=local.url("b.test", "/in/")))
    bench.rows(allow, tenant, 1, ["a.test/in/*"])
    hosts = ["a.test", "b.test"]
    with crawls.working("a.test", "b.test"):
        crawl = crawls.run(tenant, local.url("a.test", "/in/"), local.url("b.test", "/start"), hosts=hosts)
        found = crawls.found(crawl)
        assert found["a.test/in/"] == found["a.test/in/one"] == ("stored", "")
        assert found["b.test/start"] == ("refused", "not-allowed")
        assert found["a.test/in/away"] == ("refused", "out-of-scope")
        assert {host for host, _ in local.asked} == {"a.test"}
        assert "/out" not in local.paths("a.test")
        # Another tenant has another list, which is none.
        other = crawls.run(bench.tenant(), local.url("b.test", "/start"), hosts=hosts)
        assert crawls.found(other)["b.test/start"][1] == "http-404"
        # What is taken off the list while a crawl waits is not asked for.
        asked = len(local.paths("a.test"))
        waiting = crawls.submit(tenant, local.url("a.test", "/in/"), hosts=hosts)
        bench.rows(allow, tenant, 2, ["b.test"])
        crawls.wait(waiting)
        assert len(local.paths("a.test")) <= asked + 1, "the request that was under way when the list was changed"
