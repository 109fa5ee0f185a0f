"""What the consumer core drives: the seam between it and whatever keeps tables or hears of jobs.

Owns `Event` and the protocol `Processor`; `dataflows/flow.py` and `streams/agent.py` are its two kinds. Refuses any
behaviour. Read next: `core.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection

Effects = TypeVar("Effects")


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded record. Tombstones (no value) never become one: they only move the offset. Where records are taken
    `raw`, every record becomes one, and `value` is None. `contract` is the contract name of its topic: what a value
    speaks of, nobody guesses from its fields."""

    record: Record
    value: Any
    contract: str


class Processor(Protocol[Effects]):
    """Makes rows of events, in three steps. Instances hold no state that matters: that is in Postgres.

    Delivery: the events of one partition come in order, and each one's effects are committed exactly once together with
    the offset. Still a replay from the beginning must change nothing (an operator may set the offset back). When the
    core calls, every transaction that the events come from is visible: what is not in a table is not there.
    """

    name: str
    """The name in `ops.consumer_offsets` and metrics, and of the consumer group `adriatic.<name>`; for ever."""
    topics: tuple[str, ...]
    """The contract's name."""
    raw: bool
    """Records come as they are, not decoded."""

    def views_of(self, topic: str) -> tuple[str, ...]:
        """Views whose watermarks the records of this topic move, by contract name."""

    def transform(self, events: Sequence[Event]) -> Effects:
        """Events to effects: no I/O, no clock, no random. Whatever it raises is taken for an event's fault: the batch
        is halved until the events that raise are alone."""

    def prepare(self, connection: Connection, effects: Effects) -> Effects:
        """What needs a look at the database or a slow dependency. Never called while a transaction is open.

        `connection` is for reading. Raises `DependencyUnavailable` to be called again later, anything else like
        `transform`. May be called more than once for the same events.
        """

    def apply(self, connection: Connection, effects: Effects) -> None:
        """Write the effects: SQL in the transaction that moves the offset. A data fault that Postgres reports is
        treated like one in `transform`; a deadlock or a lost connection is tried again."""
