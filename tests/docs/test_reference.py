"""What is generated says what the program has."""

from __future__ import annotations

from pathlib import Path

import pytest

from adriatic.cli import reference
from tests.docs.markdown import ROOT, tracked

FILES = reference.files()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_not_stale(file: Path) -> None:
    assert file.is_file(), "run `make docs`"
    assert file.read_text(encoding="utf-8") == FILES[file], "run `make docs`"


def test_no_page_is_left_of_what_is_no_longer_generated() -> None:
    generated = {str(file.relative_to(ROOT)) for file in FILES if file.parent == reference.FOLDER}
    assert set(tracked("docs/reference/*.md")) == generated
