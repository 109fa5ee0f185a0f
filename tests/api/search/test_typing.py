"""Search takes what is typed as it was meant: unfinished words, misspelt words, and what has no word that counts."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.beginnings import find_beginnings
from api.search.spelling import Distance, find_correctable
from runtime.settings import Settings
from tests.api.search.corpus import Corpus
from tests.api.search.test_routes import Away, clients
from tests.connectors.embedders.stand_in import FakeEmbedder

TEXTS = {
    1: ("Kafka is the log", "Kafka keeps records in order. Emit by pg_logical_emit_message."),
    2: ("Choose Postgres as the database", "The database is Postgres. Its policies bind a role."),
    3: ("Partitioning follows the key", "Partitions are rebalanced. Happiness is a key of one's own."),
    4: ("Deployments are atomic", "Each deployment has one version. Wer Löschung sagt, meint Deployment."),
    5: ("Kernel limits", "The kernel bounds memory by groups; kernels of old do not."),
    6: ("Repositories hide queries", "A repository has one handler, called handleOrderPlaced."),
    7: ("Decide by record", "The decision was taken. We decide in the open."),
}
TYPED = [
    ("kaf", 1), ("log kaf", 1), ("postg", 2), ("dat", 2), ("polic", 2), ("policie", 2), ("happines", 3),
    ("partitio", 3), ("deployme", 4), ("lösch", 4), ("handleOrderPl", 6), ("pg_logical_em", 1), ("reposito", 6),
    ("decisio", 7), ("kern", 5),
]  # fmt: skip
MISSPELT = [
    ("akfka", "Kafka", 1), ("kafak", "Kafka", 1), ("databse", "database", 2), ("postgers", "Postgres", 2),
    ("polcies", "policies", 2), ("parttioning", "Partitioning", 3), ("partitionign", "Partitioning", 3),
    ("deploymnet", "deployment", 4), ("depolyment", "deployment", 4), ("Repositroy", "repository", 6),
    ("hapiness", "Happiness", 3), ("decisoin", "decision", 7), ("kernle", "kernel", 5), ("löschnug", "Löschung", 4),
]  # fmt: skip
LEFT = [
    *("kafka", "KAKFA", "kafka2", "kaf_ka", "handleOrderPlaecd", "v1.2.3", "0012", "ADR-12", "kaf", '"kafak"'),
    *("zzzzzzzz", "Кафка", "数据", "the", "thier"),
]  # fmt: skip


@pytest.fixture
def tenant(corpus: Corpus) -> UUID:
    tenant_id = corpus.tenant("one")
    for number, (title, body) in TEXTS.items():
        corpus.adr(tenant_id, title, f"# {title}\n\n{body}\n", number=number)
    return tenant_id


@pytest.mark.stack
async def test_an_unfinished_word_finds_what_begins_so(fresh_database: Settings, tenant: UUID) -> None:
    wrong = {}
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed, number in TYPED:
            body = await client.search(typed, mode="words", typing=True, correct=False)
            found = [hit["number"] for hit in body["hits"]]
            if found[:1] != [number]:
                wrong[typed] = found
        assert wrong == {}
        # A blank behind it ends a word; so does a quotation mark.
        for ended in ("postg ", '"postg"'):
            body = await client.search(ended, typing=True, correct=False, explain=True)
            assert body["explain"]["terms"] == ["postg"]
        assert (await client.search("postg", correct=False, explain=True))["explain"]["terms"] == ["postg"]
        assert (await client.search("k", typing=True, explain=True))["explain"]["terms"] == ["k"]


@pytest.mark.stack
async def test_a_common_beginning_is_taken_for_the_most_frequent_words(
    fresh_database: Settings, corpus: Corpus, tenant: UUID
) -> None:
    words = [f"cont{letter}" for letter in "bcdfghjkmp"]
    for count, word in enumerate(words, 1):
        for number in range(count):
            corpus.adr(tenant, f"{word} {number}", f"{word} is here", by_meaning=False)
    for number in range(RARE_BESIDE):
        corpus.adr(tenant, f"rarity {number}", "rarity", by_meaning=False)
    corpus.adr(tenant, "rarest", "rarest", by_meaning=False)
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search("cont", typing=True, explain=True)
        assert sorted(body["explain"]["terms"]) == sorted(["cont", *words[2:]])
        assert "rarest" not in (await client.search("rar", typing=True, explain=True))["explain"]["terms"]
        assert "rarest" in (await client.search("rares", typing=True, explain=True))["explain"]["terms"]


RARE_BESIDE = 21
"""Sources of a word beside which a word of one source is left out."""


@pytest.mark.stack
async def test_a_misspelt_word_is_taken_for_the_nearest(fresh_database: Settings, tenant: UUID) -> None:
    wrong = {}
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed, meant, number in MISSPELT:
            body = await client.search(f"{typed}, ", mode="words")
            found = (body.get("corrected"), [hit["number"] for hit in body["hits"]][:1])
            if found != ([{"from": typed, "to": meant}], [number]):
                wrong[typed] = found
        assert wrong == {}
        body = await client.search("kafak databse", explain=True)
        assert [each["to"] for each in body["corrected"]] == ["Kafka", "database"]
        assert body["explain"]["text"] == "Kafka database"
        assert {hit["number"] for hit in body["hits"][:2]} == {1, 2}
        assert (await client.get(q="kafak", mode="words")).json()["corrected"] == [{"from": "kafak", "to": "Kafka"}]


@pytest.mark.stack
async def test_nothing_is_corrected_that_is_meant_as_it_is_written(fresh_database: Settings, tenant: UUID) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        for typed in LEFT:
            assert "corrected" not in await client.search(typed), typed
        assert "corrected" not in await client.search("kafak", correct=False)
        assert (await client.get(q="kafak", mode="words", correct=False)).json()["hits"] == []
        assert "corrected" not in await client.search("kafka -kafak")
        # What goes on somewhere is not misspelt while it is typed; what goes on nowhere is.
        assert "corrected" not in await client.search("databa", typing=True)
        assert (await client.search("kafak", typing=True))["corrected"] == [{"from": "kafak", "to": "Kafka"}]


@pytest.mark.stack
async def test_another_tenants_words_complete_and_correct_nothing(
    fresh_database: Settings, corpus: Corpus, tenant: UUID
) -> None:
    other = corpus.tenant("other")
    corpus.adr(other, "Osprey", "# Osprey\n\nThe osprey nests on the lighthouse.\n")
    async with clients(fresh_database, tenant, other, embedder=FakeEmbedder()) as (mine, theirs):
        for typed, stem in {"lighthuose": "lighthuos", "lightho": "lightho"}.items():
            here = await mine.search(typed, mode="words", typing=True, explain=True)
            there = await theirs.search(typed, mode="words", typing=True, explain=True)
            assert (here["hits"], here.get("corrected"), here["explain"]["terms"]) == ([], None, [stem])
            assert [hit["title"] for hit in there["hits"]] == ["Osprey"]
            assert "lighthous" in there["explain"]["terms"]


@pytest.mark.stack
@pytest.mark.parametrize("typed", ["!?", "than those", "🚀", "…", "库", "-", "() {}", "or"])
@pytest.mark.parametrize("mode", ["words", "hybrid"])
async def test_what_has_no_word_that_counts_is_answered_by_meaning(
    fresh_database: Settings, tenant: UUID, typed: str, mode: str
) -> None:
    async with clients(fresh_database, tenant, embedder=FakeEmbedder()) as (client,):
        body = await client.search(typed, mode=mode)
        counts = typed in ("than those", "库", "or")
        if mode == "words" and counts:
            assert body["hits"] == []
        else:
            assert len(body["hits"]) == len(TEXTS)
            assert body["by_meaning_alone"] == ("no word is found" if counts else "no word counts")
            assert body["as_of"].keys() == {"words", "meaning"}
        assert "by_meaning_alone" not in await client.search("kafka", mode=mode)
    async with clients(fresh_database, tenant, embedder=Away()) as (client,):
        without = await client.search(typed, mode=mode)
        assert without["hits"] == []
        assert "by_meaning_alone" not in without
        assert [each["arm"] for each in without["degraded"]] == ([] if mode == "words" and counts else ["meaning"])


# --- pure -----------------------------------------------------------------------------------------------------------


def plain_distance(word: str, other: str) -> int:
    """The usual table, row by row."""
    rows: list[list[int]] = [[*range(len(other) + 1)]]
    for i, letter in enumerate(word, 1):
        row = [i]
        for j, against in enumerate(other, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != against)))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == against:
                row[j] = min(row[j], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]


@given(st.text("abcd", min_size=1, max_size=12), st.text("abcd", max_size=12))
def test_a_distance_is_that_of_the_usual_table(word: str, other: str) -> None:
    assert Distance(word).to(other, 12) == plain_distance(word, other)


def test_a_distance_above_the_most_is_above_it() -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        word, other = ("".join(chance.choices("abc", k=chance.randint(1, 9))) for _ in range(2))
        measured = Distance(word).to(other, 2)
        assert (measured > 2) == (plain_distance(word, other) > 2)


def test_what_may_be_misspelt() -> None:
    assert find_correctable(["(Kafak),", "pg_x", "ADR", "c++", "teh", "déplomyent", "camelCase", "a" * 41]) == {
        "Kafak": "kafak",
        "déplomyent": "deplomyent",
    }


@pytest.mark.parametrize(
    ("unfinished", "beginnings"),
    [
        ("kaf", ["kaf"]),
        ("pg_logical_em", ["em", "pg_logical_em"]),
        ("node.j", ["nodej"]),
        ("docs/ad", ["ad", "docsad"]),
        ("v1.", []),
        ("é", []),
        ("Déplo", ["deplo"]),
    ],
)
def test_where_an_unfinished_word_begins(unfinished: str, beginnings: list[str]) -> None:
    assert find_beginnings(unfinished) == beginnings
