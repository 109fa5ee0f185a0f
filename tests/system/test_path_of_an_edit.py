"""One edit, from the write in Postgres to the search result, and what every way of changing it does to the result."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.system.conftest import Tenant, World, eventually

pytestmark = pytest.mark.stack

FIRST = """# Keep queue depth bounded

## Status

Accepted

## Context

A producer that outruns its consumer fills the memory of the process until it is ended.

## Decision

Every queue has a limit, and a producer that meets it waits.
"""
SECOND = FIRST.replace(
    "Every queue has a limit, and a producer that meets it waits.",
    "Every queue has a limit, and the oldest telemetry samples are thrown away by a sampler.",
)


def test_an_edit_becomes_findable_by_words_and_by_meaning_and_replaces_the_old_text(tenant: Tenant) -> None:
    adr = tenant.create(FIRST)
    eventually("found by words", lambda: adr["adr_id"] in tenant.search("producer waits", "words"))
    eventually("found by meaning", lambda: adr["adr_id"] in tenant.search("back-pressure", "meaning"))

    changed = tenant.http.patch(f"/v1/adrs/{adr['adr_id']}", json={"body": SECOND, "expected_version": 1})
    assert changed.status_code == 200, changed.text
    eventually("the new text is found", lambda: tenant.search("sampler", "words") == [adr["adr_id"]])
    eventually(
        "the old text is not", lambda: "producer that meets" not in _snippets(tenant, "producer meets limit waits")
    )

    deleted = tenant.http.delete(f"/v1/adrs/{adr['adr_id']}", headers={"If-Match": "*"})
    assert deleted.status_code in (200, 204), deleted.text
    for mode in ("words", "meaning", "hybrid"):
        eventually(f"gone from {mode}", partial(_finds, tenant, mode, []))


def test_reads_of_materialized_tables_say_how_fresh_they_are(tenant: Tenant) -> None:
    tenant.create(FIRST)

    def fresh() -> bool:
        as_of = tenant.http.get("/v1/search", params={"q": "queue"}).json()["as_of"]
        return all(as_of[arm]["state"] == "fresh" and as_of[arm]["age_s"] < 15 for arm in ("words", "meaning"))

    eventually("both arms are fresh", fresh)


def test_tenants_with_the_same_text_do_not_meet(new_tenant: Callable[[], Tenant]) -> None:
    one, other = new_tenant(), new_tenant()
    mine, theirs = one.create(FIRST)["adr_id"], other.create(FIRST)["adr_id"]
    for mode in ("words", "meaning", "hybrid"):
        eventually(f"found by {mode}", partial(_finds, one, mode, [mine]))
        eventually(f"found by {mode}", partial(_finds, other, mode, [theirs]))
    assert one.http.get(f"/v1/adrs/{theirs}").status_code == 404


def test_a_folder_is_imported_with_one_command_found_with_another_and_verified_with_a_third(
    world: World, tenant: Tenant
) -> None:
    imported = world.run("import", "docs/decisions", "--tenant", tenant.slug)
    assert "searchable" in imported.stdout
    found = world.run("search", "why is there no dual write", "--tenant", tenant.slug)
    assert "WAL" in found.stdout
    assert world.run("import", "docs/decisions", "--tenant", tenant.slug).returncode == 0
    assert world.run("verify", "--tenant", tenant.slug).returncode == 0


def _finds(tenant: Tenant, mode: str, adr_ids: list[str]) -> bool:
    return tenant.search("queue limit", mode) == adr_ids


def _snippets(tenant: Tenant, q: str) -> str:
    hits = tenant.http.get("/v1/search", params={"q": q, "mode": "words"}).json()["hits"]
    return " ".join(hit["snippet"]["text"] for hit in hits)


def test_the_feed_and_the_counts_follow_a_write_and_a_search_waits_for_one(world: World, tenant: Tenant) -> None:
    answer = tenant.http.post("/v1/adrs", json={"body": "# Count the herons\n\nEvery spring.\n"})
    position = answer.headers["adriatic-position"]
    found = tenant.http.get(
        "/v1/search", params={"q": "herons", "mode": "words"}, headers={"adriatic-position": position}
    )
    assert [hit["source_id"] for hit in found.json()["hits"]] == [answer.json()["adr_id"]], found.text
    feed = "select change, title from mv.activity where tenant_id = %s"
    assert eventually("the feed", lambda: world.rows(feed, tenant.tenant_id)) == [("create", "Count the herons")]
    assert world.rows(
        "select kind, sum(count)::int from mv.entity_counts where tenant_id = %s group by kind order by 1",
        tenant.tenant_id,
    ) == [("adrs", 1), ("versions", 1)]
    assert world.run("verify", "--tenant", tenant.slug).returncode == 0
    stopped = world.rows("select table_name from ops.cdc_tables where state = 'stopped'")
    assert stopped == []
