"""What a command prints: JSON for a program, or lines for people.

Owns the option `--json`, and that data go to standard output and everything else to standard error. Refuses to know
what is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(meaning: str = "Print JSON.") -> Callable[[F], F]:
    """`--json`, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=meaning)


def show(as_json: bool, encoded: bytes | str, lines: Iterable[str], *notes: str) -> None:
    """Print `encoded`, which is JSON, or `lines` and after them the `notes` that are not empty, for people alone."""
    if as_json:
        click.echo(encoded)
        return
    for line in lines:
        click.echo(line)
    for note in filter(None, notes):
        click.echo(note, err=True)


def hide_controls(text: str, *, keep_lines: bool = False) -> str:
    """The text without what would control a terminal: it may be anybody's."""
    kept = "\n" if keep_lines else ""
    return "".join(character if character.isprintable() or character in kept else "�" for character in text)
