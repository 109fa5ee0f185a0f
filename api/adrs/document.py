"""What a text says of itself as a decision record: title, status, number, date, people, links.

Owns the answer that `connectors/reading` is asked for, the recognition of dialects (adr-tools, Nygard, MADR 2 to 4,
structured-madr, Y-statements) and the rule that any text is a document: `parse` is pure, never raises, and takes time
linear in the length of the text. It refuses to change or repair anything: the text stays what its author wrote, and
whatever looks wrong is an oddity beside it. A strict parser rejects most of the records that exist. Neighbour:
`api/adrs/mentions.py`, for references to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final, Literal

import msgspec

from api.adrs import mentions
from api.adrs.mentions import Mention
from connectors.reading import numbers
from connectors.reading.claims import Status
from connectors.reading.dates import find_dates
from connectors.reading.fields import Fields, find_fields
from connectors.reading.front_matter import is_nothing
from connectors.reading.markup import markup_of
from connectors.reading.status import STATUSES, Verdict, judge, judge_mark
from connectors.reading.structure import Structure, read_structure
from connectors.reading.titles import PLACEHOLDER, TITLE_CHARS_MAX, Role, Title, find_role, find_title, marks_of
from connectors.reading.words import WORDS, Words, normalise_name

__all__ = [
    "READER",
    "STATUSES",
    "TITLE_CHARS_MAX",
    "Dialect",
    "Oddity",
    "ParsedAdr",
    "Role",
    "Status",
    "parse",
    "strip_title",
]

READER: Final = 4
"""The version of this reader. It grows with whatever may read a text otherwise than before, words included: what an
older one read is then known, and can be read again."""

Dialect = Literal["adr-tools", "nygard", "madr-2", "madr-3", "madr-4", "structured-madr", "y-statement", "unknown"]
Oddity = Literal[
    "empty",
    "no-title",
    "long-title",
    "no-status",
    "unknown-status",
    "weak-status",
    "contradicting-status",
    "placeholder",
    "number-mismatch",
    "mixed-line-endings",
    "byte-order-mark",
    "front-matter-unclosed",
    "front-matter-broken",
    "unknown-date",
    "links-capped",
]

RAW_STATUS_CHARS_MAX: Final = 200
"""What is shown beside the normalised status: enough for a line with a link."""
PEOPLE_CHARS_MAX: Final = 4_000
"""Characters of a list of people that are read."""


class OddLine(msgspec.Struct, frozen=True):
    """Where an oddity is: the line, from 1, and what stands there."""

    oddity: Oddity
    line: int
    text: str


class ParsedAdr(msgspec.Struct, frozen=True):
    """The outcome of `parse`. `title` is never empty; `status` is `unknown` unless the text says one. `label` is how
    the log counts this one: `7`, and `51.1` or `2025-1`, which are more than a number. `number` is that of a decision:
    a template, an index or a companion has none."""

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
    label: str = ""
    places: tuple[OddLine, ...] = ()

    @property
    def label_beside_number(self) -> str | None:
        """The label, where it says more than the number does."""
        return self.label if self.label and self.label != str(self.number) else None

    def odd_lines(self) -> list[dict[str, str | int]]:
        """Every oddity as it is stored, with its line where it has one, else 0."""
        placed = {place.oddity: place for place in self.places}
        found = (placed.get(each, OddLine(each, 0, "")) for each in self.oddities)
        return [{"code": odd.oddity, "line": odd.line, "text": odd.text} for odd in found]


def parse(text: str, *, path: str = "", words: Words = WORDS, day_first: bool | None = None) -> ParsedAdr:
    """Recognise what `text` says of itself. `path` is where it was found: it may hold the number, and a title to fall
    back to, and its end says which markup it is. `day_first` is what the rest of the log says of dates like 03/04/2020.

    Total: every text has a document, in time linear in its length.
    """
    structure = read_structure(text, markup_of(path))
    fields = find_fields(structure, words)
    oddities: list[Oddity] = list(_text_oddities(text, structure))
    title = find_title(structure, fields, path, words)
    oddities += _title_oddities(title)
    verdict = _status(fields, words, day_first)
    if verdict.doubt == "no-status":
        verdict = next((said for mark in marks_of(title) if (said := judge_mark(mark, words=words))), verdict)
    elif verdict.doubt is None:
        shown = (said.status for mark in marks_of(title) if (said := judge_mark(mark, words=words)))
        if any(status != verdict.status for status in shown):
            verdict = msgspec.structs.replace(verdict, doubt="contradicting-status")
    if verdict.doubt:
        oddities.append(verdict.doubt)
    placeholder = verdict.doubt == "placeholder" or bool(PLACEHOLDER.search(title.text))
    role = find_role(structure, title, path, placeholder=placeholder, decided=verdict.status != "unknown", words=words)
    counted = numbers.read_number(path)
    counted = counted if counted.label else title.number if title.number.label else _field_number(fields)
    if title.number.label and title.number.label != counted.label and title.number.number != counted.number:
        oddities.append("number-mismatch")
    decided, doubtful_date = _date(fields, verdict, words, day_first)
    if doubtful_date:
        oddities.append("unknown-date")
    code = numbers.code_of(path, title.heading.text if title.heading else "")
    links = tuple(mentions.links_of(structure, fields, mentions.Self(counted.label, code), words))
    if len(links) == mentions.LINKS_MAX:
        oddities.append("links-capped")
    verdict = _with_links(verdict, fields, links)
    return ParsedAdr(
        title=_cut_title(title.text),
        status=verdict.status,
        raw_status=" ".join(verdict.raw[: 2 * RAW_STATUS_CHARS_MAX].split())[:RAW_STATUS_CHARS_MAX],
        dialect=_dialect(structure, fields, text),
        role=role,
        number=counted.number if role == "record" else None,
        date=decided,
        deciders=tuple(_people(fields)),
        links=links,
        oddities=tuple(oddities),
        label=counted.label if role == "record" else "",
        places=tuple(_places(verdict)),
    )


def strip_title(text: str, *, path: str = "") -> str:
    """`text` without the line that holds its title, and without a `title:` in its front matter: what is left when the
    title itself is the query of an evaluation. The rest stays as it is, byte for byte."""
    structure = read_structure(text, markup_of(path))
    heading = find_title(structure, Fields((), (), ()), path).heading
    gone = set(range(heading.line, heading.line + heading.lines)) if heading else set()
    gone |= _front_title(structure)
    return "".join(
        line for index, line in enumerate(re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text)) if index not in gone
    )


def _front_title(structure: Structure) -> set[int]:
    """The lines of the title in front matter, which may go on below its key."""
    start = structure.front.places.get("title")
    if start is None:
        return set()
    end = min((at for at in structure.front.places.values() if at > start), default=structure.front.lines - 1)
    return set(range(start, end))


# ------------------------------------------------------------------------------------------------------------- title


def _title_oddities(title: Title) -> Iterator[Oddity]:
    if title.stands_in:
        yield "no-title"
    if len(title.text) > TITLE_CHARS_MAX:
        yield "long-title"


def _cut_title(title: str) -> str:
    title = title.replace("\x00", "\ufffd")  # of a path; in a text Markdown does it
    return title if len(title) <= TITLE_CHARS_MAX else title[: TITLE_CHARS_MAX - 1].rstrip() + "…"


def _field_number(fields: Fields) -> numbers.Numbered:
    """The number that front matter or a table gives."""
    for field in fields.all("number"):
        written = field.text.strip()
        found = numbers.heading_number(written) if not written[:1].isdigit() else numbers.number_at(written)
        if found is not None and found.label and len(written) <= found.end + 1:
            return found
    return numbers.NOT_NUMBERED


# ------------------------------------------------------------------------------------------------ status, date, people


def _status(fields: Fields, words: Words, day_first: bool | None) -> Verdict:
    """The first place that says a status; but what says later that it is superseded wins over "accepted"."""
    verdicts = [judge(field.statements, words=words, day_first=day_first) for field in fields.all("status")]
    known = [verdict for verdict in verdicts if verdict.status != "unknown"]
    firm = next((verdict for verdict in verdicts if verdict.doubt in ("weak-status", "contradicting-status")), None)
    if not known:
        doubtful = firm or next((verdict for verdict in verdicts if verdict.doubt != "no-status"), None)
        return doubtful or Verdict("unknown", doubt="no-status")
    if firm is not None and verdicts.index(firm) < verdicts.index(known[0]):
        return firm
    if known[0].status == "accepted":
        return next((verdict for verdict in known if verdict.status == "superseded"), known[0])
    return known[0]


def _with_links(verdict: Verdict, fields: Fields, links: Iterable[Mention]) -> Verdict:
    """A field that says what superseded an accepted decision ends it, as adr-tools means the line below the status."""
    if verdict.status != "accepted":
        return verdict
    for field in fields.all("superseded-by"):
        if not is_nothing(field.text) and any(
            link.kind == "superseded-by"
            and (link.target in field.text + field.written or link.counted == field.text.strip(" .0"))
            for link in links
        ):
            return msgspec.structs.replace(verdict, status="superseded")
    return verdict


def _places(verdict: Verdict) -> Iterator[OddLine]:
    if verdict.doubt and verdict.raw:
        yield OddLine(verdict.doubt, verdict.line + 1, " ".join(verdict.raw.split())[:RAW_STATUS_CHARS_MAX])


def _date(fields: Fields, verdict: Verdict, words: Words, day_first: bool | None) -> tuple[date | None, bool]:
    """The day of the first field that has one, else the one beside the status; and whether a field has one that is not
    understood."""
    doubtful = False
    for field in fields.all("date"):
        found = find_dates(field.text[:200], day_first=day_first, words=words)
        if found and found[0].day:
            return found[0].day, False
        doubtful |= any(map(str.isdigit, field.text[:200]))
    beside = [each.day for each in find_dates(verdict.raw, day_first=day_first, words=words) if each.day]
    return (beside[0] if beside and not doubtful else None), doubtful


def _people(fields: Fields) -> Iterator[str]:
    for field in fields.all("people"):
        names = [
            name
            for part in re.split(r"[,;\n、，；]", field.text[:PEOPLE_CHARS_MAX])
            if (name := " ".join(part.split()).strip(" .[]")) and not is_nothing(name)
        ]
        value = field.text.strip()
        if names and not PLACEHOLDER.search(value) and not value.startswith(("{", "[list", "<")):
            yield from names
            return


# -------------------------------------------------------------------------------------------- dialect and oddities


def _dialect(structure: Structure, fields: Fields, text: str) -> Dialect:
    headings = {normalise_name(heading.text) for heading in structure.headings}
    front = structure.front.values
    madr = {"context and problem statement", "decision outcome", "considered options"} & headings
    if front.get("type") == ("adr",) and (front.get("created") or madr):
        return "structured-madr"
    if len(madr) >= 2:
        return _madr_version(fields, structure, headings)
    if {"context", "decision"} <= headings:
        dated = any(field.name == "date" for field in fields.lines)
        numbered = bool(structure.headings and re.match(r"\d{1,5}\. ", structure.headings[0].text))
        return "adr-tools" if dated and numbered and "status" in headings else "nygard"
    return "y-statement" if _is_y_statement(text) else "unknown"


def _madr_version(fields: Fields, structure: Structure, headings: set[str]) -> Dialect:
    """MADR 2 has its fields as list items and splits the consequences; 4 renamed the deciders and the validation."""
    if structure.front.values.get("deciders") or "validation" in headings:
        return "madr-3"
    if "positive consequences" in headings or "negative consequences" in headings or "links" in headings:
        return "madr-2"
    listed = any(field.name in ("status", "people") for field in fields.lines)
    return "madr-2" if listed and not structure.front.values else "madr-4"


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


def _text_oddities(text: str, structure: Structure) -> Iterable[Oddity]:
    if not text.strip("\ufeff \t\r\n"):
        yield "empty"
    if text.startswith("\ufeff"):
        yield "byte-order-mark"
    windows = text.count("\r\n")
    if sum(count > 0 for count in (windows, text.count("\n") - windows, text.count("\r") - windows)) > 1:
        yield "mixed-line-endings"
    if structure.front.unclosed:
        yield "front-matter-unclosed"
    if structure.front.broken:
        yield "front-matter-broken"
