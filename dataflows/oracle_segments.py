"""The plain recount of packed segments, for `adriatic verify`: each is unpacked, and compared with its sources.

Owns what is right where segments are live: each source that is on show is alive in one segment, as it is on show, or is
noted as changed. Refuses to judge what it is compared with, `mv.source_words`, which `dataflows/words.py` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np

from connectors.postgres.word_segments import Ids, Places, as_ids, as_places, as_uuids, find_places
from dataflows.comparison import Comparison

Lists = Mapping[str, tuple[bytes, bytes]]
"""The posting list of each word: places in their order, and a count for each."""

LIVE = "select kind from mv.word_packs where tenant_id = %s and state = 'live' order by kind"
CHANGED = "select source_id from mv.word_changes where tenant_id = %s and kind = %s"
SHOWN = "select source_id, length from mv.source_words where tenant_id = %s and kind = %s"
SEGMENTS = "select segment from mv.word_segments where tenant_id = %s and kind = %s order by segment"
SEGMENT = "select ids, lengths, dead from mv.word_segments where tenant_id = %s and segment = %s"
PAGES = "select lexemes, ends, places, counts from mv.word_pages where tenant_id = %s and segment = %s"
EXPECTED = """
  select
    p.key, string_agg(int2send(p.place::smallint), '' order by p.place),
    string_agg(float4send(p.count), '' order by p.place)
  from mv.pack_words(%s, %s, %s::uuid[]) as p
  where p.place = any (%s::integer[])
  group by p.key
"""


def compare_segments(comparison: Comparison) -> None:
    """`mv.word_segments` and `mv.word_pages` where they are live, with what `mv.word_changes` takes out of them."""
    connection, tenant_id = comparison.connection, comparison.tenant.tenant_id
    for (kind,) in connection.execute(LIVE, [tenant_id]).fetchall():
        changed = {row[0] for row in connection.execute(CHANGED, [tenant_id, kind])}
        shown: dict[UUID, int] = dict(connection.execute(SHOWN, [tenant_id, kind]).fetchall())
        seen: Counter[UUID] = Counter()
        for (segment,) in connection.execute(SEGMENTS, [tenant_id, kind]).fetchall():
            seen += _compare_segment(comparison, kind, segment, changed, shown)
        for source_id in sorted(shown.keys() - seen.keys() - changed):
            comparison.add("missing", f"{kind} {source_id}", "is in no segment, and is not noted as changed")
        for source_id in sorted(seen.keys() - shown.keys()):
            comparison.add("extra", f"{kind} {source_id}", "is alive in a segment, and is not on show")
        for source_id in sorted(source_id for source_id, times in seen.items() if times > 1):
            comparison.add("extra", f"{kind} {source_id}", "is alive in several segments")


def _compare_segment(
    comparison: Comparison, kind: str, segment: int, changed: set[UUID], shown: Mapping[UUID, int]
) -> Counter[UUID]:
    """Compare one, and count what is alive in it."""
    connection, tenant_id = comparison.connection, comparison.tenant.tenant_id
    row = connection.cursor(binary=True).execute(SEGMENT, [tenant_id, segment]).fetchone()
    assert row is not None
    ids, lengths = as_ids(row[0]), np.frombuffer(row[1], dtype=">i4")
    uncounted = find_places(ids, as_ids(b"".join(source_id.bytes for source_id in changed)))
    alive = np.setdiff1d(np.arange(len(ids)), np.concatenate([as_places(row[2]), uncounted]))
    known = as_uuids(ids)
    for place in alive.tolist():
        if shown.get(known[place], lengths[place]) != lengths[place]:
            comparison.add("different", f"{kind} {known[place]}", "is not as long in its segment as it is on show")
    kept, right = _unpack(comparison, segment, alive), _expect(comparison, kind, ids, alive)
    for word in sorted(kept.keys() | right.keys()):
        if kept.get(word) != right.get(word):
            where = f"{kind} segment {segment} word {word}"
            comparison.add("different", where, "mv.word_pages does not have the sources that show it, or how often")
    return Counter(known[place] for place in alive.tolist())


def _unpack(comparison: Comparison, segment: int, alive: Places) -> Lists:
    lists: dict[str, tuple[bytes, bytes]] = {}
    rows = comparison.connection.cursor(binary=True).execute(PAGES, [comparison.tenant.tenant_id, segment])
    for lexemes, ends, places, counts in rows:
        at, often = as_places(places), np.frombuffer(counts, dtype=">f4")
        for word, start, end in zip(lexemes, [0, *ends], ends, strict=False):
            order = np.argsort(at[start:end])
            order = order[np.isin(at[start:end][order], alive)]
            if len(order):
                kept = (at[start:end][order].astype(">i2").tobytes(), often[start:end][order].tobytes())
                lists[word] = kept
    return lists


def _expect(comparison: Comparison, kind: str, ids: Ids, alive: Places) -> Lists:
    arguments: list[Any] = [comparison.tenant.tenant_id, kind, as_uuids(ids), alive.tolist()]
    rows = comparison.connection.cursor(binary=True).execute(EXPECTED, arguments)
    return {word: (places, counts) for word, places, counts in rows}
