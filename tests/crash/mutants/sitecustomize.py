"""Breaks one law on purpose, in every process that Python starts with this folder on its path: what the ring must find.

Owns the breakages, by the name in `CRASH_MUTANT`. Refuses to be installed: the ring puts it on the path of a copy that
it deletes afterwards (`python -m tests.crash --mutant NAME`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

SLOW_S = 0.15
"""Between two halves of what should be one transaction: a busy disk takes as long."""


def no_ledger() -> None:
    """Capture forgets what a partition has already (law 1, R8): a restart produces again what was not acknowledged."""
    from connectors.capture import ledger

    ledger.Ledger.has = lambda *_: False  # type: ignore[method-assign]


def offsets_first() -> None:
    """Flows commit offsets, and then rows (law 2): killed in between, they lose a batch."""
    from connectors.postgres import sink

    whole = sink.TransactionalSink.commit

    def halves(self: sink.TransactionalSink, step: sink.Step, work: Callable[..., None], on_retry: object) -> None:
        whole(self, step, lambda _: None, on_retry)  # type: ignore[arg-type]
        time.sleep(SLOW_S)
        with self.transaction() as connection:
            work(connection)

    sink.TransactionalSink.commit = halves  # type: ignore[method-assign]


MUTANTS: dict[str, tuple[str, Callable[[], None]]] = {
    "no-ledger": ("cdc", no_ledger),
    "offsets-first": ("flow", offsets_first),
}
"""Of each: the command of ours that it breaks."""

chosen = MUTANTS.get(os.environ.get("CRASH_MUTANT", ""))
if chosen is not None and {chosen[0], "run"} <= set(sys.orig_argv):
    chosen[1]()
