"""What must be so when a system has healed, whatever happened to it: nothing doubled, lost, or dead.

Owns the checks that are about the whole system; a driver has those of its own record. Those on positions are pure.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from connectors.postgres.lsn import Pos
from runtime.deadline import Deadline
from runtime.errors import AdriaticError
from schemas.headers import POSITION_HEADER, TENANT_HEADER
from tests.crash.load import HEALED_S_MAX
from tests.system.conftest import Tenant, World

READ_S_MAX = 60.0
"""For all topics of a ring, some ten thousand records."""
SHOWN_MAX = 5
APPEND_ONLY = {
    "adriatic.app.adr_versions": "app.adr_versions",
    "adriatic.app.document_versions": "app.document_versions",
    "adriatic.app.page_versions": "app.page_versions",
    "adriatic.app.usage_events": "app.usage_events",
}
"""Topics whose table only grows: as many records of a tenant as it has rows."""


class Seen(NamedTuple):
    """One record of a topic, as far as the checks need it."""

    topic: str
    partition: int
    offset: int
    position: Pos
    tenant: str


def doubled(records: Iterable[Seen]) -> Iterator[str]:
    """Positions of a partition that come again or go back. The positions of a partition grow: it is how capture knows
    what is there already."""
    last: dict[tuple[str, int], Seen] = {}
    wrong: dict[str, list[str]] = defaultdict(list)
    for record in records:
        before = last.get((record.topic, record.partition))
        if before is not None and record.position <= before.position:
            wrong[record.topic].append(f"{record.partition}/{record.offset}")
        else:
            last[record.topic, record.partition] = record
    for topic, places in sorted(wrong.items()):
        yield f"{topic}: {len(places)} records came again: {', '.join(places[:SHOWN_MAX])}"


def read(world: World) -> list[Seen]:
    """Every record that capture produced, in all topics, from their beginnings to their present ends."""
    consumer = Consumer(
        {**world.settings.kafka.client_config(), "group.id": "crash-ring", "enable.auto.commit": False,
         "enable.partition.eof": False, "isolation.level": "read_committed"}
    )  # fmt: skip
    try:
        return list(_read(consumer))
    finally:
        consumer.close()


def _read(consumer: Consumer) -> Iterator[Seen]:
    found = consumer.list_topics(timeout=READ_S_MAX).topics
    ends: dict[tuple[str, int], int] = {}
    for topic, about in found.items():
        for partition in about.partitions if not topic.startswith("_") else ():
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=READ_S_MAX)
            if first < end:
                ends[topic, partition] = end
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in ends])
    deadline = Deadline.after(READ_S_MAX)
    left = set(ends)
    while left and not deadline.passed:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            headers: dict[str, Any] = dict(message.headers() or ())
            place = str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)
            if POSITION_HEADER in headers:
                tenant = (headers.get(TENANT_HEADER) or b"").decode()
                yield Seen(*place, Pos.parse(headers[POSITION_HEADER]), tenant)
        for at in consumer.position([TopicPartition(*each) for each in left]):
            if at.offset >= ends[at.topic, at.partition]:
                left.discard((at.topic, at.partition))
    assert not left, f"not read to the end within {READ_S_MAX:g} s: {sorted(left)}"


def topics(world: World, tenant: Tenant) -> Iterator[str]:
    records = read(world)
    yield from doubled(records)
    counts = Counter(record.topic for record in records if record.tenant == tenant.tenant_id)
    for topic, table in APPEND_ONLY.items():
        ((rows,),) = world.rows(f"select count(*) from {table} where tenant_id = %s", tenant.tenant_id)
        if counts[topic] != rows:
            yield f"{topic} has {counts[topic]} records, and {table} has {rows} rows"


def counted_once(world: World, tenant: Tenant) -> Iterator[str]:
    """What content addressing saved is counted once for each version: a second time shows here alone."""
    ((counted, versions),) = world.rows(
        "select (select firsts + edits from mv.embedding_stats where tenant_id = t.tenant_id), "
        "(select count(*) from app.adr_versions where tenant_id = t.tenant_id) "
        "+ (select count(*) from app.document_versions where tenant_id = t.tenant_id) "
        "from app.tenants t where tenant_id = %s",
        tenant.tenant_id,
    )
    if counted != versions:
        yield f"mv.embedding_stats counted {counted} versions of {versions}"


def healed(world: World) -> Iterator[str]:
    """Every part is well, by itself, in a bounded time."""
    said = _within(lambda: _not_well(world))
    if said:
        yield f"not healed within {HEALED_S_MAX:g} s: {said}"


def _not_well(world: World) -> str:
    code, found = world.status()
    if code == 0:
        return ""
    bad = [f"{row['name']}: {row['detail']}" for row in found["parts"] if row["verdict"] != "ok"]
    return "; ".join(bad) or str(found["summary"])


def verified(world: World, tenant: Tenant) -> Iterator[str]:
    """`adriatic verify` is clean. While it cannot tell (3), it is asked again."""
    said = _within(lambda: _unclear(world, tenant))
    if said:
        yield said
        return
    done = world.run("verify", "--tenant", tenant.slug, "--json", check=False)
    if done.returncode == 3:
        yield f"verify cannot tell: {done.stderr.strip()}"
        return
    report = json.loads(done.stdout)
    if not report["clean"]:
        shown = [f"{each['kind']} {each['where']} {each['detail']}" for each in report["differences"][:SHOWN_MAX]]
        yield f"verify: {report['differences_total']} differences: {'; '.join(shown)}"


def _unclear(world: World, tenant: Tenant) -> str:
    done = world.run("verify", "--tenant", tenant.slug, "--sample", "0", "--wait", "20", check=False)
    return f"verify cannot tell: {done.stderr.strip()}" if done.returncode == 3 else ""


def nothing_died(world: World, letters_before: int) -> Iterator[str]:
    if (letters := world.dead_letters()) != letters_before:
        rows = world.rows("select flow, topic, stage, code, detail from ops.dlq where state = 'new' limit 5")
        yield f"{letters - letters_before} dead letters: {rows}"
    for table, code, detail in world.rows(
        "select table_name, code, detail from ops.cdc_tables where state = 'stopped'"
    ):
        yield f"capture stopped the table {table}: {code} {detail}"


def _within(fault: Callable[[], str]) -> str:
    """Empty as soon as `fault` finds none; otherwise what it said last."""
    deadline = Deadline.after(HEALED_S_MAX)
    while said := fault():
        if deadline.passed:
            return said
        time.sleep(0.5)
    return ""


def guarded(check: Iterable[str], name: str) -> Iterator[str]:
    """A check that cannot be made is a problem too, and not the end of the run."""
    try:
        yield from check
    except (AdriaticError, AssertionError, OSError) as error:
        yield f"{name} could not be checked: {error}"
