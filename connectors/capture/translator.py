"""Messages of the WAL become records: the pure middle of change capture.

Owns which transactions are open, the ordinal of each change, what the snapshot had already, which table or event a row
is, and what to do with one that has no record. Refuses I/O, waiting, and to know who takes what it makes: everything
goes to an `Outlet`, which produces (`stream.py`) or compares (`rehearsal.py`). The same messages give the same records
at the same positions, in every session (R8).

Nothing that a row holds ends capture: whatever cannot be made a record stops its table (R11), or is a dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from connectors.capture import outbox, pgoutput
from connectors.capture.checks import RESET
from connectors.capture.encoder import ORDINALS_PER_CHANGE, TransactionOrigin
from connectors.capture.pgoutput import Begin, Commit, Delete, Insert, Message, Relation, Truncate, Update
from connectors.capture.tables import ContractMismatch, NoContract, Tables, Truncated
from connectors.capture.tracker import Confirmed
from connectors.kafka.producer import EncodedRecord
from connectors.postgres.lsn import Lsn, Pos
from connectors.postgres.xid import whole_xid
from runtime.clock import Clock
from runtime.errors import AdriaticError, DataError, Halted, Unencodable

T = TypeVar("T")

DEAD_LETTERS_IN_A_ROW_MAX = 1_000
"""Events of one topic that cannot be encoded, one after the other: a bad release, not bad records (law 7)."""
ALONE = 0
"""The key of a transaction that is shown whole: there is one at a time, and its messages do not say whose they are."""


class TooManyDeadLetters(Halted):
    """Going on would drain a topic into the dead letters. The others go on."""

    code = "too-many-dead-letters"


@dataclass(slots=True)
class OpenTransaction:
    """A transaction that has begun and not ended. `mine`: whatever the outlet keeps of it."""

    origin: TransactionOrigin
    ordinal: int = 0
    mine: Any = None

    def next_ordinal(self) -> int:
        ordinal = self.ordinal
        self.ordinal += ORDINALS_PER_CHANGE
        return ordinal


class Outlet(Protocol):
    """Takes what the WAL says, in its order."""

    def begin(self, transaction: OpenTransaction) -> None: ...

    def commit(self, transaction: OpenTransaction, end: Confirmed) -> None: ...

    def mark(self, at: Confirmed) -> None:
        """Everything up to here was said, and no transaction is open. `committed_at_us` 0: the time is not known."""

    def check(self, record: EncodedRecord) -> None:
        """Raises a `DataError` for a record that can never be sent; asked before the first of its change is."""

    def send(self, record: EncodedRecord, transaction: OpenTransaction) -> None: ...

    def stop(self, name: str, error: AdriaticError) -> None:
        """A table's changes, or a topic's events, end here (R11)."""

    def dead_letter(self, event: outbox.OutboxEvent | None, pos: Pos, error: DataError) -> None:
        """An event that has no record."""


class Translator:
    """One reading of the WAL, from the slot's position on. `own_heartbeat`: as in `ports.CaptureState`."""

    def __init__(
        self,
        outlet: Outlet,
        tables: Tables,
        events: outbox.EventEncoder,
        own_heartbeat: Callable[[Message], int | None],
        snapshot_lsn: int,
        xid_near: int,
        clock: Clock,
    ) -> None:
        self._outlet = outlet
        self._tables = tables
        self._events = events
        self._own_heartbeat = own_heartbeat
        self._snapshot_lsn = snapshot_lsn
        self._xid_near = xid_near
        self._clock = clock
        self._beat = b""
        self._open: dict[int, OpenTransaction] = {}
        self._dead_in_a_row: dict[str, int] = {}
        self._unfit: dict[int, tuple[str, AdriaticError]] = {}
        """Relations that nothing can be made of, by id. They stop when a change of theirs comes: the server also shows
        the days of the outbox, whose changes come as the outbox's own."""

    def stamp(self, beat: bytes) -> None:
        """Records carry this beat from now on."""
        self._beat = beat
        for transaction in self._open.values():
            transaction.origin = transaction.origin._replace(beat=beat)

    @property
    def in_transaction(self) -> bool:
        return ALONE in self._open

    def take(self, start: int, payload: bytes) -> None:
        """One message of the WAL."""
        message = pgoutput.decode(payload)
        if isinstance(message, Insert | Update | Delete):
            self._change(message, start)
        elif isinstance(message, Begin):
            self._begin(message)
        elif isinstance(message, Commit):
            self._outlet.commit(self._open.pop(ALONE), Confirmed(message.end_lsn, message.committed_at_us))
        elif isinstance(message, Message):
            self._logical(message)
        elif isinstance(message, Relation):
            self._relation(message)
        elif isinstance(message, Truncate):
            self._truncate(message)
        elif isinstance(message, pgoutput.Origin) and self.in_transaction:
            transaction = self._open[ALONE]
            transaction.origin = transaction.origin._replace(origin=message.name)

    def _begin(self, message: Begin) -> None:
        # The WAL names a transaction by half of its id. The other half is that of its neighbours.
        self._xid_near = whole_xid(message.xid, self._xid_near)
        origin = TransactionOrigin(Lsn(message.commit_lsn), message.committed_at_us, self._xid_near, beat=self._beat)
        transaction = self._open[ALONE] = OpenTransaction(origin)
        self._outlet.begin(transaction)

    def _logical(self, message: Message) -> None:
        """A heartbeat of this session says that capture is alive. Anybody who can connect may write any other message,
        so nothing else is believed of one."""
        if message.transactional:
            self._open[ALONE].next_ordinal()
        elif (at_us := self._own_heartbeat(message)) is not None and not self.in_transaction:
            self._outlet.mark(Confirmed(message.lsn, at_us))

    def _relation(self, relation: Relation) -> None:
        self._unfit.pop(relation.relation_id, None)
        try:
            guard(self._tables.learn, relation)
        except (NoContract, ContractMismatch, DataError) as error:
            self._unfit[relation.relation_id] = relation.name, error

    def _change(self, change: Insert | Update | Delete, lsn: int) -> None:
        transaction = self._open[ALONE]
        ordinal = transaction.next_ordinal()
        if transaction.origin.commit < self._snapshot_lsn:
            return
        if (events := self._tables.outbox(change.relation_id)) is not None:
            if isinstance(change, Insert):  # what deletes is the end of its keeping
                self._event(change, events, transaction, ordinal)
            return
        if (unfit := self._unfit.pop(change.relation_id, None)) is not None:
            self._outlet.stop(*unfit)
        encoder = self._tables.encoder(change.relation_id)
        if encoder is None:
            return
        try:
            records = guard(encoder.records, change, transaction.origin, lsn, ordinal, self._now_us())
            for record in records:
                self._outlet.check(record)
        except DataError as error:
            self._outlet.stop(encoder.relation.name, error)
            return
        for record in records:
            self._outlet.send(record, transaction)

    def _truncate(self, message: Truncate) -> None:
        transaction = self._open[ALONE]
        transaction.next_ordinal()
        if transaction.origin.commit < self._snapshot_lsn:
            return
        for relation_id in message.relation_ids:
            if self._tables.encoder(relation_id) is not None:
                name = self._tables.name(relation_id)
                self._outlet.stop(
                    name,
                    Truncated(
                        f"{name} was truncated, which no record of its topic can say",
                        hint=f"erase its topic if readers must not see the old rows; then {RESET}. Delete rows instead",
                    ),
                )

    def _event(self, row: Insert, relation: outbox.OutboxRelation, transaction: OpenTransaction, ordinal: int) -> None:
        event = None
        try:
            event = guard(relation.event, row.new)
            if event.topic in self._tables.stopped:
                return
            record = guard(self._events.record, event, transaction.origin, ordinal)
            self._outlet.check(record)
        except DataError as error:
            self._dead_letter(event, Pos(transaction.origin.commit, ordinal), error)
            return
        self._dead_in_a_row.pop(record.topic, None)
        self._outlet.send(record, transaction)

    def _dead_letter(self, event: outbox.OutboxEvent | None, pos: Pos, error: DataError) -> None:
        self._outlet.dead_letter(event, pos, error)
        topic = event.topic if event else ""
        known = topic if self._events.knows(topic) else "unknown"
        in_a_row = self._dead_in_a_row[known] = self._dead_in_a_row.get(known, 0) + 1
        if in_a_row >= DEAD_LETTERS_IN_A_ROW_MAX and known == topic:
            self._outlet.stop(
                topic,
                TooManyDeadLetters(
                    f"{in_a_row} events for {topic} in a row cannot be encoded, the last: {error.detail}",
                    hint=f"is a release out that emits what its schema does not allow? Mend it; then {RESET}",
                ),
            )

    def _now_us(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)


def guard(make: Callable[..., T], *arguments: Any) -> T:
    """What `make` makes of a row. Whatever else goes wrong in it than what it knows is the row's fault too: a library
    meets a value that nobody thought of, and one row must not end capture. Raises what `make` does of ours."""
    try:
        return make(*arguments)
    except AdriaticError:
        raise
    except Exception as error:
        raise Unencodable(
            f"{type(error).__name__} while encoding it", hint="please report this value's type"
        ) from error
