"""What a change says: the lines that it adds, each with its file and number, what they cite, and what to search for.

Owns the reading of a unified diff, and of a text that is none. Refuses the database: which of the cited records hold is
for `service`. Pure, and linear in the length of the change.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from api.search.query import NUMBER_MAX, QUERY_CHARS_MAX

QUERIES_MAX: Final = 8
"""Searches for one change: those of the files that add most. Each takes some hundredths of a second."""
CITATIONS_MAX: Final = 200
"""Citations that are looked up. A change that names more is a list of records."""
WORD_CHARS_MIN: Final = 3
"""Shorter words of code say nothing: `i`, `to`."""

_FILE = re.compile(r"\+\+\+ (?:b/)?(?P<path>[^\t\n]+)")
_HUNK = re.compile(r"@@ -\d+(?:,\d+)? \+(?P<start>\d+)(?:,(?P<lines>\d+))? @@")
_ADDRESS = re.compile(r"adr://(?P<log>[a-z0-9][a-z0-9-]{0,62})/(?P<number>\d{1,10})(?![\w-])")
_LABEL = re.compile(r"(?<![\w/.-])adr[\s#_-]{0,3}0*(?P<number>\d{1,10})(?![\w.]*\w)", re.IGNORECASE)
_NAMED_FILE = re.compile(
    r"(?<![\w.-])(?:adr[-_])?0*(?P<number>\d{1,10})[-_](?P<slug>[\w-]{1,200})\.(?:md|markdown|adoc|rst)(?!\w)",
    re.IGNORECASE,
)
_SAYS_SO = re.compile(r"supersed|deprecat|replace[sd]?\b|obsolete|no longer|instead of", re.IGNORECASE)
"""A line that says itself that something does not hold any more."""
_WORD = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


class AddedLine(NamedTuple):
    """One line that a change adds. `path` is None for a text without files."""

    path: str | None
    number: int
    text: str


class Citation(NamedTuple):
    """A record that a line names. `file`: the name by which, where that is the name of a file."""

    number: int
    log: str | None
    file: str | None
    line: AddedLine


class SearchTopic(NamedTuple):
    """What to search for: the words of one file, or of one part of a text. `path` as in lines."""

    path: str | None
    query: str


class Change(NamedTuple):
    """A change, read."""

    lines: list[AddedLine]
    files: list[str]


def read_change(text: str, path: str | None = None) -> Change:
    """A diff by the lines that it adds, or a text by all of its lines. `path`: the file that a text is from."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    is_diff = any(line.startswith("--- ") and after.startswith("+++ ") for line, after in pairwise(lines))
    if is_diff:
        added = list(_read_diff(lines))
        return Change(added, list(dict.fromkeys(each.path for each in added if each.path)))
    return Change([AddedLine(path, number, line) for number, line in enumerate(lines, 1)], [])


def _read_diff(lines: list[str]) -> Iterator[AddedLine]:
    path, number, left = "", 0, 0
    for line in lines:
        if left > 0 and not line.startswith("\\"):
            if line.startswith("+"):
                yield AddedLine(path, number, line[1:])
            if not line.startswith("-"):
                number, left = number + 1, left - 1
        elif hunk := _HUNK.match(line):
            number, left = int(hunk["start"]), int(hunk["lines"] or 1)
        elif file := _FILE.match(line):
            path = file["path"].strip()


def find_citations(change: Change) -> list[Citation]:
    """The records that are named, each once a line, in the order of the lines: at most `CITATIONS_MAX`.

    A line that says itself that something does not hold any more is left out: it may name what it replaces.
    """
    found: dict[tuple[int, str | None, AddedLine], Citation] = {}
    for line in change.lines:
        if _SAYS_SO.search(line.text):
            continue
        for pattern in (_ADDRESS, _LABEL, _NAMED_FILE):
            for match in pattern.finditer(line.text):
                number = int(match["number"])
                if not 0 < number <= NUMBER_MAX:
                    continue
                log = match["log"] if pattern is _ADDRESS else None
                file = match[0] if pattern is _NAMED_FILE else None
                found.setdefault((number, log, line), Citation(number, log, file, line))
        if len(found) >= CITATIONS_MAX:
            break
    return list(found.values())[:CITATIONS_MAX]


def find_titles(change: Change, titles: Sequence[str]) -> list[AddedLine | None]:
    """The line in which each title stands, or in which it begins; None where it stands in none."""
    folded = ["" if _SAYS_SO.search(line.text) else fold(line.text) for line in change.lines]
    return [_find_title(change, folded, fold(title)) for title in titles]


def _find_title(change: Change, folded: Sequence[str], title: str) -> AddedLine | None:
    for at, here in enumerate(folded):
        after = folded[at + 1] if at + 1 < len(folded) else ""
        if title in here or (here and title in f"{here} {after}" and title not in after):
            return change.lines[at]
    return None


def fold(text: str) -> str:
    """A text as titles are compared: without case, blanks joined."""
    return " ".join(text.lower().split())


def find_topics(change: Change) -> list[SearchTopic]:
    """What to search for: one topic a file, those that add most first; a text by its parts."""
    if change.files:
        sizes = Counter(each.path for each in change.lines)
        paths = sorted(change.files, key=lambda path: (-sizes[path], path))[:QUERIES_MAX]
        texts = [(path, f"{path}\n" + "\n".join(e.text for e in change.lines if e.path == path)) for path in paths]
    else:
        whole = "\n".join(each.text for each in change.lines)
        size = max(QUERY_CHARS_MAX, -(-len(whole) // QUERIES_MAX))
        texts = [("", whole[at : at + size]) for at in range(0, len(whole), size)]
    found = [SearchTopic(path or None, gather_words(text)) for path, text in texts]
    return [each for each in found if each.query]


def gather_words(text: str) -> str:
    """The different words of a text, names of code taken apart, as far as a search reads them."""
    words = (word for name in _WORD.findall(text) for word in _HUMP.split(name))
    distinct = dict.fromkeys(word.lower() for word in words if len(word) >= WORD_CHARS_MIN)
    gathered = ""
    for word in distinct:
        if len(gathered) + len(word) + 1 > QUERY_CHARS_MAX:
            break
        gathered += f"{word} "
    return gathered.strip()
