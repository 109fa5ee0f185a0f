"""What the docs name exists: files, commands with their options, make targets, settings, metrics."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from adriatic.cli import cli, reference
from adriatic.cli.settings import fields, variable
from tests.docs.markdown import ROOMS, ROOT, Page, pages, parse, tracked

PAGES = [page for page in pages() if page.name != "CHANGELOG.md" and not page.name.startswith("docs/reference/")]
PATH = re.compile(rf"(?:{'|'.join(ROOMS)})/[\w.<>*…/-]*")
COMMAND = re.compile(r"(?:^|\$\()adriatic (?P<arguments>[a-z][^)`]*)")
TARGET = re.compile(r"^make (?P<target>[a-z-]+)")
VARIABLE = re.compile(r"ADRIATIC_[A-Z_]+")
METRIC = re.compile(r"adriatic_(?:cdc|flow|embed|http|group|view|slot|watch|dead_letters)_[a-z_]+")


def code(page: Page) -> Iterator[str]:
    yield from page.spans()
    yield from page.lines()


def missing_paths(page: Page) -> list[str]:
    """Paths in inline code. `<x>`, `…` and `*` stand for anything."""
    found = []
    for span in page.spans():
        if PATH.fullmatch(span):
            pattern = re.sub(r"<[^>]*>|…", "*", span.rstrip("/"))
            if not any(ROOT.glob(pattern)):
                found.append(span)
    return found


def wrong_commands(page: Page) -> list[str]:
    """Commands that do not exist, or do not have an option that is used."""
    found = []
    for text in code(page):
        match = COMMAND.search(text.partition("  #")[0])
        if match and not _known(match["arguments"]):
            found.append(text)
    return found


def _known(arguments: str) -> bool:
    words = [word for word in shlex.split(arguments) if word != "…"]
    command: click.Command = cli
    context = click.Context(
        cli, info_name="adriatic", **cli.context_settings
    )  # as `main` does: the help option is cached
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        # The name of one command of some groups may be left out: what stands in its place is an argument.
        unnamed = getattr(command, "unnamed", "")
        if words[0] not in command.commands and unnamed:
            words.insert(0, unnamed)
        child = command.get_command(context, words.pop(0))
        if child is None:
            return False
        command, context = child, click.Context(child, parent=context)
    options = {
        name for parameter in command.get_params(context) for name in (*parameter.opts, *parameter.secondary_opts)
    }
    return all(word.partition("=")[0] in options for word in words if word.startswith("-"))


def missing_targets(page: Page) -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = [match["target"] for text in code(page) if (match := TARGET.match(text))]
    return [target for target in named if target not in targets]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page: Page) -> None:
    assert missing_paths(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page: Page) -> None:
    assert wrong_commands(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Page) -> None:
    assert missing_targets(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Page) -> None:
    known = {variable(path) for path, _ in fields()}
    named = {name for text in code(page) for name in VARIABLE.findall(text) if not name.startswith("ADRIATIC_TEST_")}
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_exist(page: Page) -> None:
    known = reference.metrics()
    named = {name for text in code(page) for name in METRIC.findall(text)}
    assert {name for name in named if f"`{name}`" not in known} == set()


def test_what_does_not_exist_is_found() -> None:
    text = (
        "`api/nothing.py` `docs/decisions/<number>.md` `adriatic frobnicate` `adriatic settings --nope` `make nothing`"
    )
    page = parse("README.md", text)
    assert missing_paths(page) == ["api/nothing.py"]
    assert wrong_commands(page) == ["adriatic frobnicate", "adriatic settings --nope"]
    assert missing_targets(page) == ["nothing"]


DEFINED = re.compile(r"^\s*(?:async )?def (\w+)|^\s*class (\w+)", re.MULTILINE)
SQL_DEFINED = re.compile(r"create (?:function|procedure) [a-z]+\.(\w+)")
CALL = re.compile(r"(?:\w+\.)*(?P<name>\w+)\(\)")


@pytest.mark.parametrize("page", [page for page in PAGES if page.name == "ARCHITECTURE.md"], ids=lambda page: page.name)
def test_functions_on_the_map_exist(page: Page) -> None:
    sources = "\n".join((ROOT / name).read_text(encoding="utf-8") for room in ROOMS for name in tracked(f"{room}/*.py"))
    sql = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in tracked("schemas/sql/*.sql"))
    known = {name for pair in DEFINED.findall(sources) for name in pair} | set(SQL_DEFINED.findall(sql))
    named = [match["name"] for span in page.spans() if (match := CALL.fullmatch(span))]
    assert len(named) > 10
    assert [name for name in named if name not in known] == []
