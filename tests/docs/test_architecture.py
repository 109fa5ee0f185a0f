"""The picture of the rooms in ARCHITECTURE.md is the one that import-linter holds the code to."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest

from tests.docs.code import parse
from tests.docs.markdown import ROOT, tracked
from tests.docs.qualified import calls, imported, values

ARROW = "→"
LOAD: Final = frozenset(
    (
        "builtins.__import__",
        "importlib.__import__",
        "importlib.import_module",
        "importlib.util.find_spec",
        "pkgutil.resolve_name",
        "runpy.run_module",
    )
)
"""What imports a module by a name that it is given."""
LOADERS: Final[Mapping[tuple[str, str], str]] = {
    ("adriatic/cli/__init__.py", "importlib.import_module(module)"): "a command, from the table above it",
    ("adriatic/stack/postgres.py", "importlib.util.find_spec(PACKAGE)"): "the folder of the package of binaries",
    ("connectors/consumer/declared.py", "importlib.import_module(module)"): "a module of the catalogue of its caller",
}
"""Calls that load what is not written on the spot, by file: what that is."""


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
        for target in rooms_in(parse(name))
        if target in depth and target != room and depth[target] <= depth[room]
    }
    assert upwards == set()


def rooms_in(tree: ast.AST) -> set[str]:
    """The first part of all that is imported, by a statement or by a call with the name written on the spot."""
    loaded = {name for call in loads(tree) if (name := _literal(call))}
    return {name.split(".")[0] for name in {*imported(tree), *loaded}}


def loads(tree: ast.AST) -> Iterator[ast.Call]:
    return (call for call, name in calls(tree) if name in LOAD)


def _literal(call: ast.Call) -> str:
    """The name of the module that a call loads; "" when it is not written on the spot."""
    given = call.args[0] if call.args else next((one.value for one in call.keywords), None)
    return str(given.value) if isinstance(given, ast.Constant) else ""


def test_what_is_loaded_is_written_on_the_spot_or_has_a_reason() -> None:
    files = tracked(*(f"{room}/*.py" for layer in layers() for room in layer))
    found = {(name, ast.unparse(call)) for name in files for call in loads(parse(name)) if not _literal(call)}
    assert found == set(LOADERS)
    handing_on = {name for name in files if LOAD.intersection(values(parse(name)))}
    assert handing_on == {name for name, _ in LOADERS}, "who loads what is written on the spot can import it"


@pytest.mark.parametrize(
    "source",
    [
        "import importlib\nimportlib.import_module('adriatic.x')",
        "from importlib import import_module as load\nload(name='adriatic.x')",
        "__import__('adriatic.x')",
        "import runpy\nrunpy.run_module('adriatic')",
        "def f():\n    import adriatic.x as x",
        "from adriatic import x",
    ],
)
def test_an_import_is_found_however_it_is_made(source: str) -> None:
    assert "adriatic" in rooms_in(ast.parse(source))


def test_a_load_of_a_name_from_elsewhere_is_found() -> None:
    tree = ast.parse("from importlib import import_module as load\nload(f'adriatic.{name}')")
    assert [_literal(call) for call in loads(tree)] == [""]


@pytest.mark.parametrize("room", sorted({room for layer in layers() for room in layer}))
def test_every_room_has_its_section(room: str) -> None:
    headings = re.findall(r"^### `([a-z]+)/`", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert room in headings
