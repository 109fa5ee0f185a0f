"""The examples in the docs are valid, and the example of a dataflow does what its page says."""

from __future__ import annotations

import json
import sys
import tomllib
import types
from typing import Any

import pytest

from connectors.kafka.records import Record
from dataflows.flow import Event
from tests.docs.markdown import Page, pages

PAGES = pages()
FENCES = [
    (page.name, token.info.strip(), token.content) for page in PAGES for token in page.tokens if token.type == "fence"
]


def examples(language: str) -> list[Any]:
    return [pytest.param(content, id=name) for name, info, content in FENCES if info == language]


@pytest.mark.parametrize("content", examples("python"))
def test_python_compiles(content: str) -> None:
    assert compile(content, "example", "exec")


@pytest.mark.parametrize("content", examples("toml"))
def test_toml_parses(content: str) -> None:
    assert tomllib.loads(content)


@pytest.mark.parametrize("content", [*examples("json"), pytest.param("{}", id="none")])
def test_json_parses(content: str) -> None:
    assert json.loads(content) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_fence_names_its_language(page: Page) -> None:
    assert [token.content for token in page.tokens if token.type == "fence" and not token.info.strip()] == []


def event(adr_id: str, version: int, title: str, change: str = "update") -> Event:
    row = {"tenant_id": "t", "adr_id": adr_id, "version": version, "title": title, "change": change}
    return Event(Record("topic", 0, version, None, b"", b""), {"before": None, "after": row, "op": "c"}, "topic")


def test_the_example_of_a_dataflow_keeps_the_newest_title(monkeypatch: pytest.MonkeyPatch) -> None:
    (content,) = [content for name, info, content in FENCES if name.endswith("add-a-dataflow.md") and info == "python"]
    module = types.ModuleType("example_of_a_dataflow")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(content, module.__name__, "exec"), module.__dict__)
    flow = module.Titles()
    effects = flow.transform([event("b", 1, "old"), event("a", 1, "first"), event("b", 2, "new", "delete")])
    assert [(one.adr_id, one.version, one.title, one.deleted) for one in effects] == [
        ("a", 1, "first", False),
        ("b", 2, "new", True),
    ]
