"""`adriatic live`: a view in the terminal, as it moves.

Owns how rows look while they change, and going on after a connection breaks. Refuses to read tables or topics by
itself: what it shows is what any client of the API gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adriatic.cli.output import json_option
from adriatic.cli.where import Where, where_options

if TYPE_CHECKING:
    from rich.table import Table

    from adriatic.cli.remote import Remote
    from connectors.llm.sse import ServerEvent

ROWS_SHOWN_MAX = 30
"""Rows of a table that moves on a screen; `--json` has every row."""
CELL_CHARS_MAX = 60
REFRESH_PER_S = 8.0

Row = dict[str, Any]


@click.command("live")
@click.argument("view")
@click.option("--for", "for_s", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Stop after so long.")
@where_options
@json_option("Print each event as one line of JSON.")
def live(view: str, for_s: float, where: Where, as_json: bool) -> None:
    """Show a view's rows, and each change of them as it comes.

    It goes on by itself when the connection breaks, without a gap and without a repetition. Ctrl-C ends it.

    \b
    adriatic live entity_counts                        a table that moves
    adriatic live activity --for 60 --json             each event of one minute as a line
    adriatic live activity --json | jq -c 'select(.event == "delta").data'
    """

    with where.connect() as remote:
        read = follow(remote, view, for_s)
        if as_json:
            for event in read:
                click.echo(json_line(event))
        else:
            _show(view, read)


def follow(remote: Remote, view: str, for_s: float) -> Iterator[ServerEvent]:
    """Events over any number of connections, for so many seconds (0: for ever).

    Raises what the API says when it refuses, and `DependencyUnavailable` when it stays away for longer than a restart
    takes.
    """
    from urllib.parse import quote

    from adriatic.cli.remote import OUTAGE_S_MAX
    from runtime.clock import SYSTEM_CLOCK
    from runtime.deadline import Deadline, backoff_s
    from runtime.errors import DependencyUnavailable

    ends = Deadline.after(for_s) if for_s else None
    last, pauses, patience = "", backoff_s(), Deadline.after(OUTAGE_S_MAX)
    while ends is None or not ends.passed:
        try:
            with remote.follow(f"/v1/live/{quote(view, safe='')}", last) as events:
                for event in events:
                    last, pauses, patience = event.id, backoff_s(), Deadline.after(OUTAGE_S_MAX)
                    yield event
                    if ends is not None and ends.passed:
                        return
        except DependencyUnavailable:
            if patience.passed:
                raise
        SYSTEM_CLOCK.sleep(min(next(pauses), ends.left_s if ends else OUTAGE_S_MAX))


def json_line(event: ServerEvent) -> str:
    data = msgspec.Raw(event.data)
    return msgspec.json.encode({"event": event.name, "id": event.id, "data": data}).decode()


class Picture:
    """What a client makes of the events of a view: its rows by key. Pure. `changes` counts deltas, `starts` snapshots;
    `complete`: the whole snapshot has come."""

    def __init__(self) -> None:
        self.changes = 0
        self.starts = 0
        self.complete = False
        self.as_of: Mapping[str, Any] = {"state": "unknown"}
        self.waits_for: list[str] = []
        self.last_id: str | None = None
        self._unkeyed: list[Row] = []
        self._rows: dict[tuple[Any, ...], Row] = {}

    @property
    def rows(self) -> list[Row]:
        """The rows so far; those that changed last are at the end."""
        return [*self._unkeyed, *self._rows.values()]

    def take(self, event: ServerEvent) -> None:
        """One event. Raises `ValueError` for one that no stream may send here."""
        data = msgspec.json.decode(event.data)
        match event.name:
            case "reset":
                self.complete = False
                self._unkeyed, self._rows = [], {}
            case "snapshot":
                self._take_page(data)
            case "delta":
                self._change(data["op"], data["key"], data["row"])
            case "watermark":
                self.as_of, self.waits_for = data["as_of"], data["waits_for"]
        self.last_id = event.id or self.last_id

    def _take_page(self, data: Mapping[str, Any]) -> None:
        if self.complete:
            raise ValueError("a second snapshot without a reset")
        self._unkeyed += data["rows"]
        self.complete = not data["more"]
        self.starts += self.complete
        self.as_of = data["as_of"]

    def _change(self, op: str, key: Row, row: Row | None) -> None:
        if not self.complete:
            raise ValueError("a change before the snapshot")
        # The names of the key's columns come with a change; until then rows have no need of a key.
        self._rows |= {tuple(each[name] for name in key): each for each in self._unkeyed}
        self._unkeyed = []
        self.changes += 1
        place = tuple(key.values())
        before = self._rows.pop(place, {})
        if op != "delete":
            self._rows[place] = before | (row or {})


def _show(view: str, events: Iterator[ServerEvent]) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    console, picture = Console(), Picture()
    if not console.is_terminal:
        for event in events:
            picture.take(event)
        console.print(table(view, picture))
        console.print(caption(picture), soft_wrap=True)
        return
    with Live(console=console, refresh_per_second=REFRESH_PER_S) as screen:
        for event in events:
            picture.take(event)
            screen.update(Group(table(view, picture), caption(picture)))


def table(view: str, picture: Picture) -> Table:
    from rich.table import Table

    shown = picture.rows[: -ROWS_SHOWN_MAX - 1 : -1]
    made = Table(title=view, title_justify="left")
    for name in shown[0] if shown else ("no rows",):
        made.add_column(name)
    for row in shown:
        made.add_row(*(_cell(value) for value in row.values()))
    return made


def caption(picture: Picture) -> str:
    """How much there is, and how far it is."""
    shown = min(len(picture.rows), ROWS_SHOWN_MAX)
    age = picture.as_of.get("age_s")
    state = picture.as_of["state"] + (f", {age:.1f} s old" if age is not None else "")
    away = f", waits for {', '.join(picture.waits_for)}" if picture.waits_for else ""
    return f"{shown} of {len(picture.rows)} rows, {picture.changes} changes, {state}{away}"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"
