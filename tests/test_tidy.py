"""House rules that a machine can check, so that nobody has to say them in a review."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.markdown import ROOMS, ROOT, tracked

FUNCTION_LINES_MAX = 70
"""A function fits a screen."""
MODULE_LINES_MAX = 500
"""A module has one subject."""
TEST_MODULE_LINES_MAX = 800
"""A module of tests is a list, which reads well when it is longer."""
MARKERS = re.compile(r"\b(?:" + "|".join(("FIX" + "ME", "TO" + "DO", "XX" + "X", "HA" + "CK")) + r")\b")
BARE_IGNORE = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")
BY_CHANCE = re.compile(r"[0-9a-f]{1,8}")
"""What the hexadecimal digits of an id or of a hash hold by chance, once in some thousand runs."""
MODULES = [name for name in tracked("*.py") if name.split("/", 1)[0] in ROOMS]


def source(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Name and length of every function, its decorators not counted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_exists(room: str) -> None:
    assert (ROOT / room).is_dir()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_owns(name: str) -> None:
    tree = ast.parse(source(name))
    assert ast.get_docstring(tree), "a module opens with a docstring"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_and_its_functions_are_short(name: str) -> None:
    text = source(name)
    assert len(text.splitlines()) <= (TEST_MODULE_LINES_MAX if name.startswith("tests/") else MODULE_LINES_MAX)
    assert {function: lines for function, lines in functions(ast.parse(text)) if lines > FUNCTION_LINES_MAX} == {}


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_left_for_later(name: str) -> None:
    assert MARKERS.findall(source(name)) == []


@pytest.mark.parametrize("name", MODULES)
def test_an_ignore_names_what_it_ignores(name: str) -> None:
    assert BARE_IGNORE.findall(source(name)) == []


def test_the_checks_find_what_they_should() -> None:
    long = "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX
    assert list(functions(ast.parse(long))) == [("f", FUNCTION_LINES_MAX + 1)]
    assert MARKERS.findall("# TO" + "DO: later")
    assert BARE_IGNORE.findall("x = 1  # type: " + "ignore")
    assert not BARE_IGNORE.findall("x = 1  # type: " + "ignore[misc]")


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("tests/")])
def test_what_must_not_be_seen_cannot_be_part_of_an_id(name: str) -> None:
    """A test that looks for `ada` in a text with ids fails some day, on `c0ada587`."""
    words = [
        node.left.value
        for node in ast.walk(ast.parse(source(name)))
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.NotIn) and isinstance(node.left, ast.Constant)
    ]
    texts = [word.decode("latin-1") if isinstance(word, bytes) else word for word in words]
    assert [text for text in texts if isinstance(text, str) and BY_CHANCE.fullmatch(text)] == []
