"""reStructuredText as the page that docutils makes of it.

Owns how docutils is kept from other files, and what becomes of directives and roles that it does not know: those of
Sphinx, mostly, whose words are kept. Refuses to include files and to run raw parts; they are named as not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from docutils import core, nodes
from docutils.parsers.rst import Directive, directives, roles
from docutils.parsers.rst.directives.tables import CSVTable

from connectors.parsers.inventory import Inventory
from connectors.parsers.markdown import Writer
from connectors.parsers.web import read_page

_NOT_READ = ("include", "literalinclude", "raw")
"""Directives that bring what is not in the file, or what is no text."""
_NAMED = re.compile(r"(?s)(?P<said>.*?)\s*<[^<>]+>\Z")
_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "_disable_config": True,
    "report_level": 5,
    "halt_level": 6,
    "line_length_limit": 1_000_000,
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "embed_stylesheet": False,
    "stylesheet_path": "",
    "smart_quotes": False,
    "input_encoding": "unicode",
    "output_encoding": "unicode",
    "doctitle_xform": True,
    "initial_header_level": 2,
}


class _AnyOption(dict[str, Any]):
    """Every option is one, and its value is as it is written."""

    def __getitem__(self, name: str) -> Any:
        return directives.unchanged


class _KeptWords(Directive):  # type: ignore[misc]
    """A directive that is not known: what stands behind it and in it is text."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = _AnyOption(any=directives.unchanged)

    def run(self) -> list[nodes.Node]:
        block = nodes.container()
        if self.arguments:
            block += nodes.paragraph("", self.arguments[0])
        self.state.nested_parse(self.content, self.content_offset, block)
        return [block]


class _NotRead(_KeptWords):
    """What it would bring is a part that is not read; what stands in it is kept as it is."""

    def run(self) -> list[nodes.Node]:
        self.state.document.settings.missed.append(self.name)
        said = "\n".join(self.content)
        return [nodes.literal_block(said, said)] if said.strip() else []


class _TableWithoutFile(CSVTable):  # type: ignore[misc]
    """A table whose rows stand in the text."""

    def run(self) -> list[nodes.Node]:
        if {"file", "url"} & self.options.keys():
            self.state.document.settings.missed.append(self.name)
            return []
        return list(super().run())


def read_restructured(text: str, inventory: Inventory) -> tuple[str, str]:
    """Title and text."""
    missed: list[str] = []
    with _know_everything():
        document = core.publish_doctree(text, settings_overrides={**_SETTINGS, "missed": missed})
    for comment in list(document.findall(nodes.comment)):
        inventory.hold("hidden", comment.astext())
    page = core.publish_from_doctree(document, writer="html5", settings_overrides={**_SETTINGS, "missed": missed})
    for _ in missed:
        inventory.miss("unread-parts", "part of another file, or in another language")
    writer = Writer()
    read_page(page if isinstance(page, str) else page.decode(), inventory, writer)
    return str(document.get("title") or ""), writer.finish()


@contextmanager
def _know_everything() -> Iterator[None]:
    """No directive and no role is unknown within."""
    directive, role = directives.directive, roles.role
    directives.directive = _any_directive(directive)
    roles.role = _any_role(role)
    try:
        yield
    finally:
        directives.directive = directive
        roles.role = role


def _any_directive(known: Callable[..., Any]) -> Callable[..., Any]:
    def find(name: str, language: Any, document: Any) -> Any:
        if name.lower() in _NOT_READ:
            return _NotRead, []
        if name.lower() == "csv-table":
            return _TableWithoutFile, []
        found, _ = known(name, language, document)
        return found or _KeptWords, []

    return find


def _any_role(known: Callable[..., Any]) -> Callable[..., Any]:
    def find(name: str, language: Any, line: int, reporter: Any) -> Any:
        found, _ = known(name, language, line, reporter)
        return (found if found is not None and name.lower() != "raw" else _say), []

    return find


def _say(name: str, raw: str, text: str, *_: Any, **__: Any) -> Any:
    """What a role that is not known shows: its text, without the address behind it."""
    said = nodes.unescape(text)
    named = _NAMED.match(said)
    return [nodes.inline(raw, named["said"] if named else said)], []
