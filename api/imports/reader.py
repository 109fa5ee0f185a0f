"""The reader of decision records, as the job `reread` asks it.

Owns what a log's numbers and links are once all of its texts were read. Pure. Refuses to store:
`streams/reread_adrs.py` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from api.adrs.document import READER, ParsedAdr, parse
from api.imports.links import KnownAdr, Resolver
from connectors.reading.dates import day_order
from connectors.reading.own import OwnWord, words_with
from schemas.readings import LinkRow, LoggedAdr, OwnWordRow, TextReading, VersionText


class AdrReader:
    """See `schemas.readings.RecordReader`."""

    version = READER

    def read(self, texts: Sequence[VersionText], own: Sequence[OwnWordRow]) -> Sequence[TextReading]:
        words = words_with(tuple(msgspec.convert(row, OwnWord) for row in map(_name, own)))
        day_first = day_order(text.body for text in texts)
        return [
            _make_reading(parse(text.body, path=text.path, words=words, day_first=day_first), imported=text.imported)
            for text in texts
        ]

    def settle_numbers(self, adrs: Sequence[LoggedAdr]) -> Mapping[UUID, int | None]:
        return settle_numbers(adrs)

    def settle_links(self, adrs: Sequence[LoggedAdr], links: Sequence[LinkRow]) -> Sequence[LinkRow]:
        resolver = Resolver(
            KnownAdr(adr.adr_id, adr.number, adr.path, adr.live, adr.former_paths, adr.label or "") for adr in adrs
        )
        return [
            (adr_id, kind, target, found)
            for adr_id, kind, target, known in links
            if (found := resolver.resolve(adr_id, target)) != known
        ]


def _name(row: OwnWordRow) -> Mapping[str, str]:
    return dict(zip(("subject", "name", "phrase"), row, strict=True))


def _make_reading(document: ParsedAdr, *, imported: bool) -> TextReading:
    """A text that was written here may say no title or status of its own: what it has then was given with it."""
    silent_title = not imported and "no-title" in document.oddities
    silent_status = not imported and not document.raw_status
    return TextReading(
        title=None if silent_title else document.title,
        status=None if silent_status else document.status,
        number=document.number,
        label=document.label_beside_number,
        links=sorted({(link.kind, link.target) for link in document.links if "\0" not in link.target}),
        oddities=document.odd_lines(),
    )


def settle_numbers(adrs: Sequence[LoggedAdr]) -> dict[UUID, int | None]:
    """The numbers of imported ADRs as their texts and paths claim them, the first of two before the second.

    A number that was given here stays, and so does one that is claimed by whoever has it. A deleted ADR gives its
    number up to one that claims it.
    """
    kept = {
        adr.number: adr
        for adr in adrs
        if adr.number is not None and (adr.path is None or (adr.live and adr.number == adr.wanted))
    }
    settled: dict[UUID, int | None] = {}
    for adr in adrs:
        if adr.path is None or not adr.live or (adr.number is not None and kept.get(adr.number) is adr):
            continue
        free = adr.wanted is not None and adr.wanted not in kept
        number = adr.wanted if free else None
        if number is not None:
            kept[number] = adr
        if number != adr.number:
            settled[adr.adr_id] = number
    for adr in adrs:
        if not adr.live and adr.path is not None and adr.number is not None and kept.get(adr.number, adr) is not adr:
            settled[adr.adr_id] = None
    return settled
