"""Dead letters, decided by a person: processed again, or dropped.

A redriven record goes through its own flow (decode, transform, look up, apply) in one transaction with the mark on
its row and the line in `ops.audit`. It needs no topic: nothing is produced, so law 1 holds; rows, follow-up events and
mark commit together, so law 2 does, and whoever is killed half-way leaves letters that are done and letters that are
not. Owns that transaction, the limit on attempts and the account. Refuses to say which flow processes what
(`dataflows/catalog.py`).

Decoding and preparing come before the transaction, as everywhere. It first locks the flow's offset row of the letter's
partition, as the flow's own commits do: the two take turns, and a running flow need not be stopped. Order is lost, as
with every dead letter: a newer version may be there already, and versioned effects then change nothing. What fails
again stays, with the new reason.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from connectors.kafka.records import Record
from connectors.postgres.connections import Connection
from connectors.postgres.errors import translate
from connectors.postgres.sink import DeadLetter, storable
from dataflows.flow import Event, Flow
from runtime.clock import SYSTEM_CLOCK, Clock
from runtime.errors import NotFound, OperatingError
from schemas import catalog as schema_catalog
from schemas.codec import Decoder, SchemaLookup

ATTEMPTS_MAX = 5
"""Most attempts at one record, the first one counted. What failed so often needs a change of the code, not another
try."""
CAPTURE_FLOW = "cdc"
"""Letters of change capture never were records: an event that did not fit its contract."""

Outcome = Literal["done", "failed", "skipped", "would"]


class Coordinates(NamedTuple):
    """The key of a dead letter."""

    flow: str
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.flow}/{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters: all that are given must fit. `letters` empty is any."""

    flow: str | None = None
    topic: str | None = None
    code: str | None = None
    letters: tuple[Coordinates, ...] = ()

    @property
    def all(self) -> bool:
        return not (self.flow or self.topic or self.code or self.letters)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one letter. `detail` never holds values of the record."""

    letter: Coordinates
    outcome: Outcome
    code: str
    detail: str


@dataclass(slots=True)
class RedriveSummary:
    """`scanned` letters fit the selection, `matched` of them are undecided. `left` were beyond the limit, or not come
    to: something did not answer, and then the account is not `complete`."""

    scanned: int = 0
    matched: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    would: int = 0
    left: int = 0
    results: list[Result] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.left == 0

    def add(self, result: Result) -> None:
        self.results.append(result)
        setattr(self, result.outcome, getattr(self, result.outcome) + 1)
        self.left -= 1


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of ops.dlq."""

    at: Coordinates
    record: Record
    code: str
    attempts: int


_MARK_FAILED = """
  update ops.dlq
  set
    attempts = attempts + 1,
    stage = case when stage = 'reject' then stage else %s end,
    code = case when stage = 'reject' then code else %s end,
    detail = %s,
    hint = %s,
    failed_at = now()
  where flow = %s and topic = %s and partition = %s and record_offset = %s
"""


_TAKE_TURN = "select 1 from ops.consumer_offsets where flow = %s and topic = %s and partition = %s for update"


class Redriver:
    """Processes letters again. `build` makes a flow by its name; `contracts` maps topics that are read instead of the
    flow's own to those, for tests and shadow runs. The connection's transactions are its own: hand in one that is in
    autocommit mode."""

    def __init__(
        self,
        connection: Connection,
        build: Callable[[str], Flow[Any]],
        lookup: SchemaLookup,
        contracts: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._build = build
        self._lookup = lookup
        self._contracts = contracts or {}
        self._flows: dict[str, Flow[Any]] = {}
        self._decoders: dict[str, Decoder] = {}

    def plan(self, letter: Letter) -> Result:
        """What would be done, by decoding and transforming alone. Nothing is written or locked, and what only shows
        while writing is not found."""
        if (refused := self.refusal(letter)) is not None:
            return refused
        try:
            self._flow(letter).transform([self._decode(letter)])
        except OperatingError:
            raise
        except Exception as error:
            failed = DeadLetter.of(letter.record, "process", error)
            return Result(letter.at, "would", failed.code, f"would fail again: {failed.detail}")
        return Result(letter.at, "would", letter.code, "would be processed again")

    def redrive(self, at: Coordinates, actor: str) -> Result:
        """One letter, prepared and then written in one transaction. Raises `OperatingError` with nothing written."""
        letter = read(self._connection, at)
        if letter is None:
            return Result(at, "skipped", "", "decided already")
        if (refused := self.refusal(letter)) is not None:
            return refused
        prepared = self._prepare(letter)
        with translate(), self._connection.transaction():
            self._connection.execute(_TAKE_TURN, [at.flow, at.topic, at.partition])
            if lock(self._connection, at) != letter:
                return Result(at, "skipped", "", "decided or tried by somebody else meanwhile")
            result = self._attempt(letter, prepared)
            attempt = {"attempt": letter.attempts + 1, "code": result.code, "detail": storable(result.detail)}
            audit(self._connection, actor, "dlq.redrive", at, result.outcome, "", attempt)
            return result

    def refusal(self, letter: Letter) -> Result | None:
        """Why a letter is not tried at all."""
        if letter.at.flow == CAPTURE_FLOW:
            why = "change capture could not encode it, so it never was a record: emit it again, or drop it"
        elif letter.attempts >= ATTEMPTS_MAX:
            why = f"tried {letter.attempts} times: mend what fails, or drop it"
        elif (unread := self._unread(letter)) is not None:
            why = unread
        else:
            return None
        return Result(letter.at, "skipped", letter.code, why)

    def _unread(self, letter: Letter) -> str | None:
        try:
            read_by_it = self._contract(letter.at.topic) in self._flow(letter).topics
        except NotFound as error:
            return error.detail
        return None if read_by_it else f"{letter.at.flow} does not read {letter.at.topic}"

    # --- inside -----------------------------------------------------------------------------------------------------

    def _prepare(self, letter: Letter) -> Any:
        """The effects, or a dead letter. Everything before the transaction, which holds the flow's turn: a model must
        not compute under its lock."""
        stage = "decode"
        try:
            event = self._decode(letter)
            stage = "process"
            flow = self._flow(letter)
            with translate():
                return flow.prepare(self._connection, flow.transform([event]))
        except OperatingError:
            raise
        except Exception as error:
            return DeadLetter.of(letter.record, stage, error)

    def _attempt(self, letter: Letter, prepared: Any) -> Result:
        failed = prepared if isinstance(prepared, DeadLetter) else self._write(letter, prepared)
        if failed is None:
            decide(self._connection, letter.at, "redriven", attempts=1)
            return Result(letter.at, "done", letter.code, "processed")
        # A rejection stays one: it says what its producer did, not that something of ours fails.
        why = [failed.stage, failed.code, storable(failed.detail), storable(failed.hint)]
        self._connection.execute(_MARK_FAILED, [*why, *letter.at])
        return Result(letter.at, "failed", failed.code, failed.detail)

    def _write(self, letter: Letter, effects: Any) -> DeadLetter | None:
        """Write the effects under a savepoint: a failure undoes them alone. Returns it."""
        try:
            with translate(), self._connection.transaction():
                self._flow(letter).apply(self._connection, effects)
        except OperatingError:
            raise
        except Exception as error:
            return DeadLetter.of(letter.record, "process", error)
        return None

    def _decode(self, letter: Letter) -> Event:
        topic = letter.at.topic
        contract = self._contract(topic)
        if self._flow(letter).raw:
            return Event(letter.record, None, contract)
        if topic not in self._decoders:
            self._decoders[topic] = Decoder(self._lookup, schema_catalog.subject_of(contract, "value"))
        return Event(letter.record, self._decoders[topic].decode(letter.record.value or b""), contract)

    def _flow(self, letter: Letter) -> Flow[Any]:
        name = letter.at.flow
        if name not in self._flows:
            self._flows[name] = self._build(name).for_redrive()
        return self._flows[name]

    def _contract(self, topic: str) -> str:
        return self._contracts.get(topic, topic)


def drop(connection: Connection, at: Coordinates, actor: str, reason: str) -> Result:
    """Decide that a record is not processed, in one transaction with the audit. Its bytes stay."""
    with translate(), connection.transaction():
        letter = lock(connection, at)
        if letter is None:
            return Result(at, "skipped", "", "decided already")
        decide(connection, at, "dropped", attempts=0)
        audit(connection, actor, "dlq.drop", at, "done", reason, {"code": letter.code})
        return Result(at, "done", letter.code, "dropped")


# --- the rows -------------------------------------------------------------------------------------------------------

_COUNT_SELECTED = """
  select count(*), count(*) filter (where state = 'new')
  from ops.dlq
  where (%(flow)s::text is null or flow = %(flow)s)
    and (%(topic)s::text is null or topic = %(topic)s)
    and (%(code)s::text is null or code = %(code)s)
    and (
      cardinality(%(flows)s::text[]) = 0
      or (flow, topic, partition, record_offset) in (
        select *
        from unnest(%(flows)s::text[], %(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[])
      )
    )
"""

_FIND_SELECTED = """
  select flow, topic, partition, record_offset
  from ops.dlq
  where state = 'new'
    and (%(flow)s::text is null or flow = %(flow)s)
    and (%(topic)s::text is null or topic = %(topic)s)
    and (%(code)s::text is null or code = %(code)s)
    and (
      cardinality(%(flows)s::text[]) = 0
      or (flow, topic, partition, record_offset) in (
        select *
        from unnest(%(flows)s::text[], %(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[])
      )
    )
  order by 1, 2, 3, 4
  limit %(limit)s
"""


def find(connection: Connection, selection: LetterFilter, limit: int) -> tuple[RedriveSummary, list[Coordinates]]:
    """The undecided letters of a selection in the order of the log, at most `limit`, and the account to go on with."""
    wanted = selection.letters
    arguments = {
        "flow": selection.flow,
        "topic": selection.topic,
        "code": selection.code,
        "flows": [letter.flow for letter in wanted],
        "topics": [letter.topic for letter in wanted],
        "partitions": [letter.partition for letter in wanted],
        "offsets": [letter.offset for letter in wanted],
        "limit": limit,
    }
    with translate():
        counts = connection.execute(_COUNT_SELECTED, arguments).fetchone()
        rows = connection.execute(_FIND_SELECTED, arguments).fetchall()
    assert counts is not None
    scanned, matched = counts
    return RedriveSummary(scanned=scanned, matched=matched, left=matched), [Coordinates(*row) for row in rows]


_READ_LETTER = """
  select key, value, headers, record_at, code, attempts
  from ops.dlq
  where flow = %s and topic = %s and partition = %s and record_offset = %s and state = 'new'
"""

_LOCK_LETTER = """
  select key, value, headers, record_at, code, attempts
  from ops.dlq
  where flow = %s and topic = %s and partition = %s and record_offset = %s and state = 'new'
  for update
"""


def read(connection: Connection, at: Coordinates) -> Letter | None:
    """An undecided letter, without a lock."""
    with translate():
        return _letter(at, connection.execute(_READ_LETTER, list(at)).fetchone())


def lock(connection: Connection, at: Coordinates) -> Letter | None:
    """An undecided letter, this transaction's alone."""
    return _letter(at, connection.execute(_LOCK_LETTER, list(at)).fetchone())


def _letter(at: Coordinates, row: Any) -> Letter | None:
    if row is None:
        return None
    key, value, headers, record_at, code, attempts = row
    at_ms = None if record_at is None else round(record_at.timestamp() * 1000)
    original = tuple((name, None if text is None else base64.b64decode(text)) for name, text in headers)
    return Letter(at, Record(at.topic, at.partition, at.offset, at_ms, key, value, original), code, attempts)


_DECIDE = """
  update ops.dlq
  set state = %s, attempts = attempts + %s
  where flow = %s and topic = %s and partition = %s and record_offset = %s
"""


def decide(connection: Connection, at: Coordinates, state: Literal["redriven", "dropped"], attempts: int) -> None:
    connection.execute(_DECIDE, [state, attempts, *at])


def audit(
    connection: Connection,
    actor: str,
    action: str,
    at: Coordinates,
    result: str,
    reason: str,
    detail: Mapping[str, Any],
) -> None:
    connection.execute(
        "insert into ops.audit (actor, action, target, result, reason, detail) values (%s, %s, %s, %s, %s, %s::jsonb)",
        [actor, action, str(at), result, storable(reason), json.dumps(detail)],
    )


# --- many -----------------------------------------------------------------------------------------------------------


def each(
    account: RedriveSummary,
    letters: Sequence[Coordinates],
    work: Callable[[Coordinates], Result],
    rate_per_s: float = 0.0,
    clock: Clock = SYSTEM_CLOCK,
) -> Iterator[Result]:
    """`work` on every letter in turn, at most `rate_per_s` of them a second (0: as fast as it goes)."""
    began_s = clock.monotonic()
    for number, at in enumerate(letters):
        if rate_per_s:
            clock.sleep(max(0.0, began_s + number / rate_per_s - clock.monotonic()))
        result = work(at)
        account.add(result)
        yield result
