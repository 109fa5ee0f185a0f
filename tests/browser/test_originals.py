"""What is cited of an uploaded file, opened in the file itself at its page: by a real upload, worker and browser."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from api.auth.issuer import LocalIssuer
from tests.browser.bureau import Bureau, open_bureau
from tests.browser.conftest import House, Site, Visit
from tests.browser.test_page import accessible
from tests.browser.test_work import begin, ends, enter
from tests.connectors.llm import stand_in as recorded
from tests.connectors.parsers import samples
from tests.patience import until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

SAID = ("The heron fishes at low water.", "The osprey hunts over the lagoon.", "The curlew sleeps on the mudflats.")
PAGES = ["\n".join([f"{each.split()[1].capitalize()}s wade and wait in the reeds."] * 14 + [each]) for each in SAID]
"""Long enough for a passage of its own each."""
QUESTION = "Where does the curlew sleep, and what does the heron fish at?"
SHOWN = "[document.contentType, opener === null]"


@pytest.fixture(scope="module")
def bureau(house: House) -> Iterator[Bureau]:
    with open_bureau(house) as made:
        yield made


def upload(site: Site, name: str, content: bytes) -> UUID:
    """A file that was read, and is found."""
    headers = {"authorization": f"Bearer {site.token}"}
    with httpx.Client(base_url=site.server.url, headers=headers, timeout=60) as client:
        made = client.post("/v1/documents", files={"file": (name, content)}).raise_for_status().json()
        document_id = UUID(made["id"])
        until(lambda: client.get(f"/v1/documents/{document_id}").json()["state"] == "processed", f"{name} is read")
    ((version, title, body),) = site.corpus.connection.execute(
        "select version, title, body from app.document_versions where document_id = %s", [document_id]
    ).fetchall()
    site.corpus.index(site.tenant_id, "document", document_id, version, title, body)
    return document_id


def open_tab(visit: Visit, link: Locator) -> Page:
    """Click, and wait for the tab that shows the file."""
    with visit.context.expect_page() as opened:
        link.click()
    visit.until(lambda: opened.value.url.startswith("blob:"), "the file is shown")
    return opened.value


def test_a_claim_opens_the_pdf_at_its_own_page(site: Site, bureau: Bureau) -> None:
    document_id = upload(site, "birds.pdf", samples.pdf(PAGES, title="Birds"))
    visit = enter(site)
    begin(visit, "research", question=QUESTION)
    ends(visit, "succeeded")
    body = visit.page.locator("#work-body")
    expect(body.locator(".work-sources")).to_contain_text(re.compile(r"page 3, page 1|page 1, page 3"))
    for word, number in (("curlew", 3), ("heron", 1)):
        link = body.locator(".claim", has_text=word).locator(".cite")
        expect(link).to_have_attribute("href", f"/v1/documents/{document_id}/original#page={number}")
        expect(link).to_have_attribute("aria-label", re.compile(rf", page {number}$"))
        tab = open_tab(visit, link)
        assert tab.url.endswith(f"#page={number}")
        expect(visit.page.locator("#announce")).to_have_text(f"Opened at page {number}.")
        # The viewer of the browser, which cannot reach this page.
        visit.until(lambda tab=tab: tab.evaluate(SHOWN) == ["application/pdf", True], "it is read")  # type: ignore[misc]
        tab.screenshot(path=visit.pictures / f"original-{number}.png")
        tab.close()
    visit.shot("work-pages")
    assert accessible(visit) == []
    visit.clean()


def test_an_answer_of_the_chat_and_a_hit_open_it_there_too(site: Site, bureau: Bureau) -> None:
    upload(site, "birds.pdf", samples.pdf(PAGES, title="Birds"))
    site.provider.script = [
        recorded.ANTHROPIC_START,
        recorded.anthropic_text("It sleeps on the mudflats [1]."),
        recorded.ANTHROPIC_END,
    ]
    visit = site.open("/?q=curlew")
    hit = visit.page.locator("#results .hit", has_text="curlew").first
    expect(hit).to_contain_text("page 3")
    assert open_tab(visit, hit).url.endswith("#page=3")
    visit.page.fill("#question", "Where does the curlew sleep on the mudflats?")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".sources")).to_contain_text("page 3")
    assert open_tab(visit, visit.page.locator(".cite")).url.endswith("#page=3")
    visit.clean()


@pytest.mark.parametrize("name", ["page.pdf", "page.html"])
def test_a_file_that_only_says_that_it_is_a_pdf_is_never_shown(site: Site, bureau: Bureau, name: str) -> None:
    """Whatever an address says: what is no PDF is a download."""
    hostile = b"<script>opener.document.title = 'taken'</script><h1>x</h1>"
    document_id = upload(site, name, hostile)
    visit = site.open()
    with visit.page.expect_download() as download:
        follow(visit, f"/v1/documents/{document_id}/original#page=1")
    assert download.value.suggested_filename == name
    assert download.value.path().read_bytes() == hostile
    expect(visit.page.locator("#announce")).to_have_text("It is downloaded: what is cited is on page 1.")
    visit.until(lambda: len(visit.context.pages) == 1, "the empty tab is closed")
    visit.clean()


def test_a_file_of_another_tenant_is_not_there(site: Site, house: House, bureau: Bureau) -> None:
    document_id = upload(site, "birds.pdf", samples.pdf(PAGES, title="Birds"))
    stranger = house.corpus.tenant(f"strangers-{uuid.uuid4().hex[:8]}")
    token = LocalIssuer.open(house.settings.home, house.settings.auth).mint(stranger, subject="eve", ttl_s=3600).text
    visit = replace(site, tenant_id=stranger, token=token).open()
    follow(visit, f"/v1/documents/{document_id}/original#page=3")
    expect(visit.page.locator("#found")).to_contain_text("It could not be fetched")
    visit.until(lambda: len(visit.context.pages) == 1, "the empty tab is closed")
    assert not any(each.url.startswith("blob:") for each in visit.context.pages)


def follow(visit: Visit, address: str) -> None:
    """Click a link to an original that the page did not make."""
    visit.page.evaluate(
        """(address) => { const link = document.createElement("a"); link.id = "made"; link.textContent = "made";
        link.setAttribute("href", address); link.dataset.original = "made"; document.body.prepend(link); }""",
        address,
    )
    visit.page.click("#made")
