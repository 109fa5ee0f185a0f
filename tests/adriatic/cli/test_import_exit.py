"""`adriatic import` ends with 1 when something of the source is not in the log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from click.testing import CliRunner

from adriatic.cli import import_view, imports
from adriatic.cli.import_view import ImportOutcome
from adriatic.cli.sending import Sent
from api.imports.schemas import FinishedImport, Import, Tally


def outcome(refused: dict[str, Tally], unread: dict[str, Tally]) -> ImportOutcome:
    report = Import(UUID(int=1), "main", "x", "finished", 3, 3, 0, 3, refused, {}, datetime(2026, 1, 1, tzinfo=UTC))
    finished = FinishedImport(report, cast("Any", None))
    return ImportOutcome("demo", Sent(cast("Any", None), report, unread, finished=finished), None)


@pytest.mark.parametrize(
    ("refused", "unread", "code"),
    [({}, {}, 0), ({"too-large": Tally(1)}, {}, 1), ({}, {"not-json": Tally(2)}, 1)],
)
def test_what_is_left_out_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, refused: dict[str, Tally], unread: dict[str, Tally], code: int
) -> None:
    monkeypatch.setattr(imports, "_local_sources", lambda *_: [])
    monkeypatch.setattr(imports, "_run", lambda *_: [outcome(refused, unread)])
    monkeypatch.setattr(import_view, "as_text", lambda _: "the summary")
    done = CliRunner().invoke(imports.import_, [str(Path("anywhere"))])
    assert done.exit_code == code, done.output
    assert "the summary" in done.stdout
    assert ("refused or unreadable" in done.stderr) == bool(code)
