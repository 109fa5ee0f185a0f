"""`adriatic dlq`: records that could not be processed, with their coordinates, the reason, and their own bytes.

Looking is free; deciding (redrive, drop) shows what it would do, and does it with `--yes`.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adriatic.cli.output import json_option, show
from adriatic.cli.people import name_actor
from runtime.errors import InvalidInput, NotFound
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from connectors.postgres.connections import Connection
    from dataflows.redrive import Coordinates, LetterFilter, RedriveSummary, Result

Command = TypeVar("Command", bound=Callable[..., Any])

ROWS_MAX = 1_000
"""Longest listing; whoever wants all of them reads ops.dlq."""
PREVIEW_BYTES = 256
DECIDED_MAX = 10_000
"""Most letters that one redrive or drop decides. Each is a transaction of a few milliseconds, and each holds up its
flow's partition."""

COUNT_KINDS = """
  select flow, topic, stage, code, count(*) as records, min(failed_at) as first, max(failed_at) as last
  from ops.dlq
  where state = %(state)s
    and (%(flow)s::text is null or flow = %(flow)s)
    and (%(topic)s::text is null or topic = %(topic)s)
    and (%(code)s::text is null or code = %(code)s)
  group by 1, 2, 3, 4
  order by records desc
"""
LIST_NEWEST = """
  select flow, topic, partition, record_offset as offset, tenant_id, stage, code, detail, attempts, failed_at
  from ops.dlq
  where state = %(state)s
    and (%(flow)s::text is null or flow = %(flow)s)
    and (%(topic)s::text is null or topic = %(topic)s)
    and (%(code)s::text is null or code = %(code)s)
  order by failed_at desc, topic, partition, record_offset
  limit %(limit)s
"""


@click.group()
def dlq() -> None:
    """Dead letters: list, show, redrive, drop."""


@dlq.command("list")
@click.option("--flow", "flow_name", help="Only of this flow.")
@click.option("--topic", help="Only of this topic.")
@click.option("--code", help="Only with this reason.")
@click.option("--state", type=click.Choice(["new", "redriven", "dropped"]), default="new", show_default=True)
@click.option("--limit", type=click.IntRange(1, ROWS_MAX), default=50, show_default=True)
@json_option()
def list_(flow_name: str | None, topic: str | None, code: str | None, state: str, limit: int, as_json: bool) -> None:
    """The newest dead letters, and how many there are of each kind."""
    arguments = {"flow": flow_name, "topic": topic, "code": code, "state": state, "limit": limit}
    kinds = _rows(COUNT_KINDS, arguments)
    letters = _rows(LIST_NEWEST, arguments)
    lines = [f"{kind['records']:6} {kind['stage']} {kind['code']}  {kind['flow']} ← {kind['topic']}" for kind in kinds]
    lines.append("" if letters else f"no dead letters in state {state}")
    for letter in letters:
        where_ = f"{letter['flow']}/{letter['topic']}/{letter['partition']}/{letter['offset']}"
        lines.append(f"{letter['failed_at']:%Y-%m-%d %H:%M:%S}  {where_}  {letter['code']}: {letter['detail']}")
    show(as_json, json.dumps({"kinds": kinds, "letters": letters}, default=str), lines)


_READ_RECORD = """
  select *
  from ops.dlq
  where flow = %(flow)s and topic = %(topic)s and partition = %(partition)s and record_offset = %(offset)s
"""


@dlq.command("show")
@click.argument("coordinates", metavar="FLOW/TOPIC/PARTITION/OFFSET")
@json_option()
def show_(coordinates: str, as_json: bool) -> None:
    """One dead letter: why, and the record itself. With --json its bytes are complete, in base64."""
    found = _rows(_READ_RECORD, _coordinates(coordinates))
    if not found:
        raise NotFound(f"no dead letter at {coordinates}", hint="`adriatic dlq list` prints coordinates")
    lines = (f"{name:14} {_format(value)}" for name, value in found[0].items())
    show(as_json, json.dumps(found[0], default=_json), lines)


def add_selection(command: Command) -> Command:
    """Arguments and options that say which letters, and how many."""
    for option in (
        json_option(),
        click.option("--yes", is_flag=True, help="Do it. Without, only say what would be done."),
        click.option("--limit", type=click.IntRange(1, DECIDED_MAX), default=1_000, show_default=True),
        click.option("--all", "everything", is_flag=True, help="Every undecided letter."),
        click.option("--code", help="Only letters with this reason, as `dlq list` prints it."),
        click.option("--topic", help="Only of this topic."),
        click.option("--flow", help="Only of this flow."),
        click.argument("coordinates", nargs=-1, metavar="[FLOW/TOPIC/PARTITION/OFFSET]..."),
    ):
        command = option(command)
    return command


@dlq.command()
@add_selection
@click.option("--rate", type=click.FloatRange(min=0), default=0, help="Records a second at most.  [default: no limit]")
def redrive(rate: float, yes: bool, as_json: bool, limit: int, **selected: Any) -> None:
    """Process dead letters again, by the flow that could not.

    Without --yes nothing is written: records are decoded and transformed, and what would be done is printed. With it,
    each letter's effects, its state and a line in ops.audit are one transaction, also beside a running flow. Stopped
    half-way, run it again: what is done is not done twice. A record that fails again stays, with the new reason; after
    5 attempts it is not tried any more. Exit code 1 when some failed.
    """
    from connectors.registry import RegistryClient
    from dataflows.catalog import build
    from dataflows.redrive import Redriver, Result, read

    selection = _selection(**selected)
    settings = load()
    with _connect(settings) as connection, RegistryClient(settings.registry) as registry:
        redriver = Redriver(connection, lambda name: build(name, settings), registry)

        def plan(at: Coordinates) -> Result:
            letter = read(connection, at)
            return Result(at, "skipped", "", "decided already") if letter is None else redriver.plan(letter)

        actor = name_actor()
        work = (lambda at: redriver.redrive(at, actor)) if yes else plan
        _decide(connection, selection, limit, work, rate=rate, yes=yes, as_json=as_json)


@dlq.command()
@add_selection
@click.option("--reason", required=True, help="Why, for whoever reads ops.audit.")
def drop(reason: str, yes: bool, as_json: bool, limit: int, **selected: Any) -> None:
    """Decide that dead letters are not processed. Their rows and bytes stay.

    Without --yes it only says which. State and a line in ops.audit are one transaction a letter.
    """
    from dataflows.redrive import Result, read
    from dataflows.redrive import drop as drop_one

    if not reason.strip():
        raise click.UsageError("--reason is empty")
    selection = _selection(**selected)
    with _connect(load()) as connection:

        def plan(at: Coordinates) -> Result:
            letter = read(connection, at)
            if letter is None:
                return Result(at, "skipped", "", "decided already")
            return Result(at, "would", letter.code, "would be dropped")

        actor = name_actor()
        work = (lambda at: drop_one(connection, at, actor, reason)) if yes else plan
        _decide(connection, selection, limit, work, yes=yes, as_json=as_json)


def _selection(
    coordinates: tuple[str, ...], flow: str | None, topic: str | None, code: str | None, everything: bool
) -> LetterFilter:
    from dataflows.redrive import Coordinates, LetterFilter

    letters = tuple(Coordinates(**_coordinates(text)) for text in coordinates)
    selection = LetterFilter(flow, topic, code, letters)
    if selection.all and not everything:
        raise click.UsageError("which letters? Coordinates, --flow, --topic, --code, or --all")
    if everything and not selection.all:
        raise click.UsageError("--all is every letter: leave out the rest")
    return selection


def _decide(
    connection: Connection,
    selection: LetterFilter,
    limit: int,
    work: Callable[[Coordinates], Result],
    *,
    yes: bool,
    as_json: bool,
    rate: float = 0.0,
) -> None:
    from dataflows.redrive import each, find

    account, letters = find(connection, selection, limit)
    if selection.letters and not account.scanned:
        raise NotFound("no such dead letter", hint="`adriatic dlq list` prints coordinates")
    try:
        for result in each(account, letters, work, rate):
            if not as_json:
                click.echo(f"{result.outcome:7} {result.letter}  {result.code}: {result.detail}")
    finally:  # also when something does not answer: what is done is done
        _summary(account, yes, as_json)
    if account.failed:
        sys.exit(1)


def _summary(account: RedriveSummary, yes: bool, as_json: bool) -> None:
    counts = {name: getattr(account, name) for name in ("scanned", "matched", "done", "failed", "skipped", "left")}
    if as_json:
        results = [
            {**each.letter._asdict(), "outcome": each.outcome, "code": each.code, "detail": each.detail}
            for each in account.results
        ]
        click.echo(json.dumps({"dry_run": not yes, **counts, "would": account.would, "results": results}))
        return
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()), err=True)
    if not account.complete:
        click.echo(f"incomplete: {account.left} not looked at, run it again for them", err=True)
    if account.would:
        click.echo(f"nothing was done: --yes does it for {account.would}", err=True)


def _connect(settings: Settings) -> Connection:
    """Not in a transaction: each letter has its own."""
    from connectors.postgres.connections import connect

    return connect(settings.postgres, name="adriatic-dlq", autocommit=True)


def _coordinates(text: str) -> dict[str, Any]:
    try:
        flow, topic, partition, offset = text.split("/")
        return {"flow": flow, "topic": topic, "partition": int(partition), "offset": int(offset)}
    except ValueError:
        raise InvalidInput(f"{text} is not FLOW/TOPIC/PARTITION/OFFSET") from None


def _rows(query: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from connectors.postgres.connections import connect
    from connectors.postgres.errors import translate

    with translate(), connect(load().postgres, name="adriatic-cli") as connection:
        return connection.cursor(row_factory=dict_row).execute(query, arguments).fetchall()


def _json(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _format(value: Any) -> str:
    if isinstance(value, bytes):
        more = " …" if len(value) > PREVIEW_BYTES else ""
        return f"{len(value)} bytes: {value[:PREVIEW_BYTES]!r}{more}"
    return "" if value is None else str(value)
