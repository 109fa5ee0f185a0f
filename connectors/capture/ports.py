"""What the core of change capture asks of the world: the WAL, the log, the state, contracts and routing.

Owns the protocols and the values that cross them, and what each promises. Refuses I/O, and to decide. The adapters
are `transport.py` (WAL), `log.py` (log), `store.py` (state), `tables.py` (contracts), `routing.py`; a test puts a
simulated world in their place.

One thread calls everything here. No method blocks for longer than it says, and none sleeps but those that wait or poll
by name: in a simulated world, these move the clock. Positions are LSNs (bytes of WAL) as plain ints; names of times say
their unit, microseconds since 1970 by the source's clock, or seconds. Unless said
otherwise a method raises `DependencyUnavailable` for an outage, which ends the session; the next one begins from what
is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from connectors.kafka.records import TopicPartition

if TYPE_CHECKING:  # nothing that the core is made of: whoever implements a port imports this module alone
    from connectors.capture.checks import Progress, Server
    from connectors.capture.outbox import OutboxEvent
    from connectors.capture.pgoutput import Message, Tuple
    from connectors.capture.publication import Published
    from connectors.capture.tracker import Confirmed
    from connectors.kafka.producer import EncodedRecord, Headers
    from connectors.postgres.beats import Beat
    from connectors.postgres.wal import SlotState
    from runtime.errors import AdriaticError
    from schemas.codec import Encoder
    from topics.catalog import Topic

Meanwhile = Callable[[], None]
"""Called several times a second by whatever takes long. It may raise, and that ends what takes long."""
Stopping = Callable[[], bool]
"""Whether somebody asked to stop."""

# --- the WAL ----------------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """A message of pgoutput, protocol 1. `start`: where in the WAL it comes from."""

    start: int
    payload: bytes


class Keepalive(NamedTuple):
    """The server has decoded and sent everything that was committed before `end`."""

    end: int
    sent_at_us: int


class Snapshot(NamedTuple):
    """What the database was at `point`: it shows every transaction whose commit is before, and no other. `name` can be
    imported until its session does anything else."""

    point: int
    name: str


class WalSession(Protocol):
    """One replication connection. Commands first; after `start` the stream alone.

    Order: transactions whole and in the order of their commits, each message once, from the first commit at or after
    the slot's confirmed position. Beginning anew at that position gives the same messages again, byte for byte. A
    message that is not transactional comes when the server reads it, after every commit before its own LSN.
    """

    sender_timeout_s: float
    """How long the server waits for a sign of life; 0: for ever."""

    @property
    def backend_pid(self) -> int: ...

    def create_slot(self, name: str, meanwhile: Meanwhile) -> int:
        """Make a slot that outlives this connection; returns where its stream begins. Takes as long as the longest
        transaction that runs now."""

    def export_snapshot(self, name: str, meanwhile: Meanwhile) -> Snapshot:
        """Make a temporary slot `name`, which goes with this connection, and the snapshot that comes with it. Takes as
        `create_slot` does."""

    def start(self, slot: str, publication: str) -> None:
        """Begin the stream at the slot's confirmed position. From here on the slot is ours: nobody else reads or moves
        it. Called again, it ends the stream, throws away what has not been received, and begins anew at the slot's
        confirmed position: what was not acknowledged comes once more."""

    def receive(self) -> Sequence[Data | Keepalive]:
        """What has arrived, possibly nothing; never waits. A bounded number of messages."""

    def wait(self, timeout_s: float) -> None:
        """Wait until something may have arrived, at most so long."""

    def keep_alive(self) -> None:
        """Call often: tells the server in time that we live (R2). Microseconds when nothing is due."""

    def acknowledge(self, flushed: int) -> None:
        """Everything that was committed before `flushed` is durable elsewhere, and is never asked for again. The server
        takes it from the slot in its own time, perhaps never. A lower one than before does nothing."""

    def close(self) -> None:
        """Give the slot back. Twice is fine."""


class Rows(Protocol):
    """The rows of one snapshot."""

    taken_at_us: int

    def read(self, table: Published) -> Iterator[Tuple]:
        """Every row once, in the order of the primary key, each column as the text that the WAL would have."""

    def close(self) -> None: ...


class Wal(Protocol):
    """The server that keeps the WAL."""

    def open(self) -> WalSession: ...

    def rows(self, snapshot: Snapshot) -> Rows:
        """Import the snapshot, on a connection of its own."""


# --- the log ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the broker says of a topic. `topic_id`: empty when the broker has no ids; a topic that was deleted and made
    anew has another. Its partitions are 0 … `partitions` - 1."""

    topic_id: str
    partitions: int
    record_bytes_max: int


class Bounds(NamedTuple):
    """Offsets of a partition. `start`: its oldest record. `committed_end`: one past what readers of committed records
    can see. `end`: one past everything, open transactions too; never goes back on a broker that lost nothing."""

    start: int
    committed_end: int
    end: int


class LogRecord(NamedTuple):
    """A record as it lies in the log. `headers` as the broker has them: nobody has looked at what is in them. Of a name
    that comes twice, the last."""

    source: TopicPartition
    offset: int
    headers: Mapping[str, bytes | None]


Acked = Callable[[int], None]
"""Called from `poll`, with the offset at which the broker has put the record. Below 0: it has the record, and has not
said where."""


class Producer(Protocol):
    """Records in order, once each, until it ends.

    Records of a partition are put into the log in the order in which they were handed over, or fail. A record that
    waits for longer than the delivery time-out fails, and a younger one of its partition may still go out: that is the
    hole that the ledger looks for. After a failure nothing of this producer may be used but `close`.
    """

    @property
    def unacked(self) -> int:
        """How many records were handed over and neither acknowledged nor failed."""

    def check(self, record: EncodedRecord) -> None:
        """Raises `RecordTooLarge`, a `DataError`. Called for all the records of a change before the first is sent."""

    def send(self, record: EncodedRecord, acked: Acked) -> bool:
        """Hand over a record; False when there is no room. Never waits."""

    def poll(self, timeout_s: float) -> None:
        """Take delivery reports, waiting at most so long for the first. Raises when a record failed."""

    def silent_s(self) -> float:
        """How long the broker has owed us an answer; 0 when nothing waits for one."""

    def close(self, stopping: Stopping) -> None:
        """What waits is dropped, what is under way ends first: nothing arrives later. A process that is `stopping` does
        not wait for that."""


class RecordTransaction(Protocol):
    """Records that readers of committed records see together, or not at all."""

    def check(self, record: EncodedRecord) -> None:
        """Raises `RecordTooLarge`."""

    def send(self, record: EncodedRecord, acked: Acked, stopping: Stopping) -> None:
        """Waits while there is no room, in calls that are bounded. An offset is that of a record in the log, whether or
        not the transaction will be committed."""

    def commit(self, stopping: Stopping) -> None:
        """Every record is in the log, and visible, when this returns."""

    def abort(self) -> None:
        """Abort as far as possible: the next `transaction` of the name does it otherwise."""


class RecordLog(Protocol):
    """The broker."""

    def topics(self, names: Collection[str]) -> Mapping[str, TopicFacts]:
        """Those of `names` that there are."""

    def bounds(self, sources: Collection[TopicPartition], meanwhile: Meanwhile) -> Mapping[TopicPartition, Bounds]:
        """Offsets that have stood still for a moment: what a process that was killed had under way is carried out by
        then."""

    def read(self, ranges: Mapping[TopicPartition, tuple[int, int]], meanwhile: Meanwhile) -> Iterator[LogRecord]:
        """The committed records of each partition, from the first offset to before the second, in order within a
        partition. Offsets without a record (markers, aborted records, compaction) are left out."""

    def producer(self, limits: Mapping[str, int]) -> Producer:
        """`limits`: the largest record of each topic, in bytes."""

    def transaction(self, name: str, limits: Mapping[str, int]) -> RecordTransaction:
        """Begin one. First ends whatever an earlier one of the same name left open, so that what is read next is
        final."""


# --- the state --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FilledTopic:
    """A topic that we filled, as the database knows it. `ends`: of each partition one past the highest offset that the
    broker has acknowledged to us; of one that has none, 0. `lasts`: of each partition the last record that is known, as
    text (`ends.py`); empty where none is. `may_differ`: somebody decided that whatever the topic is
    now is ours (`reset`)."""

    topic_id: str
    partitions: int
    ends: tuple[int, ...] = ()
    may_differ: bool = False
    lasts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What one beat writes, in one transaction."""

    beat: Beat | None
    """The beat that records carry from now on. The transaction ends before the first of them is made. None: a
    heartbeat, and nothing else, before there is a session."""
    confirmed: Confirmed | None
    """Progress that moved."""
    heartbeat: bool
    """Whether a heartbeat goes into the WAL, and `read_at_us` to the database."""
    read_at_us: int
    """The newest commit or heartbeat that was read, whether or not it is in Kafka."""
    ends: Mapping[str, Sequence[int]]
    """The ends of each topic where something was acknowledged since the last beat, as `FilledTopic` has them."""
    lasts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The last records of the same topics, the same way."""


class CaptureState(Protocol):
    """Our account in the database, and its catalogue. Each call is one statement or one short transaction, durable when
    it returns."""

    def lock(self) -> None:
        """Be the only capture of this slot until `close`. Raises `DependencyUnavailable` while there is another."""

    def close(self) -> None: ...

    # the catalogue

    def server(self, publication: str) -> Server: ...

    def slot(self) -> SlotState | None: ...

    def read_published(self, publication: str) -> list[Published]: ...

    def wal_end(self) -> int:
        """The position after everything that was ever written to this database's WAL."""

    def newest_xid(self) -> int:
        """The whole id of a transaction of now: one that has not ended, or is next."""

    def find_blocking(self, pid: int) -> list[int]:
        """Processes of the server whose transactions the process `pid` waits for."""

    # progress

    def progress(self) -> Progress | None:
        """None: nothing was ever written down, or `reset` took it away."""

    def want_snapshot(self, snapshot_id: UUID) -> UUID:
        """The id of the snapshot that is wanted, or was taken: that of whoever asked first, else this one."""

    def renew_snapshot(self, snapshot_id: UUID) -> None:
        """Want another snapshot, by this id, whatever was wanted or taken before."""

    def snapshot_done(self, progress: Progress, snapshot_lsn: int, committed_at_us: int) -> None:
        """The snapshot that was wanted is in the log, as of that position."""

    def write(self, written: Written) -> None:
        """Write a beat. Raises `DependencyUnavailable` when the progress that it moves is not there any more (a
        `reset`), and then nothing of it is written."""

    def own_heartbeat(self, message: Message) -> int | None:
        """When this state wrote it; None for what anybody else wrote. Raises nothing, whatever is in it."""

    # sessions

    def begin_session(self, beat: Beat, process: str) -> None:
        """Write down a session and its first beat, before it produces anything."""

    def end_session(self, session: UUID) -> None:
        """Nothing of this session comes into the log any more."""

    def predecessor(self) -> str | None:
        """The process of the newest session that has not ended; None: there is none."""

    def read_beats(self, sessions: Collection[UUID]) -> Mapping[UUID, int]:
        """The highest beat of each of these sessions; those that the database does not know are left out."""

    def first_session_at(self) -> int | None:
        """The end of the WAL when the first session of all began; None before there was one. Records from before have
        no session: an earlier release made them."""

    # topics

    def read_topics(self) -> Mapping[str, FilledTopic]: ...

    def fill_topics(self, topics: Mapping[str, FilledTopic]) -> None:
        """Write down topics that are new to us, or differ and may, in place of what is known."""

    # tables and events

    def read_stopped(self) -> dict[str, str]:
        """Tables and topics that are stopped, and the code of why."""

    def table_state(self, table: str, state: str, error: AdriaticError | None = None) -> None:
        """Show what a table is doing: streaming, snapshot, stopped. A stopped one stays so until `reset`."""

    def dead_letter(self, event: OutboxEvent | None, lsn: int, error: AdriaticError) -> None:
        """Keep an event that cannot be encoded, once: by its id, or by its LSN where it has none."""

    def tend_outbox(self) -> None:
        """Make days to come and drop those that everybody has passed. Not often: it may wait for two seconds."""


class StateDatabase(Protocol):
    """Where the state is."""

    def open(self) -> AbstractContextManager[CaptureState]: ...


# --- contracts and routing --------------------------------------------------------------------------------------------


class TopicContracts(Protocol):
    """What records must look like."""

    @property
    def topics(self) -> Mapping[str, Topic]:
        """Every topic that has a file, by name."""

    def encoders(self, topic: str) -> tuple[Encoder, Encoder]:
        """The encoders of key and value; the same ones each time, their schema ids known, so that they never fail for
        an outage. Raises `NotFound` without a contract."""


class Router(Protocol):
    """Where records go. Pure: the same for the same arguments, in every session and release, or a key leaves its
    partition."""

    def topic_of(self, table: str) -> str:
        """The topic of a table's changes; `table` is schema and name, with a dot between."""

    def route(self, topic: Topic, key: Mapping[str, Any]) -> tuple[int, Headers]:
        """The partition of a changed row with this key, below `topic.partitions`, and what its headers say of that.
        Raises `DataError`."""

    def route_event(self, topic: Topic, event: OutboxEvent) -> tuple[int, Headers]:
        """The same for an event. Raises `DataError`."""


# --- what the loop tells ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What the loop publishes about once a second, for whoever shows it. A value: nobody is asked for anything."""

    confirmed: Confirmed
    delivered: Mapping[str, int]
    """Records acknowledged since the last time, by topic."""
    stopped: Mapping[str, str]
    """Tables and topics that are stopped, and the code of why."""
    more_partitions: Iterable[str] = ()
    """Topics that have more partitions than are used: keys stay where they are."""


Tell = Callable[[Told], None]
