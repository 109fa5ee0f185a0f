"""What an import shows: a bar or lines while it runs, and the summary at its end.

Owns the wording. Refuses to compute: the counts are the server's, the times are measured by `searchable`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import click
import msgspec

from adriatic.cli.output import hide_controls
from adriatic.cli.searchable import Watched
from adriatic.cli.sending import Sent
from api.adrs.document import Oddity, Role
from api.imports.freshness import Arm, Freshness
from api.imports.schemas import Tally
from runtime.clock import SYSTEM_CLOCK

LINE_EVERY_S = 2.0
"""How often progress is a line where there is no terminal."""
SAME_LINE_EVERY_S = 20.0
"""A line that says the same again only shows that somebody is still waiting."""
EXAMPLES_SHOWN = 2
TEXT_ODDITIES = frozenset((*get_args(Oddity), *get_args(Role)))
"""How people write, as opposed to what became of a change: counted, without examples."""


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """One source, imported. `search` is None when nobody waited."""

    tenant: str
    sent: Sent
    search: Watched | None


# ---------------------------------------------------------------------------------------------------------- progress


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is called with how many more are done: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        with _bar(title, total) as moved:
            yield moved
        return
    began_s = shown_s = SYSTEM_CLOCK.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, shown_s
        done += count
        now_s = SYSTEM_CLOCK.monotonic()
        if now_s - shown_s >= LINE_EVERY_S:
            shown_s = now_s
            click.echo(f"{title}: {done} of {total}, {tell_rate(done / (now_s - began_s))}", err=True)

    yield advance


def tell_rate(a_second: float) -> str:
    """A rate a second, or a minute where it is slower than one a second."""
    return f"{a_second:.0f}/s" if a_second >= 1 else f"{a_second * 60:.0f}/min"


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(tell_rate(task.speed) if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


@contextmanager
def show_waiting() -> Iterator[Callable[[int, int], None]]:
    """Yields what is called with how many ADRs cannot be found yet, by words and by meaning."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("waiting until it is searchable …") as status:
            yield lambda words, meaning: status.update(f"not yet searchable: {words} by words, {meaning} by meaning")
        return
    shown_s, shown = SYSTEM_CLOCK.monotonic(), ""

    def show(words: int, meaning: int) -> None:
        nonlocal shown_s, shown
        line = f"not yet searchable: {words} by words, {meaning} by meaning"
        every_s = LINE_EVERY_S if line != shown else SAME_LINE_EVERY_S
        if (words or meaning) and SYSTEM_CLOCK.monotonic() - shown_s >= every_s:
            shown_s, shown = SYSTEM_CLOCK.monotonic(), line
            click.echo(line, err=True)

    yield show


# ----------------------------------------------------------------------------------------------------------- summary


def as_json(outcomes: list[ImportOutcome]) -> bytes:
    return msgspec.json.encode([_plain(outcome) for outcome in outcomes])


def count_left_out(outcome: ImportOutcome) -> int:
    """Entries of the source that are not in the log and should be: refused by the server, or not readable here. A
    symbolic link is passed over by rule, in every run of the same history: that is reported, and no failure."""
    assert outcome.sent.finished is not None
    unread = (tally for code, tally in outcome.sent.unread.items() if code != "symbolic-link")
    tallies = (*unread, *outcome.sent.finished.report.refused.values())
    return sum(tally.count for tally in tallies)


def _plain(outcome: ImportOutcome) -> dict[str, Any]:
    sent, search = outcome.sent, outcome.search
    assert sent.finished is not None
    return {
        "tenant": outcome.tenant or None,
        "source": sent.source.name,
        "kind": sent.source.kind,
        "report": sent.finished.report,
        "unread": sent.unread,
        "totals": sent.finished.totals,
        "took_s": round(sent.took_s, 3),
        "events_per_s": _rate(sent),
        "searchable": None if search is None else {"words_s": search.words_s, "meaning_s": search.meaning_s},
        "freshness": None if search is None else search.freshness,
    }


def _rate(sent: Sent) -> float:
    return round(sent.events / sent.took_s, 1) if sent.took_s else 0.0


def as_text(outcomes: list[ImportOutcome]) -> str:
    parts = ["\n".join(_lines(outcome)) for outcome in outcomes]
    return "\n\n".join([*parts, "\n".join(_together(outcomes))] if len(outcomes) > 1 else parts)


def _together(outcomes: list[ImportOutcome]) -> Iterator[str]:
    """What adds up over several sources. Percentiles do not: each has its own above."""
    events = sum(outcome.sent.events for outcome in outcomes)
    took_s = sum(outcome.sent.took_s for outcome in outcomes)
    yield f"together: {len(outcomes)} sources, {events} changes, {events / took_s if took_s else 0:.0f} changes/s"
    # Several sources of one tenant have that tenant's one count.
    saved = {
        outcome.tenant: outcome.search.freshness.embeddings
        for outcome in outcomes
        if outcome.search and outcome.search.freshness
    }
    chunks = sum(each.edit_chunks for each in saved.values())
    if chunks:
        known = sum(each.edit_chunks_known for each in saved.values())
        yield f"embeddings avoided on edits: {known / chunks:.1%} ({known} of {chunks} passages)"


def _lines(outcome: ImportOutcome) -> Iterator[str]:
    sent = outcome.sent
    assert sent.finished is not None
    report, totals = sent.finished.report, sent.finished.totals
    refused = sum(tally.count for tally in report.refused.values())
    yield f"{sent.source.name} → {outcome.tenant or 'the tenant of the token'}, log {report.log}"
    for note in sent.source.notes():
        yield f"  note        {note}"
    yield (
        f"  changes     {report.events} received: {report.applied} applied, {report.skipped} skipped (here already), "
        f"{refused} refused; {_rate(sent):.0f} changes/s"
    )
    yield from _tallies("unreadable", sent.unread)
    yield from _tallies("refused", report.refused)
    yield from _tallies("odd", {code: tally for code, tally in report.odd.items() if code not in TEXT_ODDITIES})
    if texts := {code: tally for code, tally in report.odd.items() if code in TEXT_ODDITIES}:
        yield f"  in texts    {', '.join(f'{tally.count} × {code}' for code, tally in _by_count(texts))}"
    yield (
        f"  in the log  {totals.live} ADRs ({totals.numbered} numbered), {totals.deleted} deleted, "
        f"{totals.versions} versions, {totals.links} links of which {totals.links_resolved} lead to an ADR here"
    )
    if outcome.search is not None:
        yield from _search(outcome.search)


def _tallies(name: str, tallies: Mapping[str, Tally]) -> Iterator[str]:
    for code, tally in _by_count(tallies):
        yield f"  {name:<11} {tally.count} × {code}"
        for each in tally.examples[:EXAMPLES_SHOWN]:
            at = f" @ {each.ref[:10]}" if each.ref else ""
            yield f"              {hide_controls(each.path)}{at}: {hide_controls(each.detail)}"


def _by_count(tallies: Mapping[str, Tally]) -> list[tuple[str, Tally]]:
    return sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))


def _search(search: Watched) -> Iterator[str]:
    if search.freshness is None:
        return
    if search.done and not (search.freshness.words.counted or search.freshness.meaning.counted):
        yield "  searchable  nothing new"  # the seconds would be those of looking, and not of becoming findable
        yield from _say_saved(search.freshness)
        return
    found = [
        f"by {arm} {seconds:.1f} s" if seconds is not None else f"by {arm} not yet"
        for arm, seconds in (("words", search.words_s), ("meaning", search.meaning_s))
    ]
    yield f"  searchable  {', '.join(found)} after the last write"
    if not search.done:
        yield "              nothing moves any more, or not fast enough: `adriatic status` says what is behind"
    yield from _freshness(search.freshness)


def _freshness(freshness: Freshness) -> Iterator[str]:
    yield f"  freshness   by words    {_percentiles(freshness.words)}"
    yield f"              by meaning  {_percentiles(freshness.meaning)}"
    yield "              (written → findable; versions that were replaced before they could be found are not counted)"
    yield from _say_saved(freshness)


def _say_saved(freshness: Freshness) -> Iterator[str]:
    saved = freshness.embeddings
    if saved.avoided is not None:
        yield (
            f"  embeddings  {saved.avoided:.1%} avoided on edits: {saved.edit_chunks_known} of {saved.edit_chunks} "
            f"passages of {saved.edits} edits were known (this tenant, since its start)"
        )


def _percentiles(arm: Arm) -> str:
    waiting = f", {arm.waiting} still waiting" if arm.waiting else ""
    if arm.p50_s is None or arm.p95_s is None or arm.p99_s is None:
        return f"nothing new{waiting}"
    return f"p50 {arm.p50_s:.2f} s, p95 {arm.p95_s:.2f} s, p99 {arm.p99_s:.2f} s of {arm.counted} ADRs{waiting}"
