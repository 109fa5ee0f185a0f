"""The table of the evaluation on links, and how a history becomes a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.evaluate import EvaluatedHistory
from adriatic.cli.evaluate_related import LinkedHistory, _as_json, _read, table
from adriatic.cli.evaluations import evaluate
from api.adrs.linked import LinkedAdr
from runtime.errors import InvalidInput
from runtime.settings import Settings

ITEMS = [LinkedAdr("a", "A", "", ((1, "amends"),), frozenset({1})), LinkedAdr("b", "B", "", (), frozenset({0}))]
HISTORIES = [
    LinkedHistory(
        EvaluatedHistory("rivers", []),
        ITEMS,
        {"bm25": [(0.5, 0.5), (0.5, 0.25)], "blind": [(1.0, 1.0), (0.5, 0.5)], "linked": [(1.0, 1.0), (1.0, 1.0)]},
    ),
    LinkedHistory(
        EvaluatedHistory("birds", []),
        ITEMS,
        {"bm25": [(0.0, 0.0)] * 2, "blind": [(1.0, 1.0)] * 2, "linked": [(1.0, 1.0)] * 2},
    ),
]


def test_the_table_sets_bm25_beside_and_says_what_links_add() -> None:
    lines = list(table(HISTORIES))
    assert lines[:4] == [
        "recall@5 / MRR   ADRs  links  asked           bm25          blind         linked",
        "rivers              2      1      2  0.500 / 0.375  0.750 / 0.750  1.000 / 1.000",
        "birds               2      1      2  0.000 / 0.000  1.000 / 1.000  1.000 / 1.000",
        "overall             4      2      4  0.250 / 0.188  0.875 / 0.875  1.000 / 1.000",
    ]
    assert lines[-1] == (
        "blind to BM25: recall@5 +0.625, MRR +0.688; without the links against with them: -0.125, -0.125"
    )


def test_the_json_has_the_same_numbers() -> None:
    figures = msgspec.json.decode(_as_json(HISTORIES))
    assert figures["overall"]["blind"]["recall"] == 0.875
    assert (figures["overall"]["links"], figures["overall"]["bm25"]["queries"]) == (2, 4)
    assert [one["name"] for one in figures["histories"]] == ["rivers", "birds"]


def test_what_is_sent_has_titles_and_no_links(tmp_path: Path) -> None:
    for name, text in (("0001-a.md", "# 1. Use A\n\n[b](0002-b.md)\n"), ("0002-b.md", "# 2. Use B\n\ntext\n")):
        (tmp_path / name).write_text(text)
    (history,) = _read(Settings(), [tmp_path])
    assert [item.text.split() for item in history.corpus.items] == [["#", "Use", "A"], ["#", "Use", "B", "text"]]
    assert history.links == 1


def test_without_links_there_is_nothing_to_ask(tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").write_text(json.dumps("# A"))
    done = CliRunner().invoke(evaluate, ["related", "--data", str(tmp_path)])
    assert isinstance(done.exception, InvalidInput)


@pytest.mark.parametrize("command", ["related", "known-item"])
def test_help_teaches(command: str) -> None:
    assert f"adriatic eval {command}" in CliRunner().invoke(evaluate, [command, "--help"]).output
