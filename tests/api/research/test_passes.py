"""The rounds without a search: parts of a question, gaps, expansions, the joining of rankings."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.research import passes
from api.research.passes import FoundPassage, PassageKey, PlannedQuery
from api.research.questions import PARTS_MAX, decompose


def passage(number: int, title: str = "") -> FoundPassage:
    key = PassageKey("adr", UUID(int=number), 1, 0)
    return FoundPassage(key, 0, 10, title, "", "accepted", None, None, None, 0.0)


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("Why is there no dual write?", ["Why is there no dual write?"]),
        ("Why no dual write, and how are deletes handled?", ["Why no dual write", "how are deletes handled?"]),
        ("Which broker do we use? Who decides it?", ["Which broker do we use?", "Who decides it?"]),
        ("Which broker do we use? Why?", ["Which broker do we use? Why?"]),
        ("Kafka vs. RabbitMQ", ["Kafka", "RabbitMQ", "Kafka vs. RabbitMQ"]),
        (
            "What is the difference between Kafka and RabbitMQ?",
            ["Kafka", "RabbitMQ", "What is the difference between Kafka and RabbitMQ?"],
        ),
        ("How does caching relate to search?", ["caching", "search", "How does caching relate to search?"]),
        ("Warum Kafka und wie wird gelöscht?", ["Warum Kafka", "wie wird gelöscht?"]),
        ("search and replace", ["search and replace"]),
    ],
)
def test_a_question_is_taken_apart(question: str, parts: list[str]) -> None:
    assert decompose(question) == parts


@given(st.text(min_size=1, max_size=1_000).filter(str.strip))
def test_any_question_has_parts_within_the_bound(question: str) -> None:
    assert 1 <= len(decompose(question)) <= PARTS_MAX


def test_so_many_parts_are_answered() -> None:
    asked = " ".join(f"What is topic{number} about?" for number in range(PARTS_MAX + 5))
    assert len(decompose(asked)) == PARTS_MAX


def test_the_question_itself_counts_most_and_is_never_left_out() -> None:
    planned = passes.plan_first("Kafka vs RabbitMQ", ["Kafka", "RabbitMQ", "Kafka vs RabbitMQ"])
    assert planned[0] == PlannedQuery("Kafka vs RabbitMQ", 0.0)
    assert [each.text for each in planned] == ["Kafka vs RabbitMQ", "Kafka", "RabbitMQ"]
    assert all(each.handicap > 0 for each in planned[1:])
    many = [f"part {number} of it" for number in range(passes.QUERIES_MAX + 5)]
    assert len(passes.plan_first("all of it", many)) == passes.QUERIES_MAX


def test_a_passage_has_the_best_place_that_a_query_gives_it_within_the_bound() -> None:
    one, two, three = passage(1), passage(2), passage(3)
    joined = passes.merge([], [(0.0, [one, two, three]), (0.5, [three, two])])
    assert [(each.key.source_id.int, each.place) for each in joined] == [(1, 1.0), (3, 1.5), (2, 2.0)]
    again = passes.merge(joined, [(15.0, [two, passage(4)])])
    assert [each.key.source_id.int for each in again] == [1, 3, 2, 4], "a guess pushes nothing out of its place"
    many = [passage(number) for number in range(passes.CANDIDATES_MAX + 20)]
    assert len(passes.merge([], [(0.0, many)])) == passes.CANDIDATES_MAX


def test_what_no_passage_covers_is_missing_with_its_words() -> None:
    missing = passes.find_missing(
        ["How are deletes handled?", "Why an outbox table?", "Why?"], ["The outbox is a table.", "Deletes"]
    )
    assert set(missing) == {"How are deletes handled?"}
    planned = passes.plan_gaps(missing, ["how are deletes handled?"])
    assert [each.text for each in planned] == ["handled"]


def test_an_expansion_takes_words_that_sources_share() -> None:
    best = [
        (passage(1, "Outbox for events"), "The relay reads the journal."),
        (passage(2, "Events leave late"), "A relay tails the journal of Postgres."),
    ]
    (planned,) = passes.plan_expansion("Why an outbox?", best, [])
    assert planned.text.startswith("Why an outbox? ")
    assert set(planned.text.removeprefix("Why an outbox? ").lower().split()) == {"events", "relay", "journal"}
    assert passes.plan_expansion("Why an outbox?", best[:1], []) == [], "one source alone says what is its own"
    assert passes.plan_expansion("Why an outbox?", best, [planned.text]) == []


def test_what_was_ranked_anew_comes_first_half_by_each_order() -> None:
    one, two, three, four = (passage(number) for number in range(1, 5))
    scores = [{one.key: 0.1, two.key: 0.2, three.key: 0.9}]
    found = [one, two, three, four]
    assert [each.key.source_id.int for each in passes.rerank(found, scores)][-1] == 4, "nobody scored it"
    assert [each.key.source_id.int for each in passes.rerank([one, two], [{one.key: 0.1, two.key: 0.9}] * 2)] == [1, 2]
    better = [{two.key: 0.9, three.key: 0.5, one.key: 0.1}]
    assert [each.key.source_id.int for each in passes.rerank(found, better)] == [2, 1, 3, 4]
    by_parts = [{one.key: 9.0, two.key: 0.1}, {one.key: 0.0, two.key: 0.1}]
    assert [each.key.source_id.int for each in passes.rerank([one, two], by_parts)] == [1, 2], "each is one part's best"
    assert passes.rerank(found, []) == found
    assert [each.key.source_id.int for each in passes.best_of_sources([one, one, two])] == [1, 2]
