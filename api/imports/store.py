"""What an import reads from Postgres and writes to it: whole batches, a handful of statements each.

Owns the SQL of `app.adrs`, `app.adr_versions` and `app.adr_links` for imports, and `app.imports` itself. Refuses to
decide anything: `plan` does. Every function takes a connection that is in a `tenant_transaction`; row security adds the
tenant to every statement, so the statements name it only where they insert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from api.adrs import links, readings
from api.adrs.document import ParsedAdr
from api.adrs.mentions import number_of_path
from api.db import Connection, to_struct
from api.imports.links import KnownAdr
from api.imports.plan import BatchPlan, PlannedHead, ReadableEvent, State, VersionRow
from api.imports.schemas import EXAMPLES_MAX, Import, LogTotals, Remark, StartImport, Tally
from api.logs import service as logs
from runtime.errors import NotFound
from runtime.ids import new_id
from schemas.arrays import arrays_of

# ------------------------------------------------------------------------------------------------- the import itself


_FIND_LOG = """
  select a.log_id
  from app.adrs a
  join app.logs l using (tenant_id, log_id)
  where l.slug = any($2)
    and a.source_key is not null
    and case when $1 = '' then position('/' in a.source_key) = 0 else starts_with(a.source_key, $1 || '/') end
  group by a.log_id, l.slug
  order by array_position($2, l.slug)
  limit 1
"""


async def start(connection: Connection, tenant_id: UUID, wanted: StartImport) -> Import:
    """A new import into the log `wanted.log`, which is made when it is missing, or into the one that has its folder."""
    log_id = None
    if wanted.folder is not None:
        slugs = [wanted.log, *wanted.or_logs]
        log_id = await connection.fetchval(_FIND_LOG, wanted.folder.rstrip("/"), slugs)
    log_id = log_id or await logs.ensure(connection, tenant_id, wanted.log)
    import_id = new_id()
    await connection.execute(
        "insert into app.imports (tenant_id, import_id, log_id, source, snapshot) values ($1, $2, $3, $4, $5)",
        *(tenant_id, import_id, log_id, wanted.source, wanted.snapshot),
    )
    return (await read(connection, import_id))[0]


_READ = """
  select i.*, l.slug as log, case when i.finished_at is null then 'running' else 'finished' end as state
  from app.imports i
  join app.logs l using (tenant_id, log_id)
  where i.import_id = $1
"""


async def read(connection: Connection, import_id: UUID) -> tuple[Import, UUID, bool]:
    """The import, its log's id, and whether it is a snapshot. Raises `NotFound`."""
    row = await connection.fetchrow(_READ, import_id)
    if row is None:
        raise NotFound("there is no such import", hint="POST /v1/imports starts one")
    return to_struct(row, Import, "refused", "odd"), row["log_id"], row["snapshot"]


async def lock_log(connection: Connection, log_id: UUID) -> None:
    """One writer of numbers and paths at a time; creates through the API take the same lock."""
    await connection.execute("select 1 from app.logs where log_id = $1 for update", log_id)


_ADD_COUNTS = """
  update app.imports
  set
    events = events + $2,
    applied = applied + $3,
    skipped = skipped + $4,
    versions = versions + $5,
    refused = $6,
    odd = $7,
    finished_at = null
  where import_id = $1
"""


async def count(connection: Connection, import_id: UUID, plan: BatchPlan, received: int) -> None:
    """Add a batch to the import's row."""
    row = await connection.fetchrow("select refused, odd from app.imports where import_id = $1 for update", import_id)
    await connection.execute(
        _ADD_COUNTS,
        *(import_id, received, plan.applied, plan.skipped, len(plan.versions)),
        *(_tally(row["refused"], plan.refused), _tally(row["odd"], plan.odd)),
    )


async def finish(connection: Connection, import_id: UUID, odd: Sequence[Remark]) -> None:
    stored = await connection.fetchval("select odd from app.imports where import_id = $1 for update", import_id)
    await connection.execute(
        "update app.imports set finished_at = now(), odd = $2 where import_id = $1", import_id, _tally(stored, odd)
    )


_SUMMARIZE_LOG = """
  with mine as (select adr_id, number, version, deleted_at from app.adrs where log_id = $1)
  select
    count(*) filter (where deleted_at is null) as live,
    count(*) filter (where deleted_at is not null) as deleted, coalesce(sum(version), 0)::bigint as versions,
    count(*) filter (where number is not null and deleted_at is null) as numbered,
    (select count(*) from app.adr_links join mine using (adr_id)) as links,
    (select count(target_id) from app.adr_links join mine using (adr_id)) as links_resolved
  from mine
"""


async def totals(connection: Connection, log_id: UUID) -> LogTotals:
    row = await connection.fetchrow(_SUMMARIZE_LOG, log_id)
    return to_struct(row, LogTotals)


_TALLIES = msgspec.json.Decoder(dict[str, Tally])


def _tally(stored: str, remarks: Iterable[Remark]) -> str:
    tallies = _TALLIES.decode(stored)
    for each in remarks:
        before = tallies.get(each.code, Tally(0))
        examples = (*before.examples, each) if len(before.examples) < EXAMPLES_MAX else before.examples
        tallies[each.code] = Tally(before.count + 1, examples)
    return msgspec.json.encode(tallies).decode()


# ------------------------------------------------------------------------------------------------------- a batch: in


_READ_HEADS = """
  select adr_id, number, label, title, status, version, source_key, created_at, updated_at, deleted_at
  from app.adrs
  where log_id = $1 and (source_key = any($2) or number = any($3))
  order by updated_at, adr_id
"""


async def load(connection: Connection, log_id: UUID, changes: Sequence[ReadableEvent], *, snapshot: bool) -> State:
    """What the database has of the paths, numbers and commits that `changes` mention."""
    events = [change.event for change in changes]
    paths = sorted({path for event in events for path in (event.path, event.old_path) if path})
    numbers = {change.number for change in changes} | {number_of_path(event.path) for event in events}
    known, refused = await _load_seen(connection, log_id, changes)
    state = State(known=known, refused=refused)
    wanted = sorted(number for number in numbers if number is not None)
    for row in await connection.fetch(_READ_HEADS, log_id, paths, wanted):
        head = PlannedHead(**row, stored_number=row["number"], stored_source_key=row["source_key"])
        if head.source_key in paths:
            # In order of time: of several ADRs that were deleted at one path, the last one stays.
            (state.live if head.deleted_at is None else state.deleted)[head.source_key] = head
        if head.number is not None:
            state.numbers[head.number] = head
    ending = {event.path for event in events if event.change in "DR" or snapshot}
    await _load_texts(connection, [head for path, head in state.live.items() if path in ending])
    return state


_READ_APPLIED = """
  select v.source_key, v.source_ref
  from app.adr_versions v
  join app.adrs a using (tenant_id, adr_id)
  where v.source_ref = any($1) and v.source_key = any($2) and a.log_id = $3
"""

_READ_REFUSED = """
  select source_key, source_ref, code, detail
  from app.import_refusals
  where source_ref = any($1) and source_key = any($2) and log_id = $3
"""


async def _load_seen(
    connection: Connection, log_id: UUID, changes: Sequence[ReadableEvent]
) -> tuple[set[tuple[str, str]], dict[tuple[str, str], Remark]]:
    """The (path, ref) of changes that were applied before, and of those that were refused."""
    keys = sorted({change.event.ref for change in changes}), sorted({change.event.path for change in changes})
    applied = await connection.fetch(_READ_APPLIED, *keys, log_id)
    refused = await connection.fetch(_READ_REFUSED, *keys, log_id)
    return {(row[0], row[1]) for row in applied}, {(row[0], row[1]): Remark(*row) for row in refused}


_INSERT_REFUSALS = """
  insert into app.import_refusals (tenant_id, log_id, source_ref, source_key, code, detail)
  select $1, $2, *
  from unnest($3::text[], $4::text[], $5::text[], $6::text[])
  on conflict do nothing
"""


async def remember_refusals(connection: Connection, tenant_id: UUID, log_id: UUID, refused: Sequence[Remark]) -> None:
    """Keep what was refused, so that it stays refused."""
    if refused:
        rows = [(each.ref, each.path, each.code, each.detail[:500]) for each in refused]
        await connection.execute(_INSERT_REFUSALS, tenant_id, log_id, *arrays_of(rows, 4))


_READ_TEXTS = """
  select v.adr_id, v.body, v.original
  from app.adr_versions v
  join app.adrs a using (tenant_id, adr_id, version)
  where a.adr_id = any($1)
"""


async def _load_texts(connection: Connection, heads: Sequence[PlannedHead]) -> None:
    if not heads:
        return
    by_id = {head.adr_id: head for head in heads}
    for row in await connection.fetch(_READ_TEXTS, list(by_id)):
        by_id[row["adr_id"]].body = row["body"]
        by_id[row["adr_id"]].original = row["original"]


# ------------------------------------------------------------------------------------------------------ a batch: out


_INSERT_ADRS = """
  insert into app.adrs (
    tenant_id, log_id, adr_id, number, label, title, status, version, source_key, created_at, updated_at,
    deleted_at
  )
  select $1, $2, *
  from unnest(
    $3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::int[], $9::text[], $10::timestamptz[],
    $11::timestamptz[], $12::timestamptz[]
  )
"""
_UPDATE_ADRS = """
  update app.adrs a
  set
    number = n.number,
    label = n.label,
    title = n.title,
    status = n.status,
    version = n.version,
    source_key = n.source_key,
    updated_at = n.updated_at,
    deleted_at = n.deleted_at
  from unnest(
    $1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::timestamptz[],
    $9::timestamptz[]
  ) as n (adr_id, number, label, title, status, version, source_key, updated_at, deleted_at)
  where a.adr_id = n.adr_id
"""
_LET_GO = "update app.adrs set number = null, source_key = null where adr_id = any($1)"
_INSERT_VERSIONS = """
  insert into app.adr_versions (
    tenant_id, adr_id, version, change, title, status, body, original, message, author, source_key,
    source_ref, effective_at, author_id, traceparent
  )
  select $1, v.*, $2, $3
  from unnest(
    $4::uuid[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::text[],
    $12::text[], $13::text[], $14::text[], $15::timestamptz[]
  ) as v
"""


async def write(
    connection: Connection, tenant_id: UUID, log_id: UUID, plan: BatchPlan, *, author_id: UUID, traceparent: str | None
) -> None:
    """Write a plan: heads, versions, links."""
    touched = list(plan.touched.values())
    new = [head for head in touched if head.is_new]
    old = [head for head in touched if not head.is_new]
    moved = [
        head.adr_id
        for head in old
        if head.deleted_at is not None
        or head.stored_number not in (None, head.number)
        or head.stored_source_key not in (None, head.source_key)
    ]
    if moved:
        # Unique indexes are checked row by row: what may change hands is let go first, so that two can swap.
        await connection.execute(_LET_GO, moved)
    if old:
        await connection.execute(_UPDATE_ADRS, *_columns(old, created=False))
    if new:
        await connection.execute(_INSERT_ADRS, tenant_id, log_id, *_columns(new, created=True))
    if plan.versions:
        columns = arrays_of(map(msgspec.structs.astuple, plan.versions), len(VersionRow.__struct_fields__))
        await connection.execute(_INSERT_VERSIONS, tenant_id, author_id, traceparent, *columns)
    read = [(head.adr_id, head.document) for head in touched if head.document is not None]
    await _write_links(connection, tenant_id, read)
    await readings.keep(connection, tenant_id, read)
    await _raise_next_number(connection, log_id, max((head.number or 0 for head in touched), default=0))


async def _raise_next_number(connection: Connection, log_id: UUID, given: int) -> None:
    """No number is given twice: the log's next one is above `given`."""
    await connection.execute(
        "update app.logs set next_number = $2 where log_id = $1 and next_number < $2", log_id, given + 1
    )


def _columns(heads: Sequence[PlannedHead], *, created: bool) -> list[list[Any]]:
    rows = [
        (
            *(head.adr_id, head.number, head.label, head.title, head.status, head.version, head.source_key),
            *((head.created_at,) if created else ()),
            *(head.updated_at, head.deleted_at),
        )
        for head in heads
    ]
    return arrays_of(rows, len(rows[0]))


_ADD_LINKS = """
  insert into app.adr_links (tenant_id, adr_id, kind, target)
  select $1, *
  from unnest($2::uuid[], $3::text[], $4::text[])
  on conflict do nothing
"""


async def _write_links(connection: Connection, tenant_id: UUID, read: Sequence[tuple[UUID, ParsedAdr]]) -> None:
    """Make the links from texts what the newest texts say. Those that stay are not written again."""
    if not read:
        return
    rows = [(adr_id, link.kind, link.target) for adr_id, document in read for link in document.links]
    columns = await links.drop_from_texts(connection, [adr_id for adr_id, _ in read], rows)
    if rows:
        await connection.execute(_ADD_LINKS, tenant_id, *columns)


# ------------------------------------------------------------------------------------------------------------ the end


_READ_PATHS = """
  select
    a.adr_id, a.number, a.label, a.source_key as path, a.deleted_at is null as live,
    coalesce(array_agg(distinct v.source_key) filter (where v.source_key <> a.source_key), '{}') as former,
    max(r.number) as wanted, count(r.adr_id) > 0 as has_reading
  from app.adrs a
  left join app.adr_versions v using (tenant_id, adr_id)
  left join app.adr_readings r using (tenant_id, adr_id)
  where a.log_id = $1
  group by a.tenant_id, a.adr_id
  order by a.created_at, a.adr_id
"""


async def load_adrs(connection: Connection, log_id: UUID) -> list[KnownAdr]:
    """Every ADR of the log, with the paths that it has had."""
    return [
        KnownAdr(
            *(row["adr_id"], row["number"], row["path"], row["live"]),
            former_paths=tuple(row["former"]),
            label=row["label"] or "",
            # A text that no reader of this release has read claims what its path does.
            wanted=row["wanted"] if row["has_reading"] else number_of_path(row["path"] or ""),
        )
        for row in await connection.fetch(_READ_PATHS, log_id)
    ]


_SET_NUMBERS = """
  update app.adrs a
  set number = n.number
  from unnest($1::uuid[], $2::int[]) as n (adr_id, number)
  where a.adr_id = n.adr_id
"""


async def set_numbers(connection: Connection, log_id: UUID, numbers: Mapping[UUID, int]) -> None:
    if numbers:
        await connection.execute(_SET_NUMBERS, list(numbers), list(numbers.values()))
        await _raise_next_number(connection, log_id, max(numbers.values()))


_READ_TEXT_LINKS = """
  select l.adr_id, l.kind, l.target, l.target_id
  from app.adr_links l
  join app.adrs a using (tenant_id, adr_id)
  where a.log_id = $1 and l.origin = 'text'
"""


async def text_links(connection: Connection, log_id: UUID) -> list[tuple[UUID, str, str, UUID | None]]:
    """(adr_id, kind, target, target_id) of every link that was read from a text of the log."""
    rows = await connection.fetch(_READ_TEXT_LINKS, log_id)
    return [tuple(row) for row in rows]


_POINT_LINKS = """
  update app.adr_links l
  set target_id = n.target_id
  from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[]) as n (adr_id, kind, target, target_id)
  where l.adr_id = n.adr_id and l.kind = n.kind and l.target = n.target
"""


async def point_links(connection: Connection, found: Sequence[tuple[UUID, str, str, UUID | None]]) -> None:
    """Set what links resolve to."""
    if found:
        await connection.execute(_POINT_LINKS, *arrays_of(found, 4))
