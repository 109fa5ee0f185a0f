"""`GET /v1/pipeline`: how far behind everything is, for any member of any tenant.

Owns what a member may see of the watcher's picture: our own groups, every view, counts of dead letters, the slot.
Refuses to show groups of others (their names are other people's), partitions, and a picture that is too old.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from litestar import Controller

from api.db import tenant_transaction
from api.routes import By, Db, get
from schemas import pipeline
from schemas.pipeline import BLAME, Percentiles, State, Status


class ConsumerLag(msgspec.Struct, frozen=True):
    """A flow or an agent, and how far behind its topics it is. Numbers are null when they are not known.

    `trend`: records a second by which the lag grows. `eta_s`: until it has caught up; null while it does not.
    `retention_share`: how much of what the log holds waits; at 1 the next record to expire is unread.
    """

    group: str
    status: Status
    lag_records: int | None
    lag_s: float | None
    trend: float | None
    eta_s: float | None
    retention_share: float | None
    reason: str


class ViewAge(msgspec.Struct, frozen=True):
    """A view, and how far behind the source it is. `stages` (wal, capture, topic, flow) add up to `age_s`."""

    view: str
    flow: str
    state: State
    age_s: float | None
    stages: Mapping[str, float]
    slowest: str | None
    last_hour: Percentiles | None
    reason: str


class Kind(msgspec.Struct, frozen=True):
    """Dead letters of one kind that wait for a decision."""

    flow: str
    topic: str
    code: str
    open: int


class Letters(msgspec.Struct, frozen=True):
    """Dead letters that wait for a decision: all of them, and by kind. Null: not known."""

    open: int | None
    kinds: Sequence[Kind]


class PipelineReport(msgspec.Struct, frozen=True):
    """What the watcher saw at `sampled_at`. `reason`: why some of it is unknown."""

    sampled_at: datetime | None
    reason: str
    groups: Sequence[ConsumerLag]
    views: Sequence[ViewAge]
    dead_letters: Letters
    slot: pipeline.Slot | None


_EXAMPLE = {
    "sampled_at": "2026-01-15T09:00:00Z",
    "reason": "",
    "groups": [
        {
            "group": "adriatic.index",
            "status": "catching-up",
            "lag_records": 1200,
            "lag_s": 14.2,
            "trend": -310.5,
            "eta_s": 3.865,
            "retention_share": 0.012,
            "reason": "adriatic.app.adr_versions/3 is 14 s behind",
        }
    ],
    "views": [
        {
            "view": "search.words",
            "flow": "index",
            "state": "stale",
            "age_s": 15.1,
            "stages": {"wal": 0.4, "capture": 0.3, "topic": 14.1, "flow": 0.3},
            "slowest": "topic",
            "last_hour": {"samples": 1800, "p50_s": 0.9, "p95_s": 2.1, "p99_s": 15.1, "max_s": 15.1},
            "reason": BLAME["topic"],
        }
    ],
    "dead_letters": {
        "open": 1,
        "kinds": [{"flow": "index", "topic": "adriatic.app.adr_versions", "code": "undecodable", "open": 1}],
    },
    "slot": {
        "name": "adriatic",
        "active": True,
        "status": "reserved",
        "retained_bytes": 1048576,
        "safe_bytes": 4293918720,
        "behind_s": 0.6,
        "stopped_tables": [],
    },
}


_READ_PICTURE = """
  select found::text, extract(epoch from clock_timestamp())::float8 as now_s
  from (select 1) as one
  left join ops.pipeline on true
"""


class PipelineController(Controller):
    """The pipeline itself. It shows no tenant's data."""

    path = "/v1/pipeline"
    tags = ("operations",)

    @get("/", "How far behind everything is", _EXAMPLE, "As of `sampled_at`.")
    async def get_pipeline(self, database: Db, principal: By) -> PipelineReport:
        """Lag of every flow and agent, freshness of every view by stage, dead letters, the replication slot; worst
        first. A picture older than 10 s is not shown: everything is `unknown` then, with the reason."""
        async with tenant_transaction(database, principal.tenant_id, read_only=True) as connection:
            row = await connection.fetchrow(_READ_PICTURE)
        try:
            found = None if row["found"] is None else pipeline.decode(row["found"].encode())
        except msgspec.DecodeError:  # another release's watcher still runs
            found = None
        return report(pipeline.mask_stale(found, row["now_s"]))


def report(found: pipeline.Pipeline) -> PipelineReport:
    """What a member sees of a picture."""
    kinds = [Kind(each.flow, each.topic, each.code, each.open) for each in found.dead_letters if each.open]
    return PipelineReport(
        sampled_at=datetime.fromtimestamp(found.sampled_at_s, UTC) if found.sampled_at_s else None,
        reason=found.reason,
        groups=msgspec.convert([each for each in found.groups if each.ours], list[ConsumerLag], from_attributes=True),
        views=msgspec.convert(found.views, list[ViewAge], from_attributes=True),
        dead_letters=Letters(None if found.slot is None else sum(each.open for each in kinds), kinds),
        slot=found.slot,
    )
