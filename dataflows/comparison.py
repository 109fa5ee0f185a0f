"""What `adriatic verify` says, and what a flow needs to say its part of it.

Owns the report, the look at one tenant that each flow adds to (`Flow.compare`), and the comparison of a table with a
query. Refuses to know what is right: the flows do. Read next: `dataflows/oracle.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from uuid import UUID

from psycopg import sql

from connectors.embedders import Embedder
from connectors.embedders.spaces import SpaceEmbedders
from connectors.postgres.connections import Connection
from schemas.flows import KeptTable

Kind = Literal["missing", "extra", "different", "words", "no-vector", "vector", "orphan", "not-complete", "offset"]

DIFFERENCES_MAX = 200
"""How many differences a report spells out; the rest are counted."""


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
    flow: str = ""
    """The flow whose tables it is in; empty: no flow's."""


@dataclass(frozen=True, slots=True)
class StuckView:
    """A view that has not reached the present in time. Its flow's tables were not compared: what they lack may be under
    way."""

    view: str
    flow: str
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
    """`differences` are the first few; `differences_total` counts all. `flows`: whose tables differ, by tenant."""

    tenants: list[TenantReport] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    differences_total: int = 0
    stuck: list[StuckView] = field(default_factory=list)
    dead_letters: int = 0
    lsn: str = ""
    flow: str = ""
    """The flow that is being compared."""
    flows: dict[str, set[UUID]] = field(default_factory=dict)
    wrong_vectors: set[tuple[UUID, bytes]] = field(default_factory=set)
    """Tenant and hash of the text of every vector that is not what its text gives."""

    @property
    def clean(self) -> bool:
        """Nothing differs, and all of it was compared."""
        return self.differences_total == 0 and not self.stuck

    def add(
        self, tenant: TenantReport | None, kind: Kind, where: str, detail: str, vector_of: bytes | None = None
    ) -> None:
        self.differences_total += 1
        if tenant is not None:
            tenant.differences += 1
            if self.flow:
                self.flows.setdefault(self.flow, set()).add(tenant.tenant_id)
            if vector_of is not None:
                self.wrong_vectors.add((tenant.tenant_id, vector_of))
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(Difference(kind, where, detail, self.flow))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One tenant, in the snapshot that everything is compared in."""

    connection: Connection
    """The connection for reading, as adriatic_flows."""
    report: VerifyReport
    tenant: TenantReport
    space: str | None
    """The embedding space that the tenant searches in; None before there is one."""
    embedder: Embedder | SpaceEmbedders | None
    """What computes vectors anew, in its own space or in each that the tenant keeps; None: they are not."""
    sample: int | None
    """How many vectors are recomputed at most."""

    def add(self, kind: Kind, where: str, detail: str, vector_of: bytes | None = None) -> None:
        """Add one difference. `vector_of`: the hash of the text whose vector is wrong."""
        self.report.add(self.tenant, kind, f"{self.tenant.slug} {where}", detail, vector_of)

    def add_unlike(self, found: Iterable[Unlike], why: str = "is not what its source gives") -> None:
        for kind, table, where in found:
            self.add(kind, where, f"{table} {why}")


SHOWN_MAX = 50
"""Rows of one kind, table and tenant that are named; ids and labels alone, never a title or a name."""


def unlike(connection: Connection, tenant_id: UUID, tables: Iterable[KeptTable]) -> list[Unlike]:
    """Every row that is not as it should be, up to `SHOWN_MAX` of a kind. A row with a wrong value is both kinds."""
    return [
        Unlike(kind, table.name, " ".join(map(str, row[1:3])))
        for table in tables
        if table.right
        for kind, query in _queries(table)
        for row in connection.execute(query, {"tenant_id": tenant_id, "max": SHOWN_MAX, "rows_max": table.rows_max})
    ]


_HAVE = sql.SQL("select {columns} from {table} where tenant_id = %(tenant_id)s")
_SUMMED = sql.SQL("select {columns}, {sums} from ({right}) as one group by {columns}")
_MISSING = sql.SQL("({right}) except all ({have}) order by 1, 2, 3 limit %(max)s")
_EXTRA = sql.SQL("({have}) except all ({right}) order by 1, 2, 3 limit %(max)s")


def _queries(table: KeptTable) -> tuple[tuple[Literal["missing", "extra"], sql.Composed], ...]:
    columns, summed = (
        [sql.Identifier(name) for name in each.split(", ") if each] for each in (table.columns, table.summed)
    )
    right: sql.Composable = sql.SQL(table.right)
    if summed:
        sums = [sql.SQL("sum({})").format(name) for name in summed]
        right = _SUMMED.format(columns=_join(columns), sums=_join(sums), right=right)
    have = _HAVE.format(columns=_join([*columns, *summed]), table=sql.Identifier(*table.name.split(".")))
    return (("missing", _MISSING.format(right=right, have=have)), ("extra", _EXTRA.format(right=right, have=have)))


_join = sql.SQL(", ").join
