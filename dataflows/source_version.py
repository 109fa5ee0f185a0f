"""A version of a source as the index takes it, and how a record becomes one. Pure.

Owns what makes a version news. Read next: `dataflows/index.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dataflows.chunker import Chunk, analyse_chunks, chunk, title_line
from dataflows.flow import Event
from schemas import sources
from schemas.analysis import Analysed
from schemas.headers import TRACEPARENT_HEADER
from schemas.sources import SourceKey

Place = tuple[int, int]
"""A version, and the reading of it: what is later in this order is news."""
BEFORE_ALL: Place = (0, 0)


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """One version of a source as it is to be found. A deleted one has no passages. `reading`: how often its text was
    read for title and status."""

    source: SourceKey
    version: int
    reading: int
    deleted: bool
    title: str
    status: str
    effective_at: datetime
    recorded_at: datetime
    traceparent: str | None
    chunks: tuple[Chunk, ...]
    words: tuple[Analysed, ...] = ()
    """What each of the chunks is found by."""
    is_one_of_many: bool = False
    """Whether it came with many others: by an import or a feed, read anew, or copied by a snapshot. Nobody waits for it
    alone."""

    @property
    def place(self) -> Place:
        return self.version, self.reading

    def repeats(self, known: Place) -> bool:
        """Whether it says nothing that is not known of its version."""
        return self.version == known[0] and self.place <= known


def version_of(event: Event) -> SourceVersion:
    row = event.value["after"]
    name = sources.kind_of(event.contract)
    kind = sources.KINDS[name]
    deleted = kind.is_deleted(row)
    title = title_line(row["title"])
    chunks = () if deleted else tuple(chunk(title, row["body"]))
    return SourceVersion(
        source=sources.key_of(name, row),
        version=row["version"],
        reading=row.get("reading") or 0,
        deleted=deleted,
        title=row["title"],
        status=kind.status(row),
        effective_at=datetime.fromisoformat(row["effective_at"]),
        recorded_at=event.record.committed_at or datetime.fromisoformat(row["recorded_at"]),
        traceparent=event.record.header(TRACEPARENT_HEADER) or row.get("traceparent"),
        chunks=chunks,
        words=tuple(analyse_chunks(title, chunks)),
        is_one_of_many=event.value["op"] != "c" or kind.is_from_outside(row),
    )
