"""The picture of the whole pipeline in `ops.pipeline`: groups, views, dead letters, the slot.

Owns its shape, its words, and when it is too old to be believed: the watcher writes it (`adriatic/watch`), everybody
reads it. No tenant's data is in it. Refuses I/O, and to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

Status = Literal["losing-data", "rewound", "stopped", "stalled", "unknown", "no-commits", "slow", "catching-up", "ok"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""Worst first: of a group's partitions the worst one speaks for it."""

Stage = Literal["wal", "capture", "topic", "flow"]
STAGES: tuple[Stage, ...] = get_args(Stage)
BLAME: Mapping[Stage, str] = {
    "wal": "capture does not read the WAL: is the process `cdc` there, and Postgres?",
    "capture": "what capture has read does not reach Kafka: is the broker there?",
    "topic": "the flow does not take what is in its topics: is its process there?",
    "flow": "the flow has it and does not commit it: see its log",
}
State = Literal["fresh", "stale", "unknown"]
TOTAL = "total"

FRESH_S_MAX = 10.0
"""Heartbeats pass the whole path about once a second, a batch takes a second or two; ten says that something waits."""
KNOWN_S_MAX = 900.0
"""A watermark older than this is of no use to a reader: a quarter of an hour of edits may be missing."""
SKEW_S_MAX = 5.0
"""How far ahead of the clock that judges a commit's time may be: two machines' clocks differ by less when they are kept
in step. A time beyond it is not fresh: a clock is wrong, and nobody can say how old the view is."""


SAMPLE_STALE_S = 10.0
"""A picture older than this is of no use: the watcher looks every two seconds."""


class PartitionLag(msgspec.Struct, frozen=True):
    """One partition, as last looked at. Offsets are null where the group has committed none."""

    topic: str
    partition: int
    status: Status
    committed: int | None
    end: int
    lag_records: int | None
    lag_s: float | None


class GroupLag(msgspec.Struct, frozen=True, kw_only=True):
    """The five numbers of a group, and their word. `ours`: a flow or an agent, which must run at all times."""

    group: str
    status: Status
    ours: bool
    reason: str = ""
    lag_records: int | None = None
    lag_s: float | None = None
    trend: float | None = None
    """Records a second by which the lag grows; negative while it shrinks."""
    eta_s: float | None = None
    """Time until nothing waits, if it goes on like this; null while it does not shrink."""
    retention_share: float | None = None
    members: int | None = None
    partitions: Sequence[PartitionLag] = ()


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of the looks of one minute, or of one hour, in seconds."""

    samples: int
    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float


class ViewFreshness(msgspec.Struct, frozen=True, kw_only=True):
    """One view. `stages` add up to `age_s`; `slowest` names the one that has most of it, when the view is not fresh."""

    view: str
    flow: str
    state: State
    age_s: float | None = None
    stages: Mapping[str, float] = msgspec.field(default_factory=dict)
    slowest: str | None = None
    reason: str = ""
    last_hour: Percentiles | None = None


class DeadLetters(msgspec.Struct, frozen=True):
    """Dead letters of one kind. `open`: those that nobody has decided about."""

    flow: str
    topic: str
    code: str
    open: int
    decided: int


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """The replication slot. `safe_bytes`: how much more WAL may be kept before Postgres gives the slot up; null is no
    limit, or lost already. `status` as Postgres says it: reserved, extended, unreserved, lost; `missing`: no slot."""

    name: str
    active: bool
    status: str
    retained_bytes: int | None = None
    safe_bytes: int | None = None
    behind_s: float | None = None
    stopped_tables: Sequence[str] = ()


class Pipeline(msgspec.Struct, frozen=True, kw_only=True):
    """`sampled_at_s`: when it was looked at, in seconds since 1970. `reason`: why the broker could not be asked."""

    sampled_at_s: float
    reason: str = ""
    groups: Sequence[GroupLag] = ()
    views: Sequence[ViewFreshness] = ()
    dead_letters: Sequence[DeadLetters] = ()
    slot: Slot | None = None
    groups_left_out: int = 0


def decode(text: bytes) -> Pipeline:
    """What `msgspec.json.encode` made of one. Raises `msgspec.DecodeError` for another release's shape."""
    return msgspec.json.decode(text, type=Pipeline)


def mask_stale(found: Pipeline | None, now_s: float) -> Pipeline:
    """What may be said of now. An old picture keeps its names, so that it shows what is not known, and no number."""
    if found is None:
        return Pipeline(sampled_at_s=0.0, reason="nobody has looked yet: is the process `watch` there?")
    age_s = now_s - found.sampled_at_s
    if age_s <= SAMPLE_STALE_S:
        return found
    reason = f"nobody has looked for {age_s:.0f} s: is the process `watch` there?"
    return Pipeline(
        sampled_at_s=found.sampled_at_s,
        reason=reason,
        groups=[unknown_group(group.group, reason, ours=group.ours) for group in found.groups],
        views=[unknown_view(view.view, view.flow, reason) for view in found.views],
    )


def unknown_group(group: str, reason: str, *, ours: bool) -> GroupLag:
    """No number is shown as if it were of now."""
    return GroupLag(group=group, status="unknown", ours=ours, reason=reason)


def unknown_view(view: str, flow: str, reason: str) -> ViewFreshness:
    return ViewFreshness(view=view, flow=flow, state="unknown", reason=reason)
