"""What becomes of real files: `python -m bench.documents FOLDER…`.

Each file below the folders is read as the product would, by parser processes within their bounds, pages that are
pictures too. Prints a table by type: how many were processed, partial and refused, seconds, processor time and peak
memory; then the reasons. `--each` prints a line a file as it goes, `--scans N` reads ten drawn pages of a scanner N
times instead of folders. Writes nothing anywhere. Collections that were read, with their origin, are listed in
docs/decisions/0075-the-order-of-a-file-stands-except-for-columns.md.
"""

from __future__ import annotations

import argparse
import difflib
import math
import resource
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import psutil

from adriatic.cli.upload import find_files
from connectors.parsers import Parsed, Refused
from connectors.parsers.pool import Parsers
from runtime.clock import SYSTEM_CLOCK
from tests.connectors.parsers import drawn

TENANT = UUID(int=1)
LOOK_S = 0.2
"""Pause between two looks at the memory of the parser processes."""
REASONS_MAX = 40
"""Reasons that are printed."""


class FileOutcome(NamedTuple):
    """What became of a file. Times in seconds, memory in bytes."""

    kind: str
    state: str
    reasons: tuple[str, ...]
    seconds: float
    cpu_s: float
    peak: int
    text: str


class _Meter:
    """Processor time and memory of the processes that this one started."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._peak = 0
        self._done = threading.Event()

    def cpu_s(self) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = used.ru_utime + used.ru_stime
        for child in self._own.children(recursive=True):
            with suppress(psutil.Error):
                times = child.cpu_times()
                total += times.user + times.system
        return total

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._done.clear()
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._done.set()
            watcher.join()

    def take_peak(self) -> int:
        """The largest process since this was asked last."""
        peak, self._peak = self._peak, 0
        return peak

    def _watch(self) -> None:
        while not self._done.wait(LOOK_S):
            for child in self._own.children(recursive=True):
                with suppress(psutil.Error):
                    self._peak = max(self._peak, child.memory_info().rss)


def read(parsers: Parsers, meter: _Meter, path: Path) -> FileOutcome:
    """One file, to its end."""
    began, used = SYSTEM_CLOCK.monotonic(), meter.cpu_s()
    answer = parsers.read(TENANT, path, path.name)
    seconds, cpu_s = SYSTEM_CLOCK.monotonic() - began, meter.cpu_s() - used
    kind = answer.media_type.rpartition("/")[2].rpartition(".")[2] or f"({path.suffix.lower() or 'no suffix'})"
    if isinstance(answer, Refused):
        return FileOutcome(kind, "refused", (answer.code,), seconds, cpu_s, meter.take_peak(), answer.detail)
    state = "partial" if answer.partial else "processed"
    reasons = tuple(sorted({gap.code for gap in answer.gaps}))
    return FileOutcome(kind, state, reasons, seconds, cpu_s, meter.take_peak(), answer.text)


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def tell(outcomes: Sequence[FileOutcome]) -> Iterator[str]:
    """The table and the reasons."""
    kinds: Mapping[str, list[FileOutcome]] = defaultdict(list)
    for each in outcomes:
        kinds[each.kind].append(each)
    yield f"{'type':<16}{'files':>6}{'whole':>7}{'partial':>9}{'refused':>9}{'s p95':>8}{'cpu s p95':>11}{'peak MB':>9}"
    for kind, some in [*sorted(kinds.items()), ("all", list(outcomes))]:
        states = Counter(each.state for each in some)
        yield (
            f"{kind:<16}{len(some):>6}{states['processed']:>7}{states['partial']:>9}{states['refused']:>9}"
            f"{percentile([each.seconds for each in some], 0.95):>8.2f}"
            f"{percentile([each.cpu_s for each in some], 0.95):>11.2f}{max(each.peak for each in some) / 1e6:>9.0f}"
        )
    yield ""
    why = Counter((each.kind, each.state, reason) for each in outcomes for reason in each.reasons)
    for (kind, state, reason), count in sorted(why.items(), key=lambda found: -found[1])[:REASONS_MAX]:
        yield f"{count:>6}  {kind} {state}: {reason}"


def read_folders(folders: Sequence[Path], *, each: bool) -> None:
    parsers, meter = Parsers(), _Meter()
    outcomes: list[FileOutcome] = []
    try:
        with meter.watching():
            for path in find_files(folders):
                outcome = read(parsers, meter, path)
                outcomes.append(outcome)
                if each:
                    said = outcome.text if outcome.state == "refused" else f"{len(outcome.text)} characters"
                    print(
                        f"{outcome.seconds:7.2f} s  {outcome.state}  {' '.join(outcome.reasons)}  {path}: {said}",
                        flush=True,
                    )
    finally:
        parsers.close()
    print(*tell(outcomes), sep="\n")


def read_scans(times: int) -> None:
    """Ten drawn pages, again and again: seconds of all ten, and how much of the known sentences is in the text."""
    content, known = drawn.ten_scans()
    parsers, meter = Parsers(), _Meter()
    seconds: list[float] = []
    cpu: list[float] = []
    try:
        with meter.watching(), tempfile.NamedTemporaryFile(suffix=".pdf") as file:
            file.write(content)
            file.flush()
            for _ in range(times):
                before, began = meter.cpu_s(), SYSTEM_CLOCK.monotonic()
                answer = parsers.read(TENANT, Path(file.name), "scan.pdf")
                seconds.append(SYSTEM_CLOCK.monotonic() - began)
                cpu.append(meter.cpu_s() - before)
    finally:
        parsers.close()
    assert isinstance(answer, Parsed), answer
    said = " ".join(answer.text.split())
    whole = sum(sentence in said for sentence in known)
    blocks = (difflib.SequenceMatcher(None, said, each, autojunk=False).get_matching_blocks() for each in known)
    letters = sum(block.size for found in blocks for block in found) / sum(map(len, known))
    print(f"ten scanned pages, {len(said)} characters, read {times} times")
    print(f"seconds p50 {percentile(seconds, 0.5):.1f}, p95 {percentile(seconds, 0.95):.1f}, first {seconds[0]:.1f}")
    print(f"processor seconds p50 {percentile(cpu, 0.5):.1f}, p95 {percentile(cpu, 0.95):.1f}")
    print(f"known sentences {whole} of {len(known)} letter by letter, {letters:.1%} of their letters in order")
    print(f"peak memory of a process {meter.take_peak() / 1e6:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.documents", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--each", action="store_true", help="a line for each file, as it goes")
    parser.add_argument("--scans", metavar="N", type=int, default=0, help="read ten drawn pages N times instead")
    asked = parser.parse_args()
    if bool(asked.folders) == bool(asked.scans):
        parser.error("either folders, or --scans N")
    if asked.scans:
        read_scans(asked.scans)
    else:
        read_folders(asked.folders, each=asked.each)


if __name__ == "__main__":
    main()
