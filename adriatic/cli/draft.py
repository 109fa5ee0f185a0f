"""`adriatic draft`: have a model write, expand, summarise and review ADRs, and accept what is good.

Owns how drafts and suggestions look in a terminal. Ctrl-C closes the connection, which stops the draft at its source.
Refuses to write into an ADR by itself: `--accept` sends what a person on the page would send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.adrs.schemas import Adr
    from api.drafts.schemas import DraftAcceptance, DraftRequest, SuggestedMetadata

PATH = "/v1/drafts"


@click.group()
def draft() -> None:
    """Texts and suggestions for ADRs, which belong to no ADR until they are accepted."""


def draft_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every draft takes."""
    for option in (
        json_option("Print each event as one line of JSON."),
        where_options,
        click.option("--model", help="A model of the settings; without it, the first of them."),
    ):
        command = option(command)
    return command


def adr_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add how an ADR and its version are named."""
    for option in (
        click.option("--version", type=click.IntRange(1), metavar="N", help="Of the ADR; without it, the newest."),
        click.option("--log", metavar="SLUG", help="The log of the label, where several have it."),
        click.argument("adr", metavar="LABEL|ID"),
    ):
        command = option(command)
    return command


accept_option = click.option("--accept", is_flag=True, help="Make it a version at once, without another look.")
brief_option = click.option("--brief", metavar="TEXT", help="What to look at, or what to add.")
sources_option = click.option(
    "--sources", type=click.IntRange(1, 12), default=6, show_default=True, help="Passages to stand on."
)


@draft.command()
@click.argument("brief", nargs=-1, required=True)
@sources_option
@click.option("--log", default="main", show_default=True, metavar="SLUG", help="The log that --accept puts it into.")
@click.option("--tag", multiple=True, help="A tag that --accept gives it; repeat it for several.")
@accept_option
@draft_options
def write(
    brief: tuple[str, ...],
    sources: int,
    log: str,
    tag: tuple[str, ...],
    accept: bool,
    model: str | None,
    where: Where,
    as_json: bool,
) -> None:
    """Write a new ADR from a brief; `-` reads the brief from standard input.

    \b
    adriatic draft write "Cache search results in Redis? p99 is 800 ms, target 200"
    adriatic draft write --accept --log platform --tag search - < brief.txt
    """
    from api.drafts.schemas import DraftAcceptance, DraftRequest

    told = click.get_text_stream("stdin").read() if brief == ("-",) else " ".join(brief)
    with where.connect(PATIENCE_S_MAX) as remote:
        request = DraftRequest("write", told, sources=sources, model=model)
        _run(remote, request, DraftAcceptance(log=log, tags=list(tag)) if accept else None, as_json)


@draft.command()
@adr_options
@draft_options
def summarise(adr: str, log: str | None, version: int | None, model: str | None, where: Where, as_json: bool) -> None:
    """Summarise an ADR. Without a model it is quoted.

    \b
    adriatic draft summarise ADR-12
    """
    from api.drafts.schemas import DraftRequest

    with where.connect(PATIENCE_S_MAX) as remote:
        _run(remote, DraftRequest("summarise", None, _find(remote, adr, log), version, model=model), None, as_json)


@draft.command()
@adr_options
@brief_option
@sources_option
@accept_option
@draft_options
def expand(
    adr: str,
    log: str | None,
    version: int | None,
    brief: str | None,
    sources: int,
    accept: bool,
    model: str | None,
    where: Where,
    as_json: bool,
) -> None:
    """Write an ADR anew, with more where it is thin. It is refused where somebody changes the ADR meanwhile.

    \b
    adriatic draft expand ADR-12 --brief "say what it costs to go back"
    adriatic draft expand ADR-12 --accept
    """
    from api.drafts.schemas import DraftAcceptance, DraftRequest

    with where.connect(PATIENCE_S_MAX) as remote:
        request = DraftRequest("expand", brief, _find(remote, adr, log), version, sources, model)
        _run(remote, request, DraftAcceptance() if accept else None, as_json)


@draft.command()
@adr_options
@brief_option
@sources_option
@draft_options
def review(
    adr: str,
    log: str | None,
    version: int | None,
    brief: str | None,
    sources: int,
    model: str | None,
    where: Where,
    as_json: bool,
) -> None:
    """Review an ADR: what is missing, unclear, or against other records.

    \b
    adriatic draft review ADR-12 --brief "is the security of it weighed?"
    """
    from api.drafts.schemas import DraftRequest

    with where.connect(PATIENCE_S_MAX) as remote:
        request = DraftRequest("review", brief, _find(remote, adr, log), version, sources, model)
        _run(remote, request, None, as_json)


@draft.command()
@adr_options
@click.option("--accept", is_flag=True, help="Give the ADR the title and the tags. Links are for you to set.")
@click.option("--model", help="A model of the settings; without it, the first of them.")
@where_options
@json_option("Print the answer of the API as JSON.")
def suggest(
    adr: str, log: str | None, version: int | None, accept: bool, model: str | None, where: Where, as_json: bool
) -> None:
    """Suggest a title, tags and related ADRs. Without a model they come from the search, and from what near ADRs have.

    \b
    adriatic draft suggest ADR-12
    adriatic draft suggest ADR-12 --json | jq -r '.tags[].tag'
    """
    from api.drafts.schemas import SuggestedMetadata, SuggestionRequest

    with where.connect(PATIENCE_S_MAX) as remote:
        path = f"/v1/adrs/{_find(remote, adr, log)}"
        # Not by `request`, which asks again after an outage: each call can cost money.
        found = remote.ask_once(f"{path}/suggestions", SuggestionRequest(version, model), SuggestedMetadata)
        show(as_json, msgspec.json.encode(found), suggestion_lines(found))
        if accept:
            _set(remote, path, found)


@draft.command("accept")
@click.argument("draft_id", metavar="DRAFT", type=click.UUID)
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="The text as you edited it; `-` reads it from standard input.",
)
@click.option("--log", default="main", show_default=True, metavar="SLUG", help="The log of a new ADR.")
@click.option("--tag", multiple=True, help="A tag of a new ADR; repeat it for several.")
@click.option("--message", default="", help="Why, for the history.")
@where_options
@json_option("Print the answer of the API as JSON.")
def accept_draft(
    draft_id: UUID,
    file: Path | None,
    log: str,
    tag: tuple[str, ...],
    message: str,
    where: Where,
    as_json: bool,
) -> None:
    """Make an ADR, or a version of one, of a draft. Doing it again changes nothing.

    \b
    adriatic draft accept 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f
    adriatic draft accept 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f --file edited.md --message "reviewed by Ada"
    """
    from api.drafts.schemas import DraftAcceptance

    edited = None
    if file is not None:
        with click.open_file(str(file), encoding="utf-8") as opened:
            edited = opened.read()
    with where.connect(PATIENCE_S_MAX) as remote:
        adr = _accept(remote, draft_id, DraftAcceptance(edited, log=log, tags=list(tag), message=message))
    show(as_json, msgspec.json.encode(adr), [tell_adr(adr)])


def _find(remote: Remote, adr: str, log: str | None) -> UUID:
    from adriatic.cli.related import find_by_number, parse_target

    wanted = parse_target(adr)
    return wanted if isinstance(wanted, UUID) else find_by_number(remote, wanted, log)


def _run(remote: Remote, request: DraftRequest, acceptance: DraftAcceptance | None, as_json: bool) -> None:
    from adriatic.cli.chat import ToldAnswer
    from adriatic.cli.chat_view import json_lines, render_answer
    from api.drafts.schemas import TEXTS

    with remote.events(f"{PATH}/stream", request) as events:
        told = ToldAnswer(events)
        for text in json_lines(told) if as_json else render_answer(told):
            click.echo(text, nl=False)
    if told.answer_id is None or request.task not in TEXTS:
        return
    if acceptance is None:
        click.echo(f"it is in no ADR yet: `adriatic draft accept {told.answer_id}`", err=True)
        return
    adr = _accept(remote, told.answer_id, acceptance)
    show(as_json, msgspec.json.encode({"event": "accepted", "data": adr}), [tell_adr(adr)])


def _accept(remote: Remote, draft_id: UUID, acceptance: DraftAcceptance) -> Adr:
    from api.adrs.schemas import Adr

    return remote.request("POST", f"{PATH}/{draft_id}/accept", Adr, body=acceptance)


def _set(remote: Remote, path: str, found: SuggestedMetadata) -> None:
    from urllib.parse import quote

    from api.adrs.schemas import Adr, AdrChange

    if found.title:
        change = AdrChange(title=found.title, message="A suggested title", expected_version=found.version)
        changed = remote.request("PATCH", path, Adr, body=change)
        click.echo(tell_adr(changed), err=True)
    for each in found.tags:
        remote.request("PUT", f"{path}/tags/{quote(each.tag, safe='')}", list[str])
        click.echo(f"tagged {each.tag}", err=True)


# --- what is shown --------------------------------------------------------------------------------------------------


def tell_adr(adr: Adr) -> str:
    return f"{adr.label or adr.adr_id}  {adr.title}  version {adr.version} in {adr.log}"


def suggestion_lines(found: SuggestedMetadata) -> Iterator[str]:
    """A line for each kind of suggestion, and who made it."""
    yield f"title    {found.title or 'its own; no better one is known'}"
    tags: list[Any] = [each.tag if each.known else f"{each.tag} (new)" for each in found.tags]
    yield f"tags     {', '.join(tags) or 'none'}"
    if not found.related:
        yield "related  none"
    for each in found.related:
        why = f"  {click.style(each.why, dim=True)}" if each.why else ""
        yield f"related  {each.label or each.adr_id}  {each.title}  ({each.status}, {each.log}){why}"
    by = f"suggested by {found.model}" if found.model else "no model was asked: this is what near records have"
    yield click.style(by, dim=True)
