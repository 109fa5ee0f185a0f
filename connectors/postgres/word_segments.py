"""Segments of tenants that have outgrown the bounded search by words: written, merged and left, a step at a time.

Owns the order of steps, and which sources a segment is written of. Every step is one transaction that leaves the tables
whole, so whoever comes next goes on, after a kill too; one process at a time takes them. Refuses to note what changed:
the flow `index` does, in its transaction. Read next: `schemas/sql/0044_word_segments.sql`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import numpy as np
import numpy.typing as npt

from connectors.postgres.connections import Connection, read_value
from runtime.settings import SearchSettings

Ids = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.intp]
PackStep = Literal["began", "filled", "live", "packed", "merged", "left"]
PackState = Literal["filling", "live"]

SEGMENT_SOURCES_MAX = 32_768
"""Sources of a segment: their places are two bytes, and their scores 128 kB, which stay in a processor's cache. Writing
one takes some ten seconds, in which nobody is locked out."""
CHANGES_MIN = 64
"""Changes that are worth a segment of their own. Fewer cost each search a look-up of each, a millisecond together."""
CHANGES_MAX = 2_000
"""Sources that changed since their segment was written, and that a search scores one by one beside it: 30 ms. A kind
with more is ranked by bounded look-ups until the agent `jobs` has taken them up."""
SMALL_SHARE = 0.5
"""A segment with less than this share of the most is small, also when it was larger and most of it is dead."""
SMALL_SEGMENTS_MAX = 8
"""Small segments of a kind. When there are more, some are merged, so a search reads twice the fewest segments that
could hold the kind, and eight more."""
MERGE_FACTOR = 4
"""A segment is merged with smaller ones when it is at most so many times as large as they are together: a source is
written anew a few times until it lies in a full segment, and not with each change of another."""
LEAVE_SHARE = 0.5
"""Segments are left when a kind has less than this share of the sources that it gets them for."""
SOURCE_WORDS = 50
"""Words that count as one source, where a kind has longer ones: reading the words of all takes as long as there are
words. It takes 20 ms for 460 sources with 660 words each by look-ups, and 3 ms by segments (docs/decisions/0072)."""


@dataclass(frozen=True, slots=True)
class PackedSegment:
    """One segment, by what is alive in it."""

    segment: int
    alive: int


@dataclass(frozen=True, slots=True)
class PackHealth:
    """All kinds that have segments. `changes`: of the kind with most of those that no segment has taken up yet."""

    states: Mapping[PackState, int]
    changes: int

    @property
    def is_behind(self) -> bool:
        """Whether searches of some kind look at a bounded part of it for now."""
        return self.changes > CHANGES_MAX


ALONE = "select pg_try_advisory_xact_lock(4271005)"
"""One process writes segments at a time: what is dead is marked by whoever writes."""

SMALL = """
  select p.tenant_id, p.kind
  from mv.word_packs p
  left join mv.word_totals t using (tenant_id, kind)
  where greatest(coalesce(t.sources, 0), coalesce(t.length, 0) / %s) < %s
  limit 1
"""
LARGE = """
  select t.tenant_id, t.kind
  from mv.word_totals t
  left join mv.word_packs p using (tenant_id, kind)
  where greatest(t.sources, t.length / %s) >= %s and p.tenant_id is null
  order by t.sources, t.tenant_id, t.kind
  limit 1
"""
"""The smallest first: it is ready soonest."""
FILLING = """
  select tenant_id, kind, filled_to
  from mv.word_packs
  where state = 'filling'
  order by tenant_id, kind
  limit 1
"""
NEXT = """
  select source_id
  from mv.source_words
  where tenant_id = %s and kind = %s and (%s::uuid is null or source_id > %s)
  order by source_id
  limit %s
"""
FILLED_TO = "update mv.word_packs set filled_to = %s where tenant_id = %s and kind = %s"
PUT_LIVE = "update mv.word_packs set state = 'live' where tenant_id = %s and kind = %s"
CHANGED_MUCH = """
  select p.tenant_id, p.kind
  from mv.word_packs p
  join mv.word_changes c using (tenant_id, kind)
  where p.state = 'live'
  group by p.tenant_id, p.kind
  having count(*) >= %s
  order by count(*) desc, p.tenant_id, p.kind
  limit 1
"""
CHANGES = """
  select source_id, change
  from mv.word_changes
  where tenant_id = %s and kind = %s
  order by change
  limit %s
"""
FORGET_CHANGES = """
  delete from mv.word_changes c
  using unnest(%s::uuid[], %s::bigint[]) as d (source_id, change)
  where c.tenant_id = %s and c.kind = %s and c.source_id = d.source_id and c.change = d.change
"""
MANY_SMALL = """
  select s.tenant_id, s.kind
  from mv.word_segments s
  join mv.word_packs p using (tenant_id, kind)
  where p.state = 'live' and s.sources - octet_length(s.dead) / 2 < %s
  group by s.tenant_id, s.kind
  having count(*) > %s
  order by s.tenant_id, s.kind
  limit 1
"""
SEGMENTS = """
  select segment, sources - octet_length(dead) / 2
  from mv.word_segments
  where tenant_id = %s and kind = %s
  order by 2, 1
"""
CONTENT = "select ids, dead from mv.word_segments where tenant_id = %s and segment = %s"
WRITE = "select mv.write_word_segment(%s, %s, %s::uuid[])"
ADD_DEAD = "update mv.word_segments set dead = dead || %s where tenant_id = %s and segment = %s"
DROP = "delete from mv.word_segments where tenant_id = %s and segment = any (%s)"
HEALTH = """
  select
    (select count(*) from mv.word_packs where state = 'filling'),
    (select count(*) from mv.word_packs where state = 'live'),
    coalesce(
      (select max(n) from (select count(*) as n from mv.word_changes group by tenant_id, kind) as c), 0
    )
"""


def step(connection: Connection, settings: SearchSettings) -> PackStep | None:
    """Take one step, in the transaction of `connection`; None when there is nothing to do, or another process does it.
    The role must see all tenants' rows."""
    if not read_value(connection, ALONE):
        return None
    for take in (_leave, _pack, _merge, _fill, _begin):
        if did := take(connection, settings):
            return did
    return None


def read_pack_health(connection: Connection) -> PackHealth:
    """How all kinds that have segments are."""
    row = connection.execute(HEALTH).fetchone()
    assert row is not None
    return PackHealth({"filling": row[0], "live": row[1]}, row[2])


def _leave(connection: Connection, settings: SearchSettings) -> PackStep | None:
    row = connection.execute(SMALL, [SOURCE_WORDS, settings.words_packed_min * LEAVE_SHARE]).fetchone()
    if row is None:
        return None
    connection.execute("select mv.leave_word_pack(%s, %s)", row)
    return "left"


def _begin(connection: Connection, settings: SearchSettings) -> PackStep | None:
    row = connection.execute(LARGE, [SOURCE_WORDS, settings.words_packed_min]).fetchone()
    if row is None:
        return None
    connection.execute("select mv.begin_word_pack(%s, %s)", row)
    return "began"


def _fill(connection: Connection, settings: SearchSettings) -> PackStep | None:
    """Take the next sources into a segment. Those that were noted as changed are taken too: nobody counts them here."""
    row = connection.execute(FILLING).fetchone()
    if row is None:
        return None
    tenant_id, kind, filled_to = row
    rows = connection.execute(NEXT, [tenant_id, kind, filled_to, filled_to, SEGMENT_SOURCES_MAX]).fetchall()
    if not rows:
        connection.execute(PUT_LIVE, [tenant_id, kind])
        return "live"
    connection.execute(WRITE, [tenant_id, kind, [row[0] for row in rows]])
    connection.execute(FILLED_TO, [rows[-1][0], tenant_id, kind])
    return "filled"


def _pack(connection: Connection, settings: SearchSettings) -> PackStep | None:
    """Take what changed into a segment, and mark it as dead where it was before. A source that changes meanwhile has a
    later number, so it stays noted."""
    row = connection.execute(CHANGED_MUCH, [CHANGES_MIN]).fetchone()
    if row is None:
        return None
    tenant_id, kind = row
    changes = connection.execute(CHANGES, [tenant_id, kind, SEGMENT_SOURCES_MAX]).fetchall()
    sources = [source_id for source_id, _ in changes]
    _mark_dead(connection, tenant_id, kind, sources)
    connection.execute(WRITE, [tenant_id, kind, sources])
    # The flow locks this row first and the notes after it: whoever has it waits for nobody.
    connection.execute("select mv.lock_word_totals(%s, %s)", row)
    connection.execute(FORGET_CHANGES, [sources, [number for _, number in changes], tenant_id, kind])
    return "packed"


def _mark_dead(connection: Connection, tenant_id: UUID, kind: str, sources: Sequence[UUID]) -> None:
    """Mark these sources as dead in each segment, and drop the segments in which nothing is alive any more."""
    gone = as_ids(b"".join(source_id.bytes for source_id in sources))
    for segment, alive in connection.execute(SEGMENTS, [tenant_id, kind]).fetchall():
        ids, dead = _read(connection, tenant_id, segment)
        dying = np.setdiff1d(find_places(ids, gone), dead)
        if len(dying) == alive:
            connection.execute(DROP, [tenant_id, [segment]])
        elif len(dying):
            connection.execute(ADD_DEAD, [dying.astype(">i2").tobytes(), tenant_id, segment])


def _merge(connection: Connection, settings: SearchSettings) -> PackStep | None:
    """Write what is alive in some small segments into one. A source that changes meanwhile is noted, and counts
    nowhere."""
    row = connection.execute(MANY_SMALL, [SEGMENT_SOURCES_MAX * SMALL_SHARE, SMALL_SEGMENTS_MAX]).fetchone()
    if row is None:
        return None
    tenant_id, kind = row
    segments = [PackedSegment(*each) for each in connection.execute(SEGMENTS, [tenant_id, kind])]
    chosen = choose_to_merge(segments)
    alive: list[UUID] = []
    for segment in chosen:
        alive += as_uuids(np.delete(*_read(connection, tenant_id, segment)))
    connection.execute(WRITE, [tenant_id, kind, alive])
    connection.execute(DROP, [tenant_id, chosen])
    return "merged"


def _read(connection: Connection, tenant_id: UUID, segment: int) -> tuple[Ids, Places]:
    """Read the ids of a segment, and the places of those that are dead."""
    row = connection.cursor(binary=True).execute(CONTENT, [tenant_id, segment]).fetchone()
    assert row is not None
    return as_ids(row[0]), as_places(row[1])


def choose_to_merge(segments: Sequence[PackedSegment]) -> list[int]:
    """The smallest, as far as they fit into one and are worth it. `segments`: the smallest first, two of them small."""
    chosen, together = [segments[0].segment, segments[1].segment], segments[0].alive + segments[1].alive
    for each in segments[2:]:
        if each.alive > MERGE_FACTOR * together or together + each.alive > SEGMENT_SOURCES_MAX:
            break
        chosen.append(each.segment)
        together += each.alive
    return chosen


# --- how it is packed -----------------------------------------------------------------------------------------------


def as_ids(packed: bytes) -> Ids:
    """Ids, in the order of their bytes. Each is compared over all of its 16 bytes: none is shorter than another."""
    return np.frombuffer(packed, dtype="S16")


def as_uuids(ids: Ids) -> list[UUID]:
    packed = ids.tobytes()
    return [UUID(bytes=packed[start : start + 16]) for start in range(0, len(packed), 16)]


def as_places(packed: bytes) -> Places:
    """Places of sources in their segment."""
    return np.frombuffer(packed, dtype=">i2").astype(np.intp)


def find_places(ids: Ids, wanted: Ids) -> Places:
    """Where those of the wanted ids are that are among these, which are in order."""
    places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return places.compress(ids.take(places) == wanted)
