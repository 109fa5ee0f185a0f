"""The whole picture: groups, views, dead letters, the slot. As the watcher writes it, and as readers must take it.

Owns its shape and when it is too old to be believed. No tenant's data is in it. Refuses I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adriatic.watch import freshness, lag
from adriatic.watch.freshness import ViewFreshness
from adriatic.watch.lag import GroupLag

SAMPLE_STALE_S = 10.0
"""A picture older than this is of no use: the watcher looks every two seconds."""


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


def believed(found: Pipeline | None, now_s: float) -> Pipeline:
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
        groups=[lag.unknown(group.group, reason, ours=group.ours) for group in found.groups],
        views=[freshness.unknown(view.view, view.flow, reason) for view in found.views],
    )
