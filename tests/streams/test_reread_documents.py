"""What an older parser read is read again: once, one document a step, each tenant's alone."""

from __future__ import annotations

import hashlib
import io
import json
from uuid import UUID

import pytest

from connectors.objects import key_of
from connectors.parsers import VERSION
from connectors.parsers.pool import Parsers
from schemas.jobs import REREAD_DOCUMENTS
from streams.documents import ParseDocument
from streams.reread_documents import RereadDocuments
from tests.connectors.parsers import samples
from tests.dataflows.world import until
from tests.streams.test_documents import HOSTILE, LIMITS, Desk
from tests.streams.world import Bench

pytestmark = pytest.mark.stack


@pytest.fixture
def desk(bench: Bench) -> Desk:
    return Desk(bench)


def work(desk: Desk, *jobs: UUID) -> list[str]:
    """Let a worker do what there is, and return the phases with which these jobs ended."""
    parsers = Parsers(LIMITS, HOSTILE)
    kinds = (ParseDocument(desk.objects, parsers), RereadDocuments(desk.objects, parsers))
    try:
        with desk.bench.working({kind.name: kind for kind in kinds}):
            until(lambda: desk.bench.rows("select 1 from app.jobs where finished_at is null") == [])
    finally:
        parsers.close()
    return [desk.bench.rows("select phase from app.jobs where job_id = %s", job)[0][0] for job in jobs]


def make_old(desk: Desk, document: UUID, body: str, state: str = "processed") -> None:
    """As an older release left it: other words, and another judgement."""
    reason = None if state == "processed" else json.dumps({"code": "x", "detail": "old", "hint": "none"})
    desk.bench.rows("update app.document_versions set body = %s where document_id = %s", body, document)
    desk.bench.rows(
        "update app.documents set parser = 0, state = %s, reason = %s where document_id = %s", state, reason, document
    )


def test_what_changed_gets_a_version_and_what_did_not_gets_none(desk: Desk) -> None:
    tenant, other = desk.bench.tenant(), desk.bench.tenant()
    texts = ("changed", "same", "became whole", "deleted")
    changed, same, whole, deleted = (desk.upload(tenant, f"The heron is {text}.".encode()) for text in texts)
    scanned = desk.upload(tenant, samples.pdf(["A page of text that is long enough to be read."]))
    theirs, current = desk.upload(other, b"Another tenant's."), desk.upload(tenant, b"Read today.")
    work(desk)
    make_old(desk, changed, "The heron.")
    make_old(desk, same, "The heron is same.")
    make_old(desk, whole, "The heron is became whole.", "partial")
    make_old(desk, theirs, "Old.")
    make_old(desk, scanned, "", "refused")
    make_old(desk, deleted, "Old.")
    desk.bench.rows("update app.documents set deleted_at = now() where document_id = %s", deleted)
    before = desk.bench.rows("select * from app.documents where document_id = any(%s)", [theirs, deleted, current])

    job = desk.bench.job(tenant, REREAD_DOCUMENTS)
    assert work(desk, job) == ["4 read again: 2 changed, 2 whole, 0 partial, 0 unreadable"]
    assert [len(desk.versions(one)) for one in (changed, same, whole, deleted, theirs)] == [2, 1, 1, 1, 1]
    assert desk.versions(changed)[1][:2] == (2, "update")
    assert desk.versions(changed)[1][4] == "The heron is changed."
    assert desk.state(whole) == desk.state(scanned) == ("processed", None)
    assert (
        desk.bench.rows("select * from app.documents where document_id = any(%s)", [theirs, deleted, current]) == before
    )
    due = "select document_id from app.documents where parser < %s and deleted_at is null"
    assert desk.bench.rows(due, VERSION) == [(theirs,)]

    again = desk.bench.job(tenant, REREAD_DOCUMENTS)
    assert work(desk, again) == ["0 read again: 0 changed, 0 whole, 0 partial, 0 unreadable"]
    assert len(desk.versions(changed)) == 2


def test_what_cannot_be_read_any_more_stays_as_it_is_found(desk: Desk) -> None:
    tenant = desk.bench.tenant()
    document = desk.upload(tenant, b"The heron fishes.")
    refused = desk.upload(tenant, b"")
    work(desk)
    make_old(desk, document, "What was found.")
    make_old(desk, refused, "", "refused")
    key = key_of(tenant, hashlib.sha256(b"The heron fishes.").digest())
    desk.objects.delete(key)
    desk.objects.put(key, io.BytesIO(b"DIE"))
    job = desk.bench.job(tenant, REREAD_DOCUMENTS)
    assert work(desk, job) == ["2 read again: 0 changed, 0 whole, 0 partial, 1 unreadable"]
    assert desk.state(document) == ("processed", None)
    assert desk.versions(document)[0][4] == "What was found."
    assert desk.bench.rows("select distinct parser from app.documents") == [(VERSION,)]


def test_a_job_that_was_cut_off_goes_on_where_it_was(desk: Desk) -> None:
    tenant = desk.bench.tenant()
    documents = [desk.upload(tenant, f"Number {number}.".encode()) for number in range(5)]
    work(desk)
    for document in documents:
        make_old(desk, document, "Old.")
    job = desk.bench.job(tenant, REREAD_DOCUMENTS)
    # As a worker left it that died after two steps: those two are read, and its position names the second.
    first, second = sorted(documents)[:2]
    for document in (first, second):
        desk.bench.rows("update app.documents set parser = %s where document_id = %s", VERSION, document)
    position = json.dumps({"after": str(second), "changed": 2, "whole": 0, "partial": 0, "unreadable": 0})
    desk.bench.rows("update app.jobs set position = %s, done = 2, total = 5 where job_id = %s", position, job)
    assert work(desk, job) == ["5 read again: 5 changed, 0 whole, 0 partial, 0 unreadable"]
    assert [len(desk.versions(one)) for one in sorted(documents)] == [1, 1, 2, 2, 2]
