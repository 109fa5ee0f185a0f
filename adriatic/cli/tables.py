"""A table of names and figures, on a terminal or for a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_COLUMNS = 200
"""Width where nobody looks at a terminal: the longest name (63) and seven figures fit."""


def begin_table(name: str, *figures: str) -> tuple[Console, Table]:
    """An empty table with these columns, and what prints it: the name wraps, figures stand to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS  # rich takes 80 for a pipe, and would cut names
    table = Table(box=None, pad_edge=False)
    table.add_column(name, overflow="fold")
    for column in figures:
        table.add_column(column, justify="right")
    return console, table
