"""Which embedding spaces the flows keep for a tenant, and which texts have their vectors in one.

Owns the lock that whoever changes that takes alone, and how a space falls behind: its embedder was away, and nobody
searches in it, so the flow goes on without it. Refuses to decide which one is searched (`api/spaces/service.py`) and
to build one (`dataflows/space_jobs.py`). Read next: `schemas/sql/0041_spaces.sql`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from connectors.postgres.connections import Connection
from runtime.errors import DependencyUnavailable

Text = tuple[UUID, bytes]
"""A tenant and the hash of a text: what a vector is stored under, within a space."""

HOLD = "select pg_advisory_xact_lock_shared(mv.spaces_lock())"
DEFAULT = "select space from mv.embedding_spaces where active"
KEPT = """
  select t.tenant_id, k.space
  from unnest(%s::uuid[]) as t (tenant_id), mv.kept_spaces(t.tenant_id) k
  order by 1, 2
"""
ACTIVE = """
  select t.tenant_id, mv.active_space(t.tenant_id)
  from unnest(%s::uuid[]) as t (tenant_id)
"""
FALL_BEHIND = """
  update app.tenant_spaces
  set state = 'behind', changed_at = clock_timestamp(), changed_by = null
  where tenant_id = %s and space = %s and state in ('building', 'ready', 'former')
"""


def hold(connection: Connection) -> None:
    """Keep the spaces of all tenants as they are until the commit. A flow does it before it reads or locks anything
    else: whoever changes them waits for those that did not see the change."""
    connection.execute(HOLD)


def require_space(connection: Connection) -> None:
    """Raise `DependencyUnavailable` until the flow `embed` made a first space."""
    if connection.execute(DEFAULT).fetchone() is None:
        raise DependencyUnavailable("there is no active embedding space yet", hint="`adriatic flow run embed` makes it")


def find_kept(connection: Connection, tenant_ids: Iterable[UUID]) -> dict[UUID, tuple[str, ...]]:
    """The spaces in which each tenant's texts must have vectors, sorted."""
    kept: dict[UUID, tuple[str, ...]] = {}
    for tenant_id, space in connection.execute(KEPT, [sorted(set(tenant_ids))]):
        kept[tenant_id] = (*kept.get(tenant_id, ()), space)
    return kept


def active_of(connection: Connection, tenant_ids: Iterable[UUID]) -> dict[UUID, str]:
    """The space that each tenant searches in."""
    return dict(connection.execute(ACTIVE, [sorted(set(tenant_ids))]).fetchall())


def fall_behind(connection: Connection, spaces: Collection[tuple[UUID, str]]) -> None:
    """Let tenants' spaces fall behind, whose embedder is away. Raises `DependencyUnavailable` where somebody began to
    search in one meanwhile: then its vectors are waited for."""
    for tenant_id, space in sorted(spaces):
        if not connection.execute(FALL_BEHIND, [tenant_id, space]).rowcount and space in find_kept(
            connection, [tenant_id]
        ).get(tenant_id, ()):
            raise DependencyUnavailable(f"the embedder of the space {space} is away, and it is searched in")


WITH_VECTOR = """
  select text_hash
  from mv.embeddings
  where tenant_id = %(tenant_id)s and space = %(space)s and text_hash = any(%(hashes)s)
"""


def find_known_texts(
    connection: Connection, space: str | Mapping[UUID, str], texts: Iterable[Text], query: Any = WITH_VECTOR
) -> set[Text]:
    """Which of `texts` the query knows, one tenant at a time: the index starts with it. `space`: of all tenants, or
    of each."""
    by_tenant: dict[UUID, set[bytes]] = {}
    for tenant_id, text_hash in texts:
        by_tenant.setdefault(tenant_id, set()).add(text_hash)
    return {
        (tenant_id, row[0])
        for tenant_id, hashes in by_tenant.items()
        for row in connection.execute(
            query,
            {
                "space": space if isinstance(space, str) else space.get(tenant_id),
                "tenant_id": tenant_id,
                "hashes": list(hashes),
            },
        )
    }
