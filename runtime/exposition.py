"""What `/metrics` shows: the figures of this process, or those of all workers that serve one port, added up.

Owns the files by which workers share their figures (`prometheus_client`'s multiprocess mode). A worker has a number,
which the process that replaces it takes over: counters go on from where they were, and there are never more files than
workers. Refuses to sum what is of one process only: memory, open files and the like are left out for workers.
"""

from __future__ import annotations

from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where the library looks for the folder. Whoever starts a worker sets it."""


def become_worker(number: int) -> None:
    """Keep this process's figures under `number`. Call it before the first metric is declared."""
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]  # it has no annotations


def forget_worker(number: int, folder: Path) -> None:
    """Drop what a worker that ended said of its present, such as its open streams. What it counted stays."""
    mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]  # it has no annotations


def render(folder: Path | None = None) -> bytes:
    """The metrics in Prometheus' text format. `folder`: of the workers whose figures are there."""
    if folder is None and not values.ValueClass._multiprocess:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together, str(folder) if folder else None)  # type: ignore[no-untyped-call]  # likewise
    return generate_latest(together)
