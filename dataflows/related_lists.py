"""The lists of the flow `related`: what changed ADRs make of them, in `mv.related`.

Owns which lists are made anew, and which rows are written: those that say something else than before. Refuses to say
how near two ADRs are (`dataflows/nearness.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from connectors.postgres.connections import Connection
from dataflows.nearness import RELATED_MAX, Corpus, Features, Key, merge, near, share_words, unpack
from dataflows.related_candidates import find_candidates, take_route
from dataflows.related_features import KIND, links_of
from schemas.arrays import arrays_of


class Row(NamedTuple):
    """A row of `mv.related`, in the order of `UPSERT`."""

    tenant_id: UUID
    kind: str
    source_id: UUID
    related_id: UUID
    score: float
    words: float
    terms: list[str]
    meaning: float
    links_to: list[str]
    links_from: list[str]


HOLDERS = """
  select distinct source_id
  from mv.related
  where tenant_id = %s and kind = %s and related_id = any(%s)
"""
LEAST_SCORES = """
  select source_id, min(score)
  from mv.related
  where tenant_id = %s and kind = %s and (%s::uuid[] is null or source_id = any(%s))
  group by source_id
  having count(*) >= %s
"""
READ_LISTS = """
  select source_id, related_id, score
  from mv.related
  where tenant_id = %s and kind = %s and source_id = any(%s)
"""
FORGET = """
  delete from mv.related
  where tenant_id = %s and kind = %s and (source_id = any(%s) or related_id = any(%s))
"""
DELETE_PAIRS = """
  delete from mv.related r
  using unnest(%s::uuid[], %s::uuid[]) as g (source_id, related_id)
  where r.tenant_id = %s and r.kind = %s and r.source_id = g.source_id and r.related_id = g.related_id
"""
UPSERT = """
  insert into mv.related as r (
    tenant_id, kind, source_id, related_id, score, words, terms, meaning, links_to, links_from
  )
  values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
  on conflict (tenant_id, kind, source_id, related_id)
  do update set
    score = excluded.score,
    words = excluded.words,
    terms = excluded.terms,
    meaning = excluded.meaning,
    links_to = excluded.links_to,
    links_from = excluded.links_from
  where r is distinct from excluded
"""


def update_lists(connection: Connection, space: str, tenant_id: UUID, changed: set[UUID]) -> set[tuple[UUID, UUID]]:
    """Make the lists of one tenant what `changed` ADRs make of them. Returns the pairs that may be others than before.
    In a large tenant they come one at a time: each is compared with its own candidates alone."""
    if not changed:
        return set()
    approximate = take_route(connection, tenant_id)
    moved: set[tuple[UUID, UUID]] = set()
    for some in [{each} for each in sorted(changed)] if approximate else [changed]:
        moved |= RelatedUpdate(connection, space, tenant_id, some, approximate=approximate).write()
    return moved


class RelatedUpdate:
    """What `changed` ADRs of one tenant (new, edited, deleted, linked otherwise) make of the tenant's lists."""

    def __init__(
        self, connection: Connection, space: str, tenant_id: UUID, changed: set[UUID], *, approximate: bool
    ) -> None:
        """`approximate`: compare with candidates instead of all."""
        self._connection = connection
        self._space = space
        self._tenant_id = tenant_id
        self._changed = changed
        self._approximate = approximate
        self.corpus = read_corpus(connection, tenant_id, self._candidates(changed) if approximate else None)
        self._alive = sorted(changed & self.corpus.at.keys())
        links = links_of(connection, tenant_id, self._alive)
        self._fresh = {source_id: self.corpus.scores(source_id, links[source_id].others) for source_id in self._alive}

    def write(self) -> set[tuple[UUID, UUID]]:
        """Write what is not as before: a row that stays makes no change in the topic. Returns the pairs that came into
        a list or left one, and those whose score may be another."""
        lists = {source_id: self.corpus.best(scores) for source_id, scores in self._fresh.items()}
        lists |= self._lists_of_others()
        before = self._read_stored(sorted(lists))
        again = [  # of the pairs that may say something else than before
            (source_id, key)
            for source_id, keys in sorted(lists.items())
            for key in sorted(keys, key=lambda each: each.related_id)
            if source_id in self._changed or key.related_id in self._changed or key not in before.get(source_id, ())
        ]
        gone = [
            (source_id, key.related_id)
            for source_id, keys in sorted(before.items())
            for key in keys
            if key.related_id not in {each.related_id for each in lists[source_id]}
        ]
        self._delete(gone)
        rows = rows_of(self._connection, self._tenant_id, self.corpus, again)
        self._connection.cursor().executemany(UPSERT, rows)
        return {*gone, *((source_id, key.related_id) for source_id, key in again)}

    def _lists_of_others(self) -> dict[UUID, list[Key]]:
        """The lists that the changed ADRs are in, come into, or fall out of; as they must be."""
        rows = self._connection.execute(HOLDERS, [self._tenant_id, KIND, sorted(self._changed)])
        touched = {row[0] for row in rows}
        if self._fresh:
            best = np.max(np.stack(list(self._fresh.values())), axis=0)
            touched |= {self.corpus.ids[at] for at in np.flatnonzero(best >= self._least())}
        lists: dict[UUID, list[Key]] = {}
        others = sorted((touched & self.corpus.at.keys()) - self._changed)
        before = self._read_stored(others)
        unclear: list[UUID] = []
        for source_id in others:
            at = self.corpus.at[source_id]
            keys = [Key(float(scores[at]), other) for other, scores in self._fresh.items()]
            found = merge(before.get(source_id, ()), self._changed, keys)
            if found is None:
                unclear.append(source_id)
            else:
                lists[source_id] = found
        if self._approximate and unclear:
            more = {*self.corpus.ids, *self._candidates(unclear)}
            self.corpus = read_corpus(self._connection, self._tenant_id, more)
        links = links_of(self._connection, self._tenant_id, unclear)
        return lists | {
            source_id: self.corpus.list_related(source_id, links[source_id].others) for source_id in unclear
        }

    def _candidates(self, ids: Collection[UUID]) -> set[UUID]:
        return find_candidates(self._connection, self._space, self._tenant_id, ids)

    def _least(self) -> Any:
        """Find the score that a newcomer needs at least, by position. A list that is not full takes everyone."""
        least = np.full(len(self.corpus.ids), -np.inf)
        some = list(self.corpus.ids) if self._approximate else None
        for source_id, score in self._connection.execute(
            LEAST_SCORES, [self._tenant_id, KIND, some, some, RELATED_MAX]
        ):
            if source_id in self.corpus.at:
                least[self.corpus.at[source_id]] = score
        return least

    def _read_stored(self, source_ids: Sequence[UUID]) -> dict[UUID, list[Key]]:
        lists: dict[UUID, list[Key]] = {}
        rows = self._connection.execute(READ_LISTS, [self._tenant_id, KIND, list(source_ids)])
        for source_id, related_id, score in rows:
            lists.setdefault(source_id, []).append(Key(score, related_id))
        return lists

    def _delete(self, gone: Sequence[tuple[UUID, UUID]]) -> None:
        dead = sorted(self._changed - self.corpus.at.keys())
        if dead:
            self._connection.execute(FORGET, [self._tenant_id, KIND, dead, dead])
        self._connection.execute(DELETE_PAIRS, [*arrays_of(gone, 2), self._tenant_id, KIND])


READ_CORPUS = """
  select source_id, words, passages, dimension
  from mv.related_features
  where tenant_id = %s and kind = %s and (%s::uuid[] is null or source_id = any(%s))
  order by source_id
"""


def read_corpus(connection: Connection, tenant_id: UUID, of: Collection[UUID] | None = None) -> Corpus:
    """The features of a tenant, or those `of` some. Terms are not read: `rows_of` reads those that it shows."""
    some = None if of is None else sorted(of)
    ids: list[UUID] = []
    every: list[Features] = []
    with connection.cursor(binary=True) as cursor:
        for source_id, words, passages, dimension in cursor.execute(READ_CORPUS, [tenant_id, KIND, some, some]):
            ids.append(source_id)
            every.append(unpack(words, (), passages, dimension))
    return Corpus(tuple(ids), tuple(every))


READ_TERMS = """
  select source_id, terms
  from mv.related_features
  where tenant_id = %s and kind = %s and source_id = any(%s)
"""


def rows_of(connection: Connection, tenant_id: UUID, corpus: Corpus, pairs: Sequence[tuple[UUID, Key]]) -> list[Row]:
    """The rows of these pairs: each with its reasons. `pairs` are sorted by ADR."""
    ids = sorted({source_id for source_id, _ in pairs})
    terms: dict[UUID, list[str]] = dict(connection.execute(READ_TERMS, [tenant_id, KIND, ids]).fetchall())
    links = links_of(connection, tenant_id, ids)
    rows: list[Row] = []
    for source_id, key in pairs:
        mine, theirs = corpus.all[corpus.at[source_id]], corpus.all[corpus.at[key.related_id]]
        spelled = replace(mine, terms=tuple(terms[source_id]))
        _, words, meaning = near(mine, theirs)
        to, back = links[source_id].to.get(key.related_id, []), links[source_id].back.get(key.related_id, [])
        terms_shared = list(share_words(spelled, theirs))
        rows.append(Row(tenant_id, KIND, source_id, key.related_id, key.score, words, terms_shared, meaning, to, back))
    return rows
