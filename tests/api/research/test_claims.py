"""What a passage says, and what it does not: words, numbers, negations, opposites, and quotes as they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.research.claims import check_claim, read_numbers
from api.research.sentences import split_sentences
from api.research.words import coverage, stems_of

PASSAGE = """\
# Choose a broker

Accepted on 2026-01-15 by 3 people.

We will not use RabbitMQ because it keeps no log. The timeout of a request is 30 seconds, and retries are limited to 5.
The service is required to be stateless, e.g. on Kubernetes.

- Every write goes through the outbox table.
- The budget is $1,000 or 20 % of the total.
"""


@pytest.mark.parametrize(
    "claim",
    [
        "Every write goes through the outbox table.",
        "The timeout of a request is 30 seconds",
        "Requests have a timeout of 30 s.",
        "Retries are limited to five.",
        "RabbitMQ will not be used.",
        "RabbitMQ is never used: it keeps no log",
        "Writes go through the outbox.",
        "The budget is 1000 USD.",
        "The budget is 20 percent of the total.",
        "It was accepted on 2026-01-15.",
    ],
)
def test_what_a_passage_says_holds(claim: str) -> None:
    assert check_claim(claim, PASSAGE).fault is None


@pytest.mark.parametrize(
    ("claim", "fault"),
    [
        ("The timeout of a request is 40 seconds", "numbers"),
        ("The timeout of a request is 30 ms", "numbers"),
        ("Retries are limited to six.", "numbers"),
        ("The budget is $10,000 of the total.", "numbers"),
        ("It was accepted on 2026-02-15.", "numbers"),
        ("We will use RabbitMQ.", "negation"),
        ("Every write never goes through the outbox table.", "negation"),
        ("The service is required to be stateful.", "opposite"),
        ("It was rejected on 2026-01-15 by 3 people.", "opposite"),
        ("Deploys are done by hand on Fridays.", "words"),
        ("", "words"),
    ],
)
def test_what_a_passage_does_not_say_is_told_by_its_fault(claim: str, fault: str) -> None:
    assert check_claim(claim, PASSAGE).fault == fault


def test_a_quote_that_was_cut_off_behind_a_negation_is_no_quote() -> None:
    assert check_claim(
        "use RabbitMQ because it keeps no log.", "We will not use RabbitMQ because it keeps no log."
    ).fault


def test_the_evidence_is_where_it_says() -> None:
    verdict = check_claim("Retries are limited to 5", PASSAGE)
    start, end = verdict.evidence
    assert "retries are limited to 5" in PASSAGE[start:end]
    quoted = check_claim("Every write goes through the outbox table.", PASSAGE)
    start, end = quoted.evidence
    assert (PASSAGE[start:end], quoted.support) == ("Every write goes through the outbox table.", 1.0)


def test_numbers_are_read_with_their_units() -> None:
    assert set(read_numbers("30 seconds, 1,000 USD, 20%, seven, v2 and ADR-12")) == {
        *(("30", "s"), ("1000", "usd"), ("20", "%"), ("7", "")),
        ("12", ""),
    }


def test_sentences_stand_where_they_say_and_headings_are_none() -> None:
    found = split_sentences(PASSAGE)
    assert all(PASSAGE[each.start : each.end] == each.text for each in found)
    assert not any(each.text.startswith("#") for each in found)
    assert "The service is required to be stateless, e.g. on Kubernetes." in [each.text for each in found]
    assert "Every write goes through the outbox table." in [each.plain for each in found]


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_checked_and_each_sentence_says_what_it_says(claim: str, passage: str) -> None:
    verdict = check_claim(claim, passage)
    assert 0.0 <= verdict.support <= 1.0
    start, end = verdict.evidence
    assert 0 <= start <= end <= len(passage)
    for each in split_sentences(passage):
        assert check_claim(each.text, passage).fault is None


@given(st.text(max_size=300))
def test_a_text_covers_itself(text: str) -> None:
    assert coverage(stems_of(text), text) == 1.0
