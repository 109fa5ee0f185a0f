"""The number of a record, in the name of its file and in its heading.

Owns what is a number and what only looks like one: a date, a year, a version in a name. `ADR-51.1` and `ADR-12a` have
labels of their own and no number; in `ADR-2025-001` the number runs within a year. Pure.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from connectors.history.model import MARKUPS
from connectors.reading.words import WORDS, Words, fold, normalise_name

OWN_FOLDER_NAMES: Final = frozenset(("readme", "index", "_index", "adr", "decision", "record", "main", "doc"))
"""Names of files that say nothing: their folder names the record."""
YEARS: Final = range(1970, 2100)
"""A number of four digits in this range is a year: no log of one team has two thousand decisions."""

_CODES: Final = "|".join(
    re.sub(r"\s", "[-_ ]", code) + ("(?=[-_])" if len(code) < 3 else "") for code in WORDS.all("section", "code")
)
"""What teams call their records, before a number: "ADR", "RFC", "OEP". Two letters need more than a space: "AD 800"."""
_INTERNETS = re.compile(r"rfc[-_ #]{0,2}[1-9]\d{3}", re.IGNORECASE)
"""RFC 2119 is the internet's, and no team has a thousand."""
_USUAL = re.compile(r"(?:[a-z]{1,12}[-_])?[a-z]{0,2}adrs?|(?:\w+[-_ ])?decisions?(?:[-_ ]record)?|no|nr", re.IGNORECASE)
"""Codes that are understood everywhere."""
_COUNTED: Final = "|".join(WORDS.all("section", "counted"))
"""What has numbers of its own: "PART-001" is no record's."""
_PREFIX: Final = (
    rf"(?:(?:[a-z]{{1,12}}[-_])?(?:{_CODES})[-_ #.]{{0,2}}"
    rf"|(?:[a-z]{{1,12}}[-_]){{0,2}}adr[-_][a-z]{{1,8}}[-_](?=0\d\d)"
    rf"|(?!(?:{_COUNTED})[-_])(?-i:[A-Z]{{2,4}}[-_]){{1,3}}(?=0\d\d))"
)
_CODED = re.compile(
    rf"(?:[A-Z]{{2,8}}-)?(?:(?:{_CODES.upper()})[- ]?|ADR-[A-Z]{{1,8}}-"
    rf"|(?!(?:{_COUNTED.upper()})-)(?:[A-Z]{{2,4}}-){{1,3}}(?=0\d\d))(?=\d)"
)
"""A code before the number of a heading. One that nobody knows needs zeros behind it: "UTF-8" has none."""
_DATED = re.compile(r"(?:\d{4}([-_.])\d{1,2}\1\d{1,2}|\d{1,2}([-_.])\d{1,2}\2\d{4}|(?:19|20)\d{6})(?!\d)")
_NUMBER = re.compile(
    r"(?:(?P<year>(?:19|20)\d\d)[-_./](?P<in_year>\d{1,5})|(?P<whole>\d{1,5})(?P<part>(?:\.\d{1,3}){1,3}|[a-z])?)"
    r"(?![a-z0-9])(?!\.\d)",
    re.IGNORECASE,
)
_APPENDIX = re.compile(r"(?:appendix|annex|anhang|annexe|anexo|allegato|bijlage) \w{1,3}")
_NAME = re.compile(rf"[\[(]?(?:{_PREFIX})?(?={_DATED.pattern}|\d)", re.IGNORECASE)
_SIGN = re.compile(r"(?:№|#|n[o°]\.?|nr\.?)\s?(?=\d)|[\[(（]\s?(?=\d{1,5}\s?[\])）]\s)|第\s?(?=\d)")
"""What says by itself that a number follows, at the beginning of a heading."""
_OPENING = (*"0123456789", "(", "（")
_CLOSING = ("]", ")", "）")
_COUNTER = re.compile(r"\s?[号號条條回]")


class Numbered(msgspec.Struct, frozen=True):
    """`label` is how the log counts: `7`, `51.1`, `12a`, `2025-1`. `number` is None where the label is no number of its
    own. `end` is where the rest of the name begins."""

    number: int | None
    label: str
    end: int


NOT_NUMBERED: Final = Numbered(None, "", 0)


def number_at(text: str, at: int = 0) -> Numbered | None:
    """Read the number that stands at a place; None when it is none, a year or a date."""
    if _DATED.match(text, at):
        return None
    match = _NUMBER.match(text, at)
    if match is None:
        return None
    if match["year"]:
        digits = match["in_year"]
        if len(digits) == 2 and 1 <= int(digits) <= 12:
            return None  # a year and a month as well as a year and a number
        return Numbered(int(digits), f"{match['year']}-{int(digits)}", match.end())
    whole = int(match["whole"])
    if part := match["part"]:
        label = "".join(f".{int(each)}" for each in part.split(".")[1:]) if part.startswith(".") else part.lower()
        return Numbered(None, f"{whole}{label}", match.end())
    if len(match["whole"]) == 4 and whole in YEARS:
        return None
    return Numbered(whole, str(whole), match.end())


def stem(path: str) -> str:
    """The name of a file without its end, or the name of its folder when the file's says nothing."""
    clean = unquote(path.split("?", 1)[0].split("#", 1)[0]).rstrip("/").replace("\\", "/")
    parts = [part for part in clean.split("/") if part]
    name = _drop_suffix(parts[-1]) if parts else ""
    if name.lower() in OWN_FOLDER_NAMES and len(parts) > 1:
        return parts[-2]
    return name


def _drop_suffix(name: str) -> str:
    before, dot, suffix = name.rpartition(".")
    known = f".{suffix.lower()}" in MARKUPS or suffix.lower() in ("txt", "html", "htm")
    return before if dot and known else name


def read_number(path: str) -> Numbered:
    """The number in a path, and where the rest of the name begins."""
    name = stem(path)
    prefix = _NAME.match(name)
    if prefix is None or _INTERNETS.match(name):
        return NOT_NUMBERED
    if dated := _DATED.match(name, prefix.end()):
        return Numbered(None, "", dated.end())
    found = number_at(name, prefix.end())
    if found is None:
        year = re.compile(r"\d{4}(?!\d)").match(name, prefix.end())
        return Numbered(None, "", year.end()) if year else NOT_NUMBERED
    return found


def code_of(path: str, heading: str) -> str:
    """What a log calls its records, where it is not ADR: "oep" of "oep-0003-x.md" or of the heading "OEP-3: …"; empty
    when neither says it. A code of one letter says too little."""
    for text, expression in ((stem(path), _NAME), (heading, _CODED)):
        match = expression.match(text)
        code = match[0].strip("[( -_.#") if match else ""
        if len(code) > 1 and not _USUAL.fullmatch(code) and not _INTERNETS.match(text):
            return code
    return ""


def number_of_path(path: str) -> int | None:
    """The number in a file name (`0012-use-kafka.md`, `adr-12.md`), or in the name of its folder; None when there is
    none. Dates, years and parts are none, and a plan beside its decision has none."""
    found = read_number(path)
    return found.number if found.number is not None and not is_companion_name(stem(path)[found.end :]) else None


def is_companion_name(rest: str, words: Words = WORDS) -> bool:
    """Whether the rest of a name, behind the number, is that of a plan, of notes, of an appendix."""
    said = normalise_name(re.sub(r"[-_.]+", " ", rest))
    return bool(said) and (words.is_section(said, "companion") or _APPENDIX.fullmatch(said) is not None)


_SEPARATOR = re.compile(r"\s{0,3}(?:[:.)|–—―：]+|-+)(?:\s+|$)|\s*[：、]\s*")
_BARE_SEPARATOR = re.compile(r"[.:)：、](?:\s+|$)|\s{1,3}[–—-]+\s+")


def heading_number(heading: str, words: Words = WORDS) -> Numbered:
    """The number that a heading begins with: "ADR-12: …", "12. …", "Decision 12 – …", "[ADR-12] …"."""
    folded = fold(heading)
    label = words.label.match(folded) or _SIGN.match(folded)
    code = None if label and folded[label.end() :][:1] in _OPENING else _CODED.match(heading)
    label = code or label
    if label and _INTERNETS.match(folded):
        return NOT_NUMBERED
    at = label.end() if label else 0
    if label is None and (dated := _DATED.match(folded)):
        separator = _SEPARATOR.match(folded, dated.end()) or re.compile(r"\s+").match(folded, dated.end())
        return Numbered(None, "", separator.end()) if separator else NOT_NUMBERED
    at += len(folded[at : at + 1]) if label and folded[at : at + 1] in "(（" else 0
    found = number_at(folded, at)
    if found is None:
        dated = _DATED.match(folded, at)
        if label and dated:
            separator = _SEPARATOR.match(folded, dated.end())
            return Numbered(None, "", separator.end() if separator else dated.end())
        return NOT_NUMBERED
    end = found.end
    if folded[end : end + 1] in _CLOSING and any(mark in folded[:at] for mark in "[(（"):
        end += 1
    elif counter := _COUNTER.match(folded, end):
        end = counter.end()
    if heading[end : end + 1] == "：":  # no space follows it
        return Numbered(found.number, found.label, end + 1)
    separator = (_SEPARATOR if label else _BARE_SEPARATOR).match(folded, end)
    if separator:
        return Numbered(found.number, found.label, separator.end())
    loose = label and code is None
    if end == len(folded) or (folded[end].isspace() and (loose or (code and folded[at] == "0"))):
        return Numbered(found.number, found.label, end)
    return NOT_NUMBERED


def heading_label(heading: str, words: Words = WORDS) -> int:
    """Where a heading goes on after a label without a number ("ADR: …"); 0 when it has none."""
    folded = fold(heading)
    label = words.label.match(folded)
    if label is None:
        return 0
    if re.search(r"[:-] {1,3}$", label[0]):
        return label.end()
    separator = re.compile(r"\]?\s{0,3}[:–—：-]+\s{1,3}|：").match(folded, label.end())
    return separator.end() if separator else 0
