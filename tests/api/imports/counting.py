"""An independent count of what a history must become: from its changes alone, with nothing of the importer in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expected:
    """`versions` counts ADRs by (path where they ended, living, number of versions)."""

    kinds: Counter[str]
    live: frozenset[str]
    refused: int
    versions: Counter[tuple[str, bool, int]]

    @property
    def versions_total(self) -> int:
        return sum(count * copies for (_, _, count), copies in self.versions.items())


def expect(events: Iterable[dict[str, Any]]) -> Expected:
    """Walk the changes one at a time. Every change is one version, but for a deletion of what is not there; a rename
    onto a living file ends that one with a version more. A path that comes back is the ADR that was last there."""
    kinds: Counter[str] = Counter()
    counts: list[int] = []  # versions by ADR
    places: dict[int, str] = {}
    live: dict[str, int] = {}
    dead: dict[str, int] = {}
    refused = 0
    for event in events:
        kind, path = event["change"], event["path"]
        kinds[kind] += 1
        if kind == "D" and path not in live:
            refused += 1
            continue
        if kind == "D":
            adr = dead[path] = live.pop(path)
        elif kind == "R" and event["old_path"] in live:
            adr = live.pop(event["old_path"])
            if path in live:
                counts[live[path]] += 1
                dead[path] = live.pop(path)
        elif path in live:
            adr = live[path]
        elif path in dead:
            adr = dead.pop(path)
        else:
            adr = len(counts)
            counts.append(0)
        if kind != "D":
            live[path] = adr
        places[adr] = path
        counts[adr] += 1
    living = set(live.values())
    return Expected(
        kinds,
        frozenset(live),
        refused,
        Counter((places[adr], adr in living, count) for adr, count in enumerate(counts)),
    )
