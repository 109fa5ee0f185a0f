"""What `adriatic verify` says, and what a flow needs to say its part of it.

Owns the report, the look at one tenant that each flow adds to (`Flow.compare`), and the comparison of a table with a
query. Refuses to know what is right: the flows do. Read next: `dataflows/oracle.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import sql

from connectors.embedders import Embedder
from connectors.postgres.connections import Connection

Kind = Literal["missing", "extra", "different", "words", "no-vector", "vector", "orphan", "not-complete", "offset"]

DIFFERENCES_MAX = 200
"""How many differences a report spells out; the rest are counted."""

Right = Mapping[str, tuple[LiteralString, LiteralString]]
"""Columns of each table, and the query that says what is right."""


class Unlike(NamedTuple):
    """A row that is in the table and should not be (`extra`), or the other way round (`missing`)."""

    kind: Literal["missing", "extra"]
    table: str
    where: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the recomputation has it. `where` holds ids, never text."""

    kind: Kind
    where: str
    detail: str


@dataclass(slots=True)
class TenantReport:
    """What was compared for one tenant."""

    tenant_id: UUID
    slug: str
    sources: dict[str, int] = field(default_factory=dict)
    """How many are there, by kind."""
    deleted: int = 0
    chunks: int = 0
    vectors: int = 0
    vectors_recomputed: int = 0
    differences: int = 0


@dataclass(slots=True)
class VerifyReport:
    """`differences` are the first few; `differences_total` counts all."""

    tenants: list[TenantReport] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    differences_total: int = 0
    dead_letters: int = 0
    lsn: str = ""

    @property
    def clean(self) -> bool:
        return self.differences_total == 0

    def add(self, tenant: TenantReport | None, kind: Kind, where: str, detail: str) -> None:
        self.differences_total += 1
        if tenant is not None:
            tenant.differences += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(Difference(kind, where, detail))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One tenant, in the snapshot that everything is compared in."""

    connection: Connection
    """The connection for reading, as adriatic_flows."""
    report: VerifyReport
    tenant: TenantReport
    space: str | None
    """The embedding space that searches read; None before there is one."""
    embedder: Embedder | None
    """None: vectors are not computed anew."""
    sample: int | None
    """How many vectors are recomputed at most."""

    def add(self, kind: Kind, where: str, detail: str) -> None:
        self.report.add(self.tenant, kind, f"{self.tenant.slug} {where}", detail)

    def add_unlike(self, found: Iterable[Unlike], why: str = "is not what its source gives") -> None:
        for kind, table, where in found:
            self.add(kind, where, f"{table} {why}")


SHOWN_MAX = 50
"""Rows of one kind, table and tenant that are named; ids and labels alone, never a title or a name."""


def unlike(connection: Connection, tenant_id: UUID, tables: Right, **values: int) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind. A row with a wrong value is both kinds.

    `values` are what the queries of `tables` ask for beside the tenant.
    """
    return [
        Unlike(kind, table, " ".join(map(str, row[1:3])))
        for table, (columns, right) in tables.items()
        for kind, query in _queries(table, columns, right)
        for row in connection.execute(query, {"tenant_id": tenant_id, "max": SHOWN_MAX, **values})
    ]


_MISSING = sql.SQL("({right}) except all ({have}) order by 1, 2, 3 limit %(max)s")
_EXTRA = sql.SQL("({have}) except all ({right}) order by 1, 2, 3 limit %(max)s")


def _queries(
    table: str, columns: str, right: LiteralString
) -> tuple[tuple[Literal["missing", "extra"], sql.Composed], ...]:
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns.split(", "))
    have = sql.SQL("select {} from {} where tenant_id = %(tenant_id)s").format(names, sql.Identifier(*table.split(".")))
    parts = {"right": sql.SQL(right), "have": have}
    return (("missing", _MISSING.format(**parts)), ("extra", _EXTRA.format(**parts)))
