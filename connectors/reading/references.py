"""Where a line names another record: by a link, a label like ADR-12, or the name of a file.

Owns what counts as a reference. Refuses to know what is said of it (`sentences.py`) and what exists
(`api/imports/links.py`). Pure.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from connectors.history.model import MARKUPS
from connectors.reading.inline import Inline
from connectors.reading.words import WIDE

_ENDINGS: Final = "|".join(suffix[1:] for suffix in MARKUPS)
NUMBER: Final = r"\d{1,5}(?:\.\d{1,3}){0,3}(?![\d])"
_LETTER: Final = rf"[^\W{WIDE}]"
LABEL = re.compile(
    rf"(?<!{_LETTER})(?:[A-Z]{{2,8}}-)?(?:ADR|LADR|AADR)(?:s[- ]|[-_ #:]{{0,2}}|\s(?:no\.?|nr\.?|№)\s?)"
    r"(?!(?:19|20)\d\d([-_./])\d{1,2}\1\d{1,2}(?!\d))"
    rf"(?P<number>(?:(?:19|20)\d\d[-_.])?0{{0,4}}{NUMBER}[a-z]?)(?![\w-]*\.(?:{_ENDINGS})\b)(?!{_LETTER})",
    re.IGNORECASE,
)
FILE_PATH = re.compile(rf"\.(?:{_ENDINGS})(?:[?#]|$)", re.IGNORECASE)
_AND: Final = r"(?:and|und|et|y|ed?|en|i|и|or|oder|ou|of|lub|или)\s|[&+和与及と]"
_ROW = re.compile(rf"\s*(?:[,、]\s*(?:{_AND})?|{_AND}|/)\s*(?P<number>\d{{1,5}})(?!{_LETTER}|[%/-]|[.,:]\d)")
"""Another number of a row: "ADRs 9, 10 and 11"."""
_LAST = re.compile(rf"\s+(?:{_AND})\s*(?P<number>\d{{1,5}})(?=\s*(?:$|[;)\]\n]|[.,](?:\s|$)))")
"""Another number where no plural says that there are several: "ADR 9 and 10." """
_BARE_FILE = re.compile(
    rf"(?<![\w/.:-])(?:[\w.-]{{1,60}}/|\.{{1,2}}/){{0,12}}(?=[\w.-]{{0,60}}\d)[\w][\w.-]{{0,200}}\.(?:{_ENDINGS})\b(?![\w/])",
    re.IGNORECASE,
)
_HEADED = re.compile(r"^\s*(?:ADR[-_ #:]{0,3})?\d{1,5}\s?[.:)–—-]\s", re.IGNORECASE)


_YEARS: Final = range(1970, 2100)
_MONTHS = frozenset(("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"))


class Reference(msgspec.Struct, frozen=True):
    """`target` is as written: a path, a URL, or a label."""

    start: int
    end: int
    target: str
    label: str


@functools.lru_cache(maxsize=256)
def labels_of(code: str) -> re.Pattern[str]:
    """What names a record of a log that calls its own by `code`: "OEP-9". A space is not enough for "Dec 12", and RFC
    2119 is the internet's."""
    public = r"(?![1-9]\d{3})" if code.casefold() == "rfc" else ""
    between = "[-_ #]" if len(code) > 2 and code.upper() not in _MONTHS else "[-_#]"
    return re.compile(
        rf"(?<![\w-])(?:{re.escape(code)}|{re.escape(code.upper())}){between}{public}"
        rf"(?P<number>0{{0,4}}{NUMBER}[a-z]?)(?![\w-]*\.(?:{_ENDINGS})\b)(?!\w)"
    )


def is_label(target: str, code: str = "") -> bool:
    """Whether a target is a label, of ADRs or of a log that calls its own by `code`."""
    return bool(LABEL.fullmatch(target) or (code and labels_of(code).fullmatch(target)))


def find_references(inline: Inline, code: str = "") -> list[Reference]:
    """What may be another record, in the order in which it stands. `code` is what this log calls its own."""
    found = [*_links(inline)]
    taken = [(each.start, each.end) for each in found]
    taken += [(link.start, link.end) for link in inline.links]
    text = inline.text
    if re.search(r"adr", text, re.IGNORECASE):
        labels = list(_free(LABEL, text, taken))
        found += labels
        found += (each for label in labels for each in _row(text, label))
    if code and code.casefold() in text.casefold():
        found += _free(labels_of(code), text, [*taken, *((each.start, each.end) for each in found)])
    if "." in text and any(character.isdigit() for character in text):
        found += _free(_BARE_FILE, text, taken)
    return sorted(found, key=lambda each: each.start)


def _links(inline: Inline) -> Iterator[Reference]:
    for link in inline.links:
        label = " ".join(inline.text[link.start : link.end].split())
        if is_record_target(link.target, label):
            yield Reference(link.start, link.end, link.target, label)


def _row(text: str, label: Reference) -> Iterator[Reference]:
    """The numbers that share a label."""
    expression = _ROW if re.search(r"s[- ]\d+$", label.label) else _LAST
    at = label.end
    while (match := expression.match(text, at)) and int(match["number"]) not in _YEARS:
        yield Reference(*match.span("number"), f"ADR-{int(match['number'])}", match["number"])
        at = match.end()


def _free(expression: re.Pattern[str], text: str, taken: list[tuple[int, int]]) -> Iterator[Reference]:
    """Matches that stand in no other reference."""
    spans = iter([*sorted(taken), (len(text) + 1, len(text) + 1)])
    span = next(spans)
    for match in expression.finditer(text):
        while match.start() >= span[1]:
            span = next(spans)
        if match.end() <= span[0]:
            yield Reference(match.start(), match.end(), match[0], match[0])


def is_record_target(target: str, label: str) -> bool:
    """Whether a link may lead to another record: to a file of text anywhere, or to anything with a record's label."""
    if target.startswith(("#", "mailto:")):
        return False
    return bool(FILE_PATH.search(target) or LABEL.search(label) or LABEL.fullmatch(target) or _HEADED.match(label))
