"""What `-k` may leave out without looking: never a test that it would have selected. And who runs which files."""

from __future__ import annotations

import ast

import pytest

from tests.docs.markdown import ROOT, tracked
from tests.parallel import LONG, SYSTEM, is_of_system, rank
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
    order = [*LONG, f"{SYSTEM[0]}test_jobs.py", "tests/topics/test_plan.py"]
    assert sorted(set(order), key=rank) == order


def test_the_whole_system_is_used_by_the_workers_that_have_it() -> None:
    """Another worker would start another copy of it: a gigabyte, and half a minute of two cores."""
    using = {name for name in tracked("tests/**/test_*.py") if _uses_the_system((ROOT / name).read_text())}
    assert using
    assert {name for name in using if not is_of_system(name)} == set()
    assert {name for name in LONG if not (ROOT / name).is_file()} == set()


def _uses_the_system(source: str) -> bool:
    return any(
        {"system", "system_copy"} & {argument.arg for argument in node.args.args}
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
