"""`/v1/documents`: bytes, row, job and events together. Whose they are: `tests/api/test_isolation.py`."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.world import Caller, World

pytestmark = pytest.mark.stack


async def upload(caller: Caller, content: bytes, name: str = "notes.md") -> httpx.Response:
    return await caller.request("POST", "/v1/documents", files={"file": (name, content)})


async def rows(world: World, query: str, *values: Any) -> list[Any]:
    async with world.admin() as admin:
        return [tuple(row) for row in await admin.fetch(query, *values)]


async def test_an_upload_is_stored_with_its_job_and_shown(tenant: Caller, world: World) -> None:
    content = b"# Notes\n\nKept byte for byte.\r\n"
    made = await upload(tenant, content, "C:\\papers\\notes.md")
    assert made.status_code == 202, made.text
    document = made.json()
    assert (document["state"], document["reason"], document["file_name"]) == ("stored", None, "notes.md")
    assert document["sha256"] == hashlib.sha256(content).hexdigest()
    assert made.headers["location"] == f"/v1/documents/{document['id']}"
    assert (await tenant.get(made.headers["location"])).json() == document
    assert (await tenant.get("/v1/documents")).json()["items"] == [document]
    job = (await tenant.get(f"/v1/jobs/{document['job_id']}")).json()
    assert (job["kind"], job["params"]) == ("parse_document", {"document_id": document["id"]})
    original = await tenant.get(f"/v1/documents/{document['id']}/original")
    assert original.content == content
    assert original.headers["content-type"] == "application/octet-stream"
    assert original.headers["content-disposition"] == "attachment; filename*=UTF-8''notes.md"
    assert original.headers["x-content-type-options"] == "nosniff"


async def test_the_same_bytes_are_the_same_document_also_at_once_and_each_tenants_own(
    tenant: Caller, world: World
) -> None:
    answers = await asyncio.gather(*(upload(tenant, b"same", f"{n}.txt") for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await tenant.get("/v1/jobs")).json()["items"]) == 1
    other = await upload(await world.tenant(), b"same")
    assert other.status_code == 202
    assert other.json()["id"] != answers[0].json()["id"]


async def test_a_deleted_document_is_gone_its_erasure_is_a_job_and_it_can_come_again(
    tenant: Caller, world: World
) -> None:
    document = (await upload(tenant, b"text")).json()
    path = f"/v1/documents/{document['id']}"
    deleted = await tenant.delete(path)
    assert deleted.status_code == 200
    assert "adriatic-position" in deleted.headers
    for gone in (path, f"{path}/original"):
        assert (await tenant.get(gone)).status_code == 404
    assert (await tenant.delete(path)).status_code == 404
    kinds = [job["kind"] for job in (await tenant.get("/v1/jobs")).json()["items"]]
    assert kinds == ["erase_original", "parse_document"]
    again = await upload(tenant, b"text")
    assert again.status_code == 202
    assert again.json()["id"] != document["id"]


async def test_deleting_what_is_searched_is_a_version_that_says_so(tenant: Caller, world: World) -> None:
    document = (await upload(tenant, b"text")).json()
    document_id = UUID(document["id"])
    async with world.admin() as admin:
        await admin.execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, "
            "body, effective_at) values ($1, $2, 1, 'create', 'upload', 't', 'text/plain', 'text', now())",
            *(tenant.tenant_id, document_id),
        )
        await admin.execute(
            "update app.documents set state = 'processed', version = 1, media_type = 'text/plain' "
            "where document_id = $1",
            document_id,
        )
    await tenant.delete(f"/v1/documents/{document_id}")
    found = await rows(
        world, "select version, kind, body from app.document_versions where document_id = $1 order by 1", document_id
    )
    assert found == [(1, "create", "text"), (2, "delete", "")]


async def test_a_job_that_failed_is_the_documents_reason(tenant: Caller, world: World) -> None:
    document = (await upload(tenant, b"text")).json()
    async with world.admin() as admin:
        await admin.execute(
            "update app.jobs set state = 'failed', finished_at = now(), "
            """last_error = '{"code": "unprocessable", "detail": "lost", "hint": "look"}' where job_id = $1""",
            UUID(document["job_id"]),
        )
    seen = (await tenant.get(f"/v1/documents/{document['id']}")).json()
    assert (seen["state"], seen["reason"]["code"], seen["reason"]["hint"]) == ("refused", "unprocessable", "look")
    refused = (await tenant.get("/v1/documents", params={"state": "refused"})).json()["items"]
    assert [one["id"] for one in refused] == [document["id"]]


async def test_pages_go_from_the_newest(tenant: Caller) -> None:
    made = [(await upload(tenant, f"text {n}".encode())).json()["id"] for n in range(5)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await tenant.get("/v1/documents", params={"limit": 2, **cursor})).json()
        found += [document["id"] for document in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == made[::-1]


async def test_what_is_no_upload_is_refused_with_the_reason(tenant: Caller, world: World) -> None:
    too_large = b"x" * (world.settings.api.upload_bytes_max + 100_000)
    for asked, status in (
        ({"files": {"file": ("large.txt", too_large)}}, 413),
        ({"files": {"file": ("large.txt", too_large[: world.settings.api.upload_bytes_max + 1])}}, 413),
        ({"files": {"other": ("x.txt", b"x")}}, 400),
        ({"files": {"file": (None, b"no name")}}, 400),
        ({"json": {"file": "x"}}, (400, 415)),
        ({"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=y"}}, 400),
    ):
        answer = await tenant.request("POST", "/v1/documents", **asked)
        wanted = status if isinstance(status, tuple) else (status,)
        assert answer.status_code in wanted, (asked.keys(), answer.text)
        assert answer.json()["detail"]
    assert (await tenant.get("/v1/documents")).json()["items"] == []
    assert (await tenant.get(f"/v1/documents/{uuid4()}")).status_code == 404


async def test_what_is_partial_can_be_read_once_more_and_what_is_whole_cannot(tenant: Caller, world: World) -> None:
    document = (await upload(tenant, b"text")).json()
    document_id, path = UUID(document["id"]), f"/v1/documents/{document['id']}"
    under_way = await tenant.post(f"{path}/retry", None)
    assert (under_way.status_code, under_way.json()["job_id"]) == (202, document["job_id"])
    async with world.admin() as admin:
        await admin.execute("update app.jobs set state = 'succeeded', finished_at = now()")
        await admin.execute(
            "update app.documents set state = 'partial', version = 1, pages = 3, parser = 2, "
            """reason = '{"code": "unread-pages", "detail": "timeout: pages 2", "hint": "retry"}', """
            """gaps = '[{"code": "unread-pages", "detail": "timeout: pages 2", "pages": [[2, 2]]}]'"""
        )
        await admin.execute(
            "insert into app.document_scans (tenant_id, document_id, page, scanner, text, lines, left_out, unsure, "
            "confidence, script, fault) values ($1, $2, 1, 1, 'a b', 2, 1, 9, 0.9, 'Latin', null), "
            """($1, $2, 2, 1, '', 0, 0, 0, 0, '', '{"code": "timeout", "detail": "x"}'), """
            "($1, $2, 3, 1, 'c', 1, 0, 0, 0.6, 'Han', null)",
            *(tenant.tenant_id, document_id),
        )
    shown = (await tenant.get(path)).json()
    assert shown["recognised"] == {
        "pages": 2,
        "failed": 1,
        "lines": 3,
        "left_out": 1,
        "confidence": 0.8,
        "scripts": ["Han", "Latin"],
    }
    again = await tenant.post(f"{path}/retry", None)
    assert again.status_code == 202, again.text
    assert again.json()["job_id"] != document["job_id"]
    # What is found of it stays as it is, and is said, until there is more.
    assert (again.json()["state"], again.json()["gaps"]) == ("partial", shown["gaps"])
    twice = await tenant.post(f"{path}/retry", None)
    assert twice.json()["job_id"] == again.json()["job_id"]
    assert (await (await world.tenant()).post(f"{path}/retry", None)).status_code == 404
    async with world.admin() as admin:
        await admin.execute("update app.jobs set state = 'succeeded', finished_at = now()")
        await admin.execute("update app.documents set state = 'processed', reason = null")
    whole = await tenant.post(f"{path}/retry", None)
    assert (whole.status_code, whole.json()["code"]) == (409, "conflict")


async def test_a_refused_document_begins_anew(tenant: Caller, world: World) -> None:
    document = (await upload(tenant, b"text")).json()
    async with world.admin() as admin:
        await admin.execute("update app.jobs set state = 'cancelled', finished_at = now()")
    path = f"/v1/documents/{document['id']}"
    assert (await tenant.get(path)).json()["state"] == "refused"
    again = (await tenant.post(f"{path}/retry", None)).json()
    assert (again["state"], again["reason"], again["recognised"]) == ("stored", None, None)
