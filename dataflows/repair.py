"""Makes anew what a flow keeps of a tenant: `adriatic verify --repair`.

The rows are deleted and the flow's offsets set back to the beginning of the tenant's partitions, in one transaction:
the flow, which may be running, is fenced, and reads the log again from there. For everybody else a replay changes
nothing. Owns that transaction, and what follows where the log has not everything (vectors, jobs). Refuses what the log
never had: the account of what outsiders sent. A log that lacks records, or has those of another database, is made anew
by `adriatic recover`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from connectors.kafka.offsets import Offsets
from connectors.kafka.partitioner import partition_for
from connectors.kafka.records import TopicPartition
from connectors.postgres.connections import Connection, connect
from connectors.postgres.errors import translate
from dataflows import job_status
from dataflows.catalog import flows
from dataflows.comparison import VerifyReport
from runtime.settings import Settings
from schemas.arrays import arrays_of


@dataclass(frozen=True, slots=True)
class Repair:
    """What is made anew: a flow's rows of a tenant; or why that cannot be."""

    flow: str
    tenant_id: UUID
    refused: str = ""


def repair(settings: Settings, report: VerifyReport, actor: str) -> list[Repair]:
    """Begin to make anew what `report` found. It is done when the flows have caught up.

    Raises `DependencyUnavailable`; what was begun by then is done all the same.
    """
    done = []
    with translate(), connect(settings.postgres, name="adriatic-repair", autocommit=True) as connection:
        _delete_vectors(connection, report)
        for name, tenant_id in _find_flows(report):
            tables = flows()[name].tables
            if all(table.outlives for table in tables):
                done.append(Repair(name, tenant_id, f"nothing else has it: {tables[0].outlives}"))
            else:
                _repair(settings, connection, name, tenant_id, actor)
                done.append(Repair(name, tenant_id))
    return done


def _find_flows(report: VerifyReport) -> Iterator[tuple[str, UUID]]:
    """What a flow and a tenant need. Vectors are asked for by the flow that finds them missing."""
    found = {(name, tenant_id) for name, tenants in report.flows.items() for tenant_id in tenants}
    yield from sorted({("index" if name == "embed" else name, tenant_id) for name, tenant_id in found})


DELETE_VECTORS = """
  delete from mv.embeddings e
  using unnest(%s::uuid[], %s::bytea[]) as w (tenant_id, text_hash)
  where e.tenant_id = w.tenant_id and e.text_hash = w.text_hash
"""


def _delete_vectors(connection: Connection, report: VerifyReport) -> None:
    connection.execute(DELETE_VECTORS, arrays_of(sorted(report.wrong_vectors), 2))


READ_SOURCES = "select topic, partition from ops.consumer_offsets where flow = %s"
LOCK_OFFSETS = """
  select 1
  from ops.consumer_offsets
  where flow = %s
  order by topic, partition
  for update
"""
SET_BACK = """
  update ops.consumer_offsets o
  set next_offset = b.next_offset, updated_at = now()
  from unnest(%s::text[], %s::int[], %s::bigint[]) as b (topic, partition, next_offset)
  where o.flow = %s and o.topic = b.topic and o.partition = b.partition
"""
UNKNOW = """
  update mv.watermarks w
  set lsn = '0/0', source_at = to_timestamp(0)
  from unnest(%s::text[], %s::int[]) as b (topic, partition)
  where w.view = any(%s) and w.topic = b.topic and w.partition = b.partition
"""
AUDIT = """
  insert into ops.audit (actor, action, target, result)
  values (%s, 'verify.repair', %s, 'done')
"""


def _repair(settings: Settings, connection: Connection, name: str, tenant_id: UUID, actor: str) -> None:
    flow = flows()[name]
    mine = _of_tenant([TopicPartition(*row) for row in connection.execute(READ_SOURCES, [name])], tenant_id)
    first = Offsets(settings.kafka).first(mine)
    with connection.transaction():
        # The flow's own commits take these locks first: none of them is half done.
        connection.execute(LOCK_OFFSETS, [name])
        flow.forget(connection, tenant_id)
        connection.execute(SET_BACK, [*arrays_of([(*source, first[source]) for source in mine], 3), name])
        connection.execute(UNKNOW, [*arrays_of(mine, 2), [view.name for view in flow.views]])
        if job_status.TOPIC in flow.topics:
            job_status.say_again(connection, tenant_id)
        connection.execute(AUDIT, [actor, f"{name} {tenant_id}"])


def _of_tenant(known: Sequence[TopicPartition], tenant_id: UUID) -> list[TopicPartition]:
    """The partition of each topic that has the tenant's records."""
    counts: dict[str, int] = {}
    for source in known:
        counts[source.topic] = counts.get(source.topic, 0) + 1
    return [source for source in known if source.partition == partition_for(str(tenant_id), counts[source.topic])]
