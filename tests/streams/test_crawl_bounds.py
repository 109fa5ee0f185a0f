"""Each bound of a crawl is reached, and says so or loses nothing: what is endless, too many, too large or too long."""

from __future__ import annotations

import gzip
from uuid import uuid4

import pytest

from connectors.parsers import site
from connectors.parsers.site import read_site_page
from streams.crawling import asking, frontier, rules, turns
from tests.connectors.fetching.local_web import LocalWeb
from tests.streams.crawl_world import Crawls, answer, page

ORIGIN = "http://a.test"


# --- addresses without end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "beyond"),
    [
        (
            "/s" + "/".join(map(str, range(rules.SEGMENTS_MAX))),
            "/s" + "/".join(map(str, range(rules.SEGMENTS_MAX + 1))),
        ),
        ("/x/y" * rules.REPEATS_MAX, "/x/y" * (rules.REPEATS_MAX + 1)),
        ("/?" + "page=1&" * rules.REPEATS_MAX, "/?" + "page=1&" * (rules.REPEATS_MAX + 1)),
        (
            "/?" + "&".join(f"f{n}=1" for n in range(rules.PARAMETERS_MAX)),
            "/?" + "&".join(f"f{n}=1" for n in range(rules.PARAMETERS_MAX + 1)),
        ),
    ],
)
def test_an_address_of_a_site_without_end_is_told_by_its_form(most: str, beyond: str) -> None:
    scope = rules.Scope(("a.test",))
    assert scope.find_reason(ORIGIN + most) == ""
    assert scope.find_reason(ORIGIN + beyond) == "it looks like a trap"
    assert scope.take([most, beyond], ORIGIN) == scope.take([most], ORIGIN) != []


# --- too many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["<url><loc>{}</loc></url>", "{}\n"])
def test_of_a_sitemap_so_many_addresses_are_taken(form: str) -> None:
    count = rules.LOCATIONS_MAX + 5
    body = "".join(form.format(f"{ORIGIN}/{number}") for number in range(count)).encode()
    for sent in (body, gzip.compress(body)):
        lists_sitemaps, found = rules.read_sitemap(sent)
        assert (lists_sitemaps, found) == (False, [f"{ORIGIN}/{number}" for number in range(rules.LOCATIONS_MAX)])


def test_a_sitemap_that_unpacks_without_end_is_read_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    first = f"<urlset><url><loc>{ORIGIN}/first</loc></url>".encode()
    last = f"<url><loc>{ORIGIN}/last</loc></url></urlset>".encode()
    packed = gzip.compress(first + b" " * 100_000 + last)
    assert rules.read_sitemap(packed)[1] == [f"{ORIGIN}/first", f"{ORIGIN}/last"]
    monkeypatch.setattr(rules, "SITEMAP_BYTES_MAX", 50_000)
    assert rules.read_sitemap(packed)[1] == [f"{ORIGIN}/first"]
    assert rules.read_sitemap(b"\x1f\x8b broken") == (False, [])


def test_of_a_page_so_many_links_are_taken_in_their_order() -> None:
    count = site.LINKS_MAX + 3
    body = "<p>Much.</p>" + "".join(f"<a href='/{number}'>{number}</a>" for number in range(count))
    links = read_site_page(f"<html><body>{body}</body></html>", f"{ORIGIN}/").facts.links
    assert links == tuple(f"{ORIGIN}/{number}" for number in range(site.LINKS_MAX))


# --- on a local web -------------------------------------------------------------------------------------------------


@pytest.mark.stack
def test_a_crawl_reads_so_many_sitemaps(crawls: Crawls, local: LocalWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier, "SITEMAPS_MAX", 3)
    told = "".join(f"Sitemap: {local.url('a.test', f'/map-{number}.xml')}\n" for number in range(5))
    local.serve("a.test", "/robots.txt", answer(200, told))
    local.serve("a.test", "/", page("heron"))
    more = "".join(f"<sitemap><loc>{local.url('a.test', f'/more-{n}.xml')}</loc></sitemap>" for n in range(5))
    for number in range(5):
        body = f"<sitemapindex>{more}</sitemapindex>"
        local.serve("a.test", f"/map-{number}.xml", answer(200, body, "application/xml"))
    with crawls.working("a.test"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"))
    assert [path for path in local.paths("a.test") if path.endswith(".xml")] == [f"/map-{n}.xml" for n in range(3)]
    assert {state for state, _ in crawls.found(crawl).values()} == {"stored", "read"}


@pytest.mark.stack
def test_so_many_pages_of_earlier_crawls_are_looked_at_again(
    crawls: Crawls, local: LocalWeb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "RECALLED_MAX", 2)
    tenant = crawls.bench.tenant()
    for number in range(4):
        local.serve("a.test", f"/{number}", page(f"otter{number}"))
    local.serve("a.test", "/", page("heron", *(f"/{number}" for number in range(4))))
    with crawls.working("a.test"):
        crawls.run(tenant, local.url("a.test"))
        local.serve("a.test", "/", page("heron"))
        again = crawls.run(tenant, local.url("a.test"))
    assert crawls.one(again, "stopped") == ("",)
    found = crawls.found(again)
    assert len(found) <= 1 + frontier.RECALLED_MAX
    assert {state for state, _ in found.values()} == {"unchanged"}
    assert crawls.bench.rows("select count(*) from app.pages where deleted_at is null") == [(5,)], "none is lost"


@pytest.mark.stack
@pytest.mark.parametrize(("robots_max", "told"), [(200, "robots.txt cannot be had"), (300, "")])
def test_rules_that_are_too_large_close_their_site_and_say_so(
    crawls: Crawls, local: LocalWeb, monkeypatch: pytest.MonkeyPatch, robots_max: int, told: str
) -> None:
    monkeypatch.setattr(asking, "ROBOTS_BYTES_MAX", robots_max)
    local.serve("a.test", "/robots.txt", answer(200, "# a comment\n".ljust(250, "#")))
    local.serve("a.test", "/", page("heron"))
    with crawls.working("a.test"):
        crawl = crawls.run(crawls.bench.tenant(), local.url("a.test"))
    ((state, code, detail),) = crawls.bench.rows(
        "select state, code, detail from app.crawl_urls where crawl_id = %s", crawl
    )
    assert (state, code) == (("refused", "robots") if told else ("stored", ""))
    assert told in detail
    assert not told or str(robots_max) in detail, "and how large they may be"
    assert ("/" in local.paths("a.test")) is not bool(told)


@pytest.mark.stack
def test_a_turn_ends_though_its_job_seems_to_be_at_work(crawls: Crawls, local: LocalWeb) -> None:
    """Its process stands still and nobody knows: the job is at work, and its turn is older than a turn may be."""
    local.serve("a.test", "/", page("heron"))
    tenant, job = crawls.bench.tenant(), uuid4()
    crawls.bench.rows(
        "insert into app.jobs (tenant_id, job_id, kind, params, state, lease_owner, lease_until) "
        "values (%s, %s, 'crawl', '{}', 'running', gen_random_uuid(), now() + interval '1 h')",
        *(tenant, job),
    )
    crawls.bench.rows(
        "insert into ops.crawl_hosts (host, turn_tenant, turn_job, turn_until) "
        "values ('a.test', %s, %s, now() + %s * interval '1 s')",
        *(tenant, job, turns.TURN_S),
    )
    with crawls.working("a.test"):
        crawl = crawls.submit(crawls.bench.tenant(), local.url("a.test"))
        crawls.bench.rows("select pg_sleep(2)")
        assert local.asked == [], "one request at a time"
        crawls.bench.rows("update ops.crawl_hosts set turn_until = now() - interval '1 s'")
        crawls.wait(crawl)
    assert crawls.one(crawl, "asked") == (1,)
