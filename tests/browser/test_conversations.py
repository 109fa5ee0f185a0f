"""Conversations on the page: tokens and cost as they grow, going on through another API process after a reload, and the
list of earlier ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.api.test_server import serving
from tests.browser.conftest import DESKTOP, MOBILE, House, Site, Visit, asking
from tests.browser.test_page import HOSTILE, accessible, furnish
from tests.connectors.llm import stand_in as recorded

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

WORDS = [f"word{number} " for number in range(60)]
TOKENS = re.compile(r"about ([\d,]+) tokens so far")


def answer(site: Site, text: str) -> None:
    site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text(text), recorded.ANTHROPIC_END]


def ask(visit: Visit, question: str) -> None:
    visit.page.fill("#question", question)
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".answer").last).to_have_attribute("aria-busy", "false")


def slowly() -> list[bytes | float]:
    pieces: list[bytes | float] = [part for word in WORDS for part in (recorded.anthropic_text(word), 0.1)]
    return [recorded.ANTHROPIC_START, *pieces, recorded.ANTHROPIC_END]


def test_a_reload_goes_on_through_another_process_without_loss_or_repetition(
    site: Site, house: House, tmp_path: Path
) -> None:
    furnish(site)
    before = len(site.provider.requests)
    with serving(house.settings, tmp_path, **asking(site.provider)) as other:

        def elsewhere(route: Route) -> None:
            moved.append(route.request.url)
            route.continue_(url=route.request.url.replace(site.server.url, other.url))

        moved: list[str] = []
        site.provider.script = slowly()
        visit = site.open()
        visit.page.fill("#question", "Why no dual write?")
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator(".answer")).to_contain_text("word2")
        visit.context.route("**/v1/chat/**", elsewhere)
        visit.page.reload()
        expect(visit.page.locator(".answer")).to_contain_text("word0 word1 word2")
        expect(visit.page.locator("#stop")).to_be_visible()
        assert any("/stream" in url for url in moved), "it is read through the other process"
        expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
        expect(visit.page.locator(".answer")).to_have_text("".join(WORDS).strip())
        assert len(site.provider.requests) == before + 1, "nobody is asked again"
        visit.clean()


def test_stop_reaches_the_process_that_writes(site: Site, house: House, tmp_path: Path) -> None:
    furnish(site)
    with serving(house.settings, tmp_path, **asking(site.provider)) as other:
        site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("Half of it"), 120.0]
        visit = site.open()
        visit.page.fill("#question", "Why no dual write?")
        visit.page.keyboard.press("Enter")
        expect(visit.page.locator(".answer")).to_contain_text("Half of it")
        visit.context.route(
            "**/v1/chat/**",
            lambda route: route.continue_(url=route.request.url.replace(site.server.url, other.url)),
        )
        visit.page.reload()
        expect(visit.page.locator("#stop")).to_be_visible()
        visit.page.click("#stop")
        visit.until(site.provider.closed.is_set, "the provider's connection is closed")
        expect(visit.page.locator(".turn-state")).to_contain_text("Stopped.")
        visit.clean()


def test_tokens_grow_while_it_is_written_and_add_up_over_the_conversation(site: Site) -> None:
    furnish(site)
    site.provider.script = slowly()
    visit = site.open()
    visit.page.fill("#question", "Why no dual write?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".turn-used")).to_contain_text(TOKENS)
    seen: set[int] = set()

    def grew() -> bool:
        if found := TOKENS.search(visit.text(".turn-used")):
            seen.add(int(found[1].replace(",", "")))
        return len(seen) >= 3

    visit.until(grew, "the tokens grow")
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".turn-used")).not_to_contain_text("so far")
    expect(visit.page.locator("#conversation-spent")).to_be_hidden()
    answer(site, "So it is.")
    ask(visit, "And then?")
    expect(visit.page.locator("#conversation-spent")).to_contain_text("This conversation:")
    said = visit.text("#conversation-spent")
    visit.page.reload()
    expect(visit.page.locator("#conversation-spent")).to_have_text(said)
    visit.clean()


def test_earlier_conversations_are_listed_opened_and_deleted(site: Site) -> None:
    furnish(site)
    visit = site.open()
    for question, text in ((f"First dual write {HOSTILE}", "One."), ("Second dual write", "Two.")):
        answer(site, text)
        ask(visit, question)
        visit.page.click("#new-conversation")
    visit.page.click("#conversations summary")
    expect(visit.page.locator(".conversation")).to_have_count(2)
    expect(visit.page.locator(".conversation .link").first).to_have_text("Second dual write")
    visit.page.locator(".conversation .link").last.click()
    expect(visit.page.locator(".turn .question")).to_have_text(f"First dual write {HOSTILE}")
    expect(visit.page.locator(".answer")).to_have_text("One.")
    expect(visit.page.locator("#question")).to_be_focused()

    answer(site, "Three.")
    ask(visit, "Third dual write, in the first")
    asked = [message["content"] for message in site.provider.requests[-1]["messages"]]
    assert "One." in str(asked), "the model is told of the turn before"

    visit.page.click("#conversations summary")
    current = visit.page.locator(".conversation[aria-current]")
    expect(current).to_contain_text("2 answers")
    current.locator("[data-action=delete]").click()
    visit.page.click("#confirm button[value=cancel]")
    expect(visit.page.locator(".conversation")).to_have_count(2)
    current.locator("[data-action=delete]").click()
    visit.page.click("#confirm-yes")
    expect(visit.page.locator(".conversation")).to_have_count(1)
    expect(visit.page.locator(".turn")).to_have_count(0)
    visit.page.reload()
    visit.page.click("#conversations summary")
    expect(visit.page.locator(".conversation .link")).to_have_text("Second dual write")
    visit.clean()


def test_an_answer_goes_on_while_another_conversation_is_looked_at(site: Site) -> None:
    furnish(site)
    visit = site.open()
    answer(site, "One.")
    ask(visit, "First dual write")
    visit.page.click("#new-conversation")
    site.provider.closed.clear()
    site.provider.script = slowly()
    visit.page.fill("#question", "Second dual write")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".answer")).to_contain_text("word1")
    visit.page.click("#conversations summary")
    visit.page.locator(".conversation .link", has_text="First").click()
    expect(visit.page.locator(".answer")).to_have_text("One.")
    expect(visit.page.locator("#stop")).to_be_hidden()
    visit.page.click("#conversations summary")
    visit.page.locator(".conversation .link", has_text="Second").click()
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".answer")).to_have_text("".join(WORDS).strip())
    visit.clean()


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (MOBILE, "dark")])
def test_the_list_can_be_read_by_everybody(site: Site, viewport: dict[str, int], scheme: str) -> None:
    furnish(site)
    visit = site.open(viewport=viewport, color_scheme=scheme)
    for question in ("Why is there no dual write in this system, and what would happen if there were one?", "Why?"):
        answer(site, "Because it **fails in the middle** [1].")
        ask(visit, question)
        visit.page.click("#new-conversation")
    answer(site, "Because it fails.")
    ask(visit, "And then?")
    ask(visit, "And then?")
    visit.page.click("#conversations summary")
    expect(visit.page.locator(".conversation")).to_have_count(3)
    visit.page.locator("#ask").scroll_into_view_if_needed()
    visit.page.locator("#ask").screenshot(
        path=visit.pictures / f"conversations-{'mobile' if viewport is MOBILE else 'desktop'}-{scheme}.png"
    )
    assert accessible(visit) == []
    visit.clean()
