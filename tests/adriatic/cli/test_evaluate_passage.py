"""The evaluation by passages: what goes in, what counts as found, and its table."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.evaluate import Ranks, as_json_run, rank, scores_of, table
from adriatic.cli.evaluate_passage import PassageHistory, _read, lines_of_adrs, measure_both
from adriatic.cli.evaluations import evaluate
from api.search.schemas import ChunkPlace, Hit, Snippet
from runtime.errors import InvalidInput
from runtime.settings import Settings

AT = datetime(2026, 1, 15, tzinfo=UTC)
SENTENCE = "The ledger keeps every entry in the order of its arrival."
TEXT = f"""# 1. Keep a ledger

## Context

Bookings were lost whenever two clerks wrote at once.

## Decision

Entries are appended and never changed afterwards. {SENTENCE} Corrections are entries of their own.
"""


@pytest.fixture
def history(tmp_path: Path) -> PassageHistory:
    (tmp_path / "0001-ledger.md").write_text(TEXT)
    (tmp_path / "0002-short.md").write_text("# 2. Short\n\nNothing to ask.\n")
    found = next(
        one for seed in range(20) for one in _read(Settings(), [tmp_path], seed) if one.items[0].query == SENTENCE
    )
    assert found.corpus.queries == [(1, SENTENCE)]
    return found


def hit(number: int, start: int, end: int) -> Hit:
    place = ChunkPlace(1, 0, "", start, end)
    return Hit(
        *("adr", UUID(int=number), number, "log", "", "", [], 1, AT, 1.0),
        snippet=Snippet("", []),
        chunk=place,
    )


def test_the_sentence_is_in_nothing_that_is_sent(history: PassageHistory) -> None:
    assert SENTENCE not in history.corpus.items[0].text
    assert "never changed afterwards. Corrections are" in history.corpus.items[0].text


def test_the_right_adr_with_another_passage_is_not_the_right_passage(history: PassageHistory) -> None:
    place = history.corpus.items[0].text.index(" Corrections")
    wrong, other, right = hit(1, 0, place - 60), hit(2, 0, 10_000), hit(1, place - 60, place + 20)
    answers = [(1, "words", [other, wrong]), (1, "meaning", [wrong]), (1, "hybrid", [other, right])]
    assert rank(answers, history.is_right) == {"words": {1: None}, "meaning": {1: None}, "hybrid": {1: 2}}


def test_the_table_says_how_often_the_adr_is_found_at_all(history: PassageHistory) -> None:
    shown: Ranks = {history.corpus.name: {"words": {1: None}, "meaning": {1: None}, "hybrid": {1: 1}}}
    found: Ranks = {history.corpus.name: {"words": {1: 1}, "meaning": {1: None}, "hybrid": {1: 1}}}
    assert any(line.startswith("hybrid   nDCG@10 1.000") for line in table([history.corpus], shown))
    assert list(lines_of_adrs([history.corpus], found))[1:] == [
        "words    the ADR, whichever passage is shown: nDCG@10 1.000, recall@10 1.000",
        "meaning  the ADR, whichever passage is shown: nDCG@10 0.000, recall@10 0.000",
        "hybrid   the ADR, whichever passage is shown: nDCG@10 1.000, recall@10 1.000",
    ]
    measured = measure_both([history.corpus], shown, found)
    run = msgspec.json.decode(
        as_json_run("passage", [history.corpus], shown, measured, adrs_found=scores_of([history.corpus], found))
    )
    assert run["adrs_found"]["words"]["recall"] == 1.0
    assert (run["task"], run["overall"]["words"]["recall"]) == ("passage", 0.0)
    (question,) = run["measurements"]
    assert question["question"] == f"0001-ledger.md: {SENTENCE}"
    assert (question["values"]["words"], question["values"]["words, ADR"]) == (0.0, 1.0)


def test_without_sentences_there_is_nothing_to_ask(tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").write_text("# 1. A\n\nShort.\n")
    done = CliRunner().invoke(evaluate, ["passage", "--data", str(tmp_path)])
    assert isinstance(done.exception, InvalidInput)
