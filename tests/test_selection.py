"""What `-k` may leave out without looking: never a test that it would have selected."""

from __future__ import annotations

import pytest

from tests.parallel import LONG, SYSTEM, rank
from tests.selection import makes_names, words


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("", ()),
        ("Chunks", ("chunks",)),
        ("chunks or (cut and edge)", ("chunks", "cut", "edge")),
        ("not chunks", ()),
        ("chunks and not slow", ()),
        ("test_a[b-c]", ("test_a[b-c]",)),
    ],
)
def test_the_words_of_an_expression(expression: str, found: tuple[str, ...]) -> None:
    assert words(expression) == found


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ('"a", [1, 2]', False),
        ('("a", "b"), [("x", 1), ("(", 2)]', False),
        ('"a", [kill, hang]', False),
        ('"a", [pytest.param(1, id="one")]', False),
        ('"a", names()', True),
        ('"a", NAMES', True),
        ('"a", [*names]', True),
        ('"a", [each for each in names]', True),
        ('"a", [f"{each}"]', True),
        ('"a", [1, 2], ids=str', True),
        ('"a", [TOPIC]', True),
    ],
)
def test_names_that_are_made_from_data(arguments: str, made: bool) -> None:
    assert makes_names(f"@pytest.mark.parametrize({arguments})\ndef test_it(a): ...") is made


def test_files_that_take_longest_begin_first() -> None:
    files = ["tests/topics/test_plan.py", *reversed(LONG), f"{SYSTEM[0]}test_jobs.py"]
    assert sorted(files, key=rank) == [f"{SYSTEM[0]}test_jobs.py", *LONG, "tests/topics/test_plan.py"]
