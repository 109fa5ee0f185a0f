"""What is found is counted as it is counted by hand, says when it is more, and is one tenant's."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import pytest

from api.search import facets
from runtime.settings import Settings
from tests.api.search.corpus import BEGINNING, Corpus
from tests.api.search.test_routes import clients
from tests.connectors.embedders.stand_in import FakeEmbedder

pytestmark = pytest.mark.stack

ALL: Final = ["status", "tag", "log", "author", "kind", "year"]
WORDS = ("heron", "osprey", "kite", "wren")
PEOPLE = ("Ada", "ada", "Grace", "")


def write(corpus: Corpus, tenant_id: UUID, seed: int, n: int = 40) -> list[dict[str, Any]]:
    """Decisions and documents of chance, and what is to be counted of each."""
    chance = random.Random(seed)
    corpus.log(tenant_id, "platform")
    written = []
    for number in range(1, n + 1):
        words = chance.sample(WORDS, k=chance.randint(1, 2))
        text = f"# T{number}\n\n{' '.join(words)}s are named here.\n"
        if number % 8 == 0:
            corpus.document(tenant_id, f"T{number}", text)
            written.append({"words": {*words}, "kind": ["document"], "year": ["2026"]})
            continue
        one: dict[str, Any] = {
            "status": chance.choice(["accepted", "proposed", "rejected"]),
            "tags": chance.sample(["x", "y", "z"], k=chance.randint(0, 2)),
            "log": chance.choice(["default", "platform"]),
            "author": chance.choice(PEOPLE),
            "at": BEGINNING + timedelta(days=chance.randint(-800, 200)),
        }
        corpus.adr(tenant_id, f"T{number}", text, number=number, **one)
        written.append(
            {
                "words": {*words},
                "status": [one["status"]],
                "tag": one["tags"],
                "log": [one["log"]],
                "author": [one["author"].lower()] if one["author"] else [],
                "kind": ["adr"],
                "year": [f"{one['at']:%Y}"],
            }
        )
    return written


def counted(written: list[dict[str, Any]], word: str = "", **filters: str) -> dict[str, dict[str, int]]:
    """By hand."""
    passing = [
        one
        for one in written
        if (not word or word in one["words"]) and all(value in one.get(name, ()) for name, value in filters.items())
    ]
    return {facet: dict(Counter(value for one in passing for value in one.get(facet, ()))) for facet in ALL}


def said(body: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        facet: {
            (each["value"].lower() if facet == "author" else each["value"]): each["count"] for each in counts["values"]
        }
        for facet, counts in body["facets"]["by"].items()
    }


async def test_counts_are_those_by_hand_for_any_words_and_filters(fresh_database: Settings, corpus: Corpus) -> None:
    mine, other = corpus.tenant("mine"), corpus.tenant("other")
    written, theirs = write(corpus, mine, 1), write(corpus, other, 2, 30)
    async with clients(fresh_database, mine, other, embedder=FakeEmbedder()) as (client, stranger):
        for mode in ("words", "hybrid"):
            for word in WORDS:
                body = await client.search(word, mode=mode, facets=ALL)
                assert said(body) == counted(written, word), word
                assert body["facets"]["of"] == "sources with a word"
                assert body["facets"]["sources"] == sum(word in one["words"] for one in written)
                assert body["facets"]["at_least"] is False
        assert said(await stranger.search("heron", facets=ALL)) == counted(theirs, "heron")
        for name, value in {
            "status": "accepted",
            "tag": "x",
            "log": "platform",
            "author": "ada",
            "kind": "adr",
        }.items():
            filters: dict[str, Any] = {name: [value] if name in ("status", "tag") else value}
            body = await client.search("kite", facets=ALL, **filters)
            assert said(body) == counted(written, "kite", **{name: value}), name
        everything = await client.search("kite", mode="meaning", facets=ALL)
        assert said(everything) == counted(written)
        assert (everything["facets"]["of"], everything["facets"]["sources"]) == ("all that pass", len(written))
        assert said(await client.search("!?", facets=ALL)) == counted(written)
        without = await client.search("heron -osprey", facets=["kind"])
        assert said(without) == {
            "kind": Counter(
                one["kind"][0] for one in written if "heron" in one["words"] and "osprey" not in one["words"]
            )
        }
        assert said(await client.search("heorn", facets=ALL)) == counted(written, "heron"), "corrected"
        assert said(await client.search("her", facets=ALL, typing=True)) == counted(written, "heron")
        assert "facets" not in await client.search("heron")
        assert "facets" not in await client.search("-osprey", facets=ALL), "it finds nothing"
        by_link = (await client.get(q="heron", facets=ALL)).json()
        assert said(by_link) == counted(written, "heron")
        assert (await client.get(q="heron", facets="colour")).status_code == 400


async def test_a_delete_is_not_counted(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    corpus.adr(tenant_id, "A", "The heron stays.")
    gone = corpus.adr(tenant_id, "B", "The heron goes.")
    file = corpus.document(tenant_id, "C", "The heron goes too.")
    async with clients(fresh_database, tenant_id, embedder=FakeEmbedder()) as (client,):
        assert (await client.search("heron", facets=["kind"]))["facets"]["sources"] == 3
        corpus.connection.execute("update app.adrs set deleted_at = now() where adr_id = %s", [gone])
        corpus.connection.execute(
            "insert into app.document_versions (tenant_id, document_id, version, kind, origin, title, media_type, "
            "body, effective_at) select tenant_id, document_id, version + 1, 'delete', origin, title, media_type, '', "
            "effective_at from app.document_versions where document_id = %s",
            [file],
        )
        counts = (await client.search("heron", facets=["kind"]))["facets"]
        assert counts["sources"] == 1
        assert counts["by"] == {"kind": {"values": [{"value": "adr", "count": 1}], "more": 0}}


async def test_what_is_too_much_to_look_at_is_said_to_be_at_least_so_much(
    fresh_database: Settings, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = corpus.tenant("one")
    written = write(corpus, tenant_id, 3)
    monkeypatch.setattr(facets, "LISTED_MAX", 10)
    monkeypatch.setattr(facets, "BEST_MAX", 8)
    monkeypatch.setattr(facets, "VALUES_MAX", 1)
    async with clients(fresh_database, tenant_id, embedder=FakeEmbedder()) as (client,):
        for mode, word in (("words", "heron"), ("meaning", "")):
            for filters in ({}, {"kind": "adr"}, {"status": ["accepted", "proposed", "rejected"]}):
                asked: dict[str, Any] = {"mode": mode, "facets": ALL, **filters}
                body = await client.search(word or "heron", **asked)
                assert body["facets"]["at_least"] is True
                assert body["facets"]["sources"] == (8 if word else 10)
                truth = counted(written, word)
                for facet, values in said(body).items():
                    assert len(values) <= 1
                    assert all(0 < count <= truth[facet][value] for value, count in values.items())
                if not filters:
                    assert body["facets"]["by"]["status"]["more"] > 0
        # What passes a narrow filter is counted in full again, though the tenant is large.
        narrow = await client.search("heron", facets=["log"], tag=["x", "y"])
        assert narrow["facets"]["at_least"] is False


async def test_words_that_only_begin_so_are_counted_at_least(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    corpus.adr(tenant_id, "A", "Die Aufbewahrungsfristen.")
    corpus.adr(tenant_id, "B", "服务先写入数据库。")
    async with clients(fresh_database, tenant_id, embedder=FakeEmbedder()) as (client,):
        for typed in ("Aufbewahrung", "库", "数"):
            counts = (await client.search(typed, facets=["kind"]))["facets"]
            assert (counts["sources"], counts["at_least"]) == (1, True), typed
        nothing = (await client.search("zzzz", facets=["kind"]))["facets"]
        assert (nothing["sources"], nothing["by"]["kind"]["values"]) == (0, [])
