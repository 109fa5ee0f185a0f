"""How tasks of agents look in a terminal: steps as they come, and the exit code."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.agents import agents, proposal_lines
from adriatic.cli.where import Where
from api.agents.examples import ACCEPTED, FINISHED, PROPOSAL, STEP, SUBMITTED
from api.agents.schemas import ProposalPage

TASK = SUBMITTED["task_id"]


class Recorded:
    """A remote with a task that ends at the second look, and keeps what it was asked."""

    def __init__(self, **ended: Any) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._tasks = [SUBMITTED, FINISHED | ended]

    def ask_again(self, path: str, body: Any, answer: Any, headers: Any) -> Any:
        assert headers["idempotency-key"]
        self.asked.append(("POST", path, body))
        return msgspec.convert(SUBMITTED, answer)

    def request(self, method: str, path: str, answer: Any, **query: Any) -> Any:
        self.asked.append((method, path, query))
        if path.endswith("/steps"):
            refused = {"error": {"code": "forbidden", "detail": "this task may not use it", "hint": ""}}
            steps = [STEP | {"number": 1}, STEP | {"number": 2, "state": "failed", "output": refused}]
            return msgspec.convert({"items": steps[query["after"] :], "more": False}, answer)
        if "proposals" in path:
            return msgspec.convert(ACCEPTED, answer)
        return msgspec.convert(self._tasks.pop(0) if len(self._tasks) > 1 else self._tasks[0], answer)


def run(monkeypatch: pytest.MonkeyPatch, remote: Recorded, *words: str) -> Any:
    @contextmanager
    def connect(*_: Any) -> Any:
        yield remote

    monkeypatch.setattr(Where, "connect", connect)
    return CliRunner().invoke(agents, words)


def test_steps_are_shown_once_as_they_come_then_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Recorded()
    shown = run(monkeypatch, remote, "run", "--usd", "0.2", "Why", "a log?")
    assert shown.exit_code == 0, shown.output
    assert remote.asked[0][2] == {"goal": "Why a log?", "micro_usd": 200_000}
    assert shown.stderr.splitlines() == [
        '  1  tool   read_adr  {"adr": "ADR-12"}',
        "  2  tool   read_adr  refused: this task may not use it",
    ]
    assert shown.stdout.startswith("ADR-12 (adr://main/12) decides for one broker")
    assert "[1] adr://main/12" in shown.stdout
    assert f"1 proposed: adriatic agents proposals --task {TASK}" in shown.stdout
    assert "5 steps, 9214 tokens, $0.0319" in shown.stdout


def test_a_task_that_reached_a_bound_says_so_and_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"code": "bound-reached", "detail": "the task took 6 steps", "hint": "allow more"}
    shown = run(monkeypatch, Recorded(state="failed", result=None, last_error=error), "show", TASK)
    assert shown.exit_code == 1
    assert "failed: the task took 6 steps\nhint: allow more" in shown.stdout


def test_json_has_the_whole_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(monkeypatch, Recorded(), "run", "--propose", "--json", "Why?")
    told = json.loads(shown.stdout)
    assert (told["state"], [step["number"] for step in told["transcript"]]) == ("succeeded", [1, 2])


def test_who_does_not_wait_is_told_how_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Recorded()
    shown = run(monkeypatch, remote, "run", "--no-wait", "--tool", "read_adr", "Why?")
    assert shown.stdout == f"given: adriatic agents show {TASK}\n"
    assert remote.asked[0][2]["tools"] == ["read_adr"]
    assert run(monkeypatch, remote, "run", "--propose", "--tool", "read_adr", "Why?").exit_code == 2


def test_a_proposal_says_what_why_and_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    page = msgspec.convert({"items": [PROPOSAL], "next_cursor": None}, ProposalPage)
    assert [click.unstyle(line) for line in proposal_lines(page)] == [
        f"a link supersedes from {PROPOSAL['adr_id']} to {PROPOSAL['content']['target_id']}",
        f"  {PROPOSAL['reason']}",
        f"  open  {PROPOSAL['proposal_id']}",
    ]
    shown = run(monkeypatch, Recorded(), "accept", PROPOSAL["proposal_id"])
    assert "accepted by Ada" in shown.stdout
