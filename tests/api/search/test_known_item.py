"""Which ADRs of a history are asked for, and how the answers are scored."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.search.known_item import as_query, items, scores
from connectors.history import ChangeKind, Fault, FileChange, open_source

AT = datetime(2026, 1, 15, tzinfo=UTC)
DECISIONS = Path(__file__).parents[3] / "docs" / "decisions"


def change(kind: ChangeKind, path: str, text: str | None = None, old_path: str | None = None) -> FileChange:
    content = text.encode() if text is not None else None
    return FileChange("ref", AT, "", "", kind, path, old_path, content, len(content or b""))


def test_a_history_counts_at_its_end() -> None:
    found = items(
        [
            change("A", "0001-a.md", "# 1. Use A\n\nfirst\n"),
            change("A", "0002-b.md", "# 2. Use B\n\nsecond\n"),
            change("A", "0003-c.md", "# 3. Use C\n\nthird\n"),
            Fault("line 4", "not-json", "…"),
            change("M", "0001-a.md", "# 1. Use A\n\nfirst again\n"),
            change("D", "0002-b.md"),
            change("R", "0004-c.md", "# 4. Use C\n\nthird\n", "0003-c.md"),
        ]
    )
    assert [(item.path, item.query) for item in found] == [("0001-a.md", "Use A"), ("0004-c.md", "Use C")]
    assert [item.text.strip() for item in found] == ["first again", "third"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("README.md", "# Decisions\n\n- one\n"),
        ("template.md", "# {short title}\n\n## Context\n"),
        ("0001-x.md", "no title at all\n"),
        ("0001-x.md", ""),
    ],
)
def test_what_has_no_title_of_its_own_is_not_asked_for(path: str, text: str) -> None:
    assert [item.query for item in items([change("A", path, text)])] == [None]


def test_bytes_that_are_no_text_are_left_out() -> None:
    assert items([FileChange("ref", AT, "", "", "A", "0001-a.md", None, b"# \xff", 3)]) == []


def test_a_title_is_asked_for_as_words() -> None:
    assert as_query('Use "exactly once" -not twice --ever') == "Use exactly once not twice ever"


def test_no_title_stays_in_its_text() -> None:
    """On this project's own decisions, whose titles are headings."""
    found = items(open_source(DECISIONS, content_bytes_max=1_000_000).changes())
    assert len(found) >= 12
    for item in found:
        assert item.query
        assert f"# {item.query}" not in item.text


def test_scores() -> None:
    got = scores([1, 2, None, 10, 11])
    assert got.queries == 5
    assert got.ndcg == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(11)) / 5)
    assert got.mrr == pytest.approx((1 + 1 / 2 + 1 / 10) / 5)
    assert got.recall == pytest.approx(3 / 5)
    assert got.low <= got.ndcg <= got.high
    assert scores([1, 2, None, 10, 11]) == got


@pytest.mark.parametrize(("ranks", "expected"), [([], 0.0), ([None], 0.0), ([1, 1], 1.0)])
def test_scores_at_the_ends(ranks: list[Any], expected: float) -> None:
    got = scores(ranks)
    assert (got.ndcg, got.mrr, got.recall, got.low, got.high) == (expected,) * 5
