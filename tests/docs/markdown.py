"""Reads the project's Markdown for the tests beside it: tracked files, their links, headings and code."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
ROOMS = (
    "adriatic",
    "api",
    "bench",
    "connectors",
    "dataflows",
    "deploy",
    "docs",
    "runtime",
    "schemas",
    "streams",
    "tests",
    "topics",
)
"""Top-level folders: what the docs may name a path in, and what tidiness is asked of."""
OUTPUT = re.compile(r"<!-- output: .*?<!-- /output -->", re.DOTALL)
"""What a command printed: a record, not instructions. It is not checked."""


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file. `name` is its path from the root."""

    name: str
    tokens: tuple[Token, ...]

    @property
    def folder(self) -> Path:
        return (ROOT / self.name).parent

    def links(self) -> Iterator[str]:
        for token in self._inline():
            target = token.attrs.get("href") or token.attrs.get("src")
            if isinstance(target, str):
                yield target

    def anchors(self) -> set[str]:
        found = set()
        for opening, content in zip(self.tokens, self.tokens[1:], strict=False):
            if opening.type == "heading_open":
                text = re.sub(r"[^\w\- ]", "", content.content.lower())
                found.add(text.replace(" ", "-"))
        return found

    def headings(self, level: int) -> list[str]:
        pairs = zip(self.tokens, self.tokens[1:], strict=False)
        return [after.content for token, after in pairs if token.type == "heading_open" and token.tag == f"h{level}"]

    def spans(self) -> Iterator[str]:
        """Inline code."""
        yield from (token.content for token in self._inline() if token.type == "code_inline")

    def lines(self) -> Iterator[str]:
        """Lines of code blocks."""
        for token in self.tokens:
            if token.type in ("code_block", "fence"):
                yield from (line.strip() for line in token.content.splitlines())

    def _inline(self) -> Iterator[Token]:
        for token in self.tokens:
            yield from token.children or ()


def tracked(*patterns: str) -> list[str]:
    """Files that git knows, as paths from the root. New files that are not ignored count too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted({name for name in listed.stdout.splitlines() if (ROOT / name).is_file()})


def parse(name: str, text: str) -> Page:
    return Page(name, tuple(MarkdownIt("commonmark").enable("table").parse(OUTPUT.sub("", text))))


@cache
def pages() -> tuple[Page, ...]:
    """Every Markdown file of the project."""
    return tuple(parse(name, (ROOT / name).read_text(encoding="utf-8")) for name in tracked("*.md"))
