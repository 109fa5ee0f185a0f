"""The nearest ADRs over HTTP: in order, with reasons to read, never a deleted one, and how far they are is said."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from api import watermarks
from api.adrs.related import reasons
from dataflows.index import Index
from dataflows.related import Related
from runtime.settings import Settings
from tests.api.search.corpus import Corpus, writing
from tests.api.world import Caller, running

NEAR = {"terms": [], "words": 0.0, "meaning": 0.1, "links_to": [], "links_from": []}


def said(**row: Any) -> list[str]:
    return [reason.text for reason in reasons(NEAR | row)]


def test_reasons_read_as_sentences_strongest_first() -> None:
    assert said(links_to=["supersedes", "superseded-by"], links_from=["amends", "relates-to"]) == [
        "this ADR supersedes it",
        "this ADR is superseded by it",
        "it amends this ADR",
        "it refers to this ADR",
    ]
    assert said(links_to=["relates-to", "depends-on"]) == ["this ADR refers to it", "this ADR depends on it"]
    assert said(terms=["kafka", "ledger"], words=0.4, meaning=0.52) == [
        "both speak of kafka, ledger",
        "passages alike in meaning, cosine 0.52",
    ]
    assert said(terms=["kafka"], words=0.1) == ["both speak of kafka"], "a weak reason is none beside another"
    assert said() == ["passages alike in meaning, cosine 0.10"], "there is always one"


# --- on a database --------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(fresh_database: Settings) -> Iterator[Corpus]:
    with writing(fresh_database) as writer:
        yield writer


def reported(corpus: Corpus, age_s: float = 1.0) -> None:
    """Both views have reported, everywhere."""
    corpus.connection.execute("delete from mv.watermarks")
    for view, topics in {watermarks.WORDS_VIEW: Index.topics, watermarks.RELATED_VIEW: Related.topics}.items():
        for topic in topics:
            corpus.connection.execute(
                "insert into mv.watermarks (view, topic, partition, lsn, source_at) "
                "select %s, %s, p, '0/1A2B3C8', %s from generate_series(0, 7) p",
                [view, topic, datetime.now(UTC) - timedelta(seconds=age_s)],
            )


def compared(corpus: Corpus, tenant_id: UUID, adr_id: UUID, version: int = 1) -> None:
    """The flow has this version of an ADR."""
    corpus.connection.execute(
        "insert into mv.related_features values (%s, 'adr', %s, %s, '', '{}', '\\x0001', 1) "
        "on conflict (tenant_id, kind, source_id) do update set version = excluded.version",
        [tenant_id, adr_id, version],
    )


async def listed(caller: Caller, adr_id: UUID, **more: Any) -> Any:
    return await caller.get(f"/v1/adrs/{adr_id}/related", **more)


@pytest.mark.stack
async def test_the_list_is_in_order_and_without_deleted_ones(fresh_database: Settings, corpus: Corpus) -> None:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        tenant = caller.tenant_id
        corpus.log(tenant, "default")
        one = corpus.adr(tenant, "Use a log", "# Use a log\n\nKafka.\n", number=1)
        others = [
            corpus.adr(tenant, f"Other {n}", "Kafka.", number=n, status="superseded" if n == 3 else "accepted")
            for n in (2, 3, 4)
        ]
        for other, score in zip(others, (0.3, 0.9, 0.6), strict=True):
            corpus.near(tenant, one, other, score=score, links_to=["supersedes"] if score == 0.9 else ())
        corpus.connection.execute("update app.adrs set deleted_at = now() where adr_id = %s", [others[2]])

        answer = (await listed(caller, one)).json()
        assert [(row["label"], row["title"], row["status"], row["log"]) for row in answer["related"]] == [
            ("ADR-3", "Other 3", "superseded", "default"),
            ("ADR-2", "Other 2", "accepted", "default"),
        ]
        assert [reason["kind"] for reason in answer["related"][0]["reasons"]] == ["link", "words", "meaning"]
        assert answer["related"][0]["reasons"][0] == {
            "kind": "link",
            "text": "this ADR supersedes it",
            "link": "supersedes",
            "direction": "to",
        }
        assert (await listed(caller, others[0])).json()["related"] == []
        unknown = await listed(caller, uuid4())
        assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")


@pytest.mark.stack
async def test_as_of_is_as_far_as_the_oldest_version_that_is_not_compared(
    fresh_database: Settings, corpus: Corpus
) -> None:
    async with running(fresh_database) as world:
        caller = await world.tenant()
        tenant = caller.tenant_id
        corpus.log(tenant, "default")
        one = corpus.adr(tenant, "Use a log", "Kafka.")
        assert (await listed(caller, one)).json()["as_of"]["state"] == "unknown"
        reported(corpus)
        lacking = (await listed(caller, one)).json()["as_of"]
        assert (lacking["lsn"], lacking["state"]) == (None, "unknown"), "it was written long ago, and is not compared"
        compared(corpus, tenant, one)
        answer = await listed(caller, one)
        assert answer.json()["as_of"]["state"] == "fresh"
        assert answer.headers["adriatic-as-of-lsn"] == "0/1A2B3C8"
        corpus.connection.execute("update mv.search_state set deleted = true where source_id = %s", [one])
        assert (await listed(caller, one)).json()["as_of"]["lsn"] is None, "a deleted ADR is still in the lists"
        reported(corpus, age_s=60)
        corpus.connection.execute("delete from mv.related_features")
        assert (await listed(caller, one)).json()["as_of"]["state"] == "stale"
        corpus.connection.execute(
            "update mv.watermarks set lsn = '0/0' where topic = 'adriatic.app.adr_links' and partition = 3"
        )
        assert (await listed(caller, one)).json()["as_of"]["state"] == "unknown", "one partition never reported"


@pytest.mark.stack
async def test_a_read_waits_for_a_position_and_says_when_it_does_not_come(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "POSITION_WAIT_S", 0.3)
    async with running(fresh_database) as world:
        caller = await world.tenant()
        corpus.log(caller.tenant_id, "default")
        one = corpus.adr(caller.tenant_id, "Use a log", "Kafka.")
        reported(corpus)
        there = {"adriatic-position": "0/1000"}
        behind = await listed(caller, one, headers=there)
        assert (behind.status_code, behind.json()["code"]) == (503, "behind"), "its version is not compared"
        compared(corpus, caller.tenant_id, one)
        assert (await listed(caller, one, headers=there)).status_code == 200
        corpus.connection.execute(
            "update mv.watermarks set lsn = '0/10' where view = 'related' and topic = 'adriatic.app.adr_links'"
        )
        assert (await listed(caller, one, headers=there)).status_code == 503, "a link may be missing"
