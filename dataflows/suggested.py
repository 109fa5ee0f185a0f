"""What the flow `related` keeps beside its lists: suggestions of pairs that are near, in `mv.suggestions`.

Owns which pairs are looked at again, what of a decision counts, and what is written. A row is a function of the lists,
of the texts and links of its two decisions, and of which of them is the newer: that function is
`connectors/reading/suggesting.py`. Refuses what people answered: that is the API's (`api/suggestions`).

A pair of which one is not findable in its newest version keeps what it has, until that is. Then all its pairs are
looked at again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple
from uuid import UUID

from connectors.postgres.connections import Connection
from connectors.reading.outcomes import Decision, DecisionText
from connectors.reading.suggesting import suggest
from dataflows.related_features import KIND, links_of
from schemas.arrays import arrays_of
from schemas.suggestions import IN_FORCE, suggestion_id

APART: Final = frozenset({"relates-to"})
"""Kinds of links that say nothing of which decision holds. Any other has settled it."""
IDS_AT_ONCE: Final = 500
"""Decisions whose texts are in memory at a time: some 10 MB."""

Pair = tuple[UUID, UUID]
"""Two ADRs, the lower id first."""


class SuggestionRow(NamedTuple):
    """A row of `mv.suggestions`, in the order of `UPSERT`."""

    tenant_id: UUID
    suggestion_id: UUID
    newer_id: UUID
    older_id: UUID
    kind: str
    evidence: str
    terms: list[str]
    newer_field: str
    newer_start: int
    newer_end: int
    newer_quote: str
    older_field: str
    older_start: int
    older_end: int
    older_quote: str


@dataclass(frozen=True, slots=True)
class Dated:
    """A decision, and where it stands in time. `whole`: its newest version is findable."""

    created_at: datetime
    status: str
    whole: bool
    decision: Decision


def pair_of(one: UUID, other: UUID) -> Pair:
    return (one, other) if one < other else (other, one)


# --- after a change -------------------------------------------------------------------------------------------------


NEAR_TO = """
  select source_id, related_id
  from mv.related
  where tenant_id = %(tenant)s and kind = %(kind)s and source_id = any(%(ids)s)
  union
  select source_id, related_id
  from mv.related
  where tenant_id = %(tenant)s and kind = %(kind)s and related_id = any(%(ids)s)
"""
NEAR = """
  select g.one_id, g.other_id
  from unnest(%(one)s::uuid[], %(other)s::uuid[]) as g (one_id, other_id)
  where exists (
    select
    from mv.related r
    where r.tenant_id = %(tenant)s
      and r.kind = %(kind)s
      and (
        (r.source_id = g.one_id and r.related_id = g.other_id)
        or (r.source_id = g.other_id and r.related_id = g.one_id)
      )
  )
"""
KEPT = """
  select newer_id, older_id
  from mv.suggestions
  where tenant_id = %(tenant)s and newer_id = any(%(ids)s)
  union
  select newer_id, older_id
  from mv.suggestions
  where tenant_id = %(tenant)s and older_id = any(%(ids)s)
  union
  select s.newer_id, s.older_id
  from unnest(%(one)s::uuid[], %(other)s::uuid[]) as g (one_id, other_id)
  join mv.suggestions s on s.tenant_id = %(tenant)s
    and (
      (s.newer_id = g.one_id and s.older_id = g.other_id)
      or (s.newer_id = g.other_id and s.older_id = g.one_id)
    )
"""
DELETE = """
  delete from mv.suggestions
  where tenant_id = %s and suggestion_id = any(%s)
"""
UPSERT = """
  insert into mv.suggestions as s (
    tenant_id, suggestion_id, newer_id, older_id, kind, evidence, terms, newer_field, newer_start, newer_end,
    newer_quote, older_field, older_start, older_end, older_quote
  )
  values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
  on conflict (tenant_id, suggestion_id)
  do update set
    kind = excluded.kind,
    evidence = excluded.evidence,
    terms = excluded.terms,
    newer_field = excluded.newer_field,
    newer_start = excluded.newer_start,
    newer_end = excluded.newer_end,
    newer_quote = excluded.newer_quote,
    older_field = excluded.older_field,
    older_start = excluded.older_start,
    older_end = excluded.older_end,
    older_quote = excluded.older_quote
  where s is distinct from excluded
"""


def keep_suggestions(
    connection: Connection, tenant_id: UUID, changed: Collection[UUID], moved: Collection[Pair]
) -> None:
    """Make the suggestions of one tenant what its lists and texts give, after `changed` ADRs have another text, status
    or link, and `moved` pairs came into a list or left one."""
    of = {"tenant": tenant_id, "kind": KIND, "ids": sorted(changed)}
    near_to = {pair_of(*row) for row in connection.execute(NEAR_TO, of)}
    one, other = arrays_of(sorted({pair_of(*pair) for pair in moved} - near_to), 2)
    of |= {"one": one, "other": other}
    near = near_to | {pair_of(*row) for row in connection.execute(NEAR, of)}
    kept = {pair_of(*row): row for row in connection.execute(KEPT, of).fetchall()}
    wanted, unclear = find(connection, tenant_id, sorted(near))
    gone = [suggestion_id(*row) for pair, row in sorted(kept.items()) if pair not in wanted and pair not in unclear]
    if gone:
        connection.execute(DELETE, [tenant_id, gone])
    connection.cursor().executemany(UPSERT, [wanted[pair] for pair in sorted(wanted)])


# --- what is right --------------------------------------------------------------------------------------------------


def find(connection: Connection, tenant_id: UUID, pairs: Sequence[Pair]) -> tuple[dict[Pair, SuggestionRow], set[Pair]]:
    """The suggestion of each of these pairs that has one, and those pairs of which nothing can be said yet."""
    wanted: dict[Pair, SuggestionRow] = {}
    unclear: set[Pair] = set()
    for some in _split(pairs):
        ids = sorted({each for pair in some for each in pair})
        decisions = read_decisions(connection, tenant_id, ids)
        links = links_of(connection, tenant_id, ids)
        for pair in some:
            if any(each not in decisions for each in pair):
                continue
            if not all(decisions[each].whole for each in pair):
                unclear.add(pair)
                continue
            kinds = {*links[pair[0]].to.get(pair[1], ()), *links[pair[0]].back.get(pair[1], ())}
            if kinds <= APART and (row := _row(tenant_id, pair, decisions)):
                wanted[pair] = row
    return wanted, unclear


def _split(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """The pairs, some at a time, so that they have no more decisions than fit."""
    some: list[Pair] = []
    ids: set[UUID] = set()
    for pair in pairs:
        if len(ids | set(pair)) > IDS_AT_ONCE:
            yield some
            some, ids = [], set()
        some.append(pair)
        ids |= set(pair)
    if some:
        yield some


def _row(tenant_id: UUID, pair: Pair, decisions: Mapping[UUID, Dated]) -> SuggestionRow | None:
    older_id, newer_id = sorted(pair, key=lambda each: (decisions[each].created_at, each))
    newer, older = decisions[newer_id], decisions[older_id]
    if newer.status not in IN_FORCE or older.status not in IN_FORCE:
        return None
    found = suggest(newer.decision, older.decision)
    if found is None:
        return None
    passages = (*found.newer, *found.older)
    ids = (tenant_id, suggestion_id(newer_id, older_id), newer_id, older_id)
    return SuggestionRow(*ids, found.kind, found.evidence, list(found.terms), *passages)


READ_DECISIONS = """
  select
    s.source_id, a.created_at, s.status, s.meaning_version is not distinct from s.words_version as whole,
    s.title, c.heading_path, c.char_start, c.body
  from mv.search_state s
  join app.adrs a on a.tenant_id = s.tenant_id and a.adr_id = s.source_id
  left join mv.chunks c on c.tenant_id = s.tenant_id
    and c.kind = s.kind
    and c.source_id = s.source_id
    and c.version = s.words_version
  where s.tenant_id = %s and s.kind = %s and s.source_id = any(%s) and not s.deleted
  order by s.source_id, c.ordinal
"""


def read_decisions(connection: Connection, tenant_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Dated]:
    """Those of these ADRs that are there, as search by words has them."""
    rows = connection.execute(READ_DECISIONS, [tenant_id, KIND, list(ids)]).fetchall()
    found: dict[UUID, Dated] = {}
    for source_id, group in groupby(rows, key=lambda row: row[0]):
        passages = list(group)
        _, created_at, status, whole, title, *_ = passages[0]
        texts = [DecisionText(heading, start, body) for *_, heading, start, body in passages if body is not None]
        found[source_id] = Dated(created_at, status, whole, Decision(title, texts))
    return found
