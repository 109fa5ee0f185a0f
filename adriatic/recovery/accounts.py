"""What a recovery keeps of each tenant, made to fit the new logs: dead letters, the account of feeds, what jobs are at.

Owns the SQL, as adriatic_flows, which sees all tenants. Everything here changes nothing when it is done again. Refuses
to empty anything: `emptying.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from adriatic.recovery.ledger import NAME
from adriatic.recovery.steps import LETTERS_APART
from connectors.kafka.offsets import Offsets
from connectors.kafka.records import TopicPartition
from connectors.postgres.connections import connect
from connectors.postgres.errors import translate
from dataflows import job_status
from runtime.settings import Settings
from schemas.arrays import arrays_of

MOVE_LETTERS = """
  update ops.dlq
  set record_offset = record_offset - %s
  where topic = any(%s) and partition >= 0 and record_offset >= 0
"""
MOVE_REJECTIONS = """
  update mv.feed_rejections
  set record_offset = record_offset - %s
  where topic = any(%s) and record_offset >= 0
"""
DELETE_MISSHAPEN = """
  delete from mv.embeddings e
  using mv.embedding_spaces s
  where s.space = e.space and vector_dims(e.embedding) <> s.dimension
"""


def leave_logs(settings: Settings, number: int, topics: Sequence[str]) -> None:
    """These logs are gone: dead letters and rejections keep their order and get offsets that the new ones never have,
    and no position of a feed counts any more. Vectors that are none of their space go too."""
    by = number * LETTERS_APART
    with translate("leave the logs"), connect(settings.postgres, name=NAME) as connection:
        connection.execute(MOVE_LETTERS, [by, list(topics)])
        connection.execute(MOVE_REJECTIONS, [by, list(topics)])
        connection.execute("delete from ops.feed_positions where topic = any(%s)", [list(topics)])
        connection.execute(DELETE_MISSHAPEN)


def say_jobs_again(settings: Settings) -> None:
    """The topic of what jobs are at forgets within days."""
    with translate("say what jobs are at"), connect(settings.postgres, name=NAME) as connection:
        job_status.say_again(connection)


WRITE_POSITIONS = """
  insert into ops.feed_positions (topic, partition, counted_to)
  select *
  from unnest(%s::text[], %s::int[], %s::bigint[])
  on conflict do nothing
"""


def count_feeds_from_here(settings: Settings, topics: Sequence[str]) -> None:
    """What the copy has of feeds' items was counted before: it is read again, and counts what was not written alone.
    Again changes nothing."""
    offsets = Offsets(settings.kafka)
    ends = offsets.end(offsets.partitions(topics))
    rows = [(source.topic, source.partition, end) for source, end in sorted(ends.items())]
    with translate("write the positions of feeds"), connect(settings.postgres, name=NAME) as connection:
        connection.execute(WRITE_POSITIONS, arrays_of(rows, 3))


# --- logs of outsiders ----------------------------------------------------------------------------------------------

READ_READ = """
  select flow, topic, partition, next_offset, to_jsonb(o) ->> 'topic_id'
  from ops.consumer_offsets o
  where topic = any(%s)
"""


def read_committed(
    settings: Settings, topics: Sequence[str]
) -> dict[tuple[str, str], tuple[dict[int, int], str | None]]:
    """Read, for each flow and topic, the next offset of each partition, and the broker's id of the topic that was
    read."""
    found: dict[tuple[str, str], tuple[dict[int, int], str | None]] = {}
    with translate("read offsets"), connect(settings.postgres, name=NAME, autocommit=True) as connection:
        for flow, topic, partition, at, topic_id in connection.execute(READ_READ, [list(topics)]):
            offsets, known = found.setdefault((flow, topic), ({}, topic_id))
            offsets[partition] = at
            if known != topic_id:
                found[flow, topic] = (offsets, None)
    return found


def read_ends(settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """The first offset and the end of each partition of a topic; empty when it is not there."""
    offsets = Offsets(settings.kafka)
    sources = [TopicPartition(topic, partition) for partition in offsets.topics().get(topic, [])]
    first, end = offsets.first(sources), offsets.end(sources)
    return {source.partition: (first[source], end[source]) for source in sources}
