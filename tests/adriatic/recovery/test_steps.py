"""The decisions of a recovery."""

from __future__ import annotations

import pytest

from adriatic.recovery.steps import (
    CAPTURE_HOLDS,
    FLOWS_HOLD,
    MEANINGS,
    STEPS,
    Log,
    judge_log,
    list_emptied_tables,
    list_outside_topics,
    list_remade_topics,
)
from dataflows.catalog import flows
from schemas.migrations import SQL_FOLDER
from topics import catalog


@pytest.mark.parametrize(
    ("committed", "known_id", "found_id", "ends", "log"),
    [
        ({0: 5, 1: 0}, "a", "a", {0: (0, 9), 1: (0, 0)}, "same"),
        ({0: 5}, "a", "b", {0: (0, 9)}, "other"),
        ({0: 5}, None, "b", {0: (0, 9)}, "unknown"),
        ({0: 5}, "a", "", {0: (0, 9)}, "unknown"),
        ({0: 5}, "a", "a", {0: (0, 4)}, "other"),
        ({0: 5}, "a", "a", {0: (6, 9)}, "other"),
        ({0: 5}, None, "", {}, "other"),
        ({0: 5, 1: 1}, "a", "a", {0: (0, 9)}, "other"),
        ({0: 9}, "a", "a", {0: (0, 9), 1: (0, 3)}, "same"),
        ({0: 9}, "a", "a", {0: (9, 9)}, "same"),
    ],
)
def test_a_log_is_the_one_that_was_read_or_not(
    committed: dict[int, int], known_id: str | None, found_id: str, ends: dict[int, tuple[int, int]], log: Log
) -> None:
    assert judge_log(committed, known_id, found_id, ends) == log


def test_what_outsiders_wrote_is_never_deleted() -> None:
    topics = catalog.load()
    assert list_outside_topics(topics) == ["feed.documents"]
    assert set(list_remade_topics(topics)) | {"feed.documents"} == topics.keys()


def test_what_users_wrote_and_what_no_log_has_is_never_emptied() -> None:
    emptied = list_emptied_tables()
    assert all(name.startswith("mv.") for name in emptied)
    assert not set(emptied) & {table.name for flow in flows().values() for table in flow.tables if table.outlives}
    assert {"mv.watermarks", "mv.search_state", "mv.chunks", "mv.usage_ledger", "mv.job_status"} <= set(emptied)
    assert not {"mv.embeddings", "mv.feed_ledger", "mv.feed_status", "app.document_versions"} & set(emptied)


def test_a_table_that_a_flow_shares_stays_when_anybody_needs_it() -> None:
    """`mv.search_state` is kept by two flows: both say the same of it."""
    said: dict[str, set[bool]] = {}
    for flow in flows().values():
        for table in flow.tables:
            said.setdefault(table.name, set()).add(bool(table.outlives))
    assert {name for name, words in said.items() if len(words) > 1} == set()


def test_flows_hold_for_longer_than_capture() -> None:
    assert CAPTURE_HOLDS < FLOWS_HOLD < set(STEPS)
    assert MEANINGS.keys() == set(STEPS)


def test_the_database_knows_the_same_steps() -> None:
    text = (SQL_FOLDER / "0019_recovery.sql").read_text(encoding="utf-8")
    assert all(f"'{step}'" in text for step in STEPS)
    fence = text.partition("create function")[2]
    assert {step for step in STEPS if f"'{step}'" in fence} == FLOWS_HOLD
