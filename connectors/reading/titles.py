"""The title of a record, and what kind of file it is.

Owns which of several candidates is the title: never a section of a template, a placeholder or the name of the file when
there is better. And which files are no decision: templates, indexes, and companions such as plans and notes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from connectors.reading import numbers
from connectors.reading.dates import find_dates
from connectors.reading.fields import Fields
from connectors.reading.front_matter import is_nothing
from connectors.reading.inline import CONTROL, Inline
from connectors.reading.references import LABEL
from connectors.reading.structure import Block, Structure
from connectors.reading.words import WORDS, Words, fold, normalise_name

Role = Literal["record", "index", "template", "companion"]

TITLE_CHARS_MAX: Final = 300
"""A heading longer than this is a paragraph with a hash before it."""
PLACEHOLDER = re.compile(r"\w\W{0,9}\|\W{0,9}\w|^\W{0,3}[{<][^}>]{1,200}[}>]\W{0,3}$")
_BRACKETS = re.compile(r"^[\[{<(](.{1,200})[\]}>)]$")
_SIGN = re.compile(r"[^\w\s\[\](){}<>#№«\"'`.,:;!?$%&*+=/|~^@-]{1,4}\s+")
"""A picture before the number of a heading."""
_WORDLESS = re.compile(r"^[\W_]*$")


class Title(msgspec.Struct, frozen=True):
    """`text` is never empty. `number` is what stood before it; `heading` the block that it is, when it is one."""

    text: str
    number: numbers.Numbered = numbers.NOT_NUMBERED
    heading: Block | None = None
    stands_in: bool = False


def find_title(structure: Structure, fields: Fields, path: str, words: Words = WORDS) -> Title:
    """The best candidate. A number may stand in one that has nothing else to say."""
    number = numbers.NOT_NUMBERED
    spare: Title | None = None
    for written, heading in _candidates(structure, fields, words):
        title = _split_number(written, path, words, heading)
        number = number if number.label else title.number
        if _is_title(title.text, words):
            return msgspec.structs.replace(title, number=number)
        spare = spare or (title if title.text.strip() and _BRACKETS.match(title.text) is None else None)
    if spare is not None and not _WORDLESS.match(spare.text) and PLACEHOLDER.search(spare.text):
        return msgspec.structs.replace(spare, number=number)
    symbol = next((block for block in structure.headings if block.level == 1 and block.text.strip()), None)
    if symbol is not None and _WORDLESS.match(symbol.text) and symbol.text.strip(" |-#*_"):
        return Title(symbol.text.strip(), number, symbol)  # an emoji is what its author called it
    if is_index_name(path, words) and symbol is not None and words.is_section(symbol.text, "index"):
        return Title(symbol.text.strip(), number, symbol)
    return Title(title_of_path(path, words), number, stands_in=True)


def is_index_name(path: str, words: Words = WORDS) -> bool:
    """Whether a file's name is that of a list of records."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return words.is_section(name.strip("_"), "index-file")


def _is_title(text: str, words: Words) -> bool:
    if _WORDLESS.match(text) or is_nothing(text):
        return False
    bracketed = _BRACKETS.match(text)
    if words.is_section(bracketed[1] if bracketed else text, "placeholder") or PLACEHOLDER.search(text):
        return False
    return not (words.is_section(text) or words.is_section(text, "generic"))


def _candidates(structure: Structure, fields: Fields, words: Words) -> Iterator[tuple[str, Block | None]]:
    headings = [block for block in structure.headings if block.text.strip()]
    for block in headings:
        if block.level == 1 and not words.is_section(block.text):
            yield block.text, block
    for field in fields.all("title"):
        yield field.text.split("\n")[0] if field not in fields.front else " ".join(field.text.split()), None
    for place, block in enumerate(structure.blocks):
        if block.kind == "heading" and (not words.is_section(block.text) or block.level == 1):
            generic = words.is_section(block.text, "generic") or not _split_number(block.text, "", words, block).text
            if place == 0 or generic or block.level > 1:
                yield block.text, block
            if not generic:
                return
        elif block.kind != "heading" or words.is_section(block.text):
            return


def _split_number(written: str, path: str, words: Words, heading: Block | None) -> Title:
    clean = " ".join(CONTROL.sub(" ", written).split())
    if (sign := _SIGN.match(clean)) and numbers.heading_number(clean[sign.end() :], words).end:
        clean = clean[sign.end() :]
    found = numbers.heading_number(clean, words)
    end = found.end or numbers.heading_label(clean, words)
    if not end and (bare := re.match(r"0{0,4}(\d{1,5}) +", clean)) and int(bare[1]) == numbers.number_of_path(path):
        end = bare.end()  # "28 Scan repositories" in 028-scan-repositories.md
    return Title(_drop_date(clean[end:].strip()) if end else clean, found, heading)


def _drop_date(rest: str) -> str:
    """The title behind a date in brackets: "ADR 22 (2024-05-01): Use Kafka"."""
    if (bracket := re.match(r"[(（]([^()（）]{4,30})[)）]\s{0,3}[:.–—：-]{0,2}\s{0,3}(?=\S)", rest)) is None:
        return rest
    found = find_dates(bracket[1])
    whole = bool(found) and found[0].end - found[0].start == len(bracket[1].strip())
    return rest[bracket.end() :] if whole else rest


def title_of_path(path: str, words: Words = WORDS) -> str:
    """A readable name from the name of the file, or of its folder when the file's says nothing."""
    name = numbers.stem(path)
    rest = name[numbers.read_number(path).end :] or name
    said = " ".join(CONTROL.sub(" ", re.sub(r"[-_]+", " ", rest)).split()).lstrip(". ") or name
    return (said[:1].upper() + said[1:])[:TITLE_CHARS_MAX].strip() or "Untitled"


_MARKS = (
    re.compile(r"(?<!\d\d\d)(?<!\d\d\d\s)[\[(（]([^\[\]()（）]{2,80})[\])）]\W{0,3}$"),
    re.compile(r"^\W{0,3}[\[(（]([^\[\]()（）]{2,80})[\])）]"),
    re.compile(r"^([A-Z][A-Z -]{3,30}):\s"),
)


def marks_of(title: Title) -> Iterator[Inline]:
    """What a heading says beside its title, in brackets or in capitals: "Weigh parcels (superseded)". Behind a number
    of three digits it is a code's name: "Answer with 202 (Accepted)"."""
    if title.heading is not None:
        for expression in _MARKS:
            if match := expression.search(title.heading.text[: 2 * TITLE_CHARS_MAX]):
                yield title.heading.inline.cut(*match.span(1))


# -------------------------------------------------------------------------------------------------------------- role


def find_role(
    structure: Structure, title: Title, path: str, *, placeholder: bool, decided: bool, words: Words = WORDS
) -> Role:
    """`placeholder`: a choice of a template is still there. `decided`: it has a status."""
    parts = path.replace("\\", "/").rsplit("/", 2)
    name = parts[-1].rsplit(".", 1)[0].lower()
    found = numbers.read_number(path)
    unnumbered = not found.label or found.number == 0
    said = normalise_name(re.sub(r"[-_.]+", " ", name[found.end if name == numbers.stem(path).lower() else 0 :]))
    if unnumbered and (_is_template_name(name, said, words) or placeholder):
        return "template"
    own_folder = (
        len(parts) > 1 and numbers.read_number(parts[-2] + "/readme").end > 0 and name in numbers.OWN_FOLDER_NAMES
    )
    headings = structure.headings
    decision = any("decision" in fold(block.text) or fold(block.text) == "status" for block in headings[1:])
    if is_index_name(path, words) and not own_folder and not decision and not decided:
        return "index"
    if (
        unnumbered
        and not decided
        and not decision
        and title.heading is None
        and headings
        and words.is_section(headings[0].text, "index")
    ):
        return "index"
    named = any(words.expression("section", "label").search(fold(block.text)) for block in headings[1:])
    if decided and named and _says_more(said, title, words):
        return "record"
    return (
        "companion"
        if _is_companion(said, title, own_folder, bool(found.label), decided or decision, words)
        else "record"
    )


def _says_more(said: str, title: Title, words: Words) -> bool:
    """Whether a heading has a subject of its own behind the word that names the file: "Notes service in Go" in
    a file named for notes, and not "Notes on ADR-13"."""
    shown = normalise_name(title.text)
    if title.heading is None or LABEL.search(title.text) or not numbers.is_companion_name(said, words):
        return False
    return shown != said and not numbers.is_companion_name(title.text, words) and bool(title.number.label)


def _is_template_name(name: str, said: str, words: Words) -> bool:
    folded = fold(name)
    return "template" in folded or words.is_section(said, "template")


_SUFFIXES_MIN_WORDS: Final = 2
"""Words of a companion's name that may follow others: "notes" alone ends the names of decisions as well."""


def _is_companion(said: str, title: Title, own_folder: bool, numbered: bool, decided: bool, words: Words) -> bool:
    """The name of the file says so, and the title does not say otherwise."""
    if own_folder or not said or (title.number.label and not numbered):
        return False
    if numbers.is_companion_name(said, words) or (not decided and words.is_section(said, "companion-undecided")):
        return True
    shown = normalise_name(title.text)
    opening = words.all("section", "companion-opening")
    if not decided and any(said.startswith(f"{word} ") and re.match(rf"{word}\b", shown) for word in opening):
        return True
    for written in words.all("section", "companion"):
        name = normalise_name(written)
        long = len(name.split()) >= _SUFFIXES_MIN_WORDS or (len(name) > 3 and not name.isascii())
        if long and said.endswith(f" {name}") and (shown.endswith(name) or title.stands_in):
            return True
    return False
