"""Documents with pages that are pictures, on the way to text: page by page, partial, read further, killed."""

from __future__ import annotations

import hashlib
import io
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from connectors.objects import key_of
from connectors.parsers import Limits
from schemas.jobs import ERASE_ORIGINAL, PARSE_DOCUMENT, REREAD_DOCUMENTS
from tests.connectors.parsers import drawn
from tests.dataflows.world import until
from tests.patience import PATIENCE_S
from tests.streams.test_documents import Desk
from tests.streams.test_reread_documents import make_old, work
from tests.streams.world import Bench

pytestmark = pytest.mark.stack

WORDS = ("heron", "osprey", "curlew", "plover")
SLOW = Limits(scan_seconds_max=400)


@pytest.fixture
def desk(bench: Bench) -> Desk:
    return Desk(bench)


def scanned(*words: str, between: Image.Image | None = None) -> bytes:
    """A TIFF with a word on each page, and another page behind the first."""
    pages = [drawn.page([f"The {word} fishes."], size=(600, 240)) for word in words]
    return drawn.pack(pages[0], "TIFF", [*([between] if between else []), *pages[1:]])


def pages(desk: Desk, document: UUID) -> Mapping[int, tuple[Any, ...]]:
    """What is kept of each page, and the transaction that wrote it."""
    query = "select page, text, fault ->> 'code', xmin::text from app.document_scans where document_id = %s"
    return {page: rest for page, *rest in desk.bench.rows(query, document)}  # type: ignore[misc]


def job_of(desk: Desk, document: UUID) -> tuple[Any, ...]:
    query = (
        "select j.state, j.phase, j.done, j.total, j.unit from app.jobs j join app.documents d using (job_id) "
        "where d.document_id = %s"
    )
    return desk.bench.rows(query, document)[0]


def test_a_page_that_fails_leaves_the_rest_found_and_a_retry_reads_that_page_alone(desk: Desk) -> None:
    tenant, other = desk.bench.tenant(), desk.bench.tenant()
    content = scanned("heron", "osprey", between=drawn.page(["The curlew sleeps."], size=(1_000, 1_000)))
    document, theirs = desk.upload(tenant, content, "scan.tif"), desk.upload(other, scanned("plover"), "other.tif")
    with desk.working(Limits(pixels_max=200_000, scan_seconds_max=400)):
        until(lambda: desk.state(document)[0] == "partial" and desk.state(theirs)[0] == "processed", wait_s=400)
    assert desk.state(document) == ("partial", "unread-pages")
    gaps = "select gaps from app.documents where document_id = %s"
    ((gap,),) = desk.bench.rows(gaps, document)[0]
    assert gap["pages"] == [[2, 2]]
    assert "1000000 pixels" in gap["detail"]
    assert job_of(desk, document) == ("succeeded", "indexing", 3, 3, "pages")
    before, of_others = pages(desk, document), pages(desk, theirs)
    assert [before[page][1] for page in (1, 2, 3)] == [None, "too-large", None]
    assert [word in desk.versions(document)[0][4] for word in WORDS] == [True, True, False, False]

    again = desk.bench.job(tenant, PARSE_DOCUMENT, document_id=str(document))
    with desk.working(SLOW):
        until(lambda: desk.state(document)[0] == "processed", wait_s=400)
    assert desk.bench.rows("select state, done, total, unit from app.jobs where job_id = %s", again) == [
        ("succeeded", 1, 1, "pages")
    ]
    after = pages(desk, document)
    assert (after[1], after[3]) == (before[1], before[3])
    assert (after[2][1], pages(desk, theirs)) == (None, of_others)
    texts = [version[4] for version in desk.versions(document)]
    assert [["curlew" in text for text in texts], "heron" in texts[1]] == [[False, True], True]
    starts = "select version, starts from app.document_pages where document_id = %s order by version"
    found = [[texts[version - 1][start:][:3] for start in each] for version, each in desk.bench.rows(starts, document)]
    assert found[1] == ["The", "The", "The"]
    assert desk.bench.rows("select count(*) from app.documents where document_id = %s and gaps = '[]'", document) == [
        (1,)
    ]


def test_a_retry_that_finds_the_same_writes_no_version_and_what_is_found_stays(desk: Desk) -> None:
    tenant = desk.bench.tenant()
    large = drawn.page(["The curlew sleeps."], size=(1_000, 1_000))
    document = desk.upload(tenant, scanned("heron", between=large), "scan.tif")
    limits = Limits(pixels_max=200_000, scan_seconds_max=400)
    with desk.working(limits):
        until(lambda: desk.state(document)[0] == "partial", wait_s=400)
    job = desk.bench.job(tenant, PARSE_DOCUMENT, document_id=str(document))
    with desk.working(limits):
        until(lambda: desk.bench.state(job) == "succeeded", wait_s=400)
    assert desk.state(document) == ("partial", "unread-pages")
    assert len(desk.versions(document)) == 1
    key = key_of(tenant, desk.bench.rows("select content_hash from app.documents")[0][0])
    desk.objects.delete(key)
    desk.objects.put(key, io.BytesIO(b""))
    job = desk.bench.job(tenant, PARSE_DOCUMENT, document_id=str(document))
    with desk.working(limits):
        until(lambda: desk.bench.state(job) == "succeeded", wait_s=400)
    assert job_of(desk, document)[1] == "left as it was"
    assert desk.state(document) == ("partial", "unread-pages")


@pytest.mark.crash
def test_a_worker_that_is_killed_between_pages_is_taken_over_and_no_page_is_read_twice(
    desk: Desk, tmp_path: Path
) -> None:
    tenant = desk.bench.tenant()
    document = desk.upload(tenant, scanned(*WORDS, *WORDS), "scan.tif")
    first = desk.process(tmp_path / "first")
    until(lambda: len(pages(desk, document)) >= 2, wait_s=400)
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE_S)
    before = pages(desk, document)
    assert len(before) < 8
    desk.bench.rows("update app.jobs set lease_until = now() where lease_until is not null")  # not waiting for it
    with desk.working(SLOW):
        until(lambda: desk.state(document)[0] == "processed", wait_s=400)
    after = pages(desk, document)
    assert len(after) == 8
    assert {page: after[page] for page in before} == before
    ((version, _, _, _, body),) = desk.versions(document)
    assert (version, [body.count(word) for word in WORDS]) == (1, [2, 2, 2, 2])


def test_what_an_older_release_refused_as_pictures_is_read_again_and_erased_with_its_original(desk: Desk) -> None:
    tenant, other = desk.bench.tenant(), desk.bench.tenant()
    content = scanned("heron", "osprey", "curlew")
    document, theirs = desk.upload(tenant, content, "scan.tif"), desk.upload(other, content, "scan.tif")
    desk.bench.rows("update app.jobs set state = 'succeeded', finished_at = now()")
    for each in (document, theirs):
        make_old(desk, each, "", "refused")
    job = desk.bench.job(tenant, REREAD_DOCUMENTS)
    assert work(desk, job) == ["1 read again: 1 changed, 1 whole, 0 partial, 0 unreadable"]
    assert desk.state(document) == ("processed", None)
    assert [word in desk.versions(document)[0][4] for word in WORDS] == [True, True, True, False]
    assert (len(pages(desk, document)), len(pages(desk, theirs))) == (3, 0)

    desk.bench.rows("update app.documents set deleted_at = now() where document_id = %s", document)
    erased = desk.bench.job(tenant, ERASE_ORIGINAL, content_hash=hashlib.sha256(content).hexdigest())
    with desk.working(SLOW):
        until(lambda: desk.bench.state(erased) == "succeeded")
    assert pages(desk, document) == {}
    assert desk.objects.exists(key_of(other, hashlib.sha256(content).digest()))
