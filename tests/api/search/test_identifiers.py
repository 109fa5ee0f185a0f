"""A name that is searched for as it is written is found first where it is written so, whatever else has its parts."""

from __future__ import annotations

from uuid import UUID

import pytest

from api.search.identifiers import Name, find_name
from api.search.query import parse
from runtime.settings import Settings
from tests.api.search.corpus import Corpus
from tests.api.search.test_routes import clients
from tests.connectors.embedders.stand_in import FakeEmbedder

NAMES = {
    "pg_logical_emit_message": "message of pg: logical messages, emitted by pg, are logical",
    "handleOrderPlaced": "placed by handle: an order is handled when it is placed",
    "Node.js": "js on a node: each node has its js",
    "CI/CD": "cd and then ci: where cd is, ci was",
    "x/b": "b before x: x comes with b",
    "v1.2.3": "v3 of v1 or v2",
    "1.2.4": "4 or 2 or 1: 1 of 4 is not 2",
    "/srv/gate/listen.toml": "toml at the gate: srv hears, listens to the gate, toml says so",
    "std::vector": "vector of std: std has a vector",
    "AX-9035": "9035 for ax: ax has 9035",
    "E_QUOTA_EXCEEDED": "exceeded is the quota: whoever exceeds e has no quota",
    "@scope/parser": "parser with a scope: the scope has a parser",
    "ASP.NET": "net of the asp: asp has a net",
    "C++": "plus c plus: plus is what c has",
    "F#": "sharp is f: f is sharp",
    "数据库": "据库 数据: 库 数据",
}
"""Each name, and a text that says its parts more often without having it."""
FILLING = "This says in which words it is said, and what it is for among all that stands here, at some length. " * 3


@pytest.fixture
def tenant(corpus: Corpus) -> UUID:
    tenant_id = corpus.tenant("one")
    for name, parts in NAMES.items():
        corpus.adr(tenant_id, f"{parts.split(':')[0]} tells more", f"{parts}. So {parts}.")
        corpus.adr(tenant_id, f"Has {name}", f"{FILLING}\n\nHere is {name} at last. {FILLING}")
    return tenant_id


@pytest.mark.stack
@pytest.mark.parametrize("mode", ["words", "hybrid"])
async def test_a_name_is_found_first_where_it_is_written_so(fresh_database: Settings, tenant: UUID, mode: str) -> None:
    wrong = {}
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for name in NAMES:
            hits = (await client.search(name, mode=mode, explain=True))["hits"]
            exact = [hit["title"] for hit in hits if hit["explain"]["exact"]]
            if exact != [f"Has {name}"] or hits[0]["title"] not in exact:
                wrong[name] = (exact, hits[0]["title"])
        assert wrong == {}
        # Among other words a name is words.
        hits = (await client.search("where is pg_logical_emit_message", mode=mode, explain=True))["hits"]
        assert not any(hit["explain"]["exact"] for hit in hits)


@pytest.mark.stack
async def test_a_name_passes_filters_and_tenants_like_words(
    fresh_database: Settings, corpus: Corpus, tenant: UUID
) -> None:
    other = corpus.tenant("other")
    corpus.adr(other, "Theirs", "A text about pg_logical_emit_message.", tags=["wal"])
    corpus.adr(tenant, "Mine", "A text about pg_logical_emit_message.", tags=["wal"])
    async with clients(fresh_database, tenant, other, embedder=FakeEmbedder()) as (mine, theirs):
        assert await mine.titles("pg_logical_emit_message", mode="words", tag=["wal"]) == ["Mine"]
        assert await mine.titles("pg_logical_emit_message", mode="words", tag=["none"]) == []
        assert "Theirs" not in await mine.titles("pg_logical_emit_message", limit=50)
        assert await theirs.titles("pg_logical_emit_message") == ["Theirs"]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("(pg_emit),", Name("pg_emit")),
        ("Node.js.", Name("Node js", "Nodejs")),
        (".NET", Name(in_one="dotNET")),
        ("C++", Name("Cplusplus")),
        ("a/b/c/d", Name("a b c d")),
        ("kafka", None),
        ("Kafka,", None),
        ("WAL", None),
        ("dual write", None),
        ('"Node.js"', None),
        ("node.js -deno", Name("node js", "nodejs")),
        ("!", None),
    ],
)
def test_what_is_a_name(typed: str, name: Name | None) -> None:
    assert find_name(parse(typed)) == name
