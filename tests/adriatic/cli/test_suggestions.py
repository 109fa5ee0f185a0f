"""How suggestions look in a terminal, and that answering one names the version that it was shown with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from adriatic.cli.suggestions import lines, suggestions
from adriatic.cli.where import Where
from api.suggestions.examples import ANSWERED, PAGE, SUGGESTION
from api.suggestions.schemas import SuggestedRelationPage

ID = SUGGESTION["suggestion_id"]


class Recorded:
    """A remote that answers with the example, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, dict[str, Any]]] = []

    def request(self, method: str, path: str, answer: Any, *, body: Any = None, **query: Any) -> Any:
        self.asked.append((method, path, body, query))
        state = {"accept": "accepted", "dismiss": "dismissed"}.get(path.rpartition("/")[2], "open")
        found = SUGGESTION | (ANSWERED if state != "open" else {}) | {"state": state}
        return msgspec.convert(PAGE if path == "/v1/suggestions" else found, answer)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()

    @contextmanager
    def connect(*_: Any) -> Any:
        yield recorded

    monkeypatch.setattr(Where, "connect", connect)
    return recorded


def run(*words: str) -> Any:
    return CliRunner().invoke(suggestions, words)


def test_a_list_says_what_why_and_the_id() -> None:
    shown = [click.unstyle(line) for line in lines(msgspec.convert(PAGE, SuggestedRelationPage))]
    assert shown == [
        "ADR-19 Use GitHub Actions may supersede ADR-12 Use Jenkins",
        "  the newer one says that it leaves this (95% of such were right in tests)",
        "  “We move away from Jenkins.” · “Use Jenkins”",
        f"  open  {ID}",
    ]
    empty = msgspec.convert(PAGE | {"items": []}, SuggestedRelationPage)
    assert list(lines(empty)) == ["nothing is suggested"]


def test_listing_hands_the_filters_on(remote: Recorded) -> None:
    done = run("list", "--kind", "conflicts", "--state", "dismissed", "--limit", "3", "--json")
    assert done.exit_code == 0, done.output
    assert msgspec.json.decode(done.output) == PAGE
    assert remote.asked[0][3] == {"state": "dismissed", "kind": "conflicts", "limit": 3, "cursor": None}


def test_accepting_names_the_version_that_is_there(remote: Recorded) -> None:
    done = run("accept", ID)
    assert done.exit_code == 0, done.output
    assert "accepted by Ada" in done.output
    (read, _, _, _), (posted, path, body, _) = remote.asked
    assert (read, posted, path, body.expected_version) == ("GET", "POST", f"/v1/suggestions/{ID}/accept", 3)


def test_dismissing_and_reopening(remote: Recorded) -> None:
    assert "dismissed by Ada" in run("dismiss", ID).output
    assert "open" in run("reopen", ID).output
    assert [path for _, path, _, _ in remote.asked] == [
        f"/v1/suggestions/{ID}/{verb}" for verb in ("dismiss", "reopen")
    ]
    assert run("dismiss", "ADR-12").exit_code == 2
