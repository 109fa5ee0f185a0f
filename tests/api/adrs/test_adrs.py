"""ADRs over HTTP on a real database: writes make versions, reads show them, and nothing is overwritten unseen."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.adrs import queries
from api.db import Database, tenant_transaction
from runtime.settings import Settings
from tests.api.world import TEXT, Caller, World, running

pytestmark = pytest.mark.stack


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code
    assert body["status"] == status
    assert body["type"] == f"urn:adriatic:problem:{code}"
    assert body["hint"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body


# ------------------------------------------------------------------------------------------------------------ create


async def test_a_new_adr_says_what_its_text_says(tenant: Caller) -> None:
    response = await tenant.post("/v1/adrs", {"body": TEXT, "tags": ["b", "a", "b"], "message": "draft"})
    adr = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/adrs/{adr['adr_id']}"
    assert (adr["title"], adr["status"], adr["body"]) == ("Use Postgres", "accepted", TEXT)
    assert (adr["number"], adr["label"], adr["log"], adr["version"]) == (1, "ADR-1", "main", 1)
    assert (adr["tags"], adr["message"], adr["author"]) == (["a", "b"], "draft", "ada")
    assert (await tenant.get(response.headers["location"])).json() == adr


async def test_a_caller_may_know_better_than_the_text(tenant: Caller) -> None:
    adr = await tenant.create("No heading here.", title="Given", status="rejected")
    assert (adr["title"], adr["status"], adr["body"]) == ("Given", "rejected", "No heading here.")


async def test_fifty_creates_at_once_get_fifty_numbers(tenant: Caller) -> None:
    adrs = await asyncio.gather(*(tenant.create(f"# Decision {index}\n") for index in range(50)))
    assert sorted(adr["number"] for adr in adrs) == list(range(1, 51))


async def test_a_create_that_fails_takes_no_number(tenant: Caller) -> None:
    await tenant.create()
    problem(await tenant.post("/v1/adrs", {"body": TEXT, "log": "nowhere"}), 404, "not-found")
    problem(await tenant.post("/v1/adrs", {"body": TEXT, "title": ""}), 400, "invalid-input")
    assert (await tenant.create())["number"] == 2


async def test_each_log_numbers_for_itself(tenant: Caller) -> None:
    await tenant.post("/v1/logs", {"slug": "payments"})
    await tenant.create()
    assert (await tenant.create(log="payments"))["number"] == 1
    logs = (await tenant.get("/v1/logs")).json()["items"]
    assert [(log["slug"], log["adrs"], log["next_number"]) for log in logs] == [("main", 1, 2), ("payments", 1, 2)]


async def test_an_idempotency_key_makes_one_adr(tenant: Caller) -> None:
    headers = {"idempotency-key": "k"}
    answers = await asyncio.gather(*(tenant.post("/v1/adrs", {"body": TEXT}, headers=headers) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["adr_id"] for answer in answers}) == 1
    assert sum(answer.headers.get("idempotent-replay") == "true" for answer in answers) == 7
    problem(await tenant.post("/v1/adrs", {"body": "# Other\n"}, headers=headers), 409, "conflict")
    assert len((await tenant.get("/v1/adrs")).json()["items"]) == 1


async def test_an_idempotency_key_is_forgotten_in_time_and_is_the_tenants_own(world: World, tenant: Caller) -> None:
    headers = {"idempotency-key": "k"}
    first = (await tenant.post("/v1/adrs", {"body": TEXT}, headers=headers)).json()
    other = await world.tenant()
    assert (await other.post("/v1/adrs", {"body": TEXT}, headers=headers)).json()["adr_id"] != first["adr_id"]
    async with world.admin() as admin:
        await admin.execute(
            "update app.idempotency_keys set created_at = now() - interval '25 h' where tenant_id = $1",
            tenant.tenant_id,
        )
    again = await tenant.post("/v1/adrs", {"body": "# Other\n"}, headers=headers)
    assert again.status_code == 201
    assert again.json()["adr_id"] != first["adr_id"]


@pytest.mark.parametrize("key", ["", "k" * 201])
async def test_an_idempotency_key_has_bounds(tenant: Caller, key: str) -> None:
    problem(await tenant.post("/v1/adrs", {"body": TEXT}, headers={"idempotency-key": key}), 400, "invalid-input")


async def test_a_text_over_the_limit_is_refused_with_both_sizes(tenant: Caller, shared_database: Settings) -> None:
    limit = shared_database.api.adr_bytes_max
    assert (await tenant.create("é" * (limit // 2)))["version"] == 1
    body = problem(await tenant.post("/v1/adrs", {"body": "é" * (limit // 2) + "a"}), 413, "too-large")
    assert f"{limit + 1} bytes" in body["detail"]
    assert f"{limit}" in body["detail"]


# ------------------------------------------------------------------------------------------------------------ update


async def test_an_update_makes_a_version(tenant: Caller) -> None:
    adr = await tenant.create()
    updated = await tenant.update(adr, body="# Use Postgres 18\n\n## Status\n\nDeprecated\n", message="newer")
    assert (updated["version"], updated["change"]) == (2, "update")
    assert (updated["title"], updated["status"]) == ("Use Postgres 18", "deprecated")
    assert updated["effective_at"] > adr["effective_at"]
    assert (await tenant.get(f"/v1/adrs/{adr['adr_id']}")).json() == updated


async def test_what_is_not_given_and_not_in_the_text_stays(tenant: Caller) -> None:
    adr = await tenant.create()
    adr = await tenant.update(adr, body="Just words.")
    assert (adr["title"], adr["status"]) == ("Use Postgres", "accepted")
    adr = await tenant.update(adr, status="superseded")
    assert (adr["title"], adr["status"], adr["body"]) == ("Use Postgres", "superseded", "Just words.")


async def test_an_update_that_changes_nothing_makes_no_version(tenant: Caller) -> None:
    adr = await tenant.create()
    assert await tenant.update(adr, body=TEXT, message="again") == adr
    assert len((await tenant.get(f"/v1/adrs/{adr['adr_id']}/versions")).json()["items"]) == 1


async def test_a_stale_version_is_refused_and_told_the_current_one(tenant: Caller) -> None:
    adr = await tenant.create()
    await tenant.update(adr, body="# Two\n")
    path = f"/v1/adrs/{adr['adr_id']}"
    for more in ({"json": {"body": "# Three\n", "expected_version": 1}}, {"json": {"body": "# Three\n"}}):
        headers = {} if "expected_version" in more["json"] else {"if-match": '"1-00"'}
        body = problem(await tenant.request("PATCH", path, headers=headers, **more), 409, "conflict")
        assert body["current_version"] == 2
    assert (await tenant.get(path)).json()["title"] == "Two"


async def test_a_change_must_say_from_which_version(tenant: Caller) -> None:
    adr = await tenant.create()
    path = f"/v1/adrs/{adr['adr_id']}"
    for response in (
        await tenant.patch(path, {"body": "# Two\n"}),
        await tenant.post(f"{path}/rollback", {"to_version": 1}),
        await tenant.delete(path),
        await tenant.post(f"{path}/restore", {}),
    ):
        assert problem(response, 428, "precondition-required")["current_version"] == 1
    assert (await tenant.patch(path, {"body": "# Two\n"}, headers={"if-match": "*"})).json()["version"] == 2


async def test_of_updates_at_once_exactly_one_wins(tenant: Caller) -> None:
    adr = await tenant.create()
    path = f"/v1/adrs/{adr['adr_id']}"
    answers = await asyncio.gather(
        *(tenant.patch(path, {"body": f"# From {index}\n", "expected_version": 1}) for index in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert (await tenant.get(path)).json() == winner
    assert winner["version"] == 2


async def test_the_version_row_carries_who_and_the_trace(world: World, tenant: Caller) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await tenant.post("/v1/adrs", {"body": TEXT}, headers={"traceparent": trace})
    async with world.admin() as admin:
        row = await admin.fetchrow(
            "select v.*, u.subject from app.adr_versions v join app.users u "
            "on u.tenant_id = v.tenant_id and u.user_id = v.author_id where v.tenant_id = $1",
            tenant.tenant_id,
        )
    assert row["traceparent"].split("-")[1] == trace.split("-")[1]
    assert (row["subject"], row["author"], row["body"]) == ("ada", "ada", TEXT)
    assert response.json()["author_id"] == str(row["author_id"])


async def test_a_commit_is_at_or_before_the_lsn_of_the_answer(world: World, tenant: Caller) -> None:
    async with world.admin() as admin:
        before = await admin.fetchval("select pg_current_wal_insert_lsn()::text")
        response = await tenant.post("/v1/adrs", {"body": TEXT})
        lsn = response.headers["adriatic-position"]
        assert await admin.fetchval(
            "select $1::text::pg_lsn < $2::text::pg_lsn and $2::text::pg_lsn <= pg_current_wal_insert_lsn()",
            *(before, lsn),
        )


# ------------------------------------------------------------------------------------------- history, time, roll-back


async def history_of_three(tenant: Caller) -> list[dict[str, Any]]:
    first = await tenant.create("# One\n")
    second = await tenant.update(first, body="# Two\n")
    return [first, second, await tenant.update(second, body="# Three\n")]


async def test_the_history_is_paged_newest_first(tenant: Caller) -> None:
    versions = await history_of_three(tenant)
    path = f"/v1/adrs/{versions[0]['adr_id']}/versions"
    page = (await tenant.get(f"{path}?limit=2")).json()
    assert [each["title"] for each in page["items"]] == ["Three", "Two"]
    rest = (await tenant.get(path, params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [each["title"] for each in rest["items"]] == ["One"]
    assert rest["next_cursor"] is None
    assert "body" not in page["items"][0]
    one = (await tenant.get(f"{path}/1")).json()
    assert (one["title"], one["body"], one["size_bytes"]) == ("One", "# One\n", 6)
    problem(await tenant.get(f"{path}/4"), 404, "not-found")
    problem(await tenant.get(f"{path}/0"), 400, "invalid-input")
    problem(await tenant.get(f"{path}/99999999999"), 400, "invalid-input")


async def test_as_of_shows_the_version_that_was_effective_then(tenant: Caller) -> None:
    versions = await history_of_three(tenant)
    path = f"/v1/adrs/{versions[0]['adr_id']}"
    times = [datetime.fromisoformat(version["effective_at"]) for version in versions]
    for time, title in zip([*times, times[2] + timedelta(days=1)], ["One", "Two", "Three", "Three"], strict=True):
        answer = await tenant.get(path, params={"as_of": time.isoformat()})
        assert (answer.json()["title"], answer.json()["body"]) == (title, f"# {title}\n")
    before = (times[0] - timedelta(microseconds=1)).isoformat()
    assert "did not exist" in problem(await tenant.get(path, params={"as_of": before}), 404, "not-found")["detail"]
    problem(await tenant.get(path, params={"as_of": "2026-01-01T00:00:00"}), 400, "invalid-input")
    problem(await tenant.get(path, params={"as_of": "yesterday"}), 400, "invalid-input")


async def test_as_of_agrees_with_the_head_when_clocks_ran_backwards(world: World, tenant: Caller) -> None:
    versions = await history_of_three(tenant)
    async with world.admin() as admin:
        await admin.execute(
            "update app.adr_versions set effective_at = effective_at - interval '1 h' "
            "where tenant_id = $1 and version = 3",
            tenant.tenant_id,
        )
    path, now = f"/v1/adrs/{versions[0]['adr_id']}", versions[2]["effective_at"]
    assert (await tenant.get(path, params={"as_of": now})).json()["title"] == "Three"
    assert (await tenant.get(path)).json()["title"] == "Three"


async def test_a_deleted_adr_is_gone_then_and_not_before(tenant: Caller) -> None:
    adr = await tenant.create()
    path = f"/v1/adrs/{adr['adr_id']}"
    gone = (await tenant.delete(f"{path}?expected_version=1")).json()
    problem(await tenant.get(path, params={"as_of": gone["deleted_at"]}), 410, "gone")
    assert (await tenant.get(path, params={"as_of": adr["effective_at"]})).json()["title"] == "Use Postgres"


async def test_a_rollback_is_a_new_version_with_an_old_text(tenant: Caller) -> None:
    versions = await history_of_three(tenant)
    path = f"/v1/adrs/{versions[0]['adr_id']}"
    body = {"to_version": 1, "expected_version": 3, "message": "as it was"}
    back = (await tenant.post(f"{path}/rollback", body)).json()
    assert (back["version"], back["change"], back["title"], back["body"]) == (4, "rollback", "One", "# One\n")
    assert len((await tenant.get(f"{path}/versions")).json()["items"]) == 4
    problem(await tenant.post(f"{path}/rollback", body), 409, "conflict")
    problem(await tenant.post(f"{path}/rollback", {"to_version": 9, "expected_version": 4}), 404, "not-found")


async def test_delete_and_restore(tenant: Caller) -> None:
    adr = await tenant.create(tags=["kept"])
    path = f"/v1/adrs/{adr['adr_id']}"
    gone = await tenant.delete(f"{path}?expected_version=1&message=obsolete")
    assert (gone.json()["version"], gone.json()["change"], gone.json()["message"]) == (2, "delete", "obsolete")
    assert problem(await tenant.get(path), 410, "gone")["current_version"] == 2
    assert (await tenant.get(f"{path}?include_deleted=true")).json()["deleted_at"]
    assert (await tenant.get("/v1/adrs")).json()["items"] == []
    assert len((await tenant.get("/v1/adrs?deleted=deleted")).json()["items"]) == 1
    assert len((await tenant.get(f"{path}/versions")).json()["items"]) == 2
    for response in (
        await tenant.delete(path, headers={"if-match": "*"}),
        await tenant.patch(path, {"body": "# X\n", "expected_version": 2}),
        await tenant.post(f"{path}/rollback", {"to_version": 1, "expected_version": 2}),
        await tenant.put(f"{path}/tags/new"),
        await tenant.put(f"{path}/links", {"kind": "relates-to", "target": "x"}),
    ):
        problem(response, 410, "gone")
    back = (await tenant.post(f"{path}/restore", {"expected_version": 2})).json()
    assert (back["version"], back["change"], back["body"], back["tags"]) == (3, "restore", TEXT, ["kept"])
    assert (await tenant.get(path)).json() == back
    problem(await tenant.post(f"{path}/restore", {"expected_version": 3}), 409, "conflict")
    assert (await tenant.create())["number"] == 2, "a deleted ADR kept its number"


async def test_a_diff_between_any_two_versions(tenant: Caller) -> None:
    adr = await tenant.create("# T\n\n## Status\n\nProposed\n")
    adr = await tenant.update(adr, body="# T\n\n## Status\n\nAccepted\n")
    path = f"/v1/adrs/{adr['adr_id']}/diff"
    diff = (await tenant.get(path)).json()
    assert diff["fields"] == [{"field": "status", "old": "proposed", "new": "accepted"}]
    assert "-Proposed\n+Accepted\n" in diff["unified"]
    assert [line["text"] for line in diff["hunks"][0]["lines"] if line["op"] == "+"] == ["Accepted"]
    back = (await tenant.get(f"{path}?from=2&to=1")).json()
    assert "-Accepted\n+Proposed\n" in back["unified"]
    assert (await tenant.get(f"{path}?from=1&to=1")).json()["hunks"] == []
    problem(await tenant.get(f"{path}?from=1&to=7"), 404, "not-found")
    problem(await tenant.get(f"{path}?from=0"), 400, "invalid-input")


async def test_a_text_comes_back_byte_for_byte(world: World, tenant: Caller) -> None:
    text = "\ufeff---\r\nstatus: accepted\r\n---\n# Ünïcode\u2028 \x0c\t\n\n\n"
    adr = await tenant.create(text)
    response = await tenant.get(f"/v1/adrs/{adr['adr_id']}/versions/1/text")
    assert response.content == text.encode()
    assert response.headers["x-content-type-options"] == "nosniff"
    async with world.admin() as admin:
        await admin.execute(
            "update app.adr_versions set original = $2 where tenant_id = $1", tenant.tenant_id, b"\xff\0"
        )
    assert (await tenant.get(f"/v1/adrs/{adr['adr_id']}/versions/1/text")).content == b"\xff\0"
    assert (await tenant.get(f"/v1/adrs/{adr['adr_id']}")).json()["has_original"]


async def test_an_answer_that_is_here_already_is_not_sent_again(tenant: Caller) -> None:
    adr = await tenant.create()
    path = f"/v1/adrs/{adr['adr_id']}"
    first = await tenant.get(path)
    again = await tenant.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    await tenant.put(f"{path}/tags/new")
    assert (await tenant.get(path, headers={"if-none-match": first.headers["etag"]})).status_code == 200


# -------------------------------------------------------------------------------------------------------------- lists


async def test_filters_narrow_the_list(tenant: Caller, world: World) -> None:
    await tenant.post("/v1/logs", {"slug": "other"})
    await tenant.create("# Alpha 100%\n", status="accepted", tags=["x", "y"])
    await tenant.create("# Beta_1\n", status="proposed", tags=["x"])
    await tenant.create("# Gamma\n", status="rejected", log="other")
    grace = world.caller(tenant.tenant_id, "grace", name="Grace")
    await grace.create("# Delta\n", status="accepted")
    middle = (await tenant.get("/v1/adrs?sort=created")).json()["items"][1]["updated_at"]

    async def titles(**params: Any) -> set[str]:
        answer = await tenant.get("/v1/adrs", params=params)
        assert answer.status_code == 200, answer.text
        return {item["title"][:5] for item in answer.json()["items"]}

    assert await titles() == {"Alpha", "Beta_", "Gamma", "Delta"}
    assert await titles(status="accepted") == {"Alpha", "Delta"}
    assert await titles(status=["proposed", "rejected"]) == {"Beta_", "Gamma"}
    assert await titles(tag="x") == {"Alpha", "Beta_"}
    assert await titles(tag=["x", "y"]) == {"Alpha"}
    assert await titles(log="other") == {"Gamma"}
    assert await titles(author="Grace") == {"Delta"}
    assert await titles(q="ETA") == {"Beta_"}
    assert await titles(q="%") == {"Alpha"}
    assert await titles(q="a_1") == {"Beta_"}
    assert await titles(q="\\") == set()
    assert await titles(updated_since=middle) == {"Gamma", "Delta"}
    assert await titles(status="accepted", tag="x", q="alpha", log="main", author="ada") == {"Alpha"}
    problem(await tenant.get("/v1/adrs?status=fine"), 400, "invalid-input")
    for path in ("/v1/adrs?log=othre", "/v1/search?q=alpha&log=othre"):
        said = await tenant.get(path)
        problem(said, 400, "invalid-input")
        assert "did you mean other?" in said.json()["detail"]
        assert said.json()["errors"] == [
            {"source": "query", "field": "log", "detail": said.json()["errors"][0]["detail"]}
        ]
    problem(await tenant.get("/v1/adrs?stauts=accepted"), 400, "invalid-input")
    problem(await tenant.get("/v1/adrs?q=%00"), 400, "invalid-input")


@pytest.mark.parametrize("sort", ["created", "updated"])
async def test_pages_show_each_adr_once_while_others_are_added(tenant: Caller, sort: str) -> None:
    expected = [(await tenant.create(f"# {index}\n"))["adr_id"] for index in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        params = {"sort": sort, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await tenant.get("/v1/adrs", params=params)).json()
        seen += [item["adr_id"] for item in page["items"]]
        await tenant.create("# Added meanwhile\n")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == expected[::-1]


async def test_pages_by_update_hold_with_equal_times(world: World, tenant: Caller) -> None:
    for index in range(6):
        await tenant.create(f"# {index}\n")
    async with world.admin() as admin:
        await admin.execute("update app.adrs set updated_at = now() where tenant_id = $1", tenant.tenant_id)
    first = (await tenant.get("/v1/adrs?limit=4")).json()
    rest = (await tenant.get("/v1/adrs", params={"limit": 4, "cursor": first["next_cursor"]})).json()
    assert len({item["adr_id"] for item in first["items"] + rest["items"]}) == 6
    assert rest["next_cursor"] is None


async def test_a_cursor_belongs_to_its_list(world: World, tenant: Caller) -> None:
    for index in range(3):
        await tenant.create(f"# {index}\n")
    cursor = (await tenant.get("/v1/adrs?limit=1")).json()["next_cursor"]
    for params in ({"status": "accepted"}, {"sort": "created"}, {"deleted": "all"}):
        problem(await tenant.get("/v1/adrs", params={"cursor": cursor, **params}), 400, "invalid-input")
    for made_up in ("x", "", "é", cursor[:-2], "W10"):
        problem(await tenant.get("/v1/adrs", params={"cursor": made_up}), 400, "invalid-input")
    for limit in ("0", "201", "-1", "x"):
        problem(await tenant.get("/v1/adrs", params={"limit": limit}), 400, "invalid-input")
    other = await world.tenant()
    assert (await other.get("/v1/adrs", params={"cursor": cursor})).json()["items"] == []


# ----------------------------------------------------------------------------------------------------- tags and links


async def test_tags(tenant: Caller) -> None:
    adr = await tenant.create()
    path = f"/v1/adrs/{adr['adr_id']}/tags"
    assert (await tenant.put(f"{path}/two%20words")).json() == ["two words"]
    assert (await tenant.put(f"{path}/two%20words")).json() == ["two words"]
    assert (await tenant.put(path, {"tags": ["b", "a", "a"]})).json() == ["a", "b"]
    assert (await tenant.delete(f"{path}/a")).json() == ["b"]
    assert (await tenant.delete(f"{path}/a")).json() == ["b"]
    assert (await tenant.get(path)).json() == ["b"]
    assert (await tenant.get(f"/v1/adrs/{adr['adr_id']}")).json()["version"] == 1
    for bad in ("a,b", "x" * 65, "a%0Ab"):
        problem(await tenant.put(f"{path}/{bad}"), 400, "invalid-input")
    problem(await tenant.put(path, {"tags": [""]}), 400, "invalid-input")
    await tenant.put(path, {"tags": [str(index) for index in range(50)]})
    problem(await tenant.put(f"{path}/one-more"), 409, "conflict")
    assert len((await tenant.get(path)).json()) == 50


async def test_links_in_both_directions(tenant: Caller) -> None:
    one = await tenant.create("# One\n")
    two = await tenant.create("# Two\n\n## Status\n\nSupersedes [ADR-1](0001-one.md)\n")
    path = f"/v1/adrs/{two['adr_id']}/links"
    links = (await tenant.get(path)).json()
    assert links["outgoing"] == [
        {"kind": "supersedes", "target": "0001-one.md", "target_id": one["adr_id"], "origin": "text"}
    ]
    incoming = (await tenant.get(f"/v1/adrs/{one['adr_id']}/links")).json()["incoming"]
    assert [(link["adr_id"], link["kind"], link["title"]) for link in incoming] == [
        (two["adr_id"], "supersedes", "Two")
    ]
    for target, target_id in (
        (one["adr_id"], one["adr_id"]),
        ("ADR-1", one["adr_id"]),
        ("ADR-99", None),
        ("https://example.org/x", None),
    ):
        link = (await tenant.put(path, {"kind": "depends-on", "target": target})).json()
        assert link == {"kind": "depends-on", "target": target, "target_id": target_id, "origin": "user"}
    await tenant.update(two, body="# Two\n\nNo link any more.\n")
    links = (await tenant.get(path)).json()
    assert {link["origin"] for link in links["outgoing"]} == {"user"}
    left = await tenant.delete(path, params={"kind": "depends-on", "target": "ADR-99"})
    assert "ADR-99" not in left.text
    problem(await tenant.delete(path, params={"kind": "depends-on", "target": "ADR-99"}), 404, "not-found")
    problem(await tenant.put(path, {"kind": "likes", "target": "ADR-1"}), 400, "invalid-input")
    problem(await tenant.put(path, {"kind": "relates-to", "target": str(uuid4())}), 404, "not-found")


async def test_a_link_of_the_text_is_removed_with_the_text(tenant: Caller) -> None:
    await tenant.create("# One\n")
    two = await tenant.create("# Two\n\nSee [one](0001-one.md).\n")
    path = f"/v1/adrs/{two['adr_id']}/links"
    query = {"kind": "relates-to", "target": "0001-one.md"}
    problem(await tenant.delete(path, params=query), 409, "conflict")
    await tenant.post(f"/v1/adrs/{two['adr_id']}/rollback", {"to_version": 1, "expected_version": 1})
    assert len((await tenant.get(path)).json()["outgoing"]) == 1


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"body=x", "at byte 0"),
        (b'{"body": "x"', "at byte 12"),
        (b'{"body": "x",}', "at byte 13"),
        (b"\xff\xfe", "at byte 0"),
        (b'{"body": "\\ud800"}', "not JSON"),
        (b'{"body": "\xff"}', "not JSON"),
        (b'{"body": 7}', "body: Expected `str`, got `int`"),
        (b'{"body": ""}', "body: Expected `str` of length >= 1"),
        (b"{}", "missing required field `body`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b"", "needs a JSON body"),
        (b'{"body": "x", "titel": "y", "stat": 1}', "unknown field(s): stat, titel"),
        (b'{"body": "x", "status": "fine"}', "status: 'fine' is none of accepted"),
        (b'{"body": "x", "log": "No"}', "log: has 1 to 63 of a-z"),
        (b'{"body": "x", "tags": ["a,b"]}', "tags[0]"),
        (b'{"body": "a\\u0000b"}', "holds no U+0000"),
        (b'{"body": "x", "tags": ["a\\u0000b"]}', "tags[0]"),
    ],
)
async def test_a_bad_body_is_refused_with_its_place(tenant: Caller, content: bytes, said: str) -> None:
    headers = {"content-type": "application/json"}
    response = await tenant.request("POST", "/v1/adrs", content=content, headers=headers)
    assert said in problem(response, 400, "invalid-input")["detail"]
    assert (await tenant.get("/v1/adrs")).json()["items"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_only_json_in_utf_8_is_read(tenant: Caller, headers: dict[str, str]) -> None:
    response = await tenant.request("POST", "/v1/adrs", content=b'{"body": "x"}', headers=headers)
    problem(response, 415, "unsupported-media-type")


async def test_a_body_over_the_routes_limit_is_not_read(tenant: Caller) -> None:
    adr = await tenant.create()
    path = f"/v1/adrs/{adr['adr_id']}/tags"
    refused = problem(await tenant.put(path, {"tags": ["x" * 70_000]}), 413, "too-large")
    assert re.fullmatch(r"the body has 700\d\d bytes, and this route takes at most 65536 bytes", refused["detail"])
    problem(await tenant.post("/v1/adrs", {"body": "x" * 4_000_000}), 413, "too-large")


@pytest.mark.parametrize(
    "adr_id", ["7", "x", "01a20ca0-df08-73f5-b18e", "01a20ca0-df08-73f5-b18e-d3c1bb32b43g", "..%2f"]
)
async def test_an_id_that_is_none_is_not_found(tenant: Caller, adr_id: str) -> None:
    assert (await tenant.get(f"/v1/adrs/{adr_id}")).status_code == 404


async def test_people_are_known_after_their_first_request(world: World, tenant: Caller) -> None:
    grace = world.caller(tenant.tenant_id, "grace", name="Grace", email="grace@example.org")
    await asyncio.gather(*(grace.get("/v1/logs") for _ in range(5)))
    async with world.admin() as admin:
        rows = await admin.fetch("select subject, name, email from app.users where tenant_id = $1", tenant.tenant_id)
    assert [tuple(row) for row in rows] == [("grace", "Grace", "grace@example.org")]
    assert (await grace.create())["author"] == "Grace"


async def test_a_token_for_no_tenant_is_forbidden(world: World) -> None:
    stranger = world.caller(uuid4())
    assert "there is no tenant" in problem(await stranger.get("/v1/adrs"), 403, "forbidden")["detail"]


async def test_a_pool_that_is_used_up_waits_and_then_says_so(
    shared_database: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.db.ACQUIRE_S_MAX", 0.3)
    postgres = shared_database.postgres.model_copy(update={"api_pool_max": 1})
    async with running(shared_database.model_copy(update={"postgres": postgres})) as small:
        caller = await small.tenant()
        await caller.get("/v1/logs")
        async with small.app.state.database.connection():
            response = await caller.get("/v1/logs")
            problem(response, 503, "dependency-unavailable")
            assert response.headers["retry-after"]
            assert (await small.http.get("/health/ready")).status_code == 200, "busy is not broken"
        assert (await caller.get("/v1/logs")).status_code == 200


@pytest.mark.parametrize(
    ("order", "index", "key"),
    [("created", "adrs_pkey", "(adr_id <"), ("updated", "adrs_recent", "(ROW(updated_at, adr_id) <")],
)
async def test_each_order_of_a_list_is_read_from_its_index(
    shared_database: Settings, tenant: Caller, order: str, index: str, key: str
) -> None:
    """One statement has both orders, and what a cursor skips is not read."""
    database = Database(shared_database.postgres)
    await database.open()
    filters: tuple[Any, ...] = ("live", [], None, None, None, None, [])
    async with tenant_transaction(database, tenant.tenant_id, read_only=True) as connection:
        for way in ("sort", "seqscan", "bitmapscan"):  # what a small table is read by
            await connection.execute(f"set local enable_{way} = off")
        after = (datetime.now(UTC), uuid4())
        rows = await connection.fetch(f"explain {queries._LIST}", tenant.tenant_id, *filters, order, *after, 51)
    await database.close()
    plan = [row[0].strip() for row in rows]
    at = next(at for at, line in enumerate(plan) if f"using {index} on adrs a" in line)
    assert key in plan[at + 1], plan
    assert not any(line.startswith(("Sort", "->  Sort")) for line in plan), plan
