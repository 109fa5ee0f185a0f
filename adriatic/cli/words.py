"""`adriatic words`: a tenant's own words, which its texts are read with.

Owns how they look in a terminal. Refuses to judge a word: the API does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.words.controller import ReaderWords
    from connectors.reading.own import OwnWord

PATH = "/v1/words"
AGAIN = "texts that come are read with them; `adriatic import --reread` reads those that are here"


@click.group()
def words() -> None:
    """Words of a tenant's own: of a status, of a field, of a link."""


@words.command("list")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_words(where: Where, as_json: bool) -> None:
    """List the tenant's own words."""
    with where.connect(PATIENCE_S_MAX) as remote:
        known = _read(remote)
    show(as_json, msgspec.json.encode(known), _lines(known), "" if known.words else "none of its own")


@words.command("add")
@click.argument("subject", type=click.Choice(["status", "field", "link"]))
@click.argument("name")
@click.argument("phrase")
@where_options
def add_word(subject: str, name: str, phrase: str, where: Where) -> None:
    """Have PHRASE understood as NAME.

    \b
    adriatic words add status accepted "green light"
    adriatic words add field people "made by"
    adriatic words add link superseded-by "makes way for @"        @ stands for the other record
    """
    with where.connect(PATIENCE_S_MAX) as remote:
        known = _read(remote)
        added = _word(subject, name, phrase)
        if added not in known.words:
            _replace(remote, [*known.words, added])
    click.echo(AGAIN, err=True)


@words.command("remove")
@click.argument("subject", type=click.Choice(["status", "field", "link"]))
@click.argument("name")
@click.argument("phrase")
@where_options
def remove_word(subject: str, name: str, phrase: str, where: Where) -> None:
    """Forget a word. One that is not there is fine."""
    with where.connect(PATIENCE_S_MAX) as remote:
        known = _read(remote)
        removed = _word(subject, name, phrase)
        if removed in known.words:
            _replace(remote, [word for word in known.words if word != removed])
    click.echo(AGAIN, err=True)


def _word(subject: str, name: str, phrase: str) -> OwnWord:
    from connectors.reading.own import OwnWord

    return msgspec.convert({"subject": subject, "name": name, "phrase": " ".join(phrase.split())}, OwnWord)


def _read(remote: Remote) -> ReaderWords:
    from api.words.controller import ReaderWords

    return remote.request("GET", PATH, ReaderWords)


def _replace(remote: Remote, known: list[OwnWord]) -> None:
    from api.words.controller import ReaderWords

    remote.request("PUT", PATH, ReaderWords, body={"words": known})


def _lines(known: ReaderWords) -> Iterator[str]:
    for word in known.words:
        yield f"{word.subject:<7} {word.name:<14} {word.phrase}"
