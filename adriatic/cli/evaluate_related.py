"""`adriatic eval related`: does the running system find what people linked, when the links are taken out?

Owns the tenants of this evaluation (`eval-rel-…`) and its table. The ADRs go in without their links, by the import that
everybody uses, and their lists are read over HTTP: what is measured is the system. Then the links are set through the
API, and the lists are read again: what links add. Refuses to tune anything. The task is in `api/adrs/linked.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click
import msgspec

from adriatic.cli.evaluate import (
    PAGE,
    EvaluatedHistory,
    compare_with,
    end_with,
    evaluate,
    evaluation_options,
    import_corpora,
    open_histories,
    read_earlier,
)
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline
from runtime.errors import DependencyUnavailable, InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from adriatic.cli.evaluation_against import Compared, Measurement
    from adriatic.cli.remote import Remote
    from api.adrs.linked import LinkedAdr, LinkScores, Measured

PREFIX: Final = "rel-"
WAYS: Final = ("bm25", "blind", "linked")
"""Plain BM25; what the system serves without knowing the links; and knowing them."""
WAIT_S_MAX: Final = 120.0
"""Longest wait for the lists to follow what search shows. A list takes milliseconds; longer than this, the flow is
down."""
POLL_S: Final = 0.25


@dataclass(slots=True)
class LinkedHistory:
    """One history: its items, what was measured on the way, and the corpus that goes in."""

    corpus: EvaluatedHistory
    items: list[LinkedAdr]
    found: dict[str, list[Measured]] = field(default_factory=dict)

    @property
    def links(self) -> int:
        return sum(len(item.links) for item in self.items)


@evaluate.command("related")
@evaluation_options
def related(paths: tuple[Path, ...], keep: bool, against: Path | None, as_json: bool) -> None:
    """Find the ADRs that each ADR is linked with, after the links were taken out of all texts.

    \b
    adriatic eval related                              this project's own decisions
    adriatic eval related --data histories/            every .jsonl(.gz) file in it, each as a history of its own

    Prints recall@5 and MRR of plain BM25, of the lists that the system serves without the links (blind), and with them.
    Each history gets a tenant, whose ADRs are deleted again.
    """
    from api.adrs.linked import bm25, measure

    settings = load()
    earlier = read_earlier(against, "related")
    histories = list(_read(settings, paths))
    if not any(one.links for one in histories):
        raise InvalidInput("no ADR links to another one", hint="name a folder of decision records by --data")
    with import_corpora(settings, [one.corpus for one in histories], keep=keep, prefix=PREFIX) as remotes:
        ids = [read_ids(remote) for remote in remotes]
        for one, remote, of in zip(histories, remotes, ids, strict=True):
            one.found["bm25"] = measure(one.items, bm25(one.items))
            one.found["blind"] = measure(one.items, _lists(one, remote, of))
        for one, remote, of in zip(histories, remotes, ids, strict=True):
            _set_links(one, remote, of)
            one.found["linked"] = measure(one.items, _lists(one, remote, of))
    measured = _measurements(histories)
    compared = compare_with(earlier, measured)
    click.echo(_as_json(histories, measured, compared) if as_json else "\n".join(table(histories)))
    end_with(compared, "recall@5", as_json=as_json)


def _read(settings: Settings, paths: Sequence[Path]) -> Iterator[LinkedHistory]:
    from api.adrs.linked import items
    from api.search.known_item import KnownItem as Text

    for name, source in open_histories(settings, paths):
        if found := items(source.changes()):
            yield LinkedHistory(EvaluatedHistory(name, [Text(item.path, None, item.text) for item in found]), found)


# --- the system -----------------------------------------------------------------------------------------------------


def read_ids(remote: Remote) -> dict[int, UUID]:
    """Which ADR each item became, by the number that its file name had."""
    from api.adrs.schemas import AdrPage

    ids: dict[int, UUID] = {}
    cursor = None
    while True:
        page = remote.request("GET", "/v1/adrs", AdrPage, limit=PAGE, cursor=cursor)
        ids |= {adr.number - 1: adr.adr_id for adr in page.items if adr.number is not None}
        cursor = page.next_cursor
        if cursor is None:
            return ids


def _lists(one: LinkedHistory, remote: Remote, ids: Mapping[int, UUID]) -> list[list[int]]:
    """The list of each item, as it is served once everything written before now is in it."""
    from adriatic.cli import import_view as view
    from api.adrs.related import RelatedAdrs

    _await(remote, ids[0], SYSTEM_CLOCK.now())
    items = {adr_id: at for at, adr_id in ids.items()}
    lists: list[list[int]] = []
    with view.progress(f"asking {one.corpus.name}", len(one.items)) as progress:
        for at in range(len(one.items)):
            answer = remote.request("GET", f"/v1/adrs/{ids[at]}/related", RelatedAdrs)
            lists.append([items[each.id] for each in answer.related])
            progress(1)
    return lists


def _await(remote: Remote, adr_id: UUID, written: datetime) -> None:
    from api.adrs.related import RelatedAdrs

    deadline = Deadline.after(WAIT_S_MAX)
    while True:
        as_of = remote.request("GET", f"/v1/adrs/{adr_id}/related", RelatedAdrs).as_of
        if as_of.time is not None and as_of.time >= written:
            return
        if deadline.passed:
            raise DependencyUnavailable(
                "the lists of related ADRs do not follow", hint="`adriatic status` shows which part waits"
            )
        SYSTEM_CLOCK.sleep(POLL_S)


def _set_links(one: LinkedHistory, remote: Remote, ids: Mapping[int, UUID]) -> None:
    from api.adrs.schemas import Link, NewLink

    for at, item in enumerate(one.items):
        for other, kind in item.links:
            remote.request("PUT", f"/v1/adrs/{ids[at]}/links", Link, body=NewLink(kind, str(ids[other])))


# --- the result -----------------------------------------------------------------------------------------------------


def _of(histories: Sequence[LinkedHistory]) -> dict[str, LinkScores]:
    from api.adrs.linked import scores

    return {way: scores([each for one in histories for each in one.found[way]]) for way in WAYS}


def _measurements(histories: Sequence[LinkedHistory]) -> list[Measurement]:
    """The recall of each list that has something to hold, by way."""
    from adriatic.cli.evaluation_against import Measurement

    return [
        Measurement(one.corpus.name, item.path, {way: one.found[way][at][0] for way in WAYS})
        for one in histories
        for at, item in enumerate(item for item in one.items if item.linked)
    ]


def _as_json(
    histories: Sequence[LinkedHistory], measured: Sequence[Measurement] = (), compared: Compared | None = None
) -> bytes:
    def figures(some: Sequence[LinkedHistory]) -> dict[str, Any]:
        return {
            "adrs": sum(len(one.items) for one in some),
            "links": sum(one.links for one in some),
            **_of(some),
        }

    return msgspec.json.encode(
        {
            "task": "related",
            "histories": [{"name": one.corpus.name, **figures([one])} for one in histories],
            "overall": figures(histories),
            "measurements": measured,
            "against": compared,
        }
    )


def table(histories: Sequence[LinkedHistory]) -> Iterator[str]:
    width = max(len("recall@5 / MRR"), *(len(one.corpus.name) for one in histories))
    yield f"{'recall@5 / MRR':<{width}}  {'ADRs':>5}  {'links':>5}  {'asked':>5}" + "".join(
        f"  {way:>13}" for way in WAYS
    )
    for name, some in (*((one.corpus.name, [one]) for one in histories), ("overall", histories)):
        found = _of(some)
        adrs, links = sum(len(one.items) for one in some), sum(one.links for one in some)
        cells = "".join(f"  {found[way].recall:.3f} / {found[way].mrr:.3f}" for way in WAYS)
        yield f"{name:<{width}}  {adrs:>5}  {links:>5}  {found['bm25'].queries:>5}{cells}"
    overall = _of(histories)
    yield ""
    for way in WAYS:
        each = overall[way]
        yield (
            f"{way:<6} recall@5 {each.recall:.3f} (95 % of resamples: {each.low:.3f} to {each.high:.3f}), "
            f"MRR {each.mrr:.3f}"
        )
    blind, plain, linked = overall["blind"], overall["bm25"], overall["linked"]
    yield (
        f"blind to BM25: recall@5 {blind.recall - plain.recall:+.3f}, MRR {blind.mrr - plain.mrr:+.3f}; "
        f"without the links against with them: {blind.recall - linked.recall:+.3f}, {blind.mrr - linked.mrr:+.3f}"
    )
