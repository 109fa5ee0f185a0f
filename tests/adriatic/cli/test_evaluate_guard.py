"""What is said of the labelled changes, and that the confidence that is shown is what they measure."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from adriatic.cli.evaluate_guard import (
    CHANGES,
    DECISIONS,
    JudgedChange,
    confidence,
    figures,
    judge,
    judge_proposals,
    read_changes,
    read_decisions,
)
from adriatic.cli.evaluate_suggestions import PAIRS, read_pairs
from adriatic.cli.evaluations import evaluate
from api.guard.breaking import CONFIDENCE
from api.guard.proposals import DUPLICATE_CONFIDENCE, compare_decisions, read_decision

DRIFT_MAX = 0.05
"""A decision that comes, or goes, changes what one of the labelled changes breaks."""


@cache
def judged() -> list[JudgedChange]:
    return judge(read_changes(CHANGES).change, read_decisions(DECISIONS))


def test_the_confidence_that_is_shown_is_what_the_labelled_changes_measure() -> None:
    changes = read_changes(CHANGES).change
    assert len(changes) >= 100
    assert 40 <= sum(not change.breaks for change in changes) <= 60
    assert {change.part for change in changes} == {"first", "second"}
    assert confidence(judged()) == pytest.approx(CONFIDENCE, abs=DRIFT_MAX)


def test_little_that_is_said_is_wrong() -> None:
    found = figures(judged())
    assert found["overall"]["precision"] >= 0.95
    assert found["overall"]["recall"] >= 0.8
    assert found["parts"]["second"]["precision"] >= 0.9
    assert found["parts"]["second"]["recall"] >= 0.8


def test_what_is_called_a_duplicate_is_one() -> None:
    found = judge_proposals(read_changes(CHANGES).proposal)
    assert found["proposals"] >= 20
    assert (found["precision"], found["confidence"]) == (1.0, DUPLICATE_CONFIDENCE)
    assert found["recall"] >= 0.8
    for pair in read_pairs(PAIRS):
        likeness = compare_decisions(read_decision(*pair.newer), read_decision(*pair.older))
        assert likeness is None or likeness.kind != "duplicate", pair


def test_the_command_prints_both_forms_and_names_what_is_wrong(tmp_path: Path) -> None:
    record = "---\nstatus: accepted\n---\n\n# Queue in the table\n\n## Considered Options\n\n- Rows\n- Celery\n"
    decisions, changes = tmp_path / "adr", tmp_path / "changes.toml"
    decisions.mkdir()
    (decisions / "0007-queue.md").write_text(record + "\n## Decision Outcome\n\nChosen option: **Rows**.\n")
    (decisions / "0008-old.md").write_text(record.replace("accepted", "superseded"))
    form = '[[change]]\npart = "mine"\nbreaks = {}\npath = "a.py"\nadded = """\n{}"""\n'
    changes.write_text(form.format("[]", "import celery") + form.format("[7]", "import rq"))
    arguments = ["guard", "--changes", str(changes), "--decisions", str(decisions)]
    shown = CliRunner().invoke(evaluate, arguments)
    assert shown.exit_code == 0, shown.output
    assert "wrong   a.py: import celery: said [7] for import of 'celery'" in shown.output
    assert "missed  a.py: import rq: breaks [7]" in shown.output
    found = json.loads(CliRunner().invoke(evaluate, [*arguments, "--json"]).output)
    assert found["overall"] == {
        "changes": 2,
        "said": 1,
        "right": 0,
        "breaking": 1,
        "found": 0,
        "precision": 0.0,
        "recall": 0.0,
    }
    assert found["evidence"] == {"import": {"said": 1, "right": 0, "confidence": 0.33}}
    changes.write_text("change = 1")
    assert CliRunner().invoke(evaluate, arguments).exit_code != 0
