"""The operator's page has every word that the screen can show."""

from __future__ import annotations

import re

import pytest

from adriatic.cli.status import EXIT
from schemas.pipeline import STAGES, STATUSES
from tests.docs.markdown import ROOT

TEXT = (ROOT / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", [*STATUSES, *STAGES, "reserved", "extended", "unreserved", "lost", "missing"])
def test_every_word_has_a_row(word: str) -> None:
    assert re.search(rf"^\|.*`{word}`.*\|", TEXT, re.MULTILINE)


def test_exit_codes_are_those_of_the_command() -> None:
    rows = {int(code) for code in re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE)}
    assert rows == {*EXIT.values(), 2}
