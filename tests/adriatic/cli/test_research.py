"""How research looks in a terminal: progress, sources before the text, exit codes; and the two evaluations of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli import research as command
from adriatic.cli.evaluate import EvaluatedHistory
from adriatic.cli.evaluate_research import WAYS, ResearchedHistory, curve, table
from adriatic.cli.evaluations import evaluate
from adriatic.cli.research import research
from adriatic.cli.where import Where
from api.adrs.linked import LinkedAdr
from api.research import evaluation
from api.research.examples import ANSWERED, RESULT, SUBMITTED
from runtime.errors import DependencyUnavailable, InvalidInput

ID = SUBMITTED["research_id"]
RUNNING = SUBMITTED | {"state": "running", "phase": "searching", "done": 1, "total": 4, "unit": "steps"}


class Remote:
    """Answers with one state after the other, and keeps what it was asked."""

    def __init__(self, *states: dict[str, Any]) -> None:
        self.states = list(states)
        self.asked: list[tuple[str, str]] = []
        self.body: Any = None
        self.headers: Any = None

    def next(self, answer: Any) -> Any:
        return msgspec.convert(self.states.pop(0) if len(self.states) > 1 else self.states[0], answer)

    def request(self, method: str, path: str, answer: Any) -> Any:
        self.asked.append((method, path))
        return self.next(answer)

    def ask_again(self, path: str, body: Any, answer: Any, headers: Any) -> Any:
        self.body, self.headers = body, headers
        return self.next(answer)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(command, "POLL_S", 0.0)

    def use(remote: Remote) -> Remote:
        @contextmanager
        def opened(*_: Any) -> Iterator[Remote]:
            yield remote

        monkeypatch.setattr(Where, "connect", opened)
        return remote

    return use


def test_progress_then_sources_then_the_text(connect: Any) -> None:
    remote = connect(Remote(SUBMITTED, RUNNING, ANSWERED))
    told = CliRunner().invoke(research, ["Why", "no dual write?", "--log", "main", "--passes", "3"])
    assert told.exit_code == 0
    assert remote.body == {"question": "Why no dual write?", "log": "main", "status": [], "sources": 8, "passes": 3}
    assert remote.headers["idempotency-key"], "repeated while the API is away, it is asked once"
    assert told.stderr.splitlines() == ["waiting for a worker: 0 of ? items", "searching: 1 of 4 steps"]
    lines = told.stdout.splitlines()
    assert lines[0] == (
        "[1] ADR-2  Everything enters Kafka through the WAL › Decision Outcome  (accepted · main · version 2)"
    )
    assert "Between the two writes the service can be killed. [1]" in lines[2:]


def test_exit_codes_say_whether_there_is_an_answer(connect: Any) -> None:
    nothing = ANSWERED | {"result": RESULT | {"answered": False, "sources": [], "parts": [], "text": "None.\n"}}
    connect(Remote(nothing))
    assert CliRunner().invoke(research, ["Why?"]).exit_code == 1
    failed = ANSWERED | {"state": "failed", "result": None, "last_error": {"code": "x", "detail": "d", "hint": "h"}}
    connect(Remote(failed))
    told = CliRunner().invoke(research, ["Why?"])
    assert (told.exit_code, told.stdout) == (1, "failed: d\nhint: h\n")
    remote = connect(Remote(SUBMITTED | {"state": "cancelled", "finished_at": "2026-01-15T09:00:00Z"}))
    told = CliRunner().invoke(research, ["--id", ID, "--cancel"])
    assert (told.exit_code, told.stdout) == (1, "cancelled\n")
    assert remote.asked == [("POST", f"/v1/research/{ID}/cancel")]
    for wrong in ([], ["Why?", "--id", ID], ["Why?", "--cancel"]):
        assert CliRunner().invoke(research, wrong).exit_code == 2


def test_whoever_does_not_wait_gets_the_id_and_who_waits_too_long_is_told(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(Remote(SUBMITTED))
    told = CliRunner().invoke(research, ["Why?", "--no-wait"])
    assert (told.exit_code, told.stdout) == (0, f"asked for; `adriatic research --id {ID}` comes back to it\n")
    monkeypatch.setattr(command, "WAIT_S_MAX", 0.0)
    late = CliRunner().invoke(research, ["Why?"])
    assert isinstance(late.exception, DependencyUnavailable)
    assert "not done after 0 s" in late.exception.detail


def test_json_is_the_answer_of_the_api(connect: Any) -> None:
    connect(Remote(ANSWERED))
    told = CliRunner().invoke(research, ["Why?", "--json"])
    assert msgspec.json.decode(told.stdout)["result"]["sources"] == RESULT["sources"]


# --- evaluations ----------------------------------------------------------------------------------------------------

TEXT = (
    "# {0} of services\n\nEvery {0} service publishes its events through an outbox table today. "
    "Readers of {0} wait at most 7 seconds before they give up entirely. "
    "The {0} broker is required to be stateless on every node of ours. We accepted {0} alerts in January because.\n"
)


def test_questions_are_made_of_what_was_taken_out() -> None:
    items = [
        LinkedAdr("a", "Use herons for events", "# Use herons for events\n\n" + TEXT.format("heron"), ((1, "amends"),)),
        LinkedAdr("b", "Use otters for search", "# Use otters for search\n\n" + TEXT.format("otter")),
    ]
    held = evaluation.hold_out(items, 1, 10)
    assert held == evaluation.hold_out(items, 1, 10), "the same seed gives the same questions"
    by_kind = {kind: [each for each in held.questions if each.kind == kind] for kind in evaluation.KINDS}
    assert [len(each) for each in by_kind.values()] == [2, 2, 1, 1]
    assert by_kind["linked"][0].right == by_kind["pair"][0].right == frozenset({0, 1})
    for question in held.questions:
        for place in question.right:
            assert question.text not in held.texts[place], "nothing that is asked stands in what is searched"
    assert len(evaluation.hold_out(items, 1, 1).questions) == 4


def test_two_right_answers_are_worth_two() -> None:
    assert evaluation.measure(frozenset({0, 1}), [0, 1, 2]) == (1.0, 1.0)
    recall, gain = evaluation.measure(frozenset({0, 1}), [2, 1, *range(3, 30), 0])
    assert (recall, round(gain, 3)) == (0.5, 0.387)


def test_the_table_sets_each_way_beside_the_others() -> None:
    question = evaluation.MadeQuestion("title", "q", frozenset({0}))
    history = ResearchedHistory(EvaluatedHistory("rivers", []), evaluation.HeldOut([], [question]))
    history.found = {way: [(1.0, 0.5)] for way in WAYS}
    history.fits, history.foreign_fits = [0.85], [0.45]
    lines = list(table([history]))
    assert lines[1].split() == ["search", "1.000", "1.000", "to", "1.000", "0.500", "0.500", "to", "0.500"]
    assert [(at["answered"], at["answered_though_foreign"]) for at in curve([history])][1:4] == [
        *((1.0, 1.0), (1.0, 0.0)),
        (1.0, 0.0),
    ]


def test_citations_are_evaluated_without_a_system(tmp_path: Path) -> None:
    for name in ("heron", "otter", "raven"):
        (tmp_path / f"{name}.md").write_text(TEXT.format(name))
    ran = CliRunner().invoke(evaluate, ["citations", "--data", str(tmp_path), "--each", "5", "--json"])
    assert ran.exit_code == 0, ran.output
    found = msgspec.json.decode(ran.stdout)
    assert found["kinds"]["quoted"] == {"holds": True, "claims": 5, "accepted": 5}
    assert found["kinds"]["number changed"]["accepted"] == 0
    assert found["kinds"]["negated"]["accepted"] == 0
    assert [at["support"] for at in found["curve"]] == sorted(at["support"] for at in found["curve"])
    shown = CliRunner().invoke(evaluate, ["citations", "--data", str(tmp_path), "--each", "5"])
    assert shown.stdout.startswith("kind ")
    (tmp_path / "empty").mkdir()
    empty = CliRunner().invoke(evaluate, ["citations", "--data", str(tmp_path / "empty")])
    assert isinstance(empty.exception, InvalidInput)


def test_nothing_to_ask_for_is_said(tmp_path: Path) -> None:
    (tmp_path / "0001-a.md").write_text("# A")
    done = CliRunner().invoke(evaluate, ["research", "--data", str(tmp_path)])
    assert isinstance(done.exception, InvalidInput)
    assert "adriatic eval research" in CliRunner().invoke(evaluate, ["research", "--help"]).output
