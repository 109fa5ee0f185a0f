"""Says what each name of a module stands for: `t.sleep` is `time.sleep` after `import time as t`.

Owns the resolution of imports, of their aliases, and of what is assigned from them. Judges nothing.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping

ONLY_TYPES = frozenset(("annotation", "returns", "slice"))
"""Fields of a syntax tree that say a type, or an index, and make nothing of it."""


def imported(tree: ast.AST) -> Iterator[str]:
    """The qualified name of all that is imported, inside of functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)


def aliases(tree: ast.AST) -> dict[str, str]:
    """Names that stand for something imported, with what that is: an import binds them, or a plain assignment."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            roots = {one.name.split(".")[0] for one in node.names if not one.asname}
            found |= {root: root for root in roots} | {one.asname: one.name for one in node.names if one.asname}
        elif isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and (value := qualify(node.value, found)):
                    found.setdefault(target.id, value)
    return found


def qualify(node: ast.AST, known: Mapping[str, str]) -> str:
    """The dotted name of an expression, from its import on; "" when nothing imported or built in is at its root."""
    if isinstance(node, ast.Name):
        return known.get(node.id) or (f"builtins.{node.id}" if hasattr(builtins, node.id) else "")
    if isinstance(node, ast.Subscript):  # Connection[Any].connect
        return qualify(node.value, known)
    if isinstance(node, ast.Attribute):
        owner = qualify(node.value, known)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def names(tree: ast.AST) -> Iterator[str]:
    """Every qualified name in use, that of an import too: `os.environ`, `confluent_kafka.Producer` …"""
    known = aliases(tree)
    yield from imported(tree)
    yield from (name for node in ast.walk(tree) if (name := qualify(node, known)))


def values(tree: ast.AST) -> Iterator[str]:
    """Qualified names that are more than types: they are called, subclassed or handed on."""
    known = aliases(tree)
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if name := qualify(node, known):
            yield name
        for field, inner in ast.iter_fields(node):
            if field not in ONLY_TYPES:
                todo += [one for one in (inner if isinstance(inner, list) else [inner]) if isinstance(one, ast.AST)]


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with the qualified name of what it calls."""
    known = aliases(tree)
    return ((node, qualify(node.func, known)) for node in ast.walk(tree) if isinstance(node, ast.Call))
