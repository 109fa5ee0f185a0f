"""What was recognised on pages that are pictures, taken into a document.

Owns which pages are asked for, up to which number and size, and how those that have no text are named. Refuses to
recognise anything (`scanning`) and to know formats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from connectors.parsers import Limits, PageFault, PagesWanted, Scan, Scans
from connectors.parsers.inventory import Inventory, count

UNSURE_SHARE = 0.1
"""Part of a page's letters that are unsure: with more, the page is named."""


def take_scans(
    wanted: Sequence[int], limits: Limits, inventory: Inventory, scans: Scans, room: int, unit: str = "pages"
) -> Mapping[int, str]:
    """What was recognised on each of these pages, counted, as far as there is `room` for it, in bytes; why others have
    nothing is a gap. `unit`: what the numbers count. Raises `PagesWanted` for those of which nothing is known yet."""
    if scans is None:
        inventory.miss_pages("picture-pages", "pictures with little or no text", wanted, unit)
        return {}
    known = {each.page: each for each in scans}
    within, beyond = wanted[: limits.scans_max], wanted[limits.scans_max :]
    if unread := tuple(page for page in within if page not in known):
        raise PagesWanted(unread)
    read = [each for each in map(known.__getitem__, within) if isinstance(each, Scan)]
    texts: dict[int, str] = {}
    crowded: list[int] = []
    for each in read:
        room -= len(each.text.encode()) + 2
        if room < 0:
            crowded.append(each.page)
            continue
        texts[each.page] = each.text
        inventory.hold("scan", each.text)
        inventory.keep("scan", each.text)
        inventory.hold("unsure", "x" * each.unsure)
    faults = [each for each in map(known.__getitem__, within) if isinstance(each, PageFault)]
    _name_gaps(inventory, read, faults, unit)
    most = limits.scans_max
    inventory.miss_pages("picture-pages", f"pictures beyond the {most} of a document that are read", beyond, unit)
    inventory.miss_pages("picture-pages", f"pictures beyond the {limits.text_bytes_max} bytes of text", crowded, unit)
    return texts


def _name_gaps(inventory: Inventory, read: Sequence[Scan], faults: Sequence[PageFault], unit: str) -> None:
    reasons: dict[str, list[int]] = defaultdict(list)
    for fault in faults:
        reasons[f"{fault.code}: {fault.detail}"].append(fault.page)
    for reason, pages in reasons.items():
        inventory.miss_pages("unread-pages", reason, pages, unit)
    unsure = [each.page for each in read if each.unsure > UNSURE_SHARE * (each.unsure + count(each.text))]
    inventory.miss_pages("unsure-text", "lines of too little confidence", unsure, unit)
