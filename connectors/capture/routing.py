"""Where records go: by tenant. The one router that there is, and the one place in capture that knows of tenants.

Owns the topic of a table, the partition of a key, and the header that names the tenant. Pure, and the same in every
session and release: a key that left its partition would be two keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from connectors.kafka.partitioner import partition_for
from runtime.errors import Unencodable
from schemas.headers import TENANT_HEADER

if TYPE_CHECKING:
    from connectors.capture.outbox import OutboxEvent
    from connectors.kafka.producer import Headers
    from topics.catalog import Topic


class TenantRouter:
    """All records of a tenant are in one partition of each topic. `prefix`: the first part of tables' topics."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def topic_of(self, table: str) -> str:
        return f"{self._prefix}.{table}"

    def route(self, topic: Topic, key: Mapping[str, Any]) -> tuple[int, Headers]:
        tenant = str(key[topic.partition_by])
        return partition_for(tenant, topic.partitions), [(TENANT_HEADER, tenant.encode())]

    def route_event(self, topic: Topic, event: OutboxEvent) -> tuple[int, Headers]:
        """An event without a tenant is a dead letter whose tenant nobody knows."""
        if event.tenant_id is None:
            return partition_for("", topic.partitions), []
        try:
            tenant = str(UUID(event.tenant_id))
        except ValueError:
            raise Unencodable("tenant_id is not a uuid") from None
        return partition_for(tenant, topic.partitions), [(TENANT_HEADER, tenant.encode())]


BY_TENANT = TenantRouter("")
"""The router of whoever knows its topic."""
