"""Every panel and list shows what its route says, in the shapes of the contract: with the routes' answers scripted, so
that each state is seen, also those that a healthy system does not have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from api.page.assets import Assets
from api.page.controller import DOCUMENT
from tests.browser.conftest import Site, Visit
from tests.browser.test_page import accessible

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PATHS = {"/v1/pipeline", "/v1/jobs", "/v1/documents", "/v1/feeds", "/v1/usage", "/v1/adrs/{adr_id}/related"}
PATHS |= {"/v1/suggestions/{suggestion_id}/accept"}
HOSTILE = "<img src=x onerror=alert(1)>"
FRESH = {"state": "fresh", "lsn": "0/1A2B3C8", "time": "2026-01-15T09:00:00Z", "age_s": 0.8}
UNKNOWN = {"state": "unknown", "lsn": None, "time": None, "age_s": None}
PIPELINE = {
    "sampled_at": "2026-01-15T09:00:00Z",
    "reason": "",
    "groups": [
        {
            "group": "adriatic.index",
            "status": "catching-up",
            "lag_records": 1200,
            "lag_s": 14.2,
            "trend": -310.5,
            "eta_s": 3.9,
            "retention_share": 0.01,
            "reason": "behind",
        },
        {
            "group": "adriatic.embed",
            "status": "unknown",
            "lag_records": None,
            "lag_s": None,
            "trend": None,
            "eta_s": None,
            "retention_share": None,
            "reason": "it does not answer",
        },
    ],
    "views": [
        {
            "view": "search.words",
            "flow": "index",
            "state": "stale",
            "age_s": 15.1,
            "stages": {"topic": 14.1},
            "slowest": "topic",
            "last_hour": None,
            "reason": "",
        }
    ],
    "dead_letters": {"open": 2, "kinds": []},
    "slot": {"name": "adriatic", "active": True, "status": "reserved", "retained_bytes": 1, "behind_s": 0.6},
}
JOB = {
    "job_id": "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f",
    "kind": "reindex",
    "params": {},
    "state": "running",
    "phase": "asking for vectors",
    "done": 150,
    "total": 1200,
    "unit": "sources",
    "attempts": 0,
    "cancel_requested": False,
    "last_error": None,
    "created_at": "2026-01-15T09:00:00Z",
    "started_at": "2026-01-15T09:00:01Z",
    "heartbeat_at": "2026-01-15T09:00:04Z",
    "finished_at": None,
}
DOCUMENTS = [
    {
        "file_name": "plan.pdf",
        "title": "The plan",
        "state": "processed",
        "reason": None,
        "media_type": "application/pdf",
    },
    {
        "file_name": f"{HOSTILE}.pdf",
        "title": "",
        "state": "refused",
        "reason": {"code": "encrypted", "detail": "it is encrypted", "hint": "remove the password"},
        "media_type": "",
    },
]
FEED = {
    "slug": "wiki",
    "name": HOSTILE,
    "paused": False,
    "received": 1204,
    "accepted": 1190,
    "rejected": {"invalid": 2, "bad_signature": 1},
    "behind_s": None,
}
TOKENS = {"input_uncached": 4210, "cache_read": 18000, "output_visible": 2100}
TOTALS = {"attempts": 12, "tokens": TOKENS, "cost_micro_usd": 58210, "unpriced": 1}
USAGE = {"by": "day", "rows": [], "more": False, "totals": TOTALS, "as_of": UNKNOWN}
HIT: dict[str, Any] = {
    "score": 0.03,
    "version": 1,
    "effective_at": "2026-01-15T09:00:00Z",
    "snippet": {"text": "𝒻ine words", "highlights": [[5, 10]]},
    "chunk": {"version": 1, "ordinal": 0, "heading_path": "Context", "char_start": 0, "char_end": 10},
}
ADR_ID = "0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f"
HITS = [
    HIT
    | {
        "kind": "adr",
        "source_id": ADR_ID,
        "number": 1,
        "log": "main",
        "title": "One",
        "status": "accepted",
        "tags": [],
        "path": f"/v1/adrs/{ADR_ID}",
    },
    *(
        HIT
        | {"kind": "document", "source_id": ADR_ID, "number": None, "log": None, "title": title, "status": None}
        | {"tags": [], "path": f"/v1/documents/{ADR_ID}/original" if origin == "upload" else None}
        | {"document": {"origin": origin, "media_type": "text/plain", "uri": uri}}
        for title, origin, uri in (
            ("notes.txt", "upload", None),
            ("Wiki page", "feed", "https://wiki.example/1"),
            ("Trap", "feed", "javascript:alert(1)"),
        )
    ),
]
RELATED: dict[str, Any] = {
    "related": [
        {
            "id": ADR_ID,
            "label": "ADR-7",
            "log": "main",
            "title": HOSTILE,
            "status": "accepted",
            "score": 1.2,
            "reasons": [
                {"kind": "link", "text": "this ADR supersedes it"},
                {"kind": "words", "text": "both speak of tide"},
            ],
        }
    ],
    "as_of": FRESH | {"state": "stale"},
}


QUIET: dict[str, Any] = {
    "/v1/pipeline": PIPELINE,
    "/v1/documents": {"items": [], "next_cursor": None},
    "/v1/feeds": {"items": [], "as_of": FRESH},
    "/v1/usage": USAGE,
}
"""What is answered where a test says nothing else."""


def scripted(site: Site, answers: dict[str, Any], **options: Any) -> Visit:
    """A visit to the page that has every panel; each route answers what `answers` has, a number is a status."""
    document = Assets.load(PATHS).document.body.decode()

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(site.server.url).split("?")[0]
        found = answers.get(path, QUIET.get(path))
        if isinstance(found, int):
            problem = {
                "code": "dependency-unavailable",
                "detail": "the database cannot serve right now",
                "hint": "wait",
            }
            route.fulfill(status=found, content_type="application/problem+json", body=json.dumps(problem))
        elif isinstance(found, bytes):
            route.fulfill(status=200, content_type="application/octet-stream", body=found)
        elif found is not None:
            route.fulfill(status=200, content_type="application/json", body=json.dumps(found))
        else:
            route.fallback()

    def page(route: Route) -> None:
        route.fulfill(status=200, content_type="text/html", headers=DOCUMENT, body=document)

    visit = site.visit(**options)
    visit.context.route("**/v1/**", answer)
    visit.context.route("**/v1/live/*", site.live.answer)
    visit.context.route(lambda address: address.split("#")[0].split("?")[0] == f"{site.server.url}/", page)
    visit.page.goto(site.link)
    visit.page.wait_for_selector("#app:not([hidden])")
    return visit


def test_each_panel_shows_each_state(site: Site) -> None:
    answers = {
        "/v1/pipeline": PIPELINE,
        "/v1/jobs": {"items": [JOB], "next_cursor": None},
        "/v1/documents": {"items": DOCUMENTS, "next_cursor": None},
        "/v1/feeds": {"items": [FEED], "as_of": FRESH},
        "/v1/usage": USAGE,
    }
    visit = scripted(site, answers)
    page = visit.page
    expect(page.locator("#panel-pipeline summary")).to_have_text("4 parts of 5 to look at.")
    page.click("#panel-pipeline summary")
    expect(page.locator("#panel-pipeline li").first).to_contain_text("1,200 records behind, 14 s, done in 3.9 s")
    expect(page.locator("#panel-pipeline")).to_contain_text("lag not known")
    expect(page.locator("#panel-pipeline")).to_contain_text("15 s behind, mostly in the topic")
    expect(page.locator("#panel-jobs")).to_contain_text("asking for vectors: 150 of 1,200 sources")
    expect(page.locator("#panel-jobs progress")).to_have_attribute("value", "150")
    expect(page.locator("#panel-documents")).to_contain_text("The plan")
    expect(page.locator("#panel-documents")).to_contain_text("it is encrypted")
    expect(page.locator("#panel-feeds")).to_contain_text("1,204 received, 1,190 accepted, 3 rejected")
    expect(page.locator("#panel-feeds .chip")).to_have_text("unknown")
    expect(page.locator("#panel-usage")).to_contain_text("24,310")
    expect(page.locator("#panel-usage")).to_contain_text("$0.06")
    expect(page.locator("#panel-usage")).to_contain_text("Nobody knows what is missing.")
    page.wait_for_timeout(5500)
    expect(page.locator("#panel-pipeline details")).to_have_attribute("open", "")
    visit.shot("panels")
    expect(page.locator("main img")).to_have_count(0)
    assert accessible(visit) == []
    visit.clean()


def test_a_panel_without_an_answer_says_why_and_tries_again(site: Site) -> None:
    answers: dict[str, Any] = dict.fromkeys(
        ("/v1/pipeline", "/v1/jobs", "/v1/documents", "/v1/feeds", "/v1/usage"), 503
    )
    visit = scripted(site, answers)
    for view in ("pipeline", "jobs", "documents", "feeds", "usage"):
        expect(visit.page.locator(f"#panel-{view} .problem")).to_contain_text(
            "The database cannot serve right now. Wait."
        )
    answers["/v1/jobs"] = {"items": [], "next_cursor": None}
    answers["/v1/pipeline"] = PIPELINE
    expect(visit.page.locator("#panel-jobs")).to_contain_text("No jobs yet.", timeout=15_000)
    expect(visit.page.locator("#panel-pipeline summary")).to_contain_text("to look at", timeout=15_000)


def test_documents_are_found_beside_decisions_and_lead_to_where_they_are(site: Site) -> None:
    answers = {
        "/v1/search": {"mode": "hybrid", "hits": HITS, "degraded": [], "as_of": {"words": FRESH, "meaning": FRESH}},
        f"/v1/documents/{ADR_ID}/original": b"bytes",
    }
    visit = scripted(site, answers)
    page = visit.page
    page.select_option("select[name=kind]", "document")
    page.fill("#q", "words")
    expect(page.locator("#results .hit")).to_have_count(4)
    visit.until(lambda: any("kind=document" in address for address in visit.asked), "the kind is asked for")
    expect(page.locator("#results mark").first).to_have_text("words")
    expect(page.locator("#found")).to_have_text("4 results. Words and meaning: as of 0.8 s ago.")
    assert page.get_attribute("#results .hit >> nth=2", "href") == "https://wiki.example/1"
    assert page.get_attribute("#results .hit >> nth=3", "href") is None
    with page.expect_download() as download:
        page.click("#results .hit >> nth=1")
    assert download.value.suggested_filename == "notes.txt"
    assert download.value.path().read_bytes() == b"bytes"
    visit.clean()


def test_a_suggestion_is_accepted_or_dismissed_where_the_decision_is_read(site: Site) -> None:
    first = site.corpus.adr(site.tenant_id, "Measure at high tide", "# Measure at high tide\n\nSo.\n", number=1)
    second = site.corpus.adr(site.tenant_id, HOSTILE, "# Measure at low tide\n\nNo.\n", number=2)
    site.corpus.suggestion(site.tenant_id, second, first, quote=HOSTILE)
    visit = scripted(site, {})
    page = visit.page
    page.click("#recent .hit >> text=Measure at high tide")
    shown = page.locator(".suggested")
    expect(shown).to_contain_text(f"It may be superseded by ADR-2 {HOSTILE}")
    expect(shown).to_contain_text("Of such suggestions 95 % were right in tests.")
    shown.get_by_role("button", name="Dismiss").click()
    expect(shown).to_contain_text("Dismissed: 1")
    shown.locator("summary").click()
    shown.get_by_role("button", name="Reopen").click()
    shown.get_by_role("button", name="Accept").click()
    expect(shown).to_be_hidden()
    page.reload()
    expect(page.locator(".adr-top [data-word]")).to_have_text("superseded")
    visit.clean()


def test_related_decisions_lead_on_and_back(site: Site) -> None:
    first = str(site.corpus.adr(site.tenant_id, "Measure at high tide", "# Measure at high tide\n\nSo.\n", number=1))
    second = str(site.corpus.adr(site.tenant_id, "Measure at low tide", "# Measure at low tide\n\nNo.\n", number=2))
    related = RELATED | {"related": [RELATED["related"][0] | {"id": second}]}
    visit = scripted(
        site, {f"/v1/adrs/{first}/related": related, f"/v1/adrs/{second}/related": {"related": [], "as_of": FRESH}}
    )
    page = visit.page
    page.click("#recent .hit >> text=Measure at high tide")
    expect(page.locator(".related a")).to_have_text(HOSTILE)
    expect(page.locator(".related .why")).to_have_text("this ADR supersedes it; both speak of tide")
    expect(page.locator(".related")).to_contain_text("The newest may be missing.")
    page.click(".related a")
    expect(page.locator("#adr-title")).to_have_text("Measure at low tide")
    expect(page.locator(".related")).to_contain_text("None is near.")
    page.go_back()
    expect(page.locator("#adr-title")).to_have_text("Measure at high tide")
    expect(page.locator(".related a")).to_have_text(HOSTILE)
    visit.clean()
