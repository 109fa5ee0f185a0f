"""What is suggested of the labelled pairs, and that the confidence that is shown is what they measure."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from adriatic.cli.evaluate_suggestions import PAIRS, confidence, figures, judge, read_pairs
from adriatic.cli.evaluations import evaluate
from schemas.suggestions import CONFIDENCE


def test_the_confidence_that_is_shown_is_what_the_labelled_pairs_measure() -> None:
    pairs = read_pairs(PAIRS)
    assert len(pairs) >= 60
    assert {pair.right for pair in pairs} == {"supersedes", "conflicts", ""}
    assert confidence(judge(pairs)) == CONFIDENCE


def test_little_that_is_suggested_is_wrong_and_little_that_is_right_is_missed() -> None:
    found = figures(judge(read_pairs(PAIRS)))
    assert found["overall"]["precision"] >= 0.95
    assert found["overall"]["recall"] >= 0.95
    assert found["parts"]["second"]["precision"] >= 0.85


def test_the_command_prints_both_forms_and_names_what_is_wrong(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.toml"
    pairs.write_text(
        '[[pair]]\npart = "mine"\nright = "conflicts"\n'
        'newer = ["Stop using SOAP", "Partners have moved on."]\nolder = ["Use SOAP", "Partners ask for it."]\n'
    )
    shown = CliRunner().invoke(evaluate, ["suggestions", "--pairs", str(pairs)])
    assert shown.exit_code == 0, shown.output
    assert "wrong  Stop using SOAP <> Use SOAP: said supersedes, right is conflicts" in shown.output
    found = json.loads(CliRunner().invoke(evaluate, ["suggestions", "--pairs", str(pairs), "--json"]).output)
    assert found["overall"] == {"pairs": 1, "suggested": 1, "right": 0, "precision": 0.0, "recall": 0.0}
    assert found["confidence"] == {"supersedes negation": 0.33}
    pairs.write_text("pair = 1")
    assert CliRunner().invoke(evaluate, ["suggestions", "--pairs", str(pairs)]).exit_code != 0
