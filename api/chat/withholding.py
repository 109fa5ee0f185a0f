"""Answers whose sources were taken away since, as whoever reads them gets them. Pure.

Owns what an answer stands on, and which of its events are left. A model may use what it does not cite, so an answer
stands on every source that it was given, and on those of the turns before that it was told. See `api/withdrawn.py` for
the rule, and `resuming` and `conversations` for the readers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from api.chat.encoding import StoredEvent, store
from api.chat.schemas import ChatEvent, Source, Sources
from api.withdrawn import SourceName

LEFT: Final = frozenset(("start", "sources", "reset", "citations", "usage", "done", "error"))
"""Events that say nothing of what was written: who answered, by which sources, at what cost, and how it ended."""


def stands_on(events: Iterable[ChatEvent | StoredEvent]) -> tuple[SourceName, ...]:
    """What the answer of these events was given, its own sources first, each once."""
    told = [each for event in events if (each := _read_sources(event)) is not None]
    own = [(source.kind, source.source_id) for each in told for source in each.sources]
    before = [(kind, source_id) for each in told for kind, ids in each.before.items() for source_id in ids]
    return tuple(dict.fromkeys([*own, *before]))


def withhold(events: Sequence[StoredEvent], gone: Collection[SourceName]) -> Sequence[StoredEvent]:
    """The events, of which nothing that was written is left where the answer stands on what is gone."""
    lost = sum(name in gone for name in stands_on(events))
    if not lost:
        return events
    return [_strip(event, gone, lost) for event in events if event.name in LEFT]


def _strip(event: StoredEvent, gone: Collection[SourceName], lost: int) -> StoredEvent:
    told = _read_sources(event)
    if told is None:
        return event
    left = [_hide(each) if (each.kind, each.source_id) in gone else each for each in told.sources]
    return store(msgspec.structs.replace(told, sources=left, withdrawn=lost))


def _hide(source: Source) -> Source:
    """The source as one that is gone: its number still stands for it."""
    return Source(
        *(source.number, source.kind, source.source_id, source.version),
        title="",
        label=None,
        log=None,
        path=None,
        document=None,
        heading="",
        char_start=0,
        char_end=0,
        gone=True,
    )


def _read_sources(event: ChatEvent | StoredEvent) -> Sources | None:
    if isinstance(event, Sources):
        return event
    if isinstance(event, StoredEvent) and event.name == "sources":
        return msgspec.json.decode(event.data, type=Sources)
    return None
