"""What a flow says of itself that other rooms read too: the tables that it keeps, and its views.

Owns the shape of these two values. Refuses behaviour, and to know which flows there are: each flow declares its own
beside its code (`dataflows/flow.py`), and the application hands them to whoever needs them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table that a flow keeps, and what `adriatic verify` holds it against; where it cannot, `not_compared` says why.

    A table whose right content is one query needs no code of its own: `right` is that query, for the tenant
    `%(tenant_id)s`, with the `columns` (separated by commas, `tenant_id` first) in their order. With `summed` the query
    gives rows to add up: these columns, over what has the same `columns`.
    """

    name: str
    """The name with its schema."""
    compared: str = ""
    not_compared: str = ""
    columns: str = ""
    right: str = ""
    summed: str = ""
    rows_max: int = 0
    """What the query has as `%(rows_max)s`, when the table keeps no more."""
    outlives: str = ""
    """Why its rows stay when everything that is derived from the log is made anew: the log does not have all of it."""

    def __post_init__(self) -> None:
        assert bool(self.compared) != bool(self.not_compared), f"{self.name} is compared, or it is said why not"
        assert bool(self.columns) == bool(self.right), f"{self.name} needs both, columns and the query"


@dataclass(frozen=True, slots=True)
class KeptView:
    """What readers see of a flow under one name, and how far it is: `/v1/freshness`, `as_of`, `adriatic status`.

    With `columns` it can be read live (`/v1/live/<name>`). Its table then has a `tenant_id` that leads its primary key,
    is in the publication, and readable by the API's role.
    """

    name: str
    """The name in `mv.watermarks`; for ever."""
    about: str
    """One sentence for the documentation."""
    made_from: tuple[str, ...] = ()
    """Those of the flow's topics whose records move its watermark, by contract name. Empty: all."""
    table: str = ""
    """The name with its schema."""
    key: tuple[str, ...] = ()
    """The primary key of the table without the tenant."""
    columns: tuple[str, ...] = ()
    """Shown beside the key, in this order."""
    follows: str = ""
    """The view that it cannot be ahead of. Such a view is derived: it has no watermark of its own."""
    source_view: str = ""
    """The view whose rows its flow reads. Its own watermark says how far it follows that one, so it is no further than
    that one is."""
    waiting: str = ""
    """A query whose single value is when the oldest change was written that the view does not show yet, null when it
    shows all: the view is no further than that, whatever its watermark says."""

    def __post_init__(self) -> None:
        assert bool(self.columns) == bool(self.table) == bool(self.key), f"{self.name} is read live, or is not"

    @property
    def live(self) -> bool:
        return bool(self.columns)

    @property
    def shown(self) -> tuple[str, ...]:
        return self.key + self.columns

    def topic(self, prefix: str) -> str:
        """The one that change capture writes the table's changes to."""
        return f"{prefix}.{self.table}"
