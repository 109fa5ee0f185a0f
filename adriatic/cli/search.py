"""`adriatic search`: ask the API, show the best ADRs, and say how fresh the answer is.

Owns how hits look in a terminal. Refuses to search by itself: what it shows is what any client of the API gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from adriatic.cli.output import json_option, show
from adriatic.cli.where import PATIENCE_S_MAX, Where, where_options
from schemas.sources import KINDS

if TYPE_CHECKING:
    from adriatic.cli.remote import Remote
    from api.search.schemas import Hit, SearchRequest, SearchResult
    from api.watermarks import AsOf

LINE_CHARS_MAX = 100
"""Width of the lines of a snippet: what a person reads without losing the line."""


@click.command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("--mode", type=click.Choice(["hybrid", "words", "meaning"]), default="hybrid", show_default=True)
@click.option("--kind", type=click.Choice(list(KINDS)), help="Sources of this kind only.")
@click.option("--status", multiple=True, help="Only this status; repeat it for several.")
@click.option("--tag", multiple=True, help="Only ADRs with this tag; repeat it to ask for all of several.")
@click.option("--log", metavar="SLUG", help="Only this log.")
@click.option("--author", help="Only ADRs of which this person wrote a version.")
@click.option("--since", metavar="DATE", help="Only what took effect on or after this day (2026-01-15).")
@click.option("--until", metavar="DATE", help="Only what took effect before this day.")
@click.option("--limit", type=click.IntRange(1, 50), default=5, show_default=True, help="Hits at most.")
@click.option("--facets", is_flag=True, help="Count what is found by status, tag, log, author, kind and year.")
@click.option("--as-typed", is_flag=True, help="Do not take a word that nobody here has for the nearest that is here.")
@click.option("--explain", is_flag=True, help="Say how each hit got its place.")
@where_options
@json_option("Print the answer of the API as JSON.")
def search(
    query: tuple[str, ...],
    since: str | None,
    until: str | None,
    where: Where,
    as_json: bool,
    facets: bool,
    as_typed: bool,
    **asked: Any,
) -> None:
    """Search the decision records and documents of a tenant, by words and by meaning.

    \b
    adriatic search "why is there no dual write"
    adriatic search '"dual write" kafka -redis'        a phrase is required, a minus sign excludes
    adriatic search ADR-12 --explain                   an ADR by its name, and how it got its place
    adriatic search kafka --facets --status accepted   with counts of what else it can be narrowed by
    """
    from api.search.schemas import Facet, SearchRequest, SearchResult

    asked |= {"facets": list(get_args(Facet)) if facets else [], "correct": not as_typed}
    request = SearchRequest(" ".join(query), since=_day(since), until=_day(until), **asked)
    with where.connect(PATIENCE_S_MAX) as remote:
        result = remote.request("POST", "/v1/search", SearchResult, body=request)
        hint = _why_nothing(remote, request) if not result.hits else ""
    degraded = [f"without search by {each.arm}: {each.detail}" for each in result.degraded]
    notes = [*_say_what_was_searched(result), *degraded, freshness(result)]
    show(as_json, msgspec.json.encode(result), [*lines(result), *count_lines(result)], hint, *notes)


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a date; write it like 2026-01-15") from None


def _why_nothing(remote: Remote, request: SearchRequest) -> str:
    """What to try when nothing was found."""
    from api.adrs.schemas import AdrPage

    if not remote.request("GET", "/v1/adrs", AdrPage, limit=1).items:
        return "nothing is here yet: `adriatic import docs/decisions` brings a folder in"
    filtered = (request.status, request.tag, request.log, request.author, request.since, request.until, request.kind)
    return "nothing found: " + (
        "drop a filter" if any(filtered) or '"' in request.q or " -" in request.q else "try other words"
    )


# --- what is shown --------------------------------------------------------------------------------------------------


def lines(result: SearchResult) -> Iterator[str]:
    """The hits, best first, a blank line between them."""
    for place, hit in enumerate(result.hits, 1):
        name, where = _frame_title(hit)
        yield f"{place}. {click.style(f'{name}  {hit.title}', bold=True)}  {click.style(where, dim=True)}"
        if place_in_text := ", ".join(filter(None, (hit.chunk.heading_path, say_pages(hit.chunk.pages)))):
            yield click.style(f"   {place_in_text}", dim=True)
        for line in _wrap(_highlight(hit)):
            yield "   " + line
        if hit.explain:
            yield click.style(f"   {_explain(hit)}", dim=True)
        if place < len(result.hits):
            yield ""


def count_lines(result: SearchResult) -> Iterator[str]:
    """What is found, a line for each facet, behind the hits."""
    if result.facets is None:
        return
    least = "at least " if result.facets.at_least else ""
    yield ""
    yield click.style(f"{least}{result.facets.sources} {result.facets.of}", bold=True)
    for facet, counts in result.facets.by.items():
        shown = [f"{each.value} {each.count}" for each in counts.values]
        shown += [f"and {counts.more} more"] if counts.more else []
        yield f"   {facet:<7} {', '.join(shown) or '-'}"


def _say_what_was_searched(result: SearchResult) -> Iterator[str]:
    for each in result.corrected:
        yield f"showing results for {each.called}: nobody here has written {each.typed} (--as-typed searches for it)"
    if result.by_meaning_alone:
        yield f"{result.by_meaning_alone}: these are near in meaning"


def _frame_title(hit: Hit) -> tuple[str, str]:
    """What is written before and after the title."""
    name = f"ADR-{hit.number}" if hit.number is not None else kind_word(hit.kind)
    if hit.document is not None:
        return name, " · ".join((hit.document.origin, hit.document.uri or hit.document.media_type))
    return name, " · ".join((hit.status, hit.log or "", *hit.tags))


def kind_word(kind: str) -> str:
    """What people call a source of this kind, at the beginning of a line."""
    word = KINDS[kind].word
    return word[0].upper() + word[1:]


def _highlight(hit: Hit) -> list[str]:
    """The words of the snippet, those of the query emphasised."""
    text, marked, end = hit.snippet.text, "", 0
    for start, stop in hit.snippet.highlights:
        marked += text[end:start] + " ".join(
            click.style(word, fg="yellow", bold=True) for word in text[start:stop].split(" ")
        )
        end = stop
    return (marked + text[end:]).split(" ")


def say_pages(pages: Sequence[int] | None) -> str:
    """The pages of its file on which something stands, the first and the last; nothing where there are none."""
    if not pages:
        return ""
    first, last = pages
    return f"page {first}" if first == last else f"pages {first}–{last}"


def _wrap(words: list[str]) -> Iterator[str]:
    line: list[str] = []
    length = 0
    for word in words:
        size = len(click.unstyle(word)) + 1
        if line and length + size > LINE_CHARS_MAX:
            yield " ".join(line)
            line, length = [], 0
        line.append(word)
        length += size
    if line:
        yield " ".join(line)


def _explain(hit: Hit) -> str:
    assert hit.explain
    words, meaning = hit.explain.words, hit.explain.meaning
    parts = ["asked for by its number"] if hit.explain.named else []
    parts += ["has the name as it is written"] if hit.explain.exact else []
    parts.append(
        f"{words.contribution:.4f} by words {words.rank}. (BM25 {words.score:.2f}: {', '.join(words.terms or ())})"
        if words
        else "not by words"
    )
    cosines = [each for each in (meaning.score, meaning.second) if each is not None] if meaning else []
    near = " and ".join(format(each, ".3f") for each in cosines)
    parts.append(
        f"{meaning.contribution:.4f} by meaning {meaning.rank}. (cosine {near})" if meaning else "not by meaning"
    )
    parts += [f"{hit.explain.unlisted:.4f} as the last that was found so"] if hit.explain.unlisted else []
    return f"{hit.score:.4f} = " + " + ".join(parts)


def freshness(result: SearchResult) -> str:
    """One line: how much of what was written this answer has seen."""
    arms = (("by words", result.as_of.words), ("by meaning", result.as_of.meaning))
    return "complete " + ", ".join(f"{name} {up_to(as_of)}" for name, as_of in arms if as_of is not None)


def up_to(as_of: AsOf) -> str:
    """How far a view is, in words. A time that is old is never shown as if it were of now."""
    if as_of.time is None or as_of.age_s is None:
        return "up to an unknown time (does `adriatic status` show the flows?)"
    shown = f"up to {as_of.time.astimezone():%H:%M:%S} ({as_of.age_s:.1f} s ago)"
    return shown if as_of.state == "fresh" else f"{shown}, {as_of.state}"
