"""What is searched: kinds of sources, each with a contract that its versions are read from.

Owns the one list of kinds, and how a record of each is read. Everything from the index on speaks of a source as
(tenant_id, kind, source_id, version) and asks here what differs by kind. A new kind is a value of `Kind`, an entry of
`KINDS`, and what every table needs anyway: a migration (with its branch of `app.source_versions`), a contract, a topic.
Refuses I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from uuid import UUID

from runtime.errors import Unprocessable
from schemas.arrays import arrays_of

Kind = Literal["adr", "document", "page"]
"""The keys of `KINDS`, for whoever checks types: the API's contract names them."""


class SourceKey(NamedTuple):
    """The tenant, the kind and the source. Sorts in the order that every flow locks rows in."""

    tenant_id: UUID
    kind: str
    source_id: UUID


@dataclass(frozen=True, slots=True)
class SourceKind:
    """How one kind of source is read from the rows of its versions table, as its `contract` carries them.

    `version`, `title`, `body`, `effective_at`, `recorded_at` and `traceparent` have the same names in each.
    """

    contract: str
    id_field: str
    change_field: str
    """Where a version says what it does; "delete" says that nothing of the source is left to be found."""
    path: str
    """Where the API shows a source, with `{}` for its id. The page reads `/v1/adrs/…` itself and fetches the rest."""
    word: str
    """What people call one that has no name of its own."""
    plural: str
    """What people call all of them, where they choose to search these alone."""
    status_field: str | None = None
    outside_field: str | None = None
    """Set in a version that came with others from outside, an import or a feed; null where a person wrote this one.
    None where all are written by people."""

    def is_deleted(self, row: Mapping[str, Any]) -> bool:
        return bool(row[self.change_field] == "delete")

    def is_from_outside(self, row: Mapping[str, Any]) -> bool:
        return self.outside_field is not None and row.get(self.outside_field) is not None

    def status(self, row: Mapping[str, Any]) -> str:
        return "" if self.status_field is None else str(row[self.status_field])


KINDS: dict[str, SourceKind] = {
    "adr": SourceKind(
        contract="adriatic.app.adr_versions",
        id_field="adr_id",
        change_field="change",
        path="/v1/adrs/{}",
        word="ADR",
        plural="decisions",
        status_field="status",
        outside_field="source_ref",
    ),
    "document": SourceKind(
        contract="adriatic.app.document_versions",
        id_field="document_id",
        change_field="kind",
        path="/v1/documents/{}/original",
        word="document",
        plural="documents",
        outside_field="feed_id",
    ),
    "page": SourceKind(
        contract="adriatic.app.page_versions",
        id_field="page_id",
        change_field="kind",
        path="/v1/pages/{}",
        word="page",
        plural="pages",
        outside_field="crawl_id",
    ),
}


def contracts() -> tuple[str, ...]:
    """What the index reads."""
    return tuple(kind.contract for kind in KINDS.values())


def kind_of(contract: str) -> str:
    """Which kind the records of `contract` are versions of."""
    for name, kind in KINDS.items():
        if kind.contract == contract:
            return name
    raise Unprocessable(f"{contract} carries no versions of a kind of source")


def key_of(kind: str, row: Mapping[str, Any]) -> SourceKey:
    return SourceKey(UUID(row["tenant_id"]), kind, UUID(row[KINDS[kind].id_field]))


def columns_of(keys: Sequence[SourceKey]) -> list[list[Any]]:
    """The keys as arrays of their parts: what `unnest` takes."""
    return arrays_of(keys, len(SourceKey._fields))
