"""Work on the page, as a person meets it: begun, left, come back to, read, decided, cancelled, and done once more; by a
real API and a real worker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Route, expect

from api.auth.issuer import LocalIssuer
from connectors.rendering.pool import find_browser
from runtime.settings import CallerRole
from tests.api.agents.world import ONE, TWO
from tests.browser.bureau import HOST, Bureau, open_bureau
from tests.browser.conftest import MOBILE, House, Site, Visit
from tests.browser.test_page import HOSTILE, WIDTHS, accessible
from tests.connectors.parsers import drawn
from tests.streams.crawl_world import answer, page

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

ENDS_MS = 120_000
"""From a request to its result, on any machine."""
UNKNOWN = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"
QUESTION = "Why does a dual write fail, and how are crews paid?"
PROPOSED: list[Any] = [
    ("propose_tag", {"adr": "ADR-1", "tag": "writes", "reason": f"It is about writes {HOSTILE}."}),
    (
        "propose_adr",
        {"title": HOSTILE, "body": f"# {HOSTILE}\n\n[x](javascript:alert(1))\n", "reason": "So.", "log": "main"},
    ),
]


@pytest.fixture(scope="module")
def bureau(house: House) -> Iterator[Bureau]:
    with open_bureau(house) as made:
        yield made


def furnish(site: Site) -> dict[int, str]:
    """Two decisions that can be found."""
    site.corpus.log(site.tenant_id, "main")
    add = site.corpus.adr
    return {
        1: str(add(site.tenant_id, "Nobody writes twice", ONE, number=1, log="main")),
        7: str(add(site.tenant_id, "Test against a fake", TWO, number=7, log="main")),
    }


def enter(site: Site, path: str = "/?view=work", **context: Any) -> Visit:
    visit = site.open(path, **context)
    visit.page.wait_for_selector("#work:not([hidden])")
    expect(visit.page.locator("#work-list")).to_have_attribute("aria-busy", "false")
    return visit


def begin(visit: Visit, kind: str, **fields: Any) -> None:
    """Fill in a form, and send it."""
    if kind != "research":
        visit.page.locator(f"#work-kinds input[value={kind}]").check(force=True)
    for name, value in fields.items():
        visit.page.fill(f"#begin-{kind} [name={name}]", value)
    visit.page.click(f"#begin-{kind} button[type=submit]")
    expect(visit.page.locator("#work-result")).to_be_visible()


def ends(visit: Visit, state: str) -> None:
    expect(visit.page.locator("#work-result-state")).to_have_text(state, timeout=ENDS_MS)


def call(site: Site, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": f"Bearer {site.token}"}
    found = httpx.request(method, f"{site.server.url}{path}", json=body, headers=headers, timeout=30)
    found.raise_for_status()
    return found.json() if found.content else None


def rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    return list(site.corpus.connection.execute(query, {"tenant": site.tenant_id}).fetchall())


# --- research -------------------------------------------------------------------------------------------------------


def test_a_question_is_looked_into_and_a_citation_opens_the_very_passage(site: Site, bureau: Bureau) -> None:
    ids = furnish(site)
    visit = enter(site)
    expect(visit.page.locator("#work-list")).to_contain_text("Nothing yet.")
    begin(visit, "research", question=QUESTION)
    ends(visit, "succeeded")
    body = visit.page.locator("#work-body")
    headings = body.locator("h3").all_inner_texts()
    assert headings[0].lower() == "sources", "they are shown before the text"
    expect(body.locator(".claim").first).to_contain_text("A dual write fails in the middle.")
    expect(body).to_contain_text("The sources do not say.")
    expect(visit.page.locator("#work-said")).to_contain_text("succeeded")
    visit.shot("work-research")
    address = visit.page.url
    assert re.search(r"view=work&work=research\.[0-9a-f-]{36}$", address)
    body.locator(".claim .cite").first.click()
    expect(visit.page.locator("#adr-title")).to_have_text("Nobody writes twice")
    expect(visit.page.locator(".cited")).to_have_text("A dual write fails in the middle.")
    assert visit.page.evaluate("document.activeElement.classList.contains('cited')")
    assert f"adr={ids[1]}" in visit.page.url
    assert "work=" not in visit.page.url
    visit.shot("work-passage")
    visit.page.go_back()
    expect(visit.page.locator("#work-body .claim").first).to_be_visible()
    assert visit.page.url == address
    visit.clean()


def test_whoever_leaves_comes_back_to_it_and_others_do_not_find_it(site: Site, house: House, bureau: Bureau) -> None:
    furnish(site)
    visit = enter(site)
    begin(visit, "research", question=QUESTION)
    visit.page.reload()
    ends(visit, "succeeded")
    expect(visit.page.locator("#work-result-title")).to_have_text(QUESTION)
    expect(visit.page.locator("#work-list [aria-current]")).to_contain_text(QUESTION)
    address = visit.page.url.removeprefix(site.server.url)
    other = LocalIssuer.open(house.settings.home, house.settings.auth).mint(site.tenant_id, subject="eve", ttl_s=600)
    stranger = site.visit()
    stranger.page.goto(f"{site.server.url}{address}#token={other.text}")
    expect(stranger.page.locator("#work-result-title")).to_have_text("It is not there")
    expect(stranger.page.locator("#work-list")).to_contain_text("Nothing yet.")
    visit.clean()


def test_a_question_that_was_sent_twice_is_begun_once(site: Site, bureau: Bureau) -> None:
    furnish(site)
    visit = enter(site)
    lost: list[str] = []

    def lose(route: Route) -> None:
        """The request arrives, and its answer does not."""
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().text())
            route.abort("connectionreset")
        else:
            route.fallback()

    visit.context.route("**/v1/research", lose)
    visit.page.fill("#begin-research [name=question]", QUESTION)
    visit.page.click("#begin-research button[type=submit]")
    expect(visit.page.locator("#begin-problem")).to_contain_text("cannot be reached")
    expect(visit.page.locator("#begin-research [name=question]")).to_have_value(QUESTION)
    visit.page.click("#begin-research button[type=submit]")
    ends(visit, "succeeded")
    assert rows(site, "select count(*) from app.research where tenant_id = %(tenant)s") == [(1,)]
    assert len(lost) == 1


def test_what_the_sources_do_not_hold_is_said_and_what_is_deleted_is_gone(site: Site, bureau: Bureau) -> None:
    furnish(site)
    visit = enter(site)
    begin(visit, "research", question="Which gluten does the harbour bakery avoid?")
    ends(visit, "succeeded")
    expect(visit.page.locator("#work-body .notice")).to_have_text("The sources do not hold an answer.")
    visit.page.click("#work-actions [data-action=again]")
    expect(visit.page.locator("#begin-research [name=question]")).to_have_value(re.compile("gluten"))
    expect(visit.page.locator("#work-result")).to_be_hidden()
    visit.page.click("#work-list .work-row")
    visit.page.click("#work-actions [data-action=delete]")
    visit.page.click("#confirm-yes")
    expect(visit.page.locator("#work-list")).to_contain_text("Nothing yet.")
    assert rows(site, "select count(*) from app.research where tenant_id = %(tenant)s") == [(0,)]
    assert "work=" not in visit.page.url
    visit.clean()


PAGE: dict[str, Any] = {
    "id": UNKNOWN,
    "url": "javascript:alert(1)",
    "title": HOSTILE,
    "media_type": "text/html",
    "version": 3,
}
PAGE |= {"body": f"{HOSTILE} 𝒻ine. The gauge is read twice. More.", "changed_at": "2026-01-15T09:00:00Z"}
SOURCE: dict[str, Any] = {
    "kind": "page",
    "source_id": UNKNOWN,
    "label": None,
    "log": None,
    "status": "",
    "heading": HOSTILE,
}
SOURCE |= {"title": HOSTILE, "path": f"/v1/pages/{UNKNOWN}"}


def claim(source: int) -> dict[str, Any]:
    start = PAGE["body"].index("The gauge")
    return {
        "text": f"{HOSTILE} [x](javascript:alert(2))",
        "source": source,
        "char_start": start,
        "char_end": start + 24,
    }


def test_a_citation_of_a_page_opens_the_passage_as_text(site: Site) -> None:
    """Whatever the page of a site says, and also where it was changed since it was cited."""
    sources = [SOURCE | {"number": 1, "version": 3}, SOURCE | {"number": 2, "version": 2}]
    part = {"question": HOSTILE, "answered": True, "claims": [claim(1), claim(2), claim(9)], "dropped": 2}
    arm = {"arm": "meaning", "code": "x", "detail": HOSTILE, "hint": ""}
    result: dict[str, Any] = {
        "answered": True,
        "sources": sources,
        "parts": [part],
        "passes": [],
        "text": "",
        "reranked": None,
    }
    result |= {"rerank_error": None, "degraded": [arm], "as_of": None}
    found: dict[str, Any] = {
        "research_id": UNKNOWN,
        "question": HOSTILE,
        "state": "succeeded",
        "phase": "",
        "done": 1,
        "total": 1,
    }
    found |= {"unit": "steps", "cancel_requested": False, "last_error": None, "created_at": "2026-01-15T09:00:00Z"}
    found |= {"finished_at": "2026-01-15T09:00:00Z", "result": result}
    visit = site.visit()
    visit.context.route(f"**/v1/research/{UNKNOWN}", lambda route: route.fulfill(json=found))
    visit.context.route(f"**/v1/pages/{UNKNOWN}", lambda route: route.fulfill(json=PAGE))
    visit.page.goto(f"{site.server.url}/?view=work&work=research.{UNKNOWN}#token={site.token}")
    expect(visit.page.locator(".claim")).to_have_count(3)
    expect(visit.page.locator(".claim .cite")).to_have_count(2)  # the third has no source
    expect(visit.page.locator("#work-body")).to_contain_text("2 claims left out, because the citation did not hold.")
    visit.page.click(".claim .cite >> nth=0")
    expect(visit.page.locator("#passage mark")).to_have_text("The gauge is read twice.")
    expect(visit.page.locator("#passage-where")).to_contain_text("javascript:alert(1) · as it was")
    expect(visit.page.locator("#passage-where a")).to_have_count(0)
    visit.page.keyboard.press("Escape")
    visit.page.click(".claim .cite >> nth=1")
    expect(visit.page.locator("#passage-where")).to_contain_text("It has changed since it was cited.")
    expect(visit.page.locator("#passage mark")).to_have_count(0)
    expect(visit.page.locator("#passage-text")).to_contain_text("The gauge is read twice.")
    for tag in ("script", "img", "[onerror]", "a[href^='javascript']"):
        expect(visit.page.locator("#work").locator(tag)).to_have_count(0)
        expect(visit.page.locator("#passage").locator(tag)).to_have_count(0)
    visit.clean()


# --- tasks ----------------------------------------------------------------------------------------------------------


def test_a_task_shows_its_steps_and_a_person_decides_what_is_written(site: Site, bureau: Bureau) -> None:
    furnish(site)
    bureau.fake.turns = [
        [("search_adrs", {"query": "dual write"})],
        PROPOSED,
        f"Done. {HOSTILE} [run](javascript:alert(2))",
    ]
    visit = enter(site)
    visit.page.locator("#work-kinds input[value=task]").check(force=True)
    visit.page.locator("#begin-task [name=propose]").check()
    begin(visit, "task", goal="Tag what is about writes.")
    ends(visit, "succeeded")
    body = visit.page.locator("#work-body")
    expect(body.locator(".step")).to_have_count(6)
    expect(body.locator(".step").nth(1)).to_contain_text("search_adrs")
    body.locator(".step").nth(1).locator("summary").click()
    expect(body.locator(".output").first).to_contain_text("Nobody writes twice")
    expect(body.locator(".work-answer")).to_contain_text("Done.")
    expect(body.locator(".proposal")).to_have_count(2)
    assert rows(site, "select count(*) from app.adr_tags where tenant_id = %(tenant)s") == [(0,)]
    visit.shot("work-task")
    tag = body.locator(".proposal", has_text="A tag: writes for ADR-1 Nobody writes twice")
    tag.get_by_role("button", name="Accept").click()
    expect(tag).to_contain_text("Accepted by")
    expect(body.locator("details[open] .output")).to_have_count(1)  # what was opened stays open
    new = body.locator(".proposal", has_text="A new decision")
    new.locator("summary").click()
    expect(new.locator(".prose")).to_have_text("[x](javascript:alert(1))")  # which leads nowhere
    new.get_by_role("button", name="Dismiss").click()
    expect(new).to_contain_text("Dismissed by")
    assert rows(site, "select tag from app.adr_tags where tenant_id = %(tenant)s") == [("writes",)]
    assert rows(site, "select count(*) from app.adrs where tenant_id = %(tenant)s") == [(2,)]
    expect(visit.page.locator("#work-proposals")).to_be_hidden()
    for tag_name in ("script", "img", "[onerror]", "a[href^='javascript']"):
        expect(visit.page.locator("#work").locator(tag_name)).to_have_count(0)
    visit.clean()


def test_a_task_is_cancelled_while_its_model_speaks(site: Site, bureau: Bureau) -> None:
    furnish(site)
    bureau.fake.turns, bureau.fake.hangs_at = ["A word."], 0
    try:
        visit = enter(site)
        begin(visit, "task", goal="Think for ever.")
        expect(visit.page.locator(".step")).to_contain_text("The model is asked", timeout=ENDS_MS)
        expect(visit.page.locator("#work-progress")).to_contain_text("You can leave: it goes on.")
        visit.page.click("#work-actions [data-action=cancel]")
        ends(visit, "cancelled")
        expect(visit.page.locator("#work-actions [data-action=again]")).to_have_text("Try again …")
        visit.page.click("#work-actions [data-action=again]")
        expect(visit.page.locator("#begin-task [name=goal]")).to_have_value("Think for ever.")
        visit.clean()
    finally:
        bureau.fake.hangs_at = None


def test_a_bound_that_the_api_refuses_is_said_beside_the_form(site: Site, bureau: Bureau) -> None:
    visit = enter(site)
    visit.page.locator("#work-kinds input[value=task]").check(force=True)
    visit.page.click("#begin-task summary")
    visit.page.fill("#begin-task [name=goal]", "Anything")
    visit.page.fill("#begin-task [name=steps]", "999")
    visit.page.click("#begin-task button[type=submit]")
    expect(visit.page.locator("#begin-problem")).to_contain_text("Steps is 999, and a task may take 40 at most")
    expect(visit.page.locator("#begin-task [name=goal]")).to_have_value("Anything")
    expect(visit.page.locator("#work-result")).to_be_hidden()


# --- sites ----------------------------------------------------------------------------------------------------------


def test_a_site_is_crawled_and_each_address_says_what_came_of_it(site: Site, bureau: Bureau) -> None:
    local = bureau.local
    local.serve(HOST, "/robots.txt", answer(200, "User-agent: *\nDisallow: /secret\n"))
    local.serve(HOST, "/", page("tides", "/berths", "/secret", "/missing", "/inside"))
    local.serve(HOST, "/berths", page("berths", "/"))
    local.serve(HOST, "/inside", answer(302, Location=local.url("inner.test", "/")))
    visit = enter(site)
    visit.page.locator("#work-kinds input[value=crawl]").check(force=True)
    visit.page.click("#begin-crawl summary")
    begin(visit, "crawl", urls=local.url(HOST), depth="2", pages="20", minutes="2", hosts=f"{HOST} inner.test")
    ends(visit, "succeeded")
    body = visit.page.locator("#work-body")
    expect(body.locator(".urls > li")).to_have_count(6)
    expect(body.locator(".urls li", has_text="/secret")).to_contain_text("robots")
    expect(body.locator(".urls li", has_text="/missing")).to_contain_text("http-404")
    visit.shot("work-crawl")
    body.get_by_role("button", name=re.compile("^stored")).click()
    expect(body.locator(".urls > li")).to_have_count(2)
    body.locator(".urls a", has_text="/berths").click()
    expect(visit.page.locator("#passage-text")).to_contain_text("The berths of river")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#passage")).to_be_hidden()
    expect(visit.page.locator("#work-result")).to_be_visible()
    visit.page.click("#work-actions [data-action=again]")
    expect(visit.page.locator("#begin-crawl [name=urls]")).to_have_value(local.url(HOST))
    expect(visit.page.locator("#begin-crawl [name=pages]")).to_have_value("20")
    visit.page.click("#begin-crawl button[type=submit]")
    ends(visit, "succeeded")
    expect(body.get_by_role("button", name=re.compile("^unchanged 2"))).to_be_visible()
    assert local.connected == []
    visit.clean()


@pytest.mark.skipif(find_browser("auto") is None, reason="no Chromium here (apt-get install chromium)")
def test_which_pages_a_browser_renders_is_chosen_and_each_address_says_it(site: Site, bureau: Bureau) -> None:
    words = json.dumps(" ".join(f"The sluice of canal {number} opens at {number % 24}." for number in range(20)))
    script = f"<script>document.querySelector('main').textContent = {words}</script>"
    bureau.local.serve(HOST, "/app", answer(200, f"<html><body><main></main>{script}</body></html>", "text/html"))
    visit = enter(site)
    form, body = visit.page.locator("#begin-crawl"), visit.page.locator("#work-body")
    render = form.locator("[name=render]")
    visit.page.locator("#work-kinds input[value=crawl]").check(force=True)
    form.locator("summary", has_text="Pages that scripts make").click()
    assert render.locator("option").all_inner_texts() == ["as the server is set", "never", "when needed", "always"]
    for width, scheme in ((1280, "light"), (1280, "dark"), (320, "light"), (320, "dark")):
        look(visit, width, scheme)
        visit.shot(f"work-crawl-render-form-{width}-{scheme}")
        assert accessible(visit) == []
    look(visit, 1280, "light")
    render.select_option("never")
    begin(visit, "crawl", urls=bureau.local.url(HOST, "/app"), depth="0")
    ends(visit, "succeeded")
    expect(body).to_contain_text("none to be rendered")
    expect(body.locator(".urls li")).to_contain_text("empty: the page has no text but what its scripts make")
    visit.page.click("#work-actions [data-action=again]")
    expect(render).to_have_value("never")
    expect(render).to_be_visible()
    render.select_option("auto")
    visit.page.click("#begin-crawl button[type=submit]")
    ends(visit, "succeeded")
    expect(body).to_contain_text("1 page of 100 asked for, 1 rendered by a browser")
    expect(body.locator(".urls li")).to_contain_text("rendered by a browser")
    for width, scheme in ((1280, "light"), (320, "dark")):
        look(visit, width, scheme)
        visit.shot(f"work-crawl-rendered-{width}-{scheme}")
        assert accessible(visit) == []
    look(visit, 1280, "light")
    body.locator(".urls a").click()
    expect(visit.page.locator("#passage-text")).to_contain_text("The sluice of canal 7 opens at 7.")
    visit.clean()


def look(visit: Visit, width: int, scheme: Any) -> None:
    """As somebody with such a screen sees it."""
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.emulate_media(color_scheme=scheme)


def test_an_address_that_may_not_be_asked_says_so(site: Site, bureau: Bureau) -> None:
    visit = enter(site)
    begin(visit, "crawl", urls="http://127.0.0.66/", depth="0")
    ends(visit, "succeeded")
    expect(visit.page.locator(".urls li")).to_contain_text("not a public address")
    visit.clean()


# --- files ----------------------------------------------------------------------------------------------------------


def scan(folder: Path) -> Path:
    """Two pages, of which the second has more pixels than the worker takes."""
    small = drawn.page(["The heron fishes at low water."], size=(700, 240))
    path = folder / "scan.tif"
    path.write_bytes(drawn.pack(small, "TIFF", [drawn.page(["The curlew sleeps."], size=(1_000, 1_000))]))
    return path


def test_a_scan_is_read_and_the_page_that_failed_is_named_and_read_again(
    site: Site, bureau: Bureau, tmp_path: Path
) -> None:
    visit = enter(site)
    visit.page.locator("#work-kinds input[value=document]").check(force=True)
    hostile = tmp_path / "<img src=x onerror=alert(1)>.md"
    hostile.write_text("# Notes\n\nThe gauge is read twice.\n")
    visit.page.set_input_files("#document-files", [hostile, scan(tmp_path)])
    visit.page.click("#begin-document button[type=submit]")
    ends(visit, "partial")
    body = visit.page.locator("#work-body")
    expect(body).to_contain_text("Page 2: ")
    expect(body).to_contain_text("pixels")
    expect(body).to_contain_text("1 page could not be read; a retry reads it alone.")
    expect(visit.page.locator("#work-list li")).to_have_count(2)
    expect(visit.page.locator("#work-list")).to_contain_text("<img src=x onerror=alert(1)>.md")
    visit.shot("work-document")
    with visit.page.expect_download() as download:
        visit.page.click("#work-actions [data-original]")
    assert download.value.path().read_bytes() == scan(tmp_path).read_bytes()
    before = rows(site, "select count(*) from app.jobs where tenant_id = %(tenant)s")[0][0]
    visit.page.click("#work-actions [data-action=retry]")
    visit.until(
        lambda: rows(site, "select count(*) from app.jobs where tenant_id = %(tenant)s")[0][0] == before + 1,
        "a new job",
    )
    ends(visit, "partial")
    visit.page.click("#work-actions [data-action=delete]")
    visit.page.click("#confirm-yes")
    expect(visit.page.locator("#work-list li")).to_have_count(1)
    visit.clean()


def test_a_file_that_cannot_be_read_says_why(site: Site, bureau: Bureau, tmp_path: Path) -> None:
    visit = enter(site)
    visit.page.locator("#work-kinds input[value=document]").check(force=True)
    (tmp_path / "lost.pdf").write_bytes(b"%PDF-1.7 lost in the post")
    visit.page.set_input_files("#document-files", tmp_path / "lost.pdf")
    visit.page.click("#begin-document button[type=submit]")
    ends(visit, "refused")
    expect(visit.page.locator("#work-body .problem")).to_be_visible()
    expect(visit.page.locator("#work-actions [data-action=retry]")).to_have_text("Read it once more")
    visit.clean()


# --- for everybody --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "kinds"),
    [("member", ["Question", "Task", "Files"]), ("admin", ["Question", "Task", "Site", "Files"])],
)
def test_what_may_be_begun_is_what_the_caller_may(site: Site, house: House, role: CallerRole, kinds: list[str]) -> None:
    issuer = LocalIssuer.open(house.settings.home, house.settings.auth)
    token = issuer.mint(site.tenant_id, subject=f"a-{role}", ttl_s=600, role=role).text
    visit = site.visit()
    visit.page.goto(f"{site.server.url}/?view=work#token={token}")
    expect(visit.page.locator("#work")).to_be_visible()
    assert visit.page.locator("#work-kinds label:visible").all_inner_texts() == kinds
    visit.clean()


def test_it_is_reached_and_left_with_keys(site: Site, bureau: Bureau) -> None:
    furnish(site)
    visit = site.open()
    expect(visit.page.locator("#open-work")).to_be_visible()
    visit.page.keyboard.press("w")
    expect(visit.page.locator("#work")).to_be_visible()
    assert visit.page.evaluate("document.activeElement.id") == "work-title"
    visit.page.focus("#research-question")
    visit.page.keyboard.type("why w")
    expect(visit.page.locator("#work")).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#research-question")).to_have_value("why w")
    visit.page.fill("#research-question", QUESTION)
    visit.page.press("#begin-research button[type=submit]", "Enter")
    ends(visit, "succeeded")
    assert visit.page.evaluate("document.activeElement.id") == "work-result-title"
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#work-result")).to_be_hidden()
    assert visit.page.evaluate("document.activeElement.classList.contains('work-row')")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#work-body .claim")).to_be_visible()
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("Escape")
    expect(visit.page.locator("#work")).to_be_hidden()
    expect(visit.page.locator("#decisions")).to_be_visible()
    visit.clean()


def test_without_the_server_it_says_so_and_comes_back_by_itself(site: Site) -> None:
    visit = enter(site)
    visit.context.route("**/v1/jobs*", lambda route: route.abort("connectionrefused"))
    expect(visit.page.locator("#work-note")).to_contain_text("Not known now", timeout=30_000)
    visit.context.unroute("**/v1/jobs*")
    visit.context.route("**/v1/live/*", site.live.answer)
    expect(visit.page.locator("#work-note")).to_be_empty(timeout=30_000)


@pytest.mark.parametrize(("viewport", "scheme"), WIDTHS)
def test_it_can_be_read_by_everybody(
    site: Site, bureau: Bureau, viewport: dict[str, int], scheme: str, tmp_path: Path
) -> None:
    furnish(site)
    bureau.fake.turns = [[("search_adrs", {"query": "dual write"})], PROPOSED, "Two things are proposed."]
    bureau.local.serve(HOST, "/long", page("tides", f"/{'a' * 300}"))
    tools = ["search_adrs", "propose_tag", "propose_adr"]
    start = bureau.local.url(HOST, "/long")
    made = {
        "research": call(site, "POST", "/v1/research", {"question": QUESTION})["research_id"],
        "task": call(site, "POST", "/v1/agents/tasks", {"goal": "Tag it.", "tools": tools})["task_id"],
        "crawl": call(site, "POST", "/v1/crawls", {"start_urls": [start]})["crawl_id"],
    }
    headers = {"authorization": f"Bearer {site.token}"}
    file = ("scan.tif", scan(tmp_path).read_bytes())
    sent = httpx.post(f"{site.server.url}/v1/documents", files={"file": file}, headers=headers)
    made["document"] = sent.json()["id"]
    visit = enter(site, viewport=viewport, color_scheme=scheme)
    size = "mobile" if viewport is MOBILE else "desktop"
    expect(visit.page.locator("#work-list [data-word=succeeded]")).to_have_count(3, timeout=ENDS_MS)
    expect(visit.page.locator("#work-list [data-word=partial]")).to_have_count(1, timeout=ENDS_MS)
    for kind in ("task", "crawl", "document", "research"):
        visit.page.locator(f"#work-kinds input[value={kind}]").check(force=True)
        visit.shot(f"work-{kind}-form-{size}-{scheme}")
        assert accessible(visit) == []
    for kind, made_id in made.items():
        visit.page.goto(f"{site.server.url}/?view=work&work={kind}.{made_id}")
        expect(visit.page.locator("#work-body")).not_to_be_empty()
        for summary in visit.page.locator("#work-body summary").all():
            summary.click()
        visit.page.screenshot(path=visit.pictures / f"work-{kind}-{size}-{scheme}.png", full_page=True)
        assert accessible(visit) == []
    bar = visit.page.evaluate(OVERLAPS)
    assert bar == [], "nothing in the bar lies over something else"
    visit.clean()


OVERLAPS = """
(() => {
    const all = [...document.querySelectorAll(".bar .brand, .bar .connection, .tools button")];
    const boxes = all.filter((each) => each.offsetParent)
        .map((each) => [each.textContent.trim(), each.getBoundingClientRect()]);
    const meet = (one, other) => one.left < other.right - 1 && other.left < one.right - 1
        && one.top < other.bottom - 1 && other.top < one.bottom - 1;
    return boxes.flatMap(([name, one], at) => boxes.slice(at + 1)
        .filter(([, other]) => meet(one, other)).map(([other]) => `${name} over ${other}`));
})()
"""


def test_an_address_that_names_no_work_is_refused(site: Site) -> None:
    for odd in ("crawl.%3Cscript%3E", "research.1", f"{'a' * 65}.{'0' * 36}"):
        assert httpx.get(f"{site.server.url}/?view=work&work={odd}").status_code == 400
