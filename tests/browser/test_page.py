"""The page as people meet it: finding, reading, asking, with a mouse, with keys, on a small screen, with hostile texts,
and when something is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from api.chat.schemas import ChatRequest
from tests.browser.conftest import DESKTOP, HELD, MOBILE, Site, Visit
from tests.connectors.llm import stand_in as recorded
from tests.connectors.llm.stand_in import Step

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

FRESH = {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:00Z", "age_s": 0.8}
WIDTHS = [(DESKTOP, "light"), (DESKTOP, "dark"), (MOBILE, "light"), (MOBILE, "dark")]
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HOSTILE_BODY = f"""# {HOSTILE}

## Context {HOSTILE}

<script>alert(3)</script> <iframe src="https://evil.example/"></iframe> {HOSTILE}

[run](javascript:alert(4)) [data](data:text/html,<script>alert(5)</script>) [fine](https://example.org/a)
[file](0002-x.md)
![picture](https://evil.example/pixel.png) <https://example.org/b>

| a | b |
|---|---|
| {HOSTILE} | `{HOSTILE}` |

```html
{HOSTILE}
```
"""


def row(number: int, **more: Any) -> dict[str, Any]:
    """One of the view `activity`."""
    return {
        "adr_id": f"0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d{number:04d}",
        "version": 1,
        "change": "create",
        "title": f"Decision {number}",
        "status": "accepted",
        "author": "Ada",
        "effective_at": "2026-01-15T09:00:00Z",
        "recorded_at": f"2026-01-15T09:00:{number:02d}Z",
    } | more


def event(name: str, data: dict[str, Any], token: str) -> dict[str, Any]:
    return {"event": name, "data": data, "id": token}


def furnish(site: Site) -> dict[str, str]:
    """Three decisions that can be found, the first with two versions. Ids by name."""
    text = "# {title}\n\n## Context\n\nA dual write fails in the middle: {title}.\n\n## Decision\n\nWe do it **so**.\n"
    ids = {
        name: str(site.corpus.adr(site.tenant_id, title, text.format(title=title), number=number, tags=["kafka"]))
        for number, (name, title) in enumerate(
            {"wal": "Write through the WAL", "outbox": "Keep an outbox", "queue": "Bound every queue"}.items(), 1
        )
    }
    execute = site.corpus.connection.execute
    execute(
        "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, author, message, "
        "effective_at) select tenant_id, adr_id, 2, 'update', title, 'superseded', body || 'And more.', 'Grace', "
        "'Say more', effective_at + interval '1 day' from app.adr_versions where adr_id = %s",
        [ids["wal"]],
    )
    execute("update app.adrs set version = 2, status = 'superseded' where adr_id = %s", [ids["wal"]])
    return ids


def search(visit: Visit, words: str) -> None:
    """Type it, and wait for an answer to these words."""
    visit.page.locator("#q").fill("")
    visit.page.locator("#q").press_sequentially(words)
    visit.eventually("document.querySelector('#latest').hidden && !document.querySelector('#search.htmx-request')")
    visit.page.wait_for_selector("#results .hit")


# --- getting in -----------------------------------------------------------------------------------------------------


def test_the_token_leaves_the_address_and_lasts_as_long_as_the_tab(site: Site) -> None:
    visit = site.open("/?q=x")
    assert visit.page.url == f"{site.server.url}/?q=x"
    assert site.token not in visit.page.evaluate("document.documentElement.outerHTML")
    visit.page.reload()
    visit.page.wait_for_selector("#app:not([hidden])")
    assert not any(site.token in address for address in visit.asked)
    visit.page.click("#sign-out")
    expect(visit.page.locator("#sign-in")).to_be_visible()
    assert visit.page.evaluate("sessionStorage.length") == 0
    visit.clean()


def test_a_person_signs_in_by_hand_and_is_told_what_is_wrong(site: Site) -> None:
    visit = site.visit()
    visit.page.goto(site.server.url)
    expect(visit.page.locator("#sign-in")).to_be_visible()
    assert visit.page.evaluate("document.activeElement.id") == "token"
    visit.page.fill("#token", "nonsense")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#sign-in-problem")).to_contain_text("form of a token")
    visit.page.fill("#token", site.token[:-8] + "AAAAAAAA")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#sign-in-problem")).to_contain_text("token")
    expect(visit.page.locator("#app")).to_be_hidden()
    visit.shot("sign-in")
    visit.errors.clear()  # the browser notes the 401
    visit.page.fill("#token", site.token)
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#app")).to_be_visible()
    visit.clean()


# --- finding and reading --------------------------------------------------------------------------------------------


def test_search_read_compare_and_go_back(site: Site) -> None:
    ids = furnish(site)
    visit = site.open()
    expect(visit.page.locator("#recent .hit")).to_have_count(3)
    search(visit, "outbox")
    assert "q=outbox" in visit.page.url
    expect(visit.page.locator("#found")).to_contain_text("result")
    visit.shot("search")
    visit.page.click("#results .hit >> nth=0")
    expect(visit.page.locator("#adr-title")).to_have_text("Keep an outbox")
    assert visit.page.title() == "ADR-2: Keep an outbox"
    assert f"adr={ids['outbox']}" in visit.page.url
    assert visit.page.evaluate("document.activeElement.id") == "adr-title"
    expect(visit.page.locator(".prose strong")).to_have_text("so")
    expect(visit.page.locator(".prose h3")).to_have_count(2)

    search(visit, "through the WAL")
    visit.page.click(f"#results [data-adr='{ids['wal']}']")
    expect(visit.page.locator("#adr-title")).to_have_text("Write through the WAL")
    expect(visit.page.locator(".version")).to_have_count(2)
    visit.page.click("[data-slot=diff]")
    expect(visit.page.locator(".diff ins").first).to_contain_text("And more.")
    visit.page.click("[data-slot=diff]")
    expect(visit.page.locator(".diff")).to_be_hidden()
    visit.page.click("[data-slot=read] >> nth=1")
    expect(visit.page.locator("[data-slot=notice]")).to_contain_text("This is version 1; the newest is 2.")
    visit.shot("old-version")

    visit.page.go_back()
    expect(visit.page.locator("#adr-title")).to_have_text("Keep an outbox")
    visit.page.go_back()
    expect(visit.page.locator("#reading")).to_be_hidden()
    visit.page.go_forward()
    expect(visit.page.locator("#adr-title")).to_have_text("Keep an outbox")
    visit.clean()


def test_a_link_to_a_decision_opens_it_and_one_to_nothing_says_so(site: Site) -> None:
    ids = furnish(site)
    visit = site.open(f"/?q=queue&adr={ids['queue']}")
    expect(visit.page.locator("#adr-title")).to_have_text("Bound every queue")
    expect(visit.page.locator("#q")).to_have_value("queue")
    visit.page.wait_for_selector("#results .hit[aria-current]")
    visit.clean()
    visit.page.goto(f"{site.server.url}/?adr=0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f")
    expect(visit.page.locator("#reading .problem")).to_contain_text("There is no ADR")


def test_everything_is_reached_with_keys(site: Site) -> None:
    furnish(site)
    visit = site.open()
    keys = visit.page.keyboard
    visit.page.wait_for_selector("#recent .hit")
    keys.press("j")
    assert visit.page.evaluate("document.activeElement === document.querySelectorAll('#recent .hit')[0]")
    keys.press("j")
    keys.press("k")
    keys.press("k")
    assert visit.page.evaluate("document.activeElement.id") == "q"
    keys.type("dual write")
    visit.page.wait_for_selector("#results .hit")
    keys.press("ArrowDown")
    keys.press("Enter")
    visit.page.wait_for_selector("#adr-title")
    keys.press("Escape")
    expect(visit.page.locator("#reading")).to_be_hidden()
    assert visit.page.evaluate("document.activeElement.classList.contains('hit')")
    keys.press("/")
    keys.press("Escape")
    expect(visit.page.locator("#latest")).to_be_visible()
    expect(visit.page.locator("#q")).to_have_value("")
    visit.page.evaluate("document.activeElement.blur()")
    keys.press("?")
    expect(visit.page.locator("#keys")).to_be_visible()
    keys.press("Escape")
    expect(visit.page.locator("#keys")).to_be_hidden()
    keys.press("a")
    assert visit.page.evaluate("document.activeElement.id") == "question"
    visit.clean()


# --- asking ---------------------------------------------------------------------------------------------------------


def test_an_answer_streams_with_sources_that_lead_to_their_version(site: Site) -> None:
    ids = furnish(site)
    site.provider.script = [
        recorded.ANTHROPIC_START,
        recorded.anthropic_text("It would fail "),
        0.5,
        recorded.anthropic_text("**in the middle** [1]. Nobody says so [7]."),
        recorded.ANTHROPIC_END,
    ]
    visit = site.open()
    visit.page.fill("#question", "Why no dual write?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".answer")).to_contain_text("It would fail")
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".answer strong")).to_have_text("in the middle")
    expect(visit.page.locator(".cite")).to_have_count(1)
    expect(visit.page.locator(".sources summary")).to_contain_text("1 source; 1 number led nowhere")
    expect(visit.page.locator(".turn-state")).to_contain_text("By claude-test-1.")
    visit.shot("answer")
    visit.page.click(".cite")
    visit.page.wait_for_selector("#adr-title")
    assert any(adr_id in visit.page.url for adr_id in ids.values())
    visit.clean()


class LookUps:
    """A model that asks for a search, then, when the test lets it go on, for what is no tool, and then answers."""

    def __init__(self) -> None:
        self.rounds = 0
        self.let_go = False

    def __iter__(self) -> Iterator[Step]:
        self.rounds += 1
        yield recorded.ANTHROPIC_START
        if self.rounds == 1:
            yield recorded.anthropic_call("t1", "search_adrs", '{"query": "broker"}')
        elif self.rounds == 2:
            while not self.let_go:
                yield 0.05
            yield recorded.anthropic_call("t2", "guess", "{}")
        else:
            yield recorded.anthropic_text("In the middle [1], as the broker [2].")
        yield recorded.ANTHROPIC_END if self.rounds > 2 else recorded.ANTHROPIC_CALLED


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (MOBILE, "dark")])
def test_a_model_looks_up_more_where_the_switch_is_on(site: Site, viewport: Any, scheme: Any) -> None:
    furnish(site)
    visit = site.open(viewport=viewport, color_scheme=scheme)
    switch = visit.page.get_by_label("Let the model look up more")
    by_itself = ChatRequest("Why?").tools
    expect(switch).to_be_checked(checked=by_itself)
    site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("It fails."), recorded.ANTHROPIC_END]
    visit.page.fill("#question", "Why no dual write?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    assert ("tools" in site.provider.requests[-1]) == by_itself
    switch.check()
    visit.page.reload()
    expect(switch).to_be_checked()
    visit.page.click("#new-conversation")
    before = len(site.provider.requests)
    site.provider.script = script = LookUps()  # type: ignore[assignment]
    visit.page.fill("#question", "Why no dual write?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".turn-state")).to_contain_text("It searches for “broker”")
    script.let_go = True
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".turn-state")).to_contain_text("It looked up more 2 times.")
    assert [tool["name"] for tool in site.provider.requests[before]["tools"]] == ["search_adrs", "read_adr"]
    assert len(site.provider.requests) == before + 3
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    switch.scroll_into_view_if_needed()
    visit.shot(f"look-up-{'mobile' if viewport is MOBILE else 'desktop'}-{scheme}")
    switch.uncheck()
    visit.page.reload()
    expect(switch).not_to_be_checked()
    visit.clean()


def test_an_answer_stops_when_told_and_the_provider_is_left(site: Site) -> None:
    furnish(site)
    site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("Half of it"), 60.0]
    visit = site.open()
    visit.page.fill("#question", "Why no dual write?")
    visit.page.click("#ask-button")
    expect(visit.page.locator(".answer")).to_contain_text("Half of it")
    expect(visit.page.locator("#stop")).to_be_visible()
    visit.page.click("#stop")
    expect(visit.page.locator(".turn-state")).to_contain_text("Stopped.")
    expect(visit.page.locator("#stop")).to_be_hidden()
    expect(visit.page.locator("#ask-button")).to_be_enabled()
    visit.until(site.provider.closed.is_set, "the provider's connection is closed")
    visit.clean()


def test_an_answer_goes_on_after_a_reload_and_the_conversation_is_remembered(site: Site) -> None:
    furnish(site)
    before = len(site.provider.requests)
    site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("It fails. "), recorded.ANTHROPIC_END]
    visit = site.open()
    visit.page.fill("#question", "Why no dual write?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".turn-used")).to_contain_text("tokens")
    site.provider.closed.clear()
    slow = [part for word in range(40) for part in (recorded.anthropic_text(f"word{word} "), 0.1)]
    site.provider.script = [recorded.ANTHROPIC_START, *slow, recorded.ANTHROPIC_END]
    visit.page.fill("#question", "And in the middle?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".answer").last).to_contain_text("word2")
    visit.page.reload()
    expect(visit.page.locator(".turn")).to_have_count(2)
    expect(visit.page.locator(".answer").first).to_have_text("It fails.")
    expect(visit.page.locator(".answer").last).to_contain_text("word0 word1 word2")
    expect(visit.page.locator("#stop")).to_be_visible()
    expect(visit.page.locator(".answer").last).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".answer").last).to_have_text("".join(f"word{word} " for word in range(40)).strip())
    asked = [message["content"] for message in site.provider.requests[-1]["messages"]]
    assert len(asked) == 3, "the turn before, and the question"
    assert len(site.provider.requests) == before + 2, "a reload asks nobody again"
    visit.shot("resumed")
    visit.page.click("#new-conversation")
    expect(visit.page.locator(".turn")).to_have_count(0)
    visit.page.reload()
    expect(visit.page.locator(".turn")).to_have_count(0)
    visit.clean()


def test_a_provider_that_breaks_is_said_in_words(site: Site) -> None:
    furnish(site)
    visit = site.open()
    site.provider.script = [recorded.ANTHROPIC_START, recorded.anthropic_text("Half"), recorded.ANTHROPIC_ERROR]
    visit.page.fill("#question", "Why no dual write?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".turn-state.problem")).not_to_be_empty()
    expect(visit.page.locator(".answer")).to_contain_text("Half")
    expect(visit.page.locator("#ask-button")).to_be_enabled()


# --- what moves -----------------------------------------------------------------------------------------------------


def test_a_cut_stream_goes_on_where_it_was_and_a_reset_forgets(site: Site) -> None:
    counts = {"kind": "versions", "label": "create", "count": 2}
    site.live.scripts = {
        "activity": [
            [
                event("snapshot", {"rows": [row(1)], "more": True, "as_of": FRESH}, "a1"),
                event("snapshot", {"rows": [row(2)], "more": False, "as_of": FRESH}, "a2"),
                event(
                    "delta", {"op": "upsert", "key": {"adr_id": row(3)["adr_id"], "version": 1}, "row": row(3)}, "a3"
                ),
            ],
            HELD,
            [event("delta", {"op": "delete", "key": {"adr_id": row(1)["adr_id"], "version": 1}, "row": None}, "a4")],
            HELD,
            [
                event("reset", {"reason": "expired"}, "b0"),
                event("snapshot", {"rows": [row(9)], "more": False, "as_of": FRESH}, "b1"),
            ],
        ],
        "entity_counts": [
            [
                event("snapshot", {"rows": [counts], "more": False, "as_of": FRESH}, "c1"),
                event("delta", {"op": "upsert", "key": counts, "row": {"count": 1234}}, "c2"),
            ]
        ],
    }
    visit = site.open()
    titles = "[...document.querySelectorAll('#feed a')].map((a) => a.textContent).join()"
    for shown in ("Decision 3,Decision 2,Decision 1", "Decision 3,Decision 2"):
        visit.eventually(f"{titles} === '{shown}'")
        visit.until(lambda: "activity" in site.live.held, "it asks again")
        site.live.go_on("activity")
    visit.eventually(f"{titles} === 'Decision 9'")
    assert [token for view, token in site.live.asked if view == "activity"][:3] == [None, "a3", "a4"]
    expect(visit.page.locator("#count-versions")).to_have_text("1,234")
    expect(visit.page.locator("#count-versions-note")).to_have_text("1,234 create")
    visit.clean()


def test_what_nobody_confirms_is_never_fresh(site: Site) -> None:
    furnish(site)
    connection = site.corpus.connection
    connection.execute("update mv.watermarks set source_at = %s", [datetime.now(UTC) - timedelta(minutes=2)])
    visit = site.open()
    expect(visit.page.locator("#arm-words .state")).to_contain_text("stale, 2 min behind")
    search(visit, "outbox")
    expect(visit.page.locator("#found")).to_contain_text("the newest may be missing")
    visit.clean()
    connection.execute("update mv.watermarks set lsn = '0/0' where partition = 3")
    expect(visit.page.locator("#arm-words .state")).to_have_text("unknown")
    expect(visit.page.locator("#arm-words")).to_have_attribute("data-state", "unknown")
    search(visit, "queue")
    expect(visit.page.locator("#found")).to_contain_text("nobody knows what is missing")
    visit.clean()


def test_without_the_network_it_says_so_and_comes_back_by_itself(site: Site) -> None:
    furnish(site)
    site.live.refuses = True
    visit = site.open()
    expect(visit.page.locator("#connection")).to_contain_text("cut off, next try in")
    visit.context.set_offline(True)
    expect(visit.page.locator("#connection")).to_have_text("offline")
    visit.page.fill("#q", "outbox")
    expect(visit.page.locator("#results .problem")).to_contain_text("cannot be reached")
    visit.shot("offline")
    site.live.scripts = {
        view: [[event("snapshot", {"rows": [], "more": False, "as_of": FRESH}, "a1")]]
        for view in ("activity", "entity_counts")
    }
    site.live.refuses = False
    visit.context.set_offline(False)
    expect(visit.page.locator("#count-adrs")).to_have_text("0")
    visit.page.fill("#q", "queue")
    visit.page.wait_for_selector("#results .hit")


# --- who cannot be trusted ------------------------------------------------------------------------------------------


def test_hostile_texts_stay_texts(site: Site) -> None:
    adr_id = site.corpus.adr(site.tenant_id, HOSTILE, HOSTILE_BODY, number=1, author=HOSTILE, tags=["<b>tag</b>"])
    hostile = row(1, title=HOSTILE, author=HOSTILE, status="accepted", adr_id=str(adr_id))
    site.live.scripts["activity"] = [[event("snapshot", {"rows": [hostile], "more": False, "as_of": FRESH}, "a1")]]
    site.provider.script = [
        recorded.ANTHROPIC_START,
        recorded.anthropic_text(f"{HOSTILE} [1] [x](javascript:alert(6)) ![p](https://evil.example/q.png)"),
        recorded.ANTHROPIC_END,
    ]
    visit = site.open()
    expect(visit.page.locator("#feed li")).to_contain_text("<img src=x")
    visit.page.fill("#q", "onerror alert")
    visit.page.wait_for_selector("#results .hit")
    visit.page.click("#results .hit")
    expect(visit.page.locator("#adr-title")).to_have_text(HOSTILE)
    visit.page.fill("#question", HOSTILE)
    visit.page.click("#ask-button")
    expect(visit.page.locator(".answer")).to_have_attribute("aria-busy", "false")
    expect(visit.page.locator(".answer")).to_contain_text("<img src=x")
    visit.page.wait_for_timeout(500)
    visit.shot("hostile")
    main = visit.page.locator("main")
    for tag in ("script", "img", "iframe", "object", "style", "b", "[onerror]"):
        expect(main.locator(tag)).to_have_count(0)
    links = visit.page.evaluate("[...document.querySelectorAll('main a')].map((a) => a.href)")
    assert {link.split(":", 1)[0] for link in links} <= {"http", "https"}
    assert {address.split("/")[2] for address in visit.asked} == {site.server.url.removeprefix("http://")}
    visit.clean()


def test_the_browser_itself_refuses_markup_from_text(site: Site) -> None:
    visit = site.open()
    for attempt in (
        "document.getElementById('found').innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "new DOMParser().parseFromString('<b>x</b>', 'text/html')",
    ):
        assert visit.page.evaluate(
            f"(() => {{ try {{ {attempt}; return 'made' }} catch (e) {{ return e.name }} }})()"
        ) == ("TypeError")
    assert len(visit.page.evaluate("violations")) == 3, "and the violations are seen, where there are some"


# --- for everybody --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("viewport", "scheme"), WIDTHS)
def test_it_can_be_read_by_everybody(site: Site, viewport: dict[str, int], scheme: str) -> None:
    ids = furnish(site)
    rows = [row(number) for number in range(6)]
    counted = {"kind": "adrs", "label": "accepted", "count": 3}
    site.live.scripts = {
        "activity": [[event("snapshot", {"rows": rows, "more": False, "as_of": FRESH}, "a1")]],
        "entity_counts": [
            [
                event(
                    "snapshot",
                    {"rows": [counted], "more": False, "as_of": FRESH},
                    "c1",
                )
            ]
        ],
    }
    visit = site.open(viewport=viewport, color_scheme=scheme)
    visit.page.wait_for_selector("#recent .hit")
    expect(visit.page.locator("#feed li")).to_have_count(6)
    size = "mobile" if viewport is MOBILE else "desktop"
    visit.shot(f"home-{size}-{scheme}")
    assert accessible(visit) == []
    visit.page.fill("#q", "dual write")
    visit.page.wait_for_selector("#results .hit")
    assert accessible(visit) == []
    visit.page.goto(f"{site.server.url}/?adr={ids['wal']}")
    visit.page.wait_for_selector(".version")
    visit.page.click("[data-slot=diff]")
    visit.page.wait_for_selector(".diff")
    visit.shot(f"adr-{size}-{scheme}")
    assert accessible(visit) == []
    visit.clean()


def accessible(visit: Visit) -> list[str]:
    """What axe-core finds, and whatever is wider than the window."""
    found = Axe().run(visit.page, options={"runOnly": {"type": "tag", "values": AXE_TAGS}})
    faults = [
        f"{each['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:160]}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return faults + [f"{over} px too wide" for over in [visit.page.evaluate(wide)] if over > 0]


def test_colours_follow_the_system_until_somebody_chooses(site: Site) -> None:
    visit = site.open(color_scheme="dark", reduced_motion="reduce")
    background = "getComputedStyle(document.body).backgroundColor"
    assert visit.page.evaluate(background) == "rgb(15, 20, 22)"
    visit.page.click("#theme")
    assert visit.page.evaluate(background) == "rgb(251, 250, 247)"
    visit.page.reload()
    visit.page.wait_for_selector("#app:not([hidden])")
    assert visit.page.evaluate(background) == "rgb(251, 250, 247)"
    assert visit.page.evaluate("document.getAnimations().length") == 0
    visit.clean()


EVENT_STREAM = (
    ": hello\r\nid: 1\r\nevent: delta\r\ndata: {1\r\ndata: 2}\r\n\r\ndata: two\n\nid: 3\rdata:three\r\r"
    "event: nothing\n\nid: x\0y\ndata:  four\nother: 1\nretry: 250\n\n"
)
EVENTS = [("delta", "{1\n2}", "1"), ("message", "two", "1"), ("message", "three", "3"), ("message", " four", "3")]
CUT_EVERYWHERE = """
async ([address, text]) => {
    const { EventParser } = await import(address);
    const seen = new Set();
    for (let first = 0; first <= text.length; first++) {
        for (let second = first; second <= text.length; second++) {
            const parser = new EventParser();
            const events = [text.slice(0, first), text.slice(first, second), text.slice(second)]
                .flatMap((piece) => parser.feed(piece))
                .map((event) => [event.type, event.data, event.id]);
            seen.add(JSON.stringify([events, parser.retryMs]));
        }
    }
    return [...seen].map(JSON.parse);
}
"""


def test_events_are_read_whatever_the_pieces_they_come_in(site: Site) -> None:
    visit = site.open()
    module = visit.page.evaluate("document.querySelector('script[type=module]').src")
    address = module.replace("page.js", "events.js")
    assert visit.page.evaluate(CUT_EVERYWHERE, [address, EVENT_STREAM]) == [[[list(each) for each in EVENTS], 250]]
    visit.clean()
