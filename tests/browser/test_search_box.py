"""The search box of the page in a real browser: what is typed is taken as it was meant, marked, and narrowed down."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Site, Visit

pytestmark = pytest.mark.stack


def furnish(site: Site) -> None:
    for number, (title, status, tag, text) in enumerate(
        [
            ("Keep an outbox", "accepted", "kafka", "The outbox is kept. <script>alert('outbox')</script>"),
            ("Drop the outbox", "rejected", "kafka", "No outbox is dropped."),
            ("Bound queues", "accepted", "postgres", "Every queue has a bound; an outbox is one."),
        ],
        1,
    ):
        site.corpus.adr(site.tenant_id, title, f"# {title}\n\n{text}\n", number=number, status=status, tags=[tag])


def last_search(visit: Visit) -> dict[str, list[str]]:
    asked = [address for address in visit.asked if urlsplit(address).path == "/v1/search"]
    return parse_qs(urlsplit(asked[-1]).query)


def titles(visit: Visit) -> list[str]:
    return visit.page.locator("#results .hit-title").all_inner_texts()


def test_what_is_typed_is_taken_as_it_was_meant(site: Site) -> None:
    furnish(site)
    visit = site.open()
    visit.page.locator("#q").press_sequentially("outb")
    visit.page.click("text=Words")
    visit.until(lambda: len(titles(visit)) == 3, "an unfinished word")
    assert last_search(visit)["typing"] == ["true"]
    expect(visit.page.locator("#results mark").first).to_have_text("outbox")
    assert visit.page.locator("#results script").count() == 0
    visit.page.fill("#q", "otubox ")
    expect(visit.page.locator("#corrected")).to_contain_text("Showing results for outbox")
    visit.until(lambda: len(titles(visit)) == 3, "a misspelt word")
    visit.page.click("#corrected button")
    expect(visit.page.locator("#found")).to_contain_text("Nothing found")
    assert last_search(visit)["correct"] == ["false"]
    expect(visit.page.locator("#corrected")).to_be_hidden()
    visit.clean()


def test_what_is_found_is_narrowed_down(site: Site) -> None:
    furnish(site)
    visit = site.open()
    visit.page.click("text=Words")
    visit.page.locator("#q").press_sequentially("outbox")
    visit.until(lambda: len(titles(visit)) == 3, "all")
    visit.page.click("#facets summary")
    expect(visit.page.locator("#facets-of")).to_have_text("Of 3 sources with a word.")
    accepted = visit.page.locator("#facets input[name=status][value=accepted]")
    expect(visit.page.locator("#facets label", has=visit.page.locator("[value=accepted]"))).to_contain_text("2")
    accepted.check()
    visit.until(lambda: sorted(titles(visit)) == ["Bound queues", "Keep an outbox"], "accepted ones")
    visit.page.locator("#facets input[name=tag][value=kafka]").check()
    visit.until(lambda: titles(visit) == ["Keep an outbox"], "and with a tag")
    expect(accepted).to_be_checked()
    visit.page.locator("#facets input[name=year][value='2026']").check()
    visit.until(lambda: "since" in last_search(visit), "a year is two moments")
    assert last_search(visit)["until"] == ["2027-01-01T00:00:00Z"]
    expect(visit.page.locator("#facets input[name=year]")).to_be_focused()
    visit.shot("facets")
    accepted.uncheck()
    visit.until(lambda: sorted(titles(visit)) == ["Drop the outbox", "Keep an outbox"], "whatever their status")
    visit.page.fill("#q", "")
    expect(visit.page.locator("#facets")).to_be_hidden()
    visit.clean()
