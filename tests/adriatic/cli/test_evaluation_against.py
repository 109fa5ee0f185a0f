"""Two runs of an evaluation: what changed by more than chance, and what cannot be compared."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.evaluate import as_json_run, measure_gains
from adriatic.cli.evaluation_against import EarlierRun, Measurement, compare, lines, load_earlier
from adriatic.cli.evaluations import evaluate
from runtime.errors import InvalidInput
from tests.adriatic.cli.test_evaluate import CORPORA, RANKS


def run(values: dict[str, list[float]]) -> list[Measurement]:
    count = len(next(iter(values.values())))
    return [Measurement("rivers", f"{at}.md", {way: values[way][at] for way in values}) for at in range(count)]


def test_what_got_worse_in_many_questions_is_told_from_what_moved_by_chance() -> None:
    chance = random.Random(3)
    gains = [chance.random() for _ in range(300)]
    moved = [min(1.0, max(0.0, each + chance.uniform(-0.2, 0.2))) for each in gains]
    lower = [max(0.0, each - 0.05) for each in gains]
    compared = compare(
        run({"words": gains, "meaning": gains, "hybrid": gains}),
        run({"words": moved, "meaning": lower, "hybrid": gains}),
    )
    assert compared.worse == ["meaning"]
    same = compared.differences[2]
    assert (same.low, same.high, same.before) == (0.0, 0.0, same.now)
    said = list(lines("nDCG@10", compared))
    assert said[2].endswith("300 questions): worse")
    assert said[3].endswith("no difference that can be told")


def test_a_small_drop_is_seen_that_the_interval_of_either_run_would_hide() -> None:
    """Each question is its own control."""
    chance = random.Random(5)
    gains = [float(chance.random() < 0.9) for _ in range(400)]
    lower = [max(0.0, each - 0.01) for each in gains]
    assert compare(run({"words": gains}), run({"words": lower})).worse == ["words"]
    assert compare(run({"words": lower}), run({"words": gains})).worse == []


def test_only_questions_of_both_runs_count() -> None:
    before, now = run({"words": [1.0, 0.0, 1.0]}), run({"words": [1.0, 0.0]})
    more = Measurement("birds", "0.md", {"words": 0.0})
    compared = compare(before, [*now, more])
    assert (compared.differences[0].questions, compared.only_before, compared.only_now) == (2, 1, 1)
    assert list(lines("nDCG@10", compared))[-1] == "not compared: 1 questions of before alone, 1 of now alone"
    with pytest.raises(InvalidInput, match="no question in common"):
        compare(before, [more])


def test_a_way_that_could_not_be_asked_is_left_out_of_its_question_alone() -> None:
    before, now = run({"words": [1.0, 1.0], "hybrid": [1.0, 1.0]}), run({"words": [1.0, 1.0], "hybrid": [1.0, 1.0]})
    now[1] = Measurement("rivers", "1.md", {"hybrid": 1.0})
    assert [(each.way, each.questions) for each in compare(before, now).differences] == [("words", 1), ("hybrid", 2)]


def test_what_a_run_prints_is_what_a_later_one_reads(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(as_json_run("known-item", CORPORA, RANKS, measure_gains(CORPORA, RANKS)))
    assert load_earlier(file, "known-item") == measure_gains(CORPORA, RANKS)
    assert len(measure_gains(CORPORA, RANKS)) == 3
    with pytest.raises(InvalidInput, match="a run of known-item, and not of related"):
        load_earlier(file, "related")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]", b'{"task": "known-item"}'])
def test_a_file_that_is_no_run_is_refused_before_anything_is_done(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(content)
    for task in ("known-item", "related"):
        done = CliRunner().invoke(evaluate, [task, "--against", str(file)])
        assert isinstance(done.exception, InvalidInput)
        assert "no run of an evaluation" in str(done.exception)


def test_the_json_says_what_changed(tmp_path: Path) -> None:
    measured = measure_gains(CORPORA, RANKS)
    found = msgspec.json.decode(as_json_run("known-item", CORPORA, RANKS, measured, compare(measured, measured)))
    assert [each["way"] for each in found["against"]["differences"]] == ["words", "meaning", "hybrid"]
    assert msgspec.convert(found, EarlierRun).measurements == measured
