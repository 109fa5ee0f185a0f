"""`adriatic topics`: the topics of this release against a broker.

Exit codes: 0 in sync, 1 changes pending or refused, 2 wrong usage, 3 cannot tell because the broker does not answer.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from adriatic.cli.output import json_option, show
from adriatic.cli.waiting import retry_until, wait_option
from runtime.deadline import Deadline
from runtime.settings import load
from topics import catalog
from topics.catalog import Topic
from topics.plan import TopicChange, TopicPlan
from topics.plan import plan as compare

if TYPE_CHECKING:
    from connectors.kafka.admin import KafkaAdmin

SIGNS = {"create": "+", "grow": "~", "alter": "~", "refused": "!", "info": " "}

growth_option = click.option(
    "--allow-partition-growth",
    is_flag=True,
    help="Add partitions to topics with keys. Keys move, so flows halt until `adriatic recover`.",
)


@click.group()
def topics() -> None:
    """The topics of this release: list, plan, apply, check. A topic is never deleted."""


@topics.command("list")
@json_option()
def list_(as_json: bool) -> None:
    """What topics there are, from their files; no broker is asked."""
    found = catalog.load()
    if as_json:
        click.echo(json.dumps([_topic_json(topic) for topic in found.values()]))
        return
    width = max(map(len, found))
    for topic in found.values():
        kept = "compacted" if topic.cleanup == "compact" else _days(topic.retention_ms)
        first = re.split(r"[.:](?:\s|$)", topic.description.replace("\n", " "), maxsplit=1)[0]
        click.echo(f"{topic.name:{width}}  {topic.partitions} x {kept:9}  {first}")


@topics.command()
@growth_option
@wait_option(10)
@json_option()
def plan(allow_partition_growth: bool, wait_s: float, as_json: bool) -> None:
    """What `apply` would do. Ends with 0 when that is nothing, with 1 otherwise."""
    _, found, cluster = _make_plan(allow_partition_growth, Deadline.after(wait_s))
    if not as_json:
        click.echo(f"cluster {cluster}", err=True)
    lines = [*_lines(found.changes), *(["in sync"] if found.in_sync else [])]
    show(as_json, json.dumps(_plan_json(found, cluster)), lines)
    sys.exit(0 if found.in_sync else 1)


@topics.command()
@wait_option(10)
@json_option()
def check(wait_s: float, as_json: bool) -> None:
    """`plan` without the details, for scripts: one line, and the exit code."""
    _, found, cluster = _make_plan(False, Deadline.after(wait_s))
    count = len(found.pending) - len(found.refused)
    pending = f"{count} change(s) pending, {len(found.refused)} refused: see `adriatic topics plan`"
    show(as_json, json.dumps(_plan_json(found, cluster)), ["in sync" if found.in_sync else pending])
    sys.exit(0 if found.in_sync else 1)


@topics.command()
@growth_option
@wait_option(30)
@json_option()
def apply(allow_partition_growth: bool, wait_s: float, as_json: bool) -> None:
    """Make the broker's topics what the files say. Safe to run again and to interrupt; never deletes.

    Ends with 1 when something had to be refused (the rest is done).
    """
    deadline = Deadline.after(wait_s)
    admin, found, cluster = _make_plan(allow_partition_growth, deadline)
    done: list[TopicChange] = []
    # After an outage in the middle, the new plan has what is left; what is done stays done.
    retry_until(deadline, lambda: _apply(admin, allow_partition_growth, done))
    encoded = json.dumps({**_plan_json(found, cluster), "done": [asdict(change) for change in done]})
    made = f"{len(done)} change(s) made" if done else "nothing to do"
    show(as_json, encoded, _lines([*done, *found.refused]), made)
    sys.exit(1 if found.refused else 0)


def _apply(admin: KafkaAdmin, allow_growth: bool, done: list[TopicChange]) -> None:
    desired = catalog.load()
    admin.apply(_compare(admin, desired, allow_growth), desired, done.append)


def _make_plan(allow_growth: bool, deadline: Deadline) -> tuple[KafkaAdmin, TopicPlan, str]:
    from connectors.kafka.admin import KafkaAdmin

    desired = catalog.load()
    # A time-out of its own for each attempt, short enough that a broker on its way up is noticed.
    admin = KafkaAdmin(load().kafka, timeout_s=max(1.0, min(10.0, deadline.left_s)))
    found = retry_until(deadline, lambda: _compare(admin, desired, allow_growth))
    return admin, found, retry_until(deadline, admin.cluster_id)


def _compare(admin: KafkaAdmin, desired: dict[str, Topic], allow_growth: bool) -> TopicPlan:
    return compare(
        list(desired.values()),
        admin.topics(desired),
        replication_factor=load().kafka.replication_factor,
        allow_partition_growth=allow_growth,
    )


def _lines(changes: Iterable[TopicChange]) -> Iterator[str]:
    for change in changes:
        values = " -> ".join(value for value in (change.before, change.after) if value)
        line = " ".join(part for part in (SIGNS[change.action], change.topic, change.setting, values) if part)
        yield f"{line}  ({change.action}: {change.reason})" if change.reason else line


def _plan_json(found: TopicPlan, cluster: str) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "in_sync": found.in_sync,
        "changes": [asdict(change) for change in found.changes],
        "unmanaged": list(found.unmanaged),
    }


def _topic_json(topic: Topic) -> dict[str, Any]:
    import msgspec

    from adriatic.consumers import consumers_of

    built: dict[str, Any] = msgspec.to_builtins(topic)
    return built | {"consumers": consumers_of(topic.name)}


def _days(retention_ms: int) -> str:
    return "for ever" if retention_ms < 0 else f"{retention_ms / 86_400_000:g} d"
