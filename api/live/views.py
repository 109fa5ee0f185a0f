"""The views that can be read live. A new one is one entry in `VIEWS`.

Owns what a live read needs to know of a view: its table, its key, the columns that are shown, and whose watermark says
how far it is. Refuses behaviour. The view's topic is that of change capture: `<cdc.prefix>.<table>`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """One view. Its table must have a `tenant_id` that leads its primary key, be in the publication, and be readable by
    the API's role."""

    name: str
    table: str
    """With its schema."""
    key: tuple[str, ...]
    """The rest of the primary key."""
    columns: tuple[str, ...]
    """Shown beside the key, in this order."""
    watermark: str
    """Its name in `mv.watermarks`."""
    made_from: tuple[str, ...]
    """Topics whose every partition must have reported before the watermark says anything."""
    about: str
    """One sentence for the documentation."""

    @property
    def shown(self) -> tuple[str, ...]:
        return self.key + self.columns

    def topic(self, prefix: str) -> str:
        return f"{prefix}.{self.table}"


VERSIONS = "adriatic.app.adr_versions"
COUNTS = (
    *("attempts", "completed", "failed", "cancelled"),
    *("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output_visible", "reasoning"),
    *("cost_micro_usd", "unpriced", "partial", "estimated"),
)
"""What each view of usage counts: `mv.usage_counts`."""


def _usage(by: str, key: tuple[str, ...]) -> View:
    name = f"usage_by_{by}"
    return View(
        name=name,
        table=f"mv.{name}",
        key=key,
        columns=COUNTS,
        watermark=name,
        made_from=("adriatic.app.usage_events",),
        about=f"Attempts, tokens and money in millionths of a dollar by {by}.",
    )


VIEWS: tuple[View, ...] = (
    View(
        name="activity",
        table="mv.activity",
        key=("adr_id", "version"),
        columns=("change", "title", "status", "author", "effective_at", "recorded_at"),
        watermark="activity",
        made_from=(VERSIONS,),
        about="The newest 200 versions of ADRs: who changed what, how and when.",
    ),
    View(
        name="entity_counts",
        table="mv.entity_counts",
        key=("kind", "label"),
        columns=("count",),
        watermark="entity_counts",
        made_from=(VERSIONS,),
        about="How many ADRs there are by status, deleted ones too, and how many versions by kind of change.",
    ),
    View(
        name="daily_active_users",
        table="mv.daily_active_users",
        key=("day",),
        columns=("users",),
        watermark="daily_active_users",
        made_from=(VERSIONS,),
        about="How many people wrote versions on each day.",
    ),
    _usage("hour", ("hour",)),
    _usage("day", ("day",)),
    _usage("model", ("day", "provider", "model")),
    _usage("user", ("day", "user_id")),
    _usage("key", ("day", "key_id")),
    View(
        name="job_status",
        table="mv.job_status",
        key=("job_id",),
        columns=("kind", "state", "stage", "done", "total", "unit", "code", "message", "occurred_at"),
        watermark="job_status",
        made_from=("job.progress",),
        about="What each job said last.",
    ),
    View(
        name="related",
        table="mv.related",
        key=("kind", "source_id", "related_id"),
        columns=("score", "words", "terms", "meaning", "links_to", "links_from"),
        watermark="related",
        made_from=("adriatic.mv.search_state", "adriatic.app.adr_links"),
        about="The nearest other ADRs of each.",
    ),
    View(
        name="feed_status",
        table="mv.feed_status",
        key=("feed_id",),
        columns=(
            *("received", "accepted", "deleted", "duplicates", "superseded", "rejected", "rejected_by"),
            *("redriven", "not_kept", "last_item_at", "last_accepted_at"),
        ),
        watermark="feed_status",
        made_from=("feed.documents", "feed.received"),
        about="What became of the items of each feed.",
    ),
)


def by_name(views: Iterable[View] = VIEWS) -> dict[str, View]:
    return {view.name: view for view in views}
