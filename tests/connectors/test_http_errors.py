"""Every exception of httpx and of the SDKs has one meaning, chosen on purpose."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import aiohttp
import httpx
import httpx2
import obstore.exceptions
import openai
import openai._exceptions
import pytest

import connectors
from connectors import http_errors
from runtime.errors import AdriaticError, Defect, DependencyUnavailable, Halted, Unprepared

RAISED = sorted(
    {kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)},
    key=lambda kind: kind.__name__,
)


def raised_by(*modules: ModuleType) -> list[type[Exception]]:
    found = {
        kind
        for module in modules
        for kind in list(vars(module).values())
        # `isinstance` asks the object itself, and what these modules load late would be loaded, for seconds
        if issubclass(type(kind), type) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    }
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


SDKS = raised_by(aiohttp, httpx2, openai, openai._exceptions, obstore.exceptions)


@pytest.mark.parametrize("kind", SDKS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_of_an_sdk_becomes_an_error_of_ours(kind: type[Exception]) -> None:
    error = kind.__new__(kind, "said")
    ours = http_errors.map_error(error, "it")
    assert type(ours) in http_errors._ERRORS.values()
    assert kind.__module__.startswith("httpx") or "said" not in str(ours)


def test_no_entry_is_of_an_exception_that_is_gone() -> None:
    assert set(http_errors.SDKS) <= {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in SDKS}


def test_no_entry_is_of_a_library_that_no_connector_loads() -> None:
    loaded = set()
    for source in Path(connectors.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            loaded |= {name.partition(".")[0] for name in names}
    assert {name.partition(".")[0] for name in http_errors.SDKS} <= loaded


def test_the_table_is_the_library() -> None:
    assert set(http_errors.MEANINGS) == {kind.__name__ for kind in RAISED}


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_exception_becomes_an_error_of_ours(kind: type[Exception]) -> None:
    error = kind.__new__(kind, "said")
    ours = http_errors.map_error(error, "it", "look", {"dependency": "it"})
    assert type(ours) in http_errors._ERRORS.values()
    assert ours is not None
    assert (ours.hint, ours.coordinates) == ("look", {"dependency": "it"})


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("refused"), DependencyUnavailable),
        (httpx.ReadTimeout(""), DependencyUnavailable),
        (httpx.UnsupportedProtocol("ftp"), Unprepared),
        (httpx.InvalidURL("no"), Unprepared),
        (httpx.LocalProtocolError("a header with a line end"), Defect),
    ],
)
def test_what_it_comes_to(error: Exception, expected: type[AdriaticError]) -> None:
    with pytest.raises(expected) as raised, http_errors.translate("it"):
        raise error
    assert type(raised.value) is expected


def test_what_is_not_the_librarys_passes() -> None:
    for error in (ValueError("?"), OSError("file"), Halted("ours")):
        with pytest.raises(type(error)) as raised, http_errors.translate("it"):
            raise error
        assert raised.value is error
