"""What a failed command says to do next depends on what runs here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import pytest

from adriatic import cli
from adriatic.supervisor import supervisor
from runtime import settings as values
from runtime.errors import CallerError, DependencyUnavailable

AGAIN = "try again in 2 s"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory in which nothing was started."""
    for name in list(os.environ):
        if name.startswith(values.ENV_PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ADRIATIC_HOME", str(tmp_path))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.option("--url")
    def search(url: str | None) -> None:
        raise DependencyUnavailable("Postgres does not answer", hint=AGAIN)

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: search)


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["adriatic", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    return capsys.readouterr().err


@pytest.mark.usefixtures("failing")
def test_where_nothing_runs_the_hint_is_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = said(monkeypatch, capsys, "search")
    assert "Postgres does not answer" in error
    assert "adriatic up" in error
    assert AGAIN not in error


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("words", [("search", "--url", "http://x"), ("search", "--url=http://x")])
def test_another_installation_is_not_started_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert AGAIN in said(monkeypatch, capsys, *words)


@pytest.mark.usefixtures("failing")
def test_where_all_is_elsewhere_there_is_nothing_to_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("POSTGRES", "KAFKA", "REGISTRY"):
        monkeypatch.setenv(f"ADRIATIC_STACK__{part}", "external")
    assert AGAIN in said(monkeypatch, capsys, "search")


@pytest.mark.usefixtures("failing")
def test_where_it_runs_the_hint_stays(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(supervisor, "read_running", lambda files: object())
    assert AGAIN in said(monkeypatch, capsys, "search")


def test_other_errors_keep_their_hint() -> None:
    assert cli._hint(CallerError("no", hint="do that"), []) == "do that"
