"""The flow `related`: for each ADR the ten nearest others, by links, words and meaning, and why.

Reads `adriatic.mv.search_state` (words or meaning of an ADR changed) and `adriatic.app.adr_links`; keeps `mv.related`
and, for itself, `mv.related_features`. Refuses to know how near two ADRs are: `dataflows/nearness.py` does.

A record only says what to look at: `apply` reads the tables as they are by then, so order and repetition are
indifferent. The score of a pair depends on these two alone, so what changed moves the pairs of its ADR and no others:
its own list is made anew, each other list takes it in or not. Only a list out of which it fell is made anew as well.
What a change costs is one read of the tenant's features and one comparison with all for each list made anew
(docs/decisions/0022 has figures).

A version counts once it is findable by words and by meaning; until then the one before it does, as in a search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from connectors.kafka.source import BatchLimits
from connectors.postgres.connections import Connection
from connectors.postgres.vectors import read
from dataflows.comparison import Comparison
from dataflows.flow import Event, Flow
from dataflows.nearness import (
    PASSAGES_MAX,
    RELATED_MAX,
    Corpus,
    Features,
    Key,
    features,
    merge,
    near,
    share_words,
    unpack,
    words_of,
)
from dataflows.spaces import require_space
from runtime.errors import Unprocessable
from schemas import sources
from schemas.arrays import arrays_of
from schemas.flows import KeptTable, KeptView
from schemas.search import WAITING_FOR_VECTORS, WORDS_VIEW
from schemas.sources import SourceKey

STATE_TOPIC = "adriatic.mv.search_state"
LINKS_TOPIC = "adriatic.app.adr_links"

KIND = "adr"
"""What is compared: ADRs with ADRs. Only they have links of their own."""


@dataclass(frozen=True, slots=True)
class RelatedEffects:
    """What to look at again, each sorted: ADRs whose text may be another, and ADRs whose links may be others."""

    texts: tuple[SourceKey, ...]
    links: tuple[SourceKey, ...]


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


class Related(Flow[RelatedEffects]):
    name = "related"
    about = "what is findable, and links → the nearest other ADRs of each, and why"
    topics = (STATE_TOPIC, LINKS_TOPIC)
    tables = (
        KeptTable("mv.related_features", compared="words and vectors of each ADR, made anew"),
        KeptTable("mv.related", compared="every pair of a tenant, compared one by one"),
    )
    views = (
        KeptView(
            "related",
            "The nearest other ADRs of each.",
            table="mv.related",
            key=("kind", "source_id", "related_id"),
            columns=("score", "words", "terms", "meaning", "links_to", "links_from"),
            source_view=WORDS_VIEW,
            waiting=WAITING_FOR_VECTORS,
        ),
    )
    limits = BatchLimits(records_max=100, bytes_max=524_288)
    """Limits of a batch: at 5 000 ADRs a list takes about 50 ms to make anew, so the largest batch takes seconds."""

    @classmethod
    def compare(cls, comparison: Comparison) -> None:
        from dataflows.oracle_related import unlike  # it is written in terms of this module

        connection, tenant_id = comparison.connection, comparison.tenant.tenant_id
        found = unlike(connection, space_of(connection, tenant_id), tenant_id)
        comparison.add_unlike(found, "is not what texts, vectors and links give")

    def start(self, connection: Connection) -> None:
        require_space(connection)

    def transform(self, events: Sequence[Event]) -> RelatedEffects:
        texts: set[SourceKey] = set()
        links: set[SourceKey] = set()
        for event in events:
            op = event.value["op"]
            if op not in ("c", "r", "u", "d"):
                raise Unprocessable(f"a change of kind {op} on a table that is never emptied")
            row = event.value["before"] if op == "d" else event.value["after"]
            if event.contract == LINKS_TOPIC:
                links.add(sources.key_of(KIND, row))
            elif row["kind"] == KIND and (
                op == "d" or row["deleted"] or row["meaning_version"] == row["words_version"]
            ):
                texts.add(SourceKey(UUID(row["tenant_id"]), KIND, UUID(row["source_id"])))
        return RelatedEffects(tuple(sorted(texts)), tuple(sorted(links)))

    def apply(self, connection: Connection, effects: RelatedEffects) -> None:
        for tenant_id in sorted({source.tenant_id for source in (*effects.texts, *effects.links)}):
            # One writer a tenant, whichever of the two topics it comes from.
            connection.execute(LOCK_TENANT, [tenant_id])
            space = space_of(connection, tenant_id)
            texts = [source.source_id for source in effects.texts if source.tenant_id == tenant_id]
            links = [source.source_id for source in effects.links if source.tenant_id == tenant_id]
            changed = refresh(connection, space, tenant_id, texts)
            changed |= _find_relinked(connection, tenant_id, links)
            if changed:
                RelatedUpdate(connection, tenant_id, changed).write()


LOCK_TENANT = "select pg_advisory_xact_lock(hashtextextended('related ' || %s::text, 0))"
SPACE = "select mv.related_space(%s)"


def space_of(connection: Connection, tenant_id: UUID) -> str:
    """The space whose vectors a tenant's ADRs are compared by: it stays the same when another one is searched in, until
    it is dropped."""
    row = connection.execute(SPACE, [tenant_id]).fetchone()
    assert row is not None
    return row[0] or ""


# --- features -------------------------------------------------------------------------------------------------------


FORGET_FEATURES = """
  delete from mv.related_features f
  where f.tenant_id = %(tenant)s
    and f.kind = %(kind)s
    and f.source_id = any(%(ids)s)
    and not exists (
      select
      from mv.search_state s
      where s.tenant_id = f.tenant_id and s.kind = f.kind and s.source_id = f.source_id and not s.deleted
    )
  returning f.source_id
"""
READ_FEATURES = """
  select source_id, words, terms, passages
  from mv.related_features
  where tenant_id = %(tenant)s and kind = %(kind)s and source_id = any(%(ids)s)
"""
WRITE_FEATURES = """
  insert into mv.related_features as f (
    tenant_id, kind, source_id, version, words, terms, passages, dimension
  )
  values (%s, %s, %s, %s, %s, %s, %s, %s)
  on conflict (tenant_id, kind, source_id)
  do update set
    version = excluded.version,
    words = excluded.words,
    terms = excluded.terms,
    passages = excluded.passages,
    dimension = excluded.dimension
  where f is distinct from excluded
"""


def refresh(connection: Connection, space: str, tenant_id: UUID, source_ids: Sequence[UUID]) -> set[UUID]:
    """Make the features of these ADRs what their texts say now. Returns those that are not as they were."""
    made = make_features(connection, space, tenant_id, source_ids)
    of = {"tenant": tenant_id, "kind": KIND, "ids": list(source_ids)}
    gone = connection.execute(FORGET_FEATURES, of).fetchall()
    before = {row[0]: tuple(row[1:]) for row in connection.execute(READ_FEATURES, of | {"ids": list(made)})}
    connection.cursor().executemany(
        WRITE_FEATURES,
        [
            (tenant_id, KIND, source_id, version, one.words_packed, list(one.terms), one.passages_packed, one.dimension)
            for source_id, (version, one) in sorted(made.items())
        ],
    )
    return {row[0] for row in gone} | {
        source_id
        for source_id, (_, one) in made.items()
        if before.get(source_id) != (one.words_packed, list(one.terms), one.passages_packed)
    }


READ_TEXTS = """
  select s.source_id, s.words_version, s.title, c.ordinal, c.body, e.embedding
  from mv.search_state s
  join mv.chunks c on c.tenant_id = s.tenant_id
    and c.kind = s.kind
    and c.source_id = s.source_id
    and c.version = s.words_version
  left join mv.embeddings e on c.ordinal < %(passages)s
    and e.tenant_id = c.tenant_id
    and e.space = %(space)s
    and e.text_hash = c.text_hash
  where s.tenant_id = %(tenant)s
    and s.kind = %(kind)s
    and s.source_id = any(%(ids)s)
    and not s.deleted
    and s.meaning_version = s.words_version
  order by s.source_id, c.ordinal
"""


def make_features(
    connection: Connection, space: str, tenant_id: UUID, source_ids: Sequence[UUID]
) -> dict[UUID, tuple[int, Features]]:
    """Version and features of those ADRs that are findable by words and by meaning, in one version."""
    texts: dict[UUID, list[str]] = {}
    vectors: dict[UUID, list[Any]] = {}
    versions: dict[UUID, int] = {}
    for source_id, version, title, ordinal, body, vector in connection.cursor(binary=True).execute(
        READ_TEXTS,
        {"tenant": tenant_id, "kind": KIND, "ids": list(source_ids), "space": space, "passages": PASSAGES_MAX},
    ):
        versions[source_id] = version
        texts.setdefault(source_id, [title]).append(body)
        if ordinal < PASSAGES_MAX:
            vectors.setdefault(source_id, []).append(None if vector is None else read(vector))
    words = {source_id: [word for text in parts for word in words_of(text)] for source_id, parts in texts.items()}
    stems = stems_of(connection, {word for each in words.values() for word in each})
    return {
        source_id: (versions[source_id], features(words[source_id], stems, vectors[source_id]))
        for source_id in versions
        if vectors.get(source_id) and not any(vector is None for vector in vectors[source_id])
    }


STEMS = """
  select word, (ts_lexize('pg_catalog.english_stem', word))[1]
  from unnest(%s::text[]) as word
"""


def stems_of(connection: Connection, words: Iterable[str]) -> dict[str, str]:
    """The stem of each word, as the search by words has it; stop words have none."""
    rows = connection.execute(STEMS, [sorted(words)])
    return {word: stem for word, stem in rows if stem}


# --- links ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinksOf:
    """Kinds of links between an ADR and each other, sorted; `to` leads away from it."""

    to: Mapping[UUID, list[str]] = field(default_factory=dict)
    back: Mapping[UUID, list[str]] = field(default_factory=dict)

    @property
    def others(self) -> set[UUID]:
        return {*self.to, *self.back}


READ_LINKS = """
  select adr_id, target_id, array_agg(distinct kind order by kind)
  from app.adr_links
  where tenant_id = %(tenant)s and target_id <> adr_id and (adr_id = any(%(ids)s) or target_id = any(%(ids)s))
  group by adr_id, target_id
"""


def links_of(connection: Connection, tenant_id: UUID, source_ids: Sequence[UUID]) -> dict[UUID, LinksOf]:
    """The resolved links of each of these ADRs, in both directions."""
    rows = connection.execute(READ_LINKS, {"tenant": tenant_id, "ids": list(source_ids)})
    to: dict[UUID, dict[UUID, list[str]]] = {}
    back: dict[UUID, dict[UUID, list[str]]] = {}
    for source, target, kinds in rows:
        to.setdefault(source, {})[target] = kinds
        back.setdefault(target, {})[source] = kinds
    return {source_id: LinksOf(to.get(source_id, {}), back.get(source_id, {})) for source_id in source_ids}


LINKED_OTHERWISE = """
  with links as (
    select l.adr_id as source_id, l.target_id, array_agg(distinct l.kind order by l.kind) as kinds
    from app.adr_links l
    join mv.related_features t on t.tenant_id = l.tenant_id
      and t.kind = %(kind)s
      and t.source_id = l.target_id
    where l.tenant_id = %(tenant)s and l.adr_id = any(%(ids)s) and l.target_id <> l.adr_id
    group by l.adr_id, l.target_id
  ),
  shown as (
    select source_id, related_id as target_id, links_to as kinds
    from mv.related
    where tenant_id = %(tenant)s and kind = %(kind)s and source_id = any(%(ids)s) and links_to <> '{}'
    union
    select related_id, source_id, links_from
    from mv.related
    where tenant_id = %(tenant)s and kind = %(kind)s and related_id = any(%(ids)s) and links_from <> '{}'
  )
  select distinct source_id
  from ((table links except table shown) union all (table shown except table links)) d
  join mv.related_features f using (source_id)
  where f.tenant_id = %(tenant)s and f.kind = %(kind)s
"""


def _find_relinked(connection: Connection, tenant_id: UUID, source_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ADRs that are in the view, and whose outgoing links the view does not show as they are."""
    if not source_ids:
        return set()
    rows = connection.execute(LINKED_OTHERWISE, {"tenant": tenant_id, "kind": KIND, "ids": list(source_ids)})
    return {row[0] for row in rows}


# --- lists ----------------------------------------------------------------------------------------------------------


HOLDERS = """
  select distinct source_id
  from mv.related
  where tenant_id = %s and kind = %s and related_id = any(%s)
"""
LEAST_SCORES = """
  select source_id, min(score)
  from mv.related
  where tenant_id = %s and kind = %s
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


class RelatedUpdate:
    """What `changed` ADRs of one tenant (new, edited, deleted, linked otherwise) make of the tenant's lists."""

    def __init__(self, connection: Connection, tenant_id: UUID, changed: set[UUID]) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._changed = changed
        self._corpus = read_corpus(connection, tenant_id)
        self._alive = sorted(changed & self._corpus.at.keys())
        links = links_of(connection, tenant_id, self._alive)
        self._fresh = {source_id: self._corpus.scores(source_id, links[source_id].others) for source_id in self._alive}

    def write(self) -> None:
        """Rows that stay as they are are not written, so they make no change in the topic."""
        lists = {source_id: self._corpus.best(scores) for source_id, scores in self._fresh.items()}
        lists |= self._lists_of_others()
        before = self._read_stored(sorted(lists))
        again = [  # of the pairs that may say something else than before
            (source_id, key)
            for source_id, keys in sorted(lists.items())
            for key in sorted(keys, key=lambda each: each.related_id)
            if source_id in self._changed or key.related_id in self._changed or key not in before.get(source_id, ())
        ]
        self._delete(
            [
                (source_id, key.related_id)
                for source_id, keys in sorted(before.items())
                for key in keys
                if key.related_id not in {each.related_id for each in lists[source_id]}
            ]
        )
        rows = rows_of(self._connection, self._tenant_id, self._corpus, again)
        self._connection.cursor().executemany(UPSERT, rows)

    def _lists_of_others(self) -> dict[UUID, list[Key]]:
        """The lists that the changed ADRs are in, come into, or fall out of; as they must be."""
        rows = self._connection.execute(HOLDERS, [self._tenant_id, KIND, sorted(self._changed)])
        touched = {row[0] for row in rows}
        if self._fresh:
            best = np.max(np.stack(list(self._fresh.values())), axis=0)
            touched |= {self._corpus.ids[at] for at in np.flatnonzero(best >= self._least())}
        lists: dict[UUID, list[Key]] = {}
        others = sorted((touched & self._corpus.at.keys()) - self._changed)
        before = self._read_stored(others)
        unclear: list[UUID] = []
        for source_id in others:
            at = self._corpus.at[source_id]
            keys = [Key(float(scores[at]), other) for other, scores in self._fresh.items()]
            found = merge(before.get(source_id, ()), self._changed, keys)
            if found is None:
                unclear.append(source_id)
            else:
                lists[source_id] = found
        links = links_of(self._connection, self._tenant_id, unclear)
        return lists | {
            source_id: self._corpus.list_related(source_id, links[source_id].others) for source_id in unclear
        }

    def _least(self) -> Any:
        """Find the score that a newcomer needs at least, by position. A list that is not full takes everyone."""
        least = np.full(len(self._corpus.ids), -np.inf)
        for source_id, score in self._connection.execute(LEAST_SCORES, [self._tenant_id, KIND, RELATED_MAX]):
            if source_id in self._corpus.at:
                least[self._corpus.at[source_id]] = score
        return least

    def _read_stored(self, source_ids: Sequence[UUID]) -> dict[UUID, list[Key]]:
        lists: dict[UUID, list[Key]] = {}
        rows = self._connection.execute(READ_LISTS, [self._tenant_id, KIND, list(source_ids)])
        for source_id, related_id, score in rows:
            lists.setdefault(source_id, []).append(Key(score, related_id))
        return lists

    def _delete(self, gone: Sequence[tuple[UUID, UUID]]) -> None:
        dead = sorted(self._changed - self._corpus.at.keys())
        if dead:
            self._connection.execute(FORGET, [self._tenant_id, KIND, dead, dead])
        self._connection.execute(DELETE_PAIRS, [*arrays_of(gone, 2), self._tenant_id, KIND])


READ_CORPUS = """
  select source_id, words, passages, dimension
  from mv.related_features
  where tenant_id = %s and kind = %s
  order by source_id
"""


def read_corpus(connection: Connection, tenant_id: UUID) -> Corpus:
    """The features of a tenant. Terms are not read: `rows_of` reads those that it shows."""
    ids: list[UUID] = []
    every: list[Features] = []
    with connection.cursor(binary=True) as cursor:
        for source_id, words, passages, dimension in cursor.execute(READ_CORPUS, [tenant_id, KIND]):
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
