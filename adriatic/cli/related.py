"""`adriatic related`: the nearest other ADRs of one, and why.

Owns how the list looks in a terminal, and what a label means. Refuses to compare: what it shows is what any client of
the API gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from runtime.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.adrs.related import RelatedAdrs

CANDIDATES_MAX = 50
"""Hits that are looked through for a label: an ADR that is asked for by its name comes first."""


@click.command("related")
@click.argument("adr", metavar="LABEL|ID")
@click.option("--log", metavar="SLUG", help="The log of the label, where several have it.")
@where_options
@json_option("Print the answer of the API as JSON.")
def related(adr: str, log: str | None, where: Where, as_json: bool) -> None:
    """Show the decision records that are nearest to one: by links, shared words and meaning.

    \b
    adriatic related ADR-12                            in the tenant demo; the number alone does, too
    adriatic related ADR-12 --log platform             where several logs have an ADR-12
    adriatic related 0199f0c2-a1b2-7c3d-8e4f-5a6b7c8d9e0f --json
    """
    from api.adrs.related import RelatedAdrs

    wanted = parse_target(adr)
    with where.connect(PATIENCE_S_MAX) as remote:
        adr_id = wanted if isinstance(wanted, UUID) else find_by_number(remote, wanted, log)
        found = remote.request("GET", f"/v1/adrs/{adr_id}/related", RelatedAdrs)
    show(as_json, msgspec.json.encode(found), lines(found), freshness(found))


def parse_target(text: str) -> UUID | int:
    """An id, or the number of a label."""
    try:
        return UUID(text)
    except ValueError:
        digits = text.upper().removeprefix("ADR").lstrip("-_ #")
    if not digits.isascii() or not digits.isdigit():
        raise click.BadParameter(f"{text!r} is neither a label like ADR-12 nor an id")
    return int(digits)


def find_by_number(remote: Remote, number: int, log: str | None) -> UUID:
    """The ADR with this number. Raises `NotFound`, and `InvalidInput` where several logs have one."""
    from api.search.schemas import SearchRequest, SearchResult

    request = SearchRequest(f"ADR-{number}", "words", log=log, limit=CANDIDATES_MAX)
    result = remote.request("POST", "/v1/search", SearchResult, body=request)
    hits = {hit.source_id: hit.log or "" for hit in result.hits if hit.number == number}
    if not hits:
        where = f" in the log {log}" if log else ""
        raise NotFound(f"there is no ADR-{number}{where}", hint="`adriatic search` finds ADRs by what they say")
    if len(hits) > 1:
        logs = ", ".join(sorted(hits.values()))
        raise InvalidInput(f"several logs have an ADR-{number}: {logs}", hint="name one by --log")
    return next(iter(hits))


# --- what is shown --------------------------------------------------------------------------------------------------


def lines(found: RelatedAdrs) -> Iterator[str]:
    """Two lines an ADR: what it is, and why it is near."""
    if not found.related:
        yield "nothing is near it yet"
    width = max((len(each.label or "ADR") for each in found.related), default=0)
    for each in found.related:
        name = click.style(f"{each.label or 'ADR':<{width}}  {each.title}", bold=True)
        yield f"{each.score:6.3f}  {name}  {click.style(f'{each.status} · {each.log}', dim=True)}"
        yield click.style(f"{'':8}{'; '.join(reason.text for reason in each.reasons)}", dim=True)


def freshness(found: RelatedAdrs) -> str:
    as_of = found.as_of
    if as_of.state == "unknown" or as_of.age_s is None:
        return "how much is missing is unknown: `adriatic status` shows why"
    return f"{as_of.state}: everything written until {as_of.age_s:.1f} s ago is compared"
