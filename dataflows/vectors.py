"""Which vectors the indexes of large tenants hold: those of what each source shows by meaning.

Owns when they are made to agree, which is last in the transaction of a flow that changed a source, and when they are
left. Refuses to build and to drop them (`streams/vector_indexes.py`), and to compare (`dataflows/oracle_search.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from connectors.postgres.connections import Connection
from schemas.flows import KeptTable
from schemas.sources import SourceKey, columns_of

TABLES: Final = (
    KeptTable("mv.vectors", compared="in an index that is live: the vectors of what each source shows by meaning"),
    KeptTable("mv.vector_indexes", compared="as many passages as there are in it"),
    KeptTable("mv.vector_changes", not_compared="what an index that is being built has still to take up"),
    KeptTable("mv.search_recall", not_compared="measured with passages that are drawn by chance"),
)

LEAVE_INDEXES = "select mv.leave_vectors(tenant_id, slot) from mv.vector_indexes where tenant_id = %s order by slot"
KEEP_VECTORS = "select mv.keep_vectors(%s, %s, %s)"


def keep(connection: Connection, sources: Iterable[SourceKey]) -> None:
    """Make the indexes of large tenants hold what these sources show by meaning now. It is the last that a flow does in
    its transaction: from here to the commit no index can begin, or become live."""
    if ordered := sorted(set(sources)):
        connection.execute(KEEP_VECTORS, columns_of(ordered))


def leave(connection: Connection, tenant_id: UUID) -> None:
    """Leave all indexes of a tenant. The caller has changed its sources before: flows too lock these first."""
    connection.execute(LEAVE_INDEXES, [tenant_id])
