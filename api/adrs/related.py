"""The nearest ADRs of one, with reasons that a person can read: what `GET /v1/adrs/{adr_id}/related` shows.

Owns the reading of `mv.related` and the wording of reasons. Refuses to rank: the flow `related` did. Title, status and
deletion are of now, from `app.adrs`, so a deleted ADR is never shown, however far the view is behind.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import msgspec

from api import watermarks
from api.adrs.document import Status
from api.adrs.mentions import LinkKind
from api.db import Connection, to_struct

MEANING_MIN = 0.3
"""Below this cosine two texts of one company's logs are not nearer in meaning than any other two; it is no reason."""


class Reason(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an ADR is near. `text` says it; the fields beside it are those of its kind.

    `link`: the kind of an explicit link, and whether it leads `to` the related ADR or comes `from` it. `words`: shared
    words, those that weigh most first, and from 0 to 1 how much they share. `meaning`: the mean cosine of the nearest
    passages.
    """

    kind: Literal["link", "words", "meaning"]
    text: str
    link: LinkKind | None = None
    direction: Literal["to", "from"] | None = None
    words: list[str] | None = None
    share: float | None = None
    cosine: float | None = None


class RelatedAdr(msgspec.Struct, frozen=True):
    """An ADR that is near. `score`: 0.6 words + 0.4 meaning, and 1 more for an explicit link."""

    id: UUID
    label: str | None
    log: str
    title: str
    status: Status
    score: float
    reasons: list[Reason]


class RelatedAdrs(msgspec.Struct, frozen=True):
    """Nearest first, at most ten."""

    related: list[RelatedAdr]
    as_of: watermarks.AsOf


_RELATED = """
  select
    r.related_id as id, 'ADR-' || coalesce(a.label, a.number::text) as label, l.slug as log, a.title,
    a.status, r.score, r.words, r.terms, r.meaning, r.links_to, r.links_from
  from mv.related r
  join app.adrs a on a.tenant_id = r.tenant_id and a.adr_id = r.related_id
  join app.logs l on l.tenant_id = a.tenant_id and l.log_id = a.log_id
  where r.tenant_id = $1 and r.kind = 'adr' and r.source_id = $2 and a.deleted_at is null
  order by r.score desc, r.related_id
"""


async def read(connection: Connection, tenant_id: UUID, adr_id: UUID) -> RelatedAdrs:
    """The list of an ADR; of a deleted one it is empty."""
    rows = await connection.fetch(_RELATED, tenant_id, adr_id)
    related = [to_struct({**row, "reasons": reasons(row)}, RelatedAdr) for row in rows]
    return RelatedAdrs(related, await watermarks.read_related(connection))


_TO: dict[str, str] = {"relates-to": "this ADR refers to it"}
_FROM: dict[str, str] = {"relates-to": "it refers to this ADR"}


def reasons(row: Any) -> list[Reason]:
    """Strongest first. `row` has the columns of `mv.related`."""
    found = [
        Reason(kind="link", text=_TO.get(link, f"this ADR {_as_verb(link)} it"), link=link, direction="to")
        for link in row["links_to"]
    ]
    found += [
        Reason(kind="link", text=_FROM.get(link, f"it {_as_verb(link)} this ADR"), link=link, direction="from")
        for link in row["links_from"]
    ]
    if row["terms"]:
        shown = ", ".join(row["terms"])
        found.append(Reason(kind="words", text=f"both speak of {shown}", words=row["terms"], share=row["words"]))
    if row["meaning"] >= MEANING_MIN or not found:
        text = f"passages alike in meaning, cosine {row['meaning']:.2f}"
        found.append(Reason(kind="meaning", text=text, cosine=row["meaning"]))
    return found


def _as_verb(link: str) -> str:
    """A kind of link as a verb: `superseded-by` → "is superseded by"."""
    words = link.replace("-", " ")
    return f"is {words}" if words.endswith(" by") else words
