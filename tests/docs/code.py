"""The code that the rules about it read: which modules there are, as syntax trees, and what they say of themselves.

Owns the list of rooms and the reading. Judges nothing.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache

from tests.docs.markdown import ROOT, tracked

ROOMS = ("adriatic", "api", "connectors", "dataflows", "runtime", "schemas", "streams", "topics")
SOURCES = [name for room in ROOMS for name in tracked(f"{room}/*.py")]
"""Every module that runs in production, but for benchmarks."""


@cache
def parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def docstrings(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """All that is only said, with the name of what it is said of: a module, class, function, constant or field."""
    for node in ast.walk(tree):
        for _, block in ast.iter_fields(node):
            for before, after in zip([node, *block], block, strict=False) if isinstance(block, list) else ():
                value = after.value if isinstance(after, ast.Expr) else None
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield _name(before), inspect.cleandoc(value.value)


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
    return getattr(node, "name", "module" if isinstance(node, ast.Module) else "")
