"""Which ADRs of a large tenant are compared at all: a bounded number of candidates for each that changed.

Owns where candidates come from: the tenant's own index by meaning, its words, its links, and the lists that there are.
Refuses to score: each candidate is compared exactly (`dataflows/nearness.py`). A small tenant has none of it; there
everybody is compared with everybody.

Approximate neighbours hang on when they were asked for, so the lists of such a tenant are no function of its texts.
`mv.related_routes` says of which tenants that holds, until all is made anew. `adriatic verify` then checks what their
lists say of each pair, and not who is in them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

import numpy as np

from connectors.postgres.connections import Connection, read_value
from dataflows.nearness import unpack
from dataflows.related_features import KIND, links_of

EXACT_ADRS_MAX: Final = 5_000
EXACT_PASSAGES_MAX: Final = 40_000
"""ADRs of a tenant that are all compared, and passages of theirs, as far as they are compared: about a second of
processor time for an edit. Histories that were seen have some hundred ADRs of some eight passages."""
QUERY_WORDS: Final = 16
"""The heaviest words of an ADR, by which its candidates are looked for."""
BY_WORDS: Final = 100
"""Candidates by words."""
QUERY_PASSAGES: Final = 4
"""The first passages of an ADR, by which its candidates are looked for: title and context are there."""
BY_PASSAGE: Final = 50
"""Passages by each of them. They are of fewer ADRs than that."""

IS_LARGE = """
  select count(*) > %s or sum(octet_length(passages) / greatest(2 * dimension, 1)) > %s
  from mv.related_features
  where tenant_id = %s and kind = %s
"""
"""A component of a passage has two bytes."""
IS_MARKED = """
  select true
  from mv.related_routes
  where tenant_id = %s
"""
MARK = """
  insert into mv.related_routes (tenant_id)
  values (%s)
  on conflict do nothing
"""


def is_approximate(connection: Connection, tenant_id: UUID) -> bool:
    """Whether the lists of a tenant are of candidates."""
    return connection.execute(IS_MARKED, [tenant_id]).fetchone() is not None


def take_route(connection: Connection, tenant_id: UUID) -> bool:
    """Whether the lists of a tenant are made of candidates from now on. Once they are, they stay so: a list that was
    not looked at meanwhile may lack somebody."""
    if is_approximate(connection, tenant_id):
        return True
    if not read_value(connection, IS_LARGE, EXACT_ADRS_MAX, EXACT_PASSAGES_MAX, tenant_id, KIND):
        return False
    connection.execute(MARK, [tenant_id])
    return True


SET_TENANT = "select set_config('app.tenant_id', %s, true)"
"""The functions of the search name the tenant by it. It ends with the transaction, or here."""
READ_WORDS = """
  select source_id, words, terms
  from mv.related_features
  where tenant_id = %s and kind = %s and source_id = any(%s)
"""
BY_WORDS_OF = """
  select source_id
  from mv.rank_by_words(mv.search_terms(%s), null, null, %s, %s, 10)
"""
BY_MEANING_OF = """
  select distinct g.source_id
  from mv.vector_indexes i
  join mv.embedding_spaces p on p.space = i.space
  cross join lateral (
    select e.embedding::halfvec as embedding
    from mv.search_state s
    join mv.chunks c on c.tenant_id = s.tenant_id
      and c.kind = s.kind
      and c.source_id = s.source_id
      and c.version = s.words_version
    join mv.embeddings e on e.tenant_id = c.tenant_id and e.space = i.space and e.text_hash = c.text_hash
    where s.tenant_id = %(tenant)s
      and s.kind = %(kind)s
      and s.source_id = any(%(ids)s)
      and c.ordinal < %(passages)s
  ) q
  cross join lateral mv.vectors_by_graph(
    i.tenant_id, i.slot, p.dimension, i.kind, q.embedding, null, %(texts)s
  ) g
  where i.tenant_id = %(tenant)s and i.kind = %(kind)s and i.space = %(space)s and i.state = 'live'
"""
LISTED_WITH = """
  select related_id
  from mv.related
  where tenant_id = %(tenant)s and kind = %(kind)s and source_id = any(%(ids)s)
  union
  select source_id
  from mv.related
  where tenant_id = %(tenant)s and kind = %(kind)s and related_id = any(%(ids)s)
"""


def find_candidates(connection: Connection, space: str, tenant_id: UUID, ids: Collection[UUID]) -> set[UUID]:
    """These ADRs and whoever may be near one of them, as far as the tenant's indexes, links and lists know."""
    some = sorted(ids)
    of = {"tenant": tenant_id, "kind": KIND, "ids": some}
    found = set(some) | {row[0] for row in connection.execute(LISTED_WITH, of)}
    found |= {other for links in links_of(connection, tenant_id, some).values() for other in links.others}
    connection.execute(SET_TENANT, [str(tenant_id)])
    for _, words, terms in connection.execute(READ_WORDS, [tenant_id, KIND, some]).fetchall():
        heaviest = np.argsort(-unpack(words, (), b"", 1).weights.astype(np.int64), kind="stable")[:QUERY_WORDS]
        query = " ".join(terms[at] for at in heaviest)
        found |= {row[0] for row in connection.execute(BY_WORDS_OF, [query, KIND, BY_WORDS])}
    asked = of | {"space": space, "passages": QUERY_PASSAGES, "texts": BY_PASSAGE}
    found |= {row[0] for row in connection.execute(BY_MEANING_OF, asked)}
    connection.execute(SET_TENANT, [""])
    return found
