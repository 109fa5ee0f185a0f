"""`pytest -k word` without importing everything: a file in which the words do not stand has no test of that name.

Owns which files `-k` need not look at. Refuses to be clever: a file whose cases have names that are made from data is
always looked at, and an expression with `not` looks at all files.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WORD = re.compile(r"[\w.\[\]:+-]+")
OPERATORS = frozenset({"and", "or"})
PARAMETERS = re.compile(r"parametrize\(")
STRING = re.compile(r"\"\"\".*?\"\"\"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
FROM_ELSEWHERE = re.compile(r"\bfor\b|[\[({,]\s*\*|\bf(?=,|\)|\])|\bids\s*=|\b[A-Z][A-Z0-9_]+\b")
"""Among the values of cases: comprehensions, unpacked lists, formatted strings, computed names, constants."""


class Selection:
    """Of one run."""

    def __init__(self, config: pytest.Config) -> None:
        self._words = words(config.option.keyword)

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        if not self._words or collection_path.suffix != ".py" or collection_path.name == "conftest.py":
            return None
        path = str(collection_path).lower()
        if any(word in path for word in self._words):
            return None
        text = collection_path.read_text(encoding="utf-8")
        lower = text.lower()
        return None if any(word in lower for word in self._words) or makes_names(text) else True


def words(expression: str) -> tuple[str, ...]:
    """What stands in the name of every test that the expression selects; nothing when it may select any."""
    found = [word.lower() for word in WORD.findall(expression)]
    return () if "not" in found else tuple(word for word in found if word not in OPERATORS)


def makes_names(text: str) -> bool:
    """Whether cases of a file may be called what does not stand in it."""
    if "pytest_generate_tests" in text or "params=" in text:
        return True
    for match in PARAMETERS.finditer(text):
        values = _values(STRING.sub("", _arguments(text, match.end())))
        if not values.startswith(("[", "(", "{")) or FROM_ELSEWHERE.search(values):
            return True
    return False


def _values(arguments: str) -> str:
    """What follows the names of the parameters, which are a string or a list of strings."""
    return re.sub(r"^\s*(\([^)]*\)|\[[^\]]*\])?\s*,\s*", "", arguments)


def _arguments(text: str, start: int) -> str:
    """What stands between a bracket that was opened before `start` and the one that closes it."""
    depth, at = 1, start
    while depth and at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return text[start : at - 1]
