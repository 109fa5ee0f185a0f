"""Writes of a flow to Postgres: rows, offset, follow-up events and dead letters in one transaction (law 2).

Owns the transaction, the compare-and-set on `ops.consumer_offsets` that fences a second writer, the answer to a commit
whose outcome was lost, and the line between a record's fault and the world's. Refuses to know what the rows mean: the
flow's `work` is called with an open connection.

The offset is moved first, so that of two writers one waits for the other and then finds that it is late. A commit whose
answer never came is settled by trying again: if the offset is already where it was to go, that commit happened.
Read next: `connectors/consumer/core.py`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from connectors.kafka.records import LastRead, Record, TopicPartition
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import DETAIL_CHARS_MAX, describe_fault, meaning_of, translate
from runtime.errors import DataError, Fenced, OperatingError, Unprocessable
from runtime.lifecycle import Lifecycle
from runtime.settings import PostgresSettings
from schemas.arrays import arrays_of
from schemas.headers import POSITION_HEADER, TRACEPARENT_HEADER

OFFSETS = """
  select topic, partition, next_offset, topic_id, partitions, last_offset, last_fingerprint
  from ops.consumer_offsets
  where flow = %s
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a flow has read a partition, and what it knows of its log. None: it was last read by a release that did
    not write that, or nothing was read yet."""

    next_offset: int
    topic_id: str | None = None
    partitions: int | None = None
    """How many the topic had."""
    last: LastRead | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A move of one partition's offset. `expected` is where this writer believes that the flow stands; `last`: the
    newest record below `target`, None where there is none above `expected`."""

    source: TopicPartition
    expected: int
    target: int
    last: LastRead | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """Every commit up to here that reached the partition is in the view."""

    lsn: int
    source_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be processed, and why. `detail` never holds values of the record."""

    record: Record
    stage: str
    code: str
    detail: str
    hint: str = ""
    tenant_id: UUID | None = None

    @classmethod
    def of(cls, record: Record, stage: str, error: Exception, tenant_id: UUID | None = None) -> DeadLetter:
        tenant = tenant_id or record.tenant_id
        if isinstance(error, DataError):
            return cls(record, stage, error.code, error.detail[:DETAIL_CHARS_MAX], error.hint, tenant)
        return cls(record, stage, Unprocessable.code, _strip_values(error), "", tenant)


_INSERT_OFFSETS = """
  insert into ops.consumer_offsets (flow, topic, partition, next_offset)
  values (%s, %s, %s, %s)
  on conflict do nothing
"""

_NOTE_TOPIC = """
  update ops.consumer_offsets
  set topic_id = coalesce(topic_id, %s), partitions = coalesce(partitions, %s)
  where flow = %s and topic = %s and (topic_id is null or partitions is null)
"""

_MOVE_OFFSET = """
  update ops.consumer_offsets
  set
    next_offset = %s,
    last_offset = coalesce(%s, last_offset),
    last_fingerprint = coalesce(%s, last_fingerprint),
    updated_at = now()
  where flow = %s and topic = %s and partition = %s and next_offset = %s
"""

_READ_BEATS = "select session, beat from ops.cdc_sessions where session = any(%s)"


class TransactionalSink:
    """The one writer of a flow's partitions. Not for several threads at once."""

    def __init__(self, settings: PostgresSettings, flow: str, life: Lifecycle) -> None:
        self._settings = settings
        self._flow = flow
        self._life = life
        self._connection: Connection | None = None

    def offsets(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the flow stands, without the partitions that it never saw."""
        known = self.standings()
        return {source: known[source].next_offset for source in sources if source in known}

    def standings(self) -> dict[TopicPartition, Standing]:
        """Where the flow stands, and what it knows of the logs: every partition that it ever saw."""
        with self.read() as connection:
            rows = connection.execute(OFFSETS, [self._flow]).fetchall()
        return {
            TopicPartition(topic, partition): Standing(
                next_offset, topic_id, partitions, None if at is None else LastRead(at, fingerprint)
            )
            for topic, partition, next_offset, topic_id, partitions, at, fingerprint in rows
        }

    def load_offsets(self, first: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Where the flow stands. A partition that it never saw starts at `first`, and has a row from then on."""
        rows = [(self._flow, source.topic, source.partition, first[source]) for source in sorted(first)]
        with self.transaction() as connection:
            connection.cursor().executemany(_INSERT_OFFSETS, rows)
        return self.offsets(sorted(first))

    def note_topic(self, topic: str, topic_id: str, partitions: int) -> None:
        """Write down which topic it is, where a partition of it has a row that does not say so."""
        with self.read() as connection:
            connection.execute(_NOTE_TOPIC, [topic_id, partitions, self._flow, topic])

    def read_beats(self, sessions: Sequence[UUID]) -> dict[UUID, int]:
        """The beat that each session of change capture has come to, of those that this database knows."""
        with self.read() as connection:
            return dict(connection.execute(_READ_BEATS, [list(sessions)]).fetchall())

    def commit(self, step: Step, work: Callable[[Connection], None], on_retry: Callable[[], None]) -> None:
        """Move the offset and do `work`, together or not at all.

        Blocks while Postgres is away. Raises `Fenced` when the offset is not where it should be, `DataError` when the
        work met a record's fault (nothing is written then), and whatever else `work` raises.
        """
        in_doubt = False

        def attempt() -> None:
            nonlocal in_doubt
            with self.transaction() as connection:
                if not self._move(connection, step, in_doubt):
                    return
                in_doubt = False  # moved now, so an earlier commit did not happen
                work(connection)
                in_doubt = True  # from here on only the commit's answer can be lost

        self._life.retry("postgres", attempt, on_retry)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction on the one connection."""
        with self.read() as connection, connection.transaction():
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """The connection outside a transaction: each statement sees what is committed by then. It is made anew when it
        was lost, and errors are mapped."""
        if self._connection is None or self._connection.closed:
            # Transactions are those of `transaction` alone.
            self._connection = connect(self._settings, name=f"adriatic-flow-{self._flow}", autocommit=True)
        connection = self._connection
        try:
            with translate():
                yield connection
        except OperatingError:
            if connection.closed or connection.broken:
                self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _move(self, connection: Connection, step: Step, in_doubt: bool) -> bool:
        """True when the offset was moved. False when it turns out that the attempt before did it."""
        last = (None, None) if step.last is None else (step.last.offset, step.last.fingerprint)
        moved = connection.execute(_MOVE_OFFSET, [step.target, *last, self._flow, *step.source, step.expected]).rowcount
        if moved:
            return True
        row = connection.execute(
            "select next_offset from ops.consumer_offsets where flow = %s and topic = %s and partition = %s",
            [self._flow, *step.source],
        ).fetchone()
        if in_doubt and row == (step.target,):
            return False
        raise Fenced(
            f"{self._flow} stands at offset {row[0] if row else 'none'} of {step.source}, expected {step.expected}",
            hint="partitions moved, somebody set the offset, or a writer does not belong to the consumer group",
            coordinates={"topic": step.source.topic, "partition": step.source.partition},
        )


EXPECT_WATERMARKS = """
  insert into mv.watermarks (view, topic, partition, lsn, source_at)
  select view, topic, partition, '0/0', to_timestamp(0)
  from unnest(%s::text[], %s::text[], %s::int[]) as expected (view, topic, partition)
  order by 1, 2, 3
  on conflict do nothing
"""


def expect_watermarks(connection: Connection, views: Mapping[TopicPartition, Sequence[str]]) -> None:
    """Say which partitions each view is made from, before any of them has reported: until all have, nobody can say how
    far the view is. One that has not stands at 0/0, which is no position in Postgres either."""
    rows = [(view, *source) for source, names in views.items() for view in names]
    connection.execute(EXPECT_WATERMARKS, arrays_of(rows, 3))


_ADVANCE_WATERMARK = """
  insert into mv.watermarks as w (view, topic, partition, lsn, source_at, applied_at)
  values (%s, %s, %s, '0/0'::pg_lsn + %s::numeric, %s, clock_timestamp())
  on conflict (view, topic, partition)
  do update set lsn = excluded.lsn, source_at = excluded.source_at, applied_at = excluded.applied_at
  where w.lsn < excluded.lsn
"""


def advance_watermarks(connection: Connection, views: Sequence[str], source: TopicPartition, mark: Watermark) -> None:
    """Watermarks never go back, whoever sets them. The time is that of the newest position, not the latest: a clock
    that was wrong for a moment is forgotten with the next commit."""
    connection.cursor().executemany(_ADVANCE_WATERMARK, [(view, *source, mark.lsn, mark.source_at) for view in views])


_ADVANCE_IDLE_WATERMARKS = """
  insert into mv.watermarks as w (view, topic, partition, lsn, source_at, applied_at)
  select v.view, o.topic, o.partition, %s::pg_lsn, %s, clock_timestamp()
  from unnest(%s::text[], %s::int[], %s::bigint[]) as e (topic, partition, end_offset)
  join ops.consumer_offsets o on o.flow = %s
    and o.topic = e.topic
    and o.partition = e.partition
    and o.next_offset >= e.end_offset
  cross join unnest(%s::text[]) as v (view)
  order by 1, 2, 3
  on conflict (view, topic, partition)
  do update set lsn = excluded.lsn, source_at = excluded.source_at, applied_at = excluded.applied_at
  where w.lsn < excluded.lsn
"""


def advance_idle_watermarks(
    connection: Connection,
    flow: str,
    views: Sequence[str],
    ends: Mapping[TopicPartition, int],
    lsn: str,
    source_at: datetime,
) -> None:
    """The watermark of partitions that are at their end, from how far capture is.

    `lsn` must have been read before `ends`: everything up to it is then below `ends`. That the flow reached them is
    checked here, in the statement that writes.
    """
    connection.execute(
        _ADVANCE_IDLE_WATERMARKS,
        [lsn, source_at, *arrays_of([(*source, end) for source, end in sorted(ends.items())], 3), flow, list(views)],
    )


# --- dead letters ---------------------------------------------------------------------------------------------------


_READ_NEW_LETTERS = """
  select record_offset
  from ops.dlq
  where flow = %s
    and topic = %s
    and partition = %s
    and record_offset >= %s
    and record_offset < %s
    and state = 'new'
    and stage <> 'reject'
  order by record_offset
"""


def recent_dead_letters(
    connection: Connection, flow: str, source: TopicPartition, since: int, before: int
) -> list[int]:
    """Offsets of undecided dead letters of a partition in `since ≤ offset < before`, ascending. Not those that a flow
    rejected on purpose: what a stranger sends must not stop everybody."""
    rows = connection.execute(_READ_NEW_LETTERS, [flow, *source, since, before])
    return [row[0] for row in rows]


_WRITE_DEAD_LETTER = """
  with kept as (
    insert into ops.dlq as d (
      flow, topic, partition, record_offset, tenant_id, stage, code, detail, hint, key, value, headers,
      record_at
    )
    values (
      %(flow)s, %(topic)s, %(partition)s, %(offset)s, %(tenant)s, %(stage)s, %(code)s, %(detail)s, %(hint)s,
      %(key)s, %(value)s, %(headers)s, %(record_at)s
    )
    on conflict (flow, topic, partition, record_offset)
    do update set
      attempts = d.attempts + 1,
      stage = excluded.stage,
      code = excluded.code,
      detail = excluded.detail,
      hint = excluded.hint,
      failed_at = excluded.failed_at,
      state = 'new'
    returning d.attempts
  )
  select app.emit_raw(%(dlq_topic)s, %(key)s, %(tenant)s, %(value)s, %(out)s::jsonb)
  from kept
  where attempts = 1
"""


def write_dead_letters(connection: Connection, flow: str, letters: Iterable[DeadLetter]) -> None:
    """Keep the records with their bytes, and send them to `<topic>.dlq`. A record that was there already (a replay)
    counts one attempt more and is not sent again."""
    for letter in letters:
        record, at_ms = letter.record, letter.record.timestamp_ms
        headers = [(storable(name), None if value is None else _base64(value)) for name, value in record.headers]
        connection.execute(
            _WRITE_DEAD_LETTER,
            {
                **record.coordinates,
                "flow": flow,
                "tenant": letter.tenant_id,
                "stage": letter.stage,
                "code": letter.code,
                "detail": storable(letter.detail),
                "hint": storable(letter.hint),
                "key": record.key,
                "value": record.value,
                "headers": json.dumps(headers),
                "record_at": None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC),
                "dlq_topic": f"{record.topic}.dlq",
                "out": json.dumps(dead_letter_headers(flow, letter)),
            },
        )


def dead_letter_headers(flow: str, letter: DeadLetter) -> dict[str, str]:
    """Headers of the record in `<topic>.dlq`: its own that are text (all of them are in ops.dlq), and where and why.
    Ours are left out, because the new record gets its own; the old position moves to `dlq.source.position`."""
    record = letter.record
    headers: dict[str, str] = {}
    for name, value in record.headers:
        if value is None or name.startswith(("adriatic.", "dlq.")):
            continue
        try:
            headers[storable(name)] = storable(value.decode())
        except UnicodeDecodeError:
            continue
    own = {
        "dlq.source.topic": record.topic,
        "dlq.source.partition": str(record.partition),
        "dlq.source.offset": str(record.offset),
        "dlq.source.timestamp": "" if record.timestamp_ms is None else str(record.timestamp_ms),
        "dlq.source.position": record.header(POSITION_HEADER) or "",
        "dlq.flow": flow,
        "dlq.stage": letter.stage,
        "dlq.code": letter.code,
        "dlq.detail": storable(letter.detail),
        TRACEPARENT_HEADER: record.header(TRACEPARENT_HEADER) or "",
    }
    return headers | {name: value for name, value in own.items() if value}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def storable(text: str) -> str:
    """Neither text nor jsonb of Postgres takes a NUL or half a surrogate pair."""
    return text.replace("\x00", "\\0").encode("utf-8", "replace").decode()


def _strip_values(error: BaseException) -> str:
    """What kind of error, and where; the text of an exception may quote values."""
    if meaning_of(error) is not None:
        return describe_fault(error)
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f" in {frame.tb_frame.f_code.co_qualname}, line {frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__}{where}"
