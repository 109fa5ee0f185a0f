"""The job `reread`: reads what is here with the reader and the words of today, and brings it up to what that finds.

Owns the walk over a tenant's versions, what is written of a reading, and the account of what changed. Refuses to read:
a `schemas.readings.RecordReader` does, given by whoever puts the worker together. A version stays what it is; its title
and status are a reading of its text and become those of the newer one, but where somebody gave them.

Two parts. Texts are read a page at a time, outside of any transaction, for a version's text never changes; then each
log's numbers and links are settled, which only all of its ADRs together can say. Done again, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg.types.json import Jsonb

from connectors.postgres.connections import Connection
from connectors.postgres.jobs import ClaimedJob, JobKind, JobProgress
from schemas.arrays import arrays_of
from schemas.jobs import REREAD
from schemas.readings import LinkRow, LoggedAdr, RecordReader, TextReading, VersionText

VERSIONS_MAX: Final = 100
"""Versions of one step: some hundred milliseconds of reading."""
PAGE_CHARS_MAX: Final = 2_000_000
"""Characters of their texts: the same for long ones. One text is always read, and may have a megabyte."""
EXAMPLES_MAX: Final = 5
"""Changes of each field that are shown; all are counted."""
EXAMPLE_CHARS_MAX: Final = 120
"""Characters of a value in an example: a line in a terminal."""
UNIT: Final = "versions"
FIRST: Final = (str(UUID(int=0)), 0)
"""Below every version."""
NO_LOG: Final = str(UUID(int=0))


@dataclass(slots=True)
class Account:
    """What changed so far, by field."""

    result: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, position: Mapping[str, Any], reader: int) -> Account:
        return cls(dict(position.get("result") or {"reader": reader, "adrs": 0, "older": 0, "kept": 0, "changed": {}}))

    def count(self, name: str, number: int = 1) -> None:
        self.result[name] += number

    def note(self, field_name: str, adr: str, before: object, after: object) -> None:
        changed = self.result["changed"].setdefault(field_name, {"count": 0, "examples": []})
        changed["count"] += 1
        if len(changed["examples"]) < EXAMPLES_MAX:
            changed["examples"].append({"adr": adr[:EXAMPLE_CHARS_MAX], "before": _cut(before), "after": _cut(after)})


def _cut(value: object) -> str:
    return "" if value is None else str(value)[:EXAMPLE_CHARS_MAX]


class _KeptVersion(msgspec.Struct, frozen=True):
    """A version as it is stored, and its ADR's head."""

    adr_id: UUID
    version: int
    title: str
    status: str
    title_given: bool
    status_given: bool
    counted: bool
    imported: bool
    newest: bool
    head_title: str
    head_status: str
    label: str | None
    path: str | None
    reader: int | None
    oddities: list[dict[str, Any]] | None

    @property
    def name(self) -> str:
        return self.path or self.title


class RereadAdrs(JobKind):
    """`reader` reads texts."""

    name = REREAD

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader

    def prepare(self, connection: Connection, job: ClaimedJob) -> Sequence[tuple[VersionText, TextReading]] | None:
        """The next page of texts, read. None when all were."""
        if "log" in job.position:
            return None
        own = [(row[0], row[1], row[2]) for row in connection.execute(READ_WORDS, [job.tenant_id]).fetchall()]
        texts = _page(connection, job.tenant_id, job.position.get("after", FIRST))
        return list(zip(texts, self._reader.read(texts, own), strict=True))

    def apply(
        self, connection: Connection, job: ClaimedJob, prepared: Sequence[tuple[VersionText, TextReading]] | None
    ) -> JobProgress:
        account = Account.of(job.position, self._reader.version)
        if prepared is None:
            return self._settle(connection, job, account)
        total = job.total if job.position else _count(connection, job.tenant_id)
        if not prepared:
            return _go_on("settling numbers and links", job.done, total, account, {"log": NO_LOG})
        self._write(connection, job.tenant_id, prepared, account)
        last = prepared[-1][0]
        done = job.done + len(prepared)
        return _go_on("reading", done, total, account, {"after": [str(last.adr_id), last.version]})

    # --- readings ---------------------------------------------------------------------------------------------------

    def _write(
        self,
        connection: Connection,
        tenant_id: UUID,
        prepared: Sequence[tuple[VersionText, TextReading]],
        account: Account,
    ) -> None:
        readings = {(text.adr_id, text.version): reading for text, reading in prepared}
        adr_ids = sorted({text.adr_id for text, _ in prepared})
        # Logs before heads, as an import locks them; the lock on heads leaves foreign keys to them alone.
        connection.execute(LOCK_LOGS, [tenant_id, tenant_id, adr_ids])
        connection.execute(LOCK_HEADS, [tenant_id, adr_ids])
        rows = _rows(connection, tenant_id, list(readings))
        newest = [(row, readings[row.adr_id, row.version]) for row in rows if row.newest]
        account.count("adrs", len(newest))
        account.count("older", sum(row.reader != self._reader.version for row, _ in newest))
        versions = [change for row in rows if (change := _find_change(row, readings[row.adr_id, row.version], account))]
        if versions:
            connection.execute(UPDATE_VERSIONS, [*arrays_of(versions, 4), tenant_id])
        self._write_newest(
            connection, tenant_id, newest, {(row[0], row[1]): (row[2], row[3]) for row in versions}, account
        )

    def _write_newest(
        self,
        connection: Connection,
        tenant_id: UUID,
        newest: Sequence[tuple[_KeptVersion, TextReading]],
        changed: Mapping[tuple[UUID, int], tuple[str, str]],
        account: Account,
    ) -> None:
        heads = []
        for row, reading in newest:
            title, status = changed.get((row.adr_id, row.version), (row.title, row.status))
            label = reading.label if row.path else row.label
            if (row.head_title, row.head_status, row.label) != (title, status, label):
                heads.append((row.adr_id, title, status, label))
            if row.label != label:
                account.note("label", row.name, row.label, label)
            if row.oddities is not None and row.oddities != list(reading.oddities):
                account.note("oddities", row.name, _codes(row.oddities), _codes(reading.oddities))
        if heads:
            connection.execute(UPDATE_HEADS, [*arrays_of(heads, 4), tenant_id])
        _write_links(connection, tenant_id, newest, account)
        kept = [
            (row.adr_id, self._reader.version, reading.number, reading.label or "", Jsonb(list(reading.oddities)))
            for row, reading in newest
        ]
        if kept:
            connection.execute(KEEP_READINGS, [tenant_id, *arrays_of(kept, 5)])

    # --- what only a whole log can say ------------------------------------------------------------------------------

    def _settle(self, connection: Connection, job: ClaimedJob, account: Account) -> JobProgress:
        """One log a step."""
        found = connection.execute(NEXT_LOG, [job.tenant_id, job.position["log"]]).fetchone()
        if found is None:
            return JobProgress("done", job.done, job.done, UNIT, finished=True, result=account.result)
        log_id = found[0]
        adrs = [
            LoggedAdr(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), row[6])
            for row in connection.execute(READ_LOG, [job.tenant_id, log_id])
        ]
        numbers = self._reader.settle_numbers(adrs)
        if numbers:
            _write_numbers(connection, job.tenant_id, log_id, numbers)
            for adr in adrs:
                if adr.adr_id in numbers:
                    account.note("number", adr.path or str(adr.adr_id), adr.number, numbers[adr.adr_id])
            adrs = [msgspec.structs.replace(adr, number=numbers.get(adr.adr_id, adr.number)) for adr in adrs]
        links: list[LinkRow] = [
            (row[0], row[1], row[2], row[3]) for row in connection.execute(READ_LINKS, [job.tenant_id, log_id])
        ]
        moved = self._reader.settle_links(adrs, links)
        if moved:
            connection.execute(POINT_LINKS, [*arrays_of(moved, 4), job.tenant_id])
            paths = {adr.adr_id: adr.path or str(adr.adr_id) for adr in adrs}
            before = {link[:3]: link[3] for link in links}
            for adr_id, kind, target, target_id in moved:
                was, now = before[adr_id, kind, target], target_id
                account.note(
                    "leads to",
                    f"{paths[adr_id]}: {kind} {target}",
                    paths.get(was, was) if was else None,
                    paths.get(now, now) if now else None,
                )
        return _go_on("settling numbers and links", job.done, job.total, account, {"log": str(log_id)})


def _go_on(phase: str, done: int, total: int | None, account: Account, position: Mapping[str, Any]) -> JobProgress:
    # Texts may come while it reads: what is done is never more than all.
    return JobProgress(
        phase,
        done,
        None if total is None else max(done, total),
        UNIT,
        {**position, "result": account.result},
        result=account.result,
    )


def _codes(oddities: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(str(each["code"]) for each in oddities) or "none"


def _find_change(row: _KeptVersion, reading: TextReading, account: Account) -> tuple[UUID, int, str, str] | None:
    """Title and status as they are to be, where they are not. What was given stays; so does what may have been."""
    unknown_origin = not row.counted and not row.imported
    title = row.title if row.title_given or unknown_origin or reading.title is None else reading.title
    status = row.status if row.status_given or unknown_origin or reading.status is None else reading.status
    if unknown_origin and (reading.title, reading.status) != (row.title, row.status):
        account.count("kept")
    if title != row.title:
        account.note("title", f"{row.name} v{row.version}", row.title, title)
    if status != row.status:
        account.note("status", f"{row.name} v{row.version}", row.status, status)
    return (row.adr_id, row.version, title, status) if (title, status) != (row.title, row.status) else None


# --- SQL ------------------------------------------------------------------------------------------------------------

READ_WORDS = """
  select subject, name, phrase
  from app.reader_words
  where tenant_id = %s
  order by subject, name, phrase
"""
COUNT = "select count(*) from app.adr_versions where tenant_id = %s"
PAGE = """
  with next as (
    select adr_id, version, length(body) as size
    from app.adr_versions
    where tenant_id = %s and (adr_id, version) > (%s::uuid, %s)
    order by adr_id, version
    limit %s
  ),
  fitting as (select adr_id, version, sum(size) over (order by adr_id, version) - size as before from next)
  select v.adr_id, v.version, coalesce(v.source_key, ''), v.source_ref is not null, v.body
  from fitting f
  join app.adr_versions v on v.tenant_id = %s and v.adr_id = f.adr_id and v.version = f.version
  where f.before < %s
  order by v.adr_id, v.version
"""


def _count(connection: Connection, tenant_id: UUID) -> int:
    row = connection.execute(COUNT, [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


def _page(connection: Connection, tenant_id: UUID, after: Sequence[Any]) -> list[VersionText]:
    rows = connection.execute(PAGE, [tenant_id, *after, VERSIONS_MAX, tenant_id, PAGE_CHARS_MAX])
    return [VersionText(*row) for row in rows]


LOCK_LOGS = """
  select
  from app.logs
  where tenant_id = %s and log_id in (select log_id from app.adrs where tenant_id = %s and adr_id = any(%s))
  order by log_id
  for no key update
"""
LOCK_HEADS = """
  select
  from app.adrs
  where tenant_id = %s and adr_id = any(%s)
  order by adr_id
  for no key update
"""
READ_ROWS = """
  select
    v.adr_id, v.version, v.title, v.status, v.title_given, v.status_given, v.reading > 0,
    v.source_ref is not null, v.version = a.version, a.title, a.status, a.label, a.source_key, r.reader,
    r.oddities
  from unnest(%s::uuid[], %s::int[]) as n (adr_id, version)
  join app.adr_versions v on v.tenant_id = %s and v.adr_id = n.adr_id and v.version = n.version
  join app.adrs a on a.tenant_id = v.tenant_id and a.adr_id = v.adr_id
  left join app.adr_readings r on r.tenant_id = v.tenant_id and r.adr_id = v.adr_id
  order by v.adr_id, v.version
"""


def _rows(connection: Connection, tenant_id: UUID, keys: Sequence[tuple[UUID, int]]) -> list[_KeptVersion]:
    return [_KeptVersion(*row) for row in connection.execute(READ_ROWS, [*arrays_of(keys, 2), tenant_id])]


# Whole: what an update leaves out would be missing from the topic, whose newest record of a version is all there is.
UPDATE_VERSIONS = """
  update app.adr_versions v
  set
    title = n.title,
    status = n.status,
    body = v.body || '',
    original = v.original || ''::bytea,
    reading = v.reading + 1
  from unnest(%s::uuid[], %s::int[], %s::text[], %s::text[]) as n (adr_id, version, title, status)
  where v.tenant_id = %s and v.adr_id = n.adr_id and v.version = n.version
"""
UPDATE_HEADS = """
  update app.adrs a
  set title = n.title, status = n.status, label = n.label
  from unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) as n (adr_id, title, status, label)
  where a.tenant_id = %s and a.adr_id = n.adr_id
"""
KEEP_READINGS = """
  insert into app.adr_readings as r (tenant_id, adr_id, reader, number, label, oddities)
  select %s, *
  from unnest(%s::uuid[], %s::int[], %s::int[], %s::text[], %s::jsonb[])
  on conflict (tenant_id, adr_id)
  do update set
    reader = excluded.reader,
    number = excluded.number,
    label = excluded.label,
    oddities = excluded.oddities,
    read_at = excluded.read_at
  where (r.reader, r.number, r.label, r.oddities) is distinct from (
    excluded.reader, excluded.number, excluded.label, excluded.oddities
  )
"""
READ_OWN_LINKS = """
  select adr_id, kind, target
  from app.adr_links
  where tenant_id = %s and adr_id = any(%s) and origin = 'text'
"""
DROP_LINKS = """
  delete from app.adr_links l
  using unnest(%s::uuid[], %s::text[], %s::text[]) as n (adr_id, kind, target)
  where l.tenant_id = %s
    and l.adr_id = n.adr_id
    and l.kind = n.kind
    and l.target = n.target
    and l.origin = 'text'
"""
ADD_LINKS = """
  insert into app.adr_links (tenant_id, adr_id, kind, target)
  select %s, *
  from unnest(%s::uuid[], %s::text[], %s::text[])
  on conflict do nothing
"""


def _write_links(
    connection: Connection, tenant_id: UUID, newest: Sequence[tuple[_KeptVersion, TextReading]], account: Account
) -> None:
    """The links of texts as the texts have them now. Where they lead is settled by log."""
    names = {row.adr_id: row.name for row, _ in newest}
    wanted = {(row.adr_id, kind, target) for row, reading in newest for kind, target in reading.links}
    stored = {(row[0], row[1], row[2]) for row in connection.execute(READ_OWN_LINKS, [tenant_id, list(names)])}
    gone, new = sorted(stored - wanted), sorted(wanted - stored)
    if gone:
        connection.execute(DROP_LINKS, [*arrays_of(gone, 3), tenant_id])
    for adr_id, kind, target in gone:
        account.note("links", names[adr_id], f"{kind} {target}", None)
    added = [link for link in new if connection.execute(ADD_LINKS, [tenant_id, *arrays_of([link], 3)]).rowcount]
    for adr_id, kind, target in added:
        account.note("links", names[adr_id], None, f"{kind} {target}")


NEXT_LOG = """
  select log_id
  from app.logs
  where tenant_id = %s and log_id > %s::uuid
  order by log_id
  limit 1
  for no key update
"""
READ_LOG = """
  select
    a.adr_id, a.number, a.label, a.source_key, a.deleted_at is null,
    array(
      select distinct v.source_key
      from app.adr_versions v
      where v.tenant_id = a.tenant_id and v.adr_id = a.adr_id and v.source_key <> a.source_key
    ),
    coalesce(r.number, case when r.reader is null then a.number end)
  from app.adrs a
  left join app.adr_readings r on r.tenant_id = a.tenant_id and r.adr_id = a.adr_id
  where a.tenant_id = %s and a.log_id = %s
  order by a.created_at, a.adr_id
"""
LET_GO = "update app.adrs set number = null where tenant_id = %s and adr_id = any(%s) and number is not null"
SET_NUMBERS = """
  update app.adrs a
  set number = n.number
  from unnest(%s::uuid[], %s::int[]) as n (adr_id, number)
  where a.tenant_id = %s and a.adr_id = n.adr_id
"""
RAISE_NEXT = """
  update app.logs
  set next_number = %s
  where tenant_id = %s and log_id = %s and next_number < %s
"""


def _write_numbers(connection: Connection, tenant_id: UUID, log_id: UUID, numbers: Mapping[UUID, int | None]) -> None:
    """What changes hands is let go first, so that two can swap."""
    connection.execute(LET_GO, [tenant_id, list(numbers)])
    given = [(adr_id, number) for adr_id, number in numbers.items() if number is not None]
    if given:
        connection.execute(SET_NUMBERS, [*arrays_of(given, 2), tenant_id])
        most = max(number for _, number in given) + 1
        connection.execute(RAISE_NEXT, [most, tenant_id, log_id, most])


READ_LINKS = """
  select l.adr_id, l.kind, l.target, l.target_id
  from app.adr_links l
  join app.adrs a on a.tenant_id = l.tenant_id and a.adr_id = l.adr_id
  where l.tenant_id = %s and a.log_id = %s and l.origin = 'text'
"""
POINT_LINKS = """
  update app.adr_links l
  set target_id = n.target_id
  from unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[]) as n (adr_id, kind, target, target_id)
  where l.tenant_id = %s and l.adr_id = n.adr_id and l.kind = n.kind and l.target = n.target
"""
