"""The plain recomputation of the nearest ADRs, for `adriatic verify`: every feature from its text and vectors, every
pair of a tenant by itself, without arrays over all, without lists before; and what is suggested of each pair listed.

Read next: `dataflows/oracle.py`, which says what is compared when; `dataflows/related_lists.py`, which keeps the table.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from connectors.postgres.connections import Connection
from dataflows.comparison import SHOWN_MAX, Unlike
from dataflows.nearness import LINKED, RELATED_MAX, Features, Nearness, near, share_words
from dataflows.related_candidates import is_approximate
from dataflows.related_features import KIND, make_features
from dataflows.related_lists import Row
from dataflows.suggested import SuggestionRow, find, pair_of

TABLE, FEATURES, SUGGESTIONS = "mv.related", "mv.related_features", "mv.suggestions"
PAIRS_MAX = 250_000
"""Pairs of a tenant that are computed one by one, at about 40 µs each: ten seconds. 700 ADRs have as many. Of larger
tenants the lists of the first ADRs by id are recomputed, as many as fit."""
SUGGESTED_PAIRS_MAX = 20_000
"""Pairs of the lists that are asked what is suggested of them, at about 2 ms each: less than a minute. In a larger
tenant those of the first ADRs by id."""
ADRS_AT_ONCE = 200
"""How many ADRs have their vectors in memory at a time: some 30 MB."""


def unlike(connection: Connection, space: str | None, tenant_id: UUID) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind and table. A wrong value is both kinds."""
    if space is None:
        return []
    right = dict(sorted(_features(connection, space, tenant_id).items()))
    chosen = list(right)[: max(1, PAIRS_MAX // max(1, len(right)))]
    links = _links(connection, tenant_id)
    asked = chosen if len(chosen) < len(right) else None
    listed = _read_listed(connection, tenant_id, links) if is_approximate(connection, tenant_id) else None
    wanted = [
        row
        for source_id in chosen
        for row in _list(tenant_id, source_id, right, links, right if listed is None else listed.get(source_id, set()))
    ]
    return [
        *_compare_features(connection, tenant_id, right),
        *_compare(TABLE, {_plain(row) for row in wanted}, _read_stored(connection, tenant_id, asked)),
        *_compare_suggestions(connection, tenant_id),
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
    tenant_id: UUID,
    source_id: UUID,
    every: dict[UUID, Features],
    links: dict[tuple[UUID, UUID], list[str]],
    among: Collection[UUID],
) -> list[Row]:
    """The list of one ADR, of those `among` whom it is."""
    mine = every[source_id]
    found: list[tuple[float, UUID, Nearness]] = []
    for other in among:
        if other == source_id or other not in every:
            continue
        nearness = near(mine, every[other])
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


LISTED = """
  select source_id, related_id
  from mv.related
  where tenant_id = %s and kind = %s
"""


def _read_listed(
    connection: Connection, tenant_id: UUID, links: dict[tuple[UUID, UUID], list[str]]
) -> dict[UUID, set[UUID]]:
    """The ADRs that each list has, and those that it must have, since they are linked."""
    listed: dict[UUID, set[UUID]] = {}
    for source, other in (*connection.execute(LISTED, [tenant_id, KIND]), *links, *(pair[::-1] for pair in links)):
        listed.setdefault(source, set()).add(other)
    return listed


READ_ROWS = """
  select tenant_id, kind, source_id, related_id, score, words, terms, meaning, links_to, links_from
  from mv.related
  where tenant_id = %s and (%s::uuid[] is null or source_id = any(%s))
"""


def _read_stored(connection: Connection, tenant_id: UUID, source_ids: list[UUID] | None) -> set[tuple[object, ...]]:
    """The rows of these ADRs, or of all, those of ADRs that are not there included."""
    rows = connection.execute(READ_ROWS, [tenant_id, source_ids, source_ids])
    return {_plain(Row(*row)) for row in rows}


def _plain(row: Row | SuggestionRow) -> tuple[object, ...]:
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
    missing = sorted(" ".join(map(str, row[1 : 3 if table == FEATURES else 4])) for row in wanted - have)
    extra = sorted(" ".join(map(str, row[1 : 3 if table == FEATURES else 4])) for row in have - wanted)
    return [
        *(Unlike("missing", table, where) for where in missing[:SHOWN_MAX]),
        *(Unlike("extra", table, where) for where in extra[:SHOWN_MAX]),
    ]


FIRST_LISTED = """
  select source_id, related_id
  from mv.related
  where tenant_id = %s and kind = %s
  order by source_id, related_id
  limit %s
"""
READ_SUGGESTIONS = """
  select
    tenant_id, suggestion_id, newer_id, older_id, kind, evidence, terms, newer_field, newer_start, newer_end,
    newer_quote, older_field, older_start, older_end, older_quote
  from mv.suggestions
  where tenant_id = %s
"""


def _compare_suggestions(connection: Connection, tenant_id: UUID) -> list[Unlike]:
    """Every pair of the lists by itself. Of a pair that is not findable in its newest version nothing can be said."""
    listed = connection.execute(FIRST_LISTED, [tenant_id, KIND, SUGGESTED_PAIRS_MAX]).fetchall()
    pairs = {pair_of(*row) for row in listed}
    right, unclear = find(connection, tenant_id, sorted(pairs))
    rows = [SuggestionRow(*row) for row in connection.execute(READ_SUGGESTIONS, [tenant_id])]
    have = {
        _plain(row)
        for row in rows
        if (pair := pair_of(row.newer_id, row.older_id)) not in unclear
        and (len(listed) < SUGGESTED_PAIRS_MAX or pair in pairs)
    }
    return _compare(SUGGESTIONS, {_plain(row) for row in right.values()}, have)
