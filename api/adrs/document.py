"""What a text says of itself as a decision record: title, status, number, date, people, links.

Owns the recognition of dialects (adr-tools, Nygard, MADR 2 to 4, structured-madr, Y-statements) and the rule that any
text is a document: `parse` is pure, never raises, and takes time linear in the length of the text. It refuses to change
or repair anything: the text stays what its author wrote, and whatever looks wrong is an oddity beside it. A strict
parser rejects most of the records that exist. Neighbours: `api/adrs/outline.py` reads the Markdown,
`api/adrs/mentions.py` its references to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Final, Literal, get_args

import msgspec

from api.adrs import mentions
from api.adrs.mentions import CONTROL, PLACEHOLDER, Mention, number_of_path, plain
from api.adrs.outline import Heading, Outline, outline

Status = Literal["proposed", "accepted", "rejected", "deprecated", "superseded", "draft", "unknown"]
Dialect = Literal["adr-tools", "nygard", "madr-2", "madr-3", "madr-4", "structured-madr", "y-statement", "unknown"]
Role = Literal["record", "index", "template"]
Oddity = Literal[
    "empty",
    "no-title",
    "long-title",
    "no-status",
    "unknown-status",
    "placeholder",
    "number-mismatch",
    "mixed-line-endings",
    "byte-order-mark",
    "front-matter-unclosed",
    "unknown-date",
    "links-capped",
]

STATUSES: Final = get_args(Status)
TITLE_CHARS_MAX: Final = 300
"""A heading longer than this is a paragraph with a hash before it."""
RAW_STATUS_CHARS_MAX: Final = 200
"""What is shown beside the normalised status: enough for a line with a link."""


class ParsedAdr(msgspec.Struct, frozen=True):
    """The outcome of `parse`. `title` is never empty; `status` is `unknown` unless the text says one."""

    title: str
    status: Status
    raw_status: str
    dialect: Dialect
    role: Role
    number: int | None
    date: date | None
    deciders: tuple[str, ...]
    links: tuple[Mention, ...]
    oddities: tuple[Oddity, ...]


_STATUS_WORDS: Final[tuple[tuple[Status, str], ...]] = (
    # Spellings found in public logs; adr-tools itself writes "superceded".
    ("superseded", r"super[sc]+ee?ded|superced(?:ed|ing)|replaced by|obsoleted by"),
    ("rejected", r"rejected|declined|refused|abandoned|withdrawn|not accepted|cancell?ed|discarded"),
    ("deprecated", r"deprecated|obsolete|retired|outdated|sunset"),
    ("draft", r"draft|wip|work in progress"),
    ("proposed", r"proposed|proposal|pending|in review|under review|review|open|rfc|outstanding|incomplete|in progress"
                 r"|under discussion|discussion|proposing|to be decided|tbd"),
    ("accepted", r"accepted|approved|adopted|decided|agreed|active|implemented|completed?|done|final|finished|in force"
                 r"|ratified|enacted"),
)  # fmt: skip
_STATUS_OF = {status: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for status, words in _STATUS_WORDS}
_SUPERSEDED_LINE = re.compile(r"\W{0,8}(?:super[sc]+ee?ded|superceded|replaced) (?:by|in|with)\b", re.IGNORECASE)
_STRUCK = re.compile(r"~~[^~]{0,300}~~")

_FIELD = re.compile(
    r" {0,3}(?:[-*+] |\| ?)?[*_]{0,2}(status|date|deciders|decision[- ]makers|decided by)"
    r"[*_]{0,2} ?(?::[*_]{0,2}|\|)(.*)",
    re.IGNORECASE,
)
_HEADING_NUMBER = re.compile(
    r"(?:\[?(?:ADR|Architecture Decision Record|Decision Record|Decision)\]?[-_ #:]{0,3}0{0,4}(\d{1,5})\]?"
    r"(?:\s{0,3}[:.)–—-]+\s|\s|$)|0{0,4}(\d{1,5})[.:)]\s|0{0,4}(\d{1,5})\s{1,3}[–—-]+\s)\s{0,9}",
    re.IGNORECASE,
)
_HEADING_LABEL = re.compile(r"\[?(?:ADR|Architecture Decision Record)\]?\s{0,3}[:–—-]+\s{1,3}", re.IGNORECASE)

_SECTIONS: Final = frozenset(
    (
        *("status", "context", "decision", "consequences", "rationale", "options", "links", "summary", "background"),
        *("problem", "title", "date", "deciders", "overview", "approach", "introduction", "description"),
    )
)
_INDEX_NAMES: Final = frozenset(("readme", "index", "toc", "_index", "summary", "list"))
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_NUMERIC = re.compile(r"\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b")
_DATE_SLASHED = re.compile(r"\b(\d{1,2})[/.](\d{1,2})[/.](\d{4})\b")
_DATE_DAY_FIRST = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)? ([A-Za-z]{3,9})\.?,? (\d{4})\b")
_DATE_MONTH_FIRST = re.compile(r"\b([A-Za-z]{3,9})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})\b")


class _Found(msgspec.Struct, frozen=True):
    """The single lines of a dialect, as they were first found."""

    status: str | None = None
    date: str | None = None
    deciders: tuple[str, ...] = ()


def parse(text: str, *, path: str = "") -> ParsedAdr:
    """Recognise what `text` says of itself. `path` is where it was found: it may hold the number, and a title to fall
    back to.

    Total: every text has a document, in time linear in its length.
    """
    out = outline(text)
    oddities: list[Oddity] = list(_text_oddities(text, out))
    heading = _title_heading(out)
    title, heading_number, title_oddities = _title(out, heading, path)
    oddities += title_oddities
    found = _find_fields(out)
    status, raw_status, status_oddity = _status(found.status)
    if status_oddity:
        oddities.append(status_oddity)
    number = number_of_path(path)
    if number is None:
        number = heading_number
    elif heading_number is not None and heading_number != number:
        oddities.append("number-mismatch")
    decided = _date(found.date)
    if found.date and decided is None and any(map(str.isdigit, found.date)):
        oddities.append("unknown-date")
    links = tuple(mentions.links_of(out, number))
    if len(links) == mentions.LINKS_MAX:
        oddities.append("links-capped")
    return ParsedAdr(
        title=title,
        status=status,
        raw_status=raw_status,
        dialect=_dialect(out, text),
        role=_role(out, path, oddities),
        number=number,
        date=decided,
        deciders=found.deciders,
        links=links,
        oddities=tuple(oddities),
    )


def strip_title(text: str) -> str:
    """`text` without the line that holds its title, and without a `title:` in its front matter: what is left when the
    title itself is the query of an evaluation. The rest stays as it is, byte for byte."""
    out = outline(text)
    heading = _title_heading(out)
    gone = set(range(heading.line, heading.line + heading.lines)) if heading else set()
    gone |= {
        index for index, line in enumerate(out.lines[: out.front_matter_lines]) if re.match(r"title[ \t]{0,8}:", line)
    }
    return "".join(
        line for index, line in enumerate(re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text)) if index not in gone
    )


# ------------------------------------------------------------------------------------------------- title and role


def _title_heading(out: Outline) -> Heading | None:
    """The heading that is the title: the first of level 1 that is not the name of a section, else the very first
    heading when nothing but front matter stands before it."""
    first = next((h for h in out.headings if h.level == 1 and h.text and not _is_section(h.text)), None)
    if first is not None or not out.headings:
        return first
    opening = out.headings[0]
    before = any(line.strip() for line in out.prose[: opening.line])
    return None if before or not opening.text or _is_section(opening.text) else opening


def _is_section(text: str) -> bool:
    return text.strip(" :*").lower() in _SECTIONS


def _title(out: Outline, heading: Heading | None, path: str) -> tuple[str, int | None, list[Oddity]]:
    """The title without the number before it, that number, and what is odd about it."""
    oddities: list[Oddity] = []
    written = heading.text if heading else next(iter(out.front_matter.get("title", ())), "")
    clean = plain(written)
    number: int | None = None
    if match := _HEADING_NUMBER.match(clean):
        number = int(next(filter(None, match.groups()), "0"))
        clean = clean[match.end() :].strip() or clean
    elif label := _HEADING_LABEL.match(clean):
        clean = clean[label.end() :].strip() or clean
    elif (bare := re.match(r"0{0,4}(\d{1,5}) +", clean)) and int(bare[1]) == number_of_path(path):
        clean = clean[bare.end() :]  # "28 Scan repositories" in 028-scan-repositories.md
    if not clean:
        oddities.append("no-title")
        clean = _title_of_path(path)
    if len(clean) > TITLE_CHARS_MAX:
        oddities.append("long-title")
        clean = clean[: TITLE_CHARS_MAX - 1].rstrip() + "…"
    return clean, number, oddities


def _title_of_path(path: str) -> str:
    """A readable name from the file name, or from its folder when the file is a README."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    name = parts[-1].rsplit(".", 1)[0] if parts else ""
    if name.lower() in _INDEX_NAMES and len(parts) > 1:
        name = parts[-2]
    if dated := mentions.DATED.match(name):
        name = name[dated.end() :] or name
    elif number := mentions.PATH_NUMBER.match(name):
        name = name[number.end() :] or name
    words = " ".join(CONTROL.sub(" ", re.sub(r"[-_]+", " ", name)).split())
    return (words[:1].upper() + words[1:])[:TITLE_CHARS_MAX] or "Untitled"


def _role(out: Outline, path: str, oddities: list[Oddity]) -> Role:
    parts = path.replace("\\", "/").rsplit("/", 2)
    name = parts[-1].rsplit(".", 1)[0].lower()
    unnumbered = number_of_path(path) in (None, 0)
    if unnumbered and ("template" in name or "placeholder" in oddities):
        return "template"
    own_folder = len(parts) > 1 and re.match(r"\d", parts[-2]) is not None
    if name in _INDEX_NAMES and not own_folder and not any("decision" in h.text.lower() for h in out.headings[1:]):
        return "index"
    return "record"


# ------------------------------------------------------------------------------------------- status, date, people


def _find_fields(out: Outline) -> _Found:
    """Front matter first, then the section `Status`, then single lines: the order in which dialects mean it."""
    lines: dict[str, str] = {}
    for line in out.preamble:
        if (match := _FIELD.match(line)) and match[1].lower() not in lines:
            lines[match[1].lower()] = match[2].strip().strip("|").strip()
    front = {key: ", ".join(values) for key, values in out.front_matter.items()}
    people = _first(front, "decision-makers", "deciders", "authors", "author")
    people = people or _first(lines, "deciders", "decision-makers", "decision makers", "decided by")
    return _Found(
        status=front.get("status") or _section_text(out, "status") or lines.get("status"),
        date=_first(front, "date", "updated", "created") or lines.get("date") or _section_text(out, "date"),
        deciders=tuple(_people(people)),
    )


def _first(fields: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := fields.get(name))), "")


def _section_text(out: Outline, name: str) -> str | None:
    """The text of the first section of this name, one line of it a line; None when there is no such section."""
    for heading in out.headings:
        words = heading.text.lower().strip(" :*#")
        if words == name:
            return "\n".join(line.strip() for line in out.section(heading)[:40] if line.strip())
        if words.startswith(f"{name}:"):
            return heading.text.partition(":")[2].strip()
    return None


def _status(raw: str | None) -> tuple[Status, str, Oddity | None]:
    """The normalised status, the line it came from, and what is odd about it. A line "Superseded by …" anywhere in the
    section wins: adr-tools appends it below the status that it ends."""
    if not raw:
        return "unknown", "", "no-status"
    lines = [line for line in (_STRUCK.sub("", line).strip() for line in raw.split("\n")) if line]
    first = next((line for line in lines if _SUPERSEDED_LINE.match(line)), lines[0] if lines else "")
    shown = " ".join(CONTROL.sub(" ", first[: 2 * RAW_STATUS_CHARS_MAX]).split())[:RAW_STATUS_CHARS_MAX]
    readable = plain(first)[: 2 * RAW_STATUS_CHARS_MAX]
    if PLACEHOLDER.search(readable) and sum(1 for words in _STATUS_OF.values() if words.search(readable)) != 1:
        return "unknown", shown, "placeholder"
    hits = [(match.start(), status) for status, words in _STATUS_OF.items() if (match := words.search(readable))]
    if not hits:
        return "unknown", shown, "unknown-status"
    return min(hits, key=lambda hit: hit[0])[1], shown, None


def _people(value: str) -> Iterator[str]:
    if not PLACEHOLDER.search(value) and not value.startswith(("{", "[list", "<")):
        yield from (name for part in re.split(r"[,;]", value[:4_000]) if (name := plain(part).strip(" .[]")))


def _date(raw: str | None) -> date | None:
    """A date in the unambiguous forms only: 03/04/2020 is a different day on each side of an ocean."""
    text = (raw or "")[:200]
    if match := _DATE_SLASHED.search(text):
        first, second, year = (int(part) for part in match.groups())
        return _day(year, second, first) if first > 12 else _day(year, first, second) if second > 12 else None
    if match := _DATE_NUMERIC.search(text):
        return _day(int(match[1]), int(match[2]), int(match[3]))
    if match := _DATE_DAY_FIRST.search(text):
        return _day(int(match[3]), _month(match[2]), int(match[1]))
    if match := _DATE_MONTH_FIRST.search(text):
        return _day(int(match[3]), _month(match[1]), int(match[2]))
    return None


def _month(name: str) -> int:
    key = name[:3].lower()
    return _MONTHS.index(key) + 1 if key in _MONTHS else 0


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


# -------------------------------------------------------------------------------------------- dialect and oddities


def _dialect(out: Outline, text: str) -> Dialect:
    headings = {heading.text.lower().strip(" :*") for heading in out.headings}
    front = out.front_matter
    madr = {"context and problem statement", "decision outcome", "considered options"} & headings
    if front.get("type") == ("adr",) and (front.get("created") or madr):
        return "structured-madr"
    if len(madr) >= 2:
        return _madr_version(out, headings)
    if {"context", "decision"} <= headings:
        dated = any((match := _FIELD.match(line)) and match[1].lower() == "date" for line in out.preamble)
        numbered = bool(out.headings and re.match(r"\d{1,5}\. ", out.headings[0].text))
        return "adr-tools" if dated and numbered and "status" in headings else "nygard"
    return "y-statement" if _is_y_statement(text) else "unknown"


def _madr_version(out: Outline, headings: set[str]) -> Dialect:
    """MADR 2 has its fields as list items and splits the consequences; 4 renamed the deciders and the validation."""
    if out.front_matter.get("deciders") or "validation" in headings:
        return "madr-3"
    if "positive consequences" in headings or "negative consequences" in headings or "links" in headings:
        return "madr-2"
    listed = any((match := _FIELD.match(line)) and match[1].lower() in ("status", "deciders") for line in out.preamble)
    return "madr-2" if listed and not out.front_matter else "madr-4"


_Y_PARTS: Final = (("in the context of",), ("facing",), ("we decided", "decided for"), ("to achieve",), ("accepting",))
_Y_REACH_CHARS = 4_000
"""A Y-statement is one long sentence."""


def _is_y_statement(text: str) -> bool:
    folded = " ".join(text.casefold().split()) if len(text) < 200_000 else ""
    at = folded.find(_Y_PARTS[0][0])
    if at < 0:
        return False
    window = folded[at : at + _Y_REACH_CHARS]
    position = 0
    for alternatives in _Y_PARTS:
        hits = [hit for words in alternatives if (hit := window.find(words, position)) >= 0]
        if not hits:
            return False
        position = min(hits) + 1
    return True


def _text_oddities(text: str, out: Outline) -> Iterable[Oddity]:
    if not text.strip("\ufeff \t\r\n"):
        yield "empty"
    if text.startswith("\ufeff"):
        yield "byte-order-mark"
    windows = text.count("\r\n")
    if sum(count > 0 for count in (windows, text.count("\n") - windows, text.count("\r") - windows)) > 1:
        yield "mixed-line-endings"
    if out.front_matter_unclosed:
        yield "front-matter-unclosed"
