"""The plain recomputation of the nearest ADRs, for `adriatic verify`: every feature from its text and vectors, every
pair of a tenant by itself, without arrays over all, without lists before.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/related.py`, which keeps the table.
"""

from __future__ import annotations

from uuid import UUID

from connectors.postgres.connections import Connection
from dataflows.comparison import SHOWN_MAX, Unlike
from dataflows.nearness import LINKED, RELATED_MAX, Features, Nearness, near, share_words
from dataflows.related import KIND, Row, make_features

TABLE, FEATURES = "mv.related", "mv.related_features"
PAIRS_MAX = 250_000
"""Pairs of a tenant that are computed one by one, at about 40 µs each: ten seconds. 700 ADRs have as many. Of larger
tenants the lists of the first ADRs by id are recomputed, as many as fit."""
ADRS_AT_ONCE = 200
"""How many ADRs have their vectors in memory at a time: some 30 MB."""


def unlike(connection: Connection, space: str | None, tenant_id: UUID) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind and table. A wrong value is both kinds."""
    if space is None:
        return []
    right = dict(sorted(_features(connection, space, tenant_id).items()))
    chosen = list(right)[: max(1, PAIRS_MAX // max(1, len(right)))]
    links = _links(connection, tenant_id)
    wanted = [row for source_id in chosen for row in _list(tenant_id, source_id, right, links)]
    asked = chosen if len(chosen) < len(right) else None
    return [
        *_compare_features(connection, tenant_id, right),
        *_compare(TABLE, {_plain(row) for row in wanted}, _read_stored(connection, tenant_id, asked)),
    ]


ALIVE = """
  select source_id
  from mv.search_state
  where tenant_id = %s and kind = %s and not deleted
"""


def _features(connection: Connection, space: str, tenant_id: UUID) -> dict[UUID, Features]:
    alive = connection.execute(ALIVE, [tenant_id, KIND]).fetchall()
    ids = [row[0] for row in alive]
    return {
        source_id: one
        for start in range(0, len(ids), ADRS_AT_ONCE)
        for source_id, (_, one) in make_features(
            connection, space, tenant_id, ids[start : start + ADRS_AT_ONCE]
        ).items()
    }


READ_LINKS = """
  select adr_id, target_id, kind
  from app.adr_links
  where tenant_id = %s and target_id is not null
  order by kind
"""


def _links(connection: Connection, tenant_id: UUID) -> dict[tuple[UUID, UUID], list[str]]:
    rows = connection.execute(READ_LINKS, [tenant_id])
    links: dict[tuple[UUID, UUID], list[str]] = {}
    for source, target, kind in rows:
        kinds = links.setdefault((source, target), [])
        if kind not in kinds:
            kinds.append(kind)
    return links


def _list(
    tenant_id: UUID, source_id: UUID, every: dict[UUID, Features], links: dict[tuple[UUID, UUID], list[str]]
) -> list[Row]:
    mine = every[source_id]
    found: list[tuple[float, UUID, Nearness]] = []
    for other, theirs in every.items():
        if other == source_id:
            continue
        nearness = near(mine, theirs)
        linked = (source_id, other) in links or (other, source_id) in links
        found.append((round(nearness.score + (LINKED if linked else 0.0), 6), other, nearness))
    found.sort(key=lambda one: (-one[0], one[1]))
    return [
        Row(
            *(tenant_id, KIND, source_id, other, score, nearness.words),
            terms=list(share_words(mine, every[other])),
            meaning=nearness.meaning,
            links_to=links.get((source_id, other), []),
            links_from=links.get((other, source_id), []),
        )
        for score, other, nearness in found[:RELATED_MAX]
    ]


READ_ROWS = """
  select tenant_id, kind, source_id, related_id, score, words, terms, meaning, links_to, links_from
  from mv.related
  where tenant_id = %s and (%s::uuid[] is null or source_id = any(%s))
"""


def _read_stored(connection: Connection, tenant_id: UUID, source_ids: list[UUID] | None) -> set[tuple[object, ...]]:
    """The rows of these ADRs, or of all, those of ADRs that are not there included."""
    rows = connection.execute(READ_ROWS, [tenant_id, source_ids, source_ids])
    return {_plain(Row(*row)) for row in rows}


def _plain(row: Row) -> tuple[object, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row)


READ_FEATURES = """
  select tenant_id, kind, source_id, words, terms, passages
  from mv.related_features
  where tenant_id = %s
"""


def _compare_features(connection: Connection, tenant_id: UUID, right: dict[UUID, Features]) -> list[Unlike]:
    wanted: set[tuple[object, ...]] = {
        (tenant_id, KIND, source_id, one.words_packed, one.terms, one.passages_packed)
        for source_id, one in right.items()
    }
    rows = connection.cursor(binary=True).execute(READ_FEATURES, [tenant_id])
    have: set[tuple[object, ...]] = {(*key, tuple(terms), passages) for *key, terms, passages in rows}
    return _compare(FEATURES, wanted, have)


def _compare(table: str, wanted: set[tuple[object, ...]], have: set[tuple[object, ...]]) -> list[Unlike]:
    missing = sorted(" ".join(map(str, row[1 : 4 if table == TABLE else 3])) for row in wanted - have)
    extra = sorted(" ".join(map(str, row[1 : 4 if table == TABLE else 3])) for row in have - wanted)
    return [
        *(Unlike("missing", table, where) for where in missing[:SHOWN_MAX]),
        *(Unlike("extra", table, where) for where in extra[:SHOWN_MAX]),
    ]
