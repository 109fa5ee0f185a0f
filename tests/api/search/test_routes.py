"""`/v1/search` over HTTP on a real database: hits, filters, explanations, life without an embedder, and tenants."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from litestar.testing import AsyncTestClient

from api import watermarks
from api.app import Api
from api.search import service
from api.search.embedding import QueryEmbedder
from connectors.embedders import Embedder, EmbeddingSpace, Vector
from runtime.errors import DependencyUnavailable
from runtime.settings import Settings
from tests.api.apps import borrow
from tests.api.search.corpus import BEGINNING, Corpus, writing
from tests.connectors.embedders.stand_in import FakeEmbedder

pytestmark = pytest.mark.stack

DUAL = """# Nobody writes twice

## Context

A dual write fails in the middle: the row is there, and <b>the event</b> is not.

## Decision

Everything enters Kafka through the write-ahead log.
"""
BROKER = """# Choose a broker

## Decision

Kafka, because every client speaks it. Redpanda speaks it too.
"""
TEAMS = "# Name the teams\n\nTeams are named after rivers.\n"


class Client:
    """Searches as one tenant."""

    def __init__(self, http: AsyncTestClient[Api], token: str) -> None:
        self._http = http
        self._headers = {"authorization": f"Bearer {token}"}

    def _sent(self, position: str | None) -> dict[str, str]:
        return self._headers | ({"adriatic-position": position} if position else {})

    async def post(self, position: str | None = None, **body: Any) -> Any:
        return await self._http.post("/v1/search", json=body, headers=self._sent(position))

    async def get(self, position: str | None = None, **query: Any) -> Any:
        return await self._http.get("/v1/search", params=query, headers=self._sent(position))

    async def search(self, q: str, **more: Any) -> dict[str, Any]:
        answer = await self.post(q=q, **more)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def titles(self, q: str, **more: Any) -> list[str]:
        return [hit["title"] for hit in (await self.search(q, **more))["hits"]]


@asynccontextmanager
async def clients(
    settings: Settings, *tenants: UUID, embedder: Embedder | None = None
) -> AsyncIterator[tuple[Client, ...]]:
    with borrow(settings) as app:
        async with AsyncTestClient(app) as http:
            if embedder:
                await app.state.embedder.close()
                app.state.embedder = QueryEmbedder(lambda: embedder)
            issuer = app.state.issuer
            yield tuple(Client(http, issuer.mint(tenant, subject="ada", ttl_s=60).text) for tenant in tenants)


class Away(FakeEmbedder):
    """An endpoint that does not answer."""

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        raise DependencyUnavailable("the embedding endpoint does not answer: APIConnectionError", hint="is it up?")


class Elsewhere(FakeEmbedder):
    """An embedder of another space."""

    @property
    def space(self) -> EmbeddingSpace:
        return EmbeddingSpace.of("fake", "other-words", "1", 16)


@pytest.fixture
def tenant(corpus: Corpus) -> UUID:
    tenant_id = corpus.tenant("one")
    corpus.log(tenant_id, "platform")
    corpus.adr(tenant_id, "Nobody writes twice", DUAL, number=2, tags=["kafka", "postgres"], at=BEGINNING)
    corpus.adr(
        tenant_id,
        "Choose a broker",
        BROKER,
        number=7,
        tags=["kafka"],
        status="superseded",
        author="Grace Hopper",
        at=BEGINNING + timedelta(days=10),
    )
    corpus.adr(tenant_id, "Name the teams", TEAMS, number=2, log="platform", at=BEGINNING + timedelta(days=20))
    return tenant_id


async def test_a_hit_has_all_that_is_shown_of_it(fresh_database: Settings, corpus: Corpus, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        corpus.watermark(datetime.now(UTC))  # the corpus may be older than what is fresh by now
        answer = await client.post(q="dual write", mode="hybrid", limit=2)
    body = answer.json()
    hit = body["hits"][0]
    assert body["mode"] == "hybrid"
    assert body["degraded"] == []
    assert {key: hit[key] for key in ("number", "log", "title", "status", "tags", "version")} == {
        "number": 2,
        "log": "default",
        "title": "Nobody writes twice",
        "status": "accepted",
        "tags": ["kafka", "postgres"],
        "version": 1,
    }
    text = hit["snippet"]["text"]
    assert {"dual", "write"} <= {text[start:end] for start, end in hit["snippet"]["highlights"]}
    assert "the event" in text
    chunk = hit["chunk"]
    assert DUAL[chunk["char_start"] : chunk["char_end"]].strip()
    assert "dual" in DUAL[chunk["char_start"] : chunk["char_end"]]
    assert "explain" not in body
    assert "explain" not in hit
    for arm in ("words", "meaning"):
        assert body["as_of"][arm]["state"] == "fresh"
    assert body["as_of"]["words"]["lsn"] == "0/1A2B3C8"
    assert answer.headers["adriatic-as-of-state"] == "fresh"


async def test_documents_are_found_beside_adrs_and_each_hit_says_what_it_is(
    fresh_database: Settings, corpus: Corpus, tenant: UUID
) -> None:
    manual = "# Kafka in practice\n\nNever a dual write.\n"
    document_id = corpus.document(tenant, "Kafka in practice", manual, version=1_790_000_000_000)
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        both = (await client.search("dual write"))["hits"]
        assert {hit["title"]: hit["kind"] for hit in both if "dual" in hit["snippet"]["text"]} == {
            "Nobody writes twice": "adr",
            "Kafka in practice": "document",
        }
        (hit,) = (await client.search("dual write", kind="document"))["hits"]
        assert hit["document"] == {
            "origin": "upload",
            "media_type": "text/markdown",
            "uri": "https://docs.example/Kafka",
        }
        assert (hit["source_id"], hit["number"], hit["log"], hit["tags"]) == (str(document_id), None, None, [])
        assert hit["path"] == f"/v1/documents/{document_id}/original"
        assert hit["version"] == hit["chunk"]["version"] == 1_790_000_000_000
        assert (await client.get(q="dual write", kind="document")).json()["hits"] == [hit]
        assert "Kafka in practice" not in await client.titles("dual write", kind="adr")
        assert "Kafka in practice" not in await client.titles("dual write", status=["accepted"])
        assert (await client.get(q="dual", kind="tweet")).status_code == 400
        corpus.connection.execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, "
            "body, effective_at) select tenant_id, document_id, version + 1, 'delete', origin, title, media_type, '', "
            "effective_at from app.document_versions"
        )
        assert await client.titles("dual write", kind="document") == [], "a delete is seen at once"


async def test_a_hit_in_a_document_says_on_which_pages_it_stands(
    fresh_database: Settings, corpus: Corpus, tenant: UUID
) -> None:
    pages = [f"{word.capitalize()} {'lies in the reeds and waits. ' * 12}" for word in ("heron", "osprey", "curlew")]
    text = "\n\n".join(pages)
    starts = [0, len(pages[0]) + 2, len(pages[0]) + 2, text.index("Curlew")]
    for owner in (tenant, corpus.tenant("other")):
        document_id = corpus.document(owner, "Birds", text, version=1)
        if owner == tenant:
            corpus.connection.execute(
                "insert into app.document_pages values (%s, %s, 1, %s)", [owner, document_id, starts]
            )
    corpus.document(tenant, "Other", "A plover, on no page.")
    corpus.connection.execute("update app.document_versions set media_type = 'application/pdf'")
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        found, paths = {}, {}
        for word in ("heron", "osprey", "curlew", "plover"):
            (hit,) = (await client.search(word, kind="document", mode="words"))["hits"]
            found[word], paths[word] = hit["chunk"].get("pages"), hit["path"].partition("/original")[2]
    # The second page is empty: what begins behind it is on the third.
    assert found == {"heron": [1, 1], "osprey": [3, 3], "curlew": [4, 4], "plover": None}
    assert paths == {"heron": "#page=1", "osprey": "#page=3", "curlew": "#page=4", "plover": ""}


async def test_a_link_answers_like_a_document(fresh_database: Settings, tenant: UUID) -> None:
    query: dict[str, Any] = {"q": "kafka", "status": ["accepted", "superseded"], "tag": ["kafka"], "limit": 5}
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        by_link, by_document = (await client.get(**query)).json(), (await client.post(**query)).json()
    assert len(by_link["hits"]) == 2
    assert by_link["hits"] == by_document["hits"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {"Nobody writes twice", "Choose a broker", "Name the teams"}),
        ({"status": ["superseded"]}, {"Choose a broker"}),
        ({"status": ["superseded", "accepted"], "tag": ["kafka"]}, {"Nobody writes twice", "Choose a broker"}),
        ({"tag": ["kafka", "postgres"]}, {"Nobody writes twice"}),
        ({"tag": ["nothing"]}, set()),
        ({"log": "platform"}, {"Name the teams"}),
        ({"author": "grace hopper"}, {"Choose a broker"}),
        ({"since": (BEGINNING + timedelta(days=10)).isoformat()}, {"Choose a broker", "Name the teams"}),
        ({"until": (BEGINNING + timedelta(days=10)).isoformat()}, {"Nobody writes twice"}),
        ({"tag": ["kafka"], "status": ["rejected"]}, set()),
    ],
)
@pytest.mark.parametrize("mode", ["words", "meaning", "hybrid"])
async def test_filters(
    fresh_database: Settings, tenant: UUID, mode: str, filters: dict[str, Any], expected: set[str]
) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        assert set(await client.titles("kafka log rivers", mode=mode, **filters)) == expected


async def test_phrases_are_required_and_exclusions_excluded(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for mode in ("words", "meaning", "hybrid"):
            assert await client.titles('kafka "dual write"', mode=mode) == ["Nobody writes twice"]
            assert await client.titles('kafka "write dual"', mode=mode) == []
            assert set(await client.titles('kafka "dual write" or "every client"', mode=mode)) == {
                "Nobody writes twice",
                "Choose a broker",
            }
            assert set(await client.titles("kafka rivers -redpanda", mode=mode)) == {
                "Nobody writes twice",
                "Name the teams",
            }
        assert await client.titles('kafka "the of"', mode="words") == await client.titles("kafka", mode="words")


async def test_the_number_of_an_adr_finds_it_first(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search("ADR-0002", explain=True)
        assert {hit["title"] for hit in body["hits"][:2]} == {"Nobody writes twice", "Name the teams"}
        assert [hit["explain"]["named"] for hit in body["hits"]] == [True, True, False]
        assert await client.titles("adr 2", mode="words", log="platform") == ["Name the teams"]
        assert await client.titles("#7", mode="words") == ["Choose a broker"]


async def test_a_filter_that_lets_too_much_pass_for_a_list_finds_the_same(
    fresh_database: Settings, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = [
        *({"tag": ["kafka"]}, {"status": ["accepted"]}, {"log": "platform"}, {"author": "Ada"}, {"kind": "adr"}),
        {"since": "2020-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"},
    ]
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for filters in asked:
            for words in ("kafka log", "kafka log -redpanda"):
                monkeypatch.setattr(service, "LISTED_SOURCES_MAX", 20_000)
                listed = await client.search(words, explain=True, **filters)
                monkeypatch.setattr(service, "LISTED_SOURCES_MAX", 0)
                each = await client.search(words, explain=True, **filters)
                assert (listed["explain"]["filtered_each"], each["explain"]["filtered_each"]) == (False, True)
                assert each["explain"]["filtered_to"] is None
                assert each["explain"]["meaning_routes"] == {"adr": "exact"}
                # Of no exclusion anything is taken up with that bound, and it says so.
                assert each["explain"]["bounded"] is ("-" in words)
                if "-" not in words:
                    assert [hit["source_id"] for hit in each["hits"]] == [hit["source_id"] for hit in listed["hits"]]


async def test_an_explanation_adds_up(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search("kafka log -redpanda", explain=True, tag=["kafka"])
    explain = body["explain"]
    assert explain["terms"] == ["kafka", "log"]
    assert explain["excluded"] == ['"redpanda"']
    assert explain["filtered_to"] == 1
    assert explain["space"] == FakeEmbedder().space.name
    assert (explain["candidates_words"], explain["candidates_meaning"]) == (1, 1)
    assert (explain["words_looked_at"], explain["words_proved"]) == (1, True)
    (hit,) = body["hits"]
    arms = [hit["explain"][arm] for arm in ("words", "meaning")]
    assert hit["score"] == pytest.approx(sum(arm["contribution"] for arm in arms))
    by_words, by_meaning = arms
    assert by_words["contribution"] == pytest.approx(explain["words_share"])  # the best by words
    near = (by_meaning["score"] + by_meaning["second"]) / 2
    assert by_meaning["contribution"] == pytest.approx((1 - explain["words_share"]) * near)
    assert hit["explain"]["unlisted"] == 0
    assert hit["explain"]["words"]["terms"] == ["kafka", "log"]
    assert -1 <= hit["explain"]["meaning"]["score"] <= 1


async def test_what_one_arm_did_not_find_counts_as_its_last(
    fresh_database: Settings, corpus: Corpus, tenant: UUID
) -> None:
    corpus.adr(tenant, "Not yet embedded", "The heron waits for its vector.", by_meaning=False)
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search("kafka heron", explain=True)
    share = body["explain"]["words_share"]
    hits = {hit["title"]: hit for hit in body["hits"]}
    near = [hit["explain"]["meaning"] for hit in hits.values() if hit["explain"]["meaning"]]
    alone = hits["Not yet embedded"]["explain"]
    assert alone["meaning"] is None
    assert alone["unlisted"] == pytest.approx((1 - share) * min(arm["second"] for arm in near))
    # Nothing has no word of the query here because a list was full.
    assert [hit["explain"]["unlisted"] for hit in hits.values() if hit["explain"]["words"] is None] == [0] * (
        len(hits) - body["explain"]["candidates_words"]
    )
    for hit in hits.values():
        arms = [hit["explain"][arm] for arm in ("words", "meaning")]
        parts = [arm["contribution"] for arm in arms if arm] + [hit["explain"]["unlisted"]]
        assert hit["score"] == pytest.approx(sum(parts))
    assert [hit["score"] for hit in body["hits"]] == sorted((hit["score"] for hit in body["hits"]), reverse=True)


async def test_each_arm_alone(fresh_database: Settings, corpus: Corpus, tenant: UUID) -> None:
    corpus.adr(tenant, "Not yet embedded", "The heron waits for its vector.", by_meaning=False)
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        by_words = await client.search("heron", mode="words")
        assert [hit["title"] for hit in by_words["hits"]] == ["Not yet embedded"]
        assert by_words["as_of"].keys() == {"words"}
        by_meaning = await client.search("heron", mode="meaning")
        assert len(by_meaning["hits"]) == 3
        assert by_meaning["as_of"].keys() == {"meaning"}
        # Since BEGINNING, an ADR waits: search by meaning is complete up to then, and no further.
        assert by_meaning["as_of"]["meaning"]["state"] != "fresh"
        assert "Not yet embedded" in await client.titles("heron")


async def test_without_an_embedder_words_answer_and_say_so(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=Away()) as (client,):
        body = await client.search("dual write")
        assert [hit["title"] for hit in body["hits"]] == ["Nobody writes twice"]
        (degraded,) = body["degraded"]
        assert (degraded["arm"], degraded["code"]) == ("meaning", "dependency-unavailable")
        assert "does not answer" in degraded["detail"]
        assert body["as_of"].keys() == {"words"}
        assert (await client.search("dual write", mode="words"))["degraded"] == []
        answer = await client.post(q="dual write", mode="meaning")
    assert answer.status_code == 503
    assert answer.json()["code"] == "dependency-unavailable"
    assert answer.json()["hint"]


async def test_vectors_of_another_space_are_not_compared(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=Elsewhere()) as (client,):
        body = await client.search("dual write")
        assert "fake/other-words" in body["degraded"][0]["detail"]
        assert (await client.post(q="dual write", mode="meaning")).status_code == 503


async def test_the_model_in_the_process_is_what_the_settings_build(fresh_database: Settings, tenant: UUID) -> None:
    """No stand-in: the weights load, and their space is not the one of the stand-in's vectors."""
    async with clients(fresh_database, tenant) as (client,):
        assert "minilm/all-MiniLM-L6-v2-int8@" in (await client.search("dual write"))["degraded"][0]["detail"]


async def test_a_read_waits_for_the_position_of_a_write(
    fresh_database: Settings, corpus: Corpus, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus has its watermark at 0/1A2B3C8."""
    monkeypatch.setattr(watermarks, "POSITION_WAIT_S", 0.3)
    async with clients(fresh_database, tenant, embedder=corpus.embedder) as (client,):
        assert (await client.get(q="dual write", position="0/1A2B3C8")).status_code == 200
        assert (await client.post(q="dual write", position="0/1a2b3c7")).status_code == 200
        for late in (await client.get(q="dual", position="0/1A2B3C9"), await client.post(q="dual", position="1/0")):
            assert (late.status_code, late.json()["code"]) == (503, "behind")
            assert "retry-after" in late.headers
        assert (await client.get(q="dual", position="yesterday")).status_code == 400

        monkeypatch.setattr(watermarks, "POSITION_WAIT_S", 30.0)
        # All partitions but one are there already: the slowest counts. The client holds this thread while it waits.
        corpus.connection.execute("update mv.watermarks set lsn = '0/2000000' where partition > 0")
        last = "update mv.watermarks set lsn = '0/2000000'"
        timer = threading.Timer(0.3, corpus.connection.execute, [last])
        timer.start()
        answer = await client.get(q="dual write", position="0/2000000")
        timer.join()
        assert (answer.status_code, answer.json()["as_of"]["words"]["lsn"]) == (200, "0/2000000")


async def test_a_search_by_meaning_waits_for_vectors_of_its_own_tenant(
    fresh_database: Settings, corpus: Corpus, tenant: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "POSITION_WAIT_S", 0.3)
    other = corpus.tenant("other")
    corpus.connection.execute("update mv.search_state set meaning_version = null")
    async with clients(fresh_database, tenant, other, embedder=corpus.embedder) as (client, stranger):
        late = await client.get(q="dual", mode="meaning", position="0/1")
        assert (late.status_code, "by meaning" in late.json()["detail"]) == (503, True)
        assert (await client.get(q="dual", mode="hybrid", position="0/1")).status_code == 200
        assert (await stranger.get(q="dual", mode="meaning", position="0/1")).status_code == 200


async def test_what_was_never_indexed_is_unknown(fresh_database: Settings) -> None:
    with writing(fresh_database) as corpus:
        tenant_id = corpus.tenant("empty")
    async with clients(fresh_database, tenant_id, embedder=FakeEmbedder()) as (client,):
        answer = await client.post(q="dual write")
    assert answer.json()["hits"] == []
    assert answer.json()["as_of"]["words"]["state"] == "unknown"
    assert answer.headers["adriatic-as-of-state"] == "unknown"


async def test_a_delete_is_seen_at_once(fresh_database: Settings, corpus: Corpus, tenant: UUID) -> None:
    corpus.connection.execute(
        "insert into app.adr_versions (tenant_id, adr_id, version, change, title, status, body, effective_at) "
        "select tenant_id, adr_id, version + 1, 'delete', title, status, body, now() from app.adr_versions "
        "where title = 'Nobody writes twice'"
    )
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for mode in ("words", "meaning", "hybrid"):
            assert "Nobody writes twice" not in await client.titles("dual write kafka", mode=mode)


async def test_nobody_finds_what_is_another_tenant_s(fresh_database: Settings, corpus: Corpus, tenant: UUID) -> None:
    other = corpus.tenant("other")
    async with clients(fresh_database, tenant, other, embedder=FakeEmbedder()) as (mine, theirs):
        before = {mode: await mine.search("dual write kafka", mode=mode) for mode in ("words", "meaning", "hybrid")}
        for number in range(50):
            corpus.adr(other, "Dual write kafka", "dual write kafka " * 20, number=number + 1, tags=["kafka"])
        for mode, body in before.items():
            assert (await mine.search("dual write kafka", mode=mode))["hits"] == body["hits"]
            titles = await theirs.titles("dual write kafka", mode=mode, limit=50)
            assert titles == ["Dual write kafka"] * 50
        # Filters name another tenant's tags and numbers, and find none of its rows.
        assert {hit["title"] for hit in (await mine.search("ADR-40", limit=50))["hits"]} <= {
            "Nobody writes twice",
            "Choose a broker",
            "Name the teams",
        }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"q": ""},
        {"q": "x" * 1001},
        {"q": "kafka", "mode": "vector"},
        {"q": "kafka", "limit": 0},
        {"q": "kafka", "limit": 51},
        {"q": "kafka", "status": "accepted"},
        {"q": "kafka", "tag": ["x"] * 33},
        {"q": "kafka", "since": "yesterday"},
        {"q": "kafka", "since": "2026-01-15T09:00:00"},
        {"q": "kafka", "filters": {}},
        {"q": 7},
    ],
)
async def test_what_is_wrong_is_said(fresh_database: Settings, tenant: UUID, body: dict[str, Any]) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        answer = await client.post(**body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-input"), answer.text
        assert answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [{}, {"q": "kafka", "limit": 51}, {"q": "kafka", "since": "2026-01-15T09:00:00"}, {"q": "kafka", "statuses": "x"}],
)
async def test_a_link_that_is_wrong(fresh_database: Settings, tenant: UUID, query: dict[str, Any]) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        answer = await client.get(**query)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-input"), answer.text


@pytest.mark.parametrize(
    "q", ["'; drop table app.adrs; --", "a:* & b", "<-> | !", "\\", "' or '1'='1", "é漢🚀", "%s $1"]
)
async def test_anything_may_be_typed(fresh_database: Settings, tenant: UUID, q: str) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        answer = await client.post(q=q, explain=True)
        assert answer.status_code == 200, answer.text


async def test_without_a_token(fresh_database: Settings) -> None:
    with borrow(fresh_database) as app:
        async with AsyncTestClient(app) as http:
            assert (await http.get("/v1/search", params={"q": "kafka"})).status_code == 401
            assert (await http.post("/v1/search", json={"q": "kafka"})).status_code == 401
