"""Which sentences of a history are asked for, and where their passage is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.search.passage_item import PassageItem, items
from connectors.history import FileChange, open_source
from dataflows.chunker import chunk

AT = datetime(2026, 1, 15, tzinfo=UTC)
DECISIONS = Path(__file__).parents[3] / "docs" / "decisions"
ASKED = "Readers follow the ledger from the place that they kept before the restart."
LEFT = "Nobody deletes what was appended there at night by clerks or their machines."


def ask_of(*texts: str, seed: int = 1) -> list[PassageItem]:
    return items(
        (
            FileChange("ref", AT, "", "", "A", f"000{number}-x.md", None, text.encode(), len(text))
            for number, text in enumerate(texts, 1)
        ),
        seed,
    )


@pytest.mark.parametrize(
    ("paragraph", "left"),
    [
        (f"{ASKED} Ledger entries never change.", "\n\nLedger entries never change.\n"),
        (f"Ledger entries never change. {ASKED}", "\n\nLedger entries never change.\n"),
        (f"Ledger entries\nnever change. {ASKED}\nIt works.", "\n\nLedger entries\nnever change.\nIt works.\n"),
        (f"- Ledger entries never change.\n- {ASKED}", "\n\n- Ledger entries never change.\n"),
        (f"1. {ASKED}\n2. Ledger entries never change.", "\n\n2. Ledger entries never change.\n"),
    ],
)
def test_a_sentence_leaves_the_rest_of_its_paragraph(paragraph: str, left: str) -> None:
    (item,) = ask_of(f"# 1. Append\n\n## Context\n\n{paragraph}\n")
    assert (item.query, ASKED in item.text) == (ASKED, False)
    assert item.text.partition("## Context")[2].rstrip("\n") == left.rstrip("\n")
    assert item.is_right(item.text.index("edger entries") - 4, len(item.text))
    assert not item.is_right(0, item.text.index("## Context"))


@pytest.mark.parametrize(
    "text",
    [
        f"# 1. Alone\n\n{ASKED}\n\nFine.\n",
        "# 1. Named\n\nThis ledger replaces whatever ADR-12 said of deleted entries. Ledger entries never change.\n",
        "# 1. Linked\n\nReaders follow [the ledger](https://ledger.example) from kept places. Entries never change.\n",
        f"# 1. Twice\n\n{ASKED} Ledger entries never change. {ASKED}\n",
        f"# Decisions\n\n- [one](0001-x.md) {ASKED}\n- [two](0002-x.md) and nothing else of note\n",
    ],
)
def test_what_has_no_single_right_passage_is_not_asked_for(text: str) -> None:
    assert [item.query for item in ask_of(text)] == [None]
    assert ask_of(text)[0].text == text


def test_what_another_adr_says_too_is_not_asked_for() -> None:
    found = ask_of(f"# 1. One\n\n{ASKED} {LEFT}\n", f"# 2. Two\n\n{ASKED} Ledger entries never change.\n")
    assert [item.query for item in found] == [LEFT, None]


def test_a_seed_chooses_and_chooses_alike() -> None:
    text = f"# 1. Append\n\n{ASKED} {LEFT}\n"
    assert ask_of(text, seed=4) == ask_of(text, seed=4)
    assert {ask_of(text, seed=seed)[0].query for seed in range(20)} == {ASKED, LEFT}


def test_each_question_has_one_passage_of_those_that_are_searched() -> None:
    """On this project's own decisions, cut as the index cuts them."""
    found = items(open_source(DECISIONS, content_bytes_max=1_000_000).changes(), 1)
    asked = [item for item in found if item.query]
    assert len(asked) > len(found) / 2
    for item in asked:
        passages = chunk("title", item.text)
        assert sum(item.is_right(part.char_start, part.char_end) for part in passages) == 1, item
        assert item.query is not None
        assert item.query not in item.text
