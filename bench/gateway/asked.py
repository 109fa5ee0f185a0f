"""What is asked of the gateway, beside what was measured: each as a line that says yes or no. Pure.

Ratios are those to LiteLLM in the same run; what was not measured is left out. The last lines are what the limits, the
books and the metrics cost: the way through the gateway less the bare path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Ask(NamedTuple):
    """One figure: which, of what, and how much. `times`: as a ratio to LiteLLM, which is the larger the better;
    otherwise as it is, the smaller the better."""

    title: str
    what: str
    figure: str
    bound: float
    times: bool = False
    inverse: bool = False
    """The figure is a cost: the ratio is LiteLLM's to ours."""


ASKED = (
    Ask("requests/s", "callers", "per_s", 15, times=True),
    Ask("processor time of a paced piece", "paced", "us_a_piece", 12, times=True, inverse=True),
    Ask("pieces/s in a burst", "burst", "per_s", 60, times=True),
    Ask("added, p50, ms", "added", "p50_ms", 3),
    Ask("added, p99, ms", "added", "p99_ms", 10),
    Ask("cancel, p99, ms", "leave", "p99_ms", 20),
    Ask("ready, s", "ready", "seconds", 3),
)
STREAMS_ASKED = 5_000
COSTS = (
    ("10 callers", "ms_a_request"),
    ("40 callers", "ms_a_request"),
    ("burst", "us_a_piece"),
    ("paced", "us_a_piece"),
)


def judge(rows: Sequence[Row]) -> Iterator[str]:
    """One line for each figure that was measured."""
    found = {(row["gateway"], row["what"]): row for row in rows}
    for ask in ASKED:
        ours, bare, theirs = (_find(rows, name, ask) for name in ("ours", "bare", "litellm"))
        if ours is None:
            continue
        if not ask.times:
            yield _tell(ask.title, ours, bare, f"< {ask.bound:g}", met=ours < ask.bound)
        elif theirs:
            ratio, limit = _compare(ours, theirs, ask), bare and _compare(bare, theirs, ask)
            yield _tell(f"{ask.title}, times LiteLLM's", ratio, limit, f">= {ask.bound:g}", met=ratio >= ask.bound)
    held = [count for count, row in _steps(rows) if row.get("held") is True]
    if any(_steps(rows)):
        yield _tell(
            "streams at 2 pieces/s",
            max(held, default=0),
            None,
            f">= {STREAMS_ASKED}",
            met=max(held, default=0) >= STREAMS_ASKED,
        )
    for what, figure in COSTS:
        ours, bare = (read_figure(found.get((name, what), {}), figure) for name in ("ours", "bare"))
        if ours is not None and bare is not None:
            yield f"limits, books and metrics: {what}, {figure}: {ours:g} - {bare:g} = {ours - bare:g}"


def _find(rows: Sequence[Row], gateway: str, ask: Ask) -> float | None:
    """A gateway's figure; of several rows the highest."""
    mine = [row for row in rows if row["gateway"] == gateway and row["what"].split()[-1] == ask.what]
    figures = [figure for row in mine if (figure := read_figure(row, ask.figure)) is not None]
    return max(figures, default=None)


def _compare(figure: float, theirs: float, ask: Ask) -> float:
    return theirs / figure if ask.inverse else figure / theirs


def read_figure(row: Row, name: str) -> float | None:
    """A figure, or the median of several."""
    value = row.get(name)
    return value[0] if isinstance(value, list) else value


def _steps(rows: Sequence[Row]) -> Iterator[tuple[int, Row]]:
    for row in rows:
        count, _, word = row["what"].partition(" ")
        if row["gateway"] == "ours" and word == "streams":
            yield int(count), row


def _tell(title: str, value: float, bare: float | None, bound: str, *, met: bool) -> str:
    """The bare path stands beside ours. It has no limits, books and metrics: what it does not reach, nothing reaches
    that is built of the same."""
    beside = "" if bare is None else f", the bare path {bare:.4g}"
    return f"{'yes' if met else 'no ':3} {title}: {value:.4g}{beside}, asked {bound}"
