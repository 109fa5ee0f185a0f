"""The generated pages say what the program has."""

from __future__ import annotations

import pytest

from adriatic.cli import reference
from tests.docs.markdown import tracked


@pytest.mark.parametrize("name", reference.pages())
def test_a_page_is_not_stale(name: str) -> None:
    file = reference.FOLDER / name
    assert file.is_file(), "run `make docs`"
    assert file.read_text(encoding="utf-8") == reference.GENERATED + reference.pages()[name](), "run `make docs`"


def test_no_page_is_left_of_what_is_no_longer_generated() -> None:
    assert {name.rsplit("/", 1)[1] for name in tracked("docs/reference/*.md")} == set(reference.pages())
