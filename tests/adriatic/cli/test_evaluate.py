"""The table of an evaluation, and how a corpus is read and sent."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from click.testing import CliRunner

from adriatic.cli.evaluate import EvaluatedHistory, _read, _Texts, as_json_run, evaluate, table
from api.search.known_item import KnownItem
from connectors.history import FileChange
from runtime.settings import Settings

AT = datetime(2026, 1, 15, tzinfo=UTC)
CORPORA = [
    EvaluatedHistory("rivers", [KnownItem("0001-a.md", "Use A", "first"), KnownItem("README.md", None, "index")]),
    EvaluatedHistory("birds", [KnownItem("0001-b.md", "Use B", "second"), KnownItem("0002-c.md", "Use C", "third")]),
]
RANKS: dict[str, dict[str, dict[int, int | None]]] = {
    "rivers": {"words": {1: 2}, "meaning": {1: None}, "hybrid": {1: 1}},
    "birds": {"words": {1: 1, 2: 1}, "meaning": {1: 1, 2: 3}, "hybrid": {1: 1, 2: 1}},
}


def test_queries_name_their_answer() -> None:
    assert CORPORA[0].queries == [(1, "Use A")]
    assert CORPORA[1].queries == [(1, "Use B"), (2, "Use C")]


def test_the_table() -> None:
    lines = list(table(CORPORA, RANKS))
    assert lines[:4] == [
        "nDCG@10   ADRs  queries     words   meaning    hybrid",
        "rivers       2        1     0.631     0.000     1.000",
        "birds        2        2     1.000     0.750     1.000",
        "overall      4        3     0.877     0.500     1.000",
    ]
    assert lines[-1] == "best: hybrid"
    assert any(line.startswith("words    nDCG@10 0.877 (95 % of resamples: 0.631 to 1.000)") for line in lines)


def test_the_json_has_the_same_numbers() -> None:
    scores = msgspec.json.decode(as_json_run("known-item", CORPORA, RANKS))
    assert scores["overall"]["adrs"] == 4
    assert scores["overall"]["hybrid"]["ndcg"] == 1.0
    assert scores["overall"]["meaning"]["queries"] == 3
    assert [corpus["name"] for corpus in scores["corpora"]] == ["rivers", "birds"]


def test_each_history_of_a_folder_is_a_corpus(tmp_path: Path) -> None:
    for name in ("a__One.jsonl.gz", "b__Two.jsonl.gz"):
        change = {
            "commit": "1",
            "committed_at": AT.isoformat(),
            "change": "A",
            "path": "docs/adr/0001-use-a.md",
            "content": "# 1. Use A\n\ntext\n",
        }
        with gzip.open(tmp_path / name, "wt") as file:
            file.write(json.dumps(change) + "\n")
    corpora = list(_read(Settings(), [tmp_path]))
    assert [corpus.name for corpus in corpora] == ["a-one", "b-two"]
    assert [item.query for item in corpora[0].items] == ["Use A"]


def test_a_folder_of_markdown_is_one_corpus(tmp_path: Path) -> None:
    (tmp_path / "0001-use-a.md").write_text("# 1. Use A\n\ntext\n")
    (corpus,) = _read(Settings(), [tmp_path])
    assert [(item.query, item.text.strip()) for item in corpus.items] == [("Use A", "text")]


def test_what_is_sent_tells_nothing_of_the_title() -> None:
    source = _Texts(CORPORA[1], "run", AT)
    changes = [change for change in source.changes() if isinstance(change, FileChange)]
    assert [(change.path, change.content) for change in changes] == [("0001.md", b"second"), ("0002.md", b"third")]
    assert source.count() == 2


def test_without_decisions_a_folder_is_asked_for(tmp_path: Path) -> None:
    runner = CliRunner()
    with runner.isolated_filesystem(temp_dir=tmp_path):
        done = runner.invoke(evaluate, ["known-item"])
    assert done.exit_code == 2
    assert "--data" in done.output
