"""The numbered events of one answer, in little memory. Pure.

Owns how they are held: the newest as they are, those before in blocks. A block that is text alone, as nearly all are,
is one string with the lengths of its pieces: some three bytes beside the text of each, where an object and its string
have more than a hundred. Ten thousand answers of five minutes hold three million pieces, and the collector of garbage
walks over every object. Refuses readers and bounds (`answers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from api.chat.schemas import ChatEvent, TextDelta

BLOCK_EVENTS = 16
"""Events of a block. Who reads on in the middle unpacks so many for nothing."""
TAIL_EVENTS = 2 * BLOCK_EVENTS
"""Events that are kept as they are: whoever reads as it is written finds them there."""


class _TextBlock(NamedTuple):
    """Pieces of text, one behind the other. `lengths` are in characters: bytes, where each is below 256."""

    text: str
    lengths: bytes | tuple[int, ...]

    def unpack(self) -> Iterator[ChatEvent]:
        begin = 0
        for length in self.lengths:
            yield TextDelta(self.text[begin : begin + length])
            begin += length


class EventLog:
    """Grows at its end. Events are numbered from 0."""

    __slots__ = ("_blocks", "_tail")

    def __init__(self) -> None:
        self._blocks: list[_TextBlock | tuple[ChatEvent, ...]] = []
        """Each has `BLOCK_EVENTS`."""
        self._tail: list[ChatEvent] = []

    def __len__(self) -> int:
        return len(self._blocks) * BLOCK_EVENTS + len(self._tail)

    def append(self, event: ChatEvent) -> None:
        self._tail.append(event)
        if len(self._tail) >= TAIL_EVENTS:
            self._blocks.append(_pack(self._tail[:BLOCK_EVENTS]))
            del self._tail[:BLOCK_EVENTS]

    def read(self, number: int, count: int | None = None) -> Sequence[ChatEvent]:
        """The events from `number` on that are there, at most `count`."""
        begin = number - len(self._blocks) * BLOCK_EVENTS
        if begin >= 0:
            return self._tail[begin:] if count is None else self._tail[begin : begin + count]
        first, begin = divmod(number, BLOCK_EVENTS)
        wanted = None if count is None else begin + count
        events: list[ChatEvent] = []
        for block in self._blocks[first:]:
            if wanted is not None and len(events) >= wanted:
                break
            events += _unpack(block)
        else:
            events += self._tail
        return events[begin:wanted]

    def copy(self) -> EventLog:
        """The same events, to be gone on with apart."""
        other = EventLog()
        other._blocks, other._tail = [*self._blocks], [*self._tail]
        return other


def _pack(events: Sequence[ChatEvent]) -> _TextBlock | tuple[ChatEvent, ...]:
    texts = [event.text for event in events if type(event) is TextDelta]
    if len(texts) < len(events):
        return tuple(events)
    lengths = tuple(map(len, texts))
    return _TextBlock("".join(texts), bytes(lengths) if max(lengths) < 256 else lengths)


def _unpack(block: _TextBlock | tuple[ChatEvent, ...]) -> Iterable[ChatEvent]:
    return block.unpack() if isinstance(block, _TextBlock) else block
