"""`adriatic dlq`: records that could not be processed, with their coordinates, the reason, and their own bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import click

from adriatic.errors import InvalidInput, NotFound
from adriatic.settings import load

ROWS_MAX = 1_000
"""Of one listing; whoever wants all of them reads ops.dlq."""
PREVIEW_BYTES = 256

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def dlq() -> None:
    """Dead letters: list, show."""


@dlq.command("list")
@click.option("--flow", "flow_name", help="Only of this flow.")
@click.option("--state", type=click.Choice(["new", "redriven", "dropped"]), default="new", show_default=True)
@click.option("--limit", type=click.IntRange(1, ROWS_MAX), default=50, show_default=True)
@json_option
def list_(flow_name: str | None, state: str, limit: int, as_json: bool) -> None:
    """The newest dead letters, and how many there are of each kind."""
    arguments = {"flow": flow_name, "state": state, "limit": limit}
    kinds = _rows(
        "select flow, topic, stage, code, count(*) as records, min(failed_at) as first, max(failed_at) as last "
        "from ops.dlq where state = %(state)s and (%(flow)s::text is null or flow = %(flow)s) "
        "group by 1, 2, 3, 4 order by records desc",
        arguments,
    )
    letters = _rows(
        "select flow, topic, partition, record_offset as offset, tenant_id, stage, code, detail, attempts, failed_at "
        "from ops.dlq where state = %(state)s and (%(flow)s::text is null or flow = %(flow)s) "
        "order by failed_at desc, topic, partition, record_offset limit %(limit)s",
        arguments,
    )
    if as_json:
        click.echo(json.dumps({"kinds": kinds, "letters": letters}, default=str))
        return
    if not letters:
        click.echo(f"no dead letters in state {state}")
        return
    for kind in kinds:
        click.echo(f"{kind['records']:6} {kind['stage']} {kind['code']}  {kind['flow']} ← {kind['topic']}")
    click.echo()
    for letter in letters:
        where_ = f"{letter['flow']}/{letter['topic']}/{letter['partition']}/{letter['offset']}"
        click.echo(f"{letter['failed_at']:%Y-%m-%d %H:%M:%S}  {where_}  {letter['code']}: {letter['detail']}")


@dlq.command()
@click.argument("coordinates", metavar="FLOW/TOPIC/PARTITION/OFFSET")
@json_option
def show(coordinates: str, as_json: bool) -> None:
    """One dead letter: why, and the record itself. With --json its bytes are complete, in base64."""
    found = _rows(
        "select * from ops.dlq where flow = %(flow)s and topic = %(topic)s and partition = %(partition)s "
        "and record_offset = %(offset)s",
        _coordinates(coordinates),
    )
    if not found:
        raise NotFound(f"no dead letter at {coordinates}", hint="`adriatic dlq list` prints coordinates")
    letter = found[0]
    if as_json:
        click.echo(json.dumps(letter, default=_json))
        return
    for name, value in letter.items():
        click.echo(f"{name:14} {_shown(value)}")


def _coordinates(text: str) -> dict[str, Any]:
    try:
        flow, topic, partition, offset = text.split("/")
        return {"flow": flow, "topic": topic, "partition": int(partition), "offset": int(offset)}
    except ValueError:
        raise InvalidInput(f"{text} is not FLOW/TOPIC/PARTITION/OFFSET") from None


def _rows(query: Any, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row

    from connectors.postgres.sink import connect, mapped

    with mapped(), connect(load().postgres, name="adriatic-cli") as connection:
        return connection.cursor(row_factory=dict_row).execute(query, arguments).fetchall()


def _json(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        more = " …" if len(value) > PREVIEW_BYTES else ""
        return f"{len(value)} bytes: {value[:PREVIEW_BYTES]!r}{more}"
    return "" if value is None else str(value)
