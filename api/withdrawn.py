"""Sources that were taken away since something was made of them, and what is shown of it then.

Owns the one question whether a source of the tenant is still there, as of this transaction: what flows keep is behind,
and what was kept of an answer knows nothing of it. Owns the rule that follows from it, for every reader of text that is
kept: a text that was made of several sources together is withheld as a whole once one of them is gone, whether it names
it or not; a claim that names its source goes with that source alone; a source that is gone is shown as one, without its
title and its place. What people asked stays, and what it cost. Nothing is erased by this: what is restored is shown
again. Refuses to know the forms that such texts have: those who keep them do (`api/chat/withholding.py`,
`api/research/composing.py`, `api/agents/withholding.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from api.db import Connection
from runtime.errors import Gone
from schemas.arrays import arrays_of
from schemas.sources import Kind

_FIND_GONE: Final = """
  select wanted.kind, wanted.source_id
  from unnest($1::text[], $2::uuid[]) as wanted (kind, source_id)
  where coalesce(
    (
      select v.deleted
      from app.source_versions v
      where v.tenant_id = app.current_tenant() and v.kind = wanted.kind and v.source_id = wanted.source_id
      order by v.version desc
      limit 1
    ), true
  )
"""

SourceName = tuple[str, UUID]
"""Kind and id."""


class NamedSource(msgspec.Struct, frozen=True):
    """A source as what was made of it has it noted."""

    kind: Kind
    source_id: UUID

    @property
    def name(self) -> SourceName:
        """The name that `find_gone` takes."""
        return self.kind, self.source_id


async def find_gone(connection: Connection, sources: Iterable[SourceName]) -> frozenset[SourceName]:
    """Those that were deleted, or never were the tenant's. Nothing is asked where there are none."""
    wanted = list(dict.fromkeys(sources))
    if not wanted:
        return frozenset()
    rows = await connection.fetch(_FIND_GONE, *arrays_of(wanted, 2))
    return frozenset((row["kind"], row["source_id"]) for row in rows)


def tell_withheld(what: str, count: int) -> Gone:
    """The error in the place of a text that is withheld."""
    sources = "a source" if count == 1 else f"{count} sources"
    return Gone(f"{what} stands on {sources} deleted since", hint="ask again, or restore what was deleted")
