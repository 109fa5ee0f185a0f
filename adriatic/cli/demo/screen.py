"""What `adriatic demo` shows: one screen that moves on a terminal, plain lines elsewhere; and the summary.

Owns layout and wording. Refuses to ask the API: it shows what the stage and its live readers have.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from adriatic.cli.demo.stage import Facts, Stage
from adriatic.drill.steps import DrillStep
from runtime.clock import SYSTEM_CLOCK

FRAMES_PER_S = 4.0
LINE_EVERY_S = 2.0
"""Where nobody watches a terminal, the live views are a line so often, when they moved."""
NEWEST_SHOWN = 6
WIDTH_MAX = 100


class Screen:
    """Shows acts as they begin and end."""

    def __init__(self, stage: Stage, titles: dict[str, str]) -> None:
        self._stage = stage
        self._titles = titles
        self._now = ""
        self._done: dict[str, Facts] = {}

    def begins(self, act: str) -> None:
        self._now = act

    def ends(self, act: str, facts: Facts) -> None:
        self._now = ""
        self._done[act] = facts

    @contextmanager
    def show(self) -> Iterator[None]:
        """Show the screen on a terminal, and lines on standard error elsewhere."""
        if sys.stderr.isatty():
            with Live(
                get_renderable=self.render,
                console=Console(stderr=True),
                refresh_per_second=FRAMES_PER_S,
                transient=True,
            ):
                yield
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._lines, args=(stop,), name="demo lines", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _lines(self, stop: threading.Event) -> None:
        said: set[str] = set()
        moved, moved_s, over = "", 0.0, False
        while not over:
            over = stop.wait(0.1)  # once more after the end: what came last is said too
            for act in [act for act in self._done if act not in said]:
                said.add(act)
                click.echo(f"{self._titles[act]}: {inline(self._done[act])}", err=True)
            line, now_s = self._movement(), SYSTEM_CLOCK.monotonic()
            if line != moved and now_s - moved_s > LINE_EVERY_S:
                moved, moved_s = line, now_s
                click.echo(f"  live: {line}", err=True)

    def _movement(self) -> str:
        pictures = {view: reader.picture for view, reader in self._stage.readers.items()}
        return ", ".join(
            f"{view} {len(picture.rows)} rows {picture.changes} changes" for view, picture in pictures.items()
        )

    def render(self) -> Group:
        return Group(self._acts(), Text(), self._views(), Text(), self._counts(), Text(), self._newest())

    def _acts(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for act, title in self._titles.items():
            mark = "✓" if act in self._done else "▸" if act == self._now else " "
            style = "green" if act in self._done else "bold" if act == self._now else "dim"
            table.add_row(
                mark, title, Text(inline(self._done.get(act, {})), overflow="ellipsis", no_wrap=True), style=style
            )
        return table

    def _views(self) -> Table:
        table = Table(box=None, pad_edge=False, title="live views", title_justify="left", width=WIDTH_MAX)
        for column in ("view", "rows", "changes", "age"):
            table.add_column(column, justify="left" if column == "view" else "right")
        for view, reader in self._stage.readers.items():
            picture = reader.picture
            age = picture.as_of.get("age_s")
            shown = f"{age:.1f} s" if isinstance(age, int | float) else str(picture.as_of.get("state", "…"))
            table.add_row(view, str(len(picture.rows)), str(picture.changes), shown)
        return table

    def _counts(self) -> Text:
        rows = self._stage.rows("entity_counts")
        parts = [f"{row['kind']} {row['label']} {row['count']}" for row in sorted(rows, key=lambda row: -row["count"])]
        return Text("counts  " + ", ".join(parts), overflow="fold")

    def _newest(self) -> Table:
        table = Table(box=None, pad_edge=False, title="newest", title_justify="left", show_header=False)
        rows = sorted(self._stage.rows("activity"), key=lambda row: str(row["recorded_at"]), reverse=True)
        for row in rows[:NEWEST_SHOWN]:
            table.add_row(row["change"], row["title"], row["author"])
        return table


def inline(facts: Facts) -> str:
    """Numbers in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {_format(value)}" for name, value in facts.items())


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, dict):
        return " ".join(f"{name} {_format(each)}" for name, each in value.items()) or "none"
    return "unknown" if value is None else str(value)


def steps(taken: Sequence[DrillStep]) -> str:
    """What the gateway, or a crawl, showed, as text."""
    width = max((len(step.name) for step in taken), default=0)
    return "\n".join(f"{step.name:<{width}}  {'' if step.passed else 'FAILED: '}{step.detail}" for step in taken)


def summary(facts: Facts, titles: dict[str, str]) -> str:
    """The end of the day, as text."""
    width = max(map(len, titles.values()))
    lines = [f"{title:<{width}}  {inline(facts[act])}" for act, title in titles.items() if act in facts]
    lines += [f"{'verify':<{width}}  {inline(facts['verify'])}"] if "verify" in facts else []
    return "\n".join(lines)
