"""Drafts on the page: a model summarises, reviews, expands and writes, and nothing is changed before a person presses
a button that says so."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Site, Visit
from tests.browser.test_page import HOSTILE, WIDTHS, accessible, furnish
from tests.connectors.llm import stand_in as recorded

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def say(site: Site, *texts: str) -> None:
    site.provider.script = [
        recorded.ANTHROPIC_START,
        *map(recorded.anthropic_text, texts),
        recorded.ANTHROPIC_END,
    ]


def read(site: Site, name: str, **context: object) -> tuple[Visit, str]:
    """A decision on the page, and its id."""
    adr_id = furnish(site)[name]
    visit = site.open(f"/?adr={adr_id}", **context)
    visit.page.wait_for_selector("#adr-title")
    return visit, adr_id


def versions(site: Site) -> int:
    row = site.corpus.connection.execute(
        "select count(*) from app.adr_versions where tenant_id = %s", [site.tenant_id]
    ).fetchone()
    assert row
    return int(row[0])


def test_a_summary_is_shown_with_what_it_stands_on_and_is_for_reading(site: Site) -> None:
    visit, _ = read(site, "outbox")
    before = versions(site)
    say(site, "It is kept [1]. ", "Nobody says so [9].")
    visit.page.click(".drafting [value=summarise]")
    expect(visit.page.locator(".draft .answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".draft .answer")).to_have_text("It is kept 1. Nobody says so.")
    expect(visit.page.locator(".draft .turn-state")).to_have_text("By claude-test-1.")
    expect(visit.page.locator(".draft .sources summary")).to_contain_text("1 source; 1 number led nowhere")
    expect(visit.page.locator(".draft [data-slot=discard]")).to_be_visible()
    expect(visit.page.locator(".draft [data-slot=accept]")).to_be_hidden()
    visit.page.click(".draft [data-slot=discard]")
    expect(visit.page.locator(".draft")).to_have_count(0)
    assert versions(site) == before
    visit.clean()


def test_an_expanded_text_becomes_a_version_when_it_is_accepted(site: Site) -> None:
    visit, _ = read(site, "queue")
    before = versions(site)
    say(site, "# Bound every queue\n\n## Context\n\nMuch more than that, as ", "others say [2].\n")
    visit.page.fill("#draft-brief", "weigh the dual write")
    visit.page.click(".drafting [value=expand]")
    expect(visit.page.locator(".draft [data-slot=accept]")).to_have_text("Make it the next version")
    (part,) = site.provider.requests[-1]["messages"][-1]["content"]
    said = json.loads(part["text"])
    assert said["brief"] == "weigh the dual write"
    assert versions(site) == before, "nobody has accepted it"
    visit.shot("draft-expanded")
    visit.page.click(".draft [data-slot=accept]")
    expect(visit.page.locator(".adr-top")).to_contain_text("version 2")
    expect(visit.page.locator(".adr .prose").first).to_contain_text("Much more than that, as others say (")
    expect(visit.page.locator(".draft")).to_have_count(0)
    assert versions(site) == before + 1
    visit.clean()


def test_a_draft_of_what_somebody_changed_meanwhile_is_refused_and_says_why(site: Site) -> None:
    visit, adr_id = read(site, "queue")
    say(site, "# Bound every queue\n\nMore.\n")
    visit.page.click(".drafting [value=expand]")
    expect(visit.page.locator(".draft [data-slot=accept]")).to_be_visible()
    site.corpus.connection.execute(
        "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, author, message, "
        "effective_at) select tenant_id, adr_id, 2, 'update', title, status, body || 'Mine.', 'Grace', '', "
        "effective_at from app.adr_versions where adr_id = %s",
        [adr_id],
    )
    site.corpus.connection.execute("update app.adrs set version = 2 where adr_id = %s", [adr_id])
    visit.page.click(".draft [data-slot=accept]")
    expect(visit.page.locator(".draft .problem")).to_contain_text("The ADR is at version 2")
    expect(visit.page.locator(".draft [data-slot=accept]")).to_be_enabled()
    visit.errors.clear()  # the browser says in its console that the answer was 409
    visit.clean()


def test_a_new_decision_is_written_from_a_brief_and_opened_when_accepted(site: Site) -> None:
    furnish(site)
    before = versions(site)
    say(site, f"# Cache it {HOSTILE}\n\n## Status\n\nProposed\n\n", "## Context\n\nIt is slow [1].\n")
    visit = site.open()
    visit.page.click("#write summary")
    visit.page.fill("#brief", "Cache a dual write?")
    visit.page.click("#write-form .main")
    expect(visit.page.locator("#written [data-slot=accept]")).to_have_text("Make it a new decision")
    assert versions(site) == before
    visit.page.click("#written [data-slot=accept]")
    expect(visit.page.locator("#adr-title")).to_contain_text("Cache it")
    expect(visit.page.locator("#written")).to_be_empty()
    assert versions(site) == before + 1
    visit.clean()


def test_a_draft_stops_when_told_and_when_the_decision_is_left(site: Site) -> None:
    visit, _ = read(site, "outbox")
    site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("Half of it"), 60.0]
    visit.page.click(".drafting [value=review]")
    expect(visit.page.locator(".draft .answer")).to_contain_text("Half of it")
    visit.page.click(".drafting [value=stop]")
    expect(visit.page.locator(".draft .turn-state")).to_contain_text("Stopped.")
    visit.until(site.provider.closed.is_set, "the provider's connection is closed")
    expect(visit.page.locator(".drafting [value=review]")).to_be_enabled()
    site.provider.closed.clear()
    visit.page.click(".drafting [value=review]")
    expect(visit.page.locator(".draft .answer")).to_contain_text("Half of it")
    visit.page.keyboard.press("Escape")
    visit.until(site.provider.closed.is_set, "who goes away needs no review")
    visit.clean()


def test_suggestions_are_set_one_by_one(site: Site) -> None:
    visit, adr_id = read(site, "outbox")
    claims = {"title": "Always keep an outbox", "tags": ["events"], "related": []}
    say(site, json.dumps(claims))
    visit.page.click(".drafting [value=suggest]")
    expect(visit.page.locator(".suggestions")).to_contain_text("claude-test-1. Nothing is set before you press it.")
    visit.page.click(".suggestions >> text=events (new)")
    expect(visit.page.locator(".byline")).to_contain_text("events")
    say(site, json.dumps(claims))
    visit.page.click(".drafting [value=suggest]")
    visit.page.click(".suggestions >> text=Always keep an outbox")
    expect(visit.page.locator("#adr-title")).to_have_text("Always keep an outbox")
    row = site.corpus.connection.execute("select version from app.adrs where adr_id = %s", [adr_id]).fetchone()
    assert row == (2,)
    visit.clean()


@pytest.mark.parametrize(("viewport", "scheme"), WIDTHS)
def test_drafts_can_be_read_and_used_by_everybody(site: Site, viewport: dict[str, int], scheme: str) -> None:
    visit, _ = read(site, "outbox", viewport=viewport, color_scheme=scheme)
    say(site, "- It says nothing of **what it costs** [1].\n- Another record decides the same [2].\n")
    visit.page.click(".drafting [value=review]")
    expect(visit.page.locator(".draft [data-slot=discard]")).to_be_visible()
    visit.page.locator(".drafting").scroll_into_view_if_needed()
    visit.shot(f"draft-{viewport['width']}-{scheme}")
    assert accessible(visit) == []
    say(site, json.dumps({"title": "Another", "tags": ["events", "kafka"], "related": []}))
    visit.page.click(".drafting [value=suggest]")
    expect(visit.page.locator(".suggestions")).to_be_visible()
    visit.page.evaluate("document.getElementById('write').open = true")
    visit.shot(f"suggestions-{viewport['width']}-{scheme}")
    assert accessible(visit) == []
    visit.clean()
