"""`adriatic chat --trace`: where the time of one answer went.

Owns how the stages look in a terminal, and the short wait until the answer is settled, which happens after its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import click
import msgspec

from adriatic.cli.remote import Remote
from api.chat.traces import AnswerTrace, StageTime
from runtime.clock import SYSTEM_CLOCK
from runtime.deadline import Deadline

SETTLE_S_MAX = 5.0
"""Longest wait until the cost of the answer is in the books, in seconds; beyond it, what is known is shown."""
PAUSE_S = 0.05
"""The pause between two requests meanwhile, in seconds."""
BAR_CHARS = 30
"""Width of the whole request, in characters."""


def read_trace(remote: Remote, answer_id: UUID) -> AnswerTrace:
    """The times of an answer that has ended. Raises `NotFound` when another process wrote it."""
    deadline = Deadline.after(SETTLE_S_MAX)
    while True:
        found = remote.request("GET", f"/v1/chat/answers/{answer_id}/trace", AnswerTrace)
        if found.complete or deadline.passed:
            return found
        SYSTEM_CLOCK.sleep(PAUSE_S)


def json_trace(found: AnswerTrace) -> str:
    """One line, in the form of the events."""
    return msgspec.json.encode({"event": "trace", "data": found}).decode()


def render_trace(found: AnswerTrace) -> str:
    """A table with a bar for each stage, and what is not known yet."""
    lines = [*_rows(found.stages)]
    if found.trace_id:
        lines.append(f"trace {found.trace_id}")
    if not found.complete:
        lines.append(f"not settled within {SETTLE_S_MAX:g} s: a stage without a time goes on")
    return "\n".join(lines)


def _rows(stages: list[StageTime]) -> Iterator[str]:
    depths: dict[str, int] = {}
    whole_ms = max((stage.began_ms + (stage.took_ms or 0.0) for stage in stages), default=0.0) or 1.0
    for stage in stages:
        depth = depths[stage.name] = 0 if stage.within is None else depths.get(stage.within, 0) + 1
        took = "…" if stage.took_ms is None else f"{stage.took_ms:.1f}"
        at = min(BAR_CHARS - 1, round(BAR_CHARS * stage.began_ms / whole_ms))
        length = max(1, round(BAR_CHARS * (stage.took_ms or 0.0) / whole_ms))
        bar = (" " * at + "█" * min(length, BAR_CHARS - at)).ljust(BAR_CHARS)
        failed = click.style("  failed", fg="red") if stage.failed else ""
        yield f"{'  ' * depth + stage.name:<34}{took:>10} ms  {bar}{failed}"
