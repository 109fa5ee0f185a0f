"""What the flow `related` knows of each ADR: its features, kept in `mv.related_features`, and its links.

Owns how both are read from what search shows and from `app.adr_links`. Refuses to compare: `dataflows/nearness.py` says
how near two are, and `dataflows/related_lists.py` keeps the lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from connectors.postgres.connections import Connection
from connectors.postgres.vectors import read
from dataflows.nearness import PASSAGES_MAX, Features, features, words_of

KIND = "adr"
"""What is compared: ADRs with ADRs. Only they have links of their own."""


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


def find_relinked(connection: Connection, tenant_id: UUID, source_ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ADRs that are in the view, and whose outgoing links the view does not show as they are."""
    if not source_ids:
        return set()
    rows = connection.execute(LINKED_OTHERWISE, {"tenant": tenant_id, "kind": KIND, "ids": list(source_ids)})
    return {row[0] for row in rows}
