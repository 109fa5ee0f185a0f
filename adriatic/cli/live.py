"""`adriatic live`: a view in the terminal, as it moves.

Owns how rows look while they change, and going on after a connection breaks. Refuses to read tables or topics by
itself: what it shows is what any client of the API gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adriatic.cli.where import Where, where_options

if TYPE_CHECKING:
    from rich.table import Table

    from adriatic.cli.remote import Remote
    from connectors.llm.sse import ServerEvent

ROWS_SHOWN_MAX = 30
"""Rows of a table that moves on a screen; `--json` has every row."""
CELL_CHARS_MAX = 60
REFRESH_PER_S = 8.0


@click.command("live")
@click.argument("view")
@click.option("--for", "for_s", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Stop after so long.")
@where_options
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
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


class Rows:
    """What a client makes of the events: rows by key."""

    def __init__(self) -> None:
        self.rows: dict[bytes, dict[str, Any]] = {}
        self.as_of: dict[str, Any] = {"state": "unknown"}
        self.waits_for: list[str] = []
        self.changes = 0
        self._key: list[str] = []
        self._unkeyed: list[dict[str, Any]] = []

    def take(self, event: ServerEvent) -> None:
        data = msgspec.json.decode(event.data)
        if event.name == "reset":
            self.rows.clear()
            self._unkeyed.clear()
        elif event.name == "snapshot":
            self.as_of = data["as_of"]
            self._unkeyed += data["rows"]
            self._file()
        elif event.name == "delta":
            self._key = list(data["key"])
            self._file()
            self._change(data)
        elif event.name == "watermark":
            self.as_of, self.waits_for = data["as_of"], data["waits_for"]

    def _change(self, data: dict[str, Any]) -> None:
        self.changes += 1
        key = _key(data["key"])
        if data["op"] == "delete":
            self.rows.pop(key, None)
        else:
            # What changed comes to the end, where a screen shows it first.
            self.rows[key] = self.rows.pop(key, {}) | data["row"]

    def _file(self) -> None:
        """The names of the key's columns come with the first change; until then rows have no need of a key."""
        if self._key:
            for row in self._unkeyed:
                self.rows[_key({name: row[name] for name in self._key})] = row
            self._unkeyed.clear()

    def newest(self, rows_max: int) -> list[dict[str, Any]]:
        """The rows that changed last come first."""
        rows = [*self._unkeyed, *self.rows.values()]
        return rows[: -rows_max - 1 : -1]

    def __len__(self) -> int:
        return len(self.rows) + len(self._unkeyed)


def _key(key: dict[str, Any]) -> bytes:
    return msgspec.json.encode(key)


def _show(view: str, events: Iterator[ServerEvent]) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    console, rows = Console(), Rows()
    if not console.is_terminal:
        for event in events:
            rows.take(event)
        console.print(table(view, rows))
        console.print(caption(rows), soft_wrap=True)
        return
    with Live(console=console, refresh_per_second=REFRESH_PER_S) as screen:
        for event in events:
            rows.take(event)
            screen.update(Group(table(view, rows), caption(rows)))


def table(view: str, rows: Rows) -> Table:
    from rich.table import Table

    shown = rows.newest(ROWS_SHOWN_MAX)
    made = Table(title=view, title_justify="left")
    for name in shown[0] if shown else ("no rows",):
        made.add_column(name)
    for row in shown:
        made.add_row(*(_cell(value) for value in row.values()))
    return made


def caption(rows: Rows) -> str:
    """How much there is, and how far it is."""
    shown = min(len(rows), ROWS_SHOWN_MAX)
    age = rows.as_of.get("age_s")
    state = rows.as_of["state"] + (f", {age:.1f} s old" if age is not None else "")
    away = f", waits for {', '.join(rows.waits_for)}" if rows.waits_for else ""
    return f"{shown} of {len(rows)} rows, {rows.changes} changes, {state}{away}"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"
