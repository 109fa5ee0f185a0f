"""What real edits cost: how many passages survive an edit, and how much text goes through the embedder.

`python bench/chunker.py [FOLDER]` replays histories (`*.jsonl.gz`, one change a line) through the chunker, and through
two plainer cuts to compare with. Owns nothing else; needs no services.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dataflows.chunker import chunk

DEFAULT_FOLDER = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "adr-history"
READ_CHARS = 1_100
"""About what the default embedder reads of a text."""

Cut = Callable[[str, str], list[str]]
"""Title and text to the texts as embedded."""


def structure(title: str, text: str) -> list[str]:
    return [part.text for part in chunk(title, text)]


def windows(title: str, text: str) -> list[str]:
    """1000 characters, overlapping by 200: what most libraries do unless told otherwise."""
    return [f"{title}\n{text[start : start + 1000]}" for start in range(0, max(1, len(text)), 800)]


def paragraphs(title: str, text: str) -> list[str]:
    """Every paragraph alone: the most that can survive, and more than half of them too short to mean anything."""
    return [f"{title}\n{part}" for part in re.split(r"\n\s*\n", text) if part.strip()]


def changes(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            change = json.loads(line)
            if change["content"] is not None:
                yield change


def title_of(text: str) -> str:
    found = re.search(r"^#\s+(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else ""


def replay(file: Path, cut: Cut) -> tuple[int, int, int, int]:
    """(passages of edits, those known before, texts embedded, characters embedded)."""
    seen: set[str] = set()
    total = known = characters = 0
    for change in changes(file):
        texts = cut(title_of(change["content"]), change["content"])
        if change["change"] in "MR":
            total += len(texts)
            known += sum(text in seen for text in texts)
        new = set(texts) - seen
        characters += sum(min(len(text), READ_CHARS) for text in new)
        seen |= new
    return total, known, len(seen), characters


def main(folder: Path) -> int:
    files = sorted(folder.glob("*.jsonl.gz"))
    if not files:
        print(f"no histories in {folder}", file=sys.stderr)
        return 1
    print(f"{'':36} {'edited':>8} {'avoided':>8} {'embedded':>9} {'characters':>11}")
    for cut in (structure, windows, paragraphs):
        sums = [0, 0, 0, 0]
        for file in files:
            row = replay(file, cut)
            sums = [old + new for old, new in zip(sums, row, strict=True)]
            if cut is structure:
                show(file.name.removesuffix(".jsonl.gz"), row)
        show(f"all: {cut.__name__}", sums)
    return 0


def show(name: str, row: Any) -> None:
    total, known, texts, characters = row
    print(f"{name:36} {total:8} {known / max(1, total):8.1%} {texts:9} {characters:11}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER))
