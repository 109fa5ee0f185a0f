"""The picture of the rooms in ARCHITECTURE.md is the one that import-linter holds the code to."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from typing import Any

import pytest

from tests.docs.markdown import ROOT, tracked

ARROW = "→"


@cache
def layers() -> tuple[frozenset[str], ...]:
    """Rooms from the top floor down, as the import contract has them."""
    contracts = _contracts()
    assert [contract["type"] for contract in contracts] == ["layers"]
    return tuple(frozenset(re.split(r"\s*\|\s*", layer)) for layer in contracts[0]["layers"])


def _contracts() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    return found


def floors(page: str) -> tuple[frozenset[str], ...]:
    """The line of the page that draws all rooms."""
    drawn = [line for line in page.splitlines() if line.startswith("    ") and line.count(ARROW) >= 3]
    assert len(drawn) == 1, "one picture"
    return tuple(frozenset(re.split(r"\s*\|\s*", floor.strip())) for floor in drawn[0].split(ARROW))


def test_the_picture_is_the_contract() -> None:
    assert floors((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")) == layers()


def test_the_contract_has_no_exemption() -> None:
    assert all("ignore_imports" not in contract for contract in _contracts())


@pytest.mark.parametrize("room", sorted({room for layer in layers() for room in layer}))
def test_no_import_runs_upwards(room: str) -> None:
    """Read off the sources, those inside of functions too: a second look, by other means than import-linter's."""
    depth = {name: at for at, layer in enumerate(layers()) for name in layer}
    upwards = {
        (name, target)
        for name in tracked(f"{room}/*.py")
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        for target in _imported(node)
        if target in depth and target != room and depth[target] <= depth[room]
    }
    assert upwards == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module.split(".")[0]]
    return []


@pytest.mark.parametrize("room", sorted({room for layer in layers() for room in layer}))
def test_every_room_has_its_section(room: str) -> None:
    headings = re.findall(r"^### `([a-z]+)/`", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert room in headings
