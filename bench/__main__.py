"""`make bench`: figures of the running system, printed. `--json` for machines; name parts to measure only those.

`embed` and `recover` are measured only when they are named. Needs a running system (`make up`). Every load is bounded
in count and time and talks to this machine only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from adriatic.cli.status import collect
from adriatic.supervisor.supervisor import Files
from api.adrs.document import parse
from bench import cdc, chat, embed, events, feed, live, path, recover, rights, search, sharing, usage
from runtime.errors import NotFound
from runtime.settings import Settings, load

Figures = list[dict[str, Any]]

MEMORY_GOAL_MB = 2_000
"""For everything at rest. What one machine shows hangs on its kernel, its pages and its C library."""


def start(settings: Settings) -> Figures:
    """Seconds to ready, by part, the last time the system was started."""
    recorded = json.loads(Files(settings.home).start.read_text())
    return [{"part": "everything", "seconds": recorded["ready_s"]}] + [
        {"part": name, "seconds": seconds} for name, seconds in recorded["parts"].items()
    ]


def memory(settings: Settings) -> Figures:
    """Resident memory by process, as it is now. What processes share is counted once, where it can be told."""
    found = collect(settings)
    if found is None:
        raise NotFound("nothing runs here", hint="`make up` starts it")
    rows: Figures = [{"process": row.name, "MB": row.resident_bytes / 1e6} for row in found.parts if row.resident_bytes]
    everything = {"process": "all, with the supervisor", "MB": found.resident_bytes / 1e6}
    return [*rows, everything, {"process": "goal", "MB": MEMORY_GOAL_MB}]


def latency(settings: Settings) -> Figures:
    """From a commit to a topic, and to a result of a search, under a light load."""
    return [asdict(spread) for spread in path.latencies(settings)]


def imports(settings: Settings) -> Figures:
    """`adriatic import` of 100 records with 9 edits each, and how long until the last edit is found."""
    return [asdict(path.imports(settings))]


def capture(settings: Settings) -> Figures:
    """Change capture catching up with changes that are waiting in the WAL."""
    return [asdict(cdc.measure(settings))]


def lives(settings: Settings) -> Figures:
    """Live reads: from the commit of a view's row to the change at a client."""
    return [asdict(spread) for spread in live.deltas(settings)]


def withdrawals(settings: Settings) -> Figures:
    """What is deleted, until no kind of reader sees it; and a key that is withdrawn, until it opens nothing."""
    return [asdict(spread) for spread in rights.figures(settings)]


def searches(settings: Settings) -> Figures:
    """Over HTTP in the tenant `demo`; and what a search costs and finds by the size of the tenant, beside what a user
    would build."""
    titles = [parse(file.read_text()).title for file in sorted(path.DECISIONS.glob("0*.md"))]
    over_http = [asdict(spread) for spread in path.searches(settings, titles)]
    inside = list(search.measure(settings.postgres, settings.embedder))
    return [*over_http, *(asdict(row) for row in inside)]


def chats(settings: Settings) -> Figures:
    """POST /v1/chat/stream in the tenant `demo`, one at a time."""
    titles = [parse(file.read_text()).title for file in sorted(path.DECISIONS.glob("0*.md"))]
    with path.client(settings, path.tenant_id(settings, "demo")) as http:
        return [asdict(spread) for spread in chat.measure(http, titles, settings.llm.provider)]


def usage_events(settings: Settings) -> Figures:
    """Attempts in the ledger, until usage by hour, day, model, user and key has them."""
    return [asdict(usage.measure(settings))]


def outbox(settings: Settings) -> Figures:
    """Events, alone and a thousand in a transaction: into the database, into Kafka, and the bytes of each."""
    return [asdict(cost) for cost in events.measure(settings)]


def feeds(settings: Settings) -> Figures:
    """A feed of 100 000 signed records, with duplicates, reordering, deletes and poison, until the last is counted."""
    return feed.figures(settings)


def processes(settings: Settings) -> Figures:
    """Records a second of the flow `index`, with one process and with two."""
    return [asdict(rate) for rate in sharing.rates(settings)]


def rebalances(settings: Settings) -> Figures:
    """Lag of a steady load while a second process of the flow `index` joins, leaves, and is killed."""
    return [asdict(pause) for pause in sharing.pauses(settings)]


def embeddings(settings: Settings) -> Figures:
    """The model alone, and edits until they are found by meaning: alone, and while 10 000 texts of an import wait."""
    return embed.figures(settings)


def recoveries(settings: Settings) -> Figures:
    """`adriatic recover` with 1 000 and 100 000 sources, in seconds, whole and by step."""
    return recover.figures(settings)


PARTS: dict[str, Callable[[Settings], Figures]] = {
    "start": start,
    "memory": memory,
    "latency": latency,
    "import": imports,
    "live": lives,
    "rights": withdrawals,
    "cdc": capture,
    "events": outbox,
    "feed": feeds,
    "search": searches,
    "chat": chats,
    "usage": usage_events,
    "processes": processes,
    "rebalance": rebalances,
    "embed": embeddings,
    "recover": recoveries,
}
ASKED_FOR = frozenset({"embed", "recover"})
"""Measured only when they are named: the system is not ready meanwhile, or has much to do for long afterwards."""


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(parts: tuple[str, ...], as_json: bool) -> None:
    """Measure the running system: all parts but `embed` and `recover`, or those that are named."""
    settings = load()
    overview = collect(settings)
    if overview.verdict == "unknown":
        click.echo(f"there is nothing to measure: {overview.summary}", err=True)
        sys.exit(3)
    found: dict[str, Figures] = {}
    for name in parts or (each for each in PARTS if each not in ASKED_FOR):
        click.echo(f"measuring: {name}", err=True)
        found[name] = PARTS[name](settings)
        if not as_json:
            _print(PARTS[name].__doc__ or name, found[name])
    if as_json:
        click.echo(json.dumps(found, indent=1))


def _print(title: str, figures: Figures) -> None:
    click.echo(f"\n{title}")
    columns = list(dict.fromkeys(name for row in figures for name in row))
    lines = [columns, *([_cell(row.get(name)) for name in columns] for row in figures)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        first, *rest = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  " + "  ".join([first, *rest]))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
