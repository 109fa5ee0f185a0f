"""What is shown of a hit has the words that were meant marked, in whatever form they stand, and is text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.schemas import Snippet
from api.search.snippets import CHARS_MAX, WORDS_MAX, find_spots, mark, show
from runtime.settings import Settings
from tests.api.search.corpus import Corpus
from tests.api.search.test_routes import clients
from tests.connectors.embedders.stand_in import FakeEmbedder

TEXTS = [
    "Decisions are taken by whoever is there. A decision is written down.",
    "Le déploiement a lieu chaque mardi, sans Straße.",
    "A handler is called handleOrderPlaced or retryHttpCall.",
    "Vue.js draws it; C++ and .NET do not, says CI/CD.",
    "It comes by pg_logical_emit_message, as E_QUOTA and AX-9035 say.",
    "Die Aufbewahrungsfristen sind kurz.",
    "服务先写入数据库, 然后发送消息。",
    "Kafka keeps order. <script>alert('kafka')</script> <b>kafka</b> & [kafka](x).",
    "The postgres policies bind a role.",
]
MARKED = [
    ("decision", ["Decisions", "decision"]), ("deploiement", ["déploiement"]), ("déploiement", ["déploiement"]),
    ("strasse", ["Straße"]), ("placed", ["Placed"]), ("handleOrderPlaced", ["handleOrderPlaced"]), ("http", ["Http"]),
    ("vuejs", ["Vue.js"]), ("vue", ["Vue"]), ("c++", ["C++"]), (".net", [".NET"]), ("ci/cd", ["CI/CD"]),
    ("pg_logical_emit_message", ["pg_logical_emit_message"]), ("message", ["message"]), ("quota", ["QUOTA"]),
    ("9035", ["9035"]), ("AX9035", ["AX-9035"]), ("Aufbewahrung", ["Aufbewahrungsfristen"]),
    ("数据库", ["数据库"]), ("库", ["库"]), ("policy", ["policies"]), ("kafka", ["Kafka", "kafka", "kafka", "kafka"]),
]  # fmt: skip


@pytest.mark.stack
async def test_what_was_meant_is_marked_in_whatever_form_it_stands(fresh_database: Settings, corpus: Corpus) -> None:
    tenant_id = corpus.tenant("one")
    for number, text in enumerate(TEXTS, 1):
        corpus.adr(tenant_id, f"T{number}", text, number=number)
    wrong = {}
    async with clients(fresh_database, tenant_id, embedder=FakeEmbedder()) as (client,):
        for typed, places in MARKED:
            by_words = (await client.search(typed, mode="words"))["hits"][0]
            by_both = (await client.search(typed, mode="hybrid"))["hits"]
            # A stand-in for a model knows no meaning, so by both anything may be before it.
            same = [hit for hit in by_both if hit["source_id"] == by_words["source_id"]]
            for hit in (by_words, *same):
                if marked(hit["snippet"]) != places:
                    wrong[typed] = hit["snippet"]
            assert len(same) == 1
        assert wrong == {}
        by_meaning = (await client.search("kafka", mode="meaning"))["hits"]
        assert [marked(hit["snippet"]) for hit in by_meaning if "Kafka" in hit["snippet"]["text"]] == [MARKED[-1][1]]
        unfinished = (await client.search("poli", mode="words", typing=True))["hits"]
        assert marked(unfinished[0]["snippet"]) == ["policies"]
        misspelt = (await client.search("polciies", mode="words"))["hits"]
        assert marked(misspelt[0]["snippet"]) == ["policies"]
        # A text is shown as it is; a mark is a place and no markup.
        (hit,) = (await client.search("kafka", mode="words"))["hits"]
        assert hit["snippet"]["text"] == TEXTS[7]


def marked(snippet: dict[str, object]) -> list[str]:
    text, places = snippet["text"], snippet["highlights"]
    assert isinstance(text, str)
    assert isinstance(places, list)
    return [text[start:end] for start, end in places]


# --- pure -----------------------------------------------------------------------------------------------------------


def shown(text: str, *words: str) -> Snippet:
    spots = list(find_spots(text, {word[:2] for word in words}))
    return show(text, mark(spots, {word: word for word in words}))


def test_the_piece_with_most_different_words_is_shown_with_some_before() -> None:
    text = " ".join(["alpha"] * 3 + ["filling"] * 100 + ["before"] * 9 + ["alpha", "beta"] + ["after"] * 60)
    snippet = shown(text, "alpha", "beta")
    assert snippet.text.split()[:8] == ["before"] * 6 + ["alpha", "beta"]
    assert len(snippet.text.split()) == WORDS_MAX
    assert [snippet.text[start:end] for start, end in snippet.highlights] == ["alpha", "beta"]


def test_without_a_match_the_beginning_is_shown() -> None:
    assert shown("one two " * 50, "zzz") == Snippet("one two " * 19 + "one two", [])
    assert shown("", "zzz") == Snippet("", [])


def test_a_text_without_spaces_is_cut_by_characters() -> None:
    snippet = shown("字" * 900 + "数据" + "字" * 900, "数据")
    assert len(snippet.text) == CHARS_MAX
    assert [snippet.text[start:end] for start, end in snippet.highlights] == ["数据"]


@given(st.text("abAB1_./<>+# 数据é", max_size=200), st.lists(st.text("ab数é", min_size=1, max_size=3), max_size=3))
def test_places_are_apart_in_order_and_in_the_text(text: str, words: list[str]) -> None:
    snippet = shown(" ".join(text.split()), *words)
    assert snippet.text in text or snippet.text in " ".join(text.split())
    last = 0
    for start, end in snippet.highlights:
        assert last <= start < end <= len(snippet.text)
        last = end
