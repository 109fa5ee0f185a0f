"""What a flow is: the `Processor` that `dataflows.runner` runs.

A new flow is a module with one subclass of `Flow` and a line in `dataflows/catalog.py`. The class declares the flow
once: what it is called, reads, keeps and shows, how it is made, what is right. Everything else follows from that: its
process and port, `adriatic flow`, `status`, the readers of its topics, live views, `verify`, the reference. It turns
events into effects (pure), and writes effects with SQL. Reading, decoding, retries, dead letters, offsets, watermarks,
lag and health are the core's and the runner's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar
from uuid import UUID

from psycopg import sql

from connectors.consumer.contract import Effects, Event, Processor
from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from dataflows.comparison import Comparison, unlike
from runtime.errors import Unprocessable
from runtime.settings import Settings
from schemas.flows import KeptTable, KeptView

__all__ = ["Effects", "Event", "Flow"]


class Flow(Processor[Effects]):
    """One view-keeping flow. Its effects are versioned or keyed, so that a replay changes nothing."""

    tables: tuple[KeptTable, ...] = ()
    """Every table that `apply` writes, and what is right in it."""
    views: tuple[KeptView, ...] = ()
    """What readers see of it, by names that have watermarks."""
    limits: BatchLimits = BatchLimits()
    behind: tuple[str, ...] = ()
    """Those of `topics` whose records wait for the others' (`connectors/kafka/lanes.py`)."""

    @classmethod
    def build(cls, settings: Settings) -> Self:
        """The flow, ready to run. Raises what its parts raise (weights that are not there). What is slow to import is
        imported in here: who only reads the declaration does not pay for a model runtime."""
        del settings
        return cls()

    def start(self, connection: Connection) -> None:
        """Once, before the first record, in a transaction of its own. Raises `DependencyUnavailable` to be called again
        later, `Halted` when the flow must not run."""

    @classmethod
    def views_of(cls, topic: str) -> tuple[str, ...]:
        """Names of those of `views` that are made from this topic, by contract name: its records move their
        watermarks."""
        return tuple(view.name for view in cls.views if not view.follows and topic in (view.made_from or cls.topics))

    def for_redrive(self) -> Flow[Effects]:
        """The flow for dead letters that a person decided to process again. It raises where it must not be taken for
        done."""
        return self

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        """Add every row of the tenant that is not what its sources give, for `adriatic verify`. A flow whose tables all
        have a query that says what is right needs nothing of its own."""
        comparison.add_unlike(unlike(comparison.connection, comparison.tenant.tenant_id, cls.tables))

    @classmethod
    def forget(cls, connection: Connection, tenant_id: UUID) -> None:
        """Delete what the flow keeps of a tenant, in the transaction that sets its offsets back: the log is then read
        again. What the log does not have stays (`KeptTable.outlives`)."""
        for table in cls.tables:
            if not table.outlives:
                connection.execute(_forget_in(table), [tenant_id])


def _forget_in(table: KeptTable) -> sql.Composed:
    return sql.SQL("delete from {} where tenant_id = %s").format(sql.Identifier(*table.name.split(".")))


Key = TypeVar("Key", bound=tuple[Any, ...])
Row = TypeVar("Row")


def take_latest(
    events: Iterable[Event], key_of: Callable[[Any], Key], row_of: Callable[[Any], Row]
) -> tuple[tuple[Row, ...], tuple[Key, ...]]:
    """What changes leave of each row that they name, of a table that only grows or is erased: rows, and keys of those
    that are gone. Both sorted by key."""
    last: dict[Key, Row | None] = {}
    for event in events:
        match event.value["op"]:
            case "c" | "r" | "u":
                last[key_of(event.value["after"])] = row_of(event.value["after"])
            case "d":
                last[key_of(event.value["before"])] = None
            case other:
                raise Unprocessable(f"a change of kind {other} on a table that only grows")
    ordered = sorted(last)
    rows = tuple(row for key in ordered if (row := last[key]) is not None)
    return rows, tuple(key for key in ordered if last[key] is None)
