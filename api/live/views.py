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
)


def by_name(views: Iterable[View] = VIEWS) -> dict[str, View]:
    return {view.name: view for view in views}
