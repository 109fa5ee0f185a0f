"""`adriatic suggestions`: which decision may supersede another, or conflict with it; accept, dismiss, reopen.

Owns how suggestions look in a terminal. Refuses to suggest and to decide: what it shows and does is what any client of
the API gets and may.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from schemas.suggestions import SuggestionKind

if TYPE_CHECKING:
    from api.suggestions.schemas import SuggestedRelation, SuggestedRelationPage

STATES = ("open", "accepted", "dismissed")


@click.group("suggestions")
def suggestions() -> None:
    """Decisions that may supersede or contradict each other, though nobody linked them."""


@suggestions.command("list")
@click.option("--state", type=click.Choice(STATES), default="open", show_default=True, help="Only these.")
@click.option("--kind", type=click.Choice(get_args(SuggestionKind)), help="Only of this kind.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", help="Go on where the list before ended.")
@where_options
@json_option("Print the answer of the API as JSON.")
def list_(state: str, kind: str | None, limit: int, cursor: str | None, where: Where, as_json: bool) -> None:
    """Show suggestions, those of the newest decisions first.

    \b
    adriatic suggestions list                          what waits for an answer
    adriatic suggestions list --kind conflicts
    adriatic suggestions list --state dismissed --json
    """
    from api.suggestions.schemas import SuggestedRelationPage

    asked = {"state": state, "kind": kind, "limit": limit, "cursor": cursor}
    with where.connect(PATIENCE_S_MAX) as remote:
        page = remote.request("GET", "/v1/suggestions", SuggestedRelationPage, **asked)
    show(as_json, msgspec.json.encode(page), lines(page), _more(page))


@suggestions.command("accept")
@click.argument("suggestion", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def accept(suggestion: UUID, where: Where, as_json: bool) -> None:
    """Make the link, and supersede the older decision where that is what is suggested.

    It is done from the version that the older one has now. Accepting again changes nothing.
    """
    _answer(suggestion, "accept", where, as_json)


@suggestions.command("dismiss")
@click.argument("suggestion", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def dismiss(suggestion: UUID, where: Where, as_json: bool) -> None:
    """Say that it is none. It stays dismissed until there is stronger evidence."""
    _answer(suggestion, "dismiss", where, as_json)


@suggestions.command("reopen")
@click.argument("suggestion", type=click.UUID)
@where_options
@json_option("Print the answer of the API as JSON.")
def reopen(suggestion: UUID, where: Where, as_json: bool) -> None:
    """Forget the answer; of an accepted one, once its link was removed."""
    _answer(suggestion, "reopen", where, as_json)


def _answer(suggestion: UUID, verb: str, where: Where, as_json: bool) -> None:
    from api.suggestions.schemas import AcceptedSuggestion, SuggestedRelation

    path = f"/v1/suggestions/{suggestion}"
    with where.connect(PATIENCE_S_MAX) as remote:
        body = None
        if verb == "accept":
            body = AcceptedSuggestion(remote.request("GET", path, SuggestedRelation).older.version)
        found = remote.request("POST", f"{path}/{verb}", SuggestedRelation, body=body)
    show(as_json, msgspec.json.encode(found), of_one(found))


# --- what is shown --------------------------------------------------------------------------------------------------


_VERBS = {"supersedes": "may supersede", "conflicts": "may conflict with"}


def lines(page: SuggestedRelationPage) -> Iterator[str]:
    """Four lines a suggestion: what, why, the words, and the id to answer with."""
    if not page.items:
        yield "nothing is suggested"
    for each in page.items:
        yield from of_one(each)


def of_one(each: SuggestedRelation) -> Iterator[str]:
    newer, older = (f"{adr.label or adr.log} {adr.title}" for adr in (each.newer, each.older))
    yield click.style(f"{newer} {_VERBS[each.kind]} {older}", bold=True)
    yield f"  {each.reason.text} ({each.reason.confidence:.0%} of such were right in tests)"
    yield f"  “{each.reason.newer.quote}” · “{each.reason.older.quote}”"
    by = f" by {each.answered_by}" if each.answered_by and each.state != "open" else ""
    yield click.style(f"  {each.state}{by}  {each.suggestion_id}", dim=True)


def _more(page: SuggestedRelationPage) -> str:
    state = page.as_of.state
    fresh = f"{state}: everything written until {page.as_of.age_s:.1f} s ago" if page.as_of.age_s is not None else state
    return fresh + (f"; there are more: --cursor {page.next_cursor}" if page.next_cursor else "")
