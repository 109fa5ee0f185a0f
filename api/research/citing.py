"""Citations against what they cite: the version of the tenant's own source, and the characters of its text.

Owns the reading of cited passages, in one transaction of the tenant, and the check of a claim against one. A version
is never changed and row security decides whose it is, so a citation that holds here holds for as long as its source is
there: another tenant's version is not found, whatever its id. Refuses rules of texts (`api/research/claims.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple
from uuid import UUID

from api.db import Database, tenant_transaction
from api.research.claims import SUPPORT_MIN, Fault, check_claim
from api.withdrawn import find_gone
from schemas.arrays import arrays_of


class CitedPlace(NamedTuple):
    """A passage of a version: characters [char_start, char_end) of its body."""

    kind: str
    source_id: UUID
    version: int
    char_start: int
    char_end: int


CitationFault = Literal["absent", "words", "numbers", "negation", "opposite"]
ABSENT: Final = "absent"


class CitationVerdict(NamedTuple):
    """Whether a citation holds, and where in the version's body its evidence stands. `absent`: there is no such version
    of this tenant's, its source is gone, or it has no such place."""

    fault: CitationFault | None
    support: float
    char_start: int
    char_end: int


PLACES_MAX: Final = 200
"""Passages that are read at a time: 60 candidates of 1 200 characters are 72 kB."""

_READ_PLACES: Final = """
  select wanted.place, substr(v.body, wanted.char_start + 1, wanted.char_end - wanted.char_start) as text
  from unnest(
    $1::text[], $2::uuid[], $3::bigint[], $4::integer[], $5::integer[]
  ) with ordinality as wanted (kind, source_id, version, char_start, char_end, place)
  join app.source_versions v on v.tenant_id = app.current_tenant()
    and v.kind = wanted.kind
    and v.source_id = wanted.source_id
    and v.version = wanted.version
  join mv.search_state s on s.tenant_id = v.tenant_id and s.kind = v.kind and s.source_id = v.source_id
  where not s.deleted
    and wanted.char_start >= 0
    and wanted.char_start < wanted.char_end
    and wanted.char_end <= length(v.body)
  order by wanted.place
"""


_READ_PAGES: Final = """
  select
    wanted.place, width_bucket(wanted.char_start, p.starts) as first_page,
    width_bucket(greatest(wanted.char_start, wanted.char_end - 1), p.starts) as last_page
  from unnest(
    $1::uuid[], $2::bigint[], $3::integer[], $4::integer[]
  ) with ordinality as wanted (source_id, version, char_start, char_end, place)
  join app.document_pages p on p.tenant_id = app.current_tenant()
    and p.document_id = wanted.source_id
    and p.version = wanted.version
"""

Pages = tuple[int, int]
"""The first and the last page of a place."""


async def read_pages(database: Database, tenant_id: UUID, places: Sequence[CitedPlace]) -> dict[CitedPlace, Pages]:
    """The pages of each place of a document whose file has pages; other places are left out."""
    of_files = [each for each in dict.fromkeys(places) if each.kind == "document"]
    if not of_files:
        return {}
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(_READ_PAGES, *arrays_of([each[1:] for each in of_files], 4))
    return {of_files[row["place"] - 1]: (row["first_page"], row["last_page"]) for row in rows if row["first_page"]}


async def read_places(database: Database, tenant_id: UUID, places: Sequence[CitedPlace]) -> dict[CitedPlace, str]:
    """The text of each place that is there. What is missing is another tenant's, gone, or was never there."""
    assert len(places) <= PLACES_MAX, "candidates are bounded"
    if not places:
        return {}
    async with tenant_transaction(database, tenant_id, read_only=True) as connection:
        rows = await connection.fetch(_READ_PLACES, *arrays_of(places, 5))
        texts = {places[row["place"] - 1]: row["text"] for row in rows}
        # A delete is seen at once, whatever the flow has done with it.
        gone = await find_gone(connection, ((place.kind, place.source_id) for place in texts))
    return {place: text for place, text in texts.items() if (place.kind, place.source_id) not in gone}


def check_citation(
    claim: str, place: CitedPlace, texts: Mapping[CitedPlace, str], support_min: float = SUPPORT_MIN
) -> CitationVerdict:
    """Hold a claim against the place that it cites. `texts` are what `read_places` found."""
    text = texts.get(place)
    if text is None:
        return CitationVerdict(ABSENT, 0.0, 0, 0)
    verdict = check_claim(claim, text, support_min)
    fault: Fault | None = verdict.fault
    start, end = verdict.evidence
    return CitationVerdict(fault, verdict.support, place.char_start + start, place.char_start + end)
