"""`adriatic tap`: records of any topic, decoded, without being anybody to the broker."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import Any, TypeVar

import click

from connectors.kafka.shown import (
    NO_MASKS,
    SIDES,
    Condition,
    Masks,
    RecordFilter,
    as_json,
    cells,
    line,
    pick,
    show,
)
from connectors.kafka.tap import Bound, Reading, Stopped, Tap, TapSummary
from connectors.registry import RegistryClient
from runtime.clock import SYSTEM_CLOCK
from runtime.settings import load
from schemas.codec import Decoder
from topics import catalog

Bounded = TypeVar("Bounded", int, float)

RECORDS_SHOWN = 100
"""Unless told otherwise. More than anybody reads on a screen."""
RECORDS_SCANNED_MAX = 1_000_000
"""Looked at, unless told otherwise. Small records are decoded at some 10 000 a second, so time is the nearer bound."""
SECONDS_MAX = 60.0
"""Length of a reading, unless told otherwise: as long as somebody waits for a prompt."""
LINE_CHARS = 200
"""Length of a record's line on a terminal; in a pipe lines are whole."""
STOPPED = {
    "end": "to the end",
    "limit": "stopped at --limit",
    "records": "stopped at --max-records",
    "time": "stopped at --timeout",
    "interrupted": "interrupted",
}
BOUND_HELP = "beginning, end, an offset, -15m, or a time in ISO 8601"


@click.command()
@click.argument("topic")
@click.option("--from", "start", metavar="WHERE", help=f"{BOUND_HELP}.  [default: beginning; with --follow: end]")
@click.option("--until", metavar="WHERE", default="end", help="Likewise, itself not included.  [default: end]")
@click.option("--partition", type=click.IntRange(min=0), help="Only this one.")
@click.option("--key", metavar="TEXT|FIELD=TEXT", help="Only records whose key has this text in a field.")
@click.option(
    "--where", "conditions", multiple=True, metavar="PATH=TEXT", help="Also != < <= > >= ~ (has). Repeatable."
)
@click.option("--columns", metavar="PATH,…", help="Only these, as a table: op,after.title,headers.adriatic.pos")
@click.option("--limit", type=click.IntRange(min=0), help=f"Records to show, 0: all.  [default: {RECORDS_SHOWN}]")
@click.option("--max-records", type=click.IntRange(min=0), help=f"To look at.  [default: {RECORDS_SCANNED_MAX}]")
@click.option("--timeout", type=click.FloatRange(min=0), help=f"Seconds.  [default: {SECONDS_MAX:g}]")
@click.option("--follow", is_flag=True, help="Go on with new records until Ctrl-C; only bounds that you give count.")
@click.option("--unmask", is_flag=True, help="Show personal data.")
@click.option("--json", is_flag=True, help="One JSON object a line.")
def tap(
    topic: str,
    start: str | None,
    until: str,
    partition: int | None,
    key: str | None,
    conditions: tuple[str, ...],
    columns: str | None,
    limit: int | None,
    max_records: int | None,
    timeout: float | None,
    follow: bool,
    unmask: bool,
    json: bool,
) -> None:
    """Show records of TOPIC: its Avro decoded, tombstones and undecodable bytes shown as what they are.

    It joins no consumer group and commits nothing. What the topic's file declares as personal data is masked, and a
    topic without a file as a whole. A PATH leads into the record: value.after.title, or after.title for short,
    key.adr_id, partition, offset, timestamp, headers.NAME. How much was looked at, and whether that was all, is said
    on standard error.
    """
    if follow and until != "end":
        raise click.UsageError("--follow has no end: leave out --until")
    now = SYSTEM_CLOCK.now()
    topics = catalog.load()
    masks = NO_MASKS if unmask else Masks.of(topic, topics)
    selection = RecordFilter(tuple(Condition.parse(text) for text in conditions), key)
    selection.refuse_hidden(masks)
    reading = Reading(
        topic=topic,
        start=Bound.parse(start or ("end" if follow else "beginning"), now),
        until=Bound.parse(until, now),
        partition=partition,
        follow=follow,
        records_max=_default(max_records, 0 if follow else RECORDS_SCANNED_MAX),
        seconds_max=_default(timeout, 0.0 if follow else SECONDS_MAX),
    )
    if topic not in topics and masks.any:
        click.echo(f"no file in topics/ declares {topic}: all of it is masked, --unmask shows it", err=True)
    printer = Printer(columns.split(",") if columns else [], json)
    stopped = _run(reading, selection, masks, printer, _default(limit, 0 if follow else RECORDS_SHOWN))
    if stopped == "interrupted" and not follow:
        sys.exit(130)


def _default(given: Bounded | None, default: Bounded) -> Bounded:
    return default if given is None else given


def _run(reading: Reading, selection: RecordFilter, masks: Masks, printer: Printer, limit: int) -> Stopped:
    """Read, print, and say what was looked at, however it ends."""
    settings = load()
    tapped = Tap(settings.kafka, reading)
    account = tapped.account
    began_s = SYSTEM_CLOCK.monotonic()
    undecodable = 0
    with RegistryClient(settings.registry) as registry, closing(tapped.records()) as records:
        decoders = {side: Decoder(registry) for side in SIDES}
        try:
            for record in records:
                shown = show(record, decoders, masks)
                undecodable += bool(shown["errors"])
                if not selection.takes(record, shown):
                    continue
                printer.print(shown)
                if limit and printer.printed >= limit:
                    account.stopped = "limit"
                    break
        except KeyboardInterrupt:
            account.stopped = "interrupted"
        except BrokenPipeError:  # `adriatic tap … | head`: who read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            account.stopped = "interrupted"
        finally:
            _say(account, printer.printed, undecodable, SYSTEM_CLOCK.monotonic() - began_s)
    return account.stopped


def _say(account: TapSummary, matched: int, undecodable: int, took_s: float) -> None:
    click.echo(
        f"scanned {account.scanned} records of {account.partitions} partitions in {took_s:.1f} s, "
        f"{matched} shown, {undecodable} undecodable; {STOPPED[account.stopped]}",
        err=True,
    )
    if left := sum(account.left.values()):
        click.echo(f"not looked at: {left} offsets up to the end of {len(account.left)} partitions", err=True)


class Printer:
    """Records to standard output, a line each, at once: somebody watches."""

    def __init__(self, columns: list[str], json: bool) -> None:
        self.printed = 0
        self._columns = columns
        self._json = json
        self._width = LINE_CHARS if sys.stdout.isatty() else 0
        if columns and not json:
            click.echo("\t".join(columns))

    def print(self, shown: dict[str, Any]) -> None:
        self.printed += 1
        click.echo(self._line(shown))

    def _line(self, shown: dict[str, Any]) -> str:
        if self._json:
            return as_json(pick(shown, self._columns) if self._columns else shown)
        if self._columns:
            return "\t".join(cells(shown, self._columns))
        return line(shown, self._width)
